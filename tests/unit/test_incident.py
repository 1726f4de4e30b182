"""Incidents: when they open, what they say, when they end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from detectors import judge as judge_module
from detectors.alert import Alert, Kind, Part, Severity, State, Verdict
from detectors.incident import IncidentRule, weigh
from detectors.judge import Judge
from detectors.series import Names, Series
from detectors.snapshot import Mismatch
from detectors.surges import Recent, SurgeRecord, SurgeRow, Tick

MINUTE = 60_000
#: 2022-10-25T07:04:00Z
OUTAGE = 1_666_681_440_000
LATENESS = 3_000


def row(
    minute: int,
    evidence: float,
    observed: int = 30,
    expected: float = 5.0,
    *,
    source: str = "reports",
    service: str = "whatsapp",
    region: str = "it/lazio",
    onset: int | None = 0,
    closed: bool = True,
    recent: Sequence[int] | None = None,
    warming: bool = False,
) -> SurgeRow:
    """A row of the bucket that begins `minute` minutes after OUTAGE. onset: likewise, None where there is none.

    recent: observed counts of the closed buckets up to this one, each 5 +- 2 expected.
    """
    start = OUTAGE + minute * MINUTE
    return SurgeRow(
        series=Series(source, service, region),
        names=Names({"whatsapp": "WhatsApp"}.get(service, service), region),
        evidence=evidence,
        onset=0 if onset is None else OUTAGE + onset * MINUTE,
        start=start,
        closed=closed,
        observed=observed,
        expected=expected,
        low=expected - 2.0,
        high=expected + 2.0,
        warming=warming,
        recent=None
        if recent is None
        else Recent(
            60,
            start + MINUTE,
            list(recent),
            [5.0] * len(recent),
            [3.0] * len(recent),
            [7.0] * len(recent),
        ),
    )


def bucket(*rows: SurgeRow, partition: int = 0, partitions: int = 1) -> SurgeRecord:
    """The record of a tick that closes the bucket of these rows."""
    at = rows[0].start + MINUTE + LATENESS
    return SurgeRecord(partition, partitions, at, [Tick(at, list(rows))])


def early(seconds: int, *rows: SurgeRow) -> SurgeRecord:
    """The record of a tick so many seconds into the bucket of these rows."""
    at = rows[0].start + seconds * 1000 + LATENESS
    return SurgeRecord(0, 1, at, [Tick(at, list(rows))])


def quiet(minute: float, *, partition: int = 0, partitions: int = 1) -> SurgeRecord:
    """A record without ticks that reaches until so many minutes after OUTAGE, and the lateness."""
    return SurgeRecord(partition, partitions, round(OUTAGE + minute * MINUTE + LATENESS), [])


def said(alerts: Sequence[Alert]) -> list[tuple[int, str, str]]:
    return [(alert.sequence, alert.state.value, alert.updated_at[11:19]) for alert in alerts]


# Opening


def test_evidence_at_the_threshold_opens_an_incident_with_all_that_is_known():
    judge = Judge(IncidentRule(open_at=2.0), 1)

    alerts = judge.apply(bucket(row(0, 2.0, 61, 4.2, warming=True)))

    [alert] = alerts
    assert alert == Alert(
        id="ecc4636e05dcfb75",
        sequence=1,
        episode=1,
        state=State.OPEN,
        kind=Kind.SERIES,
        sources=["reports"],
        service="WhatsApp",
        region="it/lazio",
        severity=Severity.ERROR,
        started_at="2022-10-25T07:04:00Z",
        detected_at="2022-10-25T07:05:03Z",
        updated_at="2022-10-25T07:05:03Z",
        resolved_at=None,
        summary="WhatsApp in it/lazio: 61 reports in 1 minute, 4.2 usual (15 times), since 07:04 UTC",
        observed=61,
        expected=4.2,
        expected_low=2.2,
        expected_high=6.2,
        ratio=14.5238,
        evidence=2.0,
        verdict=Verdict(
            explained=1.0, taking_part=1, looked_at=1, not_taking_part=[], likelier=alert.verdict.likelier, instead=[]
        ),
        warming=True,
        course=None,
        reasons=["54 a minute beyond the usual"],
        top_sources=[Part(name="reports", share=1.0, usual=1.0)],
    )


def test_evidence_below_the_threshold_opens_nothing():
    judge = Judge(IncidentRule(open_at=2.0), 1)

    alerts = judge.apply(bucket(row(0, 1.999)))

    assert alerts == []


def test_evidence_of_two_sources_adds_up():
    judge = Judge(IncidentRule(), 1)

    alerts = judge.apply(bucket(row(0, 1.2, 10, 5.0, source="calls"), row(0, 1.3, 20, 4.0, source="tweets")))

    [alert] = alerts
    assert (alert.sources, alert.evidence, alert.observed, alert.expected) == (["calls", "tweets"], 2.5, 30, 9.0)


def test_negative_evidence_of_a_source_takes_nothing_away_and_the_source_no_part():
    judge = Judge(IncidentRule(), 1)

    alerts = judge.apply(bucket(row(0, -1.5, 5, source="calls"), row(0, 2.2, 20, source="tweets")))

    [alert] = alerts
    assert (alert.sources, alert.evidence, alert.observed) == (["tweets"], 2.2, 20)


def test_source_without_a_row_for_a_bucket_counts_nothing():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 1.2, source="calls", recent=[5, 30])))

    alerts = judge.apply(bucket(row(1, 1.3, source="tweets")))

    assert alerts == []


def test_early_row_counts_until_its_bucket_ends():
    judge = Judge(IncidentRule(), 1)
    judge.apply(early(20, row(0, 1.2, source="calls", closed=False)))

    alerts = judge.apply(bucket(row(0, 1.3, source="tweets")))

    assert [alert.sources for alert in alerts] == [["calls", "tweets"]]


def test_regions_are_incidents_of_their_own_in_order():
    judge = Judge(IncidentRule(), 1)

    alerts = judge.apply(
        bucket(row(0, 3.0, region="it/lazio"), row(0, 9.0, region="it"), row(0, 4.0, service="signal"))
    )

    assert [(alert.service, alert.region) for alert in alerts] == [
        ("signal", "it/lazio"),
        ("WhatsApp", "it"),
        ("WhatsApp", "it/lazio"),
    ]
    assert len({alert.id for alert in alerts}) == 3


def test_names_are_those_of_the_source_first_by_name():
    judge = Judge(IncidentRule(), 1)
    shouted = SurgeRow(Series("a", "whatsapp", ""), Names("WHATSAPP", ""), 2.0, 0, OUTAGE, True, 9, 1.0, 0.0, 3.0)
    plain = SurgeRow(Series("b", "whatsapp", ""), Names("whatsapp", ""), 5.0, 0, OUTAGE, True, 9, 1.0, 0.0, 3.0)

    [alert] = judge.apply(bucket(plain, shouted))

    assert (alert.service, alert.summary[:9]) == ("WHATSAPP", "WHATSAPP:")


# What is counted, since when


def test_onset_some_buckets_back_counts_from_there_on():
    judge = Judge(IncidentRule(), 1)

    [alert] = judge.apply(bucket(row(0, 4.0, 40, onset=-2, recent=[5, 5, 20, 30, 40])))

    assert (alert.started_at, alert.observed, alert.expected) == ("2022-10-25T07:02:00Z", 90, 15.0)
    # Three intervals of +-2 reach sqrt(3 * 2²) = 3.46410 to both sides.
    assert (alert.expected_low, alert.expected_high) == (11.5359, 18.4641)


def test_onset_after_the_buckets_start_is_taken_as_the_start():
    judge = Judge(IncidentRule(), 1)

    [alert] = judge.apply(bucket(row(0, 4.0, onset=7, recent=[5, 30])))

    assert (alert.started_at, alert.observed) == ("2022-10-25T07:04:00Z", 30)


def test_onset_lies_sixty_buckets_back_at_most():
    judge = Judge(IncidentRule(), 1)

    [alert] = judge.apply(bucket(row(0, 4.0, onset=-500, recent=[5] * 60)))

    assert (alert.started_at, alert.observed) == ("2022-10-25T06:04:00Z", 300)


def test_missing_buckets_count_neither_as_observed_nor_as_expected():
    judge = Judge(IncidentRule(), 1)

    [alert] = judge.apply(bucket(row(0, 4.0, 40, onset=-3, recent=[20, -1, -1, 40])))

    assert (alert.observed, alert.expected) == (60, 10.0)


def test_open_bucket_counts_what_it_has_and_is_replaced():
    judge = Judge(IncidentRule(update_seconds=10), 1)
    [first] = judge.apply(early(10, row(0, 2.5, 9, 0.8, closed=False)))
    [second] = judge.apply(early(20, row(0, 5.0, 19, 1.6, closed=False)))
    third = judge.apply(bucket(row(0, 9.0, 55, 5.0, recent=[5, 4, 55])))[-1]
    [fourth] = judge.apply(early(10, row(1, 9.5, 11, 0.8, closed=False)))

    assert [alert.observed for alert in (first, second, third, fourth)] == [9, 19, 55, 66]
    assert [alert.expected for alert in (first, second, third, fourth)] == [0.8, 1.6, 5.0, 5.8]


def test_incident_opened_early_learns_of_the_buckets_before_when_its_bucket_closes():
    judge = Judge(IncidentRule(update_seconds=10), 1)
    judge.apply(early(10, row(0, 2.5, 9, 0.8, onset=-2, closed=False)))

    alert = judge.apply(bucket(row(0, 9.0, 55, onset=0, recent=[5, 20, 30, 55])))[-1]

    assert (alert.started_at, alert.observed) == ("2022-10-25T07:02:00Z", 105)


def test_more_than_sixty_buckets_are_all_counted():
    judge = Judge(IncidentRule(update_seconds=60), 1)
    judge.apply(bucket(row(0, 9.0, 30, recent=[5] * 59 + [30])))
    for minute in range(1, 100):
        judge.apply(bucket(row(minute, 9.0, 30, recent=([5] * 60 + [30] * (minute + 1))[-60:])))

    [alert] = judge.apply(bucket(row(100, 9.0, 30, recent=[30] * 60)))

    assert (alert.observed, alert.expected) == (101 * 30, 101 * 5.0)
    assert alert.course is not None
    assert alert.course.observed == [30] * 60


def test_source_that_joins_later_is_counted_from_the_beginning():
    judge = Judge(IncidentRule(update_seconds=60), 1)
    judge.apply(bucket(row(0, 9.0, 30, source="tweets", recent=[5, 30])))

    [alert] = judge.apply(
        bucket(
            row(1, 1.0, 20, source="calls", onset=1, recent=[5, 10, 20]),
            row(1, 9.0, 30, source="tweets", recent=[5, 30, 30]),
        )
    )

    assert (alert.sources, alert.observed, alert.started_at) == (["calls", "tweets"], 90, "2022-10-25T07:04:00Z")


def test_course_is_that_of_the_source_with_most_evidence():
    judge = Judge(IncidentRule(), 1)

    [alert] = judge.apply(
        bucket(row(0, 3.0, source="calls", recent=[1, 2, 3]), row(0, 9.0, source="tweets", recent=[7, 8, 9]))
    )

    assert alert.course is not None
    assert (alert.course.observed, alert.course.end) == ([7, 8, 9], "2022-10-25T07:05:00Z")


def test_expectation_that_is_no_number_counts_as_missing():
    judge = Judge(IncidentRule(), 1)

    [alert] = judge.apply(bucket(row(0, 3.0, 30, float("nan"))))

    assert (alert.observed, alert.expected, alert.ratio) == (0, 0.0, None)


def test_evidence_that_is_no_number_is_none_and_infinite_evidence_is_much():
    judge = Judge(IncidentRule(), 1)

    alerts = judge.apply(bucket(row(0, float("inf"), service="signal"), row(0, float("nan"), service="x")))

    assert [(alert.service, alert.evidence) for alert in alerts] == [("signal", 1e6)]


# Updates


def test_open_incident_is_updated_every_five_minutes_when_nothing_is_new():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, 2000, recent=[2000])))
    ticks = [bucket(row(m, 9.0, 15, recent=[2000] + [15] * m)).ticks[0] for m in range(1, 15)]

    alerts = judge.apply(SurgeRecord(0, 1, ticks[-1].at, ticks))

    assert said(alerts) == [(2, "update", "07:10:03"), (3, "update", "07:15:03")]


def test_growing_severity_is_news():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, 85, recent=[85])))

    alerts = [judge.apply(bucket(row(m, 9.0, 24, recent=[85] + [24] * m))) for m in (1, 2, 3, 4)]

    # 156 more than usual after five minutes: not twice the 80 of the first, but 31 a minute that last.
    assert [[(alert.observed, alert.severity.value) for alert in batch] for batch in alerts] == [
        [],
        [],
        [],
        [(181, "critical")],
    ]


def test_excess_that_doubled_is_news():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, 105, recent=[105])))

    alerts = [judge.apply(bucket(row(m, 9.0, 55, recent=[105] + [55] * m))) for m in (1, 2, 3)]

    assert [[alert.observed for alert in batch] for batch in alerts] == [[], [215], []]


def test_severity_never_drops_within_an_episode():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, 2000, recent=[2000])))
    recent = [2000]
    severities = set()
    for minute in range(1, 30):
        recent = [*recent, 0]
        severities |= {alert.severity for alert in judge.apply(bucket(row(minute, 1.0, 0, 900.0, recent=recent)))}

    assert severities == {Severity.CRITICAL}


@pytest.mark.parametrize(
    ("observed", "expected", "minutes", "severe"),
    [
        (8, 2.0, 3, "warning"),  # two more a minute, over in minutes
        (30, 10.0, 10, "error"),  # two more a minute that last
        (26, 1.0, 1, "error"),  # steep
        (7, 0.0, 1, "warning"),  # steep, yet too few to say
        (105, 5.0, 5, "critical"),  # steep and lasting
        (2000, 1000.0, 90, "critical"),  # big
        (11_000, 10_000.0, 30, "info"),  # a tenth more of many
        (12_500, 10_000.0, 30, "warning"),
    ],
)
def test_severity_follows_excess_ratio_and_duration(observed, expected, minutes, severe):
    assert weigh(IncidentRule(), observed=observed, expected=expected, seconds=60 * minutes).severity.value == severe


# The end


def test_incident_is_resolved_after_five_calm_minutes():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, recent=[30])))
    judge.apply(bucket(row(1, 0.4, 4, recent=[30, 4])))

    alerts = judge.apply(quiet(30))

    assert said(alerts) == [(2, "update", "07:10:03"), (3, "resolved", "07:11:03")]
    assert alerts[-1].resolved_at == "2022-10-25T07:11:03Z"
    assert alerts[-1].summary == (
        "WhatsApp in it/lazio: resolved at 07:11 UTC after 34 reports in 2 minutes,"
        " 10 usual (3.4 times), since 07:04 UTC"
    )
    assert judge.open_by_severity() == dict.fromkeys(Severity, 0)


def test_calm_that_is_interrupted_begins_anew():
    judge = Judge(IncidentRule(update_seconds=3600), 1)
    judge.apply(bucket(row(0, 9.0, recent=[30])))
    judge.apply(bucket(row(1, 0.4, 4, recent=[30, 4])))
    judge.apply(bucket(row(4, 0.6, 4, recent=[30, 4, 4, 4, 4])))

    alerts = judge.apply(quiet(30))

    # Nothing is heard after the bucket that ends at 07:09, so from 07:10 on it counts as calm.
    assert said(alerts) == [(2, "resolved", "07:15:03")]


def test_evidence_between_the_thresholds_keeps_an_incident_open():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, recent=[5])))

    states = {alert.state for m in range(1, 60) for alert in judge.apply(bucket(row(m, 0.5, 12, recent=[12])))}

    assert states == {State.UPDATE}


def test_source_that_stops_reporting_an_early_alarm_lets_it_end():
    judge = Judge(IncidentRule(), 1)
    judge.apply(early(10, row(0, 2.5, 9, closed=False)))

    alerts = judge.apply(quiet(30))

    assert [alert.state for alert in alerts] == [State.UPDATE, State.RESOLVED]


# Coming back


def test_surge_within_the_hour_is_the_next_episode_of_the_same_incident():
    judge = Judge(IncidentRule(), 1)
    [opened] = judge.apply(bucket(row(0, 9.0, 2000, recent=[2000])))
    judge.apply(quiet(30))

    [again] = judge.apply(bucket(row(40, 3.0, 15, onset=38, recent=[10, 12, 15])))

    assert (again.id, again.sequence, again.episode, again.state) == (opened.id, 4, 2, State.UPDATE)
    assert (again.started_at, again.detected_at) == ("2022-10-25T07:42:00Z", "2022-10-25T07:45:03Z")
    assert (again.observed, again.severity, again.resolved_at) == (37, Severity.ERROR, None)
    assert again.summary == "WhatsApp in it/lazio again: 37 reports in 3 minutes, 15 usual (2.5 times), since 07:42 UTC"


def test_next_episode_begins_after_the_last_one_calmed():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, recent=[30])))
    judge.apply(quiet(11))

    [again] = judge.apply(bucket(row(12, 9.0, onset=-5, recent=[30] + [9] * 12)))

    # Nothing was heard after 07:05, so it was calm from 07:06 on.
    assert (again.episode, again.started_at, again.observed) == (2, "2022-10-25T07:06:00Z", 99)


def test_surge_after_the_hour_is_another_incident():
    judge = Judge(IncidentRule(), 1)
    [first] = judge.apply(bucket(row(0, 9.0)))
    judge.apply(quiet(80))

    [second] = judge.apply(bucket(row(90, 9.0)))

    assert (second.sequence, second.episode, second.state) == (1, 1, State.OPEN)
    assert second.id != first.id


def test_incident_that_is_over_for_good_is_forgotten():
    judge = Judge(IncidentRule(), 1)
    empty = len(judge.to_state())
    judge.apply(bucket(*[row(0, 9.0, service=f"s{i:03}") for i in range(100)]))

    judge.apply(quiet(100))

    # The hours in which there were pages stay: a number for each of four weeks at most; and that there was an incident.
    assert len(judge.to_state()) <= empty + 50 + 100 * 150


def test_without_reopening_every_surge_is_another_incident():
    judge = Judge(IncidentRule(reopen_seconds=0, close_after_seconds=0), 1)
    [first] = judge.apply(bucket(row(0, 9.0, recent=[30])))
    [resolved] = judge.apply(bucket(row(1, 0.1, recent=[30])))

    [second] = judge.apply(bucket(row(2, 9.0, recent=[30])))

    assert (resolved.state, second.state) == (State.RESOLVED, State.OPEN)
    assert second.id != first.id


# In step


def test_tick_waits_until_every_partition_is_past_it():
    judge = Judge(IncidentRule(), 2)

    early_alerts = judge.apply(bucket(row(0, 9.0), partition=0, partitions=2))
    too_early = judge.apply(quiet(0.99, partition=1, partitions=2))
    in_time = judge.apply(quiet(1, partition=1, partitions=2))

    assert (early_alerts, too_early, len(in_time)) == ([], [], 1)
    assert judge.through == OUTAGE + MINUTE + LATENESS


def test_replayed_record_says_nothing_again():
    judge = Judge(IncidentRule(), 1)
    record = bucket(row(0, 9.0))
    judge.apply(record)
    judge.apply(quiet(2))

    assert judge.apply(record) == []


def test_replay_cut_otherwise_adds_only_what_is_new():
    judge = Judge(IncidentRule(), 1)
    old, new = bucket(row(0, 9.0, 30)), bucket(row(1, 9.0, 300))
    judge.apply(old)

    alerts = judge.apply(SurgeRecord(0, 1, new.through, [*old.ticks, *new.ticks]))

    assert said(alerts) == [(2, "update", "07:06:03")]


def test_another_number_of_partitions_is_refused_with_what_to_do():
    judge = Judge(IncidentRule(), 4)

    with pytest.raises(ValueError, match=r"partition 1 of 8 reached a judge of 4: .* set it back, or follow"):
        judge.apply(SurgeRecord(1, 8, OUTAGE, []))


def test_calm_below_zero_or_above_opening_is_no_rule():
    with pytest.raises(ValueError, match=r"close_at=3.0 is not below open_at=2.0"):
        IncidentRule(open_at=2.0, close_at=3.0)


# Bounds


def test_too_many_incidents_open_only_those_with_most_evidence(monkeypatch):
    monkeypatch.setattr(judge_module, "MAX_OPEN", 2)
    judge = Judge(IncidentRule(), 1)
    rows = [row(0, evidence, service=f"s{evidence}") for evidence in (3.0, 9.0, 5.0, 4.0)]

    alerts = judge.apply(bucket(*rows))
    judge.apply(bucket(*[row(1, 3.0, service="s3.0"), row(1, 4.0, service="s4.0")]))

    assert [alert.service for alert in alerts] == ["s5.0", "s9.0"]
    assert judge.not_opened == 2


def test_refused_incident_opens_when_there_is_room(monkeypatch):
    monkeypatch.setattr(judge_module, "MAX_OPEN", 1)
    judge = Judge(IncidentRule(reopen_seconds=60), 1)
    judge.apply(bucket(row(0, 9.0, service="a", recent=[30]), row(0, 5.0, service="b", recent=[30])))
    for minute in range(1, 6):
        judge.apply(bucket(row(minute, 0.0, service="a"), row(minute, 5.0, service="b", recent=[30])))

    resolved = judge.apply(bucket(row(6, 0.0, service="a"), row(6, 5.0, service="b", recent=[30])))
    opened = judge.apply(bucket(row(7, 5.0, service="b", recent=[30])))

    assert [(alert.service, alert.state) for alert in resolved] == [("a", State.RESOLVED)]
    assert [(alert.service, alert.state) for alert in opened] == [("b", State.OPEN)]


def test_surge_of_a_full_judge_outlives_the_time_in_which_its_incident_may_return(monkeypatch):
    judge = Judge(IncidentRule(reopen_seconds=60), 1)
    judge.apply(bucket(row(0, 9.0, service="b", recent=[30])))
    judge.apply(quiet(7))
    monkeypatch.setattr(judge_module, "MAX_OPEN", 0)
    for minute in range(7, 10):
        assert judge.apply(bucket(row(minute, 5.0, service="b", recent=[30]))) == []
    monkeypatch.setattr(judge_module, "MAX_OPEN", 1)

    [alert] = judge.apply(bucket(row(10, 5.0, service="b", recent=[30])))

    assert (alert.state, alert.sequence) == (State.OPEN, 1)


# Pages


def test_incident_pages_when_it_becomes_an_error_and_not_again_as_it_grows():
    judge = Judge(IncidentRule(update_seconds=10), 1)
    judge.apply(bucket(row(0, 9.0, 15)))
    opened_as_warning = judge.pages_per_week()

    judge.apply(bucket(row(1, 9.0, 40)))
    grown = judge.pages_per_week()
    judge.apply(bucket(row(2, 9.0, 4000)))

    assert (opened_as_warning, grown, judge.pages_per_week()) == (0.0, 1.0, 1.0)


def test_episode_that_comes_back_pages_anew():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, 90, recent=[90])))
    judge.apply(quiet(11))

    judge.apply(bucket(row(12, 9.0, 90, recent=[90])))

    assert judge.pages_per_week() == 2.0


def test_pages_are_those_of_the_last_four_weeks():
    judge = Judge(IncidentRule(), 1)
    week = 7 * 24 * 60
    for day in (0, 1, 2, 20):
        judge.apply(bucket(row(day * 24 * 60, 9.0, 90)))
    judge.apply(quiet(3 * week))
    after_three_weeks = judge.pages_per_week()

    judge.apply(quiet(4 * week + 60 * 36))

    assert after_three_weeks == pytest.approx(4 / 3, abs=0.01)
    assert judge.pages_per_week() == 2 / 4


# Snapshots


def test_restored_judge_knows_what_it_paged_for():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, 90)))

    restored = Judge.from_state(IncidentRule(), 1, judge.to_state())

    assert restored.pages_per_week() == judge.pages_per_week() == 1.0


def test_state_of_other_partitions_is_refused():
    state = Judge(IncidentRule(), 4).to_state()

    with pytest.raises(Mismatch, match="made for 4 partitions of report-counts, the settings say 8"):
        Judge.from_state(IncidentRule(), 8, state)


def test_state_of_another_version_is_no_damage(monkeypatch):
    monkeypatch.setattr(judge_module, "STATE_VERSION", 99)
    state = Judge(IncidentRule(), 1).to_state()
    monkeypatch.undo()

    with pytest.raises(Mismatch, match="is of version 99, this program goes on from version 4"):
        Judge.from_state(IncidentRule(), 1, state)


def test_state_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no state of a judge"):
        Judge.from_state(IncidentRule(), 1, b"\xc1")


def test_restored_judge_knows_what_is_open():
    judge = Judge(IncidentRule(), 1)
    judge.apply(bucket(row(0, 9.0, 2000)))

    restored = Judge.from_state(IncidentRule(), 1, judge.to_state())

    assert restored.open_by_severity()[Severity.CRITICAL] == 1
    assert restored.to_state() == judge.to_state()

"""Why: each reason as a story, from made facts to what is said."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from detectors.alert import Acknowledged, Alert, Kind, Muted, Severity, State, Verdict, utc
from detectors.docket import Docket
from detectors.incident import IncidentRule
from detectors.series import Series
from detectors.why import Facts, Finding, Reason, explain, highest, near
from detectors.witness import NEVER_ENOUGH, Question, Seen, Track
from tests.made_alerts import outage, silence
from tests.made_episodes import at

RULE = IncidentRule()
#: WhatsApp in it/lazio at 09:10, half an hour around it.
ASKED = Question("whatsapp", "it/lazio", at(550), at(520), at(580))
PLACE = {"service": "WhatsApp", "region": "it/lazio", "kind": Kind.SERIES}
WIDE = {"service": "WhatsApp", "region": None, "kind": Kind.SERVICE}


def track(
    observed: dict[int, int] | None = None,
    evidence: dict[int, float] | None = None,
    *,
    source: str = "reports",
    usual: int = 3,
    began: float = 0,
    warming: bool = False,
    needed: dict[int, int] | None = None,
) -> Track:
    """Minutes around 09:10 with `usual` reports where 3 are expected, but for those given."""
    buckets = [
        Seen(
            at(minute),
            (observed or {}).get(minute, usual),
            3.0,
            0.0,
            7.0,
            (evidence or {}).get(minute, -2.0),
            warming,
            False,
            (needed or {}).get(minute, 0),
        )
        for minute in range(520, 580)
    ]
    return Track(Series(source, "whatsapp", "it/lazio"), 60_000, at(began), buckets)


def record(minute: float, id: str = "i1", **changed: object) -> Alert:
    """What was said at a minute of the day, of an incident that began two minutes before the first such record."""
    fields = PLACE | {"started_at": utc(at(548)), "updated_at": utc(at(minute)), "detected_at": utc(at(550))}
    return outage(id, **(fields | changed))


def facts(*alerts: Alert, tracks: list[Track] | None = None, asked: Question = ASKED, **changed: object) -> Facts:
    docket = Docket(asked, until=asked.end, reopen_ms=3_600_000)
    for alert in alerts:
        docket.apply(alert)
    known = Facts(
        question=asked,
        rule=RULE,
        warming_hours=48.0,
        series_limit=100,
        tracks=[track()] if tracks is None else tracks,
        entries=docket.entries(),
        names=[("whatsapp", "it/lazio"), ("whatsapp", "it/lombardia"), ("tim", "it/lazio")],
        named=at(0),
        overflowed=None,
        decided=asked.end,
    )
    return replace(known, **changed)


def found(findings: list[Finding], reason: Reason) -> str:
    """The one finding of a reason."""
    (text,) = [each.text for each in findings if each.reason is reason]
    return text


def reasons(findings: list[Finding]) -> list[Reason]:
    return [each.reason for each in findings]


# --- nothing was counted ---


def test_place_that_no_report_names_is_unknown():
    told = explain(facts(tracks=[], named=None))

    assert told == [Finding(Reason.UNKNOWN, "No report names whatsapp in it/lazio.")]


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (("whatsap", "it/lazio"), ("whatsapp", "it/lazio")),
        (("whatsapp", "it/lazzio"), ("whatsapp", "it/lazio")),
        (("whatsapp", "lombardia"), ("whatsapp", "it/lombardia")),
        (("whatsapp", "it"), ("whatsapp", "it/*")),
        (("*", "it/lazi"), ("*", "it/lazio")),
    ],
)
def test_places_like_an_unknown_one_are_told_the_likeliest_first(asked, meant):
    assert near(facts().names, asked)[0] == meant


def test_series_beyond_the_cap_is_told_from_an_unknown_one():
    told = explain(facts(tracks=[], overflowed=at(300)))

    assert reasons(told) == [Reason.OVERFLOW]
    assert "series.limit = 100 allows since 2022-10-25 05:00" in told[0].text


def test_series_that_came_later_was_not_known():
    empty = replace(track(began=700), buckets=[])

    assert explain(facts(tracks=[empty])) == [
        Finding(Reason.NOT_YET, "It was not known then: its first reports came at 2022-10-25 11:40.")
    ]


def test_gap_of_the_feed_is_no_quiet_time():
    assert reasons(explain(facts(tracks=[replace(track(), buckets=[])]))) == [Reason.GAP]


def test_what_is_not_decided_yet_is_no_gap():
    told = explain(facts(tracks=[replace(track(), buckets=[])], decided=at(515)))

    assert told == [
        Finding(Reason.NOT_DECIDED, "Decided up to 08:35 only: there are no later reports in every partition.")
    ]


# --- no incident ---


def test_no_report_in_all_that_time_is_quiet():
    told = explain(facts(tracks=[track(usual=0)]))

    assert told == [
        Finding(
            Reason.QUIET,
            "No report at all from 08:40 to 09:40, where 180 are usual. Less than usual is no surge.",
        )
    ]


def test_evidence_below_the_threshold_is_told_with_what_was_missing():
    told = explain(facts(tracks=[track({547: 12}, {547: 1.34}, needed={547: 19})]))

    assert told == [
        Finding(
            Reason.BELOW,
            "No alarm: evidence stayed below 2, which opens an incident (incidents.open_at). It was 1.3 at most, in"
            " the bucket of 09:07: 12 reports, 3 expected, 0 to 7 usual. 7 more in that bucket would have been"
            " enough (19).",
        )
    ]


def test_one_bucket_that_can_not_prove_enough_is_told():
    told = explain(facts(tracks=[track({547: 12}, {547: 1.34}, needed={547: NEVER_ENOUGH})]))

    assert found(told, Reason.BELOW).endswith(
        "No number of reports in that one bucket would have been enough: it has to go on."
    )


def test_evidence_below_the_threshold_of_several_sources_is_told_together_and_of_the_strongest():
    both = [track({547: 9}, {547: 0.7}), track({548: 12}, {547: 0.4, 548: 0.9}, source="calls", needed={548: 14})]

    text = found(explain(facts(tracks=both)), Reason.BELOW)

    assert "It was 1.1 at most, of all sources together in the bucket of 09:07; 0.9 at most by calls, in the" in text
    assert text.endswith(
        "bucket of 09:08: 12 reports, 3 expected, 0 to 7 usual. 2 more in that bucket would have been enough (14)."
    )


def test_most_evidence_in_a_missing_bucket_names_no_count():
    assert found(explain(facts(tracks=[track({547: -1}, {547: 1.0})])), Reason.BELOW).endswith("that one is missing.")


def test_evidence_of_sources_adds_up_as_the_judge_has_it():
    both = [track({}, {547: 1.2}), track({}, {547: 1.1, 560: 1.5}, source="calls")]

    assert highest(both) == (pytest.approx(2.3), at(547))
    assert highest([track()]) == (-2.0, at(520))
    told = explain(facts(tracks=both))
    assert "Evidence reached 2.3 in the bucket of 09:07, enough to open (2)" in found(told, Reason.NO_CAUSE)


def test_evidence_enough_without_a_cause_says_so():
    told = explain(facts(tracks=[track({547: 30}, {547: 2.4})]))

    assert reasons(told) == [Reason.NO_CAUSE]
    assert "the table of services and regions bore out no cause" in told[0].text


def test_evidence_soon_after_an_incident_is_what_was_left_of_it():
    over = outage("old", **WIDE, started_at=utc(at(450)), updated_at=utc(at(460)))
    ended = replace(over, sequence=2, state=State.RESOLVED, resolved_at=utc(at(525)), updated_at=utc(at(525)))

    told = explain(facts(over, ended, tracks=[track({547: 30}, {547: 2.4})]))

    assert reasons(told)[0] is Reason.REMAINS
    assert "what was left of incident old, WhatsApp everywhere, which was resolved at 08:45" in told[0].text


def test_wider_incident_of_which_the_place_has_none_is_told():
    verdict = Verdict(
        explained=0.93, taking_part=12, looked_at=14, not_taking_part=["it/puglia"], likelier=4, instead=[]
    )
    wide = record(551, "wide", **WIDE, verdict=verdict)

    told = explain(facts(wide, tracks=[track({551: 30}, {551: 2.4})]))

    assert reasons(told) == [Reason.NO_CAUSE, Reason.WIDER]
    text = found(told, Reason.WIDER)
    assert text.startswith(
        "It is within incident wide, WhatsApp everywhere: began about 09:08, told at 09:11 as critical"
    )
    assert (
        "That paged at 09:11. It explained 93 % of all reports beyond the usual; 12 of 14 series in it took part, "
        in text
    )
    assert text.endswith("not it/puglia.")


def test_narrower_incident_is_told_of_a_rollup():
    asked = replace(ASKED, region="it/*")

    assert reasons(explain(facts(record(551), asked=asked))) == [Reason.BELOW, Reason.NARROWER]


# --- an incident ---


def test_page_is_told_with_what_made_it_one():
    told = explain(facts(record(550), tracks=[track({549: 90}, {549: 9.0})]))

    assert reasons(told) == [Reason.INCIDENT, Reason.PAGED]
    assert told[0].text == (
        "Incident i1, WhatsApp in it/lazio: began about 09:08, told at 09:10 as critical; open at 09:40."
    )
    assert told[1].text == (
        "It paged at 09:10, critical: 8,214 reports since 09:08, 187 usual (44 times)."
        " 1000 beyond the usual are critical (incidents.critical_excess)."
    )


def test_child_did_not_page_because_of_its_parent():
    parent = record(549, "wide", **WIDE)
    child = record(550, parent="wide", severity=Severity.ERROR)

    told = explain(facts(parent, child))

    assert reasons(told) == [Reason.INCIDENT, Reason.EXPLAINED]
    assert told[1].text.startswith(
        "It did not page: incident wide, WhatsApp everywhere, explains it. That paged at 09:09."
    )


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"silenced": True, "maintenance": "Core upgrade"}, Reason.PLANNED, "planned maintenance, Core upgrade"),
        (
            {"muted": Muted(by="ada", reason="known", since=utc(at(0)), until=utc(at(60)))},
            Reason.MUTED,
            f"muted by ada until {utc(at(60))}: known",
        ),
        (
            {"acknowledged": Acknowledged(by="ada", reason="calling them", at=utc(at(1)))},
            Reason.ACKNOWLEDGED,
            "acknowledged by ada: calling them",
        ),
        ({"minor": True, "severity": Severity.WARNING}, Reason.MINOR, "the service is minor"),
    ],
)
def test_what_people_said_of_an_incident_is_why_it_did_not_page(changed, reason, words):
    told = explain(facts(record(5, **changed)))

    assert words in found(told, reason)
    assert Reason.PAGED not in reasons(told)


def test_child_that_outlives_its_parent_pages_late():
    child = record(550, parent="wide", severity=Severity.ERROR)
    alone = replace(child, sequence=2, parent=None, updated_at=utc(at(570)))

    told = explain(facts(child, alone))

    assert "It paged at 09:30" in found(told, Reason.PAGED)
    assert found(told, Reason.PAGED).endswith("Until then incident wide explained it.")


@pytest.mark.parametrize(
    ("observed", "expected", "minute", "level", "why"),
    [
        (1100, 1000.0, 550, Severity.INFO, "less than 1.2 times the usual (incidents.warning_ratio)"),
        (1250, 1000.0, 550, Severity.WARNING, "less than 1.3 times the usual (incidents.error_ratio)"),
        (9, 3.0, 550, Severity.WARNING, "an error has 8 more than usual at least (incidents.error_excess)"),
        (
            13,
            3.0,
            550,
            Severity.WARNING,
            "5 a minute beyond the usual are an error after 3 minutes (incidents.error_after_seconds), "
            "20 at once (incidents.critical_per_minute)",
        ),
    ],
)
def test_mild_incident_says_what_it_lacked_of_an_error(observed, expected, minute, level, why):
    told = explain(facts(record(minute, observed=observed, expected=expected, severity=level)))

    assert reasons(told) == [Reason.INCIDENT, Reason.MILD]
    assert "wakes nobody" in told[1].text
    assert why in told[1].text


def test_incident_that_was_open_long_before_pages_no_more():
    first = record(400, started_at=utc(at(398)))
    later = replace(first, sequence=2, state=State.UPDATE, updated_at=utc(at(555)))

    told = explain(facts(first, later))

    assert reasons(told) == [Reason.INCIDENT, Reason.STILL_OPEN, Reason.PAGED]
    assert "It paged at 06:40" in told[2].text


def test_incident_that_came_back_says_which_episode_it_is():
    told = explain(facts(record(550, episode=3, state=State.UPDATE)))

    assert "this is episode 3 of it, a surge within 60 minutes of its end" in found(told, Reason.REOPENED)


def test_incident_that_turned_out_to_be_wider_answers_for_the_place_it_began_at():
    first = record(550)
    grown = replace(first, sequence=2, state=State.UPDATE, updated_at=utc(at(552)), region=None, kind=Kind.SERVICE)

    told = explain(facts(first, grown))

    assert told[0].text.endswith("It was told as WhatsApp in it/lazio at first, from 09:12 on WhatsApp everywhere.")
    assert reasons(told)[1] is Reason.PAGED


@pytest.mark.parametrize(("minute", "words"), [(555, "At 09:10 nothing had been told yet."), (550, "open at 09:40.")])
def test_incident_that_was_told_after_the_time_says_so(minute, words):
    assert explain(facts(record(minute)))[0].text.endswith(words)


def test_incident_that_was_over_by_then_says_so():
    first = record(525, started_at=utc(at(522)))
    ended = replace(first, sequence=2, state=State.RESOLVED, resolved_at=utc(at(540)), updated_at=utc(at(540)))

    assert explain(facts(first, ended))[0].text.endswith("resolved at 09:00. At 09:10 it was over.")


def test_what_was_said_after_the_time_looked_at_is_not_known():
    assert reasons(explain(facts(record(600)))) == [Reason.BELOW]


# --- what else matters ---


def test_silent_source_is_told_with_its_incident():
    dark = track(dict.fromkeys(range(540, 580), -1))
    feed = silence(sources=["reports"], updated_at=utc(at(545)), started_at=utc(at(539)))

    text = found(explain(facts(feed, tracks=[dark])), Reason.SILENT)

    assert text.startswith("Source reports was silent: 40 of 60 buckets are missing, from 09:00.")
    assert "Incident silence-1 tells of it, an error. That paged at 09:05." in text


def test_series_that_says_nothing_while_its_source_does_is_told_from_a_silent_source():
    dark = track(dict.fromkeys(range(540, 580), -1))

    assert "This series of source reports was silent" in found(explain(facts(tracks=[dark])), Reason.SILENT)


def test_place_of_which_all_is_missing_has_the_silence_alone():
    dark = track(dict.fromkeys(range(520, 580), -1))

    assert reasons(explain(facts(tracks=[dark]))) == [Reason.SILENT]


def test_young_baseline_is_told():
    assert "less than 48 hours" in found(explain(facts(tracks=[track(warming=True)])), Reason.WARMING)


def test_time_that_is_decided_in_part_is_told():
    assert "Decided up to 09:20 only" in found(explain(facts(decided=at(560))), Reason.NOT_DECIDED)

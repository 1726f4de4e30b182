"""What holds for incidents whatever is seen: neither records' cuts and order nor restarts change what is said."""

from __future__ import annotations

from itertools import groupby, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import alert as alerts_topic
from detectors.alert import Alert, Pager, Severity, State
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.series import Names, Series
from detectors.surges import Recent, SurgeRecord, SurgeRow, Tick

BEGIN = 1_666_681_440_000
TICK = 10_000
BUCKET = 60_000
LATENESS = 3_000
PARTITIONS = 2
#: Far behind everything, so that all incidents are over for good.
END = BEGIN + 100 * BUCKET

# Short times, so that incidents open, end and come back within few ticks.
RULE = IncidentRule(close_after_seconds=20, reopen_seconds=200, update_seconds=40)

sightings = st.tuples(
    st.integers(0, 60),  # tick
    st.sampled_from([("calls", "it"), ("tweets", "it"), ("calls", "")]),
    st.integers(0, PARTITIONS - 1),  # a service lives in one partition
    st.sampled_from([-1.0, 0.1, 0.7, 1.3, 2.0, 3.1, 8.5]),
    st.integers(-1, 300),  # observed
    st.integers(0, 90),  # onset, buckets back; 0: none
    st.integers(0, 60),  # recent buckets
)


def row(sighting: tuple[int, tuple[str, str], int, float, int, int, int]) -> SurgeRow:
    tick, (source, region), partition, evidence, observed, back, buckets = sighting
    start = BEGIN + tick * TICK // BUCKET * BUCKET
    closed = tick % 6 == 5
    fraction = (tick % 6 + 1) / 6
    recent = Recent(60, start + BUCKET, [observed] * buckets, [7.3] * buckets, [2.2] * buckets, [12.4 + back] * buckets)
    return SurgeRow(
        series=Series(source, f"service{partition}", region),
        names=Names(f"Service{partition} by {source}", region),
        evidence=evidence,
        onset=start - back * BUCKET if back else 0,
        start=start,
        closed=closed,
        observed=observed,
        expected=7.3 * fraction,
        low=2.2 * fraction,
        high=12.4 * fraction,
        recent=recent if closed and buckets else None,
    )


def ticks_of(seen: list[tuple[int, tuple[str, str], int, float, int, int, int]]) -> list[list[Tick]]:
    """The ticks of each partition, in order."""
    first = {sighting[:3]: sighting for sighting in seen}  # a series has one row at a tick
    ticks: list[list[Tick]] = [[] for _ in range(PARTITIONS)]
    in_order = sorted(first.values(), key=lambda s: (s[2], s[0], s[1]))
    for (partition, tick), group in groupby(in_order, key=lambda s: (s[2], s[0])):
        ticks[partition].append(Tick(BEGIN + (tick + 1) * TICK + LATENESS, [row(sighting) for sighting in group]))
    return ticks


def one_after_the_other(ticks: list[list[Tick]]) -> list[SurgeRecord]:
    """Every partition whole, one after the other."""
    return [SurgeRecord(p, PARTITIONS, END, ticks[p]) for p in range(PARTITIONS)]


def told(judge: Judge, records: list[SurgeRecord]) -> list[Alert]:
    return [alert for record in records for alert in judge.apply(record)]


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[list[Tick]], list[SurgeRecord]]:
    """Ticks, and records that carry them: cut anywhere, partitions interleaved anyhow."""
    few_or_many = st.lists(sightings, max_size=5) | st.lists(sightings, min_size=20, max_size=60)
    ticks = ticks_of(draw(few_or_many))
    records: list[SurgeRecord] = []
    queues = []
    for partition in range(PARTITIONS):
        cuts = draw(st.lists(st.integers(BEGIN, BEGIN + 65 * TICK), max_size=12))
        queue, before = [], 0
        for through in sorted({*cuts, END}):
            inside = [tick for tick in ticks[partition] if before < tick.at <= through]
            queue.append(SurgeRecord(partition, PARTITIONS, through, inside))
            before = through
        queues.append(queue)
    turns = draw(st.permutations([p for p in range(PARTITIONS) for _ in queues[p]]))
    for partition in turns:
        records.append(queues[partition].pop(0))
    return ticks, records


@given(logs())
@settings(max_examples=60, deadline=None)
def test_cuts_and_interleaving_of_records_change_nothing(log):
    ticks, records = log

    assert told(Judge(RULE, PARTITIONS), records) == told(Judge(RULE, PARTITIONS), one_after_the_other(ticks))


@given(logs(), st.lists(st.booleans(), min_size=40, max_size=40))
@settings(max_examples=60, deadline=None)
def test_snapshot_and_restore_at_any_point_change_nothing(log, restarts):
    _, records = log
    undisturbed, judge = Judge(RULE, PARTITIONS), Judge(RULE, PARTITIONS)

    for record, restart in zip(records, restarts, strict=False):
        expected = [alerts_topic.encode(alert) for alert in undisturbed.apply(record)]
        if restart:
            judge = Judge.from_state(RULE, PARTITIONS, judge.to_state())
        assert [alerts_topic.encode(alert) for alert in judge.apply(record)] == expected
        assert judge.to_state() == undisturbed.to_state()
        assert judge.open_by_severity() == undisturbed.open_by_severity()


@given(logs(), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_replay_from_any_point_says_nothing_again(log, reached, back_to):
    ticks, records = log
    judge = Judge(RULE, PARTITIONS)

    alerts = told(judge, records[:reached])
    alerts += told(judge, records[min(back_to, reached) :])

    assert alerts == told(Judge(RULE, PARTITIONS), one_after_the_other(ticks))


@given(logs(), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_replay_from_the_beginning_in_other_records_says_nothing_again(log, reached):
    ticks, records = log
    judge = Judge(RULE, PARTITIONS)

    alerts = told(judge, records[:reached])
    alerts += told(judge, one_after_the_other(ticks))

    assert alerts == told(Judge(RULE, PARTITIONS), one_after_the_other(ticks))


@given(logs())
@settings(max_examples=60, deadline=None)
def test_every_incident_opens_once_and_is_told_in_order_until_it_is_resolved(log):
    _, records = log
    judge = Judge(RULE, PARTITIONS)

    alerts = told(judge, records)

    assert [alert.updated_at for alert in alerts] == sorted(alert.updated_at for alert in alerts)
    for incident in {alert.id for alert in alerts}:
        life = [alert for alert in alerts if alert.id == incident]
        assert [alert.sequence for alert in life] == list(range(1, len(life) + 1))
        assert [alert.state is State.OPEN for alert in life] == [True] + [False] * (len(life) - 1)
        assert len({(alert.service.split()[0], alert.region) for alert in life}) == 1
        assert life[-1].state is State.RESOLVED
        for before, after in pairwise(life):
            # Only a resolved incident has another episode, and nothing else follows.
            assert after.episode == before.episode + (before.state is State.RESOLVED)
    assert judge.open_by_severity() == dict.fromkeys(Severity, 0)
    assert judge.to_state() == Judge.from_state(RULE, PARTITIONS, judge.to_state()).to_state()


@given(logs())
@settings(max_examples=60, deadline=None)
def test_within_an_episode_severity_and_evidence_never_drop_and_the_start_stays(log):
    _, records = log

    alerts = told(Judge(RULE, PARTITIONS), records)

    ranks = list(Severity)
    episodes: dict[tuple[str, int], list[Alert]] = {}
    for alert in alerts:
        episodes.setdefault((alert.id, alert.episode), []).append(alert)
    for episode in episodes.values():
        assert len({(alert.started_at, alert.detected_at) for alert in episode}) == 1
        for before, after in pairwise(episode):
            assert ranks.index(after.severity) >= ranks.index(before.severity)
            assert after.evidence >= before.evidence
            assert set(after.sources) >= set(before.sources)


@given(logs())
@settings(max_examples=60, deadline=None)
def test_every_alert_is_read_back_as_it_was_written(log):
    _, records = log

    for alert in told(Judge(RULE, PARTITIONS), records):
        assert alerts_topic.decode(alerts_topic.encode(alert)) == alert
        assert alert.started_at <= alert.detected_at <= alert.updated_at
        assert alert.expected_low <= alert.expected <= alert.expected_high


@given(logs())
@settings(max_examples=60, deadline=None)
def test_judge_keeps_count_of_the_pages_that_its_alerts_are(log):
    _, records = log
    judge, pager = Judge(RULE, PARTITIONS), Pager()

    paged = sum(pager.pages(alert) for alert in told(judge, records))

    assert sum(pages for _, pages in judge.pages.hours) == paged

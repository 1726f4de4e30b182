"""Trial: each judge says what the workers would say with its threshold, and the trade is told from that."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from bench import feeds
from detectors import alert as alerts_topic
from detectors.alert import Alert, Pager, State
from detectors.budget import Verdict
from detectors.counts import ChunkCounts
from detectors.detection import Detection
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.rules import Rules
from detectors.source import SourceRule
from detectors.surge import SurgeRule
from detectors.surges import SurgeRecord
from detectors.trial import LADDER, Trial, thresholds

TRIED = (1.5, 2.5, 4.0)
#: To run detection for each of them is slow.
COMPARED = (1.5, 4.0)
DAYS = 2


@pytest.fixture(scope="module")
def feed() -> feeds.Feed:
    """Two days of a small feed in which much breaks."""
    feed = feeds.make(3, weeks=1, services=4, regions=2, outages=40, wide_outages=4, bursts=40, silences=10)
    return feeds.Feed(feed.names, feed.counts[: DAYS * feeds.DAY])


def rules(bucket_seconds: int = 60, **changes: object) -> Rules:
    made = Rules(
        source_default=SourceRule(bucket_seconds=bucket_seconds),
        surge=SurgeRule(warming_hours=0),
        partitions=1,
        reports_partitions=1,
    )
    return replace(made, **changes)


def surges(rules: Rules, messages: Iterator[ChunkCounts]) -> Iterator[SurgeRecord]:
    detection = Detection(rules, 0)
    for message in messages:
        yield from detection.take(message)


def said(rules: Rules, feed: feeds.Feed, **rows: int) -> list[Alert]:
    """What a worker with these rules says, in the encoding's precision."""
    judge = Judge(rules.incidents, 1)
    return [each for record in surges(rules, feeds.messages(feed, **rows)) for each in judge.apply(record)]


def tried(rules: Rules, feed: feeds.Feed, **rows: int) -> tuple[Trial, list[list[Alert]]]:
    trial = Trial(rules, TRIED)
    told: list[list[Alert]] = [[] for _ in TRIED]
    for record in surges(trial.rules, feeds.messages(feed, **rows)):
        for each, alerts in zip(told, trial.apply(record), strict=True):
            each += alerts
    return trial, told


def compared(told: list[list[Alert]]) -> list[tuple[float, list[Alert]]]:
    return [(each, alerts) for each, alerts in zip(TRIED, told, strict=True) if each in COMPARED]


def pages(alerts: list[Alert]) -> list[tuple[str, int, str]]:
    pager = Pager()
    return [(each.id, each.episode, each.updated_at) for each in alerts if pager.pages(each)]


@pytest.mark.parametrize("close_at", [0.5, 0.2])
def test_each_judge_says_byte_for_byte_what_a_worker_with_its_threshold_says(feed, close_at):
    quiet = IncidentRule(open_at=2.0, close_at=close_at, update_seconds=86_400.0)

    _, told = tried(rules(incidents=quiet), feed)

    for threshold, alerts in compared(told):
        alone = said(rules(incidents=replace(quiet, open_at=threshold)), feed)
        assert [*map(alerts_topic.encode, alerts)] == [*map(alerts_topic.encode, alone)]
    assert len(told[0]) > len(told[-1]) > 0


def test_buckets_of_an_hour_are_told_to_each_judge_as_to_a_worker(feed):
    hours = feeds.Feed(feed.names, feed.counts.reshape(-1, 60, len(feed.names)).sum(axis=1))
    slow = rules(3600, incidents=IncidentRule(update_seconds=86_400.0))

    _, told = tried(slow, hours, bucket_minutes=60)

    for threshold, alerts in compared(told):
        alone = said(replace(slow, incidents=replace(slow.incidents, open_at=threshold)), hours, bucket_minutes=60)
        assert [*map(alerts_topic.encode, alerts)] == [*map(alerts_topic.encode, alone)]
    assert told[0]


def test_pages_that_are_counted_are_those_of_a_worker_with_its_regular_updates(feed):
    trial, _ = tried(rules(), feed)

    for trade in (each for each in trial.found().trades if each.threshold in COMPARED):
        alone = said(rules(incidents=IncidentRule(open_at=trade.threshold)), feed)
        assert trade.pages == len(pages(alone))
        assert trade.incidents == len({(each.id, each.episode) for each in alone})


def test_what_is_lost_and_late_is_against_the_lowest_threshold(feed):
    trial, told = tried(rules(), feed)

    found = trial.found()

    lowest = found.trades[0]
    assert (lowest.lost, lowest.late, lowest.biggest) == (0, 0, None)
    assert len(found.marks) == lowest.pages
    assert all(trade.lost >= lowest.pages - trade.pages for trade in found.trades)
    assert found.trades[0].lost == 0
    for trade, alerts in zip(found.trades, told, strict=True):
        assert trade.pages == len(pages(alerts))
        # An episode pages for a threshold that its evidence reached; it may be over before it has become an error.
        assert abs(sum(mark >= trade.threshold for mark in found.marks) - trade.pages) <= 1
    highest = found.trades[-1]
    assert highest.biggest is not None
    assert highest.biggest.excess == max(
        each.observed - each.expected for each in last_of_each_page(told[0]) if each.evidence < highest.threshold
    )
    assert 0 < highest.delay <= highest.worst


def last_of_each_page(alerts: list[Alert]) -> list[Alert]:
    paged = {(id, episode) for id, episode, _ in pages(alerts)}
    last = {(each.id, each.episode): each for each in alerts}
    return [each for key, each in last.items() if key in paged]


def test_found_can_be_asked_at_any_time_and_changes_nothing(feed):
    records = list(surges(Trial(rules(), TRIED).rules, feeds.messages(feed)))
    asked, unasked = Trial(rules(), TRIED), Trial(rules(), TRIED)
    for record in records:
        asked.apply(record)
        asked.found()
        unasked.apply(record)

    assert msgspec.json.encode(asked.found()) == msgspec.json.encode(unasked.found())


def test_pages_while_baselines_warm_up_do_not_count(feed):
    warming = rules(surge=SurgeRule(warming_hours=24))

    trial, told = tried(warming, feed)

    found = trial.found()
    start = feeds.BEGIN_MS + 24 * 3_600_000
    after = [at for *_, at in pages(told[0]) if np.datetime64(at[:-1], "ms").astype(int) >= start + 6 * 3_600_000]
    before = len(pages(told[0])) - found.trades[0].pages
    assert before > 0
    assert found.trades[0].pages >= len(after)
    assert found.weeks == pytest.approx((DAYS - 1) / 7, abs=0.04)


def test_history_of_two_days_is_too_short_for_a_budget(feed):
    trial, _ = tried(rules(), feed)

    assert trial.found().choose(2.0).verdict is Verdict.SHORT


def test_no_records_are_no_history():
    found = Trial(rules(), TRIED).found()

    assert (found.weeks, found.marks) == (0.0, [])
    assert found.choose(2.0).verdict is Verdict.SHORT


def test_thresholds_lie_above_the_one_that_closes_and_include_the_present():
    assert thresholds(IncidentRule()) == LADDER
    assert thresholds(IncidentRule(open_at=3.3, close_at=3.1))[:2] == (3.2, 3.3)
    assert thresholds(IncidentRule(open_at=2000.0))[-1] == 2000.0


def test_incident_that_is_resolved_only_as_an_error_is_no_page():
    pager = Pager()
    alert = next(each for each in said(rules(), feeds.Feed([("a", "b")], _burst())) if each.state is State.OPEN)

    assert pager.pages(replace(alert, state=State.RESOLVED)) is False
    assert pager.pages(alert) is True
    assert pager.pages(replace(alert, sequence=2, state=State.UPDATE)) is False
    assert pager.pages(replace(alert, sequence=3, episode=2, state=State.UPDATE)) is True
    assert pager.pages(replace(alert, id="other", severity="warning")) is False
    assert pager.pages(replace(alert, id="other", parent=alert.id)) is False


def _burst() -> np.ndarray:
    counts = np.full((720, 1), 2, dtype=np.int64)
    counts[700:] = 90
    return counts

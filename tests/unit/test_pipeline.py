"""Pipeline: what it has learned, stages go on from as if they had read all of it themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from detectors import alert
from detectors.counts import NameCache, PartitionCounter
from detectors.detection import Detection
from detectors.judge import Judge
from detectors.pipeline import Learned, Pipeline, PlainRecord
from detectors.rules import Rules
from detectors.snapshot import Mismatch
from tests.pipeline import feeds
from tests.pipeline.harness import Sent, by_partition

RULES = Rules()
NOW = 1_700_000_000_000
#: Records that are read at once.
PORTION = 1000
#: Before the outages of the feed, where its first service is broken, and where the second one is, too.
CUTS = (0.6, 0.77, 0.79)
#: Offsets of the partitions at which the history ends.
STARTS = ([0, 0, 0, 0], [9, 4095, 4096, 123_456], [1, 1, 1, 1])


@pytest.fixture(scope="module")
def feed() -> list[Sent]:
    return feeds.outage(5, partitions=RULES.reports_partitions, hours=4)


def portions(records: Sequence[Sent]) -> Iterator[tuple[int, list[bytes | None]]]:
    for begin in range(0, len(records), PORTION):
        yield from by_partition(records[begin : begin + PORTION]).items()


def read(pipeline: Pipeline, records: Sequence[Sent]) -> list[bytes]:
    return [
        said
        for partition, values in portions(records)
        for said in pipeline.read(partition, values, [NOW] * len(values))
    ]


def go_on(learned: Learned, records: Sequence[Sent]) -> tuple[list[bytes], int]:
    """The alerts of stages that start from what was learned, and how many records they reject."""
    names = NameCache(RULES)
    counters = [PartitionCounter(names, number, position) for number, position in enumerate(learned.ingest)]
    detections = [Detection.restore(RULES, number, state) for number, state in enumerate(learned.detect)]
    judge = Judge.from_state(RULES.incidents, RULES.partitions, learned.judge)
    said: list[bytes] = []
    rejected = 0
    for partition, values in portions(records):
        counter = counters[partition]
        waiting = [PlainRecord(counter.upto + number, NOW, value) for number, value in enumerate(values)]
        done = 0
        while done < len(waiting):
            done, bad = counter.read(waiting, done)
            rejected += len(bad)
            for detection, message in zip(detections, counter.messages(), strict=True):
                detection.apply(message)
                while told := detection.advance():
                    said += [alert.encode(each) for record in told for each in judge.apply(record)]
            if counter.full:
                counter.seal()
    return said, rejected


@pytest.mark.parametrize(("cut", "starts"), [*zip(CUTS, STARTS, strict=True)])
def test_alerts_from_a_state_are_those_of_reading_on(feed, cut, starts):
    at = round(cut * len(feed))
    history, later = feed[:at], feed[at:]
    whole, first = Pipeline(RULES), Pipeline(RULES)
    read(whole, history)
    rejected = whole.rejected.total()
    read(first, history)

    said, bad = go_on(first.learned(starts), later)

    assert said == read(whole, later)
    assert len(said) > 1
    assert bad == whole.rejected.total() - rejected


def test_what_is_older_than_the_history_is_late_afterwards(feed):
    first = Pipeline(RULES)
    read(first, feed)
    learned = first.learned([0, 0, 0, 0])

    said, rejected = go_on(learned, feed[:1000])

    assert (said, rejected) == ([], 1000)


def test_incident_that_is_open_at_the_end_of_the_history_goes_on(feed):
    first = Pipeline(RULES)
    at = round(0.79 * len(feed))
    read(first, feed[:at])
    assert first.open_incidents >= 2

    said, _ = go_on(first.learned([0, 0, 0, 0]), feed[at:])

    told = [alert.decode(each) for each in said]
    assert told[0].state is alert.State.UPDATE
    assert told[0].id in {each.id for each in told if each.state is alert.State.RESOLVED}


def test_learned_state_knows_for_how_many_partitions_it_is(feed):
    first = Pipeline(RULES)
    read(first, feed[:1000])

    learned = first.learned([0, 0, 0, 0])

    with pytest.raises(Mismatch):
        Detection.restore(Rules(partitions=2), 0, learned.detect[0])

"""Counting: nothing is lost, nothing counts twice, and the order of the inputs changes nothing."""

from __future__ import annotations

import json
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import counts as counting
from detectors.counts import BEGIN, ChunkCounts, NameCache, PartitionCounter, Position
from detectors.detection import Detection
from detectors.pipeline import PlainRecord
from detectors.rollup import is_rollup
from detectors.rules import Rules
from detectors.surges import SurgeRecord
from detectors.watermark import NEVER

T0 = 1_666_681_200_000
RULES = Rules(partitions=1, reports_partitions=2)

good = st.builds(
    lambda service, ms, count: {"service": service, "time": T0 + ms, "count": count},
    st.sampled_from(["a", "A", "b", "c"]),
    st.integers(0, 600_000),
    st.integers(0, 3),
)
values = st.lists(
    st.one_of(good.map(lambda report: json.dumps(report).encode()), st.binary(max_size=30), st.none()), max_size=60
)
#: Offsets have gaps, as a compacted or transactional topic has them.
gaps = st.lists(st.integers(0, 3), min_size=60, max_size=60)


def records(values: list[bytes | None], gaps: list[int]) -> list[PlainRecord]:
    offset, made = 0, []
    for value, gap in zip(values, gaps, strict=False):
        offset += gap
        made.append(PlainRecord(offset, T0, value))
        offset += 1
    return made


def read(
    partition: int, log: list[PlainRecord], cuts: list[int], at: Position = BEGIN
) -> list[tuple[Position, list[ChunkCounts], int]]:
    """What a worker sends for a partition read in pieces: (where the chunk began, messages, reports so far)."""
    counter = PartitionCounter(NameCache(RULES), partition, at)
    sent, position, begin = [], at, 0
    todo = [record for record in log if record.offset >= at.offset]
    while begin < len(todo):
        piece = todo[: begin + (cuts[begin % len(cuts)] or 1)]
        begin, _ = counter.read(piece, begin)
        sent.append((position, counter.messages(), counter.counted))
        if counter.full:
            position = counter.seal()
    return sent


def totals(detection: Detection) -> Counter[tuple[str, int]]:
    """Reports by series and tick that a detection has open; nothing is closed in these tests."""
    found: Counter[tuple[str, int]] = Counter()
    for watch in detection._watches.values():
        for tick, reports in watch.window.ticks.items():
            for series, count in reports.new.items():
                if not is_rollup(series.service, series.region):
                    found[series.service, tick] += count
            assert not reports.rows  # a row is only given when a tick closes
    return found


@given(values, gaps, st.lists(st.integers(1, 20), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_every_record_is_counted_or_rejected_however_it_is_cut(values, gaps, cuts):
    log = records(values, gaps)
    counter = PartitionCounter(NameCache(RULES), 0, BEGIN)
    begin, rejected = 0, []
    while begin < len(log):
        begin, more = counter.read(log[: begin + cuts[begin % len(cuts)]], begin)
        rejected += more
        if counter.full:
            counter.seal()

    assert counter.counted + len(rejected) == len(log)
    whole = PartitionCounter(NameCache(RULES), 0, BEGIN)
    _, at_once = whole.read(log)
    assert [(record.offset, why.reason) for record, why in at_once] == [
        (record.offset, why.reason) for record, why in rejected
    ]


@given(values, gaps, st.data())
@settings(max_examples=60, deadline=None)
def test_replayed_chunks_change_no_count(values, gaps, data):
    monkey = counting.CHUNK_OFFSETS
    counting.CHUNK_OFFSETS = 8
    try:
        log = records(values, gaps)
        first = read(0, log, data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
        once, disturbed = Detection(RULES, 0), Detection(RULES, 0)
        for _, (message,), _ in first:
            once.apply(message)
        # The worker dies after some of its messages, and another goes on from a chunk's begin, cutting differently.
        died = data.draw(st.integers(0, len(first)))
        for _, (message,), _ in first[:died]:
            disturbed.apply(message)
        at = first[data.draw(st.integers(0, died - 1))][0] if died else BEGIN
        for _, (message,), _ in read(0, log, data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)), at):
            disturbed.apply(message)

        assert totals(disturbed) == totals(once)
        assert sum(totals(once).values()) == sum(
            json.loads(record.value)["count"]
            for record in log
            if record.value and record.value.startswith(b'{"service"') and record.offset not in _rejected(log)
        )
    finally:
        counting.CHUNK_OFFSETS = monkey


def _rejected(log: list[PlainRecord]) -> set[int]:
    counter, begin, found = PartitionCounter(NameCache(RULES), 0, BEGIN), 0, set()
    while begin < len(log):
        begin, rejected = counter.read(log, begin)
        found |= {record.offset for record, _ in rejected}
        counter.seal()
    return found


def drive(messages: list[ChunkCounts]) -> tuple[list[SurgeRecord], bytes]:
    detection, told = Detection(RULES, 0), []
    for message in messages:
        detection.apply(message)
        while surges := detection.advance():
            told += surges
    return told, detection.save()


@given(
    st.lists(good, min_size=1, max_size=80), st.lists(good, min_size=1, max_size=80), st.randoms(use_true_random=False)
)
@settings(max_examples=40, deadline=None)
def test_how_input_partitions_interleave_changes_no_tick(left, right, random):
    def messages(partition: int, reports: list[dict[str, object]]) -> list[ChunkCounts]:
        ordered = sorted(reports, key=lambda report: report["time"])  # type: ignore[arg-type, return-value]
        log = [PlainRecord(i, T0 + 3_600_000, json.dumps(report).encode()) for i, report in enumerate(ordered)]
        return [message for _, (message,), _ in read(partition, log, [7])]

    a, b = messages(0, left), messages(1, right)
    mixed, i, j = [], 0, 0
    while i < len(a) or j < len(b):
        if j == len(b) or (i < len(a) and random.random() < 0.5):
            mixed.append(a[i])
            i += 1
        else:
            mixed.append(b[j])
            j += 1

    told, state = drive(a + b)
    told_mixed, state_mixed = drive(mixed)

    assert [tick for record in told for tick in record.ticks] == [
        tick for record in told_mixed for tick in record.ticks
    ]
    assert Detection.restore(RULES, 0, state).through == Detection.restore(RULES, 0, state_mixed).through


@given(st.lists(good, min_size=1, max_size=120), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_going_on_from_a_snapshot_gives_what_going_on_without_a_stop_gives(reports, cut):
    ordered = sorted(reports, key=lambda report: report["time"])
    log = [PlainRecord(i, T0 + 3_600_000, json.dumps(report).encode()) for i, report in enumerate(ordered)]
    messages = [message for _, (message,), _ in read(0, log, [5])]
    messages.insert(0, ChunkCounts(1, 2, 0, 0, T0 + 10_000_000, [], {}, [], [], [], [], []))
    straight, stopped = Detection(RULES, 0), Detection(RULES, 0)

    for number, message in enumerate(messages):
        straight.apply(message)
        stopped.apply(message)
        while surges := straight.advance():
            assert stopped.advance() == surges
        assert stopped.advance() == []
        if number % cut == 0:
            stopped = Detection.restore(RULES, 0, stopped.save())

    assert stopped.save() == straight.save()


def test_partition_of_reports_that_is_still_empty_clears_only_what_was_said_before_it():
    detection = Detection(RULES, 0)
    empty = ChunkCounts(1, 2, 0, 0, NEVER, [], {}, [], [], [], [], [])
    detection.apply(ChunkCounts(0, 2, 0, 9, T0, [], {}, [], [], [], [], []))
    assert detection.watermark == NEVER

    detection.apply(empty)
    assert detection.watermark == T0
    detection.apply(ChunkCounts(0, 2, 0, 10, T0 + 60_000, [], {}, [], [], [], [], []))
    assert detection.watermark == T0
    detection.apply(empty)
    assert detection.watermark == T0 + 60_000

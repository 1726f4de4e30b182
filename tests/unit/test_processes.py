"""Detection in processes of its own gives what detection in this one gives."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.alert import Kind, decode
from detectors.counts import ChunkCounts
from detectors.episodes import History
from detectors.excerpts import Recorder
from detectors.pipeline import Detections, Here, Learned, Pipeline
from detectors.rules import Rules
from streams import processes
from streams.fault import Fault
from streams.processes import Processes
from tests.made_episodes import DAY, known
from tests.pipeline.feeds import outage

RULES = Rules(partitions=3, reports_partitions=2)
STAMP = DAY + 86_400_000
STARTS = [5, 0]


@pytest.fixture(scope="module")
def feed() -> dict[int, list[bytes | None]]:
    made: dict[int, list[bytes | None]] = {0: [], 1: []}
    for partition, value in outage(3, partitions=2, hours=4):
        made[partition].append(value)
    return made


def play(feed: dict[int, list[bytes | None]], where: Detections) -> tuple[list[bytes], Learned]:
    pipeline = Pipeline(RULES, where)
    alerts: list[bytes] = []
    for begin in range(0, max(map(len, feed.values())), 2000):
        for partition, values in feed.items():
            piece = values[begin : begin + 2000]
            alerts += pipeline.read(partition, piece, [STAMP] * len(piece))
    return alerts + pipeline.rest(), pipeline.learned(STARTS)


def test_alerts_excerpts_and_states_are_those_of_one_process(feed):
    labels = [known(7, 9), known(2, 5, service="TIM")]
    here, there = Recorder(labels), Recorder(labels)
    one = Here(RULES, observer=here)
    alerts, learned = play(feed, one)
    here.finish()
    several = Processes(RULES, 2, there)
    try:
        assert play(feed, several) == (alerts, learned)
        assert (several.series, several.overflowed) == (one.series, one.overflowed)
    finally:
        several.close()

    history = History()
    for each in alerts:
        history.apply(decode(each))
    # A silent source has nothing to show.
    pairs = [(here.of(each), there.of(each)) for each in history.episodes() if each.kind is not Kind.FEED]
    pairs += [(here.of_label(index), there.of_label(index)) for index in range(len(labels))]
    assert len(pairs) > len(labels)
    for mine, theirs in pairs:
        assert mine
        for one_excerpt, other in zip(mine, theirs, strict=True):
            assert one_excerpt.series == other.series
            assert np.array_equal(one_excerpt.starts, other.starts)
            assert np.array_equal(one_excerpt.values, other.values, equal_nan=True)


def test_what_goes_wrong_in_a_process_is_told_here():
    several = Processes(RULES, 2, None)
    try:
        several.take([ChunkCounts(0, 7, 0, 1, 0, [], {}, [], [], [], [], []) for _ in range(3)])
        with pytest.raises(RuntimeError, match=r"counts of partition 0 of 7, but topics\.reports_partitions is 2"):
            several.rest()
    finally:
        several.close()


def test_a_process_that_ends_is_told_here():
    several = Processes(RULES, 2, None)
    try:
        several._processes[1][0].kill()
        several._processes[1][0].join()
        with pytest.raises(Fault, match=r"exit code -9\. It was killed"):
            several.rest()
    finally:
        several.close()


@pytest.mark.parametrize(("size", "partitions", "apart"), [(99, 3, False), (100, 3, True), (100, 1, False)])
def test_processes_are_for_long_files_and_several_partitions(tmp_path, monkeypatch, size, partitions, apart):
    monkeypatch.setattr(processes, "LEAST_BYTES", 100)
    monkeypatch.setattr(processes, "processors", lambda: 2)
    file = tmp_path / "reports.ndjson"
    file.write_bytes(b"\n" * size)

    with processes.detections(Rules(partitions=partitions), file) as where:
        assert isinstance(where, Processes) is apart

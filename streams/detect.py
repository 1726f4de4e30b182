"""Detect: report-counts → surges. Merges counts, closes buckets, scores series; its state is kept in snapshots."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from heapq import nlargest
from time import time
from typing import Any

import faust
import msgspec
import numpy as np
import structlog

from detectors.counts import decode_counts
from detectors.detection import Detection
from detectors.rules import Rules
from detectors.surges import encode
from detectors.watch import Busy
from streams.health import Health
from streams.metrics import Metrics
from streams.outbox import Outbox
from streams.state import StateTable
from streams.topics import Topics

STAGE = "detect"

log = structlog.get_logger(__name__)


class _Lane:
    """A partition of `report-counts` in this worker's hands. upto: the next offset to apply; kept: of the snapshot."""

    def __init__(self, partition: int, detection: Detection, upto: int) -> None:
        self.partition = partition
        self.detection = detection
        self.upto = upto
        self.kept = upto
        self.buckets = 0
        self.overflowed = detection.overflowed
        self._busiest: tuple[tuple[int, int], list[Busy]] = ((-1, 0), [])

    def busiest(self, most: int) -> list[Busy]:
        """See `Detection.busiest`: looked for once for each bucket that closes, however often it is asked."""
        key = self.detection.buckets_closed, most
        if self._busiest[0] != key:
            self._busiest = key, self.detection.busiest(most)
        return self._busiest[1]


class Detect:
    """The stage behind `report-counts`."""

    def __init__(
        self, app: faust.App, rules: Rules, topics: Topics, state: StateTable, metrics: Metrics, health: Health
    ) -> None:
        self._app = app
        self._rules = rules
        self._topics = topics
        self._state = state
        self._metrics = metrics
        self._health = health
        self._outbox = Outbox(app)
        self._lanes: dict[int, _Lane] = {}
        self._lock = asyncio.Lock()

    async def resume(self, assigned: frozenset[int]) -> Mapping[int, int]:
        """Take up newly assigned partitions from their snapshot, let go of the others."""
        async with self._lock:
            self.release(assigned)
            for partition in assigned - self._lanes.keys():
                kept = self._state.load(partition, partial(Detection.restore, self._rules, partition))
                detection, offset = kept or (Detection(self._rules, partition), 0)
                self._lanes[partition] = _Lane(partition, detection, offset)
                log.info("partition taken up", stage=STAGE, partition=partition, offset=offset, series=detection.series)
            return self.positions()

    def positions(self) -> Mapping[int, int]:
        """The offset to read next of each partition in hand."""
        return {partition: lane.upto for partition, lane in self._lanes.items()}

    def release(self, assigned: frozenset[int]) -> None:
        """Let go of partitions that are no longer assigned, as soon as that is known."""
        for partition in self._lanes.keys() - assigned:
            del self._lanes[partition]
            self._metrics.forget_lag(self._topics.counts, partition)
            with contextlib.suppress(KeyError):
                self._metrics.series_tracked.remove(str(partition))

    def busiest(self, most: int) -> list[Busy]:
        """Of all partitions in hand, the series of which most reports a minute are expected, at most so many."""
        found = (each for lane in self._lanes.values() for each in lane.busiest(most))
        return nlargest(most, found, key=lambda each: each.expected)

    def _holds(self, lane: _Lane) -> bool:
        """Whether no rebalance took the partition away meanwhile."""
        return self._lanes.get(lane.partition) is lane

    async def handle(self, partition: int, records: Sequence[Any]) -> None:
        """Apply the counts of a fetch; returns when the surges that follow are with the broker."""
        async with self._lock:
            lane = self._lanes.get(partition)
            if lane is None:
                return  # taken away meanwhile: its next owner reads them
            for record in records:
                if record.offset < lane.upto:
                    continue
                try:
                    counts = decode_counts(record.value)
                except msgspec.MsgspecError as error:
                    log.error(
                        "a record on report-counts is not ours; keep others from writing there",
                        partition=lane.partition,
                        offset=record.offset,
                        error=str(error),
                    )
                    lane.upto = record.offset + 1
                    continue
                lane.detection.apply(counts)
                while steps := lane.detection.advance():
                    for surges in steps:
                        await self._outbox.put(self._topics.surges, 0, encode(surges), key=b"%d" % lane.partition)
                        for tick in surges.ticks:
                            self._metrics.scores.observe(np.array([row.evidence for row in tick.rows]))
                    await asyncio.sleep(0)
                lane.upto = record.offset + 1
            await self._outbox.flush()
            self._tell(lane)
            if self._state.due(lane.partition):
                await self._save(lane)

    def _tell(self, lane: _Lane) -> None:
        detection, metrics = lane.detection, self._metrics
        self._health.moved(STAGE, time())
        if self._holds(lane):
            metrics.series_tracked.labels(lane.partition).set(detection.series)
        metrics.buckets_closed.inc(detection.buckets_closed - lane.buckets)
        metrics.series_overflow.inc(detection.overflowed - lane.overflowed)
        lane.buckets, lane.overflowed = detection.buckets_closed, detection.overflowed
        mark = min((lane.detection.through for lane in self._lanes.values()), default=-1)
        if mark >= 0:
            metrics.watermark.set(mark / 1000)

    def _tell_lag(self) -> None:
        waiting = 0
        for lane in self._lanes.values():
            lag = self._app.consumer.lag(self._topics.counts, lane.partition, lane.upto) or 0
            self._metrics.input_lag.labels(self._topics.counts, lane.partition).set(lag)
            waiting += lag
        self._health.lag(STAGE, waiting, time())

    async def _save(self, lane: _Lane) -> None:
        if lane.kept == lane.upto or not self._holds(lane):
            return
        size = await self._state.save(lane.partition, lane.upto, lane.detection.save())
        lane.kept = lane.upto
        self._metrics.snapshots.labels(STAGE).inc()
        self._metrics.snapshot_bytes.labels(STAGE).set(size)

    async def run(self) -> None:
        """Write the snapshots that are due after the last record came, and tell the lag, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            # Before the lock is waited for: whoever holds it may be what stands still.
            self._tell_lag()
            async with self._lock:
                for lane in list(self._lanes.values()):
                    if self._holds(lane) and self._state.due(lane.partition):
                        await self._save(lane)
                kept = {lane.partition: lane.kept for lane in self._lanes.values()}
            await self._app.consumer.commit_positions(self._topics.counts, kept)

"""Ingest: reports → report-counts. Validates, counts in chunks, sends bad input to the dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic, time
from typing import Any

import faust
import structlog
from aiokafka.errors import KafkaError
from faust.types import TP

from detectors.counts import (
    BEGIN,
    CHUNK_OFFSETS,
    NameCache,
    PartitionCounter,
    Position,
    decode_position,
    encode,
    encode_position,
)
from detectors.rules import Rules
from detectors.watermark import NEVER
from streams import dead_letter
from streams.health import Health
from streams.metrics import Metrics
from streams.outbox import Outbox
from streams.state import StateTable
from streams.topics import Topics

#: Counts of a chunk that is not full yet go on so often; it is also how often an idle partition's watermark moves.
FLUSH_SECONDS = 0.5
#: Unless so many reports wait for it in a partition that is read to its end.
FLUSH_REPORTS = CHUNK_OFFSETS // 4
STAGE = "ingest"

log = structlog.get_logger(__name__)


class _Lane:
    """An input partition in this worker's hands."""

    def __init__(self, partition: int, counter: PartitionCounter) -> None:
        self.partition = partition
        self.counter = counter
        self.unsent = False
        self.told_records = False
        self.flushed_at = 0.0
        self.sent_upto = counter.upto
        self.moved_at = monotonic()


class Ingest:
    """The stage behind `reports`. Its table keeps for each input partition where to go on, and with which watermark."""

    def __init__(
        self, app: faust.App, rules: Rules, topics: Topics, state: StateTable, metrics: Metrics, health: Health
    ) -> None:
        self._app = app
        self._rules = rules
        self._topics = topics
        self._state = state
        self._metrics = metrics
        self._health = health
        self._names = NameCache(rules)
        self._outbox = Outbox(app)
        self._lanes: dict[int, _Lane] = {}
        self._lock = asyncio.Lock()

    async def resume(self, assigned: frozenset[int]) -> Mapping[int, int]:
        """Take up newly assigned partitions where their last sealed chunk ended, let go of the others."""
        async with self._lock:
            self.release(assigned)
            for partition in assigned - self._lanes.keys():
                # Without a state all is read again, which changes no count: detect knows those chunks.
                kept = self._state.load(partition, decode_position)
                position = BEGIN if kept is None else kept[0]
                self._lanes[partition] = _Lane(partition, PartitionCounter(self._names, partition, position))
            return self.positions()

    def positions(self) -> Mapping[int, int]:
        """The offset to read next of each partition in hand."""
        return {partition: lane.counter.upto for partition, lane in self._lanes.items()}

    def release(self, assigned: frozenset[int]) -> None:
        """Let go of partitions that are no longer assigned, as soon as that is known."""
        for partition in self._lanes.keys() - assigned:
            del self._lanes[partition]
            self._metrics.forget_lag(self._topics.reports, partition)
        if not self._lanes:
            self._metrics.watermark_age.clear()

    async def handle(self, partition: int, records: Sequence[Any]) -> None:
        """Count the records of a fetch; returns when all that follows from them is with the broker."""
        async with self._lock:
            lane = self._lanes.get(partition)
            if lane is None:
                return  # taken away meanwhile: its next owner reads them
            begin, sealed = 0, None
            counter, metrics = lane.counter, self._metrics
            while begin < len(records):
                upto, counted, volume = counter.upto, counter.counted, counter.volume
                end, rejected = counter.read(records, begin)
                for record, why in rejected:
                    metrics.reports_rejected.labels(why.reason.value).inc()
                    await self._outbox.put(
                        self._topics.dead_letter,
                        partition,
                        record.value,
                        # The producer refuses a record that has neither.
                        key=b"" if record.key is None and record.value is None else record.key,
                        headers=dead_letter.headers(why, self._topics.reports, partition, record),
                    )
                metrics.reports_counted.inc(counter.counted - counted)
                metrics.report_volume.inc(counter.volume - volume)
                metrics.reports_read.inc(counter.counted - counted + len(rejected))
                lane.unsent |= counter.upto > upto
                begin = end
                if counter.full:
                    await self._send(lane)
                    sealed = counter.seal()
                await asyncio.sleep(0)
            if lane.unsent and self._due(lane):
                await self._flush(lane)
            await self._outbox.flush()
            if sealed is not None:
                await self._keep(lane, sealed)
            lane.moved_at = monotonic()
            self._health.moved(STAGE, time())

    def _holds(self, lane: _Lane) -> bool:
        """Whether no rebalance took the partition away meanwhile."""
        return self._lanes.get(lane.partition) is lane

    def _due(self, lane: _Lane) -> bool:
        """Whether a chunk that is not full yet goes on right now and not with the next tick."""
        if not lane.told_records:
            return True  # from its first record on a partition holds others back
        lag = self._lag(lane) or 0
        if monotonic() - lane.flushed_at >= FLUSH_SECONDS:
            return lag < CHUNK_OFFSETS
        return lag == 0 and lane.counter.upto - lane.sent_upto >= FLUSH_REPORTS

    async def _flush(self, lane: _Lane) -> None:
        """Send a chunk that is not full yet."""
        await self._send(lane)
        lane.flushed_at = monotonic()

    def _lag(self, lane: _Lane) -> int | None:
        lag: int | None = self._app.consumer.lag(self._topics.reports, lane.partition, lane.counter.upto)
        return lag

    async def _send(self, lane: _Lane) -> None:
        for partition, message in enumerate(lane.counter.messages()):
            await self._outbox.put(self._topics.counts, partition, encode(message), key=b"%d" % lane.partition)
        lane.unsent, lane.sent_upto = False, lane.counter.upto
        lane.told_records = lane.counter.watermark.event != NEVER

    async def _keep(self, lane: _Lane, position: Position) -> None:
        """Keep where to go on. What came before has to be with the broker already. One block: nothing to wait for."""
        if not self._holds(lane):
            return
        records = self._state.snapshot(lane.partition, position.offset, encode_position(position))
        for key, block in records:
            await self._outbox.put(self._state.topic, lane.partition, block, key=key)

    async def run(self) -> None:
        """Send what is due and move idle partitions on, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            # First without the lock: whoever holds it may be what stands still, and so may all that waits for Kafka.
            self._health.lag(STAGE, sum(self._lag(lane) or 0 for lane in self._lanes.values()), time())
            waiting = 0
            async with self._lock:
                await self._tell_empty()
                for lane in list(self._lanes.values()):
                    waiting += await self._tick(lane)
                await self._outbox.flush()
                starts = {lane.partition: lane.counter.start for lane in self._lanes.values()}
                self._tell_age()
            self._health.lag(STAGE, waiting, time())
            await self._app.consumer.commit_positions(self._topics.reports, starts)

    async def _tell_empty(self) -> None:
        """Partitions that never had a record clear what the others have said so far, if they are still empty.

        The broker is asked: the last fetch may be from before a record that came ahead of what the others told since.
        """
        topic = self._topics.reports
        lanes = [lane for lane in self._lanes.values() if lane.counter.watermark.event == NEVER]
        if not lanes:
            return
        try:
            ends = await self._app.consumer.highwaters(*(TP(topic, lane.partition) for lane in lanes))
        except (KafkaError, TimeoutError) as error:
            log.debug("the broker does not say where partitions end; it is asked again", error=str(error))
            return
        for lane in lanes:
            lane.unsent |= (ends[TP(topic, lane.partition)] or 0) <= lane.counter.upto

    async def _tick(self, lane: _Lane) -> int:
        """Bring one partition up to date; returns how many records wait in it."""
        if not self._holds(lane):
            return 0
        known = self._lag(lane)
        lag = known or 0
        self._metrics.input_lag.labels(self._topics.reports, lane.partition).set(lag)
        if known is not None and (lag == 0 or await self._only_markers(lane, lag)):
            lag = 0
            mark = lane.counter.watermark
            if mark.live and time() * 1000 - mark.delay > mark.event:
                await self._move_on(lane)
        # A chunk that fills up within the next fetch is not worth sending twice.
        if lane.unsent and lag < CHUNK_OFFSETS and self._holds(lane):
            await self._flush(lane)
        return lag

    async def _only_markers(self, lane: _Lane, lag: int) -> bool:
        """Whether what is left of the log are a transaction's markers, which no consumer sees."""
        still = monotonic() - lane.moved_at > 2 * FLUSH_SECONDS
        offset = await self._app.consumer.reads_on_at(self._topics.reports, lane.partition) if still else None
        return (offset or 0) >= lane.counter.upto + lag

    async def _move_on(self, lane: _Lane) -> None:
        """Move the watermark of a partition without news on with the clock.

        The new watermark is kept before anybody hears of it: a restart must not take for timely what was late.
        """
        if lane.unsent:
            await self._send(lane)
        await self._outbox.flush()
        lane.counter.seal()
        if lane.counter.watermark.advance_idle(int(time() * 1000)):
            await self._keep(lane, lane.counter.position())
            await self._outbox.flush()
            lane.unsent = True

    def _tell_age(self) -> None:
        """How old what is waited for is: the watermark of the partition furthest behind, less a source's lateness."""
        marks = [lane.counter.watermark.event for lane in self._lanes.values()]
        first = min((mark for mark in marks if mark != NEVER), default=None)
        if first is None:
            return
        named = {name: rule.lateness_ms for name, rule in self._rules.sources.items()}
        for source, lateness_ms in (named | {"default": self._rules.source_default.lateness_ms}).items():
            self._metrics.watermark_age.labels(source).set(time() - (first - lateness_ms) / 1000)

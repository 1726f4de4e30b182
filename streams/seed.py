"""`groundswell seed`: the state that a file of past reports leaves behind, without one of its alerts."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detectors.alert import utc
from detectors.counts import encode_position
from detectors.pipeline import Detections, Learned, Pipeline
from detectors.report import Rejected, decode, time_ms
from streams import cluster, state, topics
from streams.console import out
from streams.fault import Fault
from streams.feed import Record, play
from streams.kafka import begin_offsets, client_options, end_offsets, heed, records_of
from streams.processes import detections
from streams.progress import reading
from streams.settings import Settings

#: Reports at the start of each partition that are compared with the end of the history.
FIRST_REPORTS = 500
#: So large a part of them may be older than it: stragglers, which are late without a history, too.
STRAGGLERS = 0.1
#: A block is up to half a megabyte: a batch of the producer has room for one.
BATCH_BYTES = 1024 * 1024
#: How long a broker may take to give the first reports of a partition that has some.
READ_SECONDS = 30.0


class SeedError(Fault):
    """The state cannot be seeded."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned. read = counted + rejected, in rows.

    rejected: by reason. overflowed: reports beyond series.limit. first, last: times of the counted reports.
    open_incidents: that the history ends in; they go on. state_bytes: size of the state that was written.
    """

    read: int
    counted: int
    rejected: dict[str, int]
    series: int
    overflowed: int
    first: str
    last: str
    open_incidents: int
    state_bytes: int
    seconds: float


class Ground(msgspec.Struct, frozen=True):
    """Where the workers will go on: offsets in `reports`, `report-counts` and `surges`, by partition.

    waiting: times of the first reports of each partition that wait in the reports topic, ms, sorted.
    old: keys of the state that is there, by topic and partition.
    """

    reports: list[int]
    counts: list[int]
    surges: int
    waiting: list[int]
    old: list[tuple[str, int, bytes]]


def run(settings: Settings, path: str | Path, *, replace: bool, json_output: bool) -> int:
    """Learn from the file, "-" for standard input, write the state, and say what was learned. 0.

    replace: give up the state that is there. Raises Fault and aiokafka's KafkaError: then nothing was written, unless
    the fault says so.
    """
    began = time.monotonic()
    waiting = asyncio.run(survey(settings, replace=replace)).waiting
    with detections(settings.rules(), path) as where:
        history = _History(settings, path, waiting, where)
        history.read()
        # Reading took its time: what was true before may not be any more.
        ground = asyncio.run(survey(settings, replace=replace))
        history.refuse_overlap(ground.waiting)
        learned = history.pipeline.learned(ground.reports)
    state_bytes = asyncio.run(_write(settings, ground, learned))
    outcome = history.outcome(state_bytes, time.monotonic() - began)
    if json_output:
        out.print(msgspec.json.encode(outcome).decode())
    else:
        out.print(*_told(outcome), sep="\n")
    return 0


def _told(outcome: Outcome) -> Iterator[str]:
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in outcome.rejected.items())
    yield (
        f"{outcome.read:,} rows in {outcome.seconds:.1f} s: counted {outcome.counted:,}, "
        f"rejected {sum(outcome.rejected.values()):,}{f' ({reasons})' if reasons else ''}"
    )
    yield f"learned {outcome.series:,} series from {outcome.first} to {outcome.last}"
    if outcome.overflowed:
        yield f"reports of further series, beyond series.limit: {outcome.overflowed:,}"
    if outcome.open_incidents:
        yield f"incidents open at the end: {outcome.open_incidents:,}; they go on, their first alert is an update"
    yield f"wrote {outcome.state_bytes / 1e6:,.1f} MB of state; workers that start now go on from it"


class _History:
    """A file on its way through the pipeline."""

    def __init__(self, settings: Settings, path: str | Path, waiting: list[int], where: Detections) -> None:
        self.pipeline = Pipeline(settings.rules(), where)
        self._rules = settings.rules()
        self._reports = topics.names(settings).reports
        self._path = path
        self._waiting = waiting
        self._rows = 0
        self._first: int | None = None
        self._last: int | None = None

    def read(self) -> None:
        """Read all of it. SeedError where it cannot be a history, FeedError where it cannot be read."""
        start_ms = time.time_ns() // 1_000_000
        rules, pipeline = self._rules, self.pipeline
        with reading(self._path, rules, start_ms) as (feed, pieces):
            rejected = 0
            for records, _ in play(pieces, pipeline, start_ms):
                self._rows = feed.read
                self._look_at(records, feed.rejected.total() - rejected)
                rejected = feed.rejected.total()
        if self._last is None:
            reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(pipeline.rejected.items()))
            raise SeedError(
                f"nothing can be learned from {self._path}",
                f"None of its {self._rows:,} rows can be counted: {reasons}." if self._rows else "It has no rows.",
                "A row needs service and time; `groundswell schema reports` has all fields.",
            )

    def _look_at(self, records: list[Record], rejected: int) -> None:
        """SeedError where a row bears no time, or the topic's. rejected: how many of the rows will not be counted."""
        times = [record.event_ms for record in records if record.event_ms is not None]
        if timeless := len(records) - len(times) - rejected:
            raise SeedError(
                f"{timeless:,} of the first {self._rows:,} rows of {self._path} bear no time",
                "Past reports without their time would count as reports of now.",
                "Give each row its time.",
            )
        if times:
            self._first = min(times) if self._first is None else min(self._first, min(times))
            self._last = max(times) if self._last is None else max(self._last, max(times))
            self.refuse_overlap(self._waiting)

    def refuse_overlap(self, waiting: list[int]) -> None:
        """SeedError where the history goes on after reports that wait in the topic, a few stragglers aside."""
        older = 0 if self._last is None else bisect_right(waiting, self._last)
        stragglers = int(STRAGGLERS * len(waiting))
        if older <= stragglers or self._last is None:
            return
        raise SeedError(
            f"{self._path} and topic {self._reports} overlap",
            f"The file has a report of {utc(self._last)}, {older:,} of the first {len(waiting):,} reports in the topic "
            "are not newer. Workers read them after the history, and would reject them as late.",
            f"Give a file that ends before {utc(waiting[stragglers])}, or let the topic begin after it.",
        )

    def outcome(self, state_bytes: int, seconds: float) -> Outcome:
        """What was learned, once all was read."""
        pipeline, first, last = self.pipeline, self._first, self._last
        assert first is not None
        assert last is not None
        rejected = {reason.value: rows for reason, rows in sorted(pipeline.rejected.items())}
        return Outcome(
            read=self._rows,
            counted=self._rows - sum(rejected.values()),
            rejected=rejected,
            series=pipeline.replay.detections.series,
            overflowed=pipeline.replay.detections.overflowed,
            first=utc(first),
            last=utc(last),
            open_incidents=pipeline.open_incidents,
            state_bytes=state_bytes,
            seconds=round(seconds, 3),
        )


# Kafka


async def survey(settings: Settings, *, replace: bool) -> Ground:
    """See that a state may be written now, and where it has to go on. Raises Fault otherwise, and aiokafka's errors."""
    try:
        return await _survey(settings, replace=replace)
    except TimeoutError:
        raise SeedError("the brokers do not say what is in the topics", hint="Look at the brokers' health.") from None


async def _survey(settings: Settings, *, replace: bool) -> Ground:
    await topics.existing(settings)
    await _refuse_workers(settings)
    name = topics.names(settings)
    layout = topics.layout(settings)
    reports = [TopicPartition(name.reports, number) for number in range(layout.reports_partitions)]
    counts = [TopicPartition(name.counts, number) for number in range(layout.partitions)]
    surges = TopicPartition(name.surges, 0)
    kept = [
        *(TopicPartition(name.ingest_state, tp.partition) for tp in reports),
        *(TopicPartition(name.detect_state, tp.partition) for tp in counts),
        TopicPartition(name.judge_state, 0),
    ]
    everywhere = [*reports, *counts, surges, *kept]
    begins, ends = await begin_offsets(settings, everywhere), await end_offsets(settings, everywhere)
    filled = [tp for tp in everywhere if ends[tp] > begins[tp]]
    used = [tp for tp in filled if tp.topic != name.reports]
    if used and not replace:
        raise SeedError(
            f"workers have learned already: topic {used[0].topic} is not empty",
            "A history is what they begin with.",
            "To give up what they learned, run it again with --replace; reports in the topic are then read once more.",
        )
    waiting = [tp for tp in filled if tp.topic == name.reports]
    old = [tp for tp in filled if tp in kept]
    return Ground(
        reports=[begins[tp] for tp in reports],
        counts=[ends[tp] for tp in counts],
        surges=ends[surges],
        waiting=await _first_times(settings, {tp: ends[tp] for tp in waiting}) if waiting else [],
        old=await _keys(settings, old) if old else [],
    )


async def _refuse_workers(settings: Settings) -> None:
    group = topics.app_id(settings)
    running = await cluster.group_members(settings, group)
    if running:
        raise SeedError(
            f"{running} worker{'s run' if running > 1 else ' runs'} in group {group}",
            "It would write its own state over the one from the history.",
            "Stop all workers. One that was killed counts as running for 20 s more.",
        )


async def _first_times(settings: Settings, ends: dict[TopicPartition, int]) -> list[int]:
    """Times of the first reports of these partitions, ms, sorted."""
    rules = settings.rules()
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None, enable_auto_commit=False)
    await consumer.start()
    times: list[int] = []
    try:
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        unseen = set(ends)
        async with asyncio.timeout(READ_SECONDS):
            # A transaction's markers are offsets without a record.
            while unseen := {tp for tp in unseen if await consumer.position(tp) < ends[tp]}:
                found = await consumer.getmany(*unseen, timeout_ms=1000, max_records=FIRST_REPORTS)
                unseen -= found.keys()
                for record in (record for records in found.values() for record in records):
                    report = decode(record.value, max_bytes=rules.max_record_bytes)
                    ms = report if isinstance(report, Rejected) else time_ms(report, record.timestamp)
                    if not isinstance(ms, Rejected):
                        times.append(ms)
    finally:
        await heed(consumer.stop())
    return sorted(times)


async def _keys(settings: Settings, partitions: list[TopicPartition]) -> list[tuple[str, int, bytes]]:
    """Topic, partition and key of every value that these state topics hold."""
    held: dict[tuple[str, int, bytes], bool] = {}
    async for record in records_of(settings, partitions):
        if record.key is not None:
            held[record.topic, record.partition, record.key] = record.value is not None
    return [key for key, there in held.items() if there]


async def _write(settings: Settings, ground: Ground, learned: Learned) -> int:
    """Write the snapshots of all stages in place of the old ones; returns their size in bytes.

    What makes them whole goes last: up to then a worker that starts finds no state, and not a part of one.
    """
    name = topics.names(settings)
    snapshots = [
        *(
            (name.ingest_state, number, state.Kept(position.offset, encode_position(position)))
            for number, position in enumerate(learned.ingest)
        ),
        *(
            (name.detect_state, number, state.Kept(ground.counts[number], data))
            for number, data in enumerate(learned.detect)
        ),
        (name.judge_state, 0, state.Kept(ground.surges, learned.judge)),
    ]
    producer = AIOKafkaProducer(
        **client_options(settings), acks="all", max_batch_size=BATCH_BYTES, max_request_size=2 * BATCH_BYTES
    )
    await producer.start()
    try:
        parts = [(topic, number, state.records(number, state.FIRST_VERSION, kept)) for topic, number, kept in snapshots]
        await _send(producer, [(topic, partition, key, None) for topic, partition, key in ground.old])
        await _send(producer, [(topic, number, *each) for topic, number, part in parts for each in part[:-1]])
        await _send(producer, [(topic, number, *part[-1]) for topic, number, part in parts])
    except BaseException as error:
        raise SeedError(
            "the state is not written, or only in part",
            f"{type(error).__name__}: {error}".removesuffix(": "),
            "Run it again with --replace before a worker starts.",
        ) from error
    finally:
        await heed(producer.stop())
    return sum(len(block) for _, _, part in parts for _, block in part)


async def _send(producer: AIOKafkaProducer, records: list[tuple[str, int, bytes, bytes | None]]) -> None:
    """Send (topic, partition, key, value) records, in order, and wait until the broker has all of them."""
    pending = [
        await producer.send(topic, value, key=key, partition=partition) for topic, partition, key, value in records
    ]
    await asyncio.gather(*pending)

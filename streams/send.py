"""`groundswell send`: a file of reports to the reports topic, at full speed or by event time."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from streams.cluster import look
from streams.console import err, out, safe
from streams.fault import Fault
from streams.feed import Feed, Record
from streams.kafka import client_options
from streams.progress import shown
from streams.settings import FIELDS, Settings
from streams.topics import names

#: Larger batches are no faster, and a topic may take smaller ones alone.
BATCH_BYTES = 64 * 1024
#: Batches that are not full go out when the file, or whoever pipes the rows in, gave nothing for so long.
LINGER_SECONDS = 0.05
#: Rows due within it go out together.
PACE_SECONDS = 0.005
#: Pieces of the file that are read ahead.
PIECES_AHEAD = 2
#: How long the broker may take to acknowledge a batch.
REQUEST_SECONDS = 30.0
#: How long what is on its way may still take when somebody stops us.
GOODBYE_SECONDS = 5.0


class SendError(Fault):
    """Reports cannot be sent, or not all of them."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file. Rows that the worker will reject are sent all the same: it keeps them as dead letters.

    read = sent + not_sent, in rows. too_long: among those not sent, rows in batches longer than the topic takes.
    rejected: rows that the worker will reject, by reason; zeros left out.
    complete: the file was read to its end, and all of it was acknowledged.
    """

    read: int
    sent: int
    not_sent: int
    too_long: int
    rejected: dict[str, int]
    seconds: float
    rows_per_second: float
    complete: bool


def run(settings: Settings, path: str | Path, *, speed: float | None, json_output: bool) -> int:
    """Send the file, "-" for standard input, and say what became of it; 0, or 1 where not every row was sent.

    speed: 60.0 plays a minute of event time in a second; None goes at full speed.
    Raises Fault and aiokafka's KafkaError, after telling how far it came.
    """
    sending = _Sending(settings, speed)
    try:
        with Feed(path, settings.rules(), now=_now, note=lambda text: err.print(safe(text))) as feed:
            asyncio.run(sending.run(feed))
    finally:
        outcome = sending.outcome()
        if json_output:
            out.print(msgspec.json.encode(outcome).decode())
        elif outcome.read or outcome.complete:
            out.print(*_told(outcome), sep="\n")
    return 0 if outcome.complete else 1


def _now() -> int:
    return time.time_ns() // 1_000_000


def _told(outcome: Outcome) -> Iterator[str]:
    rate = f"{outcome.rows_per_second:,.0f} rows/s"
    yield f"sent {outcome.sent:,} of {outcome.read:,} rows in {outcome.seconds:.1f} s, {rate}"
    if outcome.too_long:
        yield f"not sent, since longer than the topic takes: {outcome.too_long:,}"
    if outcome.rejected:
        reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in outcome.rejected.items())
        yield f"the worker will reject {sum(outcome.rejected.values()):,}: {reasons}"


class _Sending:
    """One run: the feed's records to their partitions."""

    def __init__(self, settings: Settings, speed: float | None) -> None:
        self._settings = settings
        self._speed = speed
        self._feed: Feed | None = None
        self._delivery: Delivery | None = None
        self._began = self._ended = time.monotonic()
        self._at_end = False

    def outcome(self) -> Outcome:
        feed, delivery = self._feed, self._delivery
        read = feed.read if feed else 0
        sent = delivery.sent if delivery else 0
        seconds = self._ended - self._began
        return Outcome(
            read=read,
            sent=sent,
            not_sent=read - sent,
            too_long=delivery.too_long if delivery else 0,
            rejected={reason.value: feed.rejected[reason] for reason in sorted(feed.rejected)} if feed else {},
            seconds=round(seconds, 3),
            rows_per_second=round(sent / max(seconds, 1e-3), 1),
            complete=self._at_end and sent == read,
        )

    async def run(self, feed: Feed) -> None:
        """Send all of it."""
        topic = names(self._settings).reports
        await _check(self._settings, topic)
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            # A batch sent again because its acknowledgement got lost would count twice; the embedded broker cannot.
            enable_idempotence=not self._settings.kafka.embedded,
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=round(REQUEST_SECONDS * 1000),
        )
        delivery = Delivery(producer, topic, self._settings.topics.reports_partitions)
        self._feed, self._delivery = feed, delivery
        self._began = time.monotonic()
        try:
            await producer.start()
            with shown(feed.rows, lambda: delivery.sent) as moved:
                await self._send_all(feed, delivery, moved)
            self._at_end = True
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await producer.stop()
            self._ended = time.monotonic()

    async def _send_all(self, feed: Feed, delivery: Delivery, moved: Callable[[], None]) -> None:
        pace = _Pace(self._speed) if self._speed else None
        opened = False
        async for records in _read_ahead(feed):
            if not opened and (opening := _opening(records)):
                # No partition may look empty to a worker that has read the first rows of another.
                await delivery.add(records[:opening])
                await delivery.flush()
                await delivery.settled()
                records, opened = records[opening:], True
            if not records:
                await delivery.flush()
            elif pace is None:
                await delivery.add(records)
            else:
                for due in pace.split(records):
                    await delivery.add(due)
                    if wait := pace.seconds_left():
                        await delivery.flush()
                        moved()
                        await asyncio.sleep(wait)
            moved()
        await delivery.flush()
        await delivery.settled()
        moved()


def _opening(records: list[Record]) -> int:
    """Index after the heartbeats that open the partitions; 0 where there are none."""
    first = next((index for index, record in enumerate(records) if record.heartbeat), None)
    if first is None:
        return 0
    return next((index for index in range(first, len(records)) if not records[index].heartbeat), len(records))


async def _check(settings: Settings, topic: str) -> None:
    """The topic is there, with as many partitions as the settings say. Fault otherwise."""
    seen = await look(settings, [topic])
    if topic in seen.forbidden:
        raise SendError(f"we may not write to topic {topic}", hint="Ask for the rights to describe and write it.")
    if topic not in seen.topics:
        raise SendError(f"topic {topic} is missing", hint="Run: groundswell topics")
    there, wanted = seen.topics[topic].partitions, settings.topics.reports_partitions
    if there != wanted:
        name = "topics.reports_partitions"
        raise SendError(
            f"topic {topic} has {there} partitions, not {wanted}",
            f"{name} ({FIELDS[name].variable}) is {wanted}.",
            f"Give {name} {there}.",
        )


class Delivery:
    """Records on their way: a batch is filled for each partition, full ones are with the producer.

    Whole batches, since the producer's own way costs five times more a record. No keys: the partition is given, and who
    reads `reports` needs none. Timestamps are the wall clock, lest retention delete history as it arrives.
    sent: rows acknowledged; heartbeats are not counted. too_long: rows in batches longer than the topic takes.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        self._batches = [producer.create_batch() for _ in range(partitions)]
        self._rows = [0] * partitions
        self._pending: set[asyncio.Future[object]] = set()
        self._failure: BaseException | None = None
        self.sent = 0
        self.too_long = 0

    async def add(self, records: list[Record]) -> None:
        """Put the records into batches. Raises what the broker answered to an earlier batch that it did not take."""
        batches, rows = self._batches, self._rows
        for record in records:
            partition = record.partition
            if batches[partition].append(timestamp=None, key=None, value=record.value) is None:
                await self._dispatch(partition)
                batches[partition].append(timestamp=None, key=None, value=record.value)
            if not record.heartbeat:
                rows[partition] += 1

    async def flush(self) -> None:
        """Give what is in the batches to the producer."""
        for partition, batch in enumerate(self._batches):
            if batch.record_count():
                await self._dispatch(partition)

    async def settled(self) -> None:
        """Wait until all is acknowledged. Raises like `add`."""
        while self._pending:
            await asyncio.wait(self._pending)
        if self._failure:
            raise self._failure

    async def _dispatch(self, partition: int) -> None:
        if self._failure:
            raise self._failure
        batch, rows = self._batches[partition], self._rows[partition]
        self._batches[partition], self._rows[partition] = self._producer.create_batch(), 0
        future = await self._producer.send_batch(batch, self._topic, partition=partition)
        self._pending.add(future)
        future.add_done_callback(partial(self._acknowledged, rows))

    def _acknowledged(self, rows: int, future: asyncio.Future[object]) -> None:
        self._pending.discard(future)
        if future.cancelled():
            return
        error = future.exception()
        if error is None:
            self.sent += rows
        elif isinstance(error, MessageSizeTooLargeError):
            self.too_long += rows
        else:
            self._failure = error


class _Pace:
    """When records are due: the first that bears a time at once, the others as much later as their event times say."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._offset: float | None = None
        self._due = 0.0

    def split(self, records: list[Record]) -> Iterator[list[Record]]:
        """The records in runs to be sent together, each when `seconds_left` after the run before it is over."""
        run: list[Record] = []
        for record in records:
            if record.event_ms is not None:
                at = record.event_ms / 1000 / self._speed
                if self._offset is None:
                    self._offset = time.monotonic() - at
                self._due = self._offset + at
                if self._due - time.monotonic() > PACE_SECONDS:
                    yield run
                    run = []
            run.append(record)
        self._due = 0.0
        yield run

    def seconds_left(self) -> float:
        return max(0.0, self._due - time.monotonic()) if self._due else 0.0


async def _read_ahead(feed: Feed) -> AsyncIterator[list[Record]]:
    """The feed's pieces; an empty one where none came for LINGER_SECONDS. Raises what reading raises.

    They are read in a thread, since standard input can keep one waiting for ever; it does not keep the process from
    its end.
    """
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[list[Record] | BaseException | None] = asyncio.Queue()
    free = threading.Semaphore(PIECES_AHEAD)

    def read() -> None:
        last: BaseException | None = None
        try:
            for records in feed:
                free.acquire()
                loop.call_soon_threadsafe(pieces.put_nowait, records)
        except BaseException as error:
            last = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for us any more
            loop.call_soon_threadsafe(pieces.put_nowait, last)

    threading.Thread(target=read, name="feed", daemon=True).start()
    while True:
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                piece = await pieces.get()
        except TimeoutError:
            yield []
            piece = await pieces.get()
        if piece is None:
            return
        if isinstance(piece, BaseException):
            raise piece
        free.release()
        if piece:
            yield piece

"""A feed from a file: each row on its way to a partition of `reports`, the same for Kafka and for a backtest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, Self, TypeVar
from zlib import crc32

import msgspec

from detectors.counts import NameCache
from detectors.report import Reason, Rejected, Report, decode, time_ms
from detectors.rules import Rules
from detectors.watermark import NEVER
from streams.rows import STDIN, FeedError, Rows

__all__ = ["STDIN", "Feed", "FeedError", "Record", "plan", "play"]

#: A partition that had no row for so long gets a heartbeat: the usual bucket. With less, the heartbeats of a sparse
#: feed outnumber its rows; with more, `send --speed` shows alerts late.
HEARTBEAT_MS = 60_000

_encode = msgspec.json.Encoder().encode

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, gc=False):
    """What goes to a partition of `reports`.

    event_ms: event time, where the file names one and the worker will count the row. heartbeat: no row of the file.
    """

    partition: int
    value: bytes
    event_ms: int | None
    heartbeat: bool = False


class Feed:
    """The records of a file in file order, with a count of what the worker will reject.

    Rows of one service and region share a partition. Heartbeats, reports with count 0 of a service that just reported,
    keep partitions without rows from holding back the others: each partition gets one before the first row that bears
    a time, after the last, and in between where it had no row for HEARTBEAT_MS of event time.
    now: wall clock in ms, what the records' timestamps will be. note: told once of each thing a user may want to know.
    The count is exact where the topic holds no later reports of others.
    """

    def __init__(self, path: str | Path, rules: Rules, *, now: Callable[[], int], note: Callable[[str], None]) -> None:
        self.rows = Rows(path, note)
        self.read = 0
        self.rejected: Counter[Reason] = Counter()
        self._rules = rules
        self._names = NameCache(rules)
        self._skew_ms = round(rules.clock_skew_seconds * 1000)
        self._now = now
        # As the worker will see it: the largest event time of each partition.
        self._events = [NEVER] * rules.reports_partitions
        self._largest = NEVER
        self._newest: Report | None = None
        self._beaten = NEVER

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rows.close()

    def __iter__(self) -> Iterator[list[Record]]:
        """A list for each piece of the file that was read. FeedError where it cannot be read to its end."""
        for values in self.rows:
            self.read += len(values)
            yield [record for value in values for record in self._records(value)]
        if self._newest is not None:
            yield self._heartbeats(self._newest, self._largest)

    def _records(self, value: bytes) -> list[Record]:
        """The record of a row, after the heartbeats that are due."""
        report = decode(value, max_bytes=self._rules.max_record_bytes)
        if isinstance(report, Rejected):
            self.rejected[report.reason] += 1
            return [Record(crc32(value) % len(self._events), value, None)]
        partition = crc32(f"{report.service}/{report.region}".encode()) % len(self._events)
        event_ms = self._event_ms(report, partition)
        if isinstance(event_ms, Rejected):
            self.rejected[event_ms.reason] += 1
            return [Record(partition, value, None)]
        heartbeats = self._move_on(report, event_ms) if event_ms > self._largest and report.time is not None else []
        if event_ms > self._events[partition]:
            self._events[partition] = event_ms
        return [*heartbeats, Record(partition, value, None if report.time is None else event_ms)]

    def _event_ms(self, report: Report, partition: int) -> int | Rejected:
        """The report's event time, or why the worker will not count it."""
        raw = (report.source, report.service, report.region)
        spelling = self._names.known.get(raw) or self._names.look_up(raw)
        if isinstance(spelling, Rejected):
            return spelling
        now = self._now()
        event_ms = time_ms(report, now)
        if isinstance(event_ms, Rejected):
            return event_ms
        if event_ms > now + self._skew_ms:
            return Rejected(Reason.FUTURE, "$.time", "")
        if event_ms < self._events[partition] - spelling.lateness_ms:
            return Rejected(Reason.LATE, "$.time", "")
        return event_ms

    def _move_on(self, report: Report, event_ms: int) -> list[Record]:
        """The heartbeats that are due before this report, the latest so far."""
        first = self._largest == NEVER
        self._largest, self._newest = event_ms, report
        if not first and event_ms - self._beaten < HEARTBEAT_MS:
            return []
        lagging = event_ms if first else self._beaten
        self._beaten = event_ms
        return self._heartbeats(report, lagging)

    def _heartbeats(self, report: Report, lagging_ms: int) -> list[Record]:
        """A heartbeat with the report's time to each partition that has come no further than lagging_ms."""
        fields = {"service": report.service, "region": report.region, "time": report.time, "source": report.source}
        value = _encode(fields | {"count": 0})
        lagging = [partition for partition, event in enumerate(self._events) if event <= lagging_ms]
        for partition in lagging:
            self._events[partition] = self._largest
        return [Record(partition, value, self._largest, heartbeat=True) for partition in lagging]


class Stages(Protocol[T]):
    """What takes records in, a partition's at a time, as `detectors.pipeline` has them."""

    def read(self, partition: int, values: Sequence[bytes], stamps: Sequence[int]) -> list[T]:
        """The next records of a partition; what follows from them or from earlier ones."""

    def rest(self) -> list[T]:
        """What follows that `read` did not give."""


def play(pieces: Iterable[list[Record]], stages: Stages[T], stamp_ms: int) -> Iterator[tuple[list[Record], list[T]]]:
    """Let stages read a feed: the records of each piece and what followed from them, at last none and the rest.

    stamp_ms: time of all records.
    """
    for records in pieces:
        values: dict[int, list[bytes]] = {}
        for record in records:
            values.setdefault(record.partition, []).append(record.value)
        followed: list[T] = []
        for partition, theirs in sorted(values.items()):
            followed += stages.read(partition, theirs, [stamp_ms] * len(theirs))
        yield records, followed
    yield [], stages.rest()


def plan(
    path: str | Path,
    partitions: int,
    *,
    now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[int, bytes]]:
    """Partition and value of every record that a file makes, in file order. FeedError where it cannot be read.

    Arguments as for Feed, under the default rules.
    """
    with Feed(path, Rules(reports_partitions=partitions), now=now, note=note) as feed:
        for records in feed:
            for record in records:
                yield record.partition, record.value

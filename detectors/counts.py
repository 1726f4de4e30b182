"""Counts: from the records of one partition of `reports` to what travels on `report-counts`.

A chunk is a run of consecutive offsets of an input partition. The same chunk can be sent many times, each time with
the counts so far: detect takes the message that reaches furthest, so a report that is read again counts once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol, TypeVar
from weakref import WeakValueDictionary

import msgspec
from msgspec import Meta

from detectors.local_time import HOUR_MS
from detectors.problems import MOST_IN_CHUNK, tidy
from detectors.report import Reason, Rejected, Report, decode, identify, parse, time_ms
from detectors.rollup import ALL
from detectors.rules import Rules
from detectors.series import Names, Series, partition_of
from detectors.watermark import NEVER, Watermark

CHUNK_OFFSETS = 4096
#: A chunk of long invented names ends early: its message has to fit Kafka's 1 MB.
CHUNK_NAME_BYTES = 400_000
#: Distinct spellings remembered between records; a flood of invented names empties this, and costs time, not space.
NAME_CACHE_LIMIT = 50_000

# A count's key holds spelling and tick in one integer: ticks up to the year 2200 fit below this bit.
_TICK_BITS = 43
_TICK_MASK = (1 << _TICK_BITS) - 1


class Record(Protocol):
    """A record as Kafka's consumer gives it. timestamp: ms; value: bytes or None."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


R = TypeVar("R", bound=Record)


class ChunkCounts(msgspec.Struct, frozen=True, array_like=True):
    """One record on `report-counts`: the counts of a chunk so far, for one partition of `report-counts`.

    partition, partitions: the input partition, and how many there are.
    start, upto: the chunk's first offset; the offset after the last one that is in here.
    watermark: of the input partition, ms; NEVER while it had no record.
    hours: hours since 1970 that any report of the chunk fell into, also those counted elsewhere.
    alive: by source, of each of its buckets (number since 1970) with a report, also one counted elsewhere, the last
    tick (number since 1970) with one.
    series, names: what is counted; names has the spellings of a series, a series may come once for each.
    rows: index into series; ticks: number of the tick since 1970 (in its source's ticks); counts: reports.
    problems: what reports name as wrong. mentions: row, bucket (number since 1970), index into problems, reports.
    The partition of service `*` gets the sums over all services of each region, too.
    """

    partition: int
    partitions: int
    start: int
    upto: int
    watermark: int
    hours: list[int]
    alive: dict[str, list[tuple[int, int]]]
    series: list[Series]
    names: list[Names]
    rows: list[int]
    ticks: list[int]
    counts: list[int]
    problems: list[str] = []
    mentions: list[tuple[int, int, int, int]] = []


encode = msgspec.msgpack.Encoder().encode
decode_counts = msgspec.msgpack.Decoder(ChunkCounts).decode


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where to go on reading an input partition, and with which watermark, so that a restart decides the same."""

    offset: Annotated[int, Meta(ge=0)]
    watermark: Annotated[int, Meta(ge=NEVER)]
    delay: Annotated[float, Meta(ge=0)]
    live: bool


encode_position = msgspec.msgpack.Encoder().encode
#: ValueError where it is no position.
decode_position = msgspec.msgpack.Decoder(Position).decode


class _Spelling:
    """A series as some reports spell it."""

    __slots__ = (
        "__weakref__",
        "bucket_ms",
        "bytes",
        "everywhere",
        "key",
        "lateness_ms",
        "names",
        "partition",
        "series",
        "tick_ms",
        "ticks",
    )

    def __init__(self, key: int, series: Series, names: Names, rules: Rules) -> None:
        rule = rules.source(series.source)
        self.key = key << _TICK_BITS
        self.series = series
        self.names = names
        self.tick_ms, self.ticks, self.bucket_ms = rule.tick_ms, rule.ticks, rule.bucket_ms
        self.lateness_ms = rule.lateness_ms
        self.partition = partition_of(series.service, rules.partitions)
        self.everywhere = Series(series.source, ALL, series.region), Names(ALL, names.region)
        self.bytes = sum(len(name.encode()) for name in (*msgspec.structs.astuple(series), names.service, names.region))


class NameCache:
    """Raw (source, service, region) → what they mean, shared by the partitions of a worker. Bounded."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.known: dict[tuple[str, str, str], _Spelling | Rejected] = {}
        # Raw names that come to the same series and spelling are one, for as long as any chunk in hand counts by it:
        # what a chunk had before is known by them.
        self._spellings: WeakValueDictionary[tuple[Series, Names], _Spelling] = WeakValueDictionary()
        self._next = 0

    def look_up(self, raw: tuple[str, str, str]) -> _Spelling | Rejected:
        """The spelling behind raw names, or why they name no series."""
        found = self.known.get(raw)
        if found is None:
            if len(self.known) >= NAME_CACHE_LIMIT:
                self.known.clear()
            identified = identify(*raw)
            if isinstance(identified, Rejected):
                found = identified
            else:
                found = self._spelling(self.rules.catalogue.settle(*identified))
            self.known[raw] = found
        return found

    def _spelling(self, both: tuple[Series, Names]) -> _Spelling:
        found = self._spellings.get(both)
        if found is None:
            self._next += 1
            found = self._spellings[both] = _Spelling(self._next, *both, self.rules)
        return found


class PartitionCounter:
    """Counts the records of one input partition, chunk by chunk."""

    def __init__(self, names: NameCache, partition: int, position: Position) -> None:
        self.partition = partition
        self.start = position.offset
        self.upto = position.offset
        self.watermark = Watermark(position.watermark, position.delay, position.live)
        self.counted = 0
        self.volume = 0
        self._names = names
        self._rules = names.rules
        self._begin()

    def _begin(self) -> None:
        self.start = self.upto
        self._counts: dict[int, int] = {}
        self._used: dict[int, _Spelling] = {}
        self._hours: set[int] = set()
        self._beats: dict[tuple[str, int], int] = {}
        self._mentions: dict[tuple[int, str], int] = {}
        self._name_bytes = 0

    @property
    def full(self) -> bool:
        """The chunk ends here: send it, then `seal`. A function of the offsets and the names alone."""
        return self.upto > self.start and (self.upto % CHUNK_OFFSETS == 0 or self._name_bytes >= CHUNK_NAME_BYTES)

    def read(self, records: Sequence[R], begin: int = 0) -> tuple[int, list[tuple[R, Rejected]]]:
        """Count records[begin:] until the chunk is full. Offsets below `upto` are skipped: they are in already.

        Returns the index after the last record taken, and the records that were not counted with the reason.
        Offsets may have gaps, as a compacted or transactional topic has them.
        """
        rejected: list[tuple[R, Rejected]] = []
        known = self._names.known
        counts, used, hours, mark = self._counts, self._used, self._hours, self.watermark
        mentions = self._mentions
        skew_ms = round(self._rules.clock_skew_seconds * 1000)
        max_bytes = self._rules.max_record_bytes
        event, delay, newest_lag = mark.event, mark.delay * 0.99, None
        # The chunk's last offsets may be missing from the log: it ends at a multiple all the same.
        end = (self.start // CHUNK_OFFSETS + 1) * CHUNK_OFFSETS
        index, upto, volume, counted, hour_end, hour_begin = begin, self.upto, 0, 0, -1, 0
        for index in range(begin, len(records)):
            record = records[index]
            if record.offset >= end:
                upto = record.offset - record.offset % CHUNK_OFFSETS
                break
            if record.offset < upto:
                continue
            upto = record.offset + 1
            value = record.value
            report: Report | Rejected
            try:
                # What `decode` does, without a call for each good record.
                report = parse(value) if value and len(value) <= max_bytes else decode(value, max_bytes=max_bytes)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                report = decode(value, max_bytes=max_bytes)
            if isinstance(report, Rejected):
                rejected.append((record, report))
                continue
            spelling = known.get((report.source, report.service, report.region)) or self._names.look_up(
                (report.source, report.service, report.region)
            )
            if isinstance(spelling, Rejected):
                rejected.append((record, spelling))
                continue
            stamp = record.timestamp
            ms = time_ms(report, stamp)
            if isinstance(ms, Rejected):
                rejected.append((record, ms))
                continue
            lag = stamp - ms
            if lag < -skew_ms:
                detail = (
                    f"its time is {-lag / 1000:.0f} s after the record's timestamp, allowed are {skew_ms / 1000:.0f} s"
                )
                rejected.append((record, Rejected(Reason.FUTURE, "$.time", detail)))
                continue
            if ms < event - spelling.lateness_ms:
                detail = f"its time is {(event - ms) / 1000:.0f} s behind the newest report of its partition"
                rejected.append((record, Rejected(Reason.LATE, "$.time", detail)))
                continue
            if ms > event:
                event = ms
            newest_lag = lag
            if delay < lag <= skew_ms:
                delay = lag
            counted += 1
            if not hour_begin <= ms < hour_end:
                hours.add(ms // HOUR_MS)
                hour_begin = ms - ms % HOUR_MS
                hour_end = hour_begin + HOUR_MS
            count = report.count
            if count:
                volume += count
                if report.problem is not None:
                    mention = spelling.key | ms // spelling.bucket_ms, report.problem
                    mentions[mention] = mentions.get(mention, 0) + count
                key = spelling.key | ms // spelling.tick_ms
                if key in counts:
                    counts[key] += count
                else:
                    counts[key] = count
                    if spelling.key not in used:
                        used[spelling.key] = spelling
                        self._name_bytes += spelling.bytes
                        if self._name_bytes >= CHUNK_NAME_BYTES:
                            index += 1
                            break
            else:
                self._beat(spelling, ms // spelling.tick_ms)
        else:
            index = len(records)
        self.upto = upto
        self.counted += counted
        self.volume += volume
        mark.event, mark.delay = event, delay
        if newest_lag is not None:
            mark.live = newest_lag <= skew_ms
        return index, rejected

    def _beat(self, spelling: _Spelling, tick: int) -> None:
        """A source was heard of in a tick."""
        key = spelling.series.source, tick // spelling.ticks
        if tick > self._beats.get(key, NEVER):
            self._beats[key] = tick

    def messages(self) -> list[ChunkCounts]:
        """The counts of the chunk so far: a message for each partition of `report-counts`, in order."""
        partitions = self._rules.partitions
        hours = sorted(self._hours)
        tables: list[tuple[list[Series], list[Names], list[int], list[int], list[int]]] = [
            ([], [], [], [], []) for _ in range(partitions)
        ]
        index: dict[int, int] = {}
        regions: dict[tuple[Series, Names], int] = {}
        region_of: dict[int, int] = {}
        for key, spelling in self._used.items():
            table = tables[spelling.partition]
            index[key] = len(table[0])
            table[0].append(spelling.series)
            table[1].append(spelling.names)
            region_of[key] = regions.setdefault(spelling.everywhere, len(regions))
        sums: dict[tuple[int, int], int] = {}
        for key, count in self._counts.items():
            tick = key & _TICK_MASK
            spelling_key = key - tick
            spelling = self._used[spelling_key]
            self._beat(spelling, tick)
            _, _, rows, ticks, counts = tables[spelling.partition]
            rows.append(index[spelling_key])
            ticks.append(tick)
            counts.append(count)
            everywhere = region_of[spelling_key], tick
            sums[everywhere] = sums.get(everywhere, 0) + count
        series, names, rows, ticks, counts = tables[partition_of(ALL, partitions)]
        first = len(series)
        series.extend(each for each, _ in regions)
        names.extend(each for _, each in regions)
        for (region, tick), count in sums.items():
            rows.append(first + region)
            ticks.append(tick)
            counts.append(count)
        named = self._named(index)
        alive: dict[str, list[tuple[int, int]]] = {}
        for (source, bucket), tick in sorted(self._beats.items()):
            alive.setdefault(source, []).append((bucket, tick))
        event, total = self.watermark.event, self._rules.reports_partitions
        return [
            ChunkCounts(self.partition, total, self.start, self.upto, event, hours, alive, *table, *mentions)
            for table, mentions in zip(tables, named, strict=True)
        ]

    def _named(self, index: Mapping[int, int]) -> list[tuple[list[str], list[tuple[int, int, int, int]]]]:
        """Problems and mentions for each partition of `report-counts`. index: row of each spelling in its table."""
        tables: list[tuple[dict[str, int], dict[tuple[int, int, int], int]]]
        tables = [({}, {}) for _ in range(self._rules.partitions)]
        for (key, raw), count in self._mentions.items():
            bucket = key & _TICK_MASK
            spelling = self._used[key - bucket]
            problems, mentions = tables[spelling.partition]
            problem = tidy(raw)
            if not problem or (problem not in problems and len(problems) >= MOST_IN_CHUNK):
                continue
            mention = index[key - bucket], bucket, problems.setdefault(problem, len(problems))
            mentions[mention] = mentions.get(mention, 0) + count
        return [
            (list(problems), [(*mention, count) for mention, count in mentions.items()])
            for problems, mentions in tables
        ]

    def seal(self) -> Position:
        """End the chunk here. Its messages have to be with the broker before the position is kept."""
        self._begin()
        return self.position()

    def position(self) -> Position:
        """Where the chunk in hand begins. Only right after `seal` is its watermark that of the chunk's begin."""
        mark = self.watermark
        return Position(self.start, mark.event, mark.delay, mark.live)


BEGIN = Position(0, NEVER, 0.0, False)

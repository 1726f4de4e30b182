"""The records on `surges`: what each partition of detect saw at each tick, for the judge."""

from __future__ import annotations

import msgspec

from detectors.problems import Named
from detectors.series import Names, Series
from detectors.silence import Silent


class Recent(msgspec.Struct, frozen=True, array_like=True):
    """The last closed buckets of a series, oldest first, at most 60.

    end: where the newest ends, ms. observed: counts, -1 where missing. expected, low, high: the same length.
    """

    bucket_seconds: int
    end: int
    observed: list[int]
    expected: list[float]
    low: list[float]
    high: list[float]


class SurgeRow(msgspec.Struct, frozen=True, array_like=True):
    """A series at a tick.

    evidence: log10 of the return period in series-weeks of what was seen up to this tick.
    onset: estimated begin of the surge, ms; 0 where there is none.
    start: begin of the bucket that the tick lies in, ms; closed: the tick ends it.
    observed, expected, low, high: of that bucket, up to the tick (95 % interval); observed is -1 where missing.
    recent: where the series was not told of in the bucket before.
    problems: that the reports of a closed bucket name.
    """

    series: Series
    names: Names
    evidence: float
    onset: int
    start: int
    closed: bool
    observed: int
    expected: float
    low: float
    high: float
    warming: bool = False
    recent: Recent | None = None
    problems: Named | None = None


class Tick(msgspec.Struct, frozen=True, array_like=True):
    """The series worth a look at one tick, in order of series, and those beside them in service and region.

    at: event time at which the tick can be decided on, ms: the tick's end plus its source's lateness.
    silent: sources that are silent, or were until now.
    """

    at: int
    rows: list[SurgeRow]
    silent: list[Silent] = []


class SurgeRecord(msgspec.Struct, frozen=True, array_like=True):
    """One step of a partition of detect: its ticks since the last up to `through` (ms), but for those without rows."""

    partition: int
    partitions: int
    through: int
    ticks: list[Tick]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(SurgeRecord).decode


#: Records are cut between ticks at about this size; one tick alone may need more, up to MOST_BYTES.
FEW_BYTES = 250_000
MOST_BYTES = 8_000_000
_ROW_BYTES = 150
_BUCKET_BYTES = 32
_PROBLEM_BYTES = 24


def size(row: SurgeRow) -> int:
    """About how many bytes a row takes at most, encoded."""
    texts = (*msgspec.structs.astuple(row.series), row.names.service, row.names.region)
    letters = sum(len(text) if text.isascii() else 4 * len(text) for text in texts)
    named = sum(_PROBLEM_BYTES + len(problem.encode()) for problem, _, _ in row.problems.top) if row.problems else 0
    return _ROW_BYTES + letters + named + (len(row.recent.observed) * _BUCKET_BYTES if row.recent else 0)


def cut(step: SurgeRecord) -> list[SurgeRecord]:
    """The step as records of bearable size. Of a tick beyond MOST_BYTES the rows of least evidence are left out."""
    records: list[SurgeRecord] = []
    ticks: list[Tick] = []
    held = 0
    for tick in step.ticks:
        sizes = list(map(size, tick.rows))
        if sum(sizes) > MOST_BYTES:
            tick = _strongest(tick, sizes)
        if ticks and held + sum(sizes) > FEW_BYTES:
            records.append(SurgeRecord(step.partition, step.partitions, ticks[-1].at, ticks))
            ticks, held = [], 0
        ticks.append(tick)
        held += sum(sizes)
    return [*records, SurgeRecord(step.partition, step.partitions, step.through, ticks)]


def _strongest(tick: Tick, sizes: list[int]) -> Tick:
    room, kept = MOST_BYTES, []
    for index in sorted(range(len(sizes)), key=lambda index: -tick.rows[index].evidence):
        room -= sizes[index]
        if room < 0:
            break
        kept.append(index)
    return Tick(tick.at, [tick.rows[index] for index in sorted(kept)], tick.silent)

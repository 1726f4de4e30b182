"""The records on `surges`: what each partition of detect saw at each tick, for the judge."""

from __future__ import annotations

import msgspec

from detectors.series import Names, Series


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
    recent: only with a closed bucket of a series whose evidence is worth an incident.
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


class Tick(msgspec.Struct, frozen=True, array_like=True):
    """The series worth a look at one tick, in order of series.

    at: event time at which the tick can be decided on, ms: the tick's end plus its source's lateness.
    """

    at: int
    rows: list[SurgeRow]


class SurgeRecord(msgspec.Struct, frozen=True, array_like=True):
    """One step of a partition of detect: all its ticks up to `through` (ms); ticks with no row are left out."""

    partition: int
    partitions: int
    through: int
    ticks: list[Tick]


encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(SurgeRecord).decode

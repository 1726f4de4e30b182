"""Silence: which sources, and which of their series, say nothing though they should; and what they bring afterwards.

A silent source is not a quiet one: its buckets are missing, not zero. What it brings when it is back may be the backlog
of the silence under new times: of the reports beyond the usual as many are left out as were missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, Numbers, check_like, grown
from detectors.rollup import is_rollup, regions_around
from detectors.series import Series

#: A source that comes in lumps is silent after so many of its usual gaps.
GAPS: Final = 2.0
#: The usual gap is the longest of lately: it shrinks to 1/e in so many days, and no gap more than doubles it.
GAP_DAYS: Final = 3.0
#: A backlog that has not come by then does not come: what is still owed fades so, minutes.
OWED_MINUTES: Final = 30.0
#: A series is lately back for so long.
LATELY_SECONDS: Final = 7200
#: Buckets of sources that are kept before old ones are looked for.
FORGOTTEN_FROM: Final = 500
NEVER: Final = -1
WEEK_MINUTES: Final = 10_080.0


class Silent(msgspec.Struct, frozen=True, array_like=True):
    """A source that says nothing, as told to the judge at each of its buckets' ends, and once when it is back.

    since: end of the last tick with a report, ms. start: begin of the bucket that was closed, ms.
    missed: reports expected since. evidence: as that of a surge. over: it is back.
    """

    source: str
    since: int
    start: int
    bucket_seconds: int
    missed: float
    evidence: float
    over: bool


class Alive:
    """In which ticks a source had a report, whatever it was about: the last one of each of its buckets."""

    def __init__(self, last: Mapping[str, Mapping[int, int]] = {}) -> None:
        self.last = {source: dict(buckets) for source, buckets in last.items()}
        self._kept = self._room = 0

    def heard(self, source: str, bucket: int, tick: int) -> None:
        """A report of the source fell into this tick of this bucket (numbers since 1970). Any order, any number."""
        buckets = self.last.setdefault(source, {})
        self._kept += bucket not in buckets
        if tick > buckets.get(bucket, NEVER):
            buckets[bucket] = tick

    def in_bucket(self, source: str, bucket: int) -> int | None:
        """The last tick with a report in the bucket."""
        return self.last.get(source, {}).get(bucket)

    def needed(self, first: Callable[[str], int]) -> dict[str, dict[int, int]]:
        """Of each source what lies in its bucket `first` or later."""
        kept = {
            source: {bucket: tick for bucket, tick in buckets.items() if bucket >= begin}
            for source, buckets in self.last.items()
            for begin in (first(source),)
        }
        return {source: buckets for source, buckets in kept.items() if buckets}

    def forget(self, first: Callable[[str], int]) -> None:
        """What is not needed any more may go; it does when that is worth the effort."""
        if self._kept < self._room:
            return
        self.last = self.needed(first)
        self._kept = sum(map(len, self.last.values()))
        self._room = max(FORGOTTEN_FROM, 2 * self._kept)


class SavedSilence(msgspec.Struct, frozen=True, array_like=True):
    """A `Silence` in a snapshot, but for its arrays: by source."""

    sources: list[str]
    last: list[int]
    usual: list[float]
    silent: list[bool]


class Bucket(NamedTuple):
    """A bucket as the bank is to see it.

    counts: -1 where missing, less what is backlog. missing: None if none are. expected: of every row; None if nobody
    asked: not where any is missing.
    """

    counts: NDArray[np.int64]
    missing: Flags | None
    expected: Floats | None


class Silence:
    """The sources of a watch, and a row a series.

    silent_after: a source is silent when so many reports were expected of it since its last one; so is a series.
    """

    def __init__(self, silent_after: float, ticks: int, bucket_seconds: int) -> None:
        self._silent_after = silent_after
        self._ticks = ticks
        self._bucket_seconds = bucket_seconds
        self._keep_usual = float(np.exp(-bucket_seconds / 86_400.0 / GAP_DAYS))
        self._back_buckets = int(LATELY_SECONDS // bucket_seconds)
        self._keep_owed = float(np.exp(-bucket_seconds / 60.0 / OWED_MINUTES))
        self.sources: list[str] = []
        self._source: Numbers = np.zeros(0, np.int32)
        self._part: Flags = np.zeros(0, np.bool_)  # is no roll-up
        self._series: list[Series] = []
        self._rollup: dict[Series, int] = {}  # row of each roll-up
        self._rows = 0
        # Of each source: tick of its last report, its usual gap in ticks, whether it is silent.
        self._last: list[int] = []
        self._usual: list[float] = []
        self._silent: list[bool] = []
        self._quiet: NDArray[np.float32] = np.zeros(0, np.float32)  # expected since the row's last report
        self._owed: NDArray[np.float32] = np.zeros(0, np.float32)  # reports that may be backlog
        self._gone: Flags = np.zeros(0, np.bool_)  # missing in the last bucket
        self._lately: NDArray[np.int32] = np.zeros(0, np.int32)  # buckets for which it counts as lately come back
        self._any_owed = False

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows."""
        first, self._rows = self._rows, self._rows + len(series)
        self._source = grown(self._source, self._rows)
        self._part = grown(self._part, self._rows)
        self._quiet = grown(self._quiet, self._rows)
        self._owed = grown(self._owed, self._rows)
        self._gone = grown(self._gone, self._rows)
        self._lately = grown(self._lately, self._rows)
        for row, one in enumerate(series, first):
            if one.source not in self.sources:
                self.sources.append(one.source)
                self._last.append(NEVER)
                self._usual.append(0.0)
                self._silent.append(False)
            self._source[row] = self.sources.index(one.source)
            self._part[row] = not is_rollup(one.service, one.region)
            if not self._part[row]:
                self._rollup[one] = row
        self._series.extend(series)

    @property
    def source(self) -> Numbers:
        """Of each row, the number of its source."""
        return self._source[: self._rows]

    @property
    def lately_back(self) -> Flags:
        """Rows that were missing until lately: roll-ups have meanwhile got used to their absence, and surge for it."""
        flags: Flags = self._lately[: self._rows] > 0
        return flags

    def without_backlog(self, counts: NDArray[np.int64], expected: Floats) -> NDArray[np.int64]:
        """The counts of an open bucket, without what may be the backlog of a silence. expected: by now."""
        silent = np.array(self._silent, np.bool_)[self.source]
        silent |= (self._owed[: self._rows] > 0.0) | (self._quiet[: self._rows] >= self._silent_after)
        beyond = np.where(silent, np.ceil(np.maximum(counts - expected, 0.0)), 0.0)
        if not beyond.any():
            return counts
        np.maximum(beyond, self._of_parts(beyond), out=beyond)
        return counts - np.minimum(beyond.astype(np.int64), counts)

    def close(
        self,
        bucket: int,
        observed: NDArray[np.int64],
        expected: Callable[[], Floats],
        alive: Alive,
    ) -> tuple[Bucket, list[Silent]]:
        """The bucket (number since 1970) that every row observed, and what is to be told of silent sources.

        expected: gives what every row expected, asked only where it matters.
        """
        told: list[Silent] = []
        missing = self._quiet[: self._rows] >= self._silent_after
        missing &= observed == 0
        wanted: Floats | None = None
        end = (bucket + 1) * self._ticks
        for number, source in enumerate(self.sources):
            heard = alive.in_bucket(source, bucket)
            last, was_silent = self._last[number], self._silent[number]
            if heard is not None:
                self._note_gap(number, bucket * self._ticks - last - 1 if last >= 0 else 0)
                last = self._last[number] = heard
            gap = end - 1 - last if last >= 0 else 0
            silent, missed = False, 0.0
            if gap > max(1.0, GAPS * self._usual[number]):
                wanted = expected() if wanted is None else wanted
                a_bucket = self._of_source(number, wanted)
                missed = a_bucket * gap / self._ticks
                silent = missed >= self._silent_after or was_silent
            self._silent[number] = silent
            if silent or was_silent:
                # The bucket in which it comes back is half a bucket, and has what was held back.
                missing |= self._source[: self._rows] == number
                evidence = self._evidence(missed, missed / max(gap, 1)) if silent else 0.0
                told.append(
                    Silent(
                        source,
                        (last + 1) * self._bucket_seconds * 1000 // self._ticks,
                        bucket * self._bucket_seconds * 1000,
                        self._bucket_seconds,
                        missed,
                        evidence,
                        not silent,
                    )
                )
        counts = observed.copy()
        if self._any_owed:
            wanted = expected() if wanted is None else wanted
            owed = self._owed[: self._rows]
            beyond = np.minimum(np.floor(np.maximum(observed - wanted, 0.0)), np.floor(owed))
            owed -= beyond
            # What is left out of a series is left out of its roll-ups, unless they are owed as much themselves.
            np.maximum(beyond, self._of_parts(beyond), out=beyond)
            counts -= np.minimum(beyond.astype(np.int64), counts)
            owed *= self._keep_owed
            owed[owed < 1.0] = 0.0
            self._any_owed = bool(owed.any())
        anything = bool(missing.any())
        if anything:
            wanted = expected() if wanted is None else wanted
            counts[missing] = -1
        return Bucket(counts, missing if anything else None, wanted), told

    def learn(self, observed: NDArray[np.int64], bucket: Bucket, expected: Floats) -> None:
        """The bucket that was closed last. expected: what the bank expected, backlogs and all."""
        missing = bucket.missing
        if bucket.expected is not None:
            expected = bucket.expected
        quiet, gone = self._quiet[: self._rows], self._gone[: self._rows]
        held = observed == 0 if missing is None else (observed == 0) | missing
        back = ~held & (gone | (quiet >= self._silent_after))
        if back.any():
            # What came in this bucket the bank has expected as backlog already.
            came = np.maximum(observed - expected, 0.0)
            self._owed[: self._rows][back] = np.maximum(quiet - came, 0.0)[back]
            self._any_owed = True
        lately = self._lately[: self._rows]
        lately -= lately > 0
        lately[back] = self._back_buckets
        quiet[:] = np.where(held, np.maximum(quiet + expected - observed, 0.0), 0.0)
        gone[:] = False if missing is None else missing

    def _of_parts(self, beyond: Floats) -> Floats:
        """Sums over the series of each roll-up, as far as those are here."""
        sums = np.zeros(len(beyond))
        for row in np.flatnonzero((beyond > 0.0) & self._part[: self._rows]).tolist():
            one = self._series[row]
            for region in regions_around(one.region):
                rollup = self._rollup.get(Series(one.source, one.service, region))
                if rollup is not None:
                    sums[rollup] += beyond[row]
        return sums

    def _note_gap(self, number: int, gap: int) -> None:
        usual = self._usual[number] * self._keep_usual
        self._usual[number] = max(usual, min(float(gap), GAPS * usual + self._ticks))

    def _of_source(self, number: int, expected: Floats) -> float:
        """What is expected of a source in a bucket, as far as these rows know."""
        mine, part = self._source[: self._rows] == number, self._part[: self._rows]
        return max(float(expected[mine & part].sum()), float(expected[mine & ~part].max(initial=0.0)))

    def _evidence(self, missed: float, a_tick: float) -> float:
        """log10 of the return period in weeks of a gap in which `missed` reports were expected: e^-missed a report."""
        a_week = a_tick * self._ticks * WEEK_MINUTES * 60.0 / self._bucket_seconds
        return missed / float(np.log(10.0)) - float(np.log10(max(a_week, 1.0)))

    # ---- state

    def save(self) -> SavedSilence:
        """By source, for a snapshot; `arrays` has the rest."""
        return SavedSilence(list(self.sources), list(self._last), list(self._usual), list(self._silent))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By row, as copies."""
        rows = self._rows
        return {
            "quiet": self._quiet[:rows].copy(),
            "owed": self._owed[:rows].copy(),
            "gone": self._gone[:rows].copy(),
            "lately": self._lately[:rows].copy(),
        }

    def load(self, saved: SavedSilence, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `save` and `arrays` gave, once the rows were added. ValueError where they do not fit."""
        of_sources = (saved.last, saved.usual, saved.silent)
        if saved.sources != self.sources or any(len(each) != len(self.sources) for each in of_sources):
            raise ValueError(f"silence of the sources {saved.sources} where the series are of {self.sources}")
        for name, like in self.arrays().items():
            check_like(name, arrays[name], like)
        self._last, self._usual, self._silent = list(saved.last), list(saved.usual), list(saved.silent)
        self._quiet[: self._rows] = arrays["quiet"]
        self._owed[: self._rows] = arrays["owed"]
        self._gone[: self._rows] = arrays["gone"]
        self._lately[: self._rows] = arrays["lately"]
        self._any_owed = bool(self._owed[: self._rows].any())

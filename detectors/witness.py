"""Witness: what a run saw of one place around one time, bucket by bucket, and of the roll-ups around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.counts import ChunkCounts
from detectors.episodes import Place
from detectors.pipeline import Detections
from detectors.river_bank import Bank
from detectors.rollup import ALL, is_rollup, regions_around
from detectors.rules import Rules
from detectors.series import OVERFLOW, Series, partition_of
from detectors.surge import Scores, SurgeBank
from detectors.surges import SurgeRecord

#: Series that buckets are kept of, the asked ones and roll-ups each: one a source, and sources may be invented.
MOST_TRACKS = 50
#: Names that are kept to tell of one that is like a wrong one.
MOST_NAMES = 200_000
#: As incidents put it where a detector is infinitely sure.
_MOST_EVIDENCE = 1e6
#: More reports than these are in no bucket that anybody asks about.
_MOST_COUNT = 1 << 20
#: So far the evidence of a bucket may lie from what an open bucket with its count would have shown; else what another
#: count would have shown is not known either.
_SAME_EVIDENCE = 0.25
#: `Seen.needed` where no number of reports would have been enough, and where it was not worked out.
NEVER_ENOUGH = -1
NOT_ASKED = 0


class Question(msgspec.Struct, frozen=True):
    """Which place, folded, and when: at, and from begin to end around it, ms since 1970."""

    service: str
    region: str
    at: int
    begin: int
    end: int

    @property
    def place(self) -> Place:
        return self.service, self.region

    @property
    def around(self) -> list[Place]:
        """The roll-ups that hold the place, narrowest first.

        >>> Question("whatsapp", "it/lazio", 0, 0, 0).around
        [('whatsapp', 'it/*'), ('whatsapp', '*'), ('*', 'it/lazio'), ('*', 'it/*'), ('*', '*')]
        """
        wider = regions_around(self.region)
        found = [(self.service, region) for region in wider]
        found += [(ALL, region) for region in (self.region, *wider) if region]
        return [each for each in dict.fromkeys(found) if each != self.place]


class Seen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A closed bucket of a series. observed: -1 where missing. low, high: 95 % interval of what was expected.

    told: the judge was told of it. needed: reports in this bucket with which its evidence had reached the threshold;
    NEVER_ENOUGH where none would do, NOT_ASKED where an earlier bucket had as much evidence or it cannot be told.
    """

    start: int
    observed: int
    expected: float
    low: float
    high: float
    evidence: float
    warming: bool
    told: bool
    needed: int = NOT_ASKED


class Track(msgspec.Struct, frozen=True):
    """The buckets of a series around the time, in their order. began: its first bucket, whenever that was, ms."""

    series: Series
    bucket_ms: int
    began: int
    buckets: list[Seen]

    @property
    def place(self) -> Place:
        return self.series.service, self.series.region

    @property
    def peak(self) -> Seen | None:
        """The bucket with most evidence, the first of equal ones; None where it has no buckets."""
        return max(self.buckets, key=lambda each: (each.evidence, -each.start), default=None)


class Account(msgspec.Struct, frozen=True):
    """What a witness saw. first: begin of the first bucket of any series, ms; None where none closed.

    names: the places that reports named, but for roll-ups. overflowed: since when there was an overflow series; None:
    never, as far as is known.
    """

    tracks: list[Track]
    first: int | None
    names: list[Place]
    overflowed: int | None


class Witness:
    """An observer of a run, here or in parts, that keeps what a question asks for. threshold: see `Seen.needed`."""

    def __init__(self, question: Question, threshold: float) -> None:
        self._question = question
        self._threshold = threshold
        self._wanted = {question.place, *question.around}
        self._banks: dict[Bank, _Rows] = {}
        self._tracks: dict[Series, Track] = {}
        self._first: int | None = None
        self._overflowed: int | None = None
        self._parts: list[Account] = []
        # Of the bucket that is about to close.
        self._needed: dict[int, tuple[int, float]] = {}

    # As an observer

    def closing(self, bank: Bank, start: int, counts: NDArray[np.int64]) -> None:
        self._needed = {}
        # River's models tell nothing of an open bucket.
        if not self._within(start, bank) or not isinstance(bank, SurgeBank):
            return
        for row in self._rows_of(bank, start).asked:
            if counts[row] >= 0:
                self._ask(bank, start, counts, row)

    def closed(
        self, bank: Bank, start: int, counts: NDArray[np.int64], scores: Scores, told: NDArray[np.int64]
    ) -> None:
        if self._first is None or start < self._first:
            self._first = start
        rows = self._rows_of(bank, start)
        if not rows.wanted or not self._within(start, bank):
            return
        lows, highs = scores.bounds()
        for row in rows.wanted:
            evidence = min(float(scores.evidence[row]), _MOST_EVIDENCE)
            needed, supposed = self._needed.get(row, (NOT_ASKED, evidence))
            self._tracks[bank.series[row]].buckets.append(
                Seen(
                    start,
                    int(counts[row]),
                    float(scores.expected[row]),
                    float(lows[row]),
                    float(highs[row]),
                    evidence,
                    bool(scores.warming[row]),
                    bool((told == row).any()),
                    needed if abs(supposed - evidence) <= _SAME_EVIDENCE else NOT_ASKED,
                )
            )

    def skipped(self, bank: Bank) -> None:
        """A gap of the feed: there are no buckets."""

    # In several processes

    def part(self, share: float) -> Witness:
        """A witness for some of the partitions."""
        return Witness(self._question, self._threshold)

    def finish(self) -> None:
        """The run is over."""
        self._parts.append(self._own())

    def hand_on(self) -> list[Account]:
        """What was seen, once the run is over; nothing before."""
        parts, self._parts = self._parts, []
        return parts

    def take(self, kept: Sequence[Account]) -> None:
        """Keep what a part handed on."""
        self._parts += kept

    # For the one who asked

    def account(self) -> Account:
        """What was seen, in all parts, series in their order."""
        parts = [*self._parts, self._own()]
        return Account(
            tracks=sorted((track for part in parts for track in part.tracks), key=lambda track: track.series),
            first=min((part.first for part in parts if part.first is not None), default=None),
            names=sorted({name for part in parts for name in part.names}),
            overflowed=min((part.overflowed for part in parts if part.overflowed is not None), default=None),
        )

    def _own(self) -> Account:
        places = (
            (series.service, series.region)
            for bank in self._banks
            for series in bank.series
            if series.service != OVERFLOW and not is_rollup(series.service, series.region)
        )
        names = set(islice(places, MOST_NAMES))
        return Account(list(self._tracks.values()), self._first, sorted(names), self._overflowed)

    # Rows

    def _within(self, start: int, bank: Bank) -> bool:
        return self._question.begin < start + bank.bucket_seconds * 1000 and start < self._question.end

    def _rows_of(self, bank: Bank, start: int) -> _Rows:
        """The rows of a bank that are wanted, the new ones among them."""
        rows = self._banks.get(bank)
        if rows is None:
            rows = self._banks[bank] = _Rows()
        for row in range(rows.looked_at, len(bank.series)):
            series = bank.series[row]
            place = series.service, series.region
            if series.service == OVERFLOW and self._overflowed is None:
                self._overflowed = start
            if place not in self._wanted:
                continue
            asked = place == self._question.place
            of_this_kind = sum((track.place == self._question.place) is asked for track in self._tracks.values())
            if of_this_kind < MOST_TRACKS:
                self._tracks[series] = Track(series, bank.bucket_seconds * 1000, start, [])
                rows.wanted.append(row)
                if asked:
                    rows.asked.append(row)
        rows.looked_at = len(bank.series)
        return rows

    def _ask(self, bank: SurgeBank, start: int, counts: NDArray[np.int64], row: int) -> None:
        """How many reports a row would need for the threshold, where its evidence is the most so far."""
        whole = np.ones(len(counts))

        def evidence(count: int) -> float:
            other = counts.copy()
            other[row] = count
            return float(bank.peek(start, whole, other).evidence[row])

        observed = int(counts[row])
        supposed = evidence(observed)
        peak = self._tracks[bank.series[row]].peak
        if supposed >= self._threshold or (peak is not None and supposed <= peak.evidence):
            return
        self._needed[row] = _least(observed, lambda count: evidence(count) >= self._threshold), supposed


class _Rows:
    """Rows of a bank: how many were looked at, which are wanted, and which of these are of the asked place."""

    __slots__ = ("asked", "looked_at", "wanted")

    def __init__(self) -> None:
        self.looked_at = 0
        self.wanted: list[int] = []
        self.asked: list[int] = []


def _least(above: int, enough: Callable[[int], bool]) -> int:
    """The least count above `above` that is enough; NEVER_ENOUGH where _MOST_COUNT is not."""
    low, step = above, 1
    while not enough(low + step):
        low, step = low + step, 2 * step
        if low > _MOST_COUNT:
            return NEVER_ENOUGH
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


class Listening:
    """Detections that note whether any report named a place: beyond the cap its series leaves no other trace.

    named: event time of the first such report, by its tick, ms; None as long as there was none.
    """

    def __init__(self, where: Detections, question: Question, rules: Rules) -> None:
        self._where = where
        self._rules = rules
        self._place = question.place
        self._partition = partition_of(question.service, rules.partitions)
        self._asked = not is_rollup(*question.place)
        self.named: int | None = None

    def take(self, messages: Sequence[ChunkCounts]) -> list[SurgeRecord]:
        if self._asked and self.named is None:
            self._listen(messages[self._partition])
        return self._where.take(messages)

    def _listen(self, message: ChunkCounts) -> None:
        mine = {row for row, each in enumerate(message.series) if (each.service, each.region) == self._place}
        if mine:
            self.named = min(
                tick * self._rules.source(message.series[row].source).tick_ms
                for row, tick in zip(message.rows, message.ticks, strict=True)
                if row in mine
            )

    def rest(self) -> list[SurgeRecord]:
        return self._where.rest()

    @property
    def series(self) -> int:
        return self._where.series

    @property
    def overflowed(self) -> int:
        return self._where.overflowed

    def learned(self, starts: Sequence[int]) -> list[bytes]:
        return self._where.learned(starts)

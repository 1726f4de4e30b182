"""Cells: what the judge knows of a series or a roll-up, over all sources that report on it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import msgspec
from msgspec.structs import replace

from detectors.alert import Course, six_digits, utc
from detectors.problems import Named
from detectors.recovery import height, is_back
from detectors.series import Names
from detectors.source import SourceRule
from detectors.surges import SurgeRow
from detectors.verdict import Scope

#: Closed buckets of a source that are kept, and how far back an onset may lie: what `Recent` carries.
BUCKETS = 60
#: Where a detector is infinitely sure: JSON has no infinity.
MOST_EVIDENCE = 1e6
#: Ticks in a bucket at most (SourceRule.ticks).
_TICKS = 6
#: Problems remembered of an episode.
_PROBLEMS = 64
#: Half width of a 95 % interval in standard deviations.
_Z95 = 1.959964
#: Size of the negative binomial of the counts that scatter most.
_LEAST_SIZE = 1.5


class Bucket(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Reports of a source on a place in a bucket or in the part of it seen so far.

    observed: -1 where missing. variance: of the count, where the expectation is right. named: problems, if any.
    """

    start: int
    observed: int
    expected: float
    low: float
    high: float
    variance: float
    named: Named | None = None


class Sums(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Reports of several buckets. variance: of the sum, where the expectation is right.
    down, up: squares of the distances from expected to the ends of its 95 % interval.

    The squares add up over buckets, as variances do: a sum's interval reaches sqrt(down) below and sqrt(up) above. Of
    one bucket that is the bucket's own interval, skewed as it is. Buckets are taken as independent, so where the
    expectation as a whole is off (a holiday), the interval of a long sum is too narrow.
    """

    observed: int = 0
    expected: float = 0.0
    down: float = 0.0
    up: float = 0.0
    variance: float = 0.0

    def plus(self, buckets: Iterable[Bucket]) -> Sums:
        """With these buckets added, missing ones left out."""
        observed, expected, down, up, variance = self.observed, self.expected, self.down, self.up, self.variance
        for bucket in buckets:
            if bucket.observed >= 0:
                observed += bucket.observed
                expected += bucket.expected
                down += (bucket.expected - bucket.low) ** 2
                up += (bucket.high - bucket.expected) ** 2
                variance += bucket.variance
        return Sums(observed, expected, down, up, variance)

    def also(self, other: Sums) -> Sums:
        """With those of another source added."""
        return Sums(
            self.observed + other.observed,
            self.expected + other.expected,
            self.down + other.down,
            self.up + other.up,
            self.variance + other.variance,
        )


class Tally(msgspec.Struct, frozen=True, array_like=True):
    """Problems named in several buckets. total: reports that name one; counts: by problem, the commonest."""

    total: int = 0
    counts: dict[str, int] = {}

    def plus(self, buckets: Iterable[Bucket]) -> Tally:
        """With those of these buckets added."""
        total, counts = self.total, dict(self.counts)
        for bucket in buckets:
            if bucket.named is not None:
                total += bucket.named.total
                for problem, count, _ in bucket.named.top:
                    counts[problem] = counts.get(problem, 0) + count
        if len(counts) > _PROBLEMS:
            counts = dict(sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:_PROBLEMS])
        return Tally(total, counts)


class Feed(msgspec.Struct, frozen=True, array_like=True):
    """One source's view of a place.

    evidence, onset (0: none), start, warming: of its latest row.
    until: event time that the row covers, see `_until`. lapses: when it is outdated, see `_lapses`; both in ms.
    bucket_ms: length of its buckets, told with `recent`; 0 as long as it is not known.
    buckets: the last closed ones, oldest first, at most BUCKETS. part: the open one so far.
    before, named: the sums and problems of the episode's buckets that have left `buckets`.
    height: of the episode, see `recovery.height`.
    """

    source: str
    names: Names
    evidence: float
    onset: int
    start: int
    until: int
    lapses: int
    warming: bool
    bucket_ms: int
    buckets: tuple[Bucket, ...]
    part: Bucket | None
    before: Sums
    height: float = 0.0
    named: Tally = Tally()

    def now(self, at: int, silent: Collection[str] = ()) -> float:
        """Its evidence at event time `at`, >= 0. silent: sources that say nothing: what they said last stands."""
        return self.evidence if self.evidence > 0 and (self.lapses > at or self.source in silent) else 0.0

    def since(self) -> int:
        """Begin of its surge, ms: in the latest bucket at most, and at most BUCKETS buckets before."""
        if not self.onset:
            return self.start
        # A bucket of unknown length is shorter than what the row took to become outdated.
        longest = self.bucket_ms or self.lapses - self.start
        return max(min(self.onset, self.start), self.start - BUCKETS * longest)

    def sums(self, started: int) -> Sums:
        """Its reports from the bucket that holds `started` (ms) on."""
        floor = _floor(started, self.bucket_ms)
        seen = self.buckets if self.part is None else (*self.buckets, self.part)
        return self.before.plus(bucket for bucket in seen if bucket.start >= floor)

    def problems(self, started: int) -> Tally:
        """Problems named since the bucket that holds `started` (ms), as far as the judge was told of it."""
        floor = _floor(started, self.bucket_ms)
        return self.named.plus(bucket for bucket in self.buckets if bucket.start >= floor)

    @property
    def is_back(self) -> bool:
        """Whether the surge of its episode is over."""
        return self.height > 0.0 and is_back(self.buckets, self.height)

    def over(self, begin: int) -> Sums:
        """Its reports in closed buckets that begin at `begin` (ms) or later, of the last BUCKETS."""
        return Sums().plus(bucket for bucket in self.buckets if bucket.start >= begin)

    def course(self) -> Course | None:
        """Its last closed buckets without gaps between them; None before their length is known."""
        if not self.buckets or not self.bucket_ms:
            return None
        first = len(self.buckets) - 1
        while first > 0 and self.buckets[first].start - self.buckets[first - 1].start == self.bucket_ms:
            first -= 1
        shown = self.buckets[first:]
        return Course(
            bucket_seconds=self.bucket_ms // 1000,
            end=utc(shown[-1].start + self.bucket_ms),
            observed=[bucket.observed for bucket in shown],
            expected=[six_digits(bucket.expected) for bucket in shown],
            low=[six_digits(bucket.low) for bucket in shown],
            high=[six_digits(bucket.high) for bucket in shown],
        )


def _until(row: SurgeRow, at: int, bucket_ms: int) -> int:
    """Event time up to which a row counts reports, ms.

    `at` less its source's lateness. That is not told: it is taken as less than a tick, and nothing after the bucket
    counts.
    """
    if not bucket_ms:
        return at
    if row.closed:
        return row.start + bucket_ms
    tick_ms = SourceRule(bucket_seconds=bucket_ms // 1000).tick_ms
    return min(row.start + bucket_ms, at - (at - row.start) % tick_ms)


def _lapses(row: SurgeRow, at: int, bucket_ms: int) -> int:
    """When a row is outdated, ms.

    Detect sends a row of a series at each of its buckets' ends while it is hot and for half an hour after that: a
    bucket after one row there is the next, or the series is not hot any more and counts nothing. Where the bucket's
    length is not known, a bound has to do: `at` lies a bucket and the lateness after the start if the tick ends the
    bucket, a tick at least if not.
    """
    if not bucket_ms:
        bucket_ms = (at - row.start) * (1 if row.closed else _TICKS)
    return at + bucket_ms


def _bucket(start: int, observed: int, expected: float, low: float, high: float) -> Bucket:
    """A bucket; one whose expectation is no number (a detector chosen by name may say so) counts as missing."""
    if not math.isfinite(expected + low + high):
        return Bucket(start, -1, 0.0, 0.0, 0.0, 0.0)
    # Of few reports the interval, in whole ones, says little.
    variance = min(((high - expected) / _Z95) ** 2, expected + expected**2 / _LEAST_SIZE)
    return Bucket(start, observed, expected, low, high, variance)


def closed_buckets(row: SurgeRow) -> list[Bucket]:
    """The closed buckets that a row of `surges` tells of, oldest first."""
    buckets = []
    if row.recent is not None:
        recent = row.recent
        bucket_ms = recent.bucket_seconds * 1000
        begin = recent.end - bucket_ms * len(recent.observed)
        columns = zip(recent.observed, recent.expected, recent.low, recent.high, strict=True)
        buckets = [_bucket(begin + i * bucket_ms, *values) for i, values in enumerate(columns)]
    if row.closed and (not buckets or buckets[-1].start < row.start):
        last = _bucket(row.start, row.observed, row.expected, row.low, row.high)
        buckets.append(replace(last, named=row.problems))
    elif buckets and row.closed:
        buckets[-1] = replace(buckets[-1], named=row.problems)
    return buckets


def _saw(feed: Feed | None, row: SurgeRow, at: int, started: int | None, kept: int) -> Feed:
    """The feed after a row at tick `at`.

    started: begin of the episode that it takes part in, ms; None: of none. kept: closed buckets to keep.
    """
    bucket_ms, before = (feed.bucket_ms, feed.before) if feed else (0, Sums())
    if row.recent is not None:
        bucket_ms = row.recent.bucket_seconds * 1000
    buckets, part = (feed.buckets, feed.part) if feed else ((), None)
    if told := closed_buckets(row):
        # What is told now replaces what was told before: the same counts, judged by a later baseline.
        first, last = told[0].start, told[-1].start
        if buckets and buckets[-1].start >= first:
            kept_named = {bucket.start: bucket.named for bucket in buckets if bucket.named is not None}
            told = [replace(each, named=each.named or kept_named.get(each.start)) for each in told]
            buckets = tuple(bucket for bucket in buckets if bucket.start < first)
        buckets = (*buckets, *told)
        part = part if part is not None and part.start > last else None
    if not row.closed and not (buckets and row.start <= buckets[-1].start):
        part = _bucket(row.start, row.observed, row.expected, row.low, row.high)
    named = feed.named if feed else Tally()
    if leaving := buckets[:-kept]:
        buckets = buckets[-kept:]
        if started is not None:
            floor = _floor(started, bucket_ms)
            left = [bucket for bucket in leaving if bucket.start >= floor]
            before, named = before.plus(left), named.plus(left)
    highest = 0.0
    if started is not None and feed is not None:
        highest = max(feed.height, height(buckets, started))
    return Feed(
        source=row.series.source,
        names=row.names,
        evidence=0.0 if math.isnan(row.evidence) else min(row.evidence, MOST_EVIDENCE),
        onset=row.onset,
        start=row.start,
        until=_until(row, at, bucket_ms),
        lapses=_lapses(row, at, bucket_ms),
        warming=row.warming,
        bucket_ms=bucket_ms,
        buckets=buckets,
        part=part,
        before=before,
        height=highest,
        named=named,
    )


def _floor(started: int, bucket_ms: int) -> int:
    """Begin of the bucket that holds `started` (ms), or `started` itself where the bucket's length is not known: 0."""
    return started - started % bucket_ms if bucket_ms else started


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """A series or a roll-up, without its sources. feeds: what each source says of it, in order of source."""

    service: str
    region: str
    feeds: tuple[Feed, ...] = ()

    @property
    def scope(self) -> Scope:
        return self.service, self.region

    @property
    def names(self) -> Names:
        return self.feeds[0].names

    @property
    def told(self) -> int:
        """When its latest row is outdated, ms."""
        return max(feed.lapses for feed in self.feeds)

    def evidence(self, at: int, silent: Collection[str] = ()) -> float:
        """Log-likelihood ratios add up, so its evidence is the sum of its sources' positive ones."""
        return sum(feed.now(at, silent) for feed in self.feeds)

    def onset(self, at: int, silent: Collection[str] = ()) -> int:
        """Begin of the surge that its sources show, ms."""
        return min((feed.since() for feed in self.feeds if feed.now(at, silent)), default=at)

    def is_new(self, at: int, silent: Collection[str] = ()) -> bool:
        """Whether its surge began in a bucket that is open."""
        parts = [feed.part.start for feed in self.feeds if feed.part is not None]
        return bool(parts) and self.onset(at, silent) >= max(parts)

    def over(self, begin: int) -> Sums:
        """Reports of all sources in closed buckets since `begin` (ms), as far back as they are known."""
        sums = Sums()
        for feed in self.feeds:
            sums = sums.also(feed.over(begin))
        return sums

    def since(self, at: int) -> Sums:
        """Reports of all sources in closed buckets that ended after the event time `at`."""
        sums = Sums()
        for feed in self.feeds:
            sums = sums.also(feed.over(at - feed.bucket_ms + 1))
        return sums

    def early(self, begin: int) -> Sums:
        """Reports of all sources in open buckets that began at `begin` (ms)."""
        parts = [feed.part for feed in self.feeds if feed.part is not None and feed.part.start >= begin]
        return Sums().plus(parts)

    def saw(self, row: SurgeRow, at: int, started: int | None, kept: int = BUCKETS) -> Cell:
        """The cell after a row at tick `at`. started: of the episode that its source takes part in, ms; else None."""
        source = row.series.source
        place = next((n for n, feed in enumerate(self.feeds) if feed.source == source), None)
        if place is None:
            saw = _saw(None, row, at, started, kept)
            return replace(self, feeds=tuple(sorted((*self.feeds, saw), key=_by_source)))
        saw = _saw(self.feeds[place], row, at, started, kept)
        return replace(self, feeds=(*self.feeds[:place], saw, *self.feeds[place + 1 :]))

    def begin(self) -> Cell:
        """The cell as an episode begins: what was counted before is not the episode's."""
        return replace(
            self, feeds=tuple(replace(feed, before=Sums(), height=0.0, named=Tally()) for feed in self.feeds)
        )


def _by_source(feed: Feed) -> str:
    return feed.source


def strongest(feeds: Iterable[Feed], at: int) -> Feed:
    """The feed with most evidence, the first by name of equal ones."""
    return max(feeds, key=lambda feed: feed.now(at))

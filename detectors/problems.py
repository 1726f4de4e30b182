"""Problems: what reports say is wrong, counted by series and bucket beside their number, and what is usual of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import lru_cache
from heapq import heappop, heappush

import msgspec

from detectors.local_time import HOUR_MS
from detectors.report import clean, fold
from detectors.rollup import holds, is_rollup
from detectors.series import Series

#: Letters of a problem that count; free text is cut there.
LETTERS = 80
#: Different problems of a chunk in one partition; what names others counts as naming none.
MOST_IN_CHUNK = 256
#: Problems told of a bucket, and kept of what is usual for a service: the commonest.
MOST_TOLD = 8
MOST_USUAL = 32
#: Entries of open buckets at most, a bound for a flood of invented problems: what comes beyond counts as naming none.
MOST_OPEN = 200_000
#: What is usual is half forgotten after so long, ms.
HALF_LIFE_MS = 7 * 86_400_000

#: A source's service, and a problem's reports by region.
_Key = tuple[str, str]
_Regions = dict[str, dict[str, int]]


@lru_cache(maxsize=10_000)
def tidy(problem: str) -> str:
    """A problem in the form that is counted: cleaned, folded and cut; '' where it cannot be used.

    >>> tidy("  Cannot  LOG in ")
    'cannot log in'
    """
    cleaned = clean(problem)
    return "" if cleaned is None else fold(cleaned)[:LETTERS].rstrip()


class Named(msgspec.Struct, frozen=True, array_like=True):
    """Problems that reports of a bucket name. total: reports that name one.

    top: the commonest: problem, reports, its usual share among those that name one (0 to 1).
    """

    total: int = 0
    top: tuple[tuple[str, int, float], ...] = ()


class Usual(msgspec.Struct, array_like=True):
    """How often a service's problems are named, fading from hour to hour. hour: since 1970, that it is faded to."""

    hour: int
    weights: dict[str, float]

    def learn(self, hour: int, counts: Counter[str]) -> None:
        """Add the reports of a bucket that lies in `hour`."""
        weights = self.weights
        if hour > self.hour:
            fading = 0.5 ** ((hour - self.hour) * HOUR_MS / HALF_LIFE_MS)
            for problem in weights:
                weights[problem] *= fading
            self.hour = hour
        for problem, count in counts.items():
            weights[problem] = weights.get(problem, 0.0) + count
        if len(weights) > MOST_USUAL:
            kept = sorted(weights.items(), key=lambda each: (-each[1], each[0]))[:MOST_USUAL]
            self.weights = dict(kept)

    def share(self, problem: str) -> float:
        """Share of a problem, 0 to 1."""
        whole = sum(self.weights.values())
        return self.weights.get(problem, 0.0) / whole if whole else 0.0


class SavedProblems(msgspec.Struct, frozen=True, array_like=True):
    """The problems of a watch in a snapshot."""

    open: list[tuple[int, str, str, str, str, int]]
    usual: dict[str, dict[str, Usual]]


class Problems:
    """The problems of one watch: of its open buckets, of the one that closed last, and what is usual by service."""

    def __init__(self, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._open: dict[int, dict[_Key, _Regions]] = {}
        # The same buckets as a heap: while history is read, hundreds lie ahead.
        self._buckets: list[int] = []
        self._held = 0
        self._closed: dict[_Key, _Regions] = {}
        self._usual: dict[_Key, Usual] = {}

    def add(self, bucket: int, series: Series, problem: str, count: int) -> None:
        """Reports of a series in a bucket (number since 1970) that name a problem."""
        if self._held >= MOST_OPEN:
            return
        if bucket not in self._open:
            self._open[bucket] = {}
            heappush(self._buckets, bucket)
        regions = self._open[bucket].setdefault((series.source, series.service), {})
        problems = regions.setdefault(series.region, {})
        self._held += problem not in problems
        problems[problem] = problems.get(problem, 0) + count

    def close(self, bucket: int) -> None:
        """A bucket closed: what belongs to it, or came late for one before it, is told by `of` until the next does."""
        self._closed = {}
        while self._buckets and self._buckets[0] <= bucket:
            for key, regions in self._open.pop(heappop(self._buckets)).items():
                into = self._closed.setdefault(key, {})
                for region, problems in regions.items():
                    self._held -= len(problems)
                    counts = into.setdefault(region, {})
                    for problem, count in problems.items():
                        counts[problem] = counts.get(problem, 0) + count

    def learn(self, bucket: int, surging: Collection[_Key]) -> None:
        """What closed is usual, but for the services that surge."""
        for key, regions in self._closed.items():
            if key not in surging:
                counts: Counter[str] = Counter()
                for problems in regions.values():
                    counts.update(problems)
                hour = bucket * self._bucket_ms // HOUR_MS
                self._usual.setdefault(key, Usual(hour, {})).learn(hour, counts)

    def of(self, series: Series) -> Named | None:
        """What reports of a series or roll-up of a service named in the bucket that closed last; None for nothing."""
        regions = self._closed.get((series.source, series.service))
        if not regions:
            return None
        wide = is_rollup(series.service, series.region)
        counts: Counter[str] = Counter()
        for region, problems in regions.items():
            if region == series.region or (wide and holds(series.region, region)):
                counts.update(problems)
        if not counts:
            return None
        usual = self._usual.get((series.source, series.service), Usual(0, {}))
        top = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_TOLD]
        return Named(counts.total(), tuple((problem, count, usual.share(problem)) for problem, count in top))

    def save(self) -> SavedProblems:
        """The state, for a snapshot."""
        held = [
            (bucket, *key, region, problem, count)
            for bucket, services in sorted(self._open.items())
            for key, regions in sorted(services.items())
            for region, problems in sorted(regions.items())
            for problem, count in sorted(problems.items())
        ]
        usual: dict[str, dict[str, Usual]] = {}
        for (source, service), each in sorted(self._usual.items()):
            usual.setdefault(source, {})[service] = each
        return SavedProblems(held, usual)

    def load(self, saved: SavedProblems) -> None:
        """Go on from the state of `save`."""
        for bucket, source, service, region, problem, count in saved.open:
            self.add(bucket, Series(source, service, region), problem, count)
        self._usual = {
            (source, service): each for source, services in saved.usual.items() for service, each in services.items()
        }

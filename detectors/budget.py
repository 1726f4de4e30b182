"""The alert budget: pages a week that people bear, what was achieved, and the threshold that keeps it."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.local_time import HOUR_MS

WEEK_MS = 168 * HOUR_MS
#: The achieved rate is that of so many weeks: at a budget of 2 a week, what is rarer is chance.
ACHIEVED_WEEKS = 4
_ACHIEVED_HOURS = ACHIEVED_WEEKS * 168

#: With fewer pages than this at the threshold that is chosen, a history says little about the next weeks.
FEW_PAGES = 5
#: The tail is fitted to so many times the pages that the budget allows. What chance brings and what outages bring are
#: two tails: on draws from both, 4 times as many gave 1.4 times the budget in the end, twice as many 1.15 times, as
#: counts alone do, and that a tenth less scattered than counts alone.
TAIL_TIMES = 2
TAIL_LEAST = 10
#: Two-sided 80 % of a normal distribution.
_Z80 = 1.2816


class PageLog(msgspec.Struct, frozen=True, array_like=True):
    """The pages of the last four weeks, by hour: at most 672 numbers, whatever happens.

    began: event time from which on pages would have been noticed, ms; 0 as long as there was nothing to judge.
    hours: hours since 1970 with pages, oldest first, and how many.
    false: hours in which pages were called false alarms, likewise.
    """

    began: int = 0
    hours: tuple[tuple[int, int], ...] = ()
    false: tuple[tuple[int, int], ...] = ()

    def paged(self, at: int) -> PageLog:
        """The log after a page at event time `at` (ms), the latest so far."""
        return PageLog(self.began, _counted(self.hours, at), self.false)

    def false_alarm(self, at: int) -> PageLog:
        """The log after somebody said at event time `at` (ms) that a page was a false alarm."""
        return PageLog(self.began, self.hours, _counted(self.false, at))

    def per_week(self, now: int) -> float:
        """Pages a week in the four weeks before event time `now` (ms), or in the time seen where that is less.

        It is taken as a week at least: a page in the first hour is not 168 a week.

        >>> PageLog(began=WEEK_MS).paged(2 * WEEK_MS).paged(2 * WEEK_MS).per_week(3 * WEEK_MS)
        1.0
        """
        return self._per_week(self.hours, now)

    def false_per_week(self, now: int) -> float:
        """As `per_week`, of the pages that were called false alarms in that time."""
        return self._per_week(self.false, now)

    def _per_week(self, hours: Sequence[tuple[int, int]], now: int) -> float:
        pages = sum(pages for hour, pages in hours if hour > now // HOUR_MS - _ACHIEVED_HOURS)
        return pages / min(max((now - self.began) / WEEK_MS, 1.0), ACHIEVED_WEEKS)


def _counted(hours: Sequence[tuple[int, int]], at: int) -> tuple[tuple[int, int], ...]:
    """The hours with one more at event time `at` (ms), the latest so far; those of the last weeks."""
    hour = at // HOUR_MS
    kept = {each: pages for each, pages in hours if each > hour - _ACHIEVED_HOURS}
    kept[hour] = kept.get(hour, 0) + 1
    return tuple(kept.items())


class Verdict(enum.StrEnum):
    """What a history says about a budget."""

    #: The threshold keeps it.
    KEPT = "kept"
    #: So does the lowest threshold, with room to spare.
    SPARE = "spare"
    #: No threshold does.
    EXCEEDED = "exceeded"
    #: Less than a week, or the budget is less than FEW_PAGES in all of it.
    SHORT = "short"


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold for a budget.

    threshold: one of those that were tried. pages: that it gave. weeks: in so many.
    per_week: pages a week to expect, smoothed; low, high: 80 % interval of that rate, from the pages alone.
    """

    verdict: Verdict
    threshold: float
    pages: int
    weeks: float
    per_week: float
    low: float
    high: float

    @property
    def larger(self) -> float:
        """Pages a week as counted or as expected, whichever is more: what the budget has to allow for."""
        return max(self.per_week, self.pages / self.weeks if self.weeks else 0.0)

    @property
    def keeps(self) -> bool:
        """The threshold is one to set."""
        return self.verdict in (Verdict.KEPT, Verdict.SPARE)


class Tail(msgspec.Struct, frozen=True):
    """A generalised Pareto distribution of what lies over a level (peaks over threshold).

    over: the level. number: of values above it. shape: 0 is exponential, above it the tail is heavier.
    P(X > x | X > over) = (1 + shape * (x - over) / scale) ** (-1 / shape).
    Source: Pickands 1975, Statistical inference using extreme order statistics.
    """

    over: float
    number: int
    shape: float
    scale: float

    def above(self, x: float) -> float:
        """How many of `number` values are to be expected above x >= over.

        >>> round(Tail(over=2.0, number=100, shape=0.0, scale=1.0).above(2.0 + math.log(4)), 6)
        25.0
        """
        excess = (x - self.over) / self.scale
        if abs(self.shape) < 1e-9:
            return self.number * math.exp(-excess)
        left = 1 + self.shape * excess
        return self.number * math.exp(-math.log(left) / self.shape) if left > 0 else 0.0


def fit(values: NDArray[np.float64], over: float) -> Tail:
    """The tail of `values` above `over`. ValueError where fewer than five of them are.

    Source: Zhang & Stephens 2009, A new and efficient estimation method for the generalized Pareto distribution,
    Technometrics 51(3). Its estimate is a mean over a data-driven prior: it exists for every sample, also a small one
    with a heavy tail, where maximum likelihood and moments fail.
    """
    excess = np.sort(values[values > over] - over)
    n = len(excess)
    if n < 5:
        raise ValueError(f"{n} values above {over}: too few for a tail")
    grid = 30 + int(math.sqrt(n))
    # Of theta = -shape / scale; the prior's width comes from the first quartile.
    theta = 1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))
    theta = theta / (3 * excess[int(n / 4 + 0.5) - 1]) + 1 / excess[-1]
    shapes = np.log1p(-theta[:, None] * excess).mean(axis=1)
    likelihood = n * (np.log(-theta / shapes) - shapes - 1)
    weights = np.exp(likelihood - likelihood.max())
    mean = float((theta * weights).sum() / weights.sum())
    shape = float(np.log1p(-mean * excess).mean())
    return Tail(over, n, shape, -shape / mean)


def smoothed(marks: Sequence[float], thresholds: Sequence[float], pages: Sequence[int], wanted: float) -> list[float]:
    """The pages to expect at each threshold in as long a history, less at the mercy of chance than those counted.

    marks: the most evidence that each page's episode had, at the lowest threshold. thresholds: rising, > 0. pages:
    that each of them gave. wanted: pages where the answer has to be good; the tail is fitted to TAIL_TIMES as many.
    Below the tail there are enough pages to take them as counted. Beyond the largest mark there is nothing: a history
    is not extrapolated. The tail is that of the logarithm: what an outage proves spans decades.
    """
    values = np.sort(np.log(np.asarray(marks, dtype=np.float64)))
    number = math.ceil(max(TAIL_TIMES * wanted, TAIL_LEAST))
    over = float(values[-number - 1]) if len(values) > number else math.log(thresholds[0])
    if np.count_nonzero(values > over) < FEW_PAGES:
        return [float(each) for each in pages]
    tail = fit(values, over)
    expected: list[float] = []
    for threshold, counted in zip(thresholds, pages, strict=True):
        told, x = float(counted), math.log(threshold)
        if x > over:
            told = tail.above(x) if x <= values[-1] else 0.0
        # A higher threshold gives no more pages.
        expected.append(min(told, expected[-1]) if expected else told)
    return expected


def choose(
    *, budget: float, weeks: float, thresholds: Sequence[float], pages: Sequence[int], marks: Sequence[float]
) -> Choice:
    """The lowest of the thresholds that keeps the budget, by what was counted and by what is to be expected.

    To ask for both makes up for the choice: of many thresholds the one that looks best was lucky. On draws with 8 pages
    in the budget it gave 1.03 times the budget in the end; either alone gave 1.07 to 1.10 times.
    budget: pages a week, > 0. weeks: of history. thresholds, pages, marks: as for `smoothed`, one threshold at least.
    """
    wanted = budget * weeks
    expected = smoothed(marks, thresholds, pages, wanted)
    most = [max(told, counted) for told, counted in zip(expected, pages, strict=True)]
    best = next((place for place, number in enumerate(most) if number <= wanted), len(thresholds) - 1)
    if weeks < 1 or wanted < FEW_PAGES:
        verdict = Verdict.SHORT
    elif most[best] > wanted:
        verdict = Verdict.EXCEEDED
    else:
        verdict = Verdict.SPARE if best == 0 else Verdict.KEPT
    low, high = likely(pages[best])
    span = max(weeks, 1 / 168)
    return Choice(
        verdict=verdict,
        threshold=thresholds[best],
        pages=pages[best],
        weeks=weeks,
        per_week=expected[best] / span,
        low=low / span,
        high=high / span,
    )


def likely(pages: int) -> tuple[float, float]:
    """80 % interval of the mean of a Poisson distribution of which `pages` were seen.

    Source: Garwood 1936, Fiducial limits for the Poisson distribution; its quantiles of chi-squared by Wilson &
    Hilferty 1931.

    >>> [round(bound, 1) for bound in likely(10)]
    [6.2, 15.4]
    """
    return _chi_squared(2 * pages, -_Z80) / 2, _chi_squared(2 * pages + 2, _Z80) / 2


def _chi_squared(freedom: int, z: float) -> float:
    if freedom == 0:
        return 0.0
    return float(freedom * max(0.0, 1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3)

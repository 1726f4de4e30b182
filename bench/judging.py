"""What a detector's scores are worth on a feed whose outages are known.

An alarm is a row whose score exceeds the threshold. False alerts are alarms outside of [onset, end + 2 h) of every
outage of the series and outside of 24 h after a lasting shift of its level; with gaps under 30 minutes they are one.
The threshold is the lowest that keeps a budget of false alerts per 100 series-weeks: so any scale of scores will do.
An outage is found if there is an alarm within [onset, end).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.feeds import DAY, WEEK, Outage

BUDGETS = (1.0, 5.0, 20.0)
AFTER_OUTAGE = 120
AFTER_SHIFT = DAY
EPISODE = 30
#: As many as the referee tries. On large feeds the step between two costs a little at the smallest budget.
MOST_THRESHOLDS = 200_000

# What the oracle thinks possible of an outage: the expected rate times so much, or so many reports a minute on top.
TIMES = (1.5, 2.0, 3.0, 6.0, 15.0, 50.0)
PLUS = (0.5, 1.5, 4.0, 12.0)
CAP = 4.5
KEEP = 0.99
CEILING = 16.0


class Case(msgspec.Struct, frozen=True):
    """A feed and its truth. Names are those of the referee's feeds, which may stand in its place.

    counts: (rows, series), -1 where missing. rate, size: expected counts without outages and size of the negative
    binomial. shifts: (series, row) of lasting changes of level. eval_from: the first row that is judged.
    bucket: minutes of a row. start: minute of the week of the first, from Monday, 00:00.
    """

    names: list[tuple[str, str]]
    counts: NDArray[Any]
    rate: NDArray[np.float32]
    size: NDArray[np.float64]
    outages: Sequence[Outage]
    shifts: Sequence[tuple[int, int]] = ()
    eval_from: int = 0
    bucket: int = 1
    start: int = 0


class Figures(msgspec.Struct, frozen=True):
    """At one budget; minutes. blind: mean over all outages, of which a missed one counts with its whole length.

    pod: probability of detection, a share of the outages. delay: to the end of the first row alarmed, of those found.
    """

    pod: float
    delay_median: float
    delay_p90: float
    blind: float
    threshold: float


def judge(scores: NDArray[Any], case: Case, budgets: Sequence[float] = BUDGETS) -> list[Figures]:
    """The figures at each budget of scores of the judged rows, shape (rows, series)."""
    scores = np.nan_to_num(scores, nan=-np.inf)
    quiet = _quiet(scores, case)
    candidates = np.unique(quiet[np.isfinite(quiet)])
    if len(candidates) > MOST_THRESHOLDS:
        place = np.linspace(0, len(candidates) - 1, MOST_THRESHOLDS)
        candidates = np.interp(place, np.arange(len(candidates)), candidates)
    weeks, gap = _series_weeks(scores, case), EPISODE // case.bucket
    spans = [
        scores[each.start - case.eval_from : each.end - case.eval_from, each.series]
        for each in case.outages
        if each.start >= case.eval_from
    ]
    length = np.array([len(span) for span in spans]) * float(case.bucket)
    figures = []
    for budget in budgets:
        low, high = 0, len(candidates) - 1
        while low < high:
            middle = (low + high) // 2
            if episodes(quiet > candidates[middle], gap) * 100.0 <= budget * weeks:
                high = middle
            else:
                low = middle + 1
        threshold = float(candidates[low]) if len(candidates) else -np.inf
        found = np.array([bool((span > threshold).any()) for span in spans], dtype=np.bool_)
        delay = np.array([(np.argmax(span > threshold) + 1.0) * case.bucket for span in spans])
        told = delay[found] if found.any() else np.array([np.nan])
        figures.append(
            Figures(
                pod=float(found.mean()),
                delay_median=float(np.median(told)),
                delay_p90=float(np.quantile(told, 0.9)),
                blind=float(np.where(found, delay, length).mean()),
                threshold=threshold,
            )
        )
    return figures


def false_alerts(scores: NDArray[Any], case: Case, threshold: float) -> float:
    """False alerts per 100 series-weeks at a threshold."""
    return episodes(_quiet(scores, case) > threshold, EPISODE // case.bucket) * 100.0 / _series_weeks(scores, case)


def _series_weeks(scores: NDArray[Any], case: Case) -> float:
    return scores.size * case.bucket / WEEK


def _quiet(scores: NDArray[Any], case: Case) -> NDArray[Any]:
    """Scores where an alarm is false, -inf elsewhere."""
    free = np.ones(scores.shape, dtype=np.bool_)
    for outage in case.outages:
        end = outage.end + AFTER_OUTAGE // case.bucket
        free[max(0, outage.start - case.eval_from) : max(0, end - case.eval_from), outage.series] = False
    for series, row in case.shifts:
        end = row + AFTER_SHIFT // case.bucket
        free[max(0, row - case.eval_from) : max(0, end - case.eval_from), series] = False
    return np.where(free, scores, -np.inf)


def episodes(alarms: NDArray[np.bool_], gap: int) -> int:
    """Number of episodes in flags of (rows, series); alarms of a series that are less than `gap` rows apart are one."""
    series, row = np.nonzero(alarms.T)
    if len(series) == 0:
        return 0
    return 1 + int(((np.diff(series) != 0) | (np.diff(row) >= gap)).sum())


def oracle(case: Case) -> NDArray[np.float32]:
    """Scores of one who knows the true rate and scatter of every row, and is as wary of a single row as ours is.

    The largest of CUSUMs of the negative-binomial log-likelihood ratio, outage against none, one a kind of outage.
    """
    rows, series = case.counts.shape
    times = np.concatenate([TIMES, np.ones(len(PLUS))])[:, None]
    plus = np.concatenate([np.zeros(len(TIMES)), np.array(PLUS) * case.bucket])[:, None]
    cusum = np.zeros((len(times), series))
    scores = np.zeros((rows - case.eval_from, series), dtype=np.float32)
    for row in range(max(0, case.eval_from - DAY // case.bucket), rows):
        count, usual = case.counts[row], np.maximum(case.rate[row].astype(np.float64), 1e-6)
        broken = usual * times + plus
        step = count * np.log(broken / usual) - (count + case.size) * np.log((broken + case.size) / (usual + case.size))
        moved = np.clip(cusum * KEEP**case.bucket + np.minimum(step, CAP), 0.0, CEILING)
        cusum = np.where(count < 0, cusum, moved)
        if row >= case.eval_from:
            scores[row - case.eval_from] = cusum.max(axis=0)
    return scores

"""What else people use, as banks: `update(minute, counts) -> scores` for all series at once.

minute: from Monday, 00:00. counts: -1 where missing. The higher a score, the odder; the scale is free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats
from detectors.baseline import MINUTE_MS
from detectors.local_time import DAY_MS
from detectors.river_bank import Bank, make_bank
from detectors.river_models import DetectorChoice
from detectors.series import Series
from detectors.surge import SurgeRule

#: Minute 0 is a Monday, 00:00.
MONDAY_MS = 4 * DAY_MS


class Updated(Protocol):
    """A bank as it is judged."""

    def update(self, minute: int, counts: NDArray[Any]) -> NDArray[Any]: ...


Factory = Callable[[Sequence[tuple[str, str]]], Updated]


class Detector:
    """A bank of Groundswell's; its scores are evidence, log10 of the return period in series-weeks."""

    def __init__(self, bank: Bank, names: Sequence[tuple[str, str]]) -> None:
        self.bank = bank
        self.bank.add([Series("reports", service, region) for service, region in names])

    def update(self, minute: int, counts: NDArray[Any]) -> Floats:
        return self.bank.close(MONDAY_MS + int(minute) * MINUTE_MS, np.asarray(counts, dtype=np.int64)).evidence


def of_groundswell(name: str, bucket_minutes: int = 1, rule: SurgeRule | None = None) -> Factory:
    """The detector that [[detectors]] gives by this name."""
    choice = DetectorChoice(name=name)
    return lambda names: Detector(make_bank(choice, rule or SurgeRule(), bucket_minutes * 60), names)


class EarsC2:
    """CDC's EARS C2: distance of a quarter of an hour from the mean of seven earlier days, in deviations.

    Two days between them and today are left out. Source: Hutwagner et al. 2003, The bioterrorism preparedness and
    response Early Aberration Reporting System (Journal of Urban Health 80); there by days, here by time of day.
    """

    def __init__(self, names: Sequence[tuple[str, str]], bucket_minutes: int = 1) -> None:
        self._day = 1440 // bucket_minutes
        self._quarter = np.zeros((max(1, 15 // bucket_minutes), len(names)))
        self._past = np.zeros((10 * self._day, len(names)))
        self._rows = 0

    def update(self, minute: int, counts: NDArray[Any]) -> Floats:
        self._quarter[self._rows % len(self._quarter)] = np.maximum(counts, 0)
        now = self._quarter.sum(axis=0)
        lags = [lag for lag in range(3, 10) if lag * self._day <= self._rows]
        days = self._past[[(self._rows - lag * self._day) % len(self._past) for lag in lags]]
        self._past[self._rows % len(self._past)] = now
        self._rows += 1
        if len(lags) < 3:
            return np.zeros(len(now))
        # Half a report keeps series that were silent on all those days from dividing by nothing.
        return (now - days.mean(axis=0)) / (days.std(axis=0, ddof=1) + 0.5)


class AdaptiveBands:
    """Mean and deviation of the last day, no tighter than the same hour of yesterday and of a week ago.

    As in the adaptive rules of grafana/promql-anomaly-detection, in outline. The score is the distance above the upper
    band, in deviations.
    """

    def __init__(self, names: Sequence[tuple[str, str]], bucket_minutes: int = 1) -> None:
        self._day, self._hour = 1440 // bucket_minutes, 60 // bucket_minutes
        self._last = np.zeros((max(1, 5 // bucket_minutes), len(names)))
        self._past = np.zeros((7 * self._day + self._hour, len(names)))
        self._sums = np.zeros((2, len(names)))
        self._rows = 0

    def update(self, minute: int, counts: NDArray[Any]) -> Floats:
        row, room = self._rows, len(self._past)
        self._last[row % len(self._last)] = np.maximum(counts, 0)
        now = self._last.mean(axis=0)
        known = max(1, min(row, self._day))
        mean = self._sums[0] / known
        deviation = np.sqrt(np.maximum(self._sums[1] / known - mean**2, 0.0)) + 0.05
        upper = mean + 2.0 * deviation
        half = self._hour // 2
        for lag in (self._day, 7 * self._day):
            if row >= lag + half:
                around = range(row - lag - half, row - lag + half, max(1, half // 3))
                upper = np.maximum(upper, self._past[[place % room for place in around]].mean(axis=0) + deviation)
        gone = self._past[(row - self._day) % room] if row >= self._day else np.zeros(len(now))
        self._sums += (now - gone, now**2 - gone**2)
        self._past[row % room] = now
        self._rows += 1
        return (now - upper) / deviation

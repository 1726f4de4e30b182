"""River's interface of the surge detector for one series."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from river import base as river_base

from detectors.arrays import Ints
from detectors.local_time import UTC_NAME
from detectors.series import Series
from detectors.source import SourceRule
from detectors.surge import SurgeBank, SurgeRule

#: Beyond any count that people can make.
MOST_COUNT = 10**15


class SurgeDetector(river_base.SupervisedAnomalyDetector):  # type: ignore[misc]
    """The surge detector for one series in River's interface: a view of a bank of one.

    x = {"start": begin of the bucket, ms since 1970 or a datetime}; y = its count. Buckets that were passed over are
    missing, not zero; a y of None is missing, too. Without a start (x = {} or None) it is the bucket after the last
    one; without any before, the first of 1970. Other features are ignored.

    bucket_seconds: one of source.BUCKET_SECONDS, 10 to 3600, else ValueError. time_zone: its IANA name.

    >>> detector = SurgeDetector(bucket_seconds=60)
    >>> for minute in range(180):
    ...     detector.learn_one({"start": minute * 60_000}, 4)
    >>> usual, much = (detector.score_one({"start": 180 * 60_000}, count) for count in (5, 400))
    >>> usual < 0 < 2 < much
    True
    """

    def __init__(
        self,
        bucket_seconds: int = 60,
        shift_hours: float = 10.0,
        warming_hours: float = 48.0,
        time_zone: str = UTC_NAME,
    ) -> None:
        self.bucket_seconds = SourceRule(bucket_seconds=bucket_seconds).bucket_seconds
        self.shift_hours = shift_hours
        self.warming_hours = warming_hours
        self.time_zone = time_zone
        self._bank = SurgeBank(self._rule(), bucket_seconds)
        self._bank.add([Series("", "", "")])
        self._end: int | None = None

    def _rule(self) -> SurgeRule:
        zones = {} if self.time_zone == UTC_NAME else {"": self.time_zone}
        return SurgeRule(shift_hours=self.shift_hours, warming_hours=self.warming_hours, time_zones=zones)

    # River's Pipeline passes `y` on to a score_one only if that takes any keyword.
    def score_one(self, x: Mapping[str, Any] | None, y: float | None, **_: object) -> float:
        """Evidence of a surge if the bucket has `y` reports: log10 of its return period in series-weeks."""
        return float(self._bank.peek(self._start(x), np.ones(1), _count(y)).evidence[0])

    def learn_one(self, x: Mapping[str, Any] | None, y: float | None) -> None:
        """Closes the bucket with `y` reports. ValueError if it is not later than the one before."""
        start = self._start(x)
        if self._end is not None and start < self._end:
            raise ValueError(f"bucket {start} begins before {self._end}, the end of the last one; give them in order")
        if self._end is not None:
            self._bank.skip(self._end, start)
        self._bank.close(start, _count(y))
        self._end = start + self.bucket_seconds * 1000

    def _start(self, x: Mapping[str, Any] | None) -> int:
        start = x.get("start") if x else None
        if start is None:
            return self._end or 0
        at = round(start.timestamp() * 1000) if isinstance(start, datetime) else int(start)
        return at - at % (self.bucket_seconds * 1000)

    # A bank's arrays are views of each other, which pickle and deepcopy would tear apart.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bank": self._bank.arrays()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._bank = SurgeBank.restore(self._rule(), self.bucket_seconds, [Series("", "", "")], state["_bank"])


def _count(y: float | None) -> Ints:
    if y is not None and not abs(y) <= MOST_COUNT:
        raise ValueError(f"a count of {y} is none; give 0 to {MOST_COUNT}, or None where it is missing")
    return np.array([-1 if y is None else round(y)], dtype=np.int64)

"""Calibration: what a score is worth as evidence, log10 of the return period in series-weeks.

The scale is that of simulated feeds, where it was measured. A real feed may surge more often than chance explains, news
and all; how much less a score says there is learned from the feed itself: evidence is lowered until its series have no
more episodes above evidence 0 than USUAL_EPISODES a week.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, grown

# Measured on simulated feeds without surges, of 1 report a week to 1000 a minute; docs/detection.md has the figures.
PER_NAT: Final = 0.45
OF_NONE: Final = -3.1
PER_DECADE: Final = 1.0  # of the bucket's length: longer ones rise more rarely
#: Scores beyond this, nats, come about by what no model has rather than by chance: they grow on as a logarithm.
CHANCE: Final = 9.4
BEYOND: Final = 2.8

#: One false alarm and the true ones: more episodes a week than this at evidence 0 are a feed's habit.
USUAL_EPISODES: Final = 2.5
#: Alarms with smaller gaps are one episode.
EPISODE_MINUTES: Final = 30.0
# How much an episode a week too many lowers the evidence, a week: at first, and at least, later.
FIRST_GAIN: Final = 2.0
LAST_GAIN: Final = 0.2
#: No bucket lowers it by more than this.
MOST_STEP: Final = 0.4
WEEK_MINUTES: Final = 10_080.0
NEVER: Final = -(2**30)


class Calibration:
    """Evidence of the scores of a bank, and what the bank has learned about it.

    lowered: by how much evidence is lowered, because the feed surges more often than chance does.
    """

    def __init__(self, bucket_seconds: int) -> None:
        self._minutes = bucket_seconds / 60.0
        self._none = OF_NONE + PER_DECADE * float(np.log10(self._minutes))
        self._merge = max(1, int(EPISODE_MINUTES / self._minutes))
        self.lowered = 0.0
        self._buckets = 0
        self._last: NDArray[np.int32] = np.zeros(0, dtype=np.int32)  # bucket in which evidence was above 0
        self._rows = 0

    def add(self, rows: int) -> None:
        """Makes room for `rows` rows in all."""
        self._last = grown(self._last, rows)
        self._last[self._rows : rows] = NEVER
        self._rows = rows

    def evidence(self, score: Floats) -> Floats:
        """Evidence of scores, nats."""
        if len(score) and score.max() > CHANCE:
            score = np.where(
                score > CHANCE, CHANCE + BEYOND * np.log1p(np.maximum(score - CHANCE, 0.0) / BEYOND), score
            )
        return score * PER_NAT + (self._none - self.lowered)

    def learn(self, evidence: Floats, resting: Flags | None = None) -> None:
        """Takes in the evidence of a closed bucket, all rows but those that are resting."""
        last = self._last[: self._rows]
        last[evidence > 0.0 if resting is None else (evidence > 0.0) & ~resting] = self._buckets
        # An episode counts once it is over: it does not lower its own evidence.
        ended = int(np.count_nonzero(last == self._buckets - self._merge))
        self._buckets += 1
        weeks = self._buckets * self._minutes / WEEK_MINUTES
        gain = min(max(FIRST_GAIN / max(weeks, 0.5), LAST_GAIN), FIRST_GAIN)
        step = min(gain * ended / self._rows, MOST_STEP) - gain * USUAL_EPISODES * self._minutes / WEEK_MINUTES
        self.lowered = max(0.0, self.lowered + step)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies."""
        return {
            "lowered": np.array([self.lowered]),
            "calibrated": np.array([self._buckets], dtype=np.int64),
            "high": self._last[: self._rows].copy(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave, once the rows were added."""
        self.lowered = float(arrays["lowered"][0])
        self._buckets = int(arrays["calibrated"][0])
        self._last[: self._rows] = arrays["high"]

"""Habit: how high a series' score usually is, and what that leaves of a high one.

Where counts come from a model, the scores of all series are alike. Where people post, there are series that surge every
other day, and a surge says less. The usual height of a series is a running quantile of its score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, grown

QUANTILE: Final = 0.95
#: Days in which the usual height follows.
MEMORY_DAYS: Final = 28.0
#: Usual heights up to this are those of chance, nats.
CHANCE: Final = 4.0
#: Beyond this score, nats, a series' own habit counts: what is above is divided by usual / CHANCE.
HIGH: Final = 20.0


class Habit:
    """The usual height of the score of each row, nats."""

    def __init__(self, bucket_seconds: int) -> None:
        # A step of the quantile: down by 1/e in MEMORY_DAYS where the score never reaches it.
        step = bucket_seconds / 86_400.0 / MEMORY_DAYS / (1.0 - QUANTILE)
        self._up, self._down = np.float32(1.0 + step * QUANTILE), np.float32(1.0 - step * (1.0 - QUANTILE))
        self._usual: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._rows = 0

    def add(self, rows: int) -> None:
        """Makes room for `rows` rows in all."""
        self._usual = grown(self._usual, rows)
        self._usual[self._rows : rows] = CHANCE
        self._rows = rows

    def temper(self, score: Floats) -> Floats:
        """Scores of all rows, nats, less what is habit."""
        if score.max() > HIGH:
            excess = np.maximum(self._usual[: self._rows].astype(np.float64) / CHANCE, 1.0)
            score = np.where(score > HIGH, HIGH + (score - HIGH) / excess, score)
        return score

    def learn(self, score: Floats, resting: Flags | None = None) -> None:
        """Takes in the tempered scores of a bucket, all rows but those that are resting."""
        usual = self._usual[: self._rows]
        move = np.where(score > usual, self._up, self._down)
        usual *= move if resting is None else np.where(resting, np.float32(1.0), move)
        np.maximum(usual, 0.1, out=usual)
        np.minimum(usual, 1e4, out=usual)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies."""
        return {"usual": self._usual[: self._rows].copy()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave, once the rows were added."""
        self._usual[: self._rows] = arrays["usual"]

"""Excess: how far above its slow baseline a series stayed, in every block of minutes, for how long.

A short-term level follows what wanders within hours, and with it a real surge that builds up slowly. This second line
looks at the baseline without it: log(counts / baseline) in blocks of five minutes; of the last 15 to 90 minutes the
lowest block counts, weighted by the length. One block back at normal ends it, and a burst of one or two gives nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, grown

BLOCK_MINUTES: Final = 5.0
SHORTEST: Final = 15.0
LONGEST: Final = 90.0
#: Weight of a window by its length.
POWER: Final = 0.7
#: Added to both counts, so that a handful of reports proves nothing.
FEW: Final = 2.0
#: A series that is often that high needs more: its usual height is a running quantile, moved STEP at a time.
QUANTILE: Final = 0.95
STEP: Final = 0.02
USUAL: Final = 0.7


class Excess:
    """A row a series: the current block, the ring of past ones, its usual height and its present one.

    For buckets of BLOCK_MINUTES at most.
    """

    def __init__(self, bucket_seconds: int) -> None:
        minutes = bucket_seconds / 60.0
        self._buckets = max(1, round(BLOCK_MINUTES / minutes))
        self._block_minutes = self._buckets * minutes
        self._filled = 0
        blocks = int(LONGEST // self._block_minutes)
        spans = self._block_minutes * np.arange(1, blocks + 1)
        longest = spans[spans >= SHORTEST]
        self._skipped = blocks - len(longest)
        self._weight = ((longest / SHORTEST) ** POWER)[:, None].astype(np.float32)
        self._ring: NDArray[np.float32] = np.zeros((blocks, 0), dtype=np.float32)
        self._sums: Floats = np.zeros((2, 0))  # counts, expected
        self._usual: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._height: NDArray[np.float32] = np.zeros(0, dtype=np.float32)

    def add(self, rows: int) -> None:
        """Makes room for `rows` rows in all."""
        self._ring = grown(self._ring, rows)
        self._sums = grown(self._sums, rows)
        self._usual = grown(self._usual, rows, 1.0)
        self._height = grown(self._height, rows)

    def take(self, rows: slice, x: Floats, slow: Floats, missing: Flags | None) -> None:
        """Adds a bucket: counts and what the slow baseline expects."""
        if missing is not None:
            slow = np.where(missing, 0.0, slow)
        self._sums[0, rows] += x
        self._sums[1, rows] += slow

    def step(self) -> bool:
        """A bucket is over for all rows; whether it ended a block, so that `end_block` is due for all rows."""
        self._filled = (self._filled + 1) % self._buckets
        return self._filled == 0

    def end_block(self, rows: slice, resting: Flags | None = None) -> None:
        """Moves the block of these rows into their ring. resting: rows whose usual height stays as it is."""
        counts, expected = self._sums[:, rows]
        ring = self._ring[:, rows]
        ring[1:] = ring[:-1].copy()
        ring[0] = np.log((counts + FEW) / (expected + FEW))
        self._sums[:, rows] = 0.0
        lowest = np.minimum.accumulate(ring, axis=0)[self._skipped :]
        lowest *= self._weight
        raw = np.maximum(lowest.max(axis=0), 0.0)
        usual = self._usual[rows]
        self._height[rows] = raw / np.sqrt(np.maximum(usual / USUAL, 1.0))
        step = STEP * self._block_minutes / BLOCK_MINUTES
        move = np.where(raw > usual, 1.0 + step * QUANTILE, 1.0 - step * (1.0 - QUANTILE)).astype(np.float32)
        usual *= move if resting is None else np.where(resting, np.float32(1.0), move)
        np.clip(usual, 1e-3, 1e3, out=usual)

    def height(self, rows: slice) -> NDArray[np.float32]:
        """How high the rows stayed: 0 at normal, above 0.5 hardly ever by chance."""
        return self._height[rows]

    def forget(self, rows: Flags) -> None:
        """Whatever was high of these rows is over."""
        for values in (self._ring, self._sums, self._height):
            values[..., : len(rows)][..., rows] = 0.0

    def clear(self) -> None:
        """A gap: whatever was high is over."""
        self._ring[:] = 0.0
        self._sums[:] = 0.0
        self._height[:] = 0.0
        self._filled = 0

    def arrays(self, rows: int) -> dict[str, NDArray[Any]]:
        """The whole state, as copies."""
        return {
            "excess_ring": self._ring[:, :rows].copy(),
            "excess_sums": self._sums[:, :rows].copy(),
            "excess_usual": self._usual[:rows].copy(),
            "excess_height": self._height[:rows].copy(),
            "excess_filled": np.array([self._filled], dtype=np.int64),
        }

    def load(self, rows: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave, once the rows were added."""
        self._ring[:, :rows] = arrays["excess_ring"]
        self._sums[:, :rows] = arrays["excess_sums"]
        self._usual[:rows] = arrays["excess_usual"]
        self._height[:rows] = arrays["excess_height"]
        self._filled = int(arrays["excess_filled"][0])

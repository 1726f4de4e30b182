"""Recents: the last closed buckets of all series of a bank, for sparklines and for sums since an onset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import grown
from detectors.surges import Recent

BUCKETS = 60
MISSING = -1
# Counts are kept in 32 bits: what is above is shown as this.
_MOST = np.iinfo(np.int32).max
#: Half width of a 95 % interval in standard deviations.
_Z95 = 1.959964


class Recents:
    """Observed and expected counts of the last BUCKETS buckets: rings with a column a series."""

    def __init__(self, bucket_seconds: int) -> None:
        self.bucket_seconds = bucket_seconds
        self.filled = 0
        self._next = 0
        self._observed = np.full((BUCKETS, 0), MISSING, np.int32)
        self._expected = np.zeros((BUCKETS, 0), np.float32)

    def grow(self, size: int) -> None:
        """Room for `size` series; the buckets before a series' first one are missing."""
        self._observed = grown(self._observed, size, MISSING)
        self._expected = grown(self._expected, size)

    def push(self, observed: NDArray[np.int64], expected: NDArray[np.float64]) -> None:
        """A closed bucket of every series, shape (n,)."""
        n = len(observed)
        self.grow(n)
        np.minimum(observed, _MOST, out=self._observed[self._next, :n], casting="unsafe")
        self._expected[self._next, :n] = expected
        self._move()

    def push_missing(self, buckets: int) -> None:
        """`buckets` buckets that nothing is known of."""
        for _ in range(min(buckets, BUCKETS)):
            self._observed[self._next] = MISSING
            self._expected[self._next] = 0
            self._move()

    def _move(self) -> None:
        self._next = (self._next + 1) % BUCKETS
        self.filled = min(self.filled + 1, BUCKETS)

    def of(self, row: int, end: int, dispersion: float) -> Recent:
        """The last buckets of a series.

        end: where the newest ends, ms. dispersion: r of the negative binomial (variance mu + mu²/r), > 0; its intervals
        are those of the normal distribution with that variance, cut at 0.
        """
        order = np.arange(self._next - self.filled, self._next) % BUCKETS
        observed = self._observed[order, row]
        expected = self._expected[order, row].astype(np.float64)
        half = _Z95 * np.sqrt(expected + expected * expected / dispersion)
        low = np.maximum(expected - half, 0.0)
        return Recent(
            self.bucket_seconds, end, observed.tolist(), expected.tolist(), low.tolist(), (expected + half).tolist()
        )

    def last(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Observed in the newest bucket, of some series; -1 where missing."""
        observed: NDArray[np.int32] = self._observed[self._next - 1, rows]
        return observed

    def arrays(self, size: int) -> dict[str, NDArray[np.generic]]:
        """The rings of the first `size` series, oldest bucket first."""
        order = np.arange(self._next - self.filled, self._next) % BUCKETS
        return {"observed": self._observed[order, :size], "expected": self._expected[order, :size]}

    @classmethod
    def restore(cls, bucket_seconds: int, size: int, arrays: dict[str, NDArray[np.generic]]) -> Recents:
        """Rings from `arrays`. ValueError where the shapes do not fit."""
        rings = cls(bucket_seconds)
        if arrays.keys() != {"observed", "expected"}:
            raise ValueError(f"arrays of rings are {sorted(arrays)}")
        observed, expected = arrays["observed"], arrays["expected"]
        if observed.shape != expected.shape or observed.shape[:1] > (BUCKETS,) or observed.shape[1:] != (size,):
            raise ValueError(f"rings of shape {observed.shape} and {expected.shape} for {size} series")
        rings.grow(size)
        rings.filled = len(observed)
        rings._observed[: rings.filled, :size] = observed
        rings._expected[: rings.filled, :size] = expected
        rings._next = rings.filled % BUCKETS
        return rings


def dispersion(expected: float, high: float) -> float:
    """r of the negative binomial behind an expected count and the upper end of its interval; large for a Poisson."""
    variance = ((high - expected) / _Z95) ** 2
    return max(expected * expected / max(variance - expected, 1e-6 * (1 + expected * expected)), 0.1)

"""Arrival: when in its buckets the reports of a source come.

Single reports come at any time. A feed that adds up minutes gives all of a minute one time: half a minute into the
bucket either nothing or everything is there, and it is no surge when everything is.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats

#: Reports that are taken to have come evenly, before any did.
PRIOR: Final = 100.0
#: What was learned fades to 1/e in so many days.
MEMORY_DAYS: Final = 2.0


class Arrival:
    """The share of a bucket that has come by the end of each of its ticks, by number of the source."""

    def __init__(self, ticks: int, bucket_seconds: int) -> None:
        self._even: Floats = np.arange(1, ticks + 1) / ticks
        self._keep = float(np.exp(-bucket_seconds / 86_400.0 / MEMORY_DAYS))
        self._counts: Floats = np.zeros((0, ticks))

    def add(self, sources: int) -> None:
        """Makes room for `sources` sources in all."""
        ticks = len(self._even)
        new = np.full((sources - len(self._counts), ticks), PRIOR / ticks)
        self._counts = np.concatenate([self._counts, new])

    def saw(self, tick: int, counts: Floats) -> None:
        """Reports of each source came in tick 0, 1, 2 … of the bucket."""
        self._counts[:, tick] += counts

    def end_bucket(self) -> None:
        """The bucket is over."""
        self._counts *= self._keep

    def share(self, tick: int) -> Floats:
        """What part of a bucket's reports of each source is to be there after this tick, in (0, 1]; late is no matter.

        >>> arrival = Arrival(ticks=2, bucket_seconds=60)
        >>> arrival.add(2)
        >>> arrival.saw(0, np.array([100.0, 900.0]))
        >>> arrival.share(0).tolist()
        [0.75, 0.95]
        """
        total = self._counts.sum(axis=1)
        learned = self._counts[:, : tick + 1].sum(axis=1) / np.maximum(total, 1e-9)
        share: Floats = np.clip(learned, self._even[tick], 1.0)
        return share

    def array(self) -> NDArray[Any]:
        """The whole state, as a copy."""
        return self._counts.copy()

    def load(self, counts: NDArray[Any]) -> None:
        """Takes over what `array` gave, once the sources were added."""
        self._counts = counts.copy()

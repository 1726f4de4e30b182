"""Window: the ticks of a bank that are still open."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Array
from detectors.series import Names, Series


class OpenTick:
    """Reports of a tick: of series that have a row in pieces, as they came in, of new ones by series."""

    __slots__ = ("counts", "new", "rows")

    def __init__(self) -> None:
        self.rows: list[NDArray[np.int64]] = []
        self.counts: list[NDArray[np.int64]] = []
        self.new: dict[Series, int] = {}


class SavedTick(msgspec.Struct, frozen=True, array_like=True):
    """An open tick in a snapshot."""

    tick: int
    rows: Array
    counts: Array
    new: dict[Series, int]


class SavedWindow(msgspec.Struct, frozen=True, array_like=True):
    """A window in a snapshot."""

    ticks: list[SavedTick]
    names: dict[Series, tuple[int, Names]]


_NONE = np.zeros(0, np.int64)


class Window:
    """Counts of open ticks. Changed in place by the one watch that owns it.

    ticks: by number of the tick. names: of new series, the first tick and the spelling of it.
    """

    def __init__(self) -> None:
        self.ticks: dict[int, OpenTick] = {}
        self.names: dict[Series, tuple[int, Names]] = {}

    def _open(self, tick: int) -> OpenTick:
        found = self.ticks.get(tick)
        if found is None:
            found = self.ticks[tick] = OpenTick()
        return found

    def add(self, ticks: NDArray[np.int64], rows: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Count reports of series that have a row; all of one length, in any order."""
        order = np.argsort(ticks, kind="stable")
        ticks, rows, counts = ticks[order], rows[order], counts[order]
        ends = np.append(np.flatnonzero(np.diff(ticks)) + 1, len(ticks)).tolist()
        begin = 0
        for end in ends:
            found = self._open(int(ticks[begin]))
            found.rows.append(rows[begin:end])
            found.counts.append(counts[begin:end])
            begin = end

    def add_new(self, tick: int, series: Series, names: Names, count: int) -> None:
        """Count reports of a new series, and keep its spelling: of the earliest tick the least, whatever came first."""
        new = self._open(tick).new
        new[series] = new.get(series, 0) + count
        seen = self.names.get(series)
        if seen is None or (tick, names.service, names.region) < (seen[0], seen[1].service, seen[1].region):
            self.names[series] = (tick, names)

    def earliest(self) -> int | None:
        """The earliest tick with a count."""
        return min(self.ticks, default=None)

    def save(self) -> SavedWindow:
        """The window as it is."""
        ticks = [
            SavedTick(
                tick,
                Array.of(np.concatenate([_NONE, *found.rows])),
                Array.of(np.concatenate([_NONE, *found.counts])),
                found.new,
            )
            for tick, found in sorted(self.ticks.items())
        ]
        return SavedWindow(ticks, self.names)

    @classmethod
    def restore(cls, saved: SavedWindow) -> Window:
        """The window of `save`. ValueError where arrays do not fit."""
        window = cls()
        window.names = dict(saved.names)
        for each in saved.ticks:
            found = window._open(each.tick)
            found.new = dict(each.new)
            rows, counts = each.rows.load(), each.counts.load()
            if rows.shape != counts.shape or rows.dtype != np.int64 or counts.dtype != np.int64:
                raise ValueError("a tick's rows and counts do not fit each other")
            found.rows, found.counts = [rows], [counts]
        return window

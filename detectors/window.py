"""Window: the ticks of a bank that are still open, and the bucket they add up to."""

from __future__ import annotations

import msgspec

from detectors.series import Names, Series

#: A count of a series that has a row already goes by the row, of a new one by the series.
Key = int | Series


class Window(msgspec.Struct, array_like=True):
    """Counts of open ticks. Changed in place by the one watch that owns it.

    ticks: number of the tick → key → reports. names: of new series, first tick and the spelling of it.
    """

    ticks: dict[int, dict[Key, int]] = {}
    names: dict[Series, tuple[int, Names]] = {}

    def add(self, tick: int, key: Key, count: int) -> None:
        """Count reports in a tick."""
        open_tick = self.ticks.get(tick)
        if open_tick is None:
            open_tick = self.ticks[tick] = {}
        open_tick[key] = open_tick.get(key, 0) + count

    def spell(self, series: Series, tick: int, names: Names) -> None:
        """Keep the spelling of a new series: of its earliest tick the least one, whatever came first."""
        seen = self.names.get(series)
        new = (tick, names)
        if seen is None or (tick, names.service, names.region) < (seen[0], seen[1].service, seen[1].region):
            self.names[series] = new

    def earliest(self) -> int | None:
        """The earliest tick with a count."""
        return min(self.ticks, default=None)

"""How many reports a source may send: so many a second, and so many at once after a pause."""

from __future__ import annotations

from collections.abc import Collection


class Rates:
    """What each source has left. Bounded by the sources that have a token.

    A request that begins while anything is left is served whole and may leave a debt: what is larger than the burst
    would else never pass. The mean rate holds all the same.

    >>> rates = Rates(per_second=10.0, burst=100)
    >>> rates.take("calls", 120, now=0.0)
    >>> rates.wait_seconds("calls", now=1.0)
    1.1
    >>> rates.wait_seconds("calls", now=3.0)
    0.0
    """

    def __init__(self, *, per_second: float, burst: float) -> None:
        """per_second: > 0. burst: reports at once after a pause, >= 1."""
        self._per_second = per_second
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}

    def wait_seconds(self, source: str, *, now: float) -> float:
        """How long `source` has to wait until it may send again; 0.0 if not at all."""
        return max(0.0, round((1.0 - self._now_left(source, now)) / self._per_second, 9))

    def take(self, source: str, reports: int, *, now: float) -> None:
        """Note that `source` sends so many reports. now: seconds of a clock that never goes back."""
        self._left[source] = (self._now_left(source, now) - reports, now)

    def keep(self, sources: Collection[str]) -> None:
        """Forget the others."""
        self._left = {source: left for source, left in self._left.items() if source in sources}

    def _now_left(self, source: str, now: float) -> float:
        left, then = self._left.get(source, (self._burst, now))
        return min(self._burst, left + (now - then) * self._per_second)

"""Drawings of a backtest as inline SVG: the lanes of a picture, heat maps, bars. Classes alone, no colours, no text.

Each is stretched to the space that there is: text would be, too, so it stands beside in HTML, at a share of the width
or height (0 to 100) that the same scales give.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from detectors.local_time import DAY_MS, HOUR_MS

#: Of a drawing's own units.
WIDTH = 1000
HEIGHT = 100
# Beyond it coordinates would be such that no browser draws them.
_LARGEST = 1e12
_MINUTE_MS = HOUR_MS // 60
_STEPS_MS = (
    *(minutes * _MINUTE_MS for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR_MS for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_MS for days in (1, 2, 7, 14, 28, 91, 182, 364, 3640)),
)

Floats = NDArray[np.floating[Any]]


class Scale:
    """From times (ms) to the width of a drawing."""

    def __init__(self, begin: int, end: int) -> None:
        self.begin = begin
        self.end = max(end, begin + 1)

    def x(self, ms: float) -> float:
        """In the drawing's own units."""
        return WIDTH * (ms - self.begin) / (self.end - self.begin)

    def share(self, ms: float) -> float:
        """In parts of a hundred, cut at the edges."""
        return round(min(max(100 * (ms - self.begin) / (self.end - self.begin), 0.0), 100.0), 2)

    def holds(self, ms: float) -> bool:
        return self.begin <= ms <= self.end

    def ticks(self, most: int) -> list[int]:
        """Round times within, ms, no more than `most`.

        >>> [tick // 60_000 for tick in Scale(50 * 60_000, 200 * 60_000).ticks(6)]
        [60, 90, 120, 150, 180]
        """
        step = next((step for step in _STEPS_MS if (self.end - self.begin) / step <= most), _STEPS_MS[-1])
        # Weeks begin on Mondays; 1 January 1970 was a Thursday.
        origin = 4 * DAY_MS if step >= 7 * DAY_MS else 0
        first = -((origin - self.begin) // step) * step + origin
        return list(range(first, self.end + 1, step))[:most]


class Axis:
    """From counts to the height of a drawing: 0 at its foot, `top` at its upper edge."""

    def __init__(self, largest: float) -> None:
        largest = min(max(largest, 1.0), _LARGEST) if not math.isnan(largest) else 1.0
        self.top = largest * 1.08
        self.ticks = _round_values(self.top)

    def y(self, value: float) -> float:
        return HEIGHT * (1 - min(max(value, 0.0), self.top) / self.top)

    def share(self, value: float) -> float:
        """From the upper edge, in parts of a hundred."""
        return round(self.y(value), 2)


class EvidenceAxis:
    """From evidence to height: log(1 + e). What opens an incident shows, and so does what is far beyond it."""

    def __init__(self, peak: float, opens: float) -> None:
        self.top = math.log1p(max(peak, 1.5 * opens, 1.0)) * 1.1

    def y(self, value: float) -> float:
        return HEIGHT * (1 - min(math.log1p(max(value, 0.0)), self.top) / self.top)

    def share(self, value: float) -> float:
        """From the upper edge, in parts of a hundred."""
        return round(self.y(value), 2)


def _round_values(top: float) -> list[float]:
    """0 and two to four round values below `top`.

    >>> _round_values(10.8), _round_values(1300)
    ([0.0, 5.0, 10.0], [0.0, 500.0, 1000.0])
    """
    size = 10 ** math.floor(math.log10(top))
    step = next(part * size for part in (0.1, 0.2, 0.5, 1, 2, 5) if top / (part * size) < 4)
    step = max(step, 1.0)
    return [step * i for i in range(int(top / step) + 1)]


def svg(cls: str, parts: Iterable[Markup], *, label: str = "", height: int = HEIGHT, width: int = WIDTH) -> Markup:
    """A drawing. label: what it shows, in words, escaped here; without one, those who hear the page miss nothing."""
    head = Markup('<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" ').format(cls, width, height)
    said = Markup('role="img" aria-label="{}">').format(label) if label else Markup('aria-hidden="true">')
    return head + said + Markup("").join(parts) + Markup("</svg>")


def line(cls: str, x: float) -> Markup:
    """A mark from top to foot."""
    return Markup('<line class="{}" x1="{x}" x2="{x}" y1="0" y2="{h}"/>').format(cls, x=_short(x), h=HEIGHT)


def level(cls: str, y: float) -> Markup:
    """A line from side to side."""
    return Markup('<line class="{}" x1="0" x2="{w}" y1="{y}" y2="{y}"/>').format(cls, w=WIDTH, y=_short(y))


def span(cls: str, x1: float, x2: float) -> Markup:
    """A stretch of time, shaded."""
    x1, x2 = max(min(x1, x2), 0.0), min(max(x1, x2), float(WIDTH))
    return Markup('<rect class="{}" x="{}" y="0" width="{}" height="{}"/>').format(
        cls, _short(x1), _short(max(x2 - x1, 0.0)), HEIGHT
    )


def rect(cls: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        cls, *map(_short, (x, y, width, height))
    )


def steps(cls: str, xs: Floats, ys: Floats) -> Markup:
    """A line that is level through each bucket. xs: the buckets' edges, one more than `ys`; NaN in ys: a gap."""
    return _path(cls, [_stepped("M", xs, ys, run) for run in _runs(ys)])


def band(cls: str, xs: Floats, lower: Floats, upper: Floats) -> Markup:
    """The area between two such lines; where either is NaN there is none."""
    pieces = []
    for first, end in _runs(lower + upper):
        back = [f"H{_short(xs[i + 1])}V{_short(lower[i])}" for i in range(end - 1, first - 1, -1)]
        pieces.append(f"{_stepped('M', xs, upper, (first, end))}{''.join(back)}H{_short(xs[first])}Z")
    return _path(cls, pieces)


def cells(cls: str, places: Iterable[tuple[int, int]]) -> Markup:
    """Cells of a heat map of one shade, each a unit square: (column, row)."""
    return _path(cls, [f"M{column} {row}h1v1h-1z" for column, row in places])


def _path(cls: str, pieces: Sequence[str]) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(cls, "".join(pieces)) if pieces else Markup("")


def _stepped(begin: str, xs: Floats, ys: Floats, run: tuple[int, int]) -> str:
    """Of buckets first to end, exclusive; equal neighbours are one line."""
    first, end = run
    parts = [f"{begin}{_short(xs[first])} {_short(ys[first])}"]
    for i in range(first + 1, end):
        if ys[i] != ys[i - 1]:
            parts.append(f"H{_short(xs[i])}V{_short(ys[i])}")
    parts.append(f"H{_short(xs[end])}")
    return "".join(parts)


def _runs(values: Floats) -> list[tuple[int, int]]:
    """Stretches without NaN: first, end."""
    known = np.concatenate(([False], ~np.isnan(values), [False]))
    edges = np.flatnonzero(known[1:] != known[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _short(value: float) -> str:
    """One digit after the point at most.

    >>> _short(12.0), _short(3.14159)
    ('12', '3.1')
    """
    return f"{value:.1f}".removesuffix(".0")

"""Charts as inline SVG, coloured by the style sheet alone: the page's policy allows no style attribute."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from detectors.alert import Course

# Of the drawing's own units; the picture is stretched to the width that there is.
_WIDTH = 600.0
_HEIGHT = 120.0
_MARGIN = 4.0
# More buckets than this are narrower than a pixel on a phone.
_MAX_BUCKETS = 480
# A bank of NaN, an infinity or a number beyond this would make coordinates that no browser draws.
_LARGEST = 1e12


class _Scale(NamedTuple):
    """From buckets and counts to coordinates."""

    buckets: int
    top: float

    def x(self, bucket: float) -> float:
        return _WIDTH * bucket / max(self.buckets - 1, 1)

    def y(self, count: float) -> float:
        return _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * min(max(count, 0.0), self.top) / self.top

    def point(self, bucket: int, count: float) -> str:
        return f"{self.x(bucket):.1f},{self.y(count):.1f}"


def top(course: Course) -> int:
    """The largest count that the chart of `course` shows, >= 1: the label of its upper edge."""
    values = [*_tail(course.observed), *_tail(course.high), *_tail(course.expected)]
    return max(1, math.ceil(max(values, default=0.0)))


def drawing(course: Course, *, label: str, marks: Mapping[str, float] = {}, grid: int = 0) -> Markup:
    """The counts of `course` as a line over its expected band.

    label: what the picture shows, in words, for those who do not see it; escaped here.
    marks: what happened when, by the class of its line: in buckets from the first one shown, those outside left out.
    grid: into so many equal parts lines divide the width.
    """
    observed, expected, low, high = (_tail(v) for v in (course.observed, course.expected, course.low, course.high))
    buckets = shown_buckets(course)
    observed, expected, low, high = (v[len(v) - buckets :] for v in (observed, expected, low, high))
    scale = _Scale(buckets, top(course))
    band = [scale.point(i, v) for i, v in enumerate(high)]
    band += [scale.point(i, v) for i, v in reversed(list(enumerate(low)))]
    parts = [
        Markup('<svg class="spark" viewBox="0 0 {:.0f} {:.0f}" preserveAspectRatio="none" role="img">').format(
            _WIDTH, _HEIGHT
        ),
        Markup("<title>{}</title>").format(label),
        *(_upright("grid", _WIDTH * line / grid) for line in range(1, grid)),
        Markup('<polygon class="band" points="{}"/>').format(" ".join(band)),
        Markup('<polyline class="expected" points="{}"/>').format(_points(scale, expected)),
        *(_upright(cls, scale.x(bucket)) for cls, bucket in marks.items() if 0 <= bucket <= buckets - 1),
    ]
    for first, run in _runs(observed):
        line = " ".join(scale.point(first + i, v) for i, v in enumerate(run))
        parts.append(Markup('<polygon class="excess" points="{}"/>').format(_excess(scale, first, run, high)))
        if len(run) == 1:  # a lone bucket between missing ones: a short dash, else it would not be seen
            x, y = scale.x(first), scale.y(run[0])
            line = f"{max(x - 2, 0):.1f},{y:.1f} {min(x + 2, _WIDTH):.1f},{y:.1f}"
        parts.append(Markup('<polyline class="observed" points="{}"/>').format(line))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def shown_buckets(course: Course) -> int:
    """How many buckets, from the last one back, a chart of `course` shows."""
    return min(_MAX_BUCKETS, len(course.observed), len(course.expected), len(course.low), len(course.high))


def bar(share: float) -> Markup:
    """A bar filled to `share`, 0 to 1."""
    width = 100 * min(max(share, 0.02), 1.0)
    return Markup(
        '<svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" width="100" height="6"/><rect class="fill" width="{:.1f}" height="6"/></svg>'
    ).format(width)


def _upright(cls: str, x: float) -> Markup:
    return Markup('<line class="{0}" x1="{1:.1f}" x2="{1:.1f}" y1="0" y2="{2:.0f}"/>').format(cls, x, _HEIGHT)


def _tail(values: Sequence[float]) -> list[float]:
    return [float(v) if abs(v) < _LARGEST else math.copysign(_LARGEST, v) for v in values[-_MAX_BUCKETS:]]


def _points(scale: _Scale, values: Sequence[float]) -> str:
    return " ".join(scale.point(i, v) for i, v in enumerate(values))


def _excess(scale: _Scale, first: int, run: Sequence[float], high: Sequence[float]) -> str:
    """The area between the upper end of the band and what lies above it."""
    upper = [scale.point(first + i, max(count, high[first + i])) for i, count in enumerate(run)]
    lower = [scale.point(first + i, high[first + i]) for i in reversed(range(len(run)))]
    return " ".join(upper + lower)


def _runs(observed: Sequence[float]) -> list[tuple[int, list[float]]]:
    """Stretches of buckets that are not missing (-1), each with the place of its first."""
    runs: list[tuple[int, list[float]]] = []
    for place, count in enumerate(observed):
        if count < 0:
            continue
        if runs and runs[-1][0] + len(runs[-1][1]) == place:
            runs[-1][1].append(count)
        else:
            runs.append((place, [count]))
    return runs

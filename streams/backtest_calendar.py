"""When the alerts of a backtest came: how many a week, and on which days and hours for which place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from markupsafe import Markup

from detectors.alert import Severity, title, words
from detectors.episodes import Episode, Place
from detectors.local_time import DAY_MS, HOUR_MS
from detectors.verification import Label
from streams import svg
from streams.backtest_pictures import Tick
from streams.backtest_result import Run, number, span, weeks
from streams.console import shortened

#: Places with a calendar of their own, the busiest; in a run of a week or less a place takes a line alone.
MAPS = 12
LINES = 40
#: Columns of a calendar: a year of days.
COLUMNS = 370
#: Bars side by side.
BARS = 120
NAME_SHOWN = 80

_WEEK_MS = 7 * DAY_MS
#: 1 January 1970 was a Thursday: Monday is three days before.
_MONDAY_MS = -3 * DAY_MS
#: Up to so long a run is drawn hour by hour.
_HOURLY_MS = 8 * DAY_MS
#: Minutes in incident from which an hour has the next darker shade.
_SHADES = (0, 15, 45)
#: Hours of one incident or label that are drawn: one that never ends must not take forever.
_MOST_HOURS = 10_000


class BarChart(msgspec.Struct, frozen=True):
    """Incidents a span of time. values: above the bars, empty where they would be too narrow."""

    title: str
    note: str
    drawing: Markup
    values: list[Tick]
    times: list[Tick]
    count_ticks: list[Tick]


class Strip(msgspec.Struct, frozen=True):
    """A place in the calendar."""

    service: str
    region: str
    note: str
    drawing: Markup


class Calendar(msgspec.Struct, frozen=True):
    """The busiest places. hours: of the day, beside the drawings; empty where a drawing is one line."""

    note: str
    strips: list[Strip]
    times: list[Tick]
    hours: list[Tick]
    left_out: str
    labelled: bool


def bars(run: Run) -> BarChart | None:
    """Incidents a week by severity, from Monday on; a day where the run is short. None where there is none."""
    if run.seen is None or not run.episodes:
        return None
    begin, end = _range(run)
    if end - begin <= 2 * _WEEK_MS:
        unit, step, origin = "day", DAY_MS, 0
    else:
        several = max(1, -(-(end - begin) // (BARS * _WEEK_MS)))
        unit, step, origin = ("week" if several == 1 else f"{several} weeks"), several * _WEEK_MS, _MONDAY_MS
    first = (begin - origin) // step
    columns = (end - 1 - origin) // step - first + 1
    counts = {severity: [0] * columns for severity in Severity}
    for each in run.episodes:
        column = (each.detected - origin) // step - first
        counts[each.severity][min(max(column, 0), columns - 1)] += 1
    totals = [sum(counts[severity][column] for severity in Severity) for column in range(columns)]
    axis = svg.Axis(max(totals))
    width = svg.WIDTH / columns
    gap = min(width * 0.18, 8.0)
    parts = [svg.level("grid", axis.y(tick)) for tick in axis.ticks[1:]]
    for column in range(columns):
        foot = 0
        for severity in reversed(Severity):
            count = counts[severity][column]
            if count:
                top = axis.y(foot + count)
                parts.append(svg.rect(severity.value, column * width + gap / 2, top, width - gap, axis.y(foot) - top))
                foot += count
    every = -(-columns // 8)
    rate = len(run.episodes) / weeks(run)
    return BarChart(
        title=f"Incidents a {unit}",
        note=f"{number(len(run.episodes), 'incident')} in {span(end - begin)}, {rate:.1f} a week. "
        "One that came back counts again.",
        drawing=svg.svg("bars", parts, label=f"incidents a {unit}: {max(totals):,} at most"),
        values=[
            Tick(round(100 * (column + 0.5) / columns, 2), f"{total:,}") if total else Tick(-1, "")
            for column, total in enumerate(totals)
        ]
        if columns <= 16
        else [],
        times=[
            Tick(round(100 * (column + 0.5) / columns, 2), _date((first + column) * step + origin))
            for column in range(0, columns, every)
        ],
        count_ticks=[Tick(axis.share(tick), f"{tick:,.0f}") for tick in axis.ticks],
    )


def calendar(run: Run, labels: Sequence[Label]) -> Calendar | None:
    """When each of the busiest places was in incident. None where none was."""
    if run.seen is None or not run.episodes:
        return None
    by_place: dict[Place, list[Episode]] = {}
    for each in run.episodes:
        by_place.setdefault(each.place, []).append(each)
    busiest = sorted(by_place, key=lambda place: (-len(by_place[place]), -_open(by_place[place]), place))
    begin, end = _range(run)
    if end - begin <= _HOURLY_MS:
        most, width, rows = LINES, 1, 1
        first, columns = begin // HOUR_MS, -(-end // HOUR_MS) - begin // HOUR_MS
    else:
        days = -(-end // DAY_MS) - begin // DAY_MS
        most, width, rows = MAPS, -(-days // COLUMNS), 24
        first, columns = begin // DAY_MS, -(-days // width)
    grid = _Grid(first, columns, width, rows)
    shown = busiest[:most]
    strips = []
    for place in shown:
        mine = by_place[place]
        service, region = words(mine[0])
        # What lies outside of the run is not drawn, however long it is.
        known = [(max(label.start, begin), min(label.end, end)) for label in labels if label.concerns(place)]
        strips.append(
            Strip(
                service=shortened(service, NAME_SHOWN),
                region=shortened(region, NAME_SHOWN),
                note=f"{number(len(mine), 'incident')}, {span(_open(mine))} in all",
                drawing=_map(grid, mine, known),
            )
        )
    left = len(busiest) - len(shown)
    incidents_left = sum(len(by_place[place]) for place in busiest[most:])
    return Calendar(
        note="The busiest first. "
        + ("A column is an hour" if rows == 1 else f"A column is {_days(width)}, a row an hour of the day")
        + "; the darker, the longer in incident.",
        strips=strips,
        times=grid.times(),
        hours=[] if rows == 1 else [Tick(round(100 * hour / 24, 2), f"{hour:02}") for hour in (0, 6, 12, 18)],
        left_out=f"{number(left, 'more place')} with {number(incidents_left, 'incident')} left out." if left else "",
        labelled=bool(labels),
    )


class _Grid:
    """The cells of a calendar. rows: 1, and a column is an hour, or 24, and a column is `width` days.

    first: hour or day of the first column, since 1970.
    """

    def __init__(self, first: int, columns: int, width: int, rows: int) -> None:
        self.first = first
        self.columns = columns
        self.width = width
        self.rows = rows

    def cell(self, hour: int) -> tuple[int, int] | None:
        """Column and row of an hour since 1970; None outside."""
        if self.rows == 1:
            column, row = hour - self.first, 0
        else:
            day, row = divmod(hour, 24)
            column = (day - self.first) // self.width
        return (column, row) if 0 <= column < self.columns else None

    def times(self) -> list[Tick]:
        unit = HOUR_MS if self.rows == 1 else DAY_MS * self.width
        begin = self.first * (HOUR_MS if self.rows == 1 else DAY_MS)
        scale = svg.Scale(begin, begin + self.columns * unit)
        return [
            Tick(
                scale.share(ms),
                _date(ms) if ms % DAY_MS == 0 else datetime.fromtimestamp(ms // 1000, UTC).strftime("%H:%M"),
            )
            for ms in scale.ticks(9)
            if ms < scale.end
        ]


def _map(grid: _Grid, episodes: Sequence[Episode], labels: Sequence[tuple[int, int]]) -> Markup:
    minutes: dict[tuple[int, int], float] = {}
    for each in episodes:
        for hour, part in _hours(each.detected, each.until):
            cell = grid.cell(hour)
            if cell is not None:
                minutes[cell] = minutes.get(cell, 0.0) + part / 60_000
    shades: list[list[tuple[int, int]]] = [[] for _ in _SHADES]
    for cell in sorted(minutes):
        # A cell of several days is as dark as their mean.
        mean = minutes[cell] / grid.width
        shades[max(i for i, least in enumerate(_SHADES) if mean >= least)].append(cell)
    known = sorted(
        {cell for start, end in labels for hour, _ in _hours(start, end) if (cell := grid.cell(hour)) is not None}
    )
    parts = [svg.cells(f"shade{i + 1}", cells) for i, cells in enumerate(shades)]
    parts.append(svg.cells("labelled", known))
    said = f"calendar of {title(episodes[0])}: {number(len(episodes), 'incident')}"
    cls = "map" if grid.rows > 1 else "map line"
    return svg.svg(cls, parts, label=shortened(said, NAME_SHOWN), width=grid.columns, height=grid.rows)


def _hours(begin: int, end: int) -> list[tuple[int, int]]:
    """The hours since 1970 that [begin, end) ms touches, and how much of each, ms."""
    first, last = begin // HOUR_MS, min((end - 1) // HOUR_MS, begin // HOUR_MS + _MOST_HOURS)
    return [(hour, min(end, (hour + 1) * HOUR_MS) - max(begin, hour * HOUR_MS)) for hour in range(first, last + 1)]


def _range(run: Run) -> tuple[int, int]:
    """What the run saw, and the alerts, which come the lateness later."""
    assert run.seen is not None
    return run.seen[0], max(run.seen[1], max((each.detected for each in run.episodes), default=0)) + 1


def _open(episodes: Sequence[Episode]) -> int:
    return sum(each.until - each.detected for each in episodes)


def _days(width: int) -> str:
    return "a day" if width == 1 else f"{width} days"


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%d %b").lstrip("0")

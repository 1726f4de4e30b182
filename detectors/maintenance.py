"""Maintenance: windows in which outages are planned, from iCalendar texts (RFC 5545).

What an event means here: CATEGORIES are the services (names, or patterns such as `whats*`), none for all of them;
LOCATION is a region with all within it, none for everywhere; SUMMARY is the title. A cancelled event is none. Whole
days and times without a zone are those of the region's time zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np

from detectors.arrays import Flags
from detectors.local_time import DAY_MS, UTC_NAME, zone, zone_of
from detectors.report import clean, fold
from detectors.rollup import ALL, holds, is_rollup
from detectors.series import Series

if TYPE_CHECKING:
    from icalendar.cal import Component

#: Events of one text at most, and its length, bytes: it is parsed in each process.
MAX_EVENTS: Final = 5_000
MAX_BYTES: Final = 4_000_000
MAX_TITLE: Final = 200
#: What an event without a SUMMARY is called.
UNTITLED: Final = "maintenance"
#: Recurring events are expanded for so many days at once, and so many days are kept.
_DAYS_AT_ONCE: Final = 28
_DAYS_KEPT: Final = 64
#: Events are asked for so far around these days: those that float are hours off until their zone is known.
_AROUND: Final = timedelta(days=2)
#: Rules that recur more often are no plan, and would take ages to expand.
_TOO_OFTEN: Final = frozenset({"SECONDLY", "MINUTELY"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CalendarText(msgspec.Struct, frozen=True):
    """An iCalendar file as it was read. name: where from, for people."""

    name: str
    text: str


class Window(msgspec.Struct, frozen=True, order=True):
    """When and where an outage is planned. begin, end: ms since 1970, end excluded.

    services: folded names or patterns, sorted; none for all. region: folded; '' for everywhere.
    """

    begin: int
    end: int
    title: str
    services: tuple[str, ...] = ()
    region: str = ""

    def covers(self, service: str, region: str) -> bool:
        """Whether all of a series or roll-up lies within it, as far as the place goes.

        >>> lazio = Window(0, 1, "works", (), "it/lazio")
        >>> [lazio.covers("whatsapp", region) for region in ("it/lazio", "it/lazio/roma", "it/lazio/*", "it/*", "*")]
        [True, True, True, False, False]
        >>> [Window(0, 1, "works", ("whats*",)).covers(service, "it") for service in ("whatsapp", "*")]
        [True, False]
        """
        if self.region and region != self.region and not region.startswith(self.region + "/"):
            return False
        if not self.services or ALL in self.services:
            return True
        return not service.startswith(ALL) and any(fnmatchcase(service, each) for each in self.services)


class Maintenance:
    """The windows of calendars. Without calendars it is false: nothing is planned, and nothing has to be asked."""

    def __init__(self, calendars: Sequence[CalendarText] = (), zones: Mapping[str, str] = {}) -> None:
        """zones: by region, as `local_time.by_region` has them. ValueError where a text is no calendar: see `check`."""
        self._zones = zones
        self._queries = [query for calendar in calendars for query in _queries(calendar.text)]
        # Of days since 1970: what overlaps them.
        self._days: dict[int, tuple[Window, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._queries)

    def during(self, begin: int, end: int) -> list[Window]:
        """The windows that overlap the time from `begin` to `end` (ms), end excluded, sorted."""
        found = {
            window
            for day in range(begin // DAY_MS, (max(end, begin + 1) - 1) // DAY_MS + 1)
            for window in self._on(day)
            if window.begin < end and begin < window.end
        }
        return sorted(found)

    def title(
        self, service: str, region: str, begin: int, end: int, parts: Iterable[tuple[str, str]] = ()
    ) -> str | None:
        """The title of the first window that covers a series or roll-up in some of that time; None without one.

        parts: services and regions that make up a roll-up, as far as they are known: if windows cover each of them,
        they cover it.
        """
        windows = self.during(begin, end)
        if not windows:
            return None
        whole = next((each.title for each in windows if each.covers(service, region)), None)
        if whole is not None:
            return whole
        covering = [next((each for each in windows if each.covers(*part)), None) for part in parts]
        found = [each for each in covering if each is not None]
        return min(found).title if found and len(found) == len(covering) else None

    def _on(self, day: int) -> tuple[Window, ...]:
        if day not in self._days:
            first = day - day % _DAYS_AT_ONCE
            windows = self._expanded(first, first + _DAYS_AT_ONCE)
            for kept in sorted(self._days)[: max(0, len(self._days) + _DAYS_AT_ONCE - _DAYS_KEPT)]:
                del self._days[kept]
            for each in range(first, first + _DAYS_AT_ONCE):
                begin, end = each * DAY_MS, (each + 1) * DAY_MS
                self._days[each] = tuple(one for one in windows if one.begin < end and begin < one.end)
        return self._days[day]

    def _expanded(self, first: int, last: int) -> list[Window]:
        begin, end = _EPOCH + timedelta(days=first) - _AROUND, _EPOCH + timedelta(days=last) + _AROUND
        events = (event for query in self._queries for event in query.between(begin, end))
        return sorted({window for event in events if (window := self._window(event)) is not None})

    def _window(self, event: Component) -> Window | None:
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            return None
        region = _region(event)
        where = zone_of(region, self._zones)
        begin, end = _ms(event["DTSTART"].dt, where), _ms(event["DTEND"].dt, where)
        return Window(begin, end, _title(event), _services(event), region) if begin < end else None


#: Nothing is planned.
NOTHING: Final = Maintenance()


@lru_cache(maxsize=8)
def maintenance(calendars: tuple[CalendarText, ...], zones: tuple[tuple[str, str], ...]) -> Maintenance:
    """As the class; whoever asks for the same shares what was expanded. zones: pairs, sorted."""
    return Maintenance(calendars, dict(zones))


class PlannedRows:
    """Which rows of a bank lie within windows.

    A roll-up of a service does where all its series do. One over all services has parts in other banks: it takes a
    window for all services.
    """

    def __init__(self, planned: Maintenance) -> None:
        self._planned = planned
        self._series: list[Series] = []
        self._known: tuple[list[Window], int, Flags] = ([], 0, np.zeros(0, np.bool_))

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows."""
        self._series.extend(series)

    def during(self, begin: int, end: int) -> Flags | None:
        """The rows that a window covers in some of the time from `begin` to `end` (ms); None without any."""
        windows = self._planned.during(begin, end)
        if not windows:
            return None
        if self._known[:2] != (windows, len(self._series)):
            self._known = windows, len(self._series), self._covered(windows)
        rows = self._known[2]
        return rows if rows.any() else None

    def _covered(self, windows: Sequence[Window]) -> Flags:
        rows = [any(window.covers(one.service, one.region) for window in windows) for one in self._series]
        parts: dict[tuple[str, str], list[tuple[str, bool]]] = {}
        for one, covered in zip(self._series, rows, strict=True):
            if not is_rollup(one.service, one.region):
                parts.setdefault((one.source, one.service), []).append((one.region, covered))
        for row, one in enumerate(self._series):
            if not rows[row] and is_rollup(one.service, one.region):
                mine = [
                    covered for region, covered in parts.get((one.source, one.service), ()) if holds(one.region, region)
                ]
                rows[row] = bool(mine) and all(mine)
        return np.array(rows, np.bool_)


# ---- reading


def check(text: str) -> None:
    """ValueError that says what is wrong, and in which event, where a text is no calendar that can be used."""
    for _ in _queries(text):
        pass


def _queries(text: str) -> Iterator[Any]:
    """The calendars of a text, to be asked for what happens in a time."""
    import icalendar  # a tenth of a second, for those who plan
    import recurring_ical_events

    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text):,} characters, at most {MAX_BYTES:,} are read; drop what is over")
    try:
        calendars = icalendar.Calendar.from_ical(text, multiple=True)
    except ValueError as error:
        raise ValueError(f"it is no iCalendar: {_one_line(str(error))}") from None
    if not calendars or any(calendar.name != "VCALENDAR" for calendar in calendars):
        raise ValueError("it is no iCalendar: it does not begin with BEGIN:VCALENDAR and end with END:VCALENDAR")
    number = 0
    for calendar in calendars:
        for event in calendar.walk("VEVENT"):
            number += 1
            if number > MAX_EVENTS:
                raise ValueError(f"more than {MAX_EVENTS:,} events; drop those that are over")
            try:
                _check_event(event)
            except Exception as error:  # what the libraries raise for bad text is theirs to know
                told = _one_line(str(error)) or type(error).__name__
                raise ValueError(f"event {number} ({_name(event)}): {told}") from None
        yield recurring_ical_events.of(calendar)


def _check_event(event: Component) -> None:
    import icalendar
    import recurring_ical_events

    for name, value in event.property_items(recursive=False):
        if isinstance(value, icalendar.vBroken):
            raise ValueError(f"{name}:{_one_line(str(value))} cannot be read")
    if event.errors:
        raise ValueError(": ".join(map(str, event.errors[0])))
    if "DTSTART" not in event:
        raise ValueError("it has no DTSTART")
    for name in ("DTSTART", "DTEND", "RECURRENCE-ID"):
        given = event.get(name)
        unknown = given.params.get("TZID") if given is not None else None
        if unknown is not None and isinstance(given.dt, datetime) and given.dt.tzinfo is None:
            raise ValueError(f"{name} has the time zone {unknown}, which is neither known nor in the file")
    rules = event.get("RRULE", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        often = _TOO_OFTEN.intersection(str(each).upper() for each in rule.get("FREQ", []))
        if often:
            raise ValueError(f"it recurs {min(often)}; HOURLY is the most that is planned")
        if any(each < 1 for each in rule.get("INTERVAL", [])):
            raise ValueError("INTERVAL is less than 1")
    _region(event), _services(event)
    alone = icalendar.Calendar()
    alone.add_component(event)
    begin = event["DTSTART"].dt
    if "DTEND" in event and _ms(event["DTEND"].dt, UTC_NAME) < _ms(begin, UTC_NAME):
        raise ValueError("DTEND lies before DTSTART")
    if "DURATION" in event and event["DURATION"].dt <= timedelta():
        raise ValueError("DURATION is not more than nothing")
    for each in recurring_ical_events.of(alone).between(begin, begin + timedelta(days=1)):
        if _ms(each["DTEND"].dt, UTC_NAME) <= _ms(each["DTSTART"].dt, UTC_NAME):
            raise ValueError("it ends when it begins; give a later DTEND, or a DURATION")


def _ms(at: date, where: str) -> int:
    """An event's time in ms since 1970. where: time zone of what has none."""
    if not isinstance(at, datetime):
        at = datetime.combine(at, time())
    if at.tzinfo is None:
        at = at.replace(tzinfo=zone(where))
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _title(event: Component) -> str:
    return _one_line(str(event.get("SUMMARY", "")))[:MAX_TITLE] or UNTITLED


def _name(event: Component) -> str:
    return " ".join(filter(None, (_one_line(str(event.get(key, "")))[:80] for key in ("SUMMARY", "UID")))) or "no UID"


def _services(event: Component) -> tuple[str, ...]:
    return tuple(sorted({fold(_cleaned(str(each), "CATEGORIES")) for each in event.categories if str(each).strip()}))


def _region(event: Component) -> str:
    text = _cleaned(str(event.get("LOCATION", "")), "LOCATION")
    parts = [part for part in map(str.strip, text.split("/")) if part]
    # As alerts write it: `it/*` is all within `it`, `*` is everywhere.
    return fold("/".join(parts[:-1] if parts[-1:] == [ALL] else parts))


def _cleaned(text: str, name: str) -> str:
    cleaned = clean(text)
    if cleaned is None:
        raise ValueError(f"{name} {text!r} has characters that no report's name may have")
    return cleaned


def _one_line(text: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())[:300]

"""Local time: which hour and type of day it is where a series' people live."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from detectors.report import fold

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

UTC_NAME = "UTC"


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name such as Europe/Rome. ValueError for others."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        near = get_close_matches(name, available_timezones(), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; names are those of the IANA database, such as Europe/Rome"
        raise ValueError(f"time zone {name!r} is unknown{hint}") from None


def by_region(zones: Mapping[str, str]) -> dict[str, str]:
    """Zones by region, the regions spelled as reports' are once they are read.

    >>> by_region({"IT / Lazio": "Europe/Rome"})
    {'it/lazio': 'Europe/Rome'}
    """
    return {fold("/".join(filter(None, map(str.strip, region.split("/"))))): name for region, name in zones.items()}


def zone_of(region: str, zones: Mapping[str, str]) -> str:
    """The name of a region's time zone: that of the nearest region above it which has one, else UTC.

    >>> zone_of("it/lazio/roma", {"it": "Europe/Rome", "us": "America/New_York"}), zone_of("fr", {"it": "Europe/Rome"})
    ('Europe/Rome', 'UTC')
    """
    while region:
        if region in zones:
            return zones[region]
        region = region.rpartition("/")[0]
    return zones.get("", UTC_NAME)


@lru_cache(maxsize=4096)
def _offset_ms(name: str, hour: int) -> int:
    offset = (_EPOCH + timedelta(hours=hour)).astimezone(zone(name)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds() * 1000)


def local_ms(name: str, at: int) -> int:
    """What the clocks of a time zone show at `at` (ms since 1970), as ms since 1970-01-01 00:00 of that zone.

    Daylight saving changes on whole hours of UTC, but for a handful of places on half ones, which are late by that.

    >>> local_ms("Europe/Rome", 0), local_ms("Europe/Rome", 1_666_681_440_000) - 1_666_681_440_000
    (3600000, 7200000)
    """
    if name == UTC_NAME:
        return at
    # Beyond what the calendar of Python knows nothing changes.
    hour = min(max(at // HOUR_MS, -8_000_000), 60_000_000)
    return at + _offset_ms(name, hour)


def is_weekend(local: int) -> bool:
    """Whether a local time (ms) lies on a Saturday or Sunday.

    >>> is_weekend(0), is_weekend(2 * 86_400_000)  # a Thursday, a Saturday
    (False, True)
    """
    return (local // DAY_MS + 3) % 7 >= 5

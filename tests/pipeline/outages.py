"""A made-up feed of six services in ten regions, two sources, with outages of every kind, as a CSV file.

Twelve hours are history. Then there are outages of a service, of a region, and of single series, some at the same time,
and one source falls silent and then brings what it held back, under the old times.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.pipeline.feeds import DAY

HEADER = b"time,service,region,source,count\n"
MINUTES = 19 * 60
SERVICES = tuple(f"service-{number}" for number in range(6))
REGIONS = ("it/lazio/roma", "it/lazio/latina", *(f"it/region-{number}" for number in range(2, 10)))
#: Only of these services somebody calls.
CALLED = 3


class Outage(msgspec.Struct, frozen=True):
    """From and until which minute what breaks, in reports a minute of each series beyond the usual. None: all."""

    begin: int
    end: int
    service: int | None
    region: int | None
    more: float


#: A series' trouble grows to its service's.
SERVICE_DOWN = Outage(735, 785, 1, None, 6.0)
REGION_DOWN = Outage(850, 895, None, 4, 5.0)
OUTAGES = (
    Outage(727, 782, 1, 0, 8.0),
    SERVICE_DOWN,
    Outage(755, 780, 2, 3, 7.0),
    REGION_DOWN,
    Outage(860, 910, 3, 7, 9.0),
    Outage(970, 995, 5, 2, 6.0),
    Outage(1080, 1110, 0, 1, 12.0),
)
#: When nobody's calls come through. They come in its last minute, late but for its end.
SILENCE = range(985, 1030)


def rows(seed: int) -> list[bytes]:
    """The lines of each minute of the feed; the same for the same seed."""
    chance = np.random.default_rng(seed)
    site = _counts(chance, chance.lognormal(-0.5, 1.5, (len(SERVICES), len(REGIONS))), 1.0)
    calls = _counts(chance, chance.lognormal(-1.5, 1.0, (CALLED, len(REGIONS))), 0.3)
    lines = [b"" for _ in range(MINUTES)]
    for minute in range(MINUTES):
        lines[minute] += _lines(minute, "site", site[minute])
        lines[SILENCE[-1] if minute in SILENCE else minute] += _lines(minute, "calls", calls[minute])
    return lines


def write(path: Path, seed: int) -> None:
    """Write the file."""
    path.write_bytes(HEADER + b"".join(rows(seed)))


def _counts(chance: np.random.Generator, usual: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Reports by minute, service, region. usual: a minute, over the day. share: of an outage that this source sees."""
    curve = 1.0 + 0.6 * np.sin(2.0 * np.pi * (np.arange(MINUTES) / 1440.0 - 0.3))
    rate = usual * curve[:, None, None]
    for one in OUTAGES:
        if one.service is None or one.service < len(usual):
            service, region = (slice(None) if each is None else each for each in (one.service, one.region))
            rate[one.begin : one.end, service, region] += one.more * share
    size = 4.0
    counts: NDArray[np.int64] = chance.negative_binomial(size, size / (size + rate))
    return counts


def _lines(minute: int, source: str, counts: NDArray[np.int64]) -> bytes:
    """What a source counted of each series in a minute, written down at its half."""
    time_seconds = DAY + minute * 60 + 30
    return b"".join(
        f"{time_seconds},{SERVICES[service]},{REGIONS[region]},{source},{counts[service, region]}\n".encode()
        for service, region in np.argwhere(counts).tolist()
    )

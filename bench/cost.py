"""What a large bank costs: time a series and bucket, and memory a series."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.baseline import MINUTE_MS
from detectors.series import Series
from detectors.surge import SurgeBank, SurgeRule

LIMIT_US = 4.0
LIMIT_BYTES = 800.0
SERVICES, REGIONS = 500, 200
WARM_UP = 60
#: Days that services are taken to be known: the day's curve, the weekend and holidays are at work.
KNOWN_MINUTES = 8 * 1440.0
SURGING, MISSING = 0.05, 0.01
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Cost(msgspec.Struct, frozen=True):
    """quiet, surging: microseconds a series and bucket, median; the slowest tenth of buckets takes at least *_p90.

    array_bytes: of all arrays, a series. resident_bytes: growth of the process, a series, names and work space too.
    largest: arrays with the most bytes a series.
    """

    series: int
    quiet: float
    quiet_p90: float
    surging: float
    surging_p90: float
    array_bytes: float
    resident_bytes: float
    largest: dict[str, float]


def arrays_of(root: object) -> dict[str, int]:
    """Bytes of every array that an object holds, or what it holds; shared memory counts once."""
    sizes: dict[str, int] = {}
    seen: set[int] = set()
    todo: list[tuple[str, Any]] = [("", root)]
    while todo:
        path, each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, np.ndarray):
            if isinstance(each.base, np.ndarray):
                todo.append((path, each.base))
            else:
                sizes[path.lstrip(".")] = each.nbytes
        elif isinstance(each, list | tuple):
            # The names of the series are no arrays, and many.
            todo += [(f"{path}.{place}", one) for place, one in enumerate(each) if not isinstance(one, Series | str)]
        elif hasattr(each, "__dict__") and type(each).__module__.startswith("detectors."):
            todo += [(f"{path}.{name}", one) for name, one in vars(each).items()]
    return sizes


def measure(buckets: int, told: Callable[[], None], services: int = SERVICES, regions: int = REGIONS) -> Cost:
    """Over so many one-minute buckets, quiet and surging. told: called once a bucket."""
    chance = np.random.default_rng(1)
    rows = services * regions
    rate = 10 ** (chance.uniform(-1.6, 1.5, services).repeat(regions) + chance.normal(0, 0.45, rows))
    usual = [chance.poisson(rate * chance.gamma(10.0, 0.1, rows)).astype(np.int64) for _ in range(16)]

    before = _resident()
    bank = _bank(services, regions)
    start = 4 * 1440 * MINUTE_MS
    times: dict[str, list[float]] = {"warm-up": [], "quiet": [], "surging": []}
    for number in range(WARM_UP + 2 * buckets):
        counts = usual[number % len(usual)]
        phase = "warm-up" if number < WARM_UP else "quiet" if number < WARM_UP + buckets else "surging"
        if phase == "surging":
            counts = _surging(chance, counts, rate, number - WARM_UP - buckets)
        began = time.process_time()
        bank.close(start, counts)
        times[phase].append((time.process_time() - began) * 1e6 / rows)
        start += MINUTE_MS
        told()
    sizes = arrays_of(bank)
    largest = sorted(sizes, key=lambda name: -sizes[name])[:6]
    return Cost(
        series=rows,
        quiet=float(np.median(times["quiet"])),
        quiet_p90=float(np.quantile(times["quiet"], 0.9)),
        surging=float(np.median(times["surging"])),
        surging_p90=float(np.quantile(times["surging"], 0.9)),
        array_bytes=sum(sizes.values()) / rows,
        resident_bytes=(_resident() - before) / rows,
        largest={name: sizes[name] / rows for name in largest},
    )


def _bank(services: int, regions: int) -> SurgeBank:
    """A bank as it is after a week, but for its levels, which it learns within the warm-up."""
    series = [Series("reports", f"service {a:03}", f"region {b:03}") for a in range(services) for b in range(regions)]
    bank = SurgeBank(SurgeRule(), 60)
    bank.add(series)
    arrays = bank.arrays()
    arrays["learned"][:] = KNOWN_MINUTES
    return SurgeBank.restore(SurgeRule(), 60, series, arrays)


def _surging(
    chance: np.random.Generator, counts: NDArray[np.int64], rate: NDArray[np.float64], number: int
) -> NDArray[np.int64]:
    """Every twentieth series surges, others each half hour; sources of some are silent."""
    counts = counts.copy()
    every = round(1 / SURGING)
    hit = slice(number // 30 % every, None, every)
    counts[hit] += chance.poisson(5.0 * rate[hit] + 3.0)
    counts[chance.random(len(counts)) < MISSING] = -1
    return counts


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE

"""Feeds of reports as they might be, made by chance from a seed: services in regions, minute by minute, with outages.

What is in them, since it decides how many alerts there are: levels from a report an hour to dozens a minute; a curve of
the day that each service has and each region shifts; weekends; rates that wander for hours; counts more scattered than
Poisson's; one person who posts twenty times in a minute; sources that fall silent; outages of a service in one region
or in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.counts import ChunkCounts
from detectors.local_time import HOUR_MS
from detectors.series import Names, Series

DAY = 1440
WEEK = 7 * DAY
MINUTE_MS = 60_000
#: Monday, 3 October 2022, 00:00 UTC.
BEGIN_MS = 1_664_755_200_000
#: Minutes that the rate wanders in one step.
_STEP = 10


class Outage(msgspec.Struct, frozen=True):
    """What broke: a series, by its place; the row of the onset, and the first row after the end."""

    series: int
    start: int
    end: int


class Truth(msgspec.Struct, frozen=True):
    """What a detector is not told.

    rate: expected counts without outages, shape (minutes, series). size: of the negative binomial, a figure a series.
    """

    rate: NDArray[np.float32]
    size: NDArray[np.float64]
    outages: list[Outage]


class Feed(msgspec.Struct, frozen=True):
    """Reports of each minute and series. names: service and region. counts: shape (minutes, series), >= 0.

    truth: of feeds that were made here.
    """

    names: list[tuple[str, str]]
    counts: NDArray[np.int64]
    truth: Truth | None = None

    @property
    def weeks(self) -> float:
        return len(self.counts) / WEEK


def make(
    seed: int,
    *,
    weeks: int,
    services: int = 12,
    regions: int = 4,
    outages: float = 5.0,
    wide_outages: float = 0.5,
    bursts: float = 6.0,
    silences: float = 2.0,
) -> Feed:
    """A feed; the same seed makes the same.

    outages: of a service in one region; wide_outages: of a service in all of them; bursts, silences: of a series; all
    are the mean of a Poisson distribution, a week.
    """
    chance = np.random.default_rng(seed)
    n, minutes = services * regions, weeks * WEEK
    names = [(f"service {a:02}", f"land/region {b:02}") for a in range(services) for b in range(regions)]
    service = np.repeat(np.arange(services), regions)

    rate = _usual(chance, service, minutes)
    mean, usual = rate.mean(axis=0), rate.astype(np.float32)
    broken: list[Outage] = []
    for _ in range(chance.poisson(outages * weeks)):
        broken += _break(chance, rate, mean, np.array([chance.integers(n)]))
    for _ in range(chance.poisson(wide_outages * weeks)):
        broken += _break(chance, rate, mean, np.flatnonzero(service == chance.integers(services)))

    scatter = chance.uniform(3, 40, n)
    counts = np.empty((minutes, n), dtype=np.int64)
    for begin in range(0, minutes, DAY):
        part = rate[begin : begin + DAY]
        counts[begin : begin + DAY] = chance.poisson(part * chance.gamma(scatter, 1 / scatter, part.shape))
    for _ in range(chance.poisson(bursts * weeks)):
        counts[chance.integers(minutes), chance.integers(n)] += chance.integers(4, 40)
    for _ in range(chance.poisson(silences * weeks)):
        begin = chance.integers(minutes)
        counts[begin : begin + chance.integers(10, 180), chance.integers(n)] = 0
    return Feed(names, counts, Truth(usual, scatter, broken))


def _usual(chance: np.random.Generator, service: NDArray[np.int64], minutes: int) -> NDArray[np.float64]:
    """Reports a minute where nothing is broken, shape (minutes, series)."""
    n, services = len(service), int(service.max()) + 1
    level = np.exp(chance.uniform(math.log(0.02), math.log(20.0), services)[service] + chance.normal(0, 0.8, n))
    peak = chance.uniform(10, 20, services)[service] + chance.normal(0, 0.4, n)
    swing = chance.uniform(0.3, 1.3, services)[service]
    weekend = chance.uniform(0.5, 1.3, services)[service]

    minute = np.arange(minutes)
    hour = (minute % DAY) / 60
    log_rate = swing * np.cos(2 * np.pi * (hour[:, None] - peak) / 24) - swing**2 / 4
    log_rate += np.where((minute // DAY % 7 >= 5)[:, None], np.log(weekend), 0.0)

    memory = np.exp(-_STEP / chance.uniform(60, 400, n))
    strength = chance.uniform(0.03, 0.18, n)
    steps = np.empty((minutes // _STEP + 1, n))
    steps[0] = chance.normal(0, strength)
    for step in range(1, len(steps)):
        steps[step] = memory * steps[step - 1] + chance.normal(0, strength * np.sqrt(1 - memory**2))
    place = minute / _STEP
    before = place.astype(np.int64)
    share = (place - before)[:, None]
    log_rate += (1 - share) * steps[before] + share * steps[np.minimum(before + 1, len(steps) - 1)]
    return level * np.exp(log_rate)


def _break(
    chance: np.random.Generator, rate: NDArray[np.float64], mean: NDArray[np.float64], hit: NDArray[np.int64]
) -> list[Outage]:
    """An outage of the series that are hit, of ten minutes to six hours, half to forty times what is usual."""
    length = int(np.exp(chance.uniform(math.log(10), math.log(360))))
    begin = int(chance.integers(len(rate)))
    times = float(np.exp(chance.uniform(math.log(0.5), math.log(40.0))))
    course = np.exp(-3 * np.arange(length) / length) if chance.random() < 0.5 else np.ones(length)
    course = course[: len(rate) - begin]
    for series in hit:
        most = max(1.0, times * chance.lognormal(0, 0.3) * mean[series])
        rate[begin : begin + length, series] += most * course
    return [Outage(int(series), begin, begin + len(course)) for series in hit]


def messages(feed: Feed, *, bucket_minutes: int = 1, source: str = "reports") -> Iterator[ChunkCounts]:
    """The feed as one partition of `report-counts` holds it, a message for each six hours.

    bucket_minutes: minutes that a row of the feed stands for.
    """
    row_ms = bucket_minutes * MINUTE_MS
    rows = 6 * HOUR_MS // row_ms
    series = [Series(source, *each) for each in feed.names]
    names = [Names(*each) for each in feed.names]
    for begin in range(0, len(feed.counts), rows):
        part = feed.counts[begin : begin + rows]
        start, end = BEGIN_MS + begin * row_ms, BEGIN_MS + (begin + len(part)) * row_ms
        minute, column = np.nonzero(part)
        heard = np.unique(minute)
        # A count is whole at the end of its row: within a bucket it would look like a surge of its own.
        ticks = (start + (minute + 1) * row_ms - 1) // (row_ms // 6)
        yield ChunkCounts(
            partition=0,
            partitions=1,
            start=begin,
            upto=begin + len(part),
            watermark=end,
            hours=list(range(start // HOUR_MS, end // HOUR_MS)),
            alive={source: [(start // row_ms + row, start // row_ms * 6 + row * 6 + 5) for row in heard.tolist()]},
            series=series,
            names=names,
            rows=column.tolist(),
            ticks=ticks.tolist(),
            counts=part[minute, column].tolist(),
        )

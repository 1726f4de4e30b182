"""Is evidence what it says? Alarms on feeds in which nothing breaks, for buckets of several lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench import feeds
from bench.judging import EPISODE, episodes
from detectors.series import Series
from detectors.surge import SurgeBank, SurgeRule

BUCKETS = (10, 60, 300, 900, 3600)
EVIDENCE = (-1.0, 0.0, 1.0, 2.0)
WEEKS = 3


class Rates(msgspec.Struct, frozen=True):
    """Episodes a series-week above each of EVIDENCE. lowered: by how much the bank lowered its evidence at the end."""

    bucket_seconds: int
    series_weeks: float
    rates: tuple[float, ...]
    lowered: float


def measure(bucket_seconds: int, seeds: Sequence[int], told: Callable[[int], None]) -> Rates:
    """Of the last of three weeks. told: called with the number of buckets that are done since the last call."""
    rates, lowered, weeks = [], [], 0.0
    for seed in seeds:
        feed = feeds.make(seed, weeks=WEEKS, outages=0, wide_outages=0, bursts=12, silences=0)
        bank = SurgeBank(SurgeRule(), bucket_seconds)
        bank.add([Series("reports", *name) for name in feed.names])
        begin = 2 * feeds.WEEK * 60 // bucket_seconds
        scores = []
        chance = np.random.default_rng(seed)
        for number, counts in enumerate(_buckets(feed.counts, bucket_seconds, chance)):
            evidence = bank.close(feeds.BEGIN_MS + number * bucket_seconds * 1000, counts).evidence
            if number >= begin:
                scores.append(evidence.astype(np.float32))
            told(1)
        judged, gap = np.array(scores), max(1, 60 * EPISODE // bucket_seconds)
        rates.append([episodes(judged > least, gap) / (judged.shape[1] * (WEEKS - 2)) for least in EVIDENCE])
        lowered.append(bank.arrays()["lowered"][0])
        weeks += judged.shape[1]
    return Rates(bucket_seconds, weeks, tuple(np.mean(rates, axis=0).tolist()), float(np.mean(lowered)))


def _buckets(
    minutes: NDArray[np.int64], bucket_seconds: int, chance: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Counts of buckets, put together from those of minutes or, by chance, taken apart."""
    if bucket_seconds >= 60:
        yield from minutes.reshape(-1, bucket_seconds // 60, minutes.shape[1]).sum(axis=1)
        return
    parts = 60 // bucket_seconds
    for counts in minutes:
        yield from chance.multinomial(counts, [1 / parts] * parts).T

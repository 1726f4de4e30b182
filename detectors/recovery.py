"""Recovery: is a surge statistically over? The counts are back in their band, and no longer those of half the surge."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, sqrt
from typing import Final, Protocol

#: How high a surge is, is the mean of so many buckets, of so many at least.
LATELY: Final = 10
LEAST: Final = 3
#: Buckets looked at: the last so many.
SPANS: Final = (4, 6, 8, 11, 15, 20, 30)
#: Nats for "back" against "half of the surge goes on".
ENOUGH: Final = 3.0
#: The counts exceed what is expected by no more standard deviations than this.
BAND: Final = 1.3
#: What is expected is off by so much, beyond what the counts scatter.
OFF: Final = 0.1


class Counted(Protocol):
    """A bucket. observed: -1 where missing. variance: of the count where the expectation is right."""

    @property
    def start(self) -> int: ...
    @property
    def observed(self) -> int: ...
    @property
    def expected(self) -> float: ...
    @property
    def variance(self) -> float: ...


def is_back(buckets: Sequence[Counted], height: float) -> bool:
    """Whether a surge is over by the end of these buckets, oldest first.

    height: reports beyond the expected in a bucket when it was highest, > 0. It is over if the last few buckets speak
    for the expected rate against that and half of the height, by a log-likelihood ratio of two negative binomials, and
    lie within the band of what is expected.
    """
    known = [bucket for bucket in buckets if bucket.observed >= 0]
    for span in SPANS:
        last = known[-span:]
        if len(last) < span:
            return False
        observed = sum(bucket.observed for bucket in last)
        expected = max(sum(bucket.expected for bucket in last), 1e-3)
        beyond = max(sum(bucket.variance for bucket in last) - expected, 0.0) + (OFF * expected) ** 2
        size = expected * expected / beyond
        half = expected + 0.5 * height * span
        goes_on = observed * log(half / expected) - (observed + size) * log((size + half) / (size + expected))
        if goes_on <= -ENOUGH and observed <= expected + BAND * sqrt(expected + beyond):
            return True
    return False


def height(buckets: Sequence[Counted], started: int) -> float:
    """Reports beyond the expected in a bucket, in the mean of the last few since `started` (ms); 0 where unknown."""
    last = [bucket for bucket in buckets[-LATELY:] if bucket.start >= started and bucket.observed >= 0]
    if len(last) < LEAST:
        return 0.0
    return max(0.0, sum(bucket.observed - bucket.expected for bucket in last) / len(last))

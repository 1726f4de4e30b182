"""Sources: the feeds that reports come by, each with its own lateness and bucket."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

#: Bucket lengths that fit the clock: each divides a day, so buckets of one source begin at the same times every day.
BUCKET_SECONDS = (10, 12, 15, 20, 30, 60, 120, 180, 240, 300, 360, 600, 720, 900, 1200, 1800, 3600)


class SourceRule(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """How the reports of a source are put into time. ValueError where the bucket does not fit the clock."""

    bucket_seconds: Annotated[int, Meta(ge=10, le=3600, description="length of a bucket, seconds")] = 60
    lateness_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how far behind its newest report one may come, seconds")
    ] = 3.0
    silent_after: Annotated[
        float,
        Meta(
            ge=3,
            le=1_000_000,
            description="reports expected since the last one that make a source silent, and not calm",
        ),
    ] = 7.0

    def __post_init__(self) -> None:
        if self.bucket_seconds not in BUCKET_SECONDS:
            nearest = min(BUCKET_SECONDS, key=lambda s: abs(s - self.bucket_seconds))
            raise ValueError(f"bucket_seconds={self.bucket_seconds} does not fit the clock; the nearest is {nearest}")

    @property
    def bucket_ms(self) -> int:
        return self.bucket_seconds * 1000

    @property
    def lateness_ms(self) -> int:
        return round(self.lateness_seconds * 1000)

    @property
    def ticks(self) -> int:
        """Ticks in a bucket: surges are looked for at each, six where that gives whole seconds.

        >>> SourceRule(bucket_seconds=60).ticks, SourceRule(bucket_seconds=10).ticks
        (6, 5)
        """
        return next(n for n in (6, 5, 4, 3, 2) if self.bucket_seconds % n == 0)

    @property
    def tick_ms(self) -> int:
        return self.bucket_ms // self.ticks

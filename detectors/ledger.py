"""Ledger: what the feeds counted of each service over all regions, for hours: what `ours.py` puts side by side."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec
import numpy as np

from detectors.arrays import Floats
from detectors.cells import Bucket, closed_buckets
from detectors.rollup import ALL
from detectors.surges import SurgeRow

#: Buckets are kept for so long, ms.
KEPT_MS = 24 * 3_600_000
#: Courses (source, service) at most: the ones that were told of last.
MOST_COURSES = 500

#: Source and service, folded.
Key = tuple[str, str]


class Course(msgspec.Struct, array_like=True):
    """Closed buckets of a source's service by their start (ms), each bucket_ms long."""

    bucket_ms: int
    buckets: dict[int, Bucket]


class Ledger:
    """Courses of services over all regions. Changed in place by the one judge that owns it."""

    def __init__(self, courses: Mapping[Key, Course] | None = None) -> None:
        self.courses: dict[Key, Course] = dict(courses or {})

    def hear(self, row: SurgeRow) -> None:
        """Take in a row of `surges`; of one that is no service over all regions nothing."""
        if row.series.region != ALL or not (told := closed_buckets(row)):
            return
        key = row.series.source, row.series.service
        course = self.courses.pop(key, None)
        if row.recent is not None:
            bucket_ms = row.recent.bucket_seconds * 1000
            if course is None or course.bucket_ms != bucket_ms:
                course = Course(bucket_ms, {})
        if course is None:
            return  # its bucket's length comes with `recent`
        course.buckets.update((bucket.start, bucket) for bucket in told)
        oldest = told[-1].start - KEPT_MS
        if min(course.buckets) < oldest:
            course.buckets = {start: bucket for start, bucket in course.buckets.items() if start >= oldest}
        self.courses[key] = course
        if len(self.courses) > MOST_COURSES:
            del self.courses[next(iter(self.courses))]

    def sources_of(self, service: str, *, without: Collection[str]) -> list[str]:
        """The sources that tell of a service, sorted."""
        return sorted(source for source, name in self.courses if name == service and source not in without)

    def excess(self, key: Key, begin: int, end: int, step_ms: int) -> Floats:
        """Reports beyond the usual in each step from `begin` to `end`, ms; 0 where nothing was told. Shape (steps,)."""
        found = np.zeros((end - begin) // step_ms)
        course = self.courses.get(key)
        if course is not None:
            for start, bucket in sorted(course.buckets.items()):
                step = (start - begin) // step_ms
                if 0 <= step < len(found) and bucket.observed >= 0:
                    found[step] += bucket.observed - bucket.expected
        return found

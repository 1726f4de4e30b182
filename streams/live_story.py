"""`groundswell feed`: the story's reports as if they came now, to look at, and to pipe into `send` and `seed`."""

from __future__ import annotations

import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

from streams import story
from streams.story import Batch

HOUR = timedelta(hours=1)


def run(*, outage_after_seconds: float, since: int | None, past_seconds: float | None) -> int:
    """Print the reports that come from now on, one a line, each at its time; without end.

    outage_after_seconds: so long from now the outage begins. since: begin with the reports of that time, ms.
    past_seconds: print the reports of the time that is just over instead, without an outage; returns 0.
    """
    now = _now()
    if past_seconds is None:
        begin = now if since is None else since
        batches = hours(begin, outage=_moment(now) + timedelta(seconds=outage_after_seconds))
        runs = due(batches, begin, now=_now, sleep=time.sleep)
    else:
        runs = past(now - round(past_seconds * 1000), now)
    for values in runs:
        sys.stdout.buffer.write(b"".join(value + b"\n" for value in values))
        sys.stdout.buffer.flush()
    return 0


def hours(since: int, *, outage: datetime) -> Iterator[Batch]:
    """The story hour by hour from that of `since` on, ms; without end.

    It knows the hours of the day and the days of the week, so that it goes on where the past left off.
    """
    first = _hour(since)
    for number in count():
        yield from story.reports(first + number * HOUR, first + (number + 1) * HOUR, outage=outage)


def past(since: int, until: int) -> Iterator[list[bytes]]:
    """The ordinary life of a time, ms, its end left out."""
    for batch in story.reports(_hour(since), _hour(until) + HOUR, outage=_moment(until) + HOUR):
        values = batch.values[bisect_left(batch.times, since) : bisect_left(batch.times, until)]
        if values:
            yield values


def due(
    batches: Iterable[Batch], since: int, *, now: Callable[[], int], sleep: Callable[[float], None]
) -> Iterator[list[bytes]]:
    """The reports from `since` on, ms, in runs: what is due together comes together.

    now: the clock, ms. sleep: waits so many seconds for the next report.
    """
    for batch in batches:
        begin = bisect_left(batch.times, since)
        while begin < len(batch.times):
            end = bisect_right(batch.times, now(), begin)
            if end > begin:
                yield batch.values[begin:end]
                begin = end
            else:
                # Never 0: a clock that is behind by less than a millisecond would be asked over and over.
                sleep(max(0.001, (batch.times[begin] - now()) / 1000))


def _hour(ms: int) -> datetime:
    return _moment(ms).replace(minute=0, second=0, microsecond=0)


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _now() -> int:
    return time.time_ns() // 1_000_000

"""Backoff: how long to wait after a failure, and when to call it an outage."""

from __future__ import annotations

import msgspec

#: Whoever says "not before" is heeded up to this, seconds: a day's ban is not obeyed by somebody who has to page.
MOST_ASKED_SECONDS = 3600.0
#: Doubling further says nothing, and would overflow.
_MOST_DOUBLINGS = 30


class Backoff(msgspec.Struct, frozen=True):
    """Failures since the last success."""

    failures: int = 0


def wait_seconds(
    backoff: Backoff, *, first_seconds: float, most_seconds: float, luck: float, asked_seconds: float | None = None
) -> float:
    """How long to wait after the last of `backoff.failures` failures (>= 1): it doubles each time, less up to a half.

    luck: 0 <= luck < 1, drawn anew each time, so that many clients do not come back at once. asked_seconds: as the
    other side asks for (Retry-After); no less than that.
    Source: Brooker 2015, Exponential Backoff And Jitter ("equal jitter").

    >>> [wait_seconds(Backoff(n), first_seconds=1, most_seconds=60, luck=0) for n in (1, 2, 3, 10)]
    [1.0, 2.0, 4.0, 60.0]
    >>> wait_seconds(Backoff(1), first_seconds=1, most_seconds=60, luck=0.5, asked_seconds=30.0)
    30.0
    """
    doubled = first_seconds * 2.0 ** min(backoff.failures - 1, _MOST_DOUBLINGS)
    own = min(most_seconds, doubled) * (1 - luck / 2)
    return max(own, min(asked_seconds or 0.0, MOST_ASKED_SECONDS))

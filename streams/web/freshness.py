"""Freshness: does data still come in, and up to when is everything known?"""

from __future__ import annotations

import enum

import msgspec

#: A mark further behind the clock than this is not live: history is replayed, or the feeds are silent.
LIVE_WITHIN_SECONDS = 300.0
#: A mark that is behind and stood still for this long is a silent feed, not a replay.
STILL_SECONDS = 30.0


class Flow(enum.StrEnum):
    """How data comes in."""

    NONE = "none"  # nothing came yet
    LIVE = "live"
    BEHIND = "behind"  # it moves on, far from the clock: history is replayed, or a source may be late by hours
    SILENT = "silent"


class Freshness(msgspec.Struct, frozen=True):
    """The mark up to which everything is known, and when it last moved. Both in seconds since 1970; 0: no mark."""

    mark: float = 0.0
    moved_at: float = 0.0

    def flow(self, now: float) -> Flow:
        """How data comes in at `now`, seconds since 1970."""
        if self.mark <= 0:
            return Flow.NONE
        if now - self.mark <= LIVE_WITHIN_SECONDS:
            return Flow.LIVE
        return Flow.BEHIND if now - self.moved_at < STILL_SECONDS else Flow.SILENT


def watch(freshness: Freshness, mark: float, *, now: float) -> Freshness:
    """Look at the mark again.

    >>> watch(Freshness(), 100.0, now=5_000.0)
    Freshness(mark=100.0, moved_at=5000.0)
    >>> watch(_, 100.0, now=5_060.0).flow(5_060.0)
    <Flow.SILENT: 'silent'>
    """
    return freshness if mark == freshness.mark else Freshness(mark, now)

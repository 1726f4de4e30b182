"""Watermark: how far a partition of `reports` has come in event time."""

from __future__ import annotations

import msgspec

#: Watermark of a partition that never had a record: it holds nobody back.
NEVER = -1


class Watermark(msgspec.Struct, array_like=True):
    """What decides on late reports and on idle partitions. Changed in place by the one counter that owns it.

    event: largest event time seen, or moved on by `advance_idle`, ms; NEVER before the first record.
    delay: how long live reports took lately from their event to their record, ms, >= 0.
    live: the newest report was live: its time lay within the clock skew of its record's timestamp.
    """

    event: int = NEVER
    delay: float = 0.0
    live: bool = False

    def advance_idle(self, now: int) -> bool:
        """Move on with the wall clock; true if that moved it.

        Only for a partition whose records are all read: nothing older than `now` less the usual delay is on its way
        then. In a replay of history the clock says nothing, and the watermark stays.
        """
        if not self.live:
            return False
        idle = now - round(self.delay)
        if idle <= self.event:
            return False
        self.event = idle
        return True

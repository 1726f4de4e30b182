"""What a destination says to a delivery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from detectors.delivery import Delivery, Manner

#: Of an answer's text so much is kept.
MOST_TEXT = 2000


class Taken(msgspec.Struct, frozen=True):
    """It took it."""


class Refused(msgspec.Struct, frozen=True):
    """It will never take it. status: HTTP's or SMTP's. text: its answer, cut."""

    status: int
    text: str


class Failed(msgspec.Struct, frozen=True):
    """Not now. why: in words, without a secret. asked_seconds: how long it wants to be left alone."""

    why: str
    asked_seconds: float | None = None


Answer = Taken | Refused | Failed


class Receiver(Protocol):
    """A kind of destination: how a delivery gets there."""

    manner: Manner

    async def deliver(self, deliveries: Sequence[Delivery], now: float) -> Sequence[Answer]:
        """Tell it, one answer a delivery. now: seconds since 1970. It takes as long as it takes: the caller ends it."""

    async def close(self) -> None:
        """Let go of connections."""

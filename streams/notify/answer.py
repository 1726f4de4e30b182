"""What a destination says to a delivery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

#: Fewer characters of a secret tell nothing.
_TELLING = 4


def masked(answer: Answer, secrets: Iterable[str]) -> Answer:
    """The answer without the secrets, which whoever answers may quote, and without what no record can hold.

    >>> masked(Refused(400, "no such key: R0UT1NG"), ["R0UT1NG"])
    Refused(status=400, text='no such key: ***')
    """
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    match answer:
        case Refused(status, text):
            return Refused(status, _masked(text, longest_first))
        case Failed(why, asked):
            return Failed(_masked(why, longest_first), asked)
    return answer


def _masked(text: str, secrets: Sequence[str]) -> str:
    # Bytes that are no UTF-8 come out of the SMTP library as halves of characters.
    text = text.encode("utf-8", "replace").decode()
    cut = len(text) >= MOST_TEXT
    for secret in secrets:
        text = text.replace(secret, "***")
    for secret in secrets if cut else ():
        # Within the secret, maybe.
        for kept in range(len(secret) - 1, _TELLING - 1, -1):
            if text.endswith(secret[:kept]):
                return text[:-kept] + "***"
    return text


class Receiver(Protocol):
    """A kind of destination: how a delivery gets there."""

    manner: Manner

    async def deliver(self, deliveries: Sequence[Delivery], now: float) -> Sequence[Answer]:
        """Tell it, one answer a delivery. now: seconds since 1970. It takes as long as it takes: the caller ends it."""

    async def close(self) -> None:
        """Let go of connections."""

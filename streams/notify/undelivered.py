"""The record on `alerts-undelivered`: our contract with its readers."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from detectors.alert import Alert, Time

SCHEMA_VERSION = 1


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that a destination refused for good; it is not tried again."""

    schema_version: int = SCHEMA_VERSION
    destination: Annotated[str, Meta(description="its name in the settings")]
    status: Annotated[int, Meta(description="what it answered: HTTP's status, or SMTP's")]
    answer: Annotated[str, Meta(description="... and in words, at most 2,000 characters, secrets as ***")]
    at: Annotated[Time, Meta(description="when, by the worker's clock")]
    alert: Annotated[Alert, Meta(description="what was to be told, as it is on `alerts`")]


encode = msgspec.json.Encoder().encode


def headers(letter: Undelivered) -> list[tuple[str, bytes]]:
    """The Kafka headers of its record, so that a reader need not decode what is not for it."""
    found = {"destination": letter.destination, "status": str(letter.status), "content-type": "application/json"}
    return [(name, text.encode()) for name, text in found.items()]

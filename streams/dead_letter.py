"""Dead letters: records that were not counted, as they came, with the reason and where they came from."""

from __future__ import annotations

from typing import Any

from detectors.report import Rejected

#: Headers of the original that go along; a record with more has something to hide.
_HEADERS_KEPT = 20


def headers(rejected: Rejected, topic: str, partition: int, record: Any) -> list[tuple[str, bytes]]:
    """The headers of a dead letter: why, which field, and the record's origin; then the record's own, renamed."""
    ours = {
        "reason": rejected.reason.value,
        "path": rejected.path,
        "detail": rejected.detail,
        "topic": topic,
        "partition": str(partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp),
    }
    original = [(f"original-{name}", value) for name, value in list(record.headers or ())[:_HEADERS_KEPT]]
    return [(name, text.encode(errors="replace")) for name, text in ours.items()] + original

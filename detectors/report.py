"""One report as it arrives: decoded, checked, normalised, or rejected with a reason."""

from __future__ import annotations

import enum
import re
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta

from detectors.series import Names, Series

MAX_NAME = 200
MAX_REGION = 300
MAX_COUNT = 1_000_000

#: Numbers below are seconds since 1970, from it on milliseconds: 1e11 s is the year 5138, 1e11 ms is March 1973.
MILLISECONDS_FROM = 100_000_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Later times are a unit mistake, not a clock that is off.
END_OF_TIME_MS = (datetime(2200, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(milliseconds=1)

# Control characters would forge lines in logs; lone surrogates cannot be encoded; U+FFFD stands where bytes were bad.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffd\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_SPACES = re.compile(r"\s+")


class Reason(enum.StrEnum):
    """Why a record was not counted: metric label and dead-letter header."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    INVALID = "invalid"
    BAD_NAME = "bad_name"
    BAD_TIME = "bad_time"
    LATE = "late"
    FUTURE = "future"


class Rejected(msgspec.Struct, frozen=True):
    """A record that was not counted. path: JSON path of the bad field, `$` for the record as a whole."""

    reason: Reason
    path: str
    detail: str


class Report(msgspec.Struct, frozen=True, gc=False):
    """Somebody, or a feed on behalf of many, says that a service does not work."""

    service: Annotated[
        str,
        Meta(min_length=1, max_length=MAX_NAME, description="what does not work, in the reporter's words: WhatsApp"),
    ]
    region: Annotated[
        str,
        Meta(max_length=MAX_REGION, description="where, a path from wide to narrow: it/lazio/roma; empty if unknown"),
    ] = ""
    time: Annotated[
        Annotated[datetime, Meta(tz=True)] | int | float | None,
        Meta(description="when: RFC 3339, or seconds or milliseconds since 1970; default: the record's timestamp"),
    ] = None
    source: Annotated[str, Meta(min_length=1, max_length=MAX_NAME, description="the feed that the report came by")] = (
        "reports"
    )
    problem: Annotated[str, Meta(max_length=MAX_NAME, description="what is wrong: login, sending, calls")] | None = None
    count: Annotated[
        int, Meta(ge=0, le=MAX_COUNT, description="reports that this one stands for; 0 says that the feed is alive")
    ] = 1
    id: Annotated[str, Meta(max_length=MAX_NAME, description="the feed's own id, for tracing")] | None = None


#: The hot loop's way in: raises what msgspec raises where `decode` would say why.
parse = msgspec.json.Decoder(Report).decode


def decode(value: bytes | None, *, max_bytes: int = 65_536) -> Report | Rejected:
    """The report in a record's value, or why it holds none. Names and times are checked by `identify` and `time_ms`."""
    if not value:
        return Rejected(Reason.EMPTY, "$", "the record has no value; send a JSON object")
    if len(value) > max_bytes:
        return Rejected(Reason.TOO_LARGE, "$", f"{len(value)} bytes, at most {max_bytes} are read")
    try:
        return parse(value)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `")
        return Rejected(Reason.INVALID, path.rstrip("`") or "$", text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejected(Reason.NOT_JSON, "$", str(error))


def time_ms(report: Report, record_ms: int) -> int | Rejected:
    """Event time in milliseconds since 1970.

    record_ms: the record's own timestamp, taken where the report names no time.
    """
    time = report.time
    if time is None:
        if record_ms < 0:
            return Rejected(Reason.BAD_TIME, "$.time", "neither the report nor its record has a time")
        return record_ms
    return moment_ms(time, "$.time")


def moment_ms(time: datetime | float, path: str) -> int | Rejected:
    """Milliseconds since 1970 of a time as people and programs write it. path: of the field that it stands in."""
    if isinstance(time, datetime):
        since = time - EPOCH  # timestamp() costs twice as much
        ms = since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000
    elif not -END_OF_TIME_MS < time < END_OF_TIME_MS:  # false for NaN, too
        return Rejected(Reason.BAD_TIME, path, f"{time!r} is no time between 1970 and 2200")
    else:
        ms = round(time) if time >= MILLISECONDS_FROM else round(time * 1000)
    if not 0 <= ms < END_OF_TIME_MS:
        return Rejected(Reason.BAD_TIME, path, f"{time!s} is not between 1970 and 2200")
    return ms


def clean(text: str) -> str | None:
    """`text` in NFC, trimmed, runs of white space as one blank; None where a character is forbidden.

    >>> clean("  Caf\\u0065\\u0301   App ")
    'Café App'
    """
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", text)).strip()
    return None if _FORBIDDEN.search(text) else text


def fold(text: str) -> str:
    """The identity of a cleaned name: two spellings of one name have the same."""
    return unicodedata.normalize("NFC", text.casefold())


def identify(source: str, service: str, region: str) -> tuple[Series, Names] | Rejected:
    """The series of a report's raw names with the spellings to show, or why they name none."""
    cleaned = []
    for path, raw in (("$.source", source), ("$.service", service), ("$.region", region)):
        name = clean(raw)
        if name is None:
            return Rejected(Reason.BAD_NAME, path, "control or direction characters are not allowed in names")
        if path != "$.region" and not name:
            return Rejected(Reason.BAD_NAME, path, "empty once trimmed")
        if path != "$.region" and name.startswith("*"):
            return Rejected(Reason.BAD_NAME, path, "names that begin with * are Groundswell's own")
        cleaned.append(name)
    where = "/".join(part for part in (part.strip() for part in cleaned[2].split("/")) if part)
    if where.startswith("*") or "/*" in where:
        return Rejected(Reason.BAD_NAME, "$.region", "names that begin with * are Groundswell's own")
    return Series(fold(cleaned[0]), fold(cleaned[1]), fold(where)), Names(cleaned[1], where)

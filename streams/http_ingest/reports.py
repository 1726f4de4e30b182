"""The reports in a body: one, an array, or one a line. Checked as ingest will check them, before any is sent."""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import Any

import msgspec

from detectors import report
from detectors.report import Reason, Rejected, Report
from streams.http_ingest.problem import Refusal, Refused, ReportError, shortened

JSON = "application/json"
NDJSON = "application/x-ndjson"
WRONG_SOURCE = "wrong_source"
#: Reports that are checked without letting anybody else work in between.
_AT_ONCE = 500

_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(Report)}
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
#: A feed names the same services and regions again and again.
_identify = lru_cache(maxsize=4096)(report.identify)


def _names(pairs: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in pairs]


#: The names of the outermost object. Numbers stay text: one of 5,000 digits is no matter where nobody reads it.
_decode_names = json.JSONDecoder(object_pairs_hook=_names, parse_int=str, parse_float=str).decode


class Grant(msgspec.Struct, frozen=True):
    """What a token is good for. source: as the tokens file spells it; identity: its folded name."""

    source: str
    identity: str


class Limits(msgspec.Struct, frozen=True):
    """What is taken. most: reports in a request; skew_ms: how far a time may lie ahead of now."""

    most: int
    max_record_bytes: int
    skew_ms: int


async def read(body: bytes, media_type: str, grant: Grant, limits: Limits, *, now_ms: int) -> list[bytes]:
    """The records for the topic, one a report, all of the grant's source; Refused where any of them is none.

    What a report leaves out stays left out, its time, too: the record's timestamp counts then. Late reports cannot be
    told here: that depends on what else is in the partition.
    """
    pieces = _lines(body) if media_type == NDJSON else _elements(body)
    if len(pieces) > limits.most:
        raise Refused(
            Refusal.TOO_MANY,
            f"{len(pieces)} reports, at most {limits.most} are taken at once",
            "Split them over several requests (setting http_ingest.max_reports).",
        )
    if not pieces:
        raise Refused(Refusal.BAD_REPORTS, "there is no report in it", "Send at least one.")
    records, errors = [], []
    for index, piece in enumerate(pieces):
        if index % _AT_ONCE == 0:
            await asyncio.sleep(0)
        checked = _check(bytes(piece), grant, limits, now_ms)
        if isinstance(checked, bytes):
            records.append(checked)
        else:
            reason, path, detail = checked
            errors.append(ReportError(index=index, reason=reason, path=path, detail=shortened(detail)))
    if errors:
        raise _refused(errors, grant)
    return records


def _elements(body: bytes) -> list[Any]:
    """The elements of an array, or the one value that it is."""
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [body]
    try:
        return _split(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(
            Refusal.BAD_REPORTS,
            f"the body is not JSON: {error}",
            "Send an object, an array of objects, or one object a line as application/x-ndjson.",
        ) from None


def _lines(body: bytes) -> list[bytes]:
    return [line for line in body.split(b"\n") if line.strip(b" \t\r")]


def _check(piece: bytes, grant: Grant, limits: Limits, now_ms: int) -> bytes | tuple[str, str, str]:
    """The record to send, or reason, path and detail of why there is none."""
    said = report.decode(piece, max_bytes=limits.max_record_bytes)
    if isinstance(said, Rejected):
        return said.reason.value, said.path, said.detail
    keys = _keys(piece)
    if isinstance(keys, Rejected):
        return keys.reason.value, keys.path, keys.detail
    if "source" in keys and report.fold(report.clean(said.source) or "") != grant.identity:
        return WRONG_SOURCE, "$.source", f"the token is for source {grant.source}; leave `source` out, or give that"
    named = _identify(grant.source, said.service, said.region)
    if isinstance(named, Rejected):
        return named.reason.value, named.path, named.detail
    ms = report.time_ms(said, now_ms)
    if isinstance(ms, Rejected):
        return ms.reason.value, ms.path, ms.detail
    if ms - now_ms > limits.skew_ms:
        ahead, allowed = (ms - now_ms) / 1000, limits.skew_ms / 1000
        return (
            Reason.FUTURE.value,
            "$.time",
            f"it is {ahead:.0f} s ahead of the clock here, allowed are {allowed:.0f} s",
        )
    fields = msgspec.structs.asdict(said) | {"source": grant.source}
    record = _encode({name: value for name, value in fields.items() if value != _DEFAULTS[name]})
    if len(record) > limits.max_record_bytes:
        return Reason.TOO_LARGE.value, "$", f"{len(record)} bytes with its source, at most {limits.max_record_bytes}"
    return record


def _keys(piece: bytes) -> set[str] | Rejected:
    """The names of an object that msgspec has read; a name that comes twice is refused: which one is meant?"""
    try:
        names = _decode_names(piece.decode())
    except (ValueError, RecursionError) as error:
        return Rejected(Reason.NOT_JSON, "$", str(error))
    keys: set[str] = set()
    for name in names:
        if name in keys:
            return Rejected(Reason.INVALID, f"$.{shortened(name)}", "this name comes twice; give it once")
        keys.add(name)
    return keys


def _refused(errors: list[ReportError], grant: Grant) -> Refused:
    first = errors[0]
    detail = f"report {first.index}: {first.path}: {first.detail}"
    if len(errors) > 1:
        detail += f"; and {len(errors) - 1} more"
    if all(error.reason == WRONG_SOURCE for error in errors):
        return Refused(
            Refusal.WRONG_SOURCE,
            detail,
            f"Use the token of that source; this one is for {grant.source}. None of the reports was taken.",
            errors=errors,
        )
    return Refused(
        Refusal.BAD_REPORTS,
        detail,
        "Put right what `errors` names and send all of them again: none was taken.",
        errors=errors,
    )

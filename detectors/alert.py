"""The record on `alerts`: our contract with its readers."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SCHEMA_VERSION = 1


class State(enum.StrEnum):
    """What the record says of its incident."""

    OPEN = "open"
    UPDATE = "update"
    RESOLVED = "resolved"


class Severity(enum.StrEnum):
    """How bad, in PagerDuty's words; critical and error page."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


Time = Annotated[str, Meta(description="RFC 3339, UTC: 2022-10-25T07:04:00Z")]


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """The last buckets of the series in trouble, oldest first, for a sparkline. -1 observed: missing."""

    bucket_seconds: int
    end: Time
    observed: list[int]
    expected: list[float]
    low: list[float]
    high: list[float]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an incident."""

    schema_version: int = SCHEMA_VERSION
    id: Annotated[str, Meta(description="the incident: the same from open to resolved, also the record's key")]
    sequence: Annotated[int, Meta(ge=1, description="1, 2, 3 … within the incident; a repeat has the same bytes")]
    episode: Annotated[int, Meta(ge=1, description="counts how often the incident came back")]
    state: State
    kind: Annotated[Literal["series"], Meta(description="what the incident spans")] = "series"
    sources: Annotated[list[str], Meta(description="the feeds that show it, sorted")]
    service: str
    region: Annotated[str, Meta(description="'' where the reports do not say")]
    severity: Severity
    parent: Annotated[str | None, Meta(description="id of the incident that explains this one")] = None
    started_at: Annotated[Time, Meta(description="estimated onset")]
    detected_at: Time
    updated_at: Time
    resolved_at: Time | None
    summary: Annotated[str, Meta(description="one line for 3 a.m.")]
    observed: Annotated[int, Meta(ge=0, description="reports since started_at")]
    expected: Annotated[float, Meta(ge=0, description="reports usual in that time")]
    expected_low: Annotated[float, Meta(description="lower end of the 95 % interval of expected")]
    expected_high: Annotated[float, Meta(description="upper end of the 95 % interval of expected")]
    ratio: Annotated[float | None, Meta(description="observed / expected; null where nothing was expected")]
    evidence: Annotated[float, Meta(description="log10 of the return period in series-weeks of what was seen")]
    warming: Annotated[bool, Meta(description="the baseline is young: its interval is wide")]
    course: Annotated[Course | None, Meta(description="the last hour or so of the series")]


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Alert).decode

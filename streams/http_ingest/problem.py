"""Why a request was refused, as metrics name it and as the client is told: problem details (RFC 9457)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

MEDIA_TYPE = "application/problem+json"
#: Errors told of one request; whoever sends thousands of bad reports needs no more to see what is wrong.
ERRORS_TOLD = 20
#: A detail may quote what the client sent, up to this length.
DETAIL_CHARACTERS = 500


class Refusal(enum.StrEnum):
    """Why a request was refused: metric label and end of the problem's type."""

    BAD_REQUEST = "bad_request"
    BAD_REPORTS = "bad_reports"
    NO_TOKEN = "no_token"
    WRONG_SOURCE = "wrong_source"
    NOT_FOUND = "not_found"
    WRONG_METHOD = "wrong_method"
    TOO_SLOW = "too_slow"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    UNSUPPORTED = "unsupported"
    TOO_FAST = "too_fast"
    BUSY = "busy"
    KAFKA_AWAY = "kafka_away"
    KAFKA_SILENT = "kafka_silent"
    FAULT = "fault"


#: Status and title of each; a title says nothing of the single case.
KINDS: Mapping[Refusal, tuple[int, str]] = {
    Refusal.BAD_REQUEST: (400, "The request cannot be read"),
    Refusal.BAD_REPORTS: (400, "Not all of it are reports"),
    Refusal.NO_TOKEN: (401, "No valid token"),
    Refusal.WRONG_SOURCE: (403, "The token is another source's"),
    Refusal.NOT_FOUND: (404, "There is nothing here"),
    Refusal.WRONG_METHOD: (405, "Not by this method"),
    Refusal.TOO_SLOW: (408, "The body came too slowly"),
    Refusal.TOO_LARGE: (413, "The body is too large"),
    Refusal.TOO_MANY: (413, "Too many reports in one request"),
    Refusal.UNSUPPORTED: (415, "Not a format that is read here"),
    Refusal.TOO_FAST: (429, "Too many reports a second"),
    Refusal.BUSY: (503, "Too many requests at once"),
    Refusal.KAFKA_AWAY: (503, "Kafka cannot be reached"),
    Refusal.KAFKA_SILENT: (503, "Kafka has not confirmed the reports"),
    Refusal.FAULT: (500, "A fault of ours"),
}


class ReportError(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wrong with one of the reports."""

    index: Annotated[int, Meta(ge=0, description="which report of the request, from 0; blank lines are not counted")]
    reason: Annotated[str, Meta(description="as in the header `reason` of dead letters, or wrong_source")]
    path: Annotated[str, Meta(description="JSON path of the bad field in the report; $ for the report as a whole")]
    detail: Annotated[str, Meta(description="what is wrong with it")]


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Problem details (RFC 9457): why a request was refused, and what to do next."""

    type: Annotated[str, Meta(description="kind of the problem, a URN: urn:groundswell:problem:REASON")]
    title: Annotated[str, Meta(description="the kind in words")]
    status: Annotated[int, Meta(ge=400, le=599, description="the HTTP status")]
    detail: Annotated[str, Meta(description="what is wrong with this request")]
    hint: Annotated[str, Meta(description="what to do next")]
    taken: Annotated[
        Literal["none", "unknown"],
        Meta(description="none: no report was taken, a retry counts once; unknown: all may be in, a retry may double"),
    ]
    errors: Annotated[list[ReportError], Meta(description=f"the first {ERRORS_TOLD} errors in reports")] = []
    errors_total: Annotated[int, Meta(ge=0, description="how many reports have one")] = 0


class Refused(Exception):
    """A request that is answered with a problem. headers: of the answer."""

    def __init__(
        self,
        refusal: Refusal,
        detail: str,
        hint: str,
        *,
        errors: Sequence[ReportError] = (),
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(refusal, detail)
        status, title = KINDS[refusal]
        self.refusal = refusal
        self.headers = dict(headers)
        self.problem = Problem(
            type=f"urn:groundswell:problem:{refusal}",
            title=title,
            status=status,
            detail=shortened(detail),
            hint=hint,
            taken="unknown" if refusal is Refusal.KAFKA_SILENT else "none",
            errors=list(errors[:ERRORS_TOLD]),
            errors_total=len(errors),
        )


def shortened(text: str) -> str:
    """`text` as it is told: what a client sent may be of any length."""
    return text if len(text) <= DETAIL_CHARACTERS else text[:DETAIL_CHARACTERS] + "…"

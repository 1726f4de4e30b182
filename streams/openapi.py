"""JSON Schema of what the HTTP servers take and answer, made from the structs that they use.

`python -m streams.openapi docs/openapi.yaml` writes them into the OpenAPI file anew; a test tells when that is due. The
paths above them are written by hand: a new one refers to `#/components/schemas/NAME`, and its struct goes into STRUCTS.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from detectors.report import MAX_NAME, Report
from streams.health import Verdict
from streams.http_ingest.problem import Problem
from streams.http_ingest.server import Accepted
from streams.schema import REPORTS, with_schemas
from streams.web.actions import CommandRequest
from streams.web.api import ApiError, CommandAnswer, IncidentDetail, IncidentList, ServiceList

# What `detectors.report` takes for white space, and what it refuses in names, in a form that every dialect of regular
# expressions knows.
_SPACE = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_FORBIDDEN = r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffd"
#: A name: no forbidden character, not blank, none that begins with *.
NAME = rf"^[{_SPACE}]*[^*{_SPACE}{_FORBIDDEN}][^{_FORBIDDEN}]*$"
_PART = rf"[{_SPACE}]*(?:[^*/{_SPACE}{_FORBIDDEN}][^/{_FORBIDDEN}]*)?"
#: A path of names, each of which may be empty.
REGION = f"^{_PART}(?:/{_PART})*$"


class Health(Verdict, frozen=True):
    """The answer to a health question, with the reason in words. ok: as the status says."""


#: What the paths refer to, with what they refer to in turn.
STRUCTS: tuple[type[msgspec.Struct], ...] = (
    *(Report, Accepted, Problem, Health),
    *(IncidentList, IncidentDetail, ServiceList, CommandRequest, CommandAnswer, ApiError),
)


def schemas() -> dict[str, Any]:
    """The schemas that the paths of docs/openapi.yaml refer to, by name."""
    _, components = msgspec.json.schema_components(STRUCTS, ref_template="#/components/schemas/{name}")
    report = components["Report"]
    fields = report["properties"]
    fields["service"] |= {"pattern": NAME}
    fields["region"] |= {"pattern": REGION}
    # The topic's default is not this door's: it knows the source by the token.
    fields["source"] = {
        "description": "left out, or the source that the token is for",
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_NAME,
        "pattern": NAME,
    }
    return components | {"Report": {**report, "examples": [{**each, "source": "outage-site"} for each in REPORTS]}}


def regenerate(document: str) -> str:
    """The OpenAPI document with its schemas written anew. ValueError where it has no place for them."""
    return with_schemas(document, schemas())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m streams.openapi docs/openapi.yaml")
    file = Path(sys.argv[1])
    file.write_text(regenerate(file.read_text(encoding="utf-8")), encoding="utf-8")

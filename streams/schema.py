"""JSON Schema of the records that others write and read, made from the structs that the code decodes with.

`python -m streams.schema docs/asyncapi.yaml` writes them into the AsyncAPI file anew; a test tells when that is due.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from detectors.alert import (
    SCHEMA_VERSION,
    Acknowledged,
    Alert,
    Course,
    Kind,
    Resolution,
    Severity,
    State,
    Word,
    encode,
)
from detectors.command import Command
from detectors.report import Reason, Report
from streams.notify import undelivered
from streams.notify.undelivered import Undelivered

DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: The line of the AsyncAPI file from which on it is generated.
GENERATED_FROM = "  schemas:\n"

REPORTS: tuple[dict[str, Any], ...] = (
    {"service": "WhatsApp"},
    {
        "service": "WhatsApp",
        "region": "it/lazio/roma",
        "time": "2022-10-25T09:04:11.250+02:00",
        "source": "outage-site",
        "problem": "sending",
        "id": "r-81723",
    },
    {"service": "WhatsApp", "region": "it/lazio", "time": 1_666_681_451, "source": "contact-centre", "count": 61},
)

ALERTS = (
    Alert(
        id="9e847e169e681493",
        sequence=1,
        episode=1,
        state=State.OPEN,
        kind=Kind.SERIES,
        sources=["outage-site"],
        service="WhatsApp",
        region="it/lazio",
        severity=Severity.WARNING,
        region_name="Lazio",
        owner="Ada Rossi",
        team="messaging",
        links={"runbook": "https://wiki.example.org/whatsapp"},
        started_at="2022-10-25T07:04:00Z",
        detected_at="2022-10-25T07:07:03Z",
        updated_at="2022-10-25T07:07:03Z",
        resolved_at=None,
        summary="WhatsApp in Lazio: 37 reports in 3 minutes, 2.5 usual (15 times), since 07:04 UTC",
        observed=37,
        expected=2.5,
        expected_low=0.0,
        expected_high=6.1,
        ratio=14.8,
        evidence=3.21,
        warming=False,
        course=Course(
            bucket_seconds=60,
            end="2022-10-25T07:07:00Z",
            observed=[1, 0, 6, 13, 18],
            expected=[0.8, 0.8, 0.8, 0.8, 0.9],
            low=[0.0, 0.0, 0.0, 0.0, 0.0],
            high=[2.9, 2.9, 2.9, 2.9, 3.1],
        ),
    ),
    Alert(
        id="9e847e169e681493",
        sequence=31,
        episode=1,
        state=State.RESOLVED,
        kind=Kind.SERVICE,
        sources=["contact-centre", "outage-site"],
        service="WhatsApp",
        region=None,
        severity=Severity.CRITICAL,
        started_at="2022-10-25T07:04:00Z",
        detected_at="2022-10-25T07:07:03Z",
        updated_at="2022-10-25T09:21:03Z",
        resolved_at="2022-10-25T09:21:03Z",
        summary="WhatsApp everywhere: resolved by hand at 09:21 UTC after 3,518 reports in 2 hours 17 minutes,"
        " 241 usual (15 times), since 07:04 UTC",
        observed=3518,
        expected=241.0,
        expected_low=209.4,
        expected_high=272.6,
        ratio=14.5975,
        evidence=57.4,
        warming=False,
        course=None,
        acknowledged=Acknowledged(by="maria", reason="calling their hotline", at="2022-10-25T07:11:20Z"),
        resolution=Resolution.BY_HAND,
        word=Word(
            id="5f0c9e0e6f6a4d0a", action="resolve", by="maria", reason="they are back", at="2022-10-25T09:21:05Z"
        ),
    ),
    Alert(
        id="2f4c66a1d0b3e957",
        sequence=1,
        episode=1,
        state=State.OPEN,
        kind=Kind.FEED,
        sources=["outage-site"],
        service=None,
        region=None,
        severity=Severity.ERROR,
        started_at="2022-10-25T07:04:00Z",
        detected_at="2022-10-25T07:06:03Z",
        updated_at="2022-10-25T07:06:03Z",
        resolved_at=None,
        summary="Feed outage-site is silent: no report since 07:04 UTC, 31 expected since then",
        observed=0,
        expected=31.4,
        expected_low=31.4,
        expected_high=31.4,
        ratio=0.0,
        evidence=8.92,
        warming=False,
        course=None,
    ),
)


COMMANDS: tuple[dict[str, Any], ...] = (
    {
        "id": "8d6b3f52c1f94c8f",
        "action": "ack",
        "incident": "9e847e169e681493",
        "by": "maria",
        "reason": "calling their hotline",
        "at": "2022-10-25T07:11:20Z",
    },
    {
        "id": "ops-4711",
        "action": "mute",
        "incident": "9e847e169e681493",
        "by": "joe",
        "at": 1_666_681_920,
        "for_seconds": 7200,
    },
)


UNDELIVERED = (
    Undelivered(
        destination="oncall",
        status=400,
        answer='{"status":"invalid event","message":"Event object is invalid","errors":["Invalid routing key"]}',
        at="2022-10-25T07:07:04.310Z",
        alert=ALERTS[0],
    ),
)


def reports_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a record on `reports`. Unknown fields are allowed: they are ignored."""
    return _schema(Report, "urn:groundswell:schema:report:1", "A report", REPORTS)


def alerts_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a record on `alerts`. Readers ignore fields they do not know: there will be more."""
    examples = [json.loads(encode(alert)) for alert in ALERTS]
    return _schema(Alert, f"urn:groundswell:schema:alert:{SCHEMA_VERSION}", "An alert", examples)


def commands_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a record on `incident-commands`. Unknown fields are allowed: they are ignored."""
    return _schema(Command, "urn:groundswell:schema:command:1", "A command", COMMANDS)


def undelivered_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a record on `alerts-undelivered`. As with `alerts`: there will be more fields."""
    examples = [json.loads(undelivered.encode(letter)) for letter in UNDELIVERED]
    urn = f"urn:groundswell:schema:undelivered:{undelivered.SCHEMA_VERSION}"
    return _schema(Undelivered, urn, "An alert that was refused", examples)


def asyncapi_schemas() -> dict[str, Any]:
    """The schemas that the messages of docs/asyncapi.yaml refer to, by name."""
    reason = {"description": "why a record was not counted", "enum": [reason.value for reason in Reason]}
    refused = undelivered_schema()
    # The file has it already, and it is long.
    refused["properties"]["alert"] = {"$ref": "#/components/schemas/alert"}
    return {
        "report": reports_schema(),
        "alert": alerts_schema(),
        "undelivered": refused,
        "command": commands_schema(),
        "reason": reason,
    }


def _schema(struct: type[msgspec.Struct], urn: str, title: str, examples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([struct], ref_template="{name}")
    schema = _inlined(components[struct.__name__], components)
    return {"$schema": DRAFT, "$id": urn, **schema, "title": title, "examples": list(examples)}


def _inlined(node: Any, components: dict[str, Any]) -> Any:
    """`node` with what it refers to in its place: a schema without references is read by every tool."""
    if isinstance(node, list):
        return [_inlined(item, components) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        # What is said of the field goes before what is said of its type.
        return _inlined(components[node["$ref"]] | {k: v for k, v in node.items() if k != "$ref"}, components)
    return {name: _inlined(value, components) for name, value in node.items()}


def to_yaml(node: Any, indent: int) -> str:
    """`node` as YAML after a key or a dash. Scalars are written as JSON, which YAML contains."""
    if not node or not isinstance(node, dict | list):
        return f" {json.dumps(node, ensure_ascii=False)}"
    pad = "\n" + " " * indent
    if isinstance(node, dict):
        return "".join(f"{pad}{name}:{to_yaml(value, indent + 2)}" for name, value in node.items())
    return "".join(f"{pad}- {to_yaml(value, indent + 2).lstrip()}" for value in node)


def regenerate(document: str) -> str:
    """The AsyncAPI document with its schemas written anew. ValueError where it has no place for them."""
    return with_schemas(document, asyncapi_schemas())


def with_schemas(document: str, schemas: dict[str, Any]) -> str:
    """A document with these schemas in place of those at its end. ValueError where it has no place for them."""
    kept, found, _ = document.partition(GENERATED_FROM)
    if not found:
        raise ValueError(f"no line {GENERATED_FROM.rstrip()!r} under which the schemas belong")
    return kept + found.rstrip("\n") + to_yaml(schemas, 4) + "\n"


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m streams.schema docs/asyncapi.yaml")
    file = Path(sys.argv[1])
    file.write_text(regenerate(file.read_text(encoding="utf-8")), encoding="utf-8")

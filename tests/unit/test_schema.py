"""The published schemas: valid, true of what is sent, and the same in the AsyncAPI file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from detectors import alert as alerts_topic
from detectors import command
from detectors.alert import State, headers, millis, summary
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.report import Reason, Rejected, decode
from detectors.series import Names, Series
from detectors.surges import Recent, SurgeRecord, SurgeRow, Tick
from streams import dead_letter
from streams.notify import undelivered
from streams.schema import (
    ALERTS,
    COMMANDS,
    REPORTS,
    UNDELIVERED,
    alerts_schema,
    asyncapi_schemas,
    commands_schema,
    regenerate,
    reports_schema,
    undelivered_schema,
)

ASYNCAPI = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"

formats = FormatChecker(())


@formats.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def valid(schema: Mapping[str, Any], value: object) -> bool:
    return Draft202012Validator(schema, format_checker=formats).is_valid(value)


def document() -> Any:
    return yaml.safe_load(ASYNCAPI.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "schema",
    [reports_schema(), alerts_schema(), undelivered_schema(), commands_schema()],
    ids=["reports", "alerts", "undelivered", "commands"],
)
def test_schema_is_a_schema_with_a_name_and_examples_that_hold(schema):
    Draft202012Validator.check_schema(schema)

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].startswith("urn:groundswell:schema:")
    assert "$ref" not in json.dumps(schema)
    assert [valid(schema, example) for example in schema["examples"]] == [True] * len(schema["examples"])


@pytest.mark.parametrize("example", COMMANDS)
def test_example_of_a_command_is_understood(example):
    assert not isinstance(command.decode(json.dumps(example).encode()), Rejected)


@pytest.mark.parametrize("example", REPORTS)
def test_example_of_a_report_is_read(example):
    assert not isinstance(decode(json.dumps(example).encode()), Rejected)


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"service": "WhatsApp"}, True),
        ({"service": "WhatsApp", "time": 1666681451.5, "count": 0, "region": "", "problem": None}, True),
        ({"service": "WhatsApp", "time": None, "unknown": [1]}, True),
        ({"service": "W" * 200}, True),
        ({}, False),
        ({"service": ""}, False),
        ({"service": None}, False),
        ({"service": 5}, False),
        ({"service": "W" * 201}, False),
        ({"service": "WhatsApp", "count": -1}, False),
        ({"service": "WhatsApp", "count": 1_000_001}, False),
        ({"service": "WhatsApp", "count": "3"}, False),
        ({"service": "WhatsApp", "count": True}, False),
        ({"service": "WhatsApp", "count": 1.5}, False),
        ({"service": "WhatsApp", "time": "yesterday"}, False),
        ({"service": "WhatsApp", "time": "2022-10-25T07:04:00"}, False),
        ({"service": "WhatsApp", "time": []}, False),
        ({"service": "WhatsApp", "region": "x" * 301}, False),
        ({"service": "WhatsApp", "source": ""}, False),
        ([{"service": "WhatsApp"}], False),
        ("WhatsApp", False),
        (None, False),
    ],
)
def test_schema_and_decoder_agree_on_a_report(value, fits):
    assert valid(reports_schema(), value) is fits
    assert isinstance(decode(json.dumps(value).encode()), Rejected) is not fits


def test_alerts_as_they_are_judged_fit_the_schema():
    row = SurgeRow(
        series=Series("reports", "whatsapp", "it"),
        names=Names("WhatsApp", "it"),
        evidence=9.0,
        onset=1_666_681_440_000,
        start=1_666_681_440_000,
        closed=True,
        observed=61,
        expected=4.2,
        low=0.9,
        high=8.8,
        recent=Recent(60, 1_666_681_500_000, [-1, 61], [0.0, 4.2], [0.0, 0.9], [0.0, 8.8]),
    )
    judge = Judge(IncidentRule(), 1)
    alerts = judge.apply(SurgeRecord(0, 1, 1_666_681_503_000, [Tick(1_666_681_503_000, [row])]))
    alerts += judge.apply(SurgeRecord(0, 1, 1_666_691_503_000, []))

    assert [alert.state for alert in alerts] == [State.OPEN, State.UPDATE, State.RESOLVED]
    for alert in alerts:
        Draft202012Validator(alerts_schema(), format_checker=formats).validate(json.loads(alerts_topic.encode(alert)))


@pytest.mark.parametrize(
    "change",
    [
        {"state": "closed"},
        {"severity": "bad"},
        {"sequence": 0},
        {"observed": -1},
        {"started_at": "07:04"},
        {"started_at": 1_666_681_440},
        {"resolved_at": False},
        {"kind": "country"},
        {"region": 5},
        {"course": {"bucket_seconds": 60}},
        {"sources": "reports"},
    ],
)
def test_schema_refuses_what_is_no_alert(change):
    alert = json.loads(alerts_topic.encode(ALERTS[0]))

    assert valid(alerts_schema(), alert)
    assert not valid(alerts_schema(), alert | change)


@pytest.mark.parametrize("example", ALERTS, ids=["open", "resolved", "silent feed"])
def test_summary_of_an_example_is_the_one_that_would_be_written(example):
    assert example.summary == summary(example, millis(example.updated_at) - 3000)


# AsyncAPI


def test_asyncapi_file_holds_the_schemas_that_the_code_decodes_with():
    assert document()["components"]["schemas"] == asyncapi_schemas(), (
        "docs/asyncapi.yaml is behind the code: python -m streams.schema docs/asyncapi.yaml"
    )


def test_asyncapi_file_is_what_its_command_writes(tmp_path):
    copy = tmp_path / "asyncapi.yaml"
    copy.write_bytes(ASYNCAPI.read_bytes())

    subprocess.run(
        [sys.executable, "-m", "streams.schema", str(copy)],
        check=True,
        cwd=ASYNCAPI.parents[1],
        env={**os.environ, "PYTHONUTF8": "1"},
        timeout=60,
    )

    assert copy.read_text(encoding="utf-8") == ASYNCAPI.read_text(encoding="utf-8")


def test_file_without_a_place_for_the_schemas_is_refused():
    with pytest.raises(ValueError, match="no line '  schemas:'"):
        regenerate("asyncapi: 3.0.0\n")


def test_asyncapi_channels_are_the_topics_and_every_reference_leads_somewhere():
    whole = document()

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [ref for value in node.values() for ref in references(value)]
        return [ref for item in node for ref in references(item)] if isinstance(node, list) else []

    assert list(whole["channels"]) == [
        "reports",
        "reports-dead-letter",
        "alerts",
        "alerts-undelivered",
        "incident-commands",
    ]
    assert [channel["address"] for channel in whole["channels"].values()] == list(whole["channels"])
    for ref in references(whole):
        node = whole
        for step in ref.removeprefix("#/").split("/"):
            node = node[step]


def test_asyncapi_headers_of_an_alert_are_those_that_are_sent():
    described = document()["components"]["messages"]["alert"]["headers"]

    for alert in ALERTS:
        sent = {name: value.decode() for name, value in headers(alert)}
        assert list(sent) == described["required"] == list(described["properties"])
        assert valid(described, sent)


def test_asyncapi_headers_of_a_refused_alert_are_those_that_are_sent():
    described = document()["components"]["messages"]["undelivered"]["headers"]

    for letter in UNDELIVERED:
        sent = {name: value.decode() for name, value in undelivered.headers(letter)}
        assert list(sent) == described["required"] == list(described["properties"])
        assert valid(described, sent)


def test_asyncapi_refers_to_the_alert_within_a_refused_one_and_means_the_same():
    whole = asyncapi_schemas()
    assert whole["undelivered"]["properties"]["alert"] == {"$ref": "#/components/schemas/alert"}

    inside = undelivered_schema()["properties"]["alert"]

    assert inside["properties"] == whole["alert"]["properties"]
    assert inside["required"] == whole["alert"]["required"]


def test_asyncapi_headers_of_a_dead_letter_are_those_that_are_sent():
    described = document()["components"]["messages"]["deadLetter"]["headers"]
    record = SimpleNamespace(partition=3, offset=81, timestamp=1_666_681_440_000, headers=None)

    sent = dead_letter.headers(Rejected(Reason.EMPTY, "$", "no value"), "reports", record.partition, record)

    assert [name for name, _ in sent] == described["required"] == list(described["properties"])
    described["properties"]["reason"] = document()["components"]["schemas"]["reason"]
    assert valid(described, {name: value.decode() for name, value in sent})


def test_asyncapi_knows_every_reason_of_a_dead_letter():
    assert document()["components"]["schemas"]["reason"]["enum"] == [reason.value for reason in Reason]

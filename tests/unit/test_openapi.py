"""The OpenAPI file: as the code has it, valid, and true of both servers, whatever schemathesis makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml

from streams.openapi import regenerate
from tests.http_servers import OTHER_SOURCE, OTHER_TOKEN, PERSONS_TOKEN, in_thread, ingest, status

OPENAPI = Path(__file__).parents[2] / "docs" / "openapi.yaml"
CONFIG = {"generation": {"deterministic": True, "max-examples": 60, "database": "none"}}


def document() -> Any:
    return yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))


def api(document: Any) -> Any:
    """The document as schemathesis knows it; each run tries the same."""
    return schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(CONFIG))


def for_listener() -> Any:
    """The document without what it cannot say, which has tests of its own."""
    said = document()
    # What a time may be depends on the clock, and the source on the token; the other form is not JSON.
    fields = said["components"]["schemas"]["Report"]["properties"]
    del fields["time"]
    fields["source"] = {"const": OTHER_SOURCE}
    del said["paths"]["/v1/reports"]["post"]["requestBody"]["content"]["application/x-ndjson"]
    return said


def test_schemas_of_the_file_are_those_of_the_code():
    text = OPENAPI.read_text(encoding="utf-8")

    assert regenerate(text) == text, "run: python -m streams.openapi docs/openapi.yaml"


def test_file_is_valid():
    schemathesis.openapi.from_dict(document()).validate()


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a listener for reports that takes as many as come."""
    folder = tmp_path_factory.mktemp("ingest")
    with in_thread(lambda: ingest(folder, reports_per_second=1_000_000.0, burst_reports=10_000_000)) as server:
        yield server.url


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """URL of a status page's server."""
    with in_thread(status) as url:
        yield url


listener_api = api(for_listener()).include(path="/v1/reports")
page_api = api(document()).exclude(path="/v1/reports")


@listener_api.parametrize()
def test_listener_for_reports_does_as_the_file_says(case, listener):
    for report in case.body if isinstance(case.body, list) else [case.body]:
        # 1.0 is an integer to JSON Schema, which knows numbers alone, and none to us.
        if isinstance(report, dict) and isinstance(count := report.get("count"), float) and count.is_integer():
            report["count"] = int(count)
    case.call_and_validate(base_url=listener, headers={"Authorization": f"Bearer {OTHER_TOKEN}"})


@page_api.parametrize()
def test_server_of_the_status_page_does_as_the_file_says(case, page):
    case.call_and_validate(base_url=page, headers={"Authorization": f"Bearer {PERSONS_TOKEN}"})

"""The Alertmanager configuration that ships: a real Alertmanager keeps quiet about what another incident explains."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.consumers import servers

CONFIG = Path(__file__).parents[2] / "deploy" / "alertmanager" / "alertmanager.yml"
WAIT_SECONDS = 20.0


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    with servers.alertmanager(tmp_path_factory.mktemp("alertmanager"), CONFIG) as server:
        yield server


def incident(id_: str, *, cause: str | None = None, service: str = "WhatsApp") -> dict[str, Any]:
    """An alert of an incident; cause: the id of the one that explains it."""
    labels = {
        "alertname": "GroundswellIncident",
        "service": service,
        "region": "it/lazio",
        "kind": "series",
        "incident": id_,
        "cause": cause or id_,
        "explained": "true" if cause else "false",
    }
    return {"labels": labels, "annotations": {"summary": f"{service} in it/lazio"}}


def post(server: servers.Server, *alerts: dict[str, Any]) -> None:
    request = urllib.request.Request(
        f"{server.url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def states(server: servers.Server) -> dict[str, str]:
    """The state of each alert by its incident."""
    with urllib.request.urlopen(f"{server.url}/api/v2/alerts", timeout=10) as answer:
        return {alert["labels"].get("incident", ""): alert["status"]["state"] for alert in json.load(answer)}


def until(server: servers.Server, wanted: dict[str, str]) -> None:
    """Wait until these alerts have these states; AssertionError if they do not."""
    deadline = time.monotonic() + WAIT_SECONDS
    seen = states(server)
    while {id_: seen.get(id_) for id_ in wanted} != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
        seen = states(server)
    assert {id_: seen.get(id_) for id_ in wanted} == wanted


def test_configuration_passes_amtool():
    amtool = servers.tool("amtool", "prometheus-alertmanager")

    done = subprocess.run([amtool, "check-config", str(CONFIG)], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=GroundswellIncident", "severity=critical"], "team"),
        (["alertname=GroundswellStalled"], "team"),
        (["alertname=GroundswellWatchdog"], "heartbeat"),
    ],
)
def test_alerts_go_to_their_receiver(labels, receiver):
    amtool = servers.tool("amtool", "prometheus-alertmanager")

    command = [amtool, "config", "routes", "test", f"--config.file={CONFIG}", *labels]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.stdout.split() == [receiver], done.stderr


def test_child_is_inhibited_while_its_root_is_open_and_comes_through_afterwards(alertmanager):
    post(alertmanager, incident("root-1"), incident("child-1", cause="root-1"))
    until(alertmanager, {"root-1": "active", "child-1": "suppressed"})

    resolved = incident("root-1") | {"endsAt": "2022-10-25T09:00:00Z", "startsAt": "2022-10-25T07:00:00Z"}
    post(alertmanager, resolved)

    until(alertmanager, {"child-1": "active"})


def test_child_of_a_child_is_inhibited_by_the_root(alertmanager):
    # Both name the root as their cause, however deep they lie.
    post(alertmanager, incident("root-2"), incident("middle-2", cause="root-2"), incident("leaf-2", cause="root-2"))

    until(alertmanager, {"root-2": "active", "middle-2": "suppressed", "leaf-2": "suppressed"})


def test_incident_of_another_cause_is_not_inhibited(alertmanager):
    post(alertmanager, incident("root-3"), incident("child-3", cause="root-3"))
    until(alertmanager, {"child-3": "suppressed"})

    # Of the same service even: what counts is what explains it.
    post(alertmanager, incident("root-4"), incident("child-5", cause="gone-5"))

    until(alertmanager, {"root-3": "active", "child-3": "suppressed", "root-4": "active", "child-5": "active"})


def test_alerts_on_groundswell_itself_are_not_inhibited(alertmanager):
    post(alertmanager, incident("root-6"), incident("child-6", cause="root-6"))
    until(alertmanager, {"child-6": "suppressed"})

    post(alertmanager, {"labels": {"alertname": "GroundswellStalled", "service": "WhatsApp", "severity": "critical"}})

    until(alertmanager, {"": "active"})

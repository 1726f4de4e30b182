"""What a real Alertmanager makes of the incidents that it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import yaml
from aiohttp import web

from detectors.alert import Kind, Severity
from tests.consumers import servers
from tests.kafka.server import free_port
from tests.pipeline import harness
from tests.pipeline.harness import wait_until
from tests.pipeline.notifying import agents, at, now_open, now_resolved, tell

#: As shipped in deploy/alertmanager/, but quick, and with a webhook that this test listens on.
CONFIG = """
route:
  receiver: page
  group_by: [cause]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: page
    webhook_configs: [{{url: "http://127.0.0.1:{port}/", send_resolved: true}}]
inhibit_rules:
  - source_matchers: ['explained="false"']
    target_matchers: ['explained="true"']
    equal: [cause]
"""
SECONDS = 30.0


class Pages:
    """What Alertmanager tells whoever is on call: (status of the alert, its incident), in the order of their coming."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.told += [(alert["status"], alert["labels"]["incident"]) for alert in body["alerts"]]
        return web.Response()


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Pages, int]]:
    found, port = Pages(), free_port()
    app = web.Application()
    app.router.add_post("/", found.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield found, port
    await runner.cleanup()


@pytest.fixture
def manager(tmp_path: Path, pages: tuple[Pages, int]) -> Iterator[servers.Server]:
    config = tmp_path / "alertmanager.yml"
    config.write_text(CONFIG.format(port=pages[1]))
    with servers.alertmanager(tmp_path, config) as server:
        yield server


async def told(manager: servers.Server) -> dict[str, dict[str, Any]]:
    """The alerts that are there, by incident and label explained."""
    async with aiohttp.ClientSession() as session, session.get(f"{manager.url}/api/v2/alerts") as answer:
        return {alert["labels"]["incident"]: alert for alert in await answer.json()}


async def until(manager: servers.Server, condition: Callable[[dict[str, dict[str, Any]]], object], what: str) -> None:
    async def holds() -> object:
        with contextlib.suppress(aiohttp.ClientError):
            return condition(await told(manager))
        return False

    await wait_until(holds, SECONDS, what)


async def scene_of(stage: harness.Stage, *urls: str, **changes: object) -> harness.Scene:
    return await stage.set_scene(
        destination__am__type="alertmanager",
        destination__am__urls=list(urls),
        destination__am__labels={"team": "messaging"},
        **{
            "notify__repeat_seconds": 2.0,
            "notify__retry_first_seconds": 0.2,
            "notify__retry_most_seconds": 1.0,
            **changes,
        },
    )


async def test_an_incident_fires_escalates_as_the_same_alert_and_resolves(
    stage: harness.Stage, manager: servers.Server, pages: tuple[Pages, int]
):
    scene = await scene_of(stage, manager.url)
    first = now_open(severity=Severity.ERROR)
    async with agents(scene):
        await tell(scene, [first])
        await until(manager, lambda alerts: alerts, "the alert was there")
        before = (await told(manager))["incident-1"]
        await tell(scene, [msgspec.structs.replace(first, sequence=2, severity=Severity.CRITICAL, updated_at=at())])
        await until(
            manager, lambda a: a["incident-1"]["annotations"]["severity"] == "critical", "the severity was told"
        )
        after = await told(manager)
        await wait_until(lambda: _has(pages[0], ("firing", "incident-1")), SECONDS, "it was paged")
        await tell(scene, [now_resolved(first, sequence=3)])
        await until(manager, lambda alerts: not alerts, "it was resolved")
        await wait_until(lambda: _has(pages[0], ("resolved", "incident-1")), SECONDS, "the end was told")

    assert before["status"]["state"] in ("active", "unprocessed")
    assert before["labels"] == {
        "alertname": "GroundswellIncident",
        "service": "WhatsApp",
        "region": "it",
        "kind": "series",
        "incident": "incident-1",
        "cause": "incident-1",
        "explained": "false",
        "team": "messaging",
    }
    assert list(after) == ["incident-1"]
    assert after["incident-1"]["fingerprint"] == before["fingerprint"]
    assert pages[0].told == [("firing", "incident-1"), ("resolved", "incident-1")]


async def test_a_part_is_inhibited_and_one_that_becomes_a_part_later_too(
    stage: harness.Stage, manager: servers.Server, pages: tuple[Pages, int]
):
    scene = await scene_of(stage, manager.url)
    whole = now_open("whole", kind=Kind.SERVICE, region=None)
    early = now_open("early", region="it/lazio")
    async with agents(scene):
        await tell(scene, [early])
        await until(manager, lambda alerts: alerts, "the first region was there")
        await tell(
            scene,
            [
                whole,
                now_open("late", region="it/veneto", parent="whole"),
                msgspec.structs.replace(early, sequence=2, parent="whole"),
            ],
        )
        await until(
            manager,
            lambda alerts: (
                {id: alert["status"]["state"] for id, alert in alerts.items()}
                == {"whole": "active", "early": "suppressed", "late": "suppressed"}
            ),
            "parts were inhibited",
        )
        found = await told(manager)

    assert found["late"]["labels"]["cause"] == found["early"]["labels"]["cause"] == "whole"
    assert found["late"]["status"]["inhibitedBy"] == [found["whole"]["fingerprint"]]
    assert ("firing", "late") not in pages[0].told


async def test_an_incident_that_is_resolved_while_silenced_is_gone_and_told_nobody(
    stage: harness.Stage, manager: servers.Server, pages: tuple[Pages, int]
):
    scene = await scene_of(stage, manager.url)
    silence = {
        "matchers": [{"name": "service", "value": "WhatsApp", "isRegex": False}],
        "startsAt": at(),
        "endsAt": at(600),
        "createdBy": "test",
        "comment": "test",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{manager.url}/api/v2/silences", json=silence) as answer,
    ):
        assert answer.status == 200
    first = now_open()
    async with agents(scene):
        await tell(scene, [first])
        await until(manager, lambda a: a and a["incident-1"]["status"]["state"] == "suppressed", "it was silenced")
        await tell(scene, [now_resolved(first)])
        await until(manager, lambda alerts: not alerts, "it was resolved")

    assert pages[0].told == []


async def test_an_alertmanager_that_starts_anew_is_told_what_is_open_and_what_is_over(
    stage: harness.Stage, manager: servers.Server, pages: tuple[Pages, int]
):
    scene = await scene_of(stage, manager.url)
    stays, ends = now_open("stays"), now_open("ends", service="TIM")
    async with agents(scene):
        await tell(scene, [stays, ends])
        await wait_until(lambda: _has(pages[0], ("firing", "ends"), ("firing", "stays")), SECONDS, "both were paged")
        await asyncio.to_thread(manager.stop, kill=True)
        await tell(scene, [now_resolved(ends)])
        await asyncio.to_thread(manager.start)
        await until(manager, lambda alerts: list(alerts) == ["stays"], "only what is open was there")
        found = await told(manager)

    assert found["stays"]["status"]["state"] in ("active", "unprocessed")


async def test_all_peers_are_told_at_once_and_one_that_is_down_holds_nothing_up(
    stage: harness.Stage, manager: servers.Server
):
    scene = await scene_of(stage, f"http://127.0.0.1:{free_port()}", manager.url)
    first = now_open()
    async with agents(scene) as metrics:
        await tell(scene, [first])
        await until(manager, lambda alerts: alerts, "the peer that is up has it")
        up = metrics.registry.get_sample_value("groundswell_destination_up", {"destination": "am"})

    assert up == 1


async def test_nobody_is_told_about_the_past(stage: harness.Stage, manager: servers.Server):
    scene = await scene_of(stage, manager.url)
    old = now_open("old", detected_at=at(-7200), updated_at=at(-7100))
    async with agents(scene):
        await tell(scene, [old, now_resolved(old, updated_at=at(-7000), resolved_at=at(-7000)), now_open("new")])
        await until(manager, lambda alerts: alerts, "an incident was there")

        assert list(await told(manager)) == ["new"]


async def _has(pages: Pages, *wanted: tuple[str, str]) -> bool:
    return set(wanted) <= set(pages.told)


def test_the_rule_of_these_tests_is_the_one_that_is_shipped():
    shipped = (Path(__file__).parents[2] / "deploy/alertmanager/alertmanager.yml").read_text()

    assert yaml.safe_load(shipped)["inhibit_rules"] == yaml.safe_load(CONFIG.format(port=0))["inhibit_rules"]

"""Destinations that fail in every way: nothing is lost, nothing comes with another content, no other one waits."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from email import message_from_bytes
from email.policy import default
from typing import Any

import jsonschema
import msgspec
import pytest
from aiosmtpd.controller import Controller

from detectors.alert import Severity
from streams.schema import undelivered_schema
from tests.kafka.server import free_port
from tests.misbehaving import CUT, HANG, Request, Server, answer, serving
from tests.pipeline import harness
from tests.pipeline.harness import Scene, wait_until
from tests.pipeline.notifying import agents, counted, now_open, now_resolved, tell, undelivered

SECONDS = 40.0
WELL = answer(200, b"ok")
#: Each once, then all is well.
FAULTS = (answer(500), answer(429, Retry_After="1"), HANG, CUT, answer(503), WELL)
KINDS = ("alertmanager", "pagerduty", "slack", "webhook")


async def scene_of(stage: harness.Stage, destinations: dict[str, tuple[str, str]], **changes: object) -> Scene:
    """A scene with these destinations: kind and address by name."""
    secret = stage.folder / "secret"
    secret.write_text("whsec_" + base64.b64encode(b"k" * 32).decode())
    wanted: dict[str, object] = {
        "notify__retry_first_seconds": 0.1,
        "notify__retry_most_seconds": 0.4,
        "notify__timeout_seconds": 3.0,
        "notify__repeat_seconds": 3600.0,
        "notify__circuit_after": 3,
    }
    for name, (kind, url) in destinations.items():
        begin = f"destination__{name}__"
        wanted[begin + "type"] = kind
        match kind:
            case "alertmanager":
                wanted[begin + "urls"] = [url]
            case "pagerduty":
                key = stage.folder / "routing-key"
                key.write_text("k" * 32)
                wanted |= {begin + "url": url, begin + "routing_key_file": str(key)}
            case "slack":
                place = stage.folder / f"{name}-url"
                place.write_text(url)
                wanted[begin + "url_file"] = str(place)
            case "webhook":
                wanted |= {begin + "url": url, begin + "secret_files": [str(secret)], begin + "allow_private": True}
    return await stage.set_scene(**{**wanted, **changes})


def states(kind: str, request: Request) -> list[tuple[str, str]]:
    """Incident and what a request says of it, one for each in it."""
    body = request.json
    match kind:
        case "alertmanager":
            over = [alert["endsAt"] <= alert["startsAt"] for alert in body]
            return [
                (alert["labels"]["incident"], "over" if ends else "open")
                for alert, ends in zip(body, over, strict=True)
            ]
        case "pagerduty":
            return [(body["dedup_key"], {"trigger": "open", "resolve": "over"}[body["event_action"]])]
        case "slack":
            return [("incident-1", "over" if "Resolved" in json.dumps(body) else "open")]
        case _:
            return [(body["data"]["id"], "over" if body["type"] == "incident.resolved" else "open")]


async def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    async def holds() -> object:
        return condition()

    await wait_until(holds, seconds, what, every_seconds=0.05)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_destination_failed_to_take_arrives_and_another_one_does_not_wait_for_it(
    stage: harness.Stage, kind: str
):
    async with serving(*FAULTS) as bad, serving(WELL) as good:
        scene = await scene_of(stage, {"bad": (kind, bad.url), "good": ("webhook", good.url)})
        first = now_open()
        async with agents(scene) as metrics:
            await tell(scene, [first])
            await until(lambda: good.requests, "the good one was told")
            arrived = len(bad.answers)
            await until(lambda: counted(metrics, "bad", "delivered") == 1, "the bad one was told")
            await tell(scene, [now_resolved(first)])
            await until(lambda: counted(metrics, "bad", "delivered") == 2, "the end was told")
            await until(lambda: counted(metrics, "good", "delivered") == 2, "the good one was told the end")
            retried, repeated = counted(metrics, "bad", "retried"), counted(metrics, "good", "retried")

    assert arrived > 1, "the good one waited for the bad one"
    assert retried == len(FAULTS) - 1
    told = [state for request in bad.requests for state in states(kind, request)]
    assert told == [("incident-1", "open")] * len(FAULTS) + [("incident-1", "over")]
    # On a busy machine a try may take longer than it may, and comes again as it was.
    assert len(good.requests) == 2 + repeated
    assert len({(request.headers["webhook-id"], request.body) for request in good.requests}) == 2
    assert list(dict.fromkeys(state for request in good.requests for state in states("webhook", request))) == [
        ("incident-1", "open"),
        ("incident-1", "over"),
    ]


async def test_a_repeated_try_has_the_same_content(stage: harness.Stage):
    async with serving(*FAULTS) as bad:
        scene = await scene_of(stage, {"bad": ("webhook", bad.url)})
        async with agents(scene) as metrics:
            await tell(scene, [now_open()])
            await until(lambda: counted(metrics, "bad", "delivered") == 1, "it was told")

    assert len(bad.requests) == len(FAULTS)
    assert len({(request.headers["webhook-id"], request.body) for request in bad.requests}) == 1


async def test_after_an_outage_longer_than_all_tries_the_latest_state_of_each_incident_arrives(stage: harness.Stage):
    port = free_port()
    scene = await scene_of(stage, {"down": ("webhook", f"http://127.0.0.1:{port}")})
    grows, ends, stays = now_open("grows"), now_open("ends"), now_open("stays")
    async with agents(scene) as metrics:
        await tell(scene, [grows, ends, stays])
        gauge = {"destination": "down"}
        await until(
            lambda: metrics.registry.get_sample_value("groundswell_destination_up", gauge) == 0, "its circuit opened"
        )
        # Beyond the longest wait: all tries of the schedule were in vain.
        tried = counted(metrics, "down", "retried")
        await until(lambda: counted(metrics, "down", "retried") >= tried + 9, "it was tried again and again")
        for sequence in range(2, 6):
            await tell(scene, [msgspec.structs.replace(grows, sequence=sequence, observed=1000 * sequence)])
        await tell(scene, [now_resolved(ends)])
        await until(lambda: counted(metrics, "down", "superseded") == 5, "the last records were read")
        it = Server(WELL)
        server = await asyncio.start_server(it.serve, "127.0.0.1", port)
        await until(lambda: counted(metrics, "down", "delivered") == 3, "it was told")
        up = metrics.registry.get_sample_value("groundswell_destination_up", gauge)
        server.close()

    assert up == 1
    told = {request.json["data"]["id"]: request.json["data"] for request in it.requests}
    assert len(it.requests) == 3
    assert {id: (each["sequence"], each["state"]) for id, each in told.items()} == {
        "grows": (5, "open"),
        "ends": (2, "resolved"),
        "stays": (1, "open"),
    }


async def test_what_is_refused_for_good_is_kept_with_the_answer_and_holds_nothing_up(stage: harness.Stage):
    def fussy(request: Request) -> bytes:
        return answer(400, b"what a name") if b'"id":"bad"' in request.body else WELL

    async with serving(fussy) as server:
        scene = await scene_of(stage, {"fussy": ("webhook", server.url)})
        async with agents(scene) as metrics:
            await tell(scene, [now_open("bad"), now_open("good", severity=Severity.ERROR)])
            await until(lambda: counted(metrics, "fussy", "delivered") == 1, "the good one was told")
            await until(lambda: counted(metrics, "fussy", "refused") == 1, "the bad one was refused")
        kept = await undelivered(scene)

        records = await harness.read(scene, scene.topics.undelivered)

    assert [(each.destination, each.status, each.answer, each.alert.id) for each in kept] == [
        ("fussy", 400, "what a name", "bad")
    ]
    # As it is described to its readers.
    assert [record.key for record in records] == [b"bad"]
    jsonschema.validate(json.loads(records[0].value), undelivered_schema())
    assert len(server.requests) == 2


async def test_mail_arrives_when_its_server_is_back(stage: harness.Stage):
    class Mailbox:
        def __init__(self) -> None:
            self.subjects: list[str] = []

        async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
            self.subjects.append(message_from_bytes(envelope.content, policy=default)["Subject"])
            return "451 not now" if len(self.subjects) == 1 else "250 OK"

    port, box = free_port(), Mailbox()
    fields = {
        "type": "email",
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "groundswell@example.com",
    }
    scene = await scene_of(
        stage,
        {},
        **{f"destination__mail__{name}": value for name, value in fields.items()},
        destination__mail__to=["oncall@example.com"],
    )
    controller = Controller(box, hostname="127.0.0.1", port=port)
    async with agents(scene) as metrics:
        await tell(scene, [now_open()])
        await until(lambda: counted(metrics, "mail", "retried") >= 1, "it was tried in vain")
        controller.start()
        try:
            await until(lambda: counted(metrics, "mail", "delivered") == 1, "it was taken")
        finally:
            controller.stop()

    assert len(box.subjects) == 2
    assert "WhatsApp" in box.subjects[1]


@pytest.mark.timeout(180)
async def test_the_last_state_of_each_incident_arrives_though_the_worker_is_killed_while_it_delivers(
    stage: harness.Stage,
):
    async with serving(WELL) as server:
        scene = await scene_of(stage, {"hook": ("webhook", server.url)}, web__host="127.0.0.1")
        opened = [now_open(f"incident-{number}") for number in range(30)]
        async with harness.workers(scene) as start:
            worker = start()
            await worker.ready()
            sending = asyncio.create_task(tell(scene, opened))
            await until(lambda: len(server.requests) >= 10, "a third was told")
            worker.kill()
            await sending
            before = len(server.requests)
            await tell(scene, [now_resolved(each) for each in opened[::2]])
            start()
            await until(
                lambda: (
                    final(server)
                    == {each.id: "over" for each in opened[::2]} | {each.id: "open" for each in opened[1::2]}
                ),
                "the last states arrived",
                90,
            )

    assert before < 30, "it was killed too late to prove anything"
    contents: dict[str, bytes] = {}
    for request in server.requests:
        assert contents.setdefault(request.headers["webhook-id"], request.body) == request.body


def final(server: Server) -> dict[str, str]:
    """What was told last of each incident."""
    return {id: state for request in server.requests for id, state in states("webhook", request)}

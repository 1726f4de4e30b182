"""What people say of an incident, through the command line, a worker that is killed, and back."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import pytest

from detectors import alert, command
from detectors.alert import Alert, Resolution, State
from detectors.judge import Judge
from tests.pipeline import feeds, harness

QUIET_MINUTES = 12 * 60
#: Begin of the outage, seconds.
BROKEN = feeds.DAY + QUIET_MINUTES * 60


@pytest.mark.timeout(240)
async def test_what_people_say_is_in_the_record_and_outlives_a_killed_worker(stage: harness.Stage) -> None:
    scene = await stage.set_scene()

    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        await harness.send(scene, [*quiet(scene.partitions), *outage(scene.partitions, 0, 10)])
        first = await told(scene, lambda each: each.state is State.OPEN)

        acknowledged = await say(scene, "ack", first.id[:6], "--reason", "calling their hotline")
        await harness.send_commands(scene, [b"no command", None, json.dumps({"action": "ack"}).encode()])
        await muted_without_waiting(scene, first.id)
        worker.kill()

        worker = start()
        await worker.ready()
        await harness.send(scene, outage(scene.partitions, 10, 20))
        later = await told(
            scene,
            lambda each: each.updated_at > acknowledged.updated_at and each.word is None and each.muted is not None,
        )
        resolved = await say(scene, "false-alarm", first.id)
        await harness.send(scene, outage(scene.partitions, 20, 40))
        await harness.all_decided(scene, int((BROKEN + 38 * 60) * 1000), [])
        worker.check_alive()
        metrics = await worker.metrics()
        assert await worker.stop() == 0
        alerts = await harness.alerts(scene)

    assert acknowledged.acknowledged is not None
    assert (acknowledged.acknowledged.by, acknowledged.acknowledged.reason) == ("maria", "calling their hotline")
    assert acknowledged.word is not None
    assert acknowledged.word.action == "ack"
    # Of the worker that knows it from its snapshot, or from the log.
    assert later.acknowledged == acknowledged.acknowledged
    assert later.muted is not None
    assert later.muted.by == "maria"
    assert (resolved.state, resolved.resolution) == (State.RESOLVED, Resolution.FALSE_ALARM)
    # It went on for twenty minutes more.
    assert alert.decode(list(alerts.values())[-1]) == resolved
    assert metrics.total("groundswell_alert_false_pages_per_week") == 1.0
    assert await replayed(scene) == list(alerts.values())


def quiet(partitions: int) -> list[tuple[int, bytes]]:
    """Half a quiet day, a report for each minute with its count."""
    begin = [(n, feeds.report(feeds.DAY, "heartbeat", count=0)) for n in range(partitions)]
    return begin + [
        (n % partitions, feeds.report(feeds.DAY + n * 60, "WhatsApp", count=(3, 6, 5, 4, 7)[n * 7 % 5]))
        for n in range(QUIET_MINUTES)
    ]


def outage(partitions: int, begin: int, end: int) -> list[tuple[int, bytes]]:
    """The minutes of an outage, and a heartbeat that closes the last of them."""
    down = [
        (n % partitions, feeds.report(BROKEN + n * 60 + seconds, "WhatsApp", count=10))
        for n in range(begin, end)
        for seconds in range(0, 60, 10)
    ]
    return down + [(n, feeds.report(BROKEN + end * 60 - 1, "heartbeat", count=0)) for n in range(partitions)]


async def told(scene: harness.Scene, wanted: Any) -> Alert:
    """The first alert on the topic that is wanted."""
    found: list[Alert] = []

    async def there() -> bool:
        found[:] = [each for each in map(alert.decode, (await harness.alerts(scene)).values()) if wanted(each)]
        return bool(found)

    await harness.wait_until(there, 60, "the alert was there")
    return found[0]


async def say(scene: harness.Scene, action: str, *arguments: str) -> Alert:
    """The record with which `groundswell incident` ends."""
    out = await ran(scene, action, *arguments, "--by", "maria", "--wait", "60", "--json")
    return alert.decode(out)


async def muted_without_waiting(scene: harness.Scene, incident: str) -> None:
    assert await ran(scene, "mute", incident, "--by", "maria", "--for", "6h", "--no-wait") == b""


async def ran(scene: harness.Scene, *arguments: str) -> bytes:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
    settings = ["--settings", str(scene.folder / "groundswell.toml")]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams", *settings, "incident", *arguments,
        env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out


async def replayed(scene: harness.Scene) -> list[bytes]:
    """The alerts that a judge makes of the log."""
    rules = scene.settings.rules()
    judge = Judge(rules.incidents, rules.partitions)
    alerts: list[Alert] = []
    for record in await harness.read(scene, scene.topics.surges):
        said = command.decode_logged(record.value)
        alerts += judge.heed(said) if isinstance(said, command.Command) else judge.apply(said)
    return [alert.encode(each) for each in alerts]

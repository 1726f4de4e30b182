"""Reports over HTTP through a real worker to an alert, and what is told while Kafka is away."""

from __future__ import annotations

import os
import signal

import aiohttp
import msgspec
import pytest

from detectors import alert
from streams import broker, topics
from tests.kafka.server import free_port
from tests.pipeline import feeds, harness, posting

QUIET_MINUTES = 30 * 60
OUTAGE_MINUTES = 10
#: Minutes whose reports are posted together.
TOGETHER = 240


@pytest.mark.timeout(180)
async def test_reports_over_http_become_an_alert(stage: harness.Stage) -> None:
    port = free_port()
    scene = await stage.set_scene(
        http_ingest__tokens_file=str(posting.tokens(stage.folder)),
        http_ingest__port=port,
        http_ingest__reports_per_second=100_000.0,
    )
    lines = feed()

    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        async with aiohttp.ClientSession(headers=posting.HEADERS) as session:

            async def post(reports: list[bytes]) -> None:
                url = f"http://127.0.0.1:{port}/v1/reports"
                async with session.post(url, data=b"\n".join(reports)) as answer:
                    assert answer.status == 202, await answer.text()
                    assert (await answer.json())["accepted"] == len(reports)

            for begin in range(0, len(lines), TOGETHER):
                await post(lines[begin : begin + TOGETHER])
            # Each request goes to the next partition: all of them come to the end of the outage.
            last = feeds.report(at(QUIET_MINUTES + OUTAGE_MINUTES), "heartbeat", count=0)
            for _ in range(scene.partitions):
                await post([last])

        async def alerted() -> bool:
            return bool(await harness.alerts(scene))

        await harness.wait_until(alerted, 60, "there was an alert")
        metrics = await worker.metrics()
        counts = await harness.final_counts(scene)
        assert await worker.stop() == 0
        alerts = [alert.decode(value) for value in (await harness.alerts(scene)).values()]

    first = alerts[0]
    assert (first.state, first.service, first.sources) == (alert.State.OPEN, "WhatsApp", ["call centre"])
    assert {series.source for series, _ in counts} == {"call centre"}
    assert await harness.dead_letters(scene) == {}
    sent = len(lines) + scene.partitions
    assert metrics.total("groundswell_http_ingest_reports_total", source=posting.SOURCE) == sent
    assert metrics.total("groundswell_reports_counted_total") == sent


def at(minute: int) -> float:
    return feeds.DAY + minute * 60.0


def feed() -> list[bytes]:
    """Quiet, a report for each minute with its count, then ten times as many."""
    usual = (3, 6, 5, 4, 7)
    quiet = [feeds.report(at(n), "WhatsApp", count=usual[n * 7 % 5]) for n in range(QUIET_MINUTES)]
    down = range(QUIET_MINUTES, QUIET_MINUTES + OUTAGE_MINUTES)
    return quiet + [feeds.report(at(n), "WhatsApp", count=60) for n in down]


@pytest.mark.embedded
async def test_broker_that_hangs_is_told_and_what_was_told_is_true(stage: harness.Stage) -> None:
    async with broker._process(None, "127.0.0.1") as (address, process):
        scene = await msgspec.structs.replace(stage, broker=address).set_scene("hanging")
        async with posting.listening(scene, kafka_seconds=0.5) as poster, poster.posting():
            await told(poster, "in")
            os.kill(process.pid, signal.SIGSTOP)
            try:
                await told(poster, "unknown")
                await told(poster, "none")
            finally:
                os.kill(process.pid, signal.SIGCONT)
            await told(poster, "in")
        await posting.check(scene, poster)


@pytest.mark.embedded
async def test_broker_that_is_gone_is_told_at_once_and_none_is_taken(stage: harness.Stage) -> None:
    port = free_port()
    async with broker.running(port) as address:
        scene = await msgspec.structs.replace(stage, broker=address).set_scene("gone")
    async with posting.listening(scene, kafka_seconds=30.0) as poster:
        assert await poster.post() == "none"
        assert await poster.post() == "none"
        async with broker.running(port):
            # The new one knows nothing of the old one's topics.
            await topics.ensure(scene.settings)
            assert await poster.post() == "in"
            await posting.check(scene, poster)


async def told(poster: posting.Poster, what: str, seconds: float = 20) -> None:
    """Wait until this is told once more."""
    before = len(poster.told[what])

    async def again() -> bool:
        return len(poster.told[what]) > before

    await harness.wait_until(again, seconds, f"a client was told {what}", every_seconds=0.05)

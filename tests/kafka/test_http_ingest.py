"""Reports over HTTP while Apache Kafka hangs, and while it crashes: what clients are told is true of the topic."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.kafka import server
from tests.pipeline import harness, posting
from tests.pipeline.test_http_ingest import told

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


async def test_broker_that_crashes_loses_nothing_and_doubles_nothing_that_was_taken(tmp_path: Path) -> None:
    with server.running(tmp_path / "kafka") as kafka, contextlib.ExitStack() as later:
        scene = await harness.Stage(tmp_path, kafka.plaintext, embedded=False).set_scene()
        async with posting.listening(scene, kafka_seconds=2.0) as poster:
            async with poster.posting():
                await told(poster, "in")
                kafka.process.kill()
                await told(poster, "none")
                again = server.start_again(kafka)
                later.callback(again.wait)
                later.callback(again.kill)
                await told(poster, "in", seconds=60)
            await posting.check(scene, poster)


async def test_broker_that_hangs_doubles_nothing_that_was_taken(tmp_path: Path) -> None:
    with server.running(tmp_path / "kafka") as kafka:
        scene = await harness.Stage(tmp_path, kafka.plaintext, embedded=False).set_scene()
        async with posting.listening(scene, kafka_seconds=1.0) as poster, poster.posting():
            for _ in range(3):
                await told(poster, "in")
                os.kill(kafka.process.pid, signal.SIGSTOP)
                try:
                    await told(poster, "unknown")
                finally:
                    os.kill(kafka.process.pid, signal.SIGCONT)
            await told(poster, "in", seconds=60)
        await posting.check(scene, poster)


async def test_batch_that_is_too_large_for_kafka_is_told_and_none_of_it_is_taken(
    tmp_path: Path, kafka_server: server.Server
) -> None:
    scene = await harness.Stage(tmp_path, kafka_server.plaintext, embedded=False).set_scene()
    chance = random.Random(1)
    # Noise: zstd halves hexadecimal digits and no more, and Kafka takes a megabyte.
    report = b'{"service":"WhatsApp","x":"x","id":"%0200x"}'
    lines = b"\n".join(report % chance.getrandbits(800) for _ in range(12_000))
    async with posting.listening(scene, max_body_bytes=5_000_000, max_reports=20_000) as poster:
        async with (
            aiohttp.ClientSession() as session,
            session.post(poster.url, data=lines, headers=posting.HEADERS) as answer,
        ):
            body = await answer.json(content_type=None)
        assert (answer.status, body["taken"]) == (413, "none")
        assert await harness.read(scene, scene.topics.reports) == []
        assert await poster.post() == "in"

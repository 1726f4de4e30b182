"""What the tests of the whole pipeline do: set a scene, start and kill workers, send, and read what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import tomlkit
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord
from prometheus_client.parser import text_string_to_metric_families

from detectors import alert, command, counts, pipeline
from detectors.rollup import ALL
from detectors.series import Series
from streams import child, kafka, settings, topics
from tests.kafka.server import free_port

#: What goes to `reports`: partition and value.
Sent = tuple[int, bytes | None]
Feed = Sequence[Sent]
#: Records that go out together where a feed is spread over time.
PORTION = 200


class Scene(msgspec.Struct, frozen=True):
    """A topic prefix and a consumer group of a test's own on the shared broker, with the settings that say so."""

    folder: Path
    settings: settings.Settings
    topics: topics.Topics

    @property
    def partitions(self) -> int:
        """Partitions of `reports`."""
        return self.settings.topics.reports_partitions


class Stage(msgspec.Struct, frozen=True):
    """Where a test sets its scenes."""

    folder: Path
    broker: str
    embedded: bool

    async def set_scene(self, name: str = "scene", **changes: object) -> Scene:
        """A scene with its topics made and its settings in a groundswell.toml.

        changes: settings on top of the test's own, `__` for the dot: source__default__bucket_seconds=10.
        """
        folder = self.folder / name
        folder.mkdir()
        wanted: dict[str, object] = {
            "kafka__address": self.broker,
            "kafka__embedded": self.embedded,
            "kafka__group": "worker",
            "topics__prefix": f"{self.folder.name[:40]}-{name}-{uuid.uuid4().hex[:8]}-",
            "state__snapshot_seconds": 1.0,
            "log__level": "info",
            "log__format": "text",
        }
        document = tomlkit.document()
        for path, value in (wanted | changes).items():
            *sections, key = path.split("__")
            table: Any = document
            for section in sections:
                table = table.setdefault(section, tomlkit.table())
            table[key] = value
        file = folder / "groundswell.toml"
        file.write_text(tomlkit.dumps(document))
        loaded = settings.load(file, env={})
        await topics.ensure(loaded.settings)
        return Scene(folder, loaded.settings, topics.names(loaded.settings))


async def wait_until(
    condition: Callable[[], Awaitable[object]], seconds: float, what: str, *, every_seconds: float = 0.2
) -> None:
    """Ask `condition` again and again until it is true; AssertionError after that many seconds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}")
        await asyncio.sleep(every_seconds)


# --- workers ---


class Worker:
    """A worker process of a scene."""

    def __init__(self, scene: Scene, name: str = "worker") -> None:
        self.scene = scene
        self.port = free_port()
        self.log = scene.folder / f"{name}-{self.port}.log"
        # A process must not take a setting from the shell that the tests run in.
        env = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
        env |= {"GROUNDSWELL_WEB_PORT": str(self.port), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        command = [sys.executable, "-m", "streams", "--settings", str(scene.folder / "groundswell.toml"), "worker"]
        self.process: subprocess.Popen[bytes] = child.start(command, env=env, log=self.log)

    async def ready(self, seconds: float = 60.0) -> None:
        """Wait until it has its partitions and their state."""
        await wait_until(self._is_ready, seconds, "the worker was ready")

    async def _is_ready(self) -> bool:
        self.check_alive()
        return await self._status("/readyz") == 200

    async def _status(self, path: str) -> int:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with _http() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status
        return 0

    async def healthy(self) -> bool:
        """Whether /healthz is green."""
        return await self._status("/healthz") == 200

    async def metrics(self) -> Metrics:
        """What /metrics says now."""
        async with _http() as session, session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
            return Metrics.parse(await answer.text())

    def check_alive(self) -> None:
        """AssertionError if the process has ended."""
        if self.process.poll() is not None:
            raise AssertionError(f"the worker ended by itself, exit code {self.process.returncode}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    async def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; the exit code. AssertionError if it does not end in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                return await child.ended(self.process)
        except TimeoutError:
            raise AssertionError(f"the worker did not end within {seconds:.0f} s of SIGTERM") from None

    def shown(self) -> str:
        """The end of its log, for a failed test's report."""
        return f"--- {self.log.name} (exit code {self.process.poll()})\n{child.tail(self.log, 60)}"


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))


@contextlib.asynccontextmanager
async def workers(scene: Scene) -> AsyncIterator[Callable[[], Worker]]:
    """Starts workers by the call of what it gives; all are ended with the block, their logs shown if it fails."""
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(scene, f"worker{len(started) + 1}"))
        return started[-1]

    try:
        yield start
    except BaseException as error:
        for worker in started:
            error.add_note(worker.shown())
        raise
    finally:
        for worker in started:
            if worker.process.poll() is None:
                worker.kill()


class Metrics(msgspec.Struct, frozen=True):
    """The samples of a page of metrics: value by name and labels."""

    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @classmethod
    def parse(cls, text: str) -> Metrics:
        families = text_string_to_metric_families(text)
        samples = (sample for family in families for sample in family.samples)
        return cls({(s.name, frozenset(s.labels.items())): s.value for s in samples})

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of this name that bear these labels; 0 where there is none."""
        wanted = set(labels.items())
        return sum(value for (key, has), value in self.samples.items() if key == name and wanted <= has)

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The samples of this name that bear these labels, by the value of one more."""
        wanted = set(labels.items())
        return {dict(has)[label]: value for (key, has), value in self.samples.items() if key == name and wanted <= has}


# --- what goes in ---


@contextlib.asynccontextmanager
async def producer(scene: Scene) -> AsyncIterator[AIOKafkaProducer]:
    sender = AIOKafkaProducer(**kafka.client_options(scene.settings), acks="all")
    await sender.start()
    try:
        yield sender
    finally:
        await sender.stop()


async def send(scene: Scene, records: Iterable[Sent]) -> None:
    """Send (partition, value) pairs to `reports`, those of a partition in their order; confirmed when it returns."""
    async with producer(scene) as sender:
        await _send(sender, scene.topics.reports, records)


async def send_commands(scene: Scene, values: Iterable[bytes | None]) -> None:
    """Send to `incident-commands`, in this order; confirmed when it returns."""
    async with producer(scene) as sender:
        for value in values:
            await sender.send_and_wait(scene.topics.commands, value, key=b"any", partition=0)


async def pour(scene: Scene, records: Feed, *, per_second: float) -> None:
    """Send as `send` does, but evenly over time."""
    began = time.monotonic()
    async with producer(scene) as sender:
        for begin in range(0, len(records), PORTION):
            await asyncio.sleep(max(0.0, began + begin / per_second - time.monotonic()))
            await _send(sender, scene.topics.reports, records[begin : begin + PORTION])


def by_partition(records: Iterable[Sent]) -> dict[int, list[bytes | None]]:
    """The values of each partition, in their order."""
    found: dict[int, list[bytes | None]] = {}
    for partition, value in records:
        found.setdefault(partition, []).append(value)
    return dict(sorted(found.items()))


async def _send(sender: AIOKafkaProducer, topic: str, records: Iterable[Sent]) -> None:
    # Batches of our own: `send` costs a future a record.
    waiting = []
    for partition, values in by_partition(records).items():
        batch = sender.create_batch()
        for value in values:
            stamp = time.time_ns() // 1_000_000
            if batch.append(key=None, value=value, timestamp=stamp) is None:
                waiting.append(await sender.send_batch(batch, topic, partition=partition))
                batch = sender.create_batch()
                assert batch.append(key=None, value=value, timestamp=stamp), "a value does not fit into a batch"
        waiting.append(await sender.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*waiting)


# --- what comes out ---


async def read(scene: Scene, topic: str) -> list[ConsumerRecord]:
    """All records of a topic, by partition and offset.

    Up to the high watermark of the fetch answers: the embedded broker's answer to ListOffsets is wrong.
    """
    # Nothing comes before the first fetch answers, and an empty partition's says so only after fetch_max_wait_ms.
    consumer = AIOKafkaConsumer(
        **kafka.client_options(scene.settings),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
    )
    await consumer.start()
    try:
        numbers = await _partitions(consumer, topic)
        tps = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        found: list[ConsumerRecord] = []
        unread = set(tps)
        while unread:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                found.extend(records)
            for tp in list(unread):
                end = consumer.highwater(tp)
                if end is not None and await consumer.position(tp) >= end:
                    unread.discard(tp)
                    consumer.pause(tp)
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    consumer.subscribe([topic])
    await consumer._client.force_metadata_update()
    numbers = consumer.partitions_for_topic(topic)
    consumer.unsubscribe()
    if not numbers:
        raise AssertionError(f"there is no topic {topic}")
    return sorted(numbers)


async def final_counts(scene: Scene) -> Counter[tuple[Series, int]]:
    """Reports by (series, tick): of each chunk of an input partition the message that reaches furthest.

    The sums over all services have to be those of the series; they are left out.
    """
    furthest: dict[tuple[int, int, int], counts.ChunkCounts] = {}
    for record in await read(scene, scene.topics.counts):
        message = counts.decode_counts(record.value)
        key = (record.partition, message.partition, message.start)
        if key not in furthest or message.upto > furthest[key].upto:
            furthest[key] = message
    total: Counter[tuple[Series, int]] = Counter()
    for message in furthest.values():
        for row, tick, count in zip(message.rows, message.ticks, message.counts, strict=True):
            total[message.series[row], tick] += count
    sums, overall = Counter[tuple[str, str, int]](), Counter[tuple[str, str, int]]()
    for (series, tick), count in total.items():
        (overall if series.service == ALL else sums)[series.source, series.region, tick] += count
    assert overall == sums
    return Counter({key: count for key, count in total.items() if key[0].service != ALL})


async def counted_up_to(scene: Scene) -> dict[int, int]:
    """By input partition, the offset up to which counts are with all of detect: that offset itself is not in them."""
    reached: dict[tuple[int, int], int] = {}
    for record in await read(scene, scene.topics.counts):
        message = counts.decode_counts(record.value)
        key = (message.partition, record.partition)
        reached[key] = max(reached.get(key, 0), message.upto)
    least: dict[int, int] = {}
    for (partition, _), upto in reached.items():
        least[partition] = min(least.get(partition, upto), upto)
    return least


async def alerts(scene: Scene) -> dict[tuple[str, int], bytes]:
    """The alerts by id and sequence, in the order they came first. AssertionError where a repeat has other bytes."""
    seen: dict[tuple[str, int], bytes] = {}
    for record in await read(scene, scene.topics.alerts):
        said = alert.decode(record.value)
        first = seen.setdefault((said.id, said.sequence), record.value)
        assert first == record.value, f"alert {said.id} {said.sequence} was repeated with other bytes"
    return seen


class DeadLetter(msgspec.Struct, frozen=True):
    """A record of `reports-dead-letter`, without its origin."""

    reason: str
    path: str
    value: bytes | None


async def dead_letters(scene: Scene) -> dict[tuple[int, int], DeadLetter]:
    """The dead letters by partition and offset in `reports`. AssertionError where a repeat differs."""
    seen: dict[tuple[int, int], DeadLetter] = {}
    for record in await read(scene, scene.topics.dead_letter):
        headers = {name: value.decode() for name, value in record.headers}
        assert headers["topic"] == scene.topics.reports
        origin = int(headers["partition"]), int(headers["offset"])
        letter = DeadLetter(headers["reason"], headers["path"], record.value)
        first = seen.setdefault(origin, letter)
        assert first == letter, f"the dead letter of {origin} was repeated differently: {first}, then {letter}"
    return seen


class Outcome(msgspec.Struct, frozen=True):
    """What a run comes to, repeats left out."""

    counts: Counter[tuple[Series, int]]
    alerts: dict[tuple[str, int], bytes]
    dead_letters: dict[tuple[int, int], DeadLetter]


def given(result: Outcome | BaseException) -> Outcome:
    """The outcome, or what went wrong instead."""
    if isinstance(result, BaseException):
        raise result
    return result


async def outcome(scene: Scene) -> Outcome:
    return Outcome(await final_counts(scene), await alerts(scene), await dead_letters(scene))


def decide(scene: Scene, records: Feed) -> tuple[pipeline.Pipeline, list[bytes]]:
    """What the same records come to without Kafka: the pipeline they went through, and the alerts in order."""
    whole = pipeline.Pipeline(scene.settings.rules())
    now = time.time_ns() // 1_000_000
    said: list[bytes] = []
    for begin in range(0, len(records), PORTION):
        for partition, values in by_partition(records[begin : begin + PORTION]).items():
            said.extend(whole.read(partition, values, [now] * len(values)))
    return whole, said


async def all_counted(
    scene: Scene, records: Iterable[Sent], seconds: float = 60.0, *, every_seconds: float = 0.2
) -> None:
    """Wait until the counts of all these records, the whole of the scene's input, are with detect."""
    wanted = Counter(partition for partition, _ in records)

    async def counted() -> bool:
        reached = await counted_up_to(scene)
        return all(reached.get(partition, 0) >= end for partition, end in wanted.items())

    await wait_until(counted, seconds, f"reports were counted up to {dict(wanted)}", every_seconds=every_seconds)


async def all_decided(scene: Scene, through: int, alerted: Iterable[bytes], seconds: float = 60.0) -> None:
    """Wait until detect told the judge of all ticks up to `through` (ms), and of `alerted` as many alerts are there."""
    wanted = len(list(alerted))

    async def decided() -> bool:
        reached: dict[int, int] = {}
        for record in await read(scene, scene.topics.surges):
            surge = command.decode_logged(record.value)
            if isinstance(surge, command.Command):
                continue
            reached[surge.partition] = max(reached.get(surge.partition, 0), surge.through)
        return (
            len(reached) == scene.settings.topics.partitions
            and min(reached.values()) >= through
            and len(await alerts(scene)) >= wanted
        )

    await wait_until(decided, seconds, f"all ticks up to {through} were decided on and {wanted} alerts were there")

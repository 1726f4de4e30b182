"""`groundswell demo`: embedded broker, worker and a feed of reports in one command; watch a service break."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import aiohttp
import msgspec
import tomlkit
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from prometheus_client.parser import text_string_to_metric_families

from detectors.ours import OursRule
from detectors.report import Report
from detectors.source import SourceRule
from streams import broker, child, story, tail, topics, tweets
from streams.console import out
from streams.fault import Fault
from streams.feed import Record
from streams.kafka import client_options, heed
from streams.screen import Screen
from streams.send import Delivery
from streams.settings import Loaded, Settings, load
from streams.story import Batch

REPORTS_PARTITIONS = 4
#: One worker detects all: more partitions would only make three weeks of history take longer.
PARTITIONS = 1
#: The day's five hours in less than two minutes.
STORY_SPEED = 180.0
#: Told from here on: a quarter of an hour of ordinary life, so that the outage comes soon.
TOLD_FROM = story.ms(story.OUTAGE_START) - 15 * 60_000
#: What came within it goes out together.
PACE_SECONDS = 0.1
#: How far the last heartbeat lies after the end, so that the last bucket of every source closes.
AFTER_MS = 60_000
#: Its metrics are looked at so often; those of lag it brings up to date once a second.
LOOK_SECONDS = 0.25
SURE_LOOKS = 10
#: How long a worker may take from one sign of progress to the next.
PATIENCE_SECONDS = 120.0


class DemoError(Fault):
    """The demo cannot go on."""


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """A feed to show. before: at full speed; told: by the clock, its alerts one by one. Times in ms.

    heartbeat: a report of a series of the feed, its count 0. ours: what of it is our own.
    speed: how fast the clock runs; None for full speed.
    """

    title: str
    before: Iterable[Batch]
    told: Iterable[Batch]
    start: int
    told_from: int
    end: int
    sources: dict[str, SourceRule]
    heartbeat: Report
    speed: float | None
    ours: OursRule = OursRule()


def outage() -> Feed:
    """The WhatsApp outage of 25 October 2022, after three weeks of ordinary life."""
    hours = story.reports(story.START, story.END)
    before, told = _split(hours, TOLD_FROM)
    return Feed(
        title="WhatsApp, 25 October 2022: three weeks of reports, then the day itself",
        before=before,
        told=told,
        start=story.ms(story.START),
        told_from=TOLD_FROM,
        end=story.ms(story.END),
        sources={
            story.SITE: SourceRule(),
            story.CONTACT_CENTRE: SourceRule(bucket_seconds=story.CONTACT_SECONDS),
        },
        heartbeat=Report(story.BROKEN, region="it/lazio", source=story.SITE, count=0),
        speed=STORY_SPEED,
        ours=OursRule(
            services=(story.OPERATOR,),
            sources=(story.CONTACT_CENTRE,),
            total=story.CONTACTS,
            cost_per_contact=story.EURO_A_CONTACT,
            time_zone="Europe/Rome",
        ),
    )


def two_months_of_tweets() -> Feed:
    """The real volumes of tweets about five companies."""
    batches = list(_batches(tweets.reports()))
    start, end = batches[0].times[0], batches[-1].times[-1]
    return Feed(
        title="Tweets about five companies, February to April 2015",
        before=(),
        told=batches,
        start=start,
        told_from=start,
        end=end,
        sources={tweets.SOURCE: tweets.TWEETS},
        heartbeat=Report("Amazon", source=tweets.SOURCE, count=0),
        speed=None,
    )


FEEDS = {"outage": outage, "tweets": two_months_of_tweets}


def _split(batches: Iterator[Batch], at: int) -> tuple[Iterator[Batch], Iterator[Batch]]:
    """The reports before `at`, ms, and those from it on. The first has to be used up before the second."""
    rest: list[Batch] = []

    def first() -> Iterator[Batch]:
        for batch in batches:
            cut = bisect_right(batch.times, at - 1)
            yield Batch(batch.values[:cut], batch.times[:cut])
            if cut < len(batch.times):
                rest.append(Batch(batch.values[cut:], batch.times[cut:]))
                return

    def second() -> Iterator[Batch]:
        yield from rest
        yield from batches

    return first(), second()


def _batches(reports: Iterator[bytes], size: int = 500) -> Iterator[Batch]:
    decoder = msgspec.json.Decoder(Report)
    values: list[bytes] = []
    times: list[int] = []
    for value in reports:
        values.append(value)
        times.append(story.ms(decoder.decode(value).time))  # type: ignore[arg-type]
        if len(values) == size:
            yield Batch(values, times)
            values, times = [], []
    if values:
        yield Batch(values, times)


def run(loaded: Loaded, *, feed: str, once: bool, speed: float | None) -> int:
    """Tell the story of `feed`, a key of FEEDS. 0, or 1 where no alert was seen. Ctrl-C is a clean stop: 0.

    once: stop at its end; without a terminal it always does, and goes at full speed.
    speed: how many times faster than the reports' own clock; None as the feed is told best. Raises Fault.
    """
    once = once or not out.is_terminal
    chosen = FEEDS[feed]()
    if speed is not None or once:
        chosen = msgspec.structs.replace(chosen, speed=speed)
    try:
        return asyncio.run(_play(loaded, chosen, once))
    except (KeyboardInterrupt, asyncio.CancelledError):
        out.print("stopped")
        return 0


async def _play(loaded: Loaded, feed: Feed, once: bool) -> int:
    child.cancel_on_signals()
    screen = Screen(feed.title, feed.start, feed.told_from, feed.end)
    async with broker.running() as address:
        with _folder() as folder:
            settings = settings_for(folder, loaded.settings, address, feed)
            await topics.ensure(settings)
            async with _worker(folder, settings) as worker:
                screen.begin(worker.url, address)
                try:
                    await _show(settings, feed, worker, screen, once)
                except* (Fault, KafkaError) as failures:
                    raise failures.exceptions[0] from None
                finally:
                    screen.close()
    return 0 if screen.alerts_told else 1


async def _show(settings: Settings, feed: Feed, worker: _Worker, screen: Screen, once: bool) -> None:
    async with asyncio.TaskGroup() as group:
        beside = (group.create_task(worker.watch(screen)), group.create_task(_follow(settings, screen)))
        await _tell(settings, feed, worker, screen)
        screen.close()
        screen.summary()
        if not once:
            screen.hint("The page stays up. Ctrl-C stops everything.")
            await asyncio.Event().wait()
        for task in beside:
            task.cancel()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is gone afterwards, unless the demo failed: the worker's log is in it."""
    folder = Path(tempfile.mkdtemp(prefix="groundswell-demo-"))
    keep = False
    try:
        yield folder
    except Exception:
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def settings_for(folder: Path, given: Settings, address: str, feed: Feed) -> Settings:
    """Those of the demo, in a file for the worker: its own broker and topics, the user's detectors and judgement."""
    document = {
        "kafka": {"address": address, "embedded": True},
        "topics": {"partitions": PARTITIONS, "reports_partitions": REPORTS_PARTITIONS},
        "source": feed.sources,
        "surge": given.surge,
        "incidents": given.incidents,
        "ours": feed.ours,
        "detectors": given.detectors,
        "web": {"host": given.web.host, "port": _port(given.web.host, given.web.port)},
        "log": {"level": given.log.level, "format": "text"},
    }
    file = folder / "groundswell.toml"
    tables = {section: _without_none(each) for section, each in msgspec.to_builtins(document).items()}
    file.write_text(tomlkit.dumps(tables), encoding="utf-8")
    return load(file, env={}).settings


def _without_none(value: object) -> object:
    """TOML knows no null: left out, a setting keeps its default."""
    if isinstance(value, dict):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, list | tuple) else value


def _port(host: str, wanted: int) -> int:
    """`wanted` if we can listen there, else a free port."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server((host, port)) as probe:
            return int(probe.getsockname()[1])
    return wanted


class _Worker:
    """The worker process, and what its /metrics say."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str, session: aiohttp.ClientSession) -> None:
        self._process = process
        self._log = log
        self._session = session
        self.url = url
        #: Event time up to which it has decided everything, ms; 0 before it says so.
        self.decided = 0
        #: Records that its stages have before them; alerts it has sent.
        self.lag = 0
        self.alerts = 0
        self._looks = 0

    async def watch(self, screen: Screen) -> None:
        """Keep the figures up to date, until cancelled. DemoError where the process ends."""
        while self._process.poll() is None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self._session.get(f"{self.url}/metrics") as answer:
                    self._read(await answer.text())
                    screen.decided(self.decided)
            await asyncio.sleep(LOOK_SECONDS)
        raise DemoError(
            f"the worker ended, exit code {self._process.returncode}",
            child.tail(self._log),
            f"Its whole log: {self._log}",
        )

    def _read(self, text: str) -> None:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

        def total(name: str) -> float:
            return sum(sample.value for sample in samples if sample.name == name)

        self.decided = round(total("groundswell_watermark_timestamp_seconds") * 1000)
        self.lag = round(total("groundswell_input_lag_records"))
        self.alerts = round(total("groundswell_alerts_total"))
        self._looks += 1

    async def until(self, reached: Callable[[], bool], what: str, *, looks: int = 1) -> None:
        """Wait until `reached` at so many looks at the metrics in a row.

        DemoError where the worker shows no progress for PATIENCE_SECONDS.
        """
        progress, since, first = (-1, -1), time.monotonic(), None
        while True:
            if not reached():
                first = None
            elif first is None:
                first = self._looks
            if first is not None and self._looks - first >= looks - 1:
                return
            if progress != (self.decided, self.alerts):
                progress, since = (self.decided, self.alerts), time.monotonic()
            if time.monotonic() - since > PATIENCE_SECONDS:
                raise DemoError(
                    f"the worker got stuck before it had {what}",
                    f"No progress for {PATIENCE_SECONDS:.0f} s. Its log ends with:\n{child.tail(self._log)}",
                    f"Its whole log: {self._log}",
                )
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def _worker(folder: Path, settings: Settings) -> AsyncIterator[_Worker]:
    # A process must not take a setting from the shell: its broker might be a real one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GROUNDSWELL_")}
    command = [sys.executable, "-m", "streams", "--settings", str(folder / "groundswell.toml"), "worker"]
    log = folder / "worker.log"
    host = "127.0.0.1" if settings.web.host in ("0.0.0.0", "::") else settings.web.host
    process = child.start(command, env=env, log=log)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            yield _Worker(process, log, f"http://{host}:{settings.web.port}", session)
    finally:
        # Nothing of it is kept: while it is busy reading, it need not end in order.
        await child.stop(process, grace_seconds=2.0)


async def _follow(settings: Settings, screen: Screen) -> None:
    """Show the alerts as their topic gets them, until cancelled."""
    async for alert in tail.alerts(settings, from_start=True, follow=True):
        screen.alert(alert)


async def _tell(settings: Settings, feed: Feed, worker: _Worker, screen: Screen) -> None:
    """Send the feed; returns when the worker has decided on all of it and we have seen its alerts."""
    producer = AIOKafkaProducer(
        **client_options(settings), acks="all", compression_type="zstd", enable_idempotence=False
    )
    try:
        await producer.start()
        sender = _Sender(producer, topics.names(settings).reports, feed.heartbeat)
        await sender.beat(feed.start)
        for batch in feed.before:
            await sender.send(batch, 0, len(batch.times))
            screen.sent(sender.reports, batch.times[-1] if batch.times else feed.told_from)
        await sender.beat(feed.told_from - 1)
        if feed.told_from > feed.start:
            await worker.until(lambda: worker.decided >= feed.told_from - AFTER_MS, "read what came before")
            screen.tell()
        async for batch, begin, end in paced(feed.told, feed.told_from, feed.speed):
            await sender.send(batch, begin, end)
            screen.sent(sender.reports, batch.times[end - 1])
        await sender.beat(feed.end + AFTER_MS)
        await worker.until(lambda: worker.decided >= feed.end, "read the whole feed")
        # All of it is scored; the last surges may still be on their way to the judge, and its alerts on theirs to us.
        await worker.until(
            lambda: worker.lag == 0 and worker.alerts <= screen.alerts_seen,
            "written the last alerts",
            looks=SURE_LOOKS,
        )
    finally:
        await heed(producer.stop())


async def paced(batches: Iterable[Batch], start: int, speed: float | None) -> AsyncIterator[tuple[Batch, int, int]]:
    """The reports in runs (batch, begin, end), each when it is due.

    start: what the clock, which runs `speed` times as fast as ours, shows now, ms. speed: None for no waiting.
    """
    began = time.monotonic()
    for batch in batches:
        begin, length = 0, len(batch.times)
        while begin < length:
            end = length
            if speed is not None:
                now = start + (time.monotonic() - began) * 1000 * speed
                end = bisect_right(batch.times, now, begin)
            if end > begin:
                yield batch, begin, end
                begin = end
            if begin < length:
                await asyncio.sleep(PACE_SECONDS)


class _Sender:
    """Reports to the partitions of `reports`, in turn, so that none runs ahead of the others in event time.

    reports: sent so far, heartbeats left out.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str, heartbeat: Report) -> None:
        self._delivery = Delivery(producer, topic, REPORTS_PARTITIONS)
        self._heartbeat = heartbeat
        self.reports = 0

    async def send(self, batch: Batch, begin: int, end: int) -> None:
        """Send this run of the batch; returns when the broker has it."""
        values = batch.values[begin:end]
        await self._deliver(
            Record((self.reports + n) % REPORTS_PARTITIONS, value, None) for n, value in enumerate(values)
        )
        self.reports += len(values)

    async def beat(self, ms: int) -> None:
        """Tell every partition that it is `ms`: one without reports would hold back the others."""
        value = msgspec.json.encode(msgspec.structs.replace(self._heartbeat, time=ms))
        await self._deliver(Record(partition, value, ms, heartbeat=True) for partition in range(REPORTS_PARTITIONS))

    async def _deliver(self, records: Iterable[Record]) -> None:
        await self._delivery.add(list(records))
        await self._delivery.flush()
        await self._delivery.settled()

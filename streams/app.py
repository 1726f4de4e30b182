"""The Faust app: the stages in the order of the data, with what surrounds them.

`groundswell worker` runs it; `faust -A streams.app worker` does the same with settings from file and environment.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from time import monotonic, time
from typing import Any

import faust
import structlog
from faust.types import TP
from prometheus_client import CollectorRegistry

from detectors.snapshot import Mismatch
from streams import log as logs
from streams import tail, topics
from streams.commands import Commands
from streams.detect import Detect
from streams.fault import Fault
from streams.gauges import HealthGauges, IncidentGauges, SeriesGauges
from streams.health import Health
from streams.http_ingest.server import HttpIngest
from streams.ingest import Ingest
from streams.judge import JudgeStage
from streams.kafka import end_offsets, faust_options
from streams.metrics import Metrics
from streams.notify.agent import Agent
from streams.notify.journal import Journal
from streams.notify.receivers import receiver
from streams.notify.settings import unreadable
from streams.saying import Speaker
from streams.settings import Loaded, Settings, from_environment
from streams.state import StateTable
from streams.tokens import TokensFile, watch
from streams.transport import Records, Stage, Transport
from streams.web.access import Access
from streams.web.incidents import IncidentView
from streams.web.server import Served, make_app, serve

#: Records of a partition that a fetch brings at most: large fetches spread Faust's cost per message.
FETCH_BYTES = 4 * 1024 * 1024
#: Fetches that wait in front of a stage; more would only be memory.
BUFFERED_FETCHES = 4
#: Counts and snapshot blocks are up to half a megabyte: a batch of the producer has room for one.
BATCH_BYTES = 1024 * 1024
#: A dead letter carries a record of any size that Kafka takes, and its reason; a tick in which thousands of series
#: surge takes several megabytes.
REQUEST_BYTES = topics.SURGES_BYTES
#: More than the records of a few fetches, which are too many for Python's 700 to be worth a look.
YOUNG_OBJECTS = 100_000

# What happens where a partition has no snapshot that can be used.
_INGEST_ANEW = (
    "reports are read again from the earliest that the topic keeps; what is counted already is not counted again, "
    "what is rejected goes to the dead letters again"
)
_DETECT_ANEW = (
    "detection learns anew from the earliest counts that report-counts keeps; what `groundswell seed` brought is lost: "
    "to have it back, stop the workers and seed again with --replace"
)
_JUDGE_ANEW = "incidents are judged anew from the earliest surges that the topic keeps; their alerts come again"

log = structlog.get_logger(__name__)


class App(faust.App):  # type: ignore[misc]
    """The stages, and the status page beside them."""

    def __init__(self, settings: Settings, *, topics_ready: bool = False) -> None:
        """topics_ready: the topics are looked after already. Fault where a file of secrets cannot be used."""
        super().__init__(
            topics.app_id(settings),
            **faust_options(settings),
            store="memory://",
            autodiscover=False,
            web_enabled=False,
            key_serializer="raw",
            value_serializer="raw",
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=FETCH_BYTES,
            producer_max_batch_size=BATCH_BYTES,
            producer_max_request_size=REQUEST_BYTES,
            stream_buffer_maxsize=BUFFERED_FETCHES,
            # Positions are the stages' own: waiting for acknowledgements would only hang a rebalance.
            stream_wait_empty=False,
            table_standby_replicas=0,
            topic_allow_declare=False,
            topic_disable_leader=True,
        )
        self.settings = settings
        self._topics_ready = topics_ready
        self.metrics = Metrics(CollectorRegistry())
        self.health = Health()
        self.view = IncidentView()
        self.fault: Fault | None = None
        self._served: Served | None = None
        self._journal = Journal(settings)
        self._speaker = Speaker(settings)
        # Secrets are read here: `groundswell send`, say, need not be able to.
        for fault in unreadable(settings.destinations):
            raise fault
        people = settings.web.tokens_file
        self._tokens = TokensFile(people, "web.tokens_file") if people is not None else None
        wanted = settings.http_ingest.tokens_file is not None
        self._http_ingest = HttpIngest(settings, self.metrics) if wanted else None
        self._revoked_at = monotonic()
        rules, names = settings.rules(), topics.names(settings)
        states = {
            stage: StateTable(
                self,
                stage,
                partitions,
                seconds=settings.state.snapshot_seconds,
                anew=anew,
                metrics=self.metrics,
            )
            for stage, partitions, anew in (
                ("ingest", rules.reports_partitions, _INGEST_ANEW),
                ("detect", rules.partitions, _DETECT_ANEW),
                ("judge", 1, _JUDGE_ANEW),
            )
        }
        detect = Detect(self, rules, names, states["detect"], self.metrics, self.health)
        judge = JudgeStage(self, rules, names, states["judge"], self.metrics, self.health)
        self._stages: dict[str, Ingest | Detect | Commands | JudgeStage] = {
            names.reports: Ingest(self, rules, names, states["ingest"], self.metrics, self.health),
            names.counts: detect,
            names.commands: Commands(self, names, self.metrics, self.health),
            names.surges: judge,
        }
        for gauges in (
            HealthGauges(self.health, time),
            IncidentGauges(judge.open_now, judge.silent, settings.metrics.incidents),
            SeriesGauges(detect.busiest, settings.metrics.busiest_series),
        ):
            self.metrics.registry.register(gauges)

        transport: Transport = self.transport
        if settings.kafka.embedded:
            transport.true_ends = partial(end_offsets, settings)
        for name, stage in self._stages.items():
            # A topic of commands that was made anew is read from its begin: no state depends on it.
            transport.opt_in(name, stage if isinstance(stage, Commands) else _Checked(self, name, stage))
            self.agent(self.topic(name, schema=Records()), name=f"groundswell.{type(stage).__name__}")(
                self._reading(stage.handle)
            )
            self.task(stage.run)
        self.on_partitions_assigned.connect(self._on_assigned)
        self.on_partitions_revoked.connect(self._on_revoked)

    async def check_ends(self, topic: str, positions: Mapping[int, int]) -> None:
        """Kafka would begin anew without a word where a topic ends before the state's position."""
        ends = await self.consumer.highwaters(*(TP(topic, partition) for partition in positions)) if positions else {}
        for partition, offset in positions.items():
            end = ends[TP(topic, partition)]
            if offset > (end or 0):
                raise Fault(
                    f"partition {partition} of topic {topic} ends at {end}, but {offset} records of it are dealt with",
                    "The topic was deleted and made anew, or lost records.",
                    "Delete the topics of the state, too (see `groundswell topics`), or give another kafka.group.",
                )

    async def end(self, fault: Fault) -> None:
        """End the worker for a reason that is told without a traceback."""
        self.fault = fault
        await self.crash(fault)

    def _reading(self, handle: Callable[[int, Sequence[Any]], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        async def agent(stream: Any) -> None:
            async for event in stream.events():
                message = event.message
                if message.value.epoch != self.consumer.epoch:
                    continue  # from before the last rebalance: it is read again
                try:
                    await handle(message.partition, message.value.records)
                except Exception as error:
                    # Faust would skip the event and go on. Exactness needs the opposite: stop, and read it again.
                    log.exception("a stage failed; the worker stops and has to be started again", error=str(error))
                    await self.crash(error)
                    raise

        return agent

    async def on_first_start(self) -> None:
        """Topics first; then the page, so that it can tell of the recovery. Faust's data folder is not needed."""
        _collect_seldom()
        if self.settings.topics.create and not self._topics_ready:
            await topics.ensure(self.settings)
        web = self.settings.web
        access = Access(web, {})
        if self._tokens is not None:
            access.heed(self._tokens.tokens)
            self.add_future(watch(self._tokens, access.heed))
        site = make_app(
            view=self.view,
            registry=self.metrics.registry,
            health=self.health,
            now=time,
            access=access,
            send=self._speaker.send,
            catalogued=self.settings.catalogued.services,
        )
        try:
            self._served = await serve(site, web.host, web.port)
            if self._http_ingest is not None:
                await self._http_ingest.start()
        except Fault as fault:
            await self.end(fault)
            raise
        log.info("status page", url=self._served.url, metrics=f"{self._served.url}/metrics")
        self.add_future(self._follow_alerts())
        for name, destination in self.settings.destinations.items():
            carries = receiver(destination, self.settings.notify, page_url=web.public_url)
            self.add_future(Agent(name, carries, self.settings, self._journal, self.metrics).run())

    async def on_shutdown(self) -> None:
        """The page goes last."""
        await super().on_shutdown()
        await self._journal.close()
        if self._http_ingest is not None:
            await self._http_ingest.close()
        if self._served is not None:
            await self._served.close()
        await self._speaker.close()

    async def _follow_alerts(self) -> None:
        async for alert in tail.alerts(self.settings, from_start=True, follow=True):
            self.view.apply(alert)

    async def _on_revoked(self, *_: Any, **__: Any) -> None:
        self.health.recovered(False)
        self._revoked_at = monotonic()

    async def _on_assigned(self, _sender: Any, assigned: set[TP], **_: Any) -> None:
        for topic, stage in self._stages.items():
            stage.release(frozenset(tp.partition for tp in assigned if tp.topic == topic))
        self.health.assigned(True)

    def on_rebalance_end(self) -> None:
        """Faust calls it when partitions are assigned, tables recovered, and records flow."""
        super().on_rebalance_end()
        self.health.recovered(True)
        seconds = monotonic() - self._revoked_at
        self.metrics.recovery_seconds.set(seconds)
        log.info("worker ready", seconds=round(seconds, 1))


def _collect_seldom() -> None:
    """Python's garbage collector would look through all modules again and again for the many records of a fetch.

    Those go without it, when nobody refers to them. Measured: 218,000 reports a second instead of 150,000.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)


class _Checked:
    """A stage of which is told what cannot go on, as a fault that ends the worker."""

    def __init__(self, app: App, topic: str, stage: Stage) -> None:
        self._app = app
        self._topic = topic
        self._stage = stage
        self.positions = stage.positions

    async def resume(self, assigned: frozenset[int]) -> Mapping[int, int]:
        """As the stage's."""
        try:
            positions = await self._stage.resume(assigned)
            await self._app.check_ends(self._topic, positions)
        except Mismatch as error:
            await self._app.end(
                Fault(
                    f"the state behind topic {self._topic} cannot be taken up",
                    str(error),
                    "Run the version and the settings that it was made with, or delete the topics of the state "
                    "(see `groundswell topics`): detection then learns anew from what is kept in the others.",
                )
            )
            raise
        except Fault as fault:
            await self._app.end(fault)
            raise
        return positions


def run_worker(loaded: Loaded) -> int:
    """Run a worker until it is stopped; returns the exit code."""
    if loaded.settings.topics.create:
        # Here already, so that what is wrong with them is told before a worker starts.
        asyncio.run(topics.ensure(loaded.settings))
    app = App(loaded.settings, topics_ready=True)
    worker = faust.Worker(
        app,
        quiet=True,
        loglevel=loaded.settings.log.level.upper(),
        logging_config=logs.configure(loaded.settings.log),
        redirect_stdouts=False,
    )
    try:
        worker.execute_from_commandline()
    except SystemExit as stopped:
        if app.fault is not None:
            raise app.fault from None
        return stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
    return 0


def __getattr__(name: str) -> App:
    # `faust -A streams.app` looks for `app`; a plain import of this module reads no settings.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    app = App(from_environment().settings)
    globals()["app"] = app
    return app

"""Notify agent: alerts → one destination. A consumer group of its own, so that no destination waits for another."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from random import random
from time import time

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from detectors import alert as alert_record
from detectors.alert import Alert
from detectors.delivery import Action, Delivery, Dispatch, Outcome
from streams.fault import Fault
from streams.kafka import client_options, group_options, heed, records_of
from streams.metrics import Metrics
from streams.notify.answer import Answer, Failed, Receiver, Refused, Taken
from streams.notify.journal import Journal
from streams.settings import Settings
from streams.topics import app_id, names

#: How long a fetch may wait for the first record.
WAIT_MS = 500
#: After a fault of Kafka's the agent starts anew so much later, seconds.
RESTART_SECONDS = 2.0
#: A delivery that is under way when the partition goes to another worker may take so much longer, seconds: what is cut
#: off is delivered twice.
HAND_OVER_SECONDS = 2.0
#: What a feed may be late beyond its lateness, and a judge slow, before an open incident looks like history, seconds.
SLACK_SECONDS = 120.0

log = structlog.get_logger(__name__)


def group(settings: Settings, destination: str) -> str:
    """The destination's consumer group.

    >>> group(Settings(), "oncall")
    'groundswell-notify-oncall'
    """
    return f"{app_id(settings)}-notify-{destination}"


def open_within_seconds(settings: Settings) -> float:
    """An incident is open now if its last record is younger: it has one every `update_seconds`, as late as its feed."""
    latest = max(rule.lateness_seconds for rule in (settings.source_default, *settings.sources.values()))
    return 1.5 * settings.incidents.update_seconds + latest + SLACK_SECONDS


class Agent:
    """What carries the alerts to one destination, on one of the workers."""

    def __init__(self, name: str, receiver: Receiver, settings: Settings, journal: Journal, metrics: Metrics) -> None:
        self._name = name
        self._receiver = receiver
        self._settings = settings
        self._journal = journal
        self._metrics = metrics
        self._partition = TopicPartition(names(settings).alerts, 0)
        self._log = log.bind(destination=name)
        # There at 0, so that the first one counts in a rate.
        metrics.delivery_seconds.labels(name)
        for outcome in Outcome:
            metrics.deliveries.labels(name, outcome.value)

    async def run(self) -> None:
        """Until cancelled. Whatever happens to Kafka, it starts again."""
        try:
            while True:
                try:
                    await self._serve()
                except (KafkaError, OSError, TimeoutError, Fault) as error:
                    self._log.warning("alerts cannot be read; trying again", error=repr(error))
                await asyncio.sleep(RESTART_SECONDS)
        finally:
            self._metrics.forget_destination(self._name)
            await self._receiver.close()

    async def _serve(self) -> None:
        """Take part in the group; carry the alerts while the partition is ours."""
        consumer = AIOKafkaConsumer(
            **client_options(self._settings),
            **group_options(self._settings),
            group_id=group(self._settings, self._name),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        tenure = _Tenure(self, consumer)
        consumer.subscribe([self._partition.topic], listener=tenure)
        await consumer.start()
        try:
            await tenure.watch()
        finally:
            await tenure.end()
            await heed(consumer.stop())

    async def carry(self, consumer: AIOKafkaConsumer, leaving: asyncio.Event) -> None:
        """Take up what was told before, then carry what comes, until `leaving` is set."""
        dispatch = Dispatch(
            self._name,
            self._receiver.manner,
            self._settings.notify,
            self._settings.routes,
            named=tuple(self._settings.destinations),
            open_within_seconds=open_within_seconds(self._settings),
            told=await self._journal.told(self._name),
        )
        async for record in records_of(self._settings, [self._partition]):
            self._take(dispatch, record.value)
        dispatch.resume(_now())
        self._log.info("destination taken up", pending=dispatch.pending)
        came = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read(consumer, dispatch, came))
            await self._deliver_all(dispatch, came, leaving)
            reading.cancel()

    async def _read(self, consumer: AIOKafkaConsumer, dispatch: Dispatch, came: asyncio.Event) -> None:
        committed = -1
        while True:
            found = await consumer.getmany(self._partition, timeout_ms=WAIT_MS)
            for record in found.get(self._partition, []):
                self._take(dispatch, record.value)
            came.set()
            if dispatch.pending:
                continue
            # For those who look at the group's lag: what is delivered is known from the journal.
            position = await consumer.position(self._partition)
            if position != committed:
                with contextlib.suppress(KafkaError):  # a rebalance: its next owner commits
                    await consumer.commit({self._partition: position})
                    committed = position

    def _take(self, dispatch: Dispatch, value: bytes | None) -> None:
        found = _alert(value)
        if found is not None:
            before = dispatch.superseded
            dispatch.take(found, _now())
            self._metrics.deliveries.labels(self._name, Outcome.SUPERSEDED.value).inc(dispatch.superseded - before)

    async def _deliver_all(self, dispatch: Dispatch, came: asyncio.Event, leaving: asyncio.Event) -> None:
        while not leaving.is_set():
            self._tell(dispatch)
            due = dispatch.due(_now())
            if due:
                await self._deliver(dispatch, due)
                continue
            came.clear()
            at = dispatch.next_at()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if at is None else max(0.01, (at - _now()) / 1000)):
                    await _either(came, leaving)

    async def _deliver(self, dispatch: Dispatch, due: Sequence[Delivery]) -> None:
        now = _now()
        # First, so that a worker that is killed meanwhile leaves behind that it may have been told.
        await self._journal.write(self._name, dispatch.begin(due, now))
        answers = await self._answers(due, now)
        now = _now()
        told, failed = [], []
        for delivery, answer in zip(due, answers, strict=True):
            match answer:
                case Taken():
                    waited = dispatch.waited_seconds(delivery, now)
                    if waited is not None:
                        self._metrics.delivery_seconds.labels(self._name).observe(waited)
                    known = dispatch.taken(delivery, now)
                    if delivery.action is not Action.REPEAT:
                        told.append(known)
                        self._count(Outcome.DELIVERED)
                        self._report(delivery)
                case Refused():
                    if await self._refused(delivery, answer, now):
                        dispatch.refused(delivery, now)
                    else:
                        failed.append((delivery, Failed("what was refused could not be kept")))
                case Failed():
                    failed.append((delivery, answer))
        if failed:
            self._failed(dispatch, failed, now)
        await self._journal.write(self._name, told)

    async def _answers(self, due: Sequence[Delivery], now: int) -> Sequence[Answer]:
        limit = self._settings.notify.timeout_seconds
        try:
            async with asyncio.timeout(limit):
                return await self._receiver.deliver(due, now / 1000)
        except TimeoutError:
            return [Failed(f"no answer within {limit:g} s")] * len(due)
        except Exception as error:
            # A defect of ours with one incident must not keep the others from going out.
            self._log.exception("an incident could not be told; the others go on", incident=due[0].alert.id)
            return [Failed(repr(error))] * len(due)

    async def _refused(self, delivery: Delivery, answer: Refused, now: int) -> bool:
        if delivery.action is Action.REPEAT:
            return True  # its first refusal was kept
        self._count(Outcome.REFUSED)
        self._log.error(
            "the destination refuses an incident; see what it says",
            incident=delivery.alert.id,
            sequence=delivery.alert.sequence,
            status=answer.status,
            answer=answer.text[:500],
        )
        return await self._journal.refused(self._name, delivery, answer, now)

    def _failed(self, dispatch: Dispatch, failed: Sequence[tuple[Delivery, Failed]], now: int) -> None:
        was_down = dispatch.down
        asked = max((each.asked_seconds or 0.0 for _, each in failed), default=0.0)
        wait = dispatch.failed([delivery for delivery, _ in failed], now, luck=random(), asked_seconds=asked)
        self._metrics.deliveries.labels(self._name, Outcome.RETRIED.value).inc(len(failed))
        why = failed[0][1].why
        if dispatch.down and not was_down:
            self._log.error("the destination is down; incidents wait for it", why=why, pending=dispatch.pending)
        else:
            self._log.warning("a delivery failed; it is tried again", why=why, seconds=round(wait, 1))

    def _count(self, outcome: Outcome) -> None:
        self._metrics.deliveries.labels(self._name, outcome.value).inc()

    def _report(self, delivery: Delivery) -> None:
        self._log.info(f"told: {delivery.action.value}", incident=delivery.alert.id, sequence=delivery.alert.sequence)

    def _tell(self, dispatch: Dispatch) -> None:
        self._metrics.destination_up.labels(self._name).set(not dispatch.down)
        self._metrics.destination_pending.labels(self._name).set(dispatch.pending)

    def released(self) -> None:
        """The destination is another worker's now: its state is told there."""
        self._metrics.forget_destination(self._name)


class _Tenure(ConsumerRebalanceListener):  # type: ignore[misc]
    """The time in which the partition is ours."""

    def __init__(self, agent: Agent, consumer: AIOKafkaConsumer) -> None:
        self._agent = agent
        self._consumer = consumer
        self._task: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._changed = asyncio.Event()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        if assigned:
            self._leaving = asyncio.Event()
            self._task = asyncio.create_task(self._agent.carry(self._consumer, self._leaving))
            self._changed.set()

    async def on_partitions_revoked(self, _revoked: Sequence[TopicPartition]) -> None:
        await self.end()

    async def watch(self) -> None:
        """Until the agent fails while the partition is ours; raises what it failed with."""
        while True:
            self._changed.clear()
            task = self._task
            if task is None:
                await self._changed.wait()
                continue
            await asyncio.wait({task})
            if task.cancelled() or self._task is not task:
                continue  # the partition was taken away
            if task.exception() is not None:
                raise _first(task.exception())
            self._task = None

    async def end(self) -> None:
        """Let a delivery under way come to its end, within reason, and let go."""
        task, self._task = self._task, None
        if task is None:
            return
        self._leaving.set()
        await asyncio.wait({task}, timeout=HAND_OVER_SECONDS)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, KafkaError, OSError, TimeoutError, Fault, ExceptionGroup):
            await task
        self._agent.released()


def _first(error: BaseException | None) -> BaseException:
    """Of the errors of a group the first one."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert error is not None
    return error


async def _either(*events: asyncio.Event) -> None:
    """Until one of them is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _alert(value: bytes | None) -> Alert | None:
    """None of a record that is no alert of ours; others may write to the topic."""
    if value is None:
        return None
    try:
        found = alert_record.decode(value)
        for time_said in (found.started_at, found.detected_at, found.updated_at):
            alert_record.millis(time_said)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, TypeError):
        log.warning("a record on alerts is not ours; keep others from writing there", value=repr(value[:80]))
        return None
    return found


def _now() -> int:
    """ms since 1970."""
    return round(time() * 1000)

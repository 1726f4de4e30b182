"""What the tests of the notify agents do: run them in this process, and put records on `alerts`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from time import time

import msgspec
from prometheus_client import CollectorRegistry

from detectors.alert import Alert, State, encode, utc
from streams.metrics import Metrics
from streams.notify.agent import Agent
from streams.notify.journal import Journal
from streams.notify.receivers import receiver
from streams.notify.undelivered import Undelivered
from tests.made_alerts import outage
from tests.pipeline.harness import Scene, producer, read


def at(seconds: float = 0.0) -> str:
    """A time so many seconds from now, for records."""
    return utc(round(1000 * (time() + seconds)))


def now_open(id: str = "incident-1", **changed: object) -> Alert:
    """An outage that began two minutes ago."""
    times = {"started_at": at(-120), "detected_at": at(-60), "updated_at": at()}
    return outage(id, **{**times, **changed})


def now_resolved(alert: Alert, **changed: object) -> Alert:
    """The end of it, its next record."""
    fields = {"sequence": alert.sequence + 1, "state": State.RESOLVED, "resolved_at": at(), "updated_at": at()}
    return msgspec.structs.replace(alert, **{**fields, **changed})


async def tell(scene: Scene, alerts: Iterable[Alert]) -> None:
    """Put records on `alerts`, as the judge does."""
    async with producer(scene) as sender:
        for each in alerts:
            await sender.send_and_wait(scene.topics.alerts, encode(each), key=each.id.encode(), partition=0)


@contextlib.asynccontextmanager
async def agents(scene: Scene) -> AsyncIterator[Metrics]:
    """The agents of all the scene's destinations run within the block; gives their metrics."""
    metrics, journal = Metrics(CollectorRegistry()), Journal(scene.settings)
    running = [
        asyncio.create_task(
            Agent(
                name,
                receiver(each, scene.settings.notify, page_url=scene.settings.web.public_url),
                scene.settings,
                journal,
                metrics,
            ).run()
        )
        for name, each in scene.settings.destinations.items()
    ]
    try:
        yield metrics
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await journal.close()


def counted(metrics: Metrics, destination: str, outcome: str) -> float:
    """How many deliveries of a destination came to this outcome."""
    labels = {"destination": destination, "outcome": outcome}
    return metrics.registry.get_sample_value("groundswell_deliveries_total", labels) or 0.0


async def undelivered(scene: Scene) -> list[Undelivered]:
    """What is on `alerts-undelivered`."""
    records = await read(scene, scene.topics.undelivered)
    return [msgspec.json.decode(record.value, type=Undelivered) for record in records]

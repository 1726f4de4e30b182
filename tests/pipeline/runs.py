"""Runs of the same feed: by one worker undisturbed, by workers that are killed, by workers that come and go."""

from __future__ import annotations

import asyncio
import random

import msgspec

from detectors.pipeline import Pipeline
from tests.pipeline import feeds, harness

HOURS = 4.0
#: The feed's last reports are half an hour after its hours; this is before every source is through with them.
THROUGH = int((feeds.DAY + HOURS * 3600 + 1200) * 1000)
#: Reports a second while workers are disturbed: the feed then lasts for as long as the disturbances.
PER_SECOND = 750


class Expected(msgspec.Struct, frozen=True):
    """A feed, and what it has to come to: the pipeline that it went through without Kafka, and its alerts in order."""

    feed: harness.Feed
    pipeline: Pipeline
    alerts: list[bytes]


def expect(scene: harness.Scene) -> Expected:
    feed = feeds.outage(20221025, partitions=scene.partitions, hours=HOURS)
    return Expected(feed, *harness.decide(scene, feed))


class Runs(msgspec.Struct, frozen=True):
    """What each run came to, or what went wrong in it."""

    expected: Expected
    undisturbed: harness.Outcome | BaseException
    killed: harness.Outcome | BaseException
    regrouped: harness.Outcome | BaseException


async def run_all(stage: harness.Stage) -> Runs:
    """All three at the same time, since most of it is waiting for groups to form."""
    scenes = [await stage.set_scene(name) for name in ("undisturbed", "killed", "regrouped")]
    expected = expect(scenes[0])
    ways = (run_undisturbed, run_killed, run_regrouped)
    outcomes = await asyncio.gather(
        *(way(scene, expected) for way, scene in zip(ways, scenes, strict=True)), return_exceptions=True
    )
    return Runs(expected, *outcomes)


async def run_undisturbed(scene: harness.Scene, expected: Expected) -> harness.Outcome:
    """One worker, the whole feed at once."""
    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        await begin(scene, expected.feed)
        await harness.send(scene, expected.feed[scene.partitions :])
        await finish(scene, expected, worker)
    return await harness.outcome(scene)


async def run_killed(scene: harness.Scene, expected: Expected, *, seed: int = 3) -> harness.Outcome:
    """The feed pours in, and three times the worker is killed at some moment and started again."""
    chance = random.Random(seed)
    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        await begin(scene, expected.feed)
        pouring = asyncio.create_task(pour(scene, expected.feed))
        for _ in range(3):
            await asyncio.sleep(chance.uniform(0.2, 4))
            worker.check_alive()
            worker.kill()
            worker = start()
            await worker.ready()
        await pouring
        await finish(scene, expected, worker)
    return await harness.outcome(scene)


async def run_regrouped(scene: harness.Scene, expected: Expected) -> harness.Outcome:
    """The feed pours in, and is read by two workers, then by one, then by three."""
    async with harness.workers(scene) as start:
        first, second = start(), start()
        await shared_by(first, second)
        await begin(scene, expected.feed)
        pouring = asyncio.create_task(pour(scene, expected.feed))
        await asyncio.sleep(2)
        assert await first.stop() == 0
        await shared_by(second)
        third, fourth = start(), start()
        await shared_by(second, third, fourth)
        await pouring
        await finish(scene, expected, second, third, fourth)
    return await harness.outcome(scene)


async def begin(scene: harness.Scene, feed: harness.Feed) -> None:
    """Send the heartbeat that opens each partition: one that never had a record would not hold the others back."""
    heartbeats = feed[: scene.partitions]
    await harness.send(scene, heartbeats)
    await harness.all_counted(scene, heartbeats)


async def pour(scene: harness.Scene, feed: harness.Feed) -> None:
    await harness.pour(scene, feed[scene.partitions :], per_second=PER_SECOND)


async def finish(scene: harness.Scene, expected: Expected, *workers: harness.Worker) -> None:
    """Wait until all is counted and decided on, then stop the workers in order."""
    await harness.all_counted(scene, expected.feed)
    await harness.all_decided(scene, THROUGH, expected.alerts)
    assert [await worker.stop() for worker in workers] == [0] * len(workers)


async def shared_by(*workers: harness.Worker) -> None:
    """Wait until each of these workers reads some partition of `reports`, and together all of them."""
    await asyncio.gather(*(worker.ready() for worker in workers))

    async def shared() -> bool:
        read = []
        for worker in workers:
            worker.check_alive()
            topic = worker.scene.topics.reports
            read.append((await worker.metrics()).by("groundswell_input_lag_records", "partition", topic=topic))
        together = sorted(partition for partitions in read for partition in partitions)
        return all(read) and together == [str(n) for n in range(workers[0].scene.partitions)]

    await harness.wait_until(shared, 90, f"{len(workers)} workers shared the partitions")

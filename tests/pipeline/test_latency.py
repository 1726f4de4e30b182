"""From report to alert on a live feed, by the wall clock."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from detectors import alert
from streams import kafka
from tests.pipeline import feeds, harness

BUCKET_SECONDS = 10
QUIET_HOURS = 12
USUAL = 5  # reports of a quiet bucket


@pytest.mark.timeout(120)
async def test_first_alert_comes_within_five_seconds_of_the_end_of_the_bucket_that_shows_it(
    stage: harness.Stage,
) -> None:
    scene = await stage.set_scene(source__default__bucket_seconds=BUCKET_SECONDS)

    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        began = time.time()
        await harness.send(scene, list(history(began, scene.partitions)))
        # Quiet goes on while history is read: a gap of seven expected reports, 14 s, would be a silent feed.
        calm = asyncio.create_task(quiet(scene))
        await harness.wait_until(lambda: watermark_after(worker, began - BUCKET_SECONDS), 60, "history was read")
        arriving = asyncio.create_task(first_alert(scene))
        await asyncio.sleep(begin_of_next_bucket() - time.time())
        calm.cancel()
        broken_at = time.time()
        breaking = asyncio.create_task(outage(scene))
        try:
            async with asyncio.timeout(40):
                arrived_at, first = await arriving
        finally:
            breaking.cancel()

    shown_by = broken_at // BUCKET_SECONDS * BUCKET_SECONDS + BUCKET_SECONDS
    print(f"outage at 0.0 s, its bucket ends at {shown_by - broken_at:.1f} s, alert at {arrived_at - broken_at:.1f} s")
    assert (first.state, first.service) == (alert.State.OPEN, "WhatsApp")
    assert broken_at < arrived_at <= shown_by + 5


def history(now: float, partitions: int) -> list[tuple[int, bytes]]:
    """Twelve quiet hours, a report for each bucket with its count, ending now."""
    end = int(now) // BUCKET_SECONDS
    buckets = range(end - QUIET_HOURS * 3600 // BUCKET_SECONDS, end)
    records = [
        (number % partitions, feeds.report(number * BUCKET_SECONDS, "WhatsApp", count=(3, 6, 5, 4, 7)[number * 7 % 5]))
        for number in buckets
    ]
    first, last = records[0][1], feeds.report(now, "heartbeat", count=0)
    return [(n, first) for n in range(partitions)] + records + [(n, last) for n in range(partitions)]


def begin_of_next_bucket() -> float:
    """The begin of the second bucket from now: at least one is lived through in quiet."""
    return (time.time() // BUCKET_SECONDS + 2) * BUCKET_SECONDS


async def watermark_after(worker: harness.Worker, moment: float) -> bool:
    worker.check_alive()
    return (await worker.metrics()).total("groundswell_watermark_timestamp_seconds") >= moment


async def quiet(scene: harness.Scene) -> None:
    """One report every two seconds, until cancelled."""
    for number in itertools.count():
        await harness.send(scene, [(number % scene.partitions, feeds.report(time.time(), "WhatsApp"))])
        await asyncio.sleep(BUCKET_SECONDS / USUAL)


async def outage(scene: harness.Scene) -> None:
    """Twenty reports a second, forty times the usual rate, until cancelled."""
    while True:
        now = time.time()
        await harness.send(scene, [(n % scene.partitions, feeds.report(now, "WhatsApp")) for n in range(10)])
        await asyncio.sleep(0.5)


async def first_alert(scene: harness.Scene) -> tuple[float, alert.Alert]:
    """The next alert on the topic, and when it was there for a reader."""
    consumer = AIOKafkaConsumer(**kafka.client_options(scene.settings), enable_auto_commit=False)
    await consumer.start()
    try:
        tp = TopicPartition(scene.topics.alerts, 0)
        consumer.assign([tp])
        await consumer.seek_to_beginning(tp)
        record = await consumer.getone()
        return time.time(), alert.decode(record.value)
    finally:
        await consumer.stop()

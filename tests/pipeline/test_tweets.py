"""Real volumes of tweets: through Kafka to alerts, and through a backtest, the alerts are the same to the byte."""

from __future__ import annotations

import asyncio

import pytest

from detectors import alert
from streams import tweets
from tests.pipeline import harness
from tests.pipeline.command import groundswell


@pytest.mark.timeout(180)
async def test_tweets_through_kafka_and_through_backtest_give_the_same_alerts(stage: harness.Stage) -> None:
    # One partition of counts: with more, two months of buckets take minutes, and nothing else is tried.
    scene = await stage.set_scene(source__tweets__bucket_seconds=tweets.TWEETS.bucket_seconds, topics__partitions=1)
    file = scene.folder / "tweets.ndjson"
    tweets.write(file)

    backtest = asyncio.create_task(groundswell(scene, "backtest", "--json", str(file)))
    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        await groundswell(scene, "send", str(file))
        alerts = (await backtest).splitlines()
        await harness.wait_until(lambda: as_many(scene, alerts), 60, f"{len(alerts)} alerts were there")
        await harness.all_counted(scene, await reports(scene))
        pages = pages_of_the_last_four_weeks(alerts)
        await harness.wait_until(
            lambda: tells(worker, pages / 4), 60, f"the worker told of {pages} pages in four weeks"
        )
        assert await worker.stop() == 0

    assert len(alerts) > 10
    assert list((await harness.alerts(scene)).values()) == alerts
    assert pages > 0


def pages_of_the_last_four_weeks(alerts: list[bytes]) -> int:
    """Of those before the end of the tweets, 23 April 2015, 02:49:59 UTC."""
    pager = alert.Pager()
    return sum(pager.pages(each) and each.updated_at >= "2015-03-26T03" for each in map(alert.decode, alerts))


async def tells(worker: harness.Worker, achieved: float) -> bool:
    worker.check_alive()
    metrics = await worker.metrics()
    assert metrics.total("groundswell_alert_budget_pages_per_week") == 2
    return metrics.total("groundswell_alert_achieved_pages_per_week") == achieved


async def reports(scene: harness.Scene) -> harness.Feed:
    return [(record.partition, record.value) for record in await harness.read(scene, scene.topics.reports)]


async def as_many(scene: harness.Scene, alerts: list[bytes]) -> bool:
    return len(await harness.alerts(scene)) >= len(alerts)

"""Damaged snapshots: refused one by one, and the alerts stay those of an undisturbed run."""

from __future__ import annotations

import pytest

from tests.pipeline import feeds, harness
from tests.pipeline.kept import settled
from tests.pipeline.runs import begin

HOURS = 3.0
#: Of the feed, so that two incidents are open at the end of the history.
HISTORY = 0.79


@pytest.mark.timeout(300)
async def test_damaged_snapshots_are_refused_and_the_alerts_stay_the_same(stage: harness.Stage) -> None:
    scene = await stage.set_scene()
    feed = feeds.outage(7, partitions=scene.partitions, hours=HOURS)
    _, expected = harness.decide(scene, feed)
    at = round(HISTORY * len(feed))
    _, before = harness.decide(scene, feed[:at])

    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        await begin(scene, feed)
        # Twice, so that each partition has a snapshot and the one before it.
        await harness.send(scene, feed[scene.partitions : at // 2])
        await settled(scene, ())
        await harness.send(scene, feed[at // 2 : at])
        await settled(scene, before)
        assert await worker.stop() == 0

        newest = await last_key(scene, scene.topics.detect_state, 0)
        await overwrite(scene, scene.topics.detect_state, 0, [newest])
        for topic, partition in ((scene.topics.detect_state, 1), (scene.topics.judge_state, 0)):
            await overwrite(scene, topic, partition, [b"%d:%d:0" % (partition, slot) for slot in range(2)])
        await overwrite(scene, scene.topics.ingest_state, 2, [b"2:0:0", b"2:1:0"])

        again = start()
        await again.ready()
        refused = (await again.metrics()).by("groundswell_snapshots_refused_total", "stage")
        await harness.send(scene, feed[at:])
        await settled(scene, expected)
        assert await again.stop() == 0
        log = again.log.read_text()

    assert list((await harness.alerts(scene)).values()) == expected
    assert refused == {"ingest": 2, "detect": 3, "judge": 2}
    errors = [line for line in log.splitlines() if "a snapshot was refused" in line]
    assert len(errors) == 7
    assert sum("which is whole" in line for line in errors) == 1
    assert sum("detection learns anew" in line for line in errors) == 2


async def last_key(scene: harness.Scene, topic: str, partition: int) -> bytes:
    key: bytes = [record.key for record in await harness.read(scene, topic) if record.partition == partition][-1]
    return key


async def overwrite(scene: harness.Scene, topic: str, partition: int, keys: list[bytes]) -> None:
    """Put garbage over these keys of a changelog."""
    async with harness.producer(scene) as sender:
        for key in keys:
            await sender.send_and_wait(topic, b"garbage", key=key, partition=partition)

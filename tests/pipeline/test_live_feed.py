"""`groundswell feed | groundswell send -`, as the README has it: reports of now, and a worker that counts them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from detectors import report
from detectors.report import Report, time_ms
from streams import story
from tests.pipeline import command, harness
from tests.pipeline.harness import Scene


async def test_feed_piped_into_send_brings_reports_as_they_come_and_the_worker_counts_each(stage: harness.Stage):
    scene = await stage.set_scene()
    began = datetime.now(UTC)
    since = began - timedelta(hours=2)

    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        async with command.feeding(scene, "--since", since.isoformat(), "--outage-after", "1s") as feeding:

            async def broke() -> bool:
                return any(each.service == story.BROKEN and at(each) > began for each in await reports(scene))

            await harness.wait_until(broke, 60, "a report came of what broke after the feed began")
            outcome = await feeding.end()
        records = await harness.read(scene, scene.topics.reports)
        await harness.all_counted(scene, [(record.partition, record.value) for record in records])
        metrics = await worker.metrics()
        assert await worker.stop() == 0

    sent = await reports(scene)
    assert outcome.complete
    assert outcome.rejected == {}
    assert min(map(at, sent)) >= since
    assert outcome.sent > 100
    # Besides, each partition got heartbeats.
    assert len(sent) >= outcome.sent + scene.partitions
    assert metrics.total("groundswell_reports_counted_total") == len(sent)
    assert (await harness.final_counts(scene)).total() == sum(each.count for each in sent)
    assert await harness.dead_letters(scene) == {}


async def reports(scene: Scene) -> list[Report]:
    """All there are on the topic."""
    found = [report.decode(record.value) for record in await harness.read(scene, scene.topics.reports)]
    assert all(isinstance(each, Report) for each in found)
    return found  # type: ignore[return-value]


def at(each: Report) -> datetime:
    ms = time_ms(each, 0)
    assert isinstance(ms, int)
    return datetime.fromtimestamp(ms / 1000, UTC)

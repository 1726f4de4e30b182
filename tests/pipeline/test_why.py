"""Why, asked of the topic: the answer is that of the same reports in the workers."""

from __future__ import annotations

import time

import msgspec
import pytest

from detectors.alert import utc
from streams import retained
from streams.why import Answer
from tests.pipeline import feeds, harness
from tests.pipeline.test_tweets import groundswell

HOURS = 4.0


def shifted(records: list[harness.Sent], seconds: float) -> list[tuple[int, bytes]]:
    """The reports of a feed, at other times; what is none is left out."""
    found = []
    for partition, value in records:
        try:
            report = msgspec.json.decode(value or b"")
            moved = msgspec.json.encode(report | {"time": report["time"] + seconds})
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, KeyError):
            continue
        found.append((partition, moved))
    return found


@pytest.mark.timeout(180)
async def test_topic_is_asked_why_and_the_incident_is_that_of_the_same_reports_without_kafka(
    stage: harness.Stage,
) -> None:
    scene = await stage.set_scene()
    now = time.time()
    # The feed ends half an hour ago; WhatsApp in Rome broke at three quarters of its four hours.
    start = now - 1800 - HOURS * 3600
    feed = shifted(list(feeds.outage(5, partitions=scene.partitions, hours=HOURS)), start - feeds.DAY)
    await harness.send(scene, feed)
    broke = start + 0.75 * HOURS * 3600 + 120
    _, said = harness.decide(scene, feed)

    output = await groundswell(scene, "why", "WhatsApp", "it/lazio/roma", utc(round(broke) * 1000), "--json")

    told = msgspec.json.decode(output, type=Answer)
    assert told.cold
    assert [each.reason.value for each in told.findings][:2] == ["incident", "paged"]
    (incident,) = {each.id for each in told.alerts if each.service == "WhatsApp" and each.parent is None}
    assert any(incident.encode() in value for value in said)
    assert incident in told.findings[0].text
    (reports,) = [each for each in told.series if each.source == "reports"]
    assert max(each.observed or 0 for each in reports.buckets) > 30


async def test_partitions_are_read_in_step_by_the_time_of_their_records(stage: harness.Stage) -> None:
    scene = await stage.set_scene(topics__reports_partitions=3)
    base = 1_700_000_000_000
    stamps = {0: range(0, 600_000, 1_000), 1: range(300_000, 900_000, 2_000), 2: range(0)}
    async with harness.producer(scene) as sender:
        for partition, offsets in stamps.items():
            for offset in offsets:
                await sender.send(scene.topics.reports, b"%d" % offset, partition=partition, timestamp_ms=base + offset)
        await sender.flush()
    there = await retained.survey(scene.settings)

    read: dict[int, list[bytes | None]] = {0: [], 1: [], 2: []}
    reached = dict.fromkeys(read, base)
    async for portion in retained.portions(scene.settings, there):
        read[portion.partition] += portion.values
        reached[portion.partition] = max([portion.now, *portion.stamps])
        # Nobody is ahead of one who has still something to say.
        waiting = [reached[each] for each in (0, 1) if len(read[each]) < len(stamps[each])]
        assert all(reached[portion.partition] <= each + 300_000 + retained.STEP_MS for each in waiting)

    assert there.records == 900
    assert read == {each: [b"%d" % offset for offset in offsets] for each, offsets in stamps.items()}


async def test_topic_that_is_not_there_is_told(stage: harness.Stage) -> None:
    scene = await stage.set_scene()
    other = msgspec.structs.replace(
        scene.settings, topics=msgspec.structs.replace(scene.settings.topics, prefix="nobody-")
    )

    with pytest.raises(retained.RetainedError, match="topic nobody-reports is missing"):
        await retained.survey(other)

"""Ten thousand records that are no reports, between good ones: none is lost, none stops the worker."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.pipeline import feeds, harness

MALFORMED = 10_000


@pytest.mark.timeout(180)
async def test_every_malformed_record_is_dead_lettered_and_every_good_one_counted(stage: harness.Stage) -> None:
    scene = await stage.set_scene(reports__max_record_bytes=feeds.MAX_RECORD_BYTES)
    spoilt = list(feeds.spoilt(7, count=MALFORMED, partitions=scene.partitions))
    offsets: Counter[int] = Counter()
    wanted = {}
    for partition, value, reason in spoilt:
        if reason is not None:
            wanted[partition, offsets[partition]] = (reason.value, value)
        offsets[partition] += 1

    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        records = [(partition, value) for partition, value, _ in spoilt]
        await harness.send(scene, records)
        await harness.all_counted(scene, records)

        worker.check_alive()
        assert await worker.healthy()
        metrics = await worker.metrics()
        outcome = await harness.outcome(scene)

    assert len(wanted) == MALFORMED
    assert {origin: (letter.reason, letter.value) for origin, letter in outcome.dead_letters.items()} == wanted
    assert all(letter.path.startswith("$") for letter in outcome.dead_letters.values())
    assert sum(outcome.counts.values()) == MALFORMED + scene.partitions
    assert metrics.total("groundswell_reports_read_total") == len(records)
    assert metrics.total("groundswell_reports_counted_total") == MALFORMED + scene.partitions
    rejected = Counter(metrics.by("groundswell_reports_rejected_total", "reason"))
    assert +rejected == Counter(reason for reason, _ in wanted.values())

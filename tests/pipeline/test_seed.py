"""History read from the topic and history seeded from a file end in the same state, and in the same alerts after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detectors import alert
from detectors.detection import Saved
from detectors.pipeline import Pipeline
from detectors.series import Series
from detectors.watch import SavedWatch
from streams import cluster, topics
from streams import feed as file_feed
from streams.seed import Outcome
from streams.state import Kept
from tests.pipeline import feeds, harness
from tests.pipeline.command import groundswell
from tests.pipeline.kept import settled, snapshots

HOURS = 3.0
#: Of the feed, so that two incidents are open at the end of the history.
HISTORY = 0.79
NOW = 1_700_000_000_000


@pytest.mark.timeout(300)
async def test_history_from_the_topic_and_seeded_history_end_in_the_same_state_and_alerts(stage: harness.Stage) -> None:
    sent, seeded = [await stage.set_scene(name) for name in ("sent", "seeded")]
    history, later = cut(stage.folder / "history.ndjson", sent.partitions)
    past, to_come = decided(sent, history, later)

    async with harness.workers(sent) as start:
        worker = start()
        await worker.ready()
        await groundswell(sent, "send", str(history))
        from_topic = await settled(sent, past)
        told = msgspec.json.decode(await groundswell(seeded, "seed", "--json", str(history)), type=Outcome)
        from_file = await snapshots(seeded)

        assert told.open_incidents == 2
        assert await harness.alerts(seeded) == {}
        assert await harness.dead_letters(seeded) == {}
        assert list((await harness.alerts(sent)).values()) == past
        for partition in range(seeded.settings.topics.partitions):
            assert learned(from_file[seeded.topics.detect_state, partition]) == learned(
                from_topic[sent.topics.detect_state, partition]
            )
        # Offsets are no part of what the judge knows.
        assert from_file[seeded.topics.judge_state, 0].data == from_topic[sent.topics.judge_state, 0].data

        letters = len(await harness.dead_letters(sent))
        await harness.send(sent, later)
        async with harness.workers(seeded) as start_other:
            other = start_other()
            await other.ready()
            await harness.send(seeded, later)
            after_topic = await settled(sent, [*past, *to_come])
            after_file = await settled(seeded, to_come)
            late = (await other.metrics()).by("groundswell_reports_rejected_total", "reason")["late"]
            assert await other.stop() == 0
        assert await worker.stop() == 0

    assert len(to_come) > 2
    assert {alert.decode(value).state for value in to_come[:2]} <= {alert.State.UPDATE, alert.State.RESOLVED}
    assert list((await harness.alerts(seeded)).values()) == to_come
    assert list((await harness.alerts(sent)).values())[len(past) :] == to_come
    # What is older than the history is late in either.
    assert late >= 200
    assert len(await harness.dead_letters(seeded)) == len(await harness.dead_letters(sent)) - letters
    for partition in range(seeded.settings.topics.partitions):
        assert learned(after_file[seeded.topics.detect_state, partition]) == learned(
            after_topic[sent.topics.detect_state, partition]
        )


@pytest.mark.timeout(300)
async def test_history_seeded_in_place_of_what_was_learned_comes_before_the_reports_of_the_topic(
    stage: harness.Stage,
) -> None:
    scene = await stage.set_scene()
    history, later = cut(stage.folder / "history.ndjson", scene.partitions)
    later = later[200:]
    _, to_come = decided(scene, history, later)

    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        await harness.send(scene, later)
        await settled(scene, ())
        assert await worker.stop() == 0
        before = len(await harness.read(scene, scene.topics.alerts))
        await harness.wait_until(lambda: nobody_in_the_group(scene), 30, "the worker that was stopped was forgotten")
        await groundswell(scene, "seed", "--replace", str(history))

        again = start()
        await again.ready()
        # Not `settled`: what is learned anew may tell of the same incident in other words.
        await harness.wait_until(lambda: as_many_more(scene, before, to_come), 60, f"{len(to_come)} alerts were there")
        assert await again.stop() == 0

    alerts = [record.value for record in await harness.read(scene, scene.topics.alerts)]
    assert alerts[before:] == to_come


async def nobody_in_the_group(scene: harness.Scene) -> bool:
    return await cluster.group_members(scene.settings, topics.app_id(scene.settings)) == 0


async def as_many_more(scene: harness.Scene, before: int, alerts: Sequence[bytes]) -> bool:
    return len(await harness.read(scene, scene.topics.alerts)) >= before + len(alerts)


def cut(path: Path, partitions: int) -> tuple[Path, harness.Feed]:
    """A file with most of a feed, and the reports that come after it, two hundred of the file's among them."""
    feed = feeds.outage(7, partitions=partitions, hours=HOURS)
    at = round(HISTORY * len(feed))
    # A line of a file is a row.
    rows = [value for _, value in feed[:at] if value and b"\n" not in value and b"\r" not in value]
    path.write_bytes(b"\n".join(rows))
    return path, [*feed[1000:1200], *feed[at:]]


def decided(scene: harness.Scene, history: Path, later: harness.Feed) -> tuple[list[bytes], list[bytes]]:
    """The alerts of the history, and those of the reports after it, without Kafka."""
    pipeline = Pipeline(scene.settings.rules())
    said: list[list[bytes]] = []
    for records in (list(file_feed.plan(history, scene.partitions)), later):
        said.append([])
        for first in range(0, len(records), harness.PORTION):
            for partition, values in harness.by_partition(records[first : first + harness.PORTION]).items():
                said[-1] += pipeline.read(partition, values, [NOW] * len(values))
    return said[0], said[1]


def learned(kept: Kept) -> dict[str, Any]:
    """What a partition of detect knows, the arrays bit by bit, but for the offsets, which are a log's own.

    Reports in an open tick are held by row or by series, as they came before or after the series got its row.
    """
    saved = msgspec.msgpack.decode(kept.data, type=Saved)
    known = msgspec.structs.asdict(saved) | {"inputs": [each and each.clears for each in saved.inputs]}
    known["watches"] = [msgspec.structs.asdict(watch) | {"window": open_ticks(watch)} for watch in saved.watches]
    return known


def open_ticks(watch: SavedWatch) -> dict[int, Counter[Series]]:
    """Reports by tick and series."""
    found: dict[int, Counter[Series]] = {}
    for tick in watch.window.ticks:
        counts = found[tick.tick] = Counter(tick.new)
        for row, count in zip(tick.rows.load().tolist(), tick.counts.load().tolist(), strict=True):
            counts[watch.series[row]] += count
    return found

"""Snapshots as they are in the changelogs of a run."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from aiokafka import TopicPartition

from detectors.judge import Judge
from detectors.snapshot import Whole, join
from streams.kafka import end_offsets
from streams.state import Kept
from tests.pipeline import harness


async def snapshots(scene: harness.Scene) -> dict[tuple[str, int], Kept]:
    """The newest whole snapshot of each partition of detect and judge."""
    return await _newest(scene, scene.topics.detect_state, scene.topics.judge_state)


async def _newest(scene: harness.Scene, *topics: str) -> dict[tuple[str, int], Kept]:
    found: dict[tuple[str, int], tuple[int, Kept]] = {}
    for topic in topics:
        slots: dict[tuple[int, int], dict[int, bytes]] = {}
        for record in await harness.read(scene, topic):
            _, slot, index = map(int, record.key.split(b":"))
            slots.setdefault((record.partition, slot), {})[index] = record.value
        for (partition, _), blocks in slots.items():
            whole = join(blocks)
            if isinstance(whole, Whole) and whole.version > found.get((topic, partition), (0, None))[0]:
                found[topic, partition] = whole.version, msgspec.msgpack.decode(whole.data, type=Kept)
    return {place: kept for place, (_, kept) in found.items()}


async def judge(scene: harness.Scene) -> Judge | None:
    """The judge as in its newest whole snapshot; None as long as there is none."""
    rules = scene.settings.rules()
    kept = (await _newest(scene, scene.topics.judge_state)).get((scene.topics.judge_state, 0))
    return kept and Judge.from_state(rules.incidents, rules.partitions, kept.data)


async def settled(scene: harness.Scene, alerts: Sequence[bytes]) -> dict[tuple[str, int], Kept]:
    """Wait until all reports are counted, decided on, in snapshots, and so many alerts are there; the snapshots."""
    reports = [TopicPartition(scene.topics.reports, number) for number in range(scene.partitions)]
    ends = {tp.partition: end for tp, end in (await end_offsets(scene.settings, reports)).items()}
    found: dict[tuple[str, int], Kept] = {}

    async def all_kept() -> bool:
        reached = await harness.counted_up_to(scene)
        if any(reached.get(partition, 0) < end for partition, end in ends.items()):
            return False
        # Snapshots are the most to read.
        if len(await harness.alerts(scene)) < len(alerts):
            return False
        inputs = [TopicPartition(scene.topics.counts, number) for number in range(scene.settings.topics.partitions)]
        upto = await end_offsets(scene.settings, [*inputs, TopicPartition(scene.topics.surges, 0)])
        found.update(await snapshots(scene))
        # First the counts, then the surges that follow from them.
        places = [(scene.topics.detect_state, tp.partition, upto[tp]) for tp in inputs]
        places.append((scene.topics.judge_state, 0, upto[TopicPartition(scene.topics.surges, 0)]))
        return all((topic, part) in found and found[topic, part].offset == end for topic, part, end in places)

    await harness.wait_until(all_kept, 90, f"all reports were in snapshots and {len(alerts)} alerts were there")
    return found

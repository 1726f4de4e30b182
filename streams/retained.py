"""Retained: the reports that their topic still has, all partitions in step by the records' timestamps."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from streams import cluster
from streams.fault import Fault
from streams.kafka import begin_offsets, client_options, end_offsets, heed
from streams.settings import Settings
from streams.topics import names

#: Records of a partition that are held at most while another one is behind.
HELD = 5_000
#: Partitions go on together, this far apart at most, by their records' timestamps, ms.
STEP_MS = 60_000
#: How long a fetch may wait for records, and how long the broker may send nothing though there are some.
WAIT_MS = 500
SILENCE_SECONDS = 30.0


class RetainedError(Fault):
    """The reports cannot be read from their topic."""


class Portion(NamedTuple):
    """The next records of a partition: values, and timestamps in ms. Without any: it had none by `now`."""

    partition: int
    values: list[bytes | None]
    stamps: list[int]
    now: int


class Retained(NamedTuple):
    """What is there to read: first offset and end of each partition of `reports`."""

    topic: str
    begins: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]

    @property
    def records(self) -> int:
        """How many records there are, at most: a log may have holes."""
        return sum(end - self.begins[each] for each, end in self.ends.items())


async def survey(settings: Settings) -> Retained:
    """What the topic has now. RetainedError where it cannot be read; raises as `cluster.look` and `end_offsets`."""
    topic = names(settings).reports
    seen = await cluster.look(settings, [topic])
    if topic in seen.forbidden:
        raise RetainedError(f"we may not read topic {topic}", hint="Ask for the rights to describe and read it.")
    if topic not in seen.topics:
        raise RetainedError(
            f"topic {topic} is missing", "A worker creates it when it starts.", "Run: groundswell topics"
        )
    there, wanted = seen.topics[topic].partitions, settings.topics.reports_partitions
    if there != wanted:
        raise RetainedError(
            f"topic {topic} has {there} partitions, topics.reports_partitions is {wanted}",
            hint="Give the workers' own settings.",
        )
    partitions = [TopicPartition(topic, number) for number in range(there)]
    return Retained(topic, await begin_offsets(settings, partitions), await end_offsets(settings, partitions))


async def portions(settings: Settings, retained: Retained) -> AsyncGenerator[Portion, None]:
    """The records of all partitions, in step; those of a partition in their order.

    Memory is bounded: HELD records of a partition, and what aiokafka fetches ahead. RetainedError where the broker
    stops to send.
    """
    consumer = AIOKafkaConsumer(
        **client_options(settings), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        lanes = {each: _Lane(end) for each, end in retained.ends.items()}
        consumer.assign(list(lanes))
        for each, begin in retained.begins.items():
            consumer.seek(each, begin)
            lanes[each].over = begin >= lanes[each].end
        while True:
            await _fill(consumer, lanes)
            heads = sorted((lane.head, each.partition, each) for each, lane in lanes.items() if lane.held)
            if not heads:
                return
            now, _, first = heads[0]
            last = (heads[1][0] if len(heads) > 1 else now) + STEP_MS
            for each, lane in lanes.items():
                # It has none before its next one, or none at all any more.
                if each != first and now - lane.told >= STEP_MS and (not lane.held or lane.head > now + STEP_MS):
                    lane.told = now
                    yield Portion(each.partition, [], [], now)
            yield lanes[first].take(first.partition, last)
    finally:
        await heed(consumer.stop())


class _Lane:
    """A partition: the records that are held of it. told: timestamp up to which something was said of it, ms."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.held: deque[ConsumerRecord] = deque()
        self.over = False
        self.told = 0

    @property
    def head(self) -> int:
        stamp: int = self.held[0].timestamp
        return stamp

    def take(self, partition: int, last: int) -> Portion:
        """The first record, and those after it up to timestamp `last`."""
        portion = Portion(partition, [], [], self.head)
        while self.held and (not portion.values or self.head <= last):
            record = self.held.popleft()
            portion.values.append(record.value)
            portion.stamps.append(record.timestamp)
        self.told = max(self.told, portion.stamps[-1])
        return portion


async def _fill(consumer: AIOKafkaConsumer, lanes: Mapping[TopicPartition, _Lane]) -> None:
    """Hold the next records of every partition that has more: only then is it known which comes first."""
    silent_since = time.monotonic()
    while waiting := [each for each, lane in lanes.items() if not lane.held and not lane.over]:
        found = await consumer.getmany(*waiting, timeout_ms=WAIT_MS, max_records=HELD)
        for each in waiting:
            lane = lanes[each]
            lane.held.extend(record for record in found.get(each, ()) if record.offset < lane.end)
            lane.over = await consumer.position(each) >= lane.end
        if found:
            silent_since = time.monotonic()
        elif time.monotonic() - silent_since > SILENCE_SECONDS:
            raise RetainedError(
                f"topic {waiting[0].topic} has more reports, but the broker sends none", hint="Run: groundswell check"
            )

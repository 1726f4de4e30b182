"""The batched transport: whole fetches as messages, each record once, and positions that the stage decides on."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import faust
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types import TP

from streams.transport import Records, Transport
from tests.pipeline.harness import wait_until

PARTITIONS = 4


class App(faust.App):
    async def on_first_start(self) -> None:
        """Faust would make a folder for its data here."""


class Reader:
    """A Faust app on the transport that keeps what it was given. It goes on where `positions` says."""

    def __init__(self, address: str, topic: str, group: str, positions: Mapping[int, int] = {}) -> None:
        self.app = App(
            group,
            broker=f"groundswell://{address}",
            store="memory://",
            web_enabled=False,
            autodiscover=False,
            topic_disable_leader=True,
            topic_allow_declare=False,
            consumer_auto_offset_reset="earliest",
            broker_rebalance_timeout=3.0,
            broker_session_timeout=10.0,
            stream_buffer_maxsize=2,
            stream_wait_empty=False,
            broker_max_poll_records=50,
        )
        self.topic = topic
        self.next = dict(positions)
        self.assigned: frozenset[int] = frozenset()
        self.offsets: dict[int, list[int]] = defaultdict(list)
        self.messages = 0
        self.go = asyncio.Event()
        self.go.set()
        transport: Transport = self.app.transport
        transport.opt_in(topic, self)
        self.app.agent(self.app.topic(topic, schema=Records()), name="reader")(self._read)

    async def resume(self, assigned: frozenset[int]) -> Mapping[int, int]:
        self.assigned = assigned
        return self.positions()

    def positions(self) -> Mapping[int, int]:
        return {partition: offset for partition, offset in self.next.items() if partition in self.assigned}

    async def _read(self, stream: faust.StreamT) -> None:
        async for event in stream.events():
            await self.go.wait()
            if event.message.value.epoch != self.app.consumer.epoch:
                continue
            self.messages += 1
            for record in event.message.value.records:
                if record.offset < self.next.get(event.message.partition, 0):
                    continue
                self.offsets[event.message.partition].append(record.offset)
                self.next[event.message.partition] = record.offset + 1

    @property
    def total(self) -> int:
        return sum(map(len, self.offsets.values()))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Reader]:
        await self.app.start()
        try:
            await wait_until(self._ready, 60, "the app has its partitions")
            yield self
        finally:
            await self.app.stop()

    async def _ready(self) -> bool:
        return not self.app.rebalancing and bool(self.assigned)

    async def has(self, count: int) -> None:
        async def enough() -> bool:
            return self.total >= count

        await wait_until(enough, 60, f"{count} records read, so far {self.total}")


@pytest_asyncio.fixture
async def topic(broker: str) -> AsyncIterator[str]:
    name = f"transport-{uuid4().hex[:8]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    yield name
    await admin.delete_topics([name])
    await admin.close()


async def produce(broker: str, topic: str, first: int, last: int, **options: object) -> None:
    """Records `first` to `last` (exclusive), to the partitions in turn."""
    async with AIOKafkaProducer(bootstrap_servers=broker, **options) as producer:
        sent = [await producer.send(topic, b"%d" % n, partition=n % PARTITIONS) for n in range(first, last)]
        await asyncio.gather(*sent)


async def test_each_record_comes_once_and_in_order_in_far_fewer_messages(broker, topic):
    await produce(broker, topic, 0, 2_000)

    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(2_000)

    assert reader.offsets == {partition: list(range(500)) for partition in range(PARTITIONS)}
    assert reader.messages <= 2_000 / 20


async def test_slow_stage_holds_back_the_fetches_and_loses_nothing(broker, topic):
    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        reader.go.clear()
        await produce(broker, topic, 0, 2_000)
        consumer = reader.app.consumer

        async def held_back() -> bool:
            return consumer._active_partitions is not None and len(consumer._active_partitions) < PARTITIONS

        await wait_until(held_back, 30, "full buffers hold back the fetches")
        reader.go.set()
        await reader.has(2_000)

    assert reader.offsets == {partition: list(range(500)) for partition in range(PARTITIONS)}


async def test_paused_partition_goes_on_where_it_was(broker, topic):
    await produce(broker, topic, 0, 400)

    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(400)
        reader.app.consumer.pause_partitions({TP(topic, 0)})
        await produce(broker, topic, 400, 800)
        await reader.has(700)
        assert len(reader.offsets[0]) == 100
        reader.app.consumer.resume_partitions({TP(topic, 0)})
        await reader.has(800)

    assert reader.offsets == {partition: list(range(200)) for partition in range(PARTITIONS)}


async def test_reading_goes_on_where_the_stage_says_not_where_the_group_committed(broker, topic):
    await produce(broker, topic, 0, 400)
    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(400)
        await reader.app.consumer.commit_positions(topic, dict.fromkeys(range(PARTITIONS), 90))

    # It crashed: its state reaches back to other offsets than were committed, for one partition there is none.
    positions = {0: 10, 1: 100, 2: 95}
    async with Reader(broker, topic, f"{topic}-group", positions).running() as again:
        await again.has(90 + 0 + 5 + 10)
        await produce(broker, topic, 400, 404)
        await again.has(109)

    assert again.offsets == {
        0: list(range(10, 101)),
        1: [100],
        2: list(range(95, 101)),
        3: list(range(90, 101)),
    }


async def test_positions_are_committed_for_tools_that_show_lag(broker, topic):
    await produce(broker, topic, 0, 40)

    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(40)
        await reader.app.consumer.commit_positions(topic, {2: 7})
        # Faust's own commit, which it makes at intervals, knows nothing of the stage's state.
        await reader.app.consumer.commit()

    async with AIOKafkaConsumer(bootstrap_servers=broker, group_id=f"{topic}-group") as consumer:
        assert await consumer.committed(TopicPartition(topic, 2)) == 7
        assert await consumer.committed(TopicPartition(topic, 1)) is None


async def test_where_reading_goes_on_is_not_known_of_a_partition_that_is_not_assigned(broker, topic):
    await produce(broker, topic, 0, 40)

    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(40)

        assert await reader.app.consumer.reads_on_at(topic, 1) == 10
        assert await reader.app.consumer.reads_on_at(topic, PARTITIONS) is None


async def test_partitions_move_to_who_joins_and_back_when_it_leaves_and_no_record_is_lost(broker, topic):
    await produce(broker, topic, 0, 400)
    first, second = Reader(broker, topic, f"{topic}-group"), Reader(broker, topic, f"{topic}-group")
    # What one reader knows of its positions the other finds, as state in a table is found.
    second.next = first.next

    async with first.running():
        await first.has(400)
        async with second.running():

            async def shared() -> bool:
                return len(first.assigned) == len(second.assigned) == PARTITIONS / 2

            await wait_until(shared, 60, "each has half of the partitions")
            await produce(broker, topic, 400, 800)

            async def all_read() -> bool:
                return first.total + second.total >= 800

            await wait_until(all_read, 60, "both together have read all")
            assert {p for p in range(PARTITIONS) if second.offsets[p]} == second.assigned
        await produce(broker, topic, 800, 1_200)

        async def rest_read() -> bool:
            return first.total + second.total >= 1_200

        await wait_until(rest_read, 60, "the one that is left reads the rest")

    for partition in range(PARTITIONS):
        assert sorted(first.offsets[partition] + second.offsets[partition]) == list(range(300))


async def test_what_a_fetch_brings_while_a_rebalance_has_stopped_the_flow_comes_again_without_a_seek(broker, topic):
    await produce(broker, topic, 0, 400)

    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(400)
        consumer = reader.app.consumer
        active = consumer._get_active_partitions()
        under_way = asyncio.create_task(consumer._thread.getmany(active, timeout=30))

        async def waiting() -> bool:
            return len(consumer._thread._ensure_consumer()._fetcher._fetch_waiters) >= 2

        await wait_until(waiting, 30, "the app's own fetch and the test's wait for records", every_seconds=0.01)
        consumer.stop_flow()
        consumer.pause_partitions(set(active))
        await produce(broker, topic, 400, 800)
        assert await under_way == {}
        assert reader.total == 400
        # Recovery of tables resumes the changelogs like this; it sought before, not after.
        consumer.resume_partitions({TP(topic, partition) for partition in range(PARTITIONS)})
        consumer.resume_flow()
        await reader.has(800)

    assert reader.offsets == {partition: list(range(200)) for partition in range(PARTITIONS)}


async def test_acknowledged_messages_leave_nothing_behind(broker, topic):
    await produce(broker, topic, 0, 400)

    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(400)
        consumer = reader.app.consumer
        await consumer.commit()

        async def clean() -> bool:
            return not consumer._unacked_messages and not any(consumer._gap.values())

        await wait_until(clean, 10, "no message is waiting for its acknowledgement")
        assert not any(consumer._acked.values())


@pytest.mark.kafka
async def test_gaps_that_transactions_leave_in_the_offsets_are_no_loss(broker, topic):
    async with AIOKafkaProducer(bootstrap_servers=broker, transactional_id=f"{topic}-tx") as producer:
        for n in range(20):
            async with producer.transaction():
                for partition in range(PARTITIONS):
                    await producer.send(topic, b"%d" % n, partition=partition)

    async with Reader(broker, topic, f"{topic}-group").running() as reader:
        await reader.has(20 * PARTITIONS)
        await reader.app.consumer.commit()
        assert not any(reader.app.consumer._gap.values())

    # Each transaction takes an offset for its marker.
    assert reader.offsets == {partition: list(range(0, 40, 2)) for partition in range(PARTITIONS)}

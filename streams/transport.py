"""Faust's Kafka driver with whole fetches as messages, and a stage's own say on where to go on.

Faust's cost is per message: a task and a wait each. For topics that opt in, one message carries all records that a
fetch brought of a partition, so that cost is paid a few times a second. Faust's own bookkeeping of acknowledgements is
not exact, and its commit knows nothing of the state: for those topics the stage says where to go on, and commits.
Rebalancing, tables, recovery and flow control are Faust's.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import faust
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import IllegalStateError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

TrueEnds = Callable[[Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]


class Fetch(NamedTuple):
    """The value of a message on a topic that opted in.

    epoch: the consumer's when the records were fetched.
    records: each with offset, timestamp (ms), key, value and headers.
    """

    epoch: int
    records: list[Any]


class Stage(Protocol):
    """Who reads a topic that opted in, and has the say on where to go on in it."""

    async def resume(self, assigned: frozenset[int]) -> Mapping[int, int]:
        """Take up the assigned partitions, let go of others; gives the offset to read next of those with state.

        Called at the end of each rebalance, when tables are recovered and before records flow. Partitions that are not
        in the answer begin at the group's committed offset, or at the earliest.
        """

    def positions(self) -> Mapping[int, int]:
        """The offset to read next of each partition in hand."""


class _Arrivals(OrderedDict[TopicPartition, Any]):
    """The fetches that aiokafka has got and not handed on; those of some topics hand their records on as parsed.

    To make a ConsumerRecord of each takes a fifth of all the time between the socket and the counts.
    """

    def __init__(self, topics: Collection[str]) -> None:
        super().__init__()
        self._topics = topics

    def __setitem__(self, tp: TopicPartition, arrived: Any) -> None:
        if tp.topic in self._topics and isinstance(arrived, FetchResult):
            arrived._partition_records._consumer_record = _as_parsed
        super().__setitem__(tp, arrived)


def _as_parsed(_tp: TopicPartition, record: Any) -> Any:
    return record


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Consumer thread that knows where partitions really end, and makes nothing of records that opted in."""

    async def on_start(self) -> None:
        """Before any partition is assigned."""
        await super().on_start()
        self._ensure_consumer()._fetcher._records = _Arrivals(self.transport.stages)

    async def seek_all(self, offsets: Mapping[TP, int]) -> None:
        """Seek in this thread: from another, a seek takes a fetch away from aiokafka while it reads it."""
        await self.call_thread(self._seek_all, offsets)

    async def _seek_all(self, offsets: Mapping[TP, int]) -> None:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for tp, offset in offsets.items():
            if tp in assigned:  # else a rebalance took it away, which ends with a seek of its own
                consumer.seek(TopicPartition(tp.topic, tp.partition), offset)

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP] | None,
        timeout: float | None = None,  # noqa: ASYNC109 (Faust's signature)
        max_records: int | None = None,
    ) -> dict[TP, list[Any]]:
        """Records of active partitions. What else came goes back: dropped, it would be missing where nobody seeks.

        A fetch waits up to a second, and a rebalance goes on meanwhile. aiokafka takes a set that it emptied for all
        partitions, changelogs included, that recovery has just sought to their beginning: it would wait for good.
        """
        records: dict[TP, list[Any]] = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        # No await from here on: whoever seeks (recovery, and `seek_all`) does it in this thread, too, either before the
        # fetch or after this. None stands for all partitions.
        if not self.consumer.flow_active:
            active_partitions = set()
        for tp in [tp for tp in records if active_partitions is not None and tp not in active_partitions]:
            batch = records.pop(tp)
            if tp in consumer.assignment():
                consumer.seek(tp, batch[0].offset)
        return records

    async def _highwaters(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        ends: Mapping[TP, int] = await super()._highwaters(list(partitions))
        transport: Transport = self.transport
        if transport.true_ends is None:
            return ends
        # Recovery of tables goes up to here: without the correction it stops early and loses state without a word.
        right = await transport.true_ends([TopicPartition(tp.topic, tp.partition) for tp in ends])
        return {TP(tp.topic, tp.partition): end for tp, end in right.items()}


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Consumer that hands over the records of a partition and fetch as one message, whose value is a Fetch."""

    transport: Transport
    #: Changes whenever positions were set; None while they are about to be. What was fetched in another one is void.
    epoch: int | None = None
    _epochs = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told_positions: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:  # noqa: ASYNC109 (Faust's signature)
        """Fetched records; of topics that opted in, a message holds the list of them, and the offset of the first."""
        epoch = self.epoch
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            return  # a rebalance began in the moment of the hand-over; it makes all positions anew
        mine = {tp: records.pop(tp) for tp in list(records) if tp.topic in self.transport.stages}
        if epoch is None or epoch != self.epoch:
            # Faust lets records flow before its rebalance is over. Whether these are from before or after the seek
            # cannot be told: a gap would be taken for one of the log's own. Read them again.
            if mine:
                await self._seek_stages({topic: stage.positions() for topic, stage in self.transport.stages.items()})
        else:
            for tp, batch in mine.items():
                if self._stale(generation):
                    return
                if batch and self._wanted(tp, active):
                    self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                    yield tp, self._batch_message(tp, Fetch(epoch, batch))
                    # Faust drops what lies below its own note, and makes that after a seek, too. Stages know better.
                    self._read_offset[tp] = None
        for tp, record in self.scheduler.iterate(records):
            if self._stale(generation):
                return
            if self._wanted(tp, active):
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
                yield tp, self._to_message(tp, record)

    def _batch_message(self, tp: TP, fetch: Fetch) -> Message:
        first = fetch.records[0]
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            first.offset,
            first.timestamp / 1000,
            first.timestamp_type,
            (),
            None,
            fetch,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _stale(self, generation: int) -> bool:
        return not self.flow_active or self.app.consumer_generation_id != generation

    def _wanted(self, tp: TP, active: set[TP] | None) -> bool:
        return active is None or tp in active or tp in self._buffered_partitions

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # Gaps matter to Faust's acknowledgements alone, and opted-in topics have none of those.
        if tp.topic not in self.transport.stages:
            await super()._add_gap(tp, offset_from, offset_to)

    def ack(self, message: Message) -> bool:
        """Faust is done with a message. For opted-in topics that commits nothing: see `commit_positions`."""
        if message.topic not in self.transport.stages:
            return bool(super().ack(message))
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        # Faust's compiled stream iterator notes acknowledgements past `ack`.
        for tp in super()._filter_tps_with_pending_acks(topics):
            if tp.topic in self.transport.stages:
                self._acked[tp].clear()
                self._acked_index[tp].clear()
            else:
                yield tp

    def lag(self, topic: str, partition: int, upto: int) -> int | None:
        """Records from `upto` on that wait in a partition, as far as the last fetch said; None before it did."""
        tp = TP(topic, partition)
        end = self.highwater(tp) if tp in self.assignment() else None
        return None if end is None else max(0, end - upto)

    async def reads_on_at(self, topic: str, partition: int) -> int | None:
        """The offset of the next fetch of a partition, past what no consumer sees; None if a rebalance took it away."""
        try:
            offset: int | None = await self.position(TP(topic, partition))
        except IllegalStateError:
            return None
        return offset

    def committed(self, topic: str, partition: int) -> int:
        """The offset that the group had committed when positions were last set; 0 if none."""
        offset: int | None = self._committed_offset[TP(topic, partition)]
        return offset if offset is not None and offset > 0 else 0

    async def commit_positions(self, topic: str, positions: Mapping[int, int]) -> None:
        """Tell the group that the records before these offsets are dealt with: for tools that show lag."""
        assigned = self.assignment()
        offsets = {TP(topic, partition): offset for partition, offset in positions.items()}
        news = {
            tp: offset for tp, offset in offsets.items() if tp in assigned and self._told_positions.get(tp) != offset
        }
        if news and await self._commit(news):
            self._told_positions.update(news)

    async def perform_seek(self) -> None:
        """Seek where the stages say, elsewhere to the committed offsets."""
        self.epoch = None
        self._told_positions.clear()  # others may have committed meanwhile
        await super().perform_seek()
        assigned = self.assignment()
        positions = {}
        for topic, stage in self.transport.stages.items():
            mine = frozenset(tp.partition for tp in assigned if tp.topic == topic)
            positions[topic] = await stage.resume(mine)
        await self._seek_stages(positions)
        self._epochs += 1
        self.epoch = self._epochs

    async def _seek_stages(self, positions: Mapping[str, Mapping[int, int]]) -> None:
        offsets = {
            TP(topic, partition): offset for topic, each in positions.items() for partition, offset in each.items()
        }
        await self._thread.seek_all(offsets)
        self._read_offset.update(dict.fromkeys(offsets))


class Transport(driver.Transport):  # type: ignore[misc]
    """The transport behind `groundswell://` addresses.

    stages: the topics that opted in, and who reads them.
    true_ends: asked for the ends of partitions where the broker's own answer is wrong, as the embedded one's is.
    """

    Consumer = Consumer
    stages: dict[str, Stage]
    true_ends: TrueEnds | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.stages = {}
        self.true_ends = None

    def opt_in(self, topic: str, stage: Stage) -> None:
        """Deliver a topic's records by the fetch, and go on in it where `stage` says."""
        self.stages[topic] = stage


class Records(faust.Schema):  # type: ignore[misc]
    """Schema of topics that opted in: a message's value is a Fetch, as it is."""

    def loads_key(self, app: Any, message: Message, **_: Any) -> Any:
        """Nothing: each record has its own."""
        return None

    def loads_value(self, app: Any, message: Message, **_: Any) -> Any:
        """The fetch."""
        return message.value

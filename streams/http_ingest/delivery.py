"""Reports to Kafka: those of a request as one record batch to one partition, so that all are in or none.

A producer that is idempotent never gives up a batch that it has once taken. Whoever waits for it does, and is told that
nobody knows; so that the batch does not come after all, when the reports were sent anew, the producer is given up with
it, and the next request makes another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)

from streams.fault import Fault
from streams.http_ingest.problem import Refusal, Refused
from streams.kafka import client_options, heed
from streams.settings import Settings
from streams.topics import names

#: Time until a client should try again, seconds.
RETRY_SECONDS = 5
#: Between two looks at which partitions can be written, seconds.
LOOK_SECONDS = 0.2
#: How long a producer may take to say good-bye, seconds.
GOODBYE_SECONDS = 5.0
#: A batch takes whatever is taken from a body: no request is split.
BATCH_BYTES = 2**31 - 1

log = structlog.get_logger(__name__)


class Delivery:
    """The way to the reports topic."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = names(settings).reports
        self._seconds = settings.http_ingest.kafka_seconds
        self._producer: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[AIOKafkaProducer] | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._turns = count()

    async def put(self, values: Sequence[bytes]) -> None:
        """Send the reports; returns when Kafka has confirmed all of them. Refused where it has not: see `taken`."""
        producer: AIOKafkaProducer | None = None
        sent = False
        try:
            async with asyncio.timeout(self._seconds):
                producer = await self._connected()
                batch = producer.create_batch()
                for value in values:
                    batch.append(timestamp=None, key=None, value=value)
                partition = await self._partition(producer)
                confirmed = await producer.send_batch(batch, self._topic, partition=partition)
                sent = True
                await confirmed
        except (MessageSizeTooLargeError, RecordListTooLargeError):
            raise _too_large() from None
        except (KafkaError, Fault, TimeoutError, OSError) as error:
            self._give_up(producer)
            if not sent or isinstance(error, TopicAuthorizationFailedError):
                log.warning("reports over HTTP are refused: Kafka does not take them", error=repr(error))
                raise _away() from None
            log.warning("reports over HTTP may be in or not: Kafka has not confirmed them", error=repr(error))
            raise _silent() from None

    async def close(self) -> None:
        """Let go of Kafka. What is on its way is confirmed or given up."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._producer is not None:
            self._give_up(self._producer)
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _connected(self) -> AIOKafkaProducer:
        """The producer; one attempt at a time makes it, for all who wait."""
        if self._producer is not None:
            return self._producer
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
            # All who wait may have given up before it fails.
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **client_options(self._settings),
            acks="all",
            # A batch sent again because its acknowledgement got lost would count twice; the embedded broker cannot.
            enable_idempotence=not self._settings.kafka.embedded,
            compression_type="zstd",
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=round(self._seconds * 1000),
        )
        try:
            async with asyncio.timeout(self._seconds):
                await producer.start()
        except BaseException:
            await _leave(producer)
            raise
        self._producer = producer
        return producer

    async def _partition(self, producer: AIOKafkaProducer) -> int:
        """One whose leader answers, each in its turn. Waits for one: an election takes a few seconds."""
        while True:
            partitions: list[int] = sorted(await producer.partitions_for(self._topic))
            turn = next(self._turns)
            for place in range(len(partitions)):
                partition = partitions[(turn + place) % len(partitions)]
                leader = producer.client.cluster.leader_for_partition(TopicPartition(self._topic, partition))
                if leader is not None and leader >= 0 and await producer.client.ready(leader):
                    return partition
            await producer.client.force_metadata_update()
            await asyncio.sleep(LOOK_SECONDS)

    def _give_up(self, producer: AIOKafkaProducer | None) -> None:
        if producer is None or producer is not self._producer:
            return  # somebody else who waited for it has
        self._producer = None
        leaving = asyncio.create_task(_leave(producer))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)


async def _leave(producer: AIOKafkaProducer) -> None:
    """Close a producer without sending what it still has; whoever waits for that is told."""
    try:
        async with asyncio.timeout(GOODBYE_SECONDS):
            # stop() would let the sender go on for as long as it has anything. It ends when the answers that it waits
            # for come, or when their connections are closed.
            ending = asyncio.create_task(producer._sender.close())
            await heed(producer.client.close())
            await ending
            kept = producer._message_accumulator
            batches = [*kept._pending_batches, *(batch for queue in kept._batches.values() for batch in queue)]
            kept.fail_all(KafkaConnectionError("the producer was given up"))
            # Where nobody waits any more, asyncio would complain that nobody took note.
            told = [each for batch in batches for each in (batch.future, batch.wait_drain())]
            await asyncio.gather(*told, return_exceptions=True)
            await heed(producer.stop())
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("a Kafka producer did not end in order", error=repr(error))


def _away() -> Refused:
    return Refused(
        Refusal.KAFKA_AWAY,
        "Kafka does not take reports now; none was sent",
        f"Send the same again in {RETRY_SECONDS} s.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def _silent() -> Refused:
    return Refused(
        Refusal.KAFKA_SILENT,
        "Kafka has not confirmed the reports in time: all of them are in, or none is",
        f"Send the same again in {RETRY_SECONDS} s if to miss them is worse than to count them twice.",
        headers={"Retry-After": str(RETRY_SECONDS)},
    )


def _too_large() -> Refused:
    return Refused(
        Refusal.TOO_LARGE,
        "Kafka takes no batch as large as these reports; none is in",
        "Split them over several requests.",
    )

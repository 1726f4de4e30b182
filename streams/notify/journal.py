"""Journal: what was delivered, on `alerts-delivered`, and what was refused for good, on `alerts-undelivered`."""

from __future__ import annotations

import asyncio

import msgspec
import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from detectors.alert import utc
from detectors.delivery import Delivery, Told
from streams.kafka import client_options, heed, records_of
from streams.notify.answer import Refused
from streams.notify.undelivered import Undelivered, encode, headers
from streams.settings import Settings
from streams.topics import names

#: How long a record may take to be with the broker before the delivery goes on without it: to page comes first.
WRITE_SECONDS = 5.0

log = structlog.get_logger(__name__)

_encode_told = msgspec.json.Encoder().encode
_decode_told = msgspec.json.Decoder(Told).decode


class Journal:
    """Both topics, for all destinations of a worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = names(settings)
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def told(self, destination: str) -> dict[str, Told]:
        """What the destination was told last of each incident, in the order of the telling.

        Raises aiokafka's KafkaError, TimeoutError.
        """
        found: dict[str, Told] = {}
        begin = f"{destination}/".encode()
        async for record in records_of(self._settings, [TopicPartition(self._topics.delivered, 0)]):
            if record.value is None or not (record.key or b"").startswith(begin):
                continue
            try:
                told = _decode_told(record.value)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                log.warning("a record on alerts-delivered is not ours", offset=record.offset)
                continue
            found.pop(told.incident, None)
            found[told.incident] = told
        return found

    async def write(self, destination: str, told: list[Told]) -> None:
        """Keep what a destination was told. Where Kafka does not take it, it is told again after a restart, no more."""
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                producer = await self._ready()
                for each in told:
                    key = f"{destination}/{each.incident}".encode()
                    await producer.send_and_wait(self._topics.delivered, _encode_told(each), key=key, partition=0)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("what was delivered could not be kept; a restart may deliver it again", error=repr(error))

    async def refused(self, destination: str, delivery: Delivery, answer: Refused, now: int) -> bool:
        """Keep what a destination refused; whether Kafka has it. now: ms since 1970."""
        letter = Undelivered(
            destination=destination, status=answer.status, answer=answer.text, at=utc(now), alert=delivery.alert
        )
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                producer = await self._ready()
                await producer.send_and_wait(
                    self._topics.undelivered,
                    encode(letter),
                    key=delivery.alert.id.encode(),
                    partition=0,
                    headers=headers(letter),
                )
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("what was refused could not be kept; it is tried again", error=repr(error))
            return False
        return True

    async def _ready(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(**client_options(self._settings), acks="all")
                await producer.start()
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Let go of the connection."""
        if self._producer is not None:
            await heed(self._producer.stop())

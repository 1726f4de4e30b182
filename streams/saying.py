"""Saying: a command about an incident on its way to `incident-commands`, and the record on `alerts` that answers it."""

from __future__ import annotations

import asyncio
import time
import uuid

from aiokafka import AIOKafkaProducer

from detectors import command as command_record
from detectors.alert import Alert
from detectors.command import Action, Command
from detectors.report import Rejected
from streams.kafka import client_options, heed
from streams.settings import Settings
from streams.topics import names


def command(
    action: Action,
    incident: str,
    *,
    by: str,
    reason: str = "",
    for_seconds: float | None = None,
    until: object = None,
) -> Command | Rejected:
    """A new command, said now, as a worker will take it; or why it would not.

    until: of a mute, a time as a command may have it.
    """
    said = {
        "id": uuid.uuid4().hex,
        "action": action.value,
        "incident": incident,
        "by": by,
        "reason": reason,
        "at": time.time_ns() // 1_000_000,
        "for_seconds": for_seconds,
        "until": until,
    }
    return command_record.decode(command_record.encode(said))


def is_answer(alert: Alert, command: Command) -> bool:
    """Whether a record is the one that answers a command."""
    return alert.id == command.incident and alert.word is not None and alert.word.id == command.id


class Speaker:
    """Sends commands. Its producer is made when the first one is sent, and kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = names(settings).commands
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, command: Command) -> None:
        """Send a command; returns when the broker has it. Raises Fault and aiokafka's KafkaError."""
        producer = await self._started()
        value = command_record.encode(command)
        await producer.send_and_wait(self._topic, value, key=command.incident.encode(), partition=0)

    async def close(self) -> None:
        """Let go of the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await heed(producer.stop())

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(**client_options(self._settings), acks="all")
                try:
                    await producer.start()
                except BaseException:
                    await heed(producer.stop())
                    raise
                self._producer = producer
            return self._producer

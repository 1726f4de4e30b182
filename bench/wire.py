"""When a process first asked for a topic's records, and when its own records were acknowledged: read off the wire."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import ProduceRequest


class Fetched(msgspec.Struct, frozen=True, tag="fetched"):
    """The first fetch request for records of `topic` left at `at`, seconds of the monotonic clock."""

    topic: str
    at: float


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged"):
    """At `at` the broker had acknowledged a batch whose first record has `offset`."""

    topic: str
    partition: int
    offset: int
    at: float


class Handled(msgspec.Struct, frozen=True, tag="handled"):
    """At `at` the process was through with `records` records."""

    records: int
    at: float


Event = Fetched | Acknowledged | Handled
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


def note(file: Path, *, fetched: str, acknowledged: str) -> None:
    """From now on append to `file` what this process does about the two topics, an event a line.

    A few hundred requests a run pass here, so the measured process pays some microseconds for it.
    """
    send = AIOKafkaConnection.send
    seen = False

    def noted_send(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
        nonlocal seen
        if isinstance(request, FetchRequest):
            if not seen and any(topic == fetched for topic, _ in request.topics):
                seen = True
                append(file, Fetched(fetched, time.monotonic()))
        elif isinstance(request, ProduceRequest) and any(topic == acknowledged for topic, _ in request._topics):
            return noted_answer(send(self, request, expect_response))
        return send(self, request, expect_response)

    async def noted_answer(answer: Any) -> Any:
        response = await answer
        at = time.monotonic()
        for topic, partitions in response.topics:
            for partition, _, offset, *_ in partitions:
                if topic == acknowledged:
                    append(file, Acknowledged(topic, partition, offset, at))
        return response

    AIOKafkaConnection.send = noted_send


def append(file: Path, event: Event) -> None:
    with file.open("ab") as out:
        out.write(_encode(event) + b"\n")


def read(file: Path) -> list[Event]:
    """What was noted; nothing where there is no file yet."""
    if not file.exists():
        return []
    return [_decode(line) for line in file.read_bytes().splitlines()]

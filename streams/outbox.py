"""Outbox: records on their way to the broker, and the wait until it has them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import faust


class Outbox:
    """What a stage sends between two points at which all of it has to be safe."""

    def __init__(self, app: faust.App) -> None:
        self._app = app
        self._pending: list[Awaitable[Any]] = []

    async def put(
        self,
        topic: str,
        partition: int,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Hand a record to the producer; it waits where its buffer is full."""
        self._pending.append(await self._app.producer.send(topic, key, value, partition, None, list(headers)))

    async def flush(self) -> None:
        """Wait until the broker has all of it. Raises what the producer raises if it has not."""
        pending, self._pending = self._pending, []
        if pending:
            await asyncio.gather(*pending)

"""Commands: incident-commands → surges. What people say of incidents gets its place in the log that the judge reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import time
from typing import Any

import faust
import structlog

from detectors.command import decode, encode_logged
from detectors.report import Rejected
from streams.console import safe, shortened
from streams.health import Health
from streams.metrics import Metrics
from streams.outbox import Outbox
from streams.topics import Topics

STAGE = "commands"

log = structlog.get_logger(__name__)


class Commands:
    """The stage behind `incident-commands`.

    It knows nothing but where to go on, which the group's commit tells well enough: a command that is forwarded twice
    is heeded once.
    """

    def __init__(self, app: faust.App, topics: Topics, metrics: Metrics, health: Health) -> None:
        self._app = app
        self._topics = topics
        self._metrics = metrics
        self._health = health
        self._outbox = Outbox(app)
        self._upto: int | None = None
        self._lock = asyncio.Lock()

    async def resume(self, assigned: frozenset[int]) -> Mapping[int, int]:
        """Go on from the committed offset if the partition is newly ours, let go of it if it is no longer."""
        async with self._lock:
            self.release(assigned)
            if assigned and self._upto is None:
                self._upto = self._app.consumer.committed(self._topics.commands, 0)
            return self.positions()

    def positions(self) -> Mapping[int, int]:
        """The offset to read next, if the partition is in hand."""
        return {} if self._upto is None else {0: self._upto}

    def release(self, assigned: frozenset[int]) -> None:
        """Let go of the partition if it is another worker's now."""
        if not assigned and self._upto is not None:
            self._upto = None
            self._metrics.forget_lag(self._topics.commands, 0)

    async def handle(self, _partition: int, records: Sequence[Any]) -> None:
        """Forward the commands of a fetch; returns when the broker has them."""
        async with self._lock:
            if self._upto is None:
                return  # taken away meanwhile: its next owner reads them
            strange: list[tuple[int, Rejected]] = []
            for record in records:
                command = decode(record.value)
                if isinstance(command, Rejected):
                    self._metrics.commands_rejected.labels(command.reason.value).inc()
                    strange.append((record.offset, command))
                    continue
                await self._outbox.put(self._topics.surges, 0, encode_logged(command), key=b"command")
                self._metrics.commands.labels(command.action.value).inc()
            await self._outbox.flush()
            if strange:
                _tell(strange)
            if self._upto is not None:  # no rebalance took it away meanwhile
                self._upto = records[-1].offset + 1
            self._health.moved(STAGE, time())

    async def run(self) -> None:
        """Commit what is forwarded, and tell the lag, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            positions = self.positions()
            lag = 0
            if positions:
                lag = self._app.consumer.lag(self._topics.commands, 0, positions[0]) or 0
                self._metrics.input_lag.labels(self._topics.commands, 0).set(lag)
            self._health.lag(STAGE, lag, time())
            await self._app.consumer.commit_positions(self._topics.commands, positions)


def _tell(strange: list[tuple[int, Rejected]]) -> None:
    """One line, whatever somebody writes there."""
    offset, why = strange[0]
    log.warning(
        "records on incident-commands that are no commands were left out",
        number=len(strange),
        first=offset,
        reason=why.reason.value,
        path=why.path,
        detail=shortened(safe(why.detail), 200),  # it may quote what was written
    )

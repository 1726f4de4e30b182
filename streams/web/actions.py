"""Actions: what people say of an incident on the page or by the API, sent, and answered."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated

import msgspec
import structlog
from aiokafka.errors import KafkaError
from msgspec import Meta

from detectors import command as command_record
from detectors.alert import Alert, State
from detectors.command import MAX_REASON, Command
from detectors.report import Rejected
from streams import saying
from streams.fault import Fault
from streams.web.incidents import IncidentView

#: How long the broker may take to have a command, s.
SEND_SECONDS = 5.0
#: How long a worker may take until its answer is on `alerts`, s.
ANSWER_SECONDS = 6.0

log = structlog.get_logger(__name__)

Send = Callable[[Command], Awaitable[None]]


class CommandRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to say of an incident. Who says it is told by the token or the proxy."""

    action: command_record.Asked
    reason: Annotated[str, Meta(max_length=MAX_REASON, description="why, for those who see the incident")] = ""
    for_seconds: command_record.ForSeconds = None
    until: Annotated[
        Annotated[datetime, Meta(tz=True)] | int | float | None,
        Meta(description="of a mute, instead of for_seconds: until when, an event time"),
    ] = None


class Outcome(enum.StrEnum):
    """What became of a command."""

    DONE = "done"
    SENT = "sent"


class Problem(enum.StrEnum):
    """Why a command was not sent; each has its text and status."""

    READ_ONLY = "read_only"
    WHO_ARE_YOU = "who_are_you"
    CROSS_SITE = "cross_site"
    NO_INCIDENT = "no_incident"
    IS_RESOLVED = "is_resolved"
    BAD_COMMAND = "bad_command"
    KAFKA_AWAY = "kafka_away"


STATUS = {
    Problem.READ_ONLY: 403,
    Problem.WHO_ARE_YOU: 401,
    Problem.CROSS_SITE: 403,
    Problem.NO_INCIDENT: 404,
    Problem.IS_RESOLVED: 409,
    Problem.BAD_COMMAND: 400,
    Problem.KAFKA_AWAY: 503,
}


class Refused(msgspec.Struct, frozen=True):
    """Why a command was not sent. path: of the bad field, detail: what is wrong with it."""

    problem: Problem
    path: str = ""
    detail: str = ""


class Said(msgspec.Struct, frozen=True):
    """A command that was sent."""

    command: Command
    outcome: Outcome


class Actions:
    """Says what people want said."""

    def __init__(self, view: IncidentView, send: Send) -> None:
        """send: puts a command on `incident-commands`; returns when the broker has it."""
        self._view = view
        self._send = send
        self._waiting: dict[str, asyncio.Event] = {}
        view.listen(self._heard)

    async def say(self, incident: str, asked: CommandRequest, by: str) -> Said | Refused:
        """Send a command about an incident, and wait a while for the record that answers it."""
        alert = self._view.get(incident)
        if alert is None:
            return Refused(Problem.NO_INCIDENT)
        if alert.state is State.RESOLVED:
            return Refused(Problem.IS_RESOLVED)
        command = saying.command(
            asked.action, incident, by=by, reason=asked.reason, for_seconds=asked.for_seconds, until=asked.until
        )
        if isinstance(command, Rejected):
            return Refused(Problem.BAD_COMMAND, command.path, command.detail)
        answered = self._waiting[command.id] = asyncio.Event()
        try:
            return await self._sent(command, answered)
        finally:
            del self._waiting[command.id]

    async def _sent(self, command: Command, answered: asyncio.Event) -> Said | Refused:
        about = {"incident": command.incident, "action": command.action.value, "by": command.by}
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(command)
        except (KafkaError, TimeoutError, OSError, Fault) as error:
            log.warning("a command could not be sent", **about, error=repr(error))
            return Refused(Problem.KAFKA_AWAY)
        log.info("command sent", **about)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await answered.wait()
        except TimeoutError:
            return Said(command, Outcome.SENT)
        return Said(command, Outcome.DONE)

    def _heard(self, alert: Alert) -> None:
        """A record answers a command, of ours or another's."""
        if alert.word is not None and (answered := self._waiting.get(alert.word.id)) is not None:
            answered.set()

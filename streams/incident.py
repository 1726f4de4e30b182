"""`groundswell incident`: what is open, and what people say about it."""

from __future__ import annotations

import asyncio
import contextlib
import getpass

from msgspec.structs import replace

from detectors import alert as alert_record
from detectors.alert import Alert, State, title
from detectors.command import Action, Command
from detectors.report import Rejected
from streams import saying, tail
from streams.console import err, out, safe, table
from streams.fault import Fault
from streams.settings import Settings
from streams.topics import names
from streams.web.incidents import badness

#: An id may be cut to so many characters where it is still the only one that begins so.
LEAST_PREFIX = 4
#: How long a worker may take until its answer is on the topic, s.
WAIT_SECONDS = 10.0


class IncidentError(Fault):
    """A command came to nothing."""


def made(
    action: Action,
    *,
    by: str | None = None,
    reason: str = "",
    for_seconds: float | None = None,
    until: int | None = None,
) -> Command:
    """A command for an incident that is still to be found. by: None for who is logged in. until: ms since 1970.

    IncidentError where it is none that a worker would take.
    """
    checked = saying.command(
        action, "?", by=_me() if by is None else by, reason=reason, for_seconds=for_seconds, until=until
    )
    if isinstance(checked, Rejected):
        option = checked.path.replace("$.", "--").replace("--for_seconds", "--for")
        raise IncidentError(f"{option} cannot be taken", checked.detail)
    return checked


def _me() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        raise IncidentError("nobody knows who you are", "This user has no login name.", "Give --by NAME.") from None


def say(settings: Settings, command: Command, incident: str, *, wait_seconds: float | None, json_output: bool) -> int:
    """Send a command of `made`, wait for the record that answers it, print that. 0; IncidentError where there is none.

    incident: id or the begin of it. wait_seconds: None: do not wait.
    """
    return asyncio.run(_say(settings, command, incident, wait_seconds, json_output))


async def _say(
    settings: Settings, command: Command, incident: str, wait_seconds: float | None, json_output: bool
) -> int:
    topic = names(settings).commands
    await tail.check_topic(settings, topic)
    since = await tail.next_offset(settings)
    told = named(await last_alerts(settings), incident)
    command = replace(command, incident=told.id)
    speaker = saying.Speaker(settings)
    try:
        await speaker.send(command)
    finally:
        await speaker.close()
    if wait_seconds is None:
        err.print(safe(f"sent: {command.action.value} {told.id}, {title(told)}"))
        return 0
    answer = await _answer(settings, command, since, wait_seconds)
    if json_output:
        tail.print_json(alert_record.encode(answer))
    else:
        out.print(tail.line(answer), soft_wrap=True)
    return 0


async def _answer(settings: Settings, command: Command, since: int, wait_seconds: float) -> Alert:
    """The record that answers a command. since: offset on `alerts` before it was sent."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_seconds):
            following = tail.alerts(settings, from_start=False, follow=True, since=since)
            async with contextlib.aclosing(following) as found:
                async for alert in found:
                    if saying.is_answer(alert, command):
                        return alert
    raise IncidentError(
        f"no worker answered within {wait_seconds:g} s",
        f"The command is on topic {names(settings).commands}: a worker heeds it as soon as it gets there, unless the"
        " incident is resolved by then.",
        "See that a worker runs and has caught up. What became of it: groundswell incident list",
    )


async def last_alerts(settings: Settings) -> dict[str, Alert]:
    """The last record of each incident that the topic keeps, by id."""
    last: dict[str, Alert] = {}
    async with contextlib.aclosing(tail.alerts(settings, from_start=True, follow=False)) as found:
        async for alert in found:
            before = last.get(alert.id)
            if before is None or alert.sequence > before.sequence:
                last[alert.id] = alert
    return last


def named(last: dict[str, Alert], incident: str) -> Alert:
    """The open incident of this id, or the only one whose id begins so. IncidentError where there is none."""
    if len(incident) < LEAST_PREFIX:
        raise IncidentError(
            f"{incident!r} is too short for an id", f"Give {LEAST_PREFIX} characters of it or more.", _LIST
        )
    exact = last.get(incident)
    found = [exact] if exact is not None else [each for each in last.values() if each.id.startswith(incident)]
    still_open = [alert for alert in found if alert.state is not State.RESOLVED]
    if len(still_open) > 1:
        ids = "\n".join(f"{alert.id}  {title(alert)}" for alert in still_open[:10])
        raise IncidentError(f"{len(still_open)} open incidents begin with {incident!r}", ids, "Give more of the id.")
    if still_open:
        return still_open[0]
    if found:
        raise IncidentError(f"incident {found[0].id} is resolved already", found[0].summary, _LIST)
    raise IncidentError(f"no incident has the id {incident!r}", "", _LIST)


_LIST = "What is open: groundswell incident list"


def show(settings: Settings, *, json_output: bool) -> int:
    """Print the open incidents, the worst first: a table for people, or their last records as JSON, a line each. 0."""
    last = asyncio.run(last_alerts(settings))
    still_open = sorted((alert for alert in last.values() if alert.state is not State.RESOLVED), key=lambda a: a.id)
    still_open.sort(key=badness, reverse=True)
    if json_output:
        for alert in still_open:
            tail.print_json(alert_record.encode(alert))
        return 0
    rows = table("id", "severity", "what", "since", "")
    for alert in still_open:
        notes = [*(["part of a wider incident"] if alert.parent else []), *tail.spoken_for(alert)]
        cells = (alert.id, alert.severity.value, title(alert), alert.started_at)
        rows.add_row(*map(safe, cells), ", ".join(notes))
    if still_open:
        out.print(rows)
    else:
        err.print("no incident is open")
    return 0

"""`groundswell tail`: the alerts, as their topic has them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncGenerator

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.text import Text

from detectors import alert as alert_record
from detectors.alert import Alert, Severity, State, asks
from streams.cluster import look
from streams.console import err, out, safe
from streams.fault import Fault
from streams.kafka import client_options, end_offsets, heed
from streams.settings import Settings
from streams.topics import names

#: How long a fetch may wait for the first record.
WAIT_MS = 500
#: How long the broker may send nothing though there is more.
SILENCE_SECONDS = 30.0

_STYLES = {Severity.CRITICAL: "bold red", Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


class TailError(Fault):
    """The alerts cannot be read."""


async def alerts(
    settings: Settings, *, from_start: bool, follow: bool, since: int | None = None
) -> AsyncGenerator[Alert, None]:
    """The alerts on the topic, in its order.

    from_start: begin with the oldest that is kept, else with the next one; since: with this offset instead. follow:
    wait for more at the end, else stop.
    Records that hold no alert are left out. Raises Fault, and aiokafka's KafkaError.
    """
    async for value in _values(settings, from_start=from_start, follow=follow, since=since):
        found = _alert(value)
        if found is not None:
            yield found


async def next_offset(settings: Settings) -> int:
    """The offset that the next alert will get. Raises as `alerts`."""
    topic = names(settings).alerts
    await check_topic(settings, topic)
    partition = TopicPartition(topic, 0)
    return (await end_offsets(settings, [partition]))[partition]


async def _values(
    settings: Settings, *, from_start: bool, follow: bool, since: int | None = None
) -> AsyncGenerator[bytes, None]:
    end = await next_offset(settings)
    topic = names(settings).alerts
    partition = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        **client_options(settings), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        if from_start:
            await consumer.seek_to_beginning(partition)
        else:
            consumer.seek(partition, end if since is None else since)
        silent_since = time.monotonic()
        while follow or await consumer.position(partition) < end:
            records = (await consumer.getmany(timeout_ms=WAIT_MS)).get(partition, [])
            for record in records:
                if record.value is not None and (follow or record.offset < end):
                    yield record.value
            if records:
                silent_since = time.monotonic()
            elif not follow and time.monotonic() - silent_since > SILENCE_SECONDS:
                raise TailError(
                    f"topic {topic} has more alerts, but the broker sends none", hint="Run: groundswell check"
                )
    finally:
        await heed(consumer.stop())


async def check_topic(settings: Settings, topic: str) -> None:
    """TailError where we see no such topic."""
    seen = await look(settings, [topic])
    if topic in seen.forbidden:
        raise TailError(f"we may not see topic {topic}", hint="Ask for the rights to describe, read and write it.")
    if topic not in seen.topics:
        raise TailError(f"topic {topic} is missing", "A worker creates it when it starts.", "Run: groundswell topics")


def _alert(value: bytes) -> Alert | None:
    try:
        return alert_record.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        err.print(f"left out a record that is no alert of ours: {safe(repr(value[:80]))}")
        return None


def run(settings: Settings, *, json_output: bool, follow: bool, from_start: bool) -> int:
    """Print the alerts: a line each for people, or the records' own JSON, a line each. 0, once there are no more."""
    printing = _print_json if json_output else _print_lines
    asyncio.run(printing(settings, follow, from_start))
    return 0


async def _print_lines(settings: Settings, follow: bool, from_start: bool) -> None:
    async with contextlib.aclosing(alerts(settings, from_start=from_start, follow=follow)) as found:
        async for alert in found:
            out.print(line(alert), soft_wrap=True)


async def _print_json(settings: Settings, follow: bool, from_start: bool) -> None:
    async with contextlib.aclosing(_values(settings, from_start=from_start, follow=follow)) as found:
        async for value in found:
            if _alert(value) is not None:
                print_json(value)


def print_json(value: bytes) -> None:
    """A record's value as it is, on a line of stdout, at once."""
    sys.stdout.buffer.write(value + b"\n")
    sys.stdout.buffer.flush()


def line(alert: Alert) -> Text:
    """An alert for people, on one line: when it was decided, what it is, how bad, what happened."""
    resolved = alert.state is State.RESOLVED
    # What another incident explains, was planned, or people spoke for, calls nobody.
    style = "green" if resolved else _STYLES[alert.severity] if asks(alert) else "dim"
    return Text.assemble(
        (safe(alert.updated_at), "dim"),
        "  ",
        (f"{alert.state.value:<8}", style),
        "  ",
        (f"{alert.severity.value:<8}", "dim" if resolved else style),
        "  ",
        (safe(alert.summary), "dim" if alert.parent else ""),
        ("  part of a wider incident" if alert.parent else "", "dim"),
        *((f"  {each}", "dim") for each in spoken_for(alert)),
        no_wrap=True,
        overflow="ignore",
    )


def spoken_for(alert: Alert) -> list[str]:
    """Who wants no page for an incident, in words that are safe to show."""
    told = []
    if alert.acknowledged is not None:
        told.append(f"acknowledged by {safe(alert.acknowledged.by)}")
    if alert.muted is not None:
        until = f" until {safe(alert.muted.until)}" if alert.muted.until is not None else ""
        told.append(f"muted by {safe(alert.muted.by)}{until}")
    return told

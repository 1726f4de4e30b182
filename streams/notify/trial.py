"""`groundswell notify-test`: a marked incident goes to a destination, is opened there and resolved."""

from __future__ import annotations

import asyncio
import secrets
from time import time

from msgspec.structs import replace

from detectors.alert import Alert, Kind, Severity, State, utc
from detectors.delivery import Action, Delivery, standing
from streams.console import err, out, safe
from streams.fault import Fault
from streams.notify.answer import Answer, Failed, Receiver, Refused, Taken
from streams.notify.receivers import receiver
from streams.settings import Settings


class TrialError(Fault):
    """The test incident did not get there."""


def run(settings: Settings, name: str, *, service: str, severity: Severity, keep_open: bool) -> int:
    """Say what the destination answers. 0; TrialError where it does not take it."""
    destination = settings.destinations.get(name)
    if destination is None:
        there = ", ".join(settings.destinations)
        raise TrialError(
            f"there is no destination {name!r}",
            hint=f"There are: {there}." if there else "Write one: [destination.oncall], see docs/settings.md.",
        )
    carries = receiver(destination, settings.notify, page_url=settings.web.public_url)
    asyncio.run(_try(carries, name, incident(service, severity, time()), settings.notify.timeout_seconds, keep_open))
    return 0


def incident(service: str, severity: Severity, now: float) -> Alert:
    """An open incident that says of itself that it is a test. now: seconds since 1970."""
    at = utc(round(now) * 1000)
    return Alert(
        id=f"test{secrets.token_hex(6)}",
        sequence=1,
        episode=1,
        state=State.OPEN,
        kind=Kind.SERVICE,
        sources=["groundswell notify-test"],
        service=service,
        region=None,
        severity=severity,
        started_at=at,
        detected_at=at,
        updated_at=at,
        resolved_at=None,
        summary=f"TEST of Groundswell's notifications: {service} is not down, nothing has to be done",
        observed=0,
        expected=0.0,
        expected_low=0.0,
        expected_high=0.0,
        ratio=None,
        evidence=0.0,
        warming=False,
        course=None,
        reasons=["somebody ran groundswell notify-test"],
    )


async def _try(carries: Receiver, name: str, opened: Alert, timeout_seconds: float, keep_open: bool) -> None:
    try:
        first = Delivery(alert=opened, action=Action.OPEN, standing=standing(opened, opened.id), before=None)
        await _deliver(carries, name, first, timeout_seconds)
        if keep_open:
            return
        now = time()
        at = utc(round(now) * 1000)
        over = replace(opened, sequence=2, state=State.RESOLVED, updated_at=at, resolved_at=at)
        before = first.told(round(now * 1000))
        last = Delivery(alert=over, action=Action.RESOLVE, standing=standing(opened, opened.id), before=before)
        await _deliver(carries, name, last, timeout_seconds)
    finally:
        await carries.close()


async def _deliver(carries: Receiver, name: str, delivery: Delivery, timeout_seconds: float) -> None:
    what = f"{delivery.action.value} {delivery.alert.id}"
    err.print(safe(f"{name}: {what} …"))
    answer: Answer
    try:
        async with asyncio.timeout(timeout_seconds):
            (answer,) = await carries.deliver([delivery], time())
    except TimeoutError:
        answer = Failed(f"no answer within {timeout_seconds:g} s")
    match answer:
        case Taken():
            out.print(safe(f"{name}: {what}: taken"))
        case Refused(status, text):
            raise TrialError(
                f"{name} refuses it for good: {status}", text, "See that the address and the secret are right."
            )
        case Failed(why):
            raise TrialError(f"{name} did not take it: {why}", "A worker would try again.")

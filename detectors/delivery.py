"""Delivery: what a destination is told of each incident, and what it has been told already.

A destination is told the latest state, never the history: what it missed while it was down is skipped. What is told
depends on the incident's last record and on what the destination was told before; when, on the clock, an argument.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from detectors.alert import Alert, Kind, Severity, State, asks, millis
from detectors.backoff import Backoff, wait_seconds
from detectors.routing import Route, destinations

#: What was told of incidents is remembered for so many, those of longest ago are forgotten first: a replay repeats no
#: more than a snapshot interval of alerts.
TOLD_KEPT = 20_000
#: Incidents whose last record is kept at most: the judge has no more of them open.
LAST_KEPT = 50_000

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class DeliveryRule(msgspec.Struct, frozen=True, kw_only=True):
    """When incidents go out, and how often that is tried.

    ValueError where the longest wait is shorter than the first.
    """

    page_within_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="an incident that is told late (after a backfill, or hours of downtime) goes out if it is open"
            " now, or was detected within so long, seconds",
        ),
    ] = 900.0
    repeat_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="how often Alertmanager is told what it knows, seconds")
    ] = 60.0
    repeat_resolved_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long it is told that an incident is over, seconds")
    ] = 300.0
    retry_first_seconds: Annotated[
        float,
        Meta(gt=0, le=3600, description="wait after the first failure of a destination, seconds; then it doubles"),
    ] = 1.0
    retry_most_seconds: Annotated[
        float,
        Meta(gt=0, le=3600, description="the longest wait; a destination that is down is tried so often, seconds"),
    ] = 60.0
    circuit_after: Annotated[
        int, Meta(ge=1, le=1000, description="failures in a row after which a destination counts as down")
    ] = 5
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=300, description="how long a destination may take to answer, seconds")
    ] = 10.0

    def __post_init__(self) -> None:
        if self.retry_most_seconds < self.retry_first_seconds:
            raise ValueError(
                f"retry_most_seconds={self.retry_most_seconds} is less than retry_first_seconds; give that or more"
            )


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """What a kind of destination is told of.

    parts: also incidents that another one explains. inhibits: of these only while that other one is open there, too: it
    keeps them from calling somebody. quiet: also those that nobody shall be called for (acknowledged,
    muted, within maintenance). changes: each record of an incident, else only page and end. acknowledges: knows what it
    is to be acknowledged, and takes a severity that rises. repeats: has to be told again and again. most: incidents at
    a time. gap_seconds: least time between two deliveries.
    """

    parts: bool = False
    inhibits: bool = False
    quiet: bool = False
    changes: bool = False
    acknowledges: bool = False
    repeats: bool = False
    most: int = 1
    gap_seconds: float = 0.0


class Action(enum.StrEnum):
    """What a destination is told of an incident."""

    OPEN = "open"
    UPDATE = "update"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    REPEAT = "repeat"


class Outcome(enum.StrEnum):
    """What became of a record for a destination. RETRIED: of one try; SUPERSEDED: a later record went instead."""

    DELIVERED = "delivered"
    RETRIED = "retried"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


class Standing(msgspec.Struct, frozen=True):
    """What an incident spans and what explains it; both may turn out to be wider or narrower than they were told.

    cause: id of the incident that explains it in the end, its own where none does.
    """

    kind: Kind
    service: str | None
    region: str | None
    cause: str
    explained: bool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination was told last of an incident. at: when, ms by the clock.

    sure: whether it took that; else we were cut off after we began to tell it. quiet: nobody shall be called for it.
    """

    incident: str
    sequence: int
    episode: int
    action: Action
    severity: Severity
    standing: Standing
    quiet: bool
    at: int
    sure: bool = True

    @property
    def open(self) -> bool:
        """Whether it is open there."""
        return self.action is not Action.RESOLVE


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A record for a destination. before: what the destination was told last."""

    alert: Alert
    action: Action
    standing: Standing
    before: Told | None

    @property
    def open(self) -> bool:
        """Whether the incident is open at the destination after it."""
        if self.action is Action.REPEAT:
            return self.before is not None and self.before.open
        return self.action is not Action.RESOLVE

    def told(self, now: int, *, sure: bool = True) -> Told:
        """What the destination knows with it. now: ms by the clock."""
        return Told(
            incident=self.alert.id,
            sequence=self.alert.sequence,
            episode=self.alert.episode,
            action=self.action,
            severity=self.alert.severity,
            standing=self.standing,
            quiet=quiet(self.alert),
            at=now,
            sure=sure,
        )


def standing(alert: Alert, cause: str) -> Standing:
    """As the record has it. cause: see there."""
    return Standing(alert.kind, alert.service, alert.region, cause, alert.parent is not None)


def quiet(alert: Alert) -> bool:
    """Whether nobody shall be called for it, whatever explains it."""
    return not asks(msgspec.structs.replace(alert, parent=None))


def wanted(manner: Manner, alert: Alert) -> bool:
    """Whether a destination is told of an incident that it does not know yet."""
    return (manner.quiet or not quiet(alert)) and (manner.parts or alert.parent is None)


def decide(manner: Manner, alert: Alert, before: Told | None, *, routed: bool, timely: bool) -> Action | None:
    """What a destination is told by an incident's last record; None where nothing is.

    routed: a route leads there. timely: the incident is open now, or was detected lately. Both count for what the
    destination does not know yet: it is always told how what it knows goes on.
    """
    known = before is not None and before.open
    if before is not None and before.sure and alert.sequence <= before.sequence:
        return None
    if alert.state is State.RESOLVED:
        return Action.RESOLVE if known or (routed and timely and wanted(manner, alert)) else None
    if before is None or not before.open or not before.sure or alert.episode != before.episode:
        return Action.OPEN if routed and timely and wanted(manner, alert) else None
    if manner.changes:
        return Action.UPDATE
    if manner.acknowledges and quiet(alert) != before.quiet:
        return Action.ACKNOWLEDGE if quiet(alert) else Action.UPDATE
    if manner.acknowledges and _RANK[alert.severity] > _RANK[before.severity]:
        return Action.UPDATE
    return None


class _Pending(NamedTuple):
    """An incident whose last record may have to go out. tries: that failed. since: ms, when its record was read."""

    order: int
    tries: int
    timely: bool
    since: int


class Dispatch:
    """All that one destination has been told and is to be told next, in bounded memory.

    superseded: records that did not go out because a later one of their incident came.
    """

    def __init__(
        self,
        name: str,
        manner: Manner,
        rule: DeliveryRule,
        routes: Sequence[Route],
        *,
        named: Sequence[str],
        open_within_seconds: float,
        told: Mapping[str, Told] = {},
    ) -> None:
        """named: all destinations. open_within_seconds: an incident whose last record is that fresh is open now.

        told: as `taken` gave it, by incident, in the order in which it was told.
        """
        self._name = name
        self._manner = manner
        self._rule = rule
        self._routes = routes
        self._named = named
        self._open_within_ms = round(1000 * open_within_seconds)
        self._told = dict(told)
        self._last: dict[str, Alert] = {}
        self._parts: dict[str, dict[str, None]] = {}
        self._pending: dict[str, _Pending] = {}
        self._repeat_at: dict[str, int] = {}
        self._order = 0
        self._backoff = Backoff()
        self._not_before = 0
        self.superseded = 0

    # --- what comes in ---

    def take(self, alert: Alert, now: int) -> None:
        """A record of `alerts`, in the topic's order. now: ms by the clock."""
        last = self._last.pop(alert.id, None)
        if last is not None and alert.sequence <= last.sequence:
            self._last[alert.id] = last
            return
        self._remember(alert, last)
        waiting = self._pending.get(alert.id)
        if waiting is not None:
            self.superseded += 1
        timely = self._timely(alert, now) or (
            waiting is not None and waiting.timely and alert.state is not State.RESOLVED
        )
        self._consider(alert.id, now, timely=timely)
        if self._manner.inhibits:
            for part in list(self._parts.get(alert.id, ())):
                self._consider(part, now, timely=True)
        if len(self._last) > LAST_KEPT:
            self._forget()

    def _remember(self, alert: Alert, last: Alert | None) -> None:
        self._last[alert.id] = alert
        if last is not None and last.parent is not None and last.parent != alert.parent:
            self._part_from(last)
        if alert.parent is not None:
            self._parts.setdefault(alert.parent, {})[alert.id] = None

    def _drop(self, id: str) -> None:
        """Its record is not needed any more."""
        self._part_from(self._last.pop(id))

    def _part_from(self, alert: Alert) -> None:
        parts = self._parts.get(alert.parent or "")
        if parts is not None:
            parts.pop(alert.id, None)
            if not parts:
                del self._parts[alert.parent or ""]

    def _consider(self, id: str, now: int, *, timely: bool) -> None:
        """Whether its last record has to go out."""
        alert = self._last[id]
        waiting = self._pending.pop(id, None)
        if self._decide(alert, timely=timely) is not None:
            self._order += 1
            tries, since = (0, now) if waiting is None else (waiting.tries, waiting.since)
            self._pending[id] = _Pending(self._order, tries, timely, since)
        elif id not in self._repeat_at and alert.state is State.RESOLVED:
            self._drop(id)

    def _timely(self, alert: Alert, now: int) -> bool:
        if now - millis(alert.detected_at) <= 1000 * self._rule.page_within_seconds:
            return True
        # An open incident has a record every few minutes of event time: one that has none is history.
        return alert.state is not State.RESOLVED and now - millis(alert.updated_at) <= self._open_within_ms

    def _decide(self, alert: Alert, *, timely: bool) -> Action | None:
        before = self._told.get(alert.id)
        if self._manner.inhibits and alert.parent is not None and not self._is_told(self._cause(alert)):
            # Nothing would keep it from calling somebody.
            return Action.RESOLVE if before is not None and before.open else None
        routed = self._name in destinations(self._routes, alert, named=self._named)
        return decide(self._manner, alert, before, routed=routed, timely=timely)

    def _is_told(self, id: str) -> bool:
        """Whether an incident is open at the destination, or about to be."""
        alert, told = self._last.get(id), self._told.get(id)
        return (
            alert is not None
            and alert.state is not State.RESOLVED
            and ((told is not None and told.open and told.sure) or id in self._pending)
        )

    def _forget(self) -> None:
        """The longest unchanged first, of those that wait for nothing."""
        idle = [id for id in self._last if id not in self._pending and id not in self._repeat_at]
        for id in idle[: len(self._last) - LAST_KEPT * 9 // 10]:
            self._drop(id)

    def resume(self, now: int) -> None:
        """All records that there are have been taken: what is open there is repeated from now on."""
        for id, told in list(self._told.items()):
            if self._manner.repeats and id in self._last and self._repeats(told, now):
                self._repeat_at[id] = now

    # --- what goes out ---

    def due(self, now: int) -> list[Delivery]:
        """What is to be delivered now, at most `manner.most`: those that failed last, parts after what explains them,
        and the worst first."""
        if now < self._not_before:
            return []
        found: list[Delivery] = []
        for id, waiting in sorted(self._pending.items(), key=self._urgency):
            alert = self._last[id]
            action = self._decide(alert, timely=waiting.timely)
            if action is None:
                del self._pending[id]
                continue
            found.append(self._delivery(alert, action))
            if len(found) == self._manner.most:
                return found
        for id, at in list(self._repeat_at.items()):
            if at > now or id in self._pending or len(found) == self._manner.most:
                continue
            if not self._repeats(self._told[id], now):
                del self._repeat_at[id]
                self._drop(id)
                continue
            found.append(self._delivery(self._last[id], Action.REPEAT))
        return found

    def _urgency(self, item: tuple[str, _Pending]) -> tuple[int, bool, int, int]:
        id, waiting = item
        alert = self._last[id]
        return waiting.tries, alert.parent is not None, -_RANK[alert.severity], waiting.order

    def _delivery(self, alert: Alert, action: Action) -> Delivery:
        return Delivery(
            alert=alert, action=action, standing=standing(alert, self._cause(alert)), before=self._told.get(alert.id)
        )

    def _cause(self, alert: Alert) -> str:
        """The incident that explains it in the end."""
        seen = {alert.id}
        while alert.parent is not None and alert.parent not in seen:
            seen.add(alert.parent)
            parent = self._last.get(alert.parent)
            if parent is None:
                return alert.parent
            alert = parent
        return alert.id

    def _repeats(self, told: Told, now: int) -> bool:
        return told.open or now - told.at <= 1000 * self._rule.repeat_resolved_seconds

    def next_at(self) -> int | None:
        """When `due` has something, ms; None: not before the next record."""
        if self._pending:
            return self._not_before
        return max(self._not_before, min(self._repeat_at.values())) if self._repeat_at else None

    def waited_seconds(self, delivery: Delivery, now: int) -> float | None:
        """How long ago its record was read, seconds; None of what is repeated."""
        waiting = self._pending.get(delivery.alert.id)
        return None if waiting is None or delivery.action is Action.REPEAT else max(0.0, (now - waiting.since) / 1000)

    # --- what became of it ---

    def taken(self, delivery: Delivery, now: int) -> Told:
        """The destination took it."""
        self._succeeded(now)
        id = delivery.alert.id
        if delivery.action is Action.REPEAT:
            self._repeat_at[id] = now + round(1000 * self._rule.repeat_seconds)
            return self._told[id]
        told = delivery.told(now)
        self._told.pop(id, None)
        self._told[id] = told
        if len(self._told) > TOLD_KEPT:
            self._forget_told()
        if self._manner.repeats:
            self._repeat_at[id] = now + round(1000 * self._rule.repeat_seconds)
        self._settle(delivery)
        return told

    def refused(self, delivery: Delivery, now: int) -> None:
        """The destination will never take it: it is not tried again. What comes after it is."""
        self._succeeded(now)
        if delivery.action is Action.REPEAT:
            self._repeat_at[delivery.alert.id] = now + round(1000 * self._rule.repeat_seconds)
        else:
            self._settle(delivery)

    def failed(
        self, deliveries: Sequence[Delivery], now: int, *, luck: float, asked_seconds: float | None = None
    ) -> float:
        """None of these could be delivered now; how long to wait, seconds. luck: 0 <= luck < 1, see `wait_seconds`."""
        for delivery in deliveries:
            id = delivery.alert.id
            if (waiting := self._pending.get(id)) is not None:
                # Behind the others: one that the destination trips over does not hold them up.
                self._pending[id] = waiting._replace(tries=waiting.tries + 1)
        self._backoff = Backoff(self._backoff.failures + 1)
        wait = wait_seconds(
            self._backoff,
            first_seconds=self._rule.retry_first_seconds,
            most_seconds=self._rule.retry_most_seconds,
            luck=luck,
            asked_seconds=asked_seconds,
        )
        self._not_before = now + round(1000 * wait)
        return wait

    @property
    def down(self) -> bool:
        """Whether the destination counts as down: the circuit is open."""
        return self._backoff.failures >= self._rule.circuit_after

    @property
    def pending(self) -> int:
        """Incidents that wait."""
        return len(self._pending)

    def _succeeded(self, now: int) -> None:
        self._backoff = Backoff()
        self._not_before = now + round(1000 * self._manner.gap_seconds)

    def _settle(self, delivery: Delivery) -> None:
        """Nothing waits for this record any more, unless a later one of its incident came meanwhile."""
        id = delivery.alert.id
        last = self._last.get(id)
        if last is not None and last.sequence > delivery.alert.sequence:
            return
        self._pending.pop(id, None)
        if last is not None and last.state is State.RESOLVED and id not in self._repeat_at:
            self._drop(id)

    def _forget_told(self) -> None:
        for id in [id for id, told in self._told.items() if not told.open][: TOLD_KEPT // 10]:
            if id not in self._repeat_at:
                del self._told[id]

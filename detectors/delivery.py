"""Delivery: what a destination is told of each incident, and what it has been told already.

A destination is told the latest state, never the history: what it missed while it was down is skipped. What is told
depends on the incident's last record and on what the destination was told before; when, on the clock, an argument.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
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
    new = before is None or not before.open or not before.sure or alert.episode != before.episode
    if new and routed and timely and wanted(manner, alert):
        return Action.OPEN
    if before is None or not before.open:
        return None
    if manner.acknowledges and quiet(alert) != before.quiet:
        return Action.ACKNOWLEDGE if quiet(alert) else Action.UPDATE
    if not before.sure:
        return None
    if manner.changes or (manner.acknowledges and _RANK[alert.severity] > _RANK[before.severity]):
        return Action.UPDATE
    return None


class _Pending(NamedTuple):
    """An incident whose last record may have to go out. order: when it got in line, its own. tries: that failed.
    since: ms, when its record was read.
    """

    order: int
    tries: int
    timely: bool
    since: int


#: What says what goes first, `_Pending.order` last of it; and the incident.
_Entry = tuple[int, int, int, int, str]
#: Entries that are not true any more, beside as many as are, before they are thrown away.
_STALE_KEPT = 64


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
        # A heap of what is pending; entries that are not true any more lie in it, too.
        self._queue: list[_Entry] = []
        self._repeat_at: dict[str, int] = {}
        self._order = 0
        self._backoff = Backoff()
        self._held = (0, 0)
        self.superseded = 0
        self._forget_told()

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
            for part in self._below(alert.id):
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

    def _below(self, id: str) -> list[str]:
        """What it explains, and what that explains in turn."""
        found: dict[str, None] = {}
        waiting = [id]
        while waiting:
            parts = [part for part in self._parts.get(waiting.pop(), ()) if part not in found and part != id]
            found |= dict.fromkeys(parts)
            waiting += parts
        return list(found)

    def _consider(self, id: str, now: int, *, timely: bool) -> None:
        """Whether its last record has to go out."""
        waiting = self._pending.get(id)
        if self._decide(self._last[id], timely=timely) is None:
            self._let_go(id)
            return
        tries, since = (0, now) if waiting is None else (waiting.tries, waiting.since)
        self._enqueue(id, tries, timely, since)

    def _let_go(self, id: str) -> None:
        """Nothing is to be told of it now."""
        self._pending.pop(id, None)
        if self._last[id].state is State.RESOLVED and id not in self._repeat_at:
            self._drop(id)

    def _enqueue(self, id: str, tries: int, timely: bool, since: int) -> None:
        self._order += 1
        waiting = self._pending[id] = _Pending(self._order, tries, timely, since)
        heappush(self._queue, self._entry(id, waiting))
        if len(self._queue) > 2 * len(self._pending) + _STALE_KEPT:
            self._queue = [self._entry(each, waits) for each, waits in self._pending.items()]
            heapify(self._queue)

    def _entry(self, id: str, waiting: _Pending) -> _Entry:
        alert, told = self._last[id], self._told.get(id)
        if alert.parent is None and alert.state is not State.RESOLVED:
            step = 0
        else:
            # What explains others there ends, or becomes a part itself, after them.
            step = 2 if told is not None and told.open and not told.standing.explained else 1
        # Where a part must not stand alone, what explains it goes first however often that failed.
        turn = (step, waiting.tries) if self._manner.inhibits else (waiting.tries, step)
        return (*turn, -_RANK[alert.severity], waiting.order, id)

    def _timely(self, alert: Alert, now: int) -> bool:
        if now - millis(alert.detected_at) <= 1000 * self._rule.page_within_seconds:
            return True
        # An open incident has a record every few minutes of event time: one that has none is history.
        return alert.state is not State.RESOLVED and now - millis(alert.updated_at) <= self._open_within_ms

    def _decide(self, alert: Alert, *, timely: bool) -> Action | None:
        before = self._told.get(alert.id)
        routed = self._name in destinations(self._routes, alert, named=self._named)
        action = decide(self._manner, alert, before, routed=routed, timely=timely)
        if not self._manner.inhibits or alert.parent is None:
            return action
        cause = self._cause(alert)
        known = before if before is not None and before.open else None
        if not self._is_told(cause):
            # Nothing would keep it from calling somebody.
            return Action.RESOLVE if known else None
        if action is None and known and known.standing.cause != cause:
            # What explained it is explained itself by now, and keeps it from nothing any more.
            return Action.UPDATE
        return action

    def _is_told(self, id: str) -> bool:
        """Whether an incident is open at the destination, or about to be."""
        alert, told = self._last.get(id), self._told.get(id)
        return (
            alert is not None
            and alert.state is not State.RESOLVED
            and ((told is not None and told.open and told.sure) or id in self._pending)
        )

    def _forget(self) -> None:
        """The longest unchanged first: those that wait for nothing; then those that are over and were never told."""
        idle = [id for id in self._last if id not in self._pending and id not in self._repeat_at]
        missed = [
            id
            for id in self._pending
            if id not in self._told and self._last[id].state is State.RESOLVED and id not in self._repeat_at
        ]
        for id in [*idle, *missed][: len(self._last) - LAST_KEPT * 9 // 10]:
            self._pending.pop(id, None)
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
        if self._is_held(now):
            return []
        found: list[Delivery] = []
        looked_at: list[_Entry] = []
        while self._queue and len(found) < self._manner.most:
            entry = heappop(self._queue)
            *_, order, id = entry
            waiting = self._pending.get(id)
            if waiting is None or waiting.order != order:
                continue  # from before its last record, or its last try
            action = self._decide(self._last[id], timely=waiting.timely)
            if action is None:
                self._let_go(id)
                continue
            looked_at.append(entry)
            found.append(self._delivery(self._last[id], action))
        for entry in looked_at:
            heappush(self._queue, entry)
        repeat_ms = round(1000 * self._rule.repeat_seconds)
        for id, at in list(self._repeat_at.items()):
            if len(found) == self._manner.most:
                break
            # What lies further ahead than it ever does was set before the clock went back.
            if now < at <= now + repeat_ms or id in self._pending:
                continue
            if not self._repeats(self._told[id], now):
                del self._repeat_at[id]
                self._let_go(id)
                continue
            found.append(self._delivery(self._last[id], Action.REPEAT))
        return found

    def _hold(self, now: int, seconds: float) -> None:
        """Nothing goes out for so long."""
        self._held = now, now + round(1000 * seconds)

    def _is_held(self, now: int) -> bool:
        begin, end = self._held
        return begin <= now < end  # before it began: the clock went back

    def _delivery(self, alert: Alert, action: Action) -> Delivery:
        before = self._told.get(alert.id)
        if action is Action.REPEAT and before is not None:
            return Delivery(alert=alert, action=action, standing=before.standing, before=before)
        return Delivery(alert=alert, action=action, standing=standing(alert, self._cause(alert)), before=before)

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
        if told.open:
            return told.sure
        return now - told.at <= 1000 * self._rule.repeat_resolved_seconds

    def next_at(self) -> int | None:
        """When `due` has something, ms; None: not before the next record."""
        _, end = self._held
        if self._pending:
            return end
        return max(end, min(self._repeat_at.values())) if self._repeat_at else None

    def waited_seconds(self, delivery: Delivery, now: int) -> float | None:
        """How long ago its record was read, seconds; None of what is repeated."""
        waiting = self._pending.get(delivery.alert.id)
        return None if waiting is None or delivery.action is Action.REPEAT else max(0.0, (now - waiting.since) / 1000)

    def begin(self, deliveries: Sequence[Delivery], now: int) -> list[Told]:
        """These are about to be told: what of them may be open there from now on, whatever becomes of it."""
        begun = [
            each.told(now, sure=False)
            for each in deliveries
            if each.action is Action.OPEN and (each.before is None or not each.before.open)
        ]
        self._told |= {told.incident: told for told in begun}
        return begun

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
        self._forget_told()
        waiting = self._pending.pop(id, None)
        if id in self._last:
            if self._manner.repeats:
                self._repeat_at[id] = now + round(1000 * self._rule.repeat_seconds)
            # What came meanwhile may say more of what is known there now than of what was not.
            self._consider(id, now, timely=waiting is not None and waiting.timely)
        return told

    def refused(self, delivery: Delivery, now: int) -> None:
        """The destination will never take it: it is not tried again. What comes after it is."""
        self._succeeded(now)
        id = delivery.alert.id
        if delivery.action is Action.REPEAT:
            self._repeat_at[id] = now + round(1000 * self._rule.repeat_seconds)
            return
        match delivery.action, delivery.before:
            case Action.OPEN, None:
                self._told.pop(id, None)
            case Action.OPEN, Told() as before:
                self._told[id] = before
            case Action.RESOLVE, _:
                self._repeat_at.pop(id, None)  # or it would be told for ever that it is open
        last = self._last.get(id)
        if last is not None and last.sequence <= delivery.alert.sequence:
            self._let_go(id)

    def failed(
        self, deliveries: Sequence[Delivery], now: int, *, luck: float, asked_seconds: float | None = None
    ) -> float:
        """None of these could be delivered now; how long to wait, seconds. luck: 0 <= luck < 1, see `wait_seconds`."""
        for delivery in deliveries:
            id = delivery.alert.id
            if (waiting := self._pending.get(id)) is not None:
                # Behind the others: one that the destination trips over does not hold them up.
                self._enqueue(id, waiting.tries + 1, waiting.timely, waiting.since)
        self._backoff = Backoff(self._backoff.failures + 1)
        wait = wait_seconds(
            self._backoff,
            first_seconds=self._rule.retry_first_seconds,
            most_seconds=self._rule.retry_most_seconds,
            luck=luck,
            asked_seconds=asked_seconds,
        )
        self._hold(now, wait)
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
        self._hold(now, self._manner.gap_seconds)

    def _forget_told(self) -> None:
        excess = len(self._told) - TOLD_KEPT
        if excess <= 0:
            return
        over = [id for id, told in self._told.items() if not told.open and id not in self._repeat_at]
        for id in over[: excess + TOLD_KEPT // 10]:
            del self._told[id]

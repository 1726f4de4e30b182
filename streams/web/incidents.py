"""What the alerts topic says of incidents: those open now, worst first, those that are over, and their trails.

Memory is bounded whatever the topic holds. A record counts with its length as JSON, without its course, which is in its
trail: `OPEN_BYTES` of open ones, `PAST_BYTES` of those that are over. Beside them are `TRAILS_KEPT` trails, of 15 KB at
most where nobody said anything. That is some 100 MB at the very worst, and a few on a usual day.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping

import msgspec

from detectors.alert import FEED, Alert, Severity, State, encode, place, words
from streams.web.trail import Trail, followed

OPEN_SHOWN = 1_000
RECENT_SHOWN = 200
#: Incidents that are over, for the history.
PAST_KEPT = 2_000
OPEN_BYTES = 24_000_000
PAST_BYTES = 12_000_000
TRAILS_KEPT = 1_500
#: Commands of which is known that they were answered.
ANSWERS_KEPT = 1_000

# Bounds on memory, far beyond what anybody reads. A replay repeats no more than one snapshot interval of alerts, so
# ids need not be remembered for longer than this.
_OPEN_KEPT = 10_000
_IDS_KEPT = 20_000

_NO_BADNESS = (False, 0, 0.0, 0.0)
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Group(msgspec.Struct, frozen=True):
    """What is in trouble, a service, all services together or a silent feed: its open incidents, worst first.

    parts: by id of an incident, the open ones that it explains, of whatever service, worst first.
    """

    name: str
    incidents: tuple[Alert, ...]
    parts: Mapping[str, tuple[Alert, ...]]

    @property
    def worst(self) -> Alert:
        return self.incidents[0]


def badness(alert: Alert) -> tuple[bool, int, float, float]:
    """Sorts incidents: what another explains is not as bad as any that none does.

    Then by severity, then ratio (nothing expected counts as infinite), then evidence.
    """
    ratio = math.inf if alert.ratio is None else alert.ratio
    return alert.parent is None, _RANK[alert.severity], ratio, alert.evidence


class IncidentView:
    """The state of all incidents after the alerts applied so far, in bounded memory.

    version: goes up by one with each alert that changed something.
    """

    def __init__(self) -> None:
        self.version = 0
        self._open: dict[str, Alert] = {}
        self._past: dict[str, Alert] = {}  # resolved, in the order of their arrival
        self._open_bytes = 0
        self._past_bytes = 0
        self._trails: dict[str, Trail] = {}  # the longest without news first
        self._answered: dict[str, str] = {}
        self._listeners: list[Callable[[Alert], None]] = []
        self._sequences: dict[str, int] = {}  # the last of each id, the longest unchanged first
        self._sorted: tuple[int, tuple[Alert, ...]] = (0, ())
        self._sorted_past: tuple[int, tuple[Alert, ...]] = (0, ())

    def apply(self, alert: Alert) -> bool:
        """Take in one alert; False where it says nothing new (the same or an older sequence of its incident)."""
        if alert.sequence <= self._sequences.get(alert.id, 0):
            return False
        self._sequences.pop(alert.id, None)  # it goes to the end
        self._sequences[alert.id] = alert.sequence
        self._trails[alert.id] = followed(self._trails.pop(alert.id, Trail()), self._forget(alert.id), alert)
        if alert.word is not None:
            self._answered[alert.word.id] = alert.id
        kept = msgspec.structs.replace(alert, course=None)
        if alert.state is State.RESOLVED:
            self._past[alert.id] = kept
            self._past_bytes += _size(kept)
        else:
            self._open[alert.id] = kept
            self._open_bytes += _size(kept)
        self._bound()
        self.version += 1
        if alert.word is not None:
            for heard in self._listeners:
                heard(alert)
        return True

    def listen(self, heard: Callable[[Alert], None]) -> None:
        """Have every record that answers a command told to `heard` from now on."""
        self._listeners.append(heard)

    @property
    def open_count(self) -> int:
        """Incidents open now, those beyond the shown ones among them."""
        return len(self._open)

    @property
    def open(self) -> tuple[Alert, ...]:
        """The open incidents, worst first, at most `OPEN_SHOWN`. Their courses are in their trails."""
        version, alerts = self._sorted
        if version != self.version:
            # The id last: the same incidents are always shown in the same order.
            worst_first = sorted(sorted(self._open.values(), key=lambda a: a.id), key=badness, reverse=True)
            alerts = tuple(worst_first[:OPEN_SHOWN])
            self._sorted = (self.version, alerts)
        return alerts

    @property
    def past(self) -> tuple[Alert, ...]:
        """The resolved incidents, the last resolved first, at most `PAST_KEPT`."""
        version, alerts = self._sorted_past
        if version != self.version:
            last_arrived_first = list(self._past.values())[::-1]
            alerts = tuple(sorted(last_arrived_first, key=lambda a: a.resolved_at or "", reverse=True))
            self._sorted_past = (self.version, alerts)
        return alerts

    @property
    def recent(self) -> tuple[Alert, ...]:
        """The first of `past`, at most `RECENT_SHOWN`."""
        return self.past[:RECENT_SHOWN]

    def get(self, id: str) -> Alert | None:
        """The last record of an incident, open or over."""
        return self._open.get(id) or self._past.get(id)

    def trail(self, id: str) -> Trail:
        """What passed by of an incident; an empty one where that is forgotten."""
        return self._trails.get(id, Trail())

    def parts(self, id: str) -> tuple[Alert, ...]:
        """The incidents that an incident explains: the open ones, worst first, then those that are over."""
        return tuple(alert for alert in self.all() if alert.parent == id)

    def all(self) -> Iterator[Alert]:
        """The shown open incidents, worst first, then those that are over, the last resolved first."""
        yield from self.open
        yield from self.past

    def answered(self, command: str) -> str | None:
        """The incident whose record answered a command, of the last `ANSWERS_KEPT` that were answered."""
        return self._answered.get(command)

    def groups(self) -> list[Group]:
        """The open incidents by what is in trouble, the worst first; those that another explains are with that."""
        shown = {alert.id: alert for alert in self.open}
        roots: dict[tuple[str, str], list[Alert]] = {}
        parts: dict[str, list[Alert]] = {}
        for alert in self.open:
            root = _root(alert, shown)
            if root is not alert:
                parts.setdefault(root.id, []).append(alert)
                continue
            service, region = place(alert)
            roots.setdefault((service, region if service == FEED else ""), []).append(alert)
        return [
            Group(
                words(alerts[0])[0],
                tuple(alerts),
                {alert.id: tuple(parts[alert.id]) for alert in alerts if alert.id in parts},
            )
            for alerts in roots.values()
        ]

    def _forget(self, id: str) -> Alert | None:
        """Take the record of an incident out; its trail stays."""
        alert = self._open.pop(id, None)
        if alert is not None:
            self._open_bytes -= _size(alert)
            return alert
        alert = self._past.pop(id, None)
        if alert is not None:
            self._past_bytes -= _size(alert)
        return alert

    def _bound(self) -> None:
        if len(self._open) > _OPEN_KEPT or self._open_bytes > OPEN_BYTES:
            # A tenth at a time: to look for the one mildest would cost as much for every alert of a flood.
            for mildest in heapq.nsmallest(_tenth(self._open), self._open.values(), key=badness):
                self._forget(mildest.id)
        while len(self._past) > PAST_KEPT or self._past_bytes > PAST_BYTES:
            self._forget(next(iter(self._past)))
        if len(self._trails) > TRAILS_KEPT:
            for id in heapq.nsmallest(_tenth(self._trails), self._trails, key=self._worth):
                del self._trails[id]
        for kept, most in ((self._sequences, _IDS_KEPT), (self._answered, ANSWERS_KEPT)):
            if len(kept) > most:
                del kept[next(iter(kept))]

    def _worth(self, id: str) -> tuple[bool, tuple[bool, int, float, float]]:
        """Sorts trails: those of incidents that are over go first, of the others the mildest."""
        alert = self._open.get(id)
        return (False, _NO_BADNESS) if alert is None else (True, badness(alert))


def _size(alert: Alert) -> int:
    return len(encode(alert))


def _tenth(kept: Mapping[str, object]) -> int:
    return max(len(kept) // 10, 1)


def _root(alert: Alert, shown: Mapping[str, Alert]) -> Alert:
    """The incident that explains it in the end, of those that are shown; itself where there is none."""
    seen = [alert]
    while (parent := shown.get(seen[-1].parent or "")) is not None:
        if parent in seen:
            return alert  # they explain each other: no judge says so
        seen.append(parent)
    return seen[-1]

"""What the alerts topic says of incidents: those open now, worst first, and the last resolved ones."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping

import msgspec

from detectors.alert import FEED, Alert, Severity, State, place, words

OPEN_SHOWN = 1_000
RECENT_KEPT = 200

# Bounds on memory, far beyond what anybody reads. A replay repeats no more than one snapshot interval of alerts, so
# ids need not be remembered for longer than this.
_OPEN_KEPT = 10_000
_IDS_KEPT = 20_000

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
        self._recent: dict[str, Alert] = {}  # resolved, in the order of their arrival
        self._sequences: dict[str, int] = {}  # the last of each id, the longest unchanged first
        self._sorted: tuple[int, tuple[Alert, ...]] = (0, ())

    def apply(self, alert: Alert) -> bool:
        """Take in one alert; False where it says nothing new (the same or an older sequence of its incident)."""
        if alert.sequence <= self._sequences.get(alert.id, 0):
            return False
        self._sequences.pop(alert.id, None)  # it goes to the end
        self._sequences[alert.id] = alert.sequence
        self._open.pop(alert.id, None)
        self._recent.pop(alert.id, None)
        if alert.state is State.RESOLVED:
            self._recent[alert.id] = alert
        else:
            self._open[alert.id] = alert
        self._bound()
        self.version += 1
        return True

    @property
    def open_count(self) -> int:
        """Incidents open now, those beyond the shown ones among them."""
        return len(self._open)

    @property
    def open(self) -> tuple[Alert, ...]:
        """The open incidents, worst first, at most `OPEN_SHOWN`."""
        version, alerts = self._sorted
        if version != self.version:
            # The id last: the same incidents are always shown in the same order.
            worst_first = sorted(sorted(self._open.values(), key=lambda a: a.id), key=badness, reverse=True)
            alerts = tuple(worst_first[:OPEN_SHOWN])
            self._sorted = (self.version, alerts)
        return alerts

    @property
    def recent(self) -> tuple[Alert, ...]:
        """The resolved incidents, the last resolved first, at most `RECENT_KEPT`."""
        last_arrived_first = list(self._recent.values())[::-1]
        return tuple(sorted(last_arrived_first, key=lambda a: a.resolved_at or "", reverse=True))

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

    def _bound(self) -> None:
        if len(self._open) > _OPEN_KEPT:
            # A tenth at a time: to look for the one mildest would cost as much for every alert of a flood.
            surplus = len(self._open) - _OPEN_KEPT * 9 // 10
            for mildest in heapq.nsmallest(surplus, self._open.values(), key=badness):
                del self._open[mildest.id]
        if len(self._recent) > RECENT_KEPT:
            del self._recent[next(iter(self._recent))]
        if len(self._sequences) > _IDS_KEPT:
            del self._sequences[next(iter(self._sequences))]


def _root(alert: Alert, shown: Mapping[str, Alert]) -> Alert:
    """The incident that explains it in the end, of those that are shown; itself where there is none."""
    seen = [alert]
    while (parent := shown.get(seen[-1].parent or "")) is not None:
        if parent in seen:
            return alert  # they explain each other: no judge says so
        seen.append(parent)
    return seen[-1]

"""What the alerts topic says of incidents: those open now, worst first, and the last resolved ones."""

from __future__ import annotations

import heapq
import math

import msgspec

from detectors.alert import Alert, Severity, State
from detectors.report import fold

OPEN_SHOWN = 1_000
RECENT_KEPT = 200

# Bounds on memory, far beyond what anybody reads. A replay repeats no more than one snapshot interval of alerts, so
# ids need not be remembered for longer than this.
_OPEN_KEPT = 10_000
_IDS_KEPT = 20_000

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Service(msgspec.Struct, frozen=True):
    """A service in trouble and its open incidents, a region each, worst first."""

    name: str
    incidents: tuple[Alert, ...]

    @property
    def worst(self) -> Alert:
        return self.incidents[0]


def badness(alert: Alert) -> tuple[int, float, float]:
    """Sorts incidents: by severity, then ratio (nothing expected counts as infinite), then evidence."""
    ratio = math.inf if alert.ratio is None else alert.ratio
    return _RANK[alert.severity], ratio, alert.evidence


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

    def services(self) -> list[Service]:
        """The open incidents by service, the service with the worst incident first."""
        groups: dict[str, list[Alert]] = {}
        for alert in self.open:
            groups.setdefault(fold(alert.service), []).append(alert)
        return [Service(alerts[0].service, tuple(alerts)) for alerts in groups.values()]

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

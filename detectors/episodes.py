"""Episodes: incidents from open to resolved, put together from the alerts that told of them."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from detectors.alert import Alert, Kind, Pager, Resolution, Severity, State, millis, place

#: Folded names of a service and a region, or of a roll-up: what is judged together. See `detectors.alert.place`.
Place = tuple[str, str]


class Episode(msgspec.Struct, frozen=True, gc=False):
    """An incident from open to resolved, as its latest alert tells of it; an incident that came back has several.

    number: 1, 2, 3 … within the incident. kind, service, region, region_name, parent: see Alert; place: folded as those
    of reports are. paged: one of its alerts was a page, see `Pager`. false_alarm: people said so. Times in ms.
    started: estimated onset. detected: its first alert. until: resolved, or, while it is open, what is known of.
    observed, expected, low, high, ratio, evidence, severity, warming, summary: see Alert.
    """

    id: str
    number: int
    kind: Kind
    service: str | None
    region: str | None
    place: Place
    parent: str | None
    paged: bool
    sources: tuple[str, ...]
    severity: Severity
    started: int
    detected: int
    until: int
    resolved: bool
    observed: int
    expected: float
    low: float
    high: float
    ratio: float | None
    evidence: float
    warming: bool
    summary: str
    region_name: str | None = None
    false_alarm: bool = False


def episode(alert: Alert, paged: bool) -> Episode:
    """The episode as this alert tells of it. ValueError where a time of the alert is none."""
    return Episode(
        id=alert.id,
        number=alert.episode,
        kind=alert.kind,
        service=alert.service,
        region=alert.region,
        place=place(alert),
        parent=alert.parent,
        paged=paged,
        sources=tuple(alert.sources),
        severity=alert.severity,
        started=millis(alert.started_at),
        detected=millis(alert.detected_at),
        until=millis(alert.resolved_at or alert.updated_at),
        resolved=alert.state is State.RESOLVED,
        observed=alert.observed,
        expected=alert.expected,
        low=alert.expected_low,
        high=alert.expected_high,
        ratio=alert.ratio,
        evidence=alert.evidence,
        warming=alert.warming,
        summary=alert.summary,
        region_name=alert.region_name,
        false_alarm=alert.resolution is Resolution.FALSE_ALARM,
    )


class History:
    """The episodes of a run. records: alerts taken. Grows by half a kilobyte with each episode."""

    def __init__(self) -> None:
        self.records = 0
        self._pager = Pager()
        self._episodes: dict[tuple[str, int], Episode] = {}
        self._by_place: dict[Place, list[tuple[str, int]]] = {}

    def apply(self, alert: Alert) -> None:
        """Take the next alert; alerts come in their order. ValueError as `episode`."""
        self.records += 1
        key = (alert.id, alert.episode)
        before = self._episodes.get(key)
        told = episode(alert, self._pager.pages(alert) or (before is not None and before.paged))
        if before is None or before.place != told.place:
            self._by_place.setdefault(told.place, []).append(key)
        if before is not None and before.place != told.place:
            # It turned out to be wider.
            self._by_place[before.place].remove(key)
        self._episodes[key] = told

    def at(self, place: Place) -> list[Episode]:
        """The episodes of a place so far, in the order in which they began."""
        return [self._episodes[key] for key in self._by_place.get(place, ())]

    def episodes(self, until: int = 0) -> list[Episode]:
        """All of them, in the order of their first alerts. until: up to when those still open are known to be, ms."""
        return [
            each if each.resolved or each.until >= until else replace(each, until=until)
            for each in self._episodes.values()
        ]

"""Episodes: incidents from open to resolved, put together from the alerts that told of them."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from detectors.alert import Alert, Severity, State, millis
from detectors.report import fold

#: Folded names of a service and a region: what is judged together.
Place = tuple[str, str]


class Episode(msgspec.Struct, frozen=True, gc=False):
    """An incident from open to resolved, as its latest alert tells of it; an incident that came back has several.

    number: 1, 2, 3 … within the incident. service, region: as shown to people; place: folded as those of reports are.
    Times in ms since 1970.
    started: estimated onset. detected: its first alert. until: resolved, or, while it is open, what is known of.
    observed, expected, low, high, ratio, evidence, severity, warming, summary: see Alert.
    """

    id: str
    number: int
    service: str
    region: str
    place: Place
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


def episode(alert: Alert) -> Episode:
    """The episode as this alert tells of it. ValueError where a time of the alert is none."""
    return Episode(
        id=alert.id,
        number=alert.episode,
        service=alert.service,
        region=alert.region,
        place=(fold(alert.service), fold(alert.region)),
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
    )


class History:
    """The episodes of a run. records: alerts taken. Grows by half a kilobyte with each episode."""

    def __init__(self) -> None:
        self.records = 0
        self._episodes: dict[tuple[str, int], Episode] = {}
        self._by_place: dict[Place, list[tuple[str, int]]] = {}

    def apply(self, alert: Alert) -> None:
        """Take the next alert; alerts come in their order. ValueError as `episode`."""
        self.records += 1
        told = episode(alert)
        key = (told.id, told.number)
        if key not in self._episodes:
            self._by_place.setdefault(told.place, []).append(key)
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

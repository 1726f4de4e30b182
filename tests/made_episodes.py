"""Episodes and labels, made up, for the tests of what reads them. Times are minutes of 25 October 2022, UTC."""

from __future__ import annotations

from detectors.alert import Severity
from detectors.episodes import Episode
from detectors.verification import Label

#: 2022-10-25T00:00:00Z in ms since 1970.
DAY = 1_666_656_000_000


def at(minute: float) -> int:
    """ms since 1970."""
    return DAY + round(minute * 60_000)


def told(
    detected: float,
    until: float,
    *,
    service: str = "WhatsApp",
    region: str = "it",
    started: float | None = None,
    evidence: float = 5.0,
    severity: Severity = Severity.ERROR,
    id: str = "",
) -> Episode:
    """An episode, its onset two minutes before its detection."""
    return Episode(
        id=id or f"{service}-{region}-{detected}",
        number=1,
        service=service,
        region=region,
        place=(service.casefold(), region.casefold()),
        sources=("reports",),
        severity=severity,
        started=at(detected - 2 if started is None else started),
        detected=at(detected),
        until=at(until),
        resolved=True,
        observed=100,
        expected=10.0,
        low=8.0,
        high=15.0,
        ratio=10.0,
        evidence=evidence,
        warming=False,
        summary=f"{service} in {region}: 100 reports",
    )


def known(start: float, end: float, *, service: str = "WhatsApp", region: str = "it") -> Label:
    """A label."""
    return Label(service, region, (service.casefold(), region.casefold()), at(start), at(end))

"""Episodes and labels, made up, for the tests of what reads them. Times are minutes of 25 October 2022, UTC."""

from __future__ import annotations

from msgspec.structs import replace

from detectors.alert import Kind, Severity
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
    kind: Kind = Kind.SERIES,
    service: str | None = "WhatsApp",
    region: str | None = "it",
    parent: str | None = None,
    paged: bool = True,
    started: float | None = None,
    evidence: float = 5.0,
    severity: Severity = Severity.ERROR,
    id: str = "",
) -> Episode:
    """An episode, its onset two minutes before its detection; service and region None as in alerts."""
    return Episode(
        id=id or f"{service}-{region}-{detected}",
        number=1,
        kind=kind,
        service=service,
        region=region,
        place=("*" if service is None else service.casefold(), "*" if region is None else region.casefold()),
        parent=parent,
        paged=paged,
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


def silent(detected: float, until: float) -> Episode:
    """An episode of the silent source reports."""
    told_of = told(detected, until, kind=Kind.FEED, service=None, region=None, id=f"silence-{detected}")
    return replace(told_of, place=("*feed", "reports"), observed=0, ratio=0.0, summary="Feed reports is silent")


def known(start: float, end: float, *, service: str = "WhatsApp", region: str = "it") -> Label:
    """A label."""
    return Label(service, region, (service.casefold(), region.casefold()), at(start), at(end))

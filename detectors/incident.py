"""Incident: what is said of one outage from open to resolved, and how bad it is."""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from detectors.alert import (
    FEED,
    Acknowledged,
    Alert,
    Earlier,
    Kind,
    Muted,
    Resolution,
    Severity,
    State,
    Verdict,
    bounded,
    six_digits,
    summary,
    utc,
)
from detectors.cells import Cell, Sums, strongest
from detectors.explanation import Beside, top_problems, top_sources
from detectors.rollup import ALL
from detectors.series import Names
from detectors.verdict import Scope


class IncidentRule(msgspec.Struct, frozen=True, kw_only=True):
    """When surges become an incident, how bad it is, and when it is over.

    ValueError where close_at is not below open_at: the incident would open and calm at once.
    """

    alert_budget: Annotated[
        float,
        Meta(
            gt=0,
            le=10_000,
            description="pages (errors and criticals) a week that are bearable, over all services and regions;"
            " `groundswell tune` finds the open_at that keeps it",
        ),
    ] = 2.0
    open_at: Annotated[float, Meta(gt=0, description="evidence that opens an incident, log10 series-weeks")] = 2.0
    close_at: Annotated[
        float, Meta(gt=0, description="evidence below which an incident is calm, log10 series-weeks; below open_at")
    ] = 0.5
    close_after_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long an incident has to be calm to be resolved, seconds")
    ] = 300.0
    reopen_seconds: Annotated[
        float, Meta(ge=0, le=604_800, description="how long after that a surge is the same incident's, seconds")
    ] = 3600.0
    accept_after_seconds: Annotated[
        float,
        Meta(
            ge=600,
            le=31_536_000,
            description="an incident that lasts so long is accepted as the new level and ends as that, seconds",
        ),
    ] = 86_400.0
    update_seconds: Annotated[
        float, Meta(ge=10, le=86_400, description="an open incident is reported at least so often, seconds")
    ] = 300.0
    warning_ratio: Annotated[
        float, Meta(ge=1, description="observed / expected below which an incident is no more than info")
    ] = 1.2
    error_ratio: Annotated[
        float, Meta(ge=1, description="observed / expected below which an incident is no more than a warning")
    ] = 1.3
    error_excess: Annotated[float, Meta(ge=0, description="reports beyond the usual that an error has at least")] = 8.0
    error_after_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long a small outage has to last to be an error, seconds")
    ] = 180.0
    critical_per_minute: Annotated[
        float,
        Meta(gt=0, description="reports a minute beyond the usual that are an error at once, later critical"),
    ] = 20.0
    critical_after_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long critical_per_minute has to last to be critical, seconds")
    ] = 300.0
    critical_excess: Annotated[
        float, Meta(gt=0, description="reports beyond the usual that are critical however long they took")
    ] = 1000.0
    critical_breadth: Annotated[
        int,
        Meta(
            ge=2,
            description="series that surge, where they are at least half of those that an incident spans, for it to be"
            " critical after critical_after_seconds, with a tenth of critical_excess",
        ),
    ] = 8

    def __post_init__(self) -> None:
        if not self.close_at < self.open_at:
            raise ValueError(f"close_at={self.close_at} is not below open_at={self.open_at}; give less, such as 0.5")


class Weight(NamedTuple):
    """How bad an incident is, and why."""

    severity: Severity
    reasons: tuple[str, ...]


def weigh(rule: IncidentRule, *, observed: int, expected: float, seconds: float, breadth: int = 1) -> Weight:
    """How bad an outage is that brought `observed` reports instead of `expected` in `seconds`.

    breadth: series of it that surge, where that is most of them.

    Two reports a minute more than usual that last are an error, over in minutes they are a warning; a steep outage is
    an error at once and critical when it lasts or grows big, and so is a wide one. Where there are many reports anyway,
    a small part more is significant but not bad: the ratios see to that.

    >>> rule = IncidentRule()
    >>> [weigh(rule, observed=3 * m, expected=m, seconds=60 * m).severity.value for m in (3, 30)]
    ['warning', 'error']
    >>> [weigh(rule, observed=30 * m, expected=m, seconds=60 * m).severity.value for m in (1, 5)]
    ['error', 'critical']
    >>> weigh(rule, observed=11_000, expected=10_000, seconds=300).severity.value
    'info'
    >>> weigh(rule, observed=300, expected=100, seconds=3600, breadth=10)
    Weight(severity=<Severity.CRITICAL: 'critical'>, reasons=('10 series surge',))
    """
    excess = observed - expected
    minutes = seconds / 60
    beyond = f"{excess:,.0f} reports beyond the usual"
    steep = excess >= rule.critical_per_minute * minutes
    a_minute = f"{excess / minutes:,.0f} a minute beyond the usual" if minutes else beyond
    if observed < rule.warning_ratio * expected:
        return Weight(Severity.INFO, (f"{observed / expected:.2f} times the usual, below {rule.warning_ratio:g}",))
    if observed < rule.error_ratio * expected:
        return Weight(Severity.WARNING, (f"{observed / expected:.2f} times the usual, below {rule.error_ratio:g}",))
    if excess < rule.error_excess:
        return Weight(Severity.WARNING, (f"{beyond}, below {rule.error_excess:g}",))
    critical = []
    if excess >= rule.critical_excess:
        critical.append(beyond)
    if seconds >= rule.critical_after_seconds:
        if steep:
            critical.append(f"{a_minute} for {minutes:.0f} minutes")
        if breadth >= rule.critical_breadth and 10 * excess >= rule.critical_excess:
            critical.append(f"{breadth} series surge")
    if critical:
        return Weight(Severity.CRITICAL, tuple(critical))
    if steep:
        return Weight(Severity.ERROR, (a_minute,))
    if seconds >= rule.error_after_seconds:
        return Weight(Severity.ERROR, (f"{beyond} in {minutes:.0f} minutes",))
    return Weight(Severity.WARNING, (f"{minutes:.0f} minutes so far, an error from {rule.error_after_seconds:g} s on",))


def incident_id(service: str, region: str, at: int) -> str:
    """The id of the incident that opens at the tick `at` (ms): the same whenever the same reports are judged.

    >>> incident_id("whatsapp", "it/lazio", 1_666_681_444_000)
    '9e847e169e681493'
    """
    kind = kind_of((service, region))
    return blake2b(msgspec.json.encode((kind, service, region, at)), digest_size=8).hexdigest()


def kind_of(scope: Scope) -> Kind:
    """What a scope spans.

    >>> [kind_of(scope).value for scope in (("whatsapp", "it"), ("whatsapp", "it/*"), ("*", "it"), ("*", "*"))]
    ['series', 'service', 'region', 'global']
    """
    service, region = scope
    if service == FEED:
        return Kind.FEED
    if service == ALL:
        return Kind.GLOBAL if region == ALL else Kind.REGION
    return Kind.SERVICE if region == ALL or region.endswith("/*") else Kind.SERIES


class Incident(msgspec.Struct, frozen=True, array_like=True):
    """What was said of an incident. Times in ms.

    scope: what it spans; names: as shown to people. sequence: of the last record. paged: the episode that paged last.
    sources: those that take part in the episode, sorted. evidence: the most that the episode had.
    sent, excess: when the last record was sent, and the reports beyond the usual that it told of.
    parent: id of the incident that explains it. calm: since when the evidence is low; None while it is not.
    resolved: None while open. verdict: when it was last asked for. reasons: of its severity.
    stale: as it was told. contacts: extra ones that were told of, and whether it was told what they are about.
    muted: by people, also while it is resolved.
    maintenance: title of what silences it, else None.
    """

    id: str
    scope: Scope
    names: Names
    sequence: int
    episode: int
    started: int
    detected: int
    sources: tuple[str, ...]
    severity: Severity
    evidence: float
    sent: int
    excess: float
    parent: str | None = None
    paged: int = 0
    calm: int | None = None
    resolved: int | None = None
    verdict: Verdict | None = None
    reasons: tuple[str, ...] = ()
    stale: bool = False
    contacts: tuple[float, bool] | None = None
    acknowledged: Acknowledged | None = None
    muted: Muted | None = None
    resolution: Resolution | None = None
    maintenance: str | None = None

    @property
    def breadth(self) -> int:
        """Series of it that surge, where that is at least half of those looked at; else 1."""
        verdict = self.verdict
        if verdict is None or verdict.taking_part * 2 < verdict.looked_at:
            return 1
        return max(1, verdict.taking_part)

    def earlier(self) -> Earlier:
        """What is remembered of it once it is over."""
        return Earlier(
            id=self.id,
            started_at=utc(self.started),
            resolved_at=utc(self.sent if self.resolved is None else self.resolved),
            severity=self.severity,
            excess=six_digits(self.excess),
        )


def shown(name: str) -> str | None:
    """The service or region of a scope as alerts have it: None where it spans all.

    >>> shown("*"), shown("it/*"), shown("it")
    (None, 'it/*', 'it')
    """
    return None if name == ALL else name


def tell(incident: Incident, cell: Cell, state: State, sums: Sums, at: int, beside: Beside) -> Alert:
    """The record that tells of an incident at event time `at`."""
    part = [feed for feed in cell.feeds if feed.source in incident.sources]
    service, region = shown(incident.names.service), shown(incident.names.region)
    if incident.scope[0] == FEED:
        service = region = None
    alert = Alert(
        id=incident.id,
        sequence=incident.sequence,
        episode=incident.episode,
        state=state,
        kind=kind_of(incident.scope),
        sources=list(incident.sources),
        service=service,
        region=region,
        severity=incident.severity,
        parent=incident.parent,
        region_name=beside.about.region_name,
        owner=beside.about.owner,
        team=beside.about.team,
        minor=beside.about.minor,
        links=dict(beside.about.links),
        started_at=utc(incident.started),
        detected_at=utc(incident.detected),
        updated_at=utc(at),
        resolved_at=None if incident.resolved is None else utc(incident.resolved),
        summary="",
        observed=sums.observed,
        expected=six_digits(sums.expected),
        expected_low=six_digits(max(0.0, sums.expected - math.sqrt(sums.down))),
        expected_high=six_digits(sums.expected + math.sqrt(sums.up)),
        ratio=six_digits(sums.observed / sums.expected) if sums.expected > 0 else None,
        evidence=six_digits(incident.evidence),
        verdict=incident.verdict,
        warming=any(feed.warming for feed in part),
        course=strongest(part, at).course() if part else None,
        reasons=list(incident.reasons),
        stale=incident.stale,
        top_regions=beside.regions,
        top_services=beside.services,
        top_sources=top_sources(cell, incident.started),
        top_problems=top_problems(part, incident.started),
        earlier=beside.earlier,
        contacts=beside.contacts,
        acknowledged=incident.acknowledged,
        muted=incident.muted or beside.muted,
        resolution=incident.resolution,
        word=beside.word,
        silenced=incident.maintenance is not None,
        maintenance=incident.maintenance,
    )
    return bounded(replace(alert, summary=summary(alert, max((feed.until for feed in part), default=at))))

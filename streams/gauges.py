"""Gauges that are worked out when they are scraped: what is open, the busiest series, whether the stages move.

What a worker no longer judges or watches is gone from its next scrape. Names come from reports, so from anybody: their
number and length are bounded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from detectors.alert import FEED, PAGING, Alert, Kind, millis
from detectors.rollup import ALL
from detectors.watch import Busy
from streams.health import Health

#: Letters of a label's value; a longer name is cut.
MOST_LETTERS = 80

#: What an incident is told apart by: no two that are open share it.
_PLACE = ("kind", "service", "region")
_SERIES = ("source", "service", "region")


def label(name: str) -> str:
    """A name as the value of a label; `-` stands for none, since Prometheus takes an empty label for a missing one.

    A long one is cut, and ends with a digest by which it differs from others that begin alike.

    >>> label("WhatsApp"), label("")
    ('WhatsApp', '-')
    >>> label("x" * 200) == label("x" * 201), len(label("x" * 200))
    (False, 80)
    """
    # A lone surrogate would break the whole page of metrics.
    raw = name.encode("utf-8", "replace")
    text = raw.decode()
    if len(text) <= MOST_LETTERS:
        return text or "-"
    digest = blake2b(raw, digest_size=4).hexdigest()
    return f"{text[: MOST_LETTERS - len(digest) - 1]}…{digest}"


def place(alert: Alert) -> tuple[str, str, str]:
    """Kind, service and region of an incident as labels: `*` for all; of a silent feed `*feed` and the source."""
    if alert.kind is Kind.FEED:
        return alert.kind.value, FEED, label("".join(alert.sources))
    service, region = (ALL if name is None else label(name) for name in (alert.service, alert.region))
    return alert.kind.value, service, region


def status(alert: Alert) -> str:
    """Whether an incident asks for somebody, or why not, in one word: pages, mild, or what `why` calls the reason."""
    if alert.parent is not None:
        return "explained"
    if alert.acknowledged is not None:
        return "acknowledged"
    if alert.muted is not None:
        return "muted"
    if alert.silenced:
        return "planned"
    return "pages" if alert.severity in PAGING else "mild"


class _Gauge:
    """One gauge: the samples of a scrape, of which no two have the same labels."""

    def __init__(self, name: str, documentation: str, labels: Iterable[str]) -> None:
        self._family = GaugeMetricFamily(name, documentation, labels=list(labels))
        self._seen: set[tuple[str, ...]] = set()

    def add(self, labels: tuple[str, ...], value: float | None) -> None:
        """A sample; None: there is none."""
        if value is not None and labels not in self._seen:
            self._seen.add(labels)
            self._family.add_metric(labels, value)

    def family(self) -> GaugeMetricFamily:
        return self._family


class IncidentGauges(Collector):
    """What is wrong now: gauges of each open incident, for charts without a database, and of each silent source."""

    def __init__(
        self,
        open_now: Callable[[int], Iterable[Alert]],
        silent: Callable[[int], Mapping[str, float]],
        most: int,
    ) -> None:
        """open_now, silent: give at most so many open incidents, and silent sources with their seconds.

        most: of either.
        """
        self._open_now = open_now
        self._silent = silent
        self._most = most

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of a scrape."""
        alerts = [(place(alert), alert) for alert in self._open_now(self._most)]
        open_ = _Gauge(
            "groundswell_incident_open",
            "1 for each open incident, the worst of many; status: pages, or why it calls nobody.",
            (*_PLACE, "severity", "status", "incident"),
        )
        for where, alert in alerts:
            open_.add((*where, alert.severity.value, status(alert), alert.id), 1.0)
        yield open_.family()
        for name, documentation, value in _OF_INCIDENT:
            gauge = _Gauge(f"groundswell_incident_{name}", documentation, _PLACE)
            for where, alert in alerts:
                gauge.add(where, value(alert))
            yield gauge.family()
        for name, documentation, cost in _COSTS:
            gauge = _Gauge(f"groundswell_incident_{name}", documentation, (*_PLACE, "currency"))
            for where, alert in alerts:
                gauge.add((*where, (alert.contacts and alert.contacts.currency) or "-"), cost(alert))
            yield gauge.family()
        silent = _Gauge(
            "groundswell_source_silent_seconds",
            "For how long a source has said nothing, event time; only of sources that are silent.",
            ("source",),
        )
        for source, seconds in self._silent(self._most).items():
            silent.add((label(source),), seconds)
        yield silent.family()


class SeriesGauges(Collector):
    """What is usual: observed and expected of the busiest series in their last bucket."""

    def __init__(self, busiest: Callable[[int], Iterable[Busy]], most: int) -> None:
        """busiest: gives at most so many series. most: how many."""
        self._busiest = busiest
        self._most = most

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of a scrape."""
        series = [
            ((label(each.source), label(each.names.service), label(each.names.region)), each)
            for each in self._busiest(self._most)
        ]
        for name, documentation, value in _OF_SERIES:
            gauge = _Gauge(f"groundswell_series_{name}", documentation, _SERIES)
            for where, each in series:
                gauge.add(where, value(each))
            yield gauge.family()


class HealthGauges(Collector):
    """What /healthz and /readyz answer, as figures."""

    def __init__(self, health: Health, now: Callable[[], float]) -> None:
        self._health = health
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of a scrape."""
        yield GaugeMetricFamily(
            "groundswell_ready",
            "1 while the worker has its partitions and their state; 0 while it waits for them or recovers it.",
            value=float(self._health.ready().ok),
        )
        stalled = _Gauge(
            "groundswell_stage_stalled_seconds",
            "For how long a stage's input has been waiting with none of it handled; 0 where nothing waits.",
            ("stage",),
        )
        for stage, seconds in self._health.still(self._now()).items():
            stalled.add((stage,), seconds)
        yield stalled.family()


def _a_minute(alert: Alert, which: str) -> float | None:
    """A figure of the last bucket of an incident's course, a minute; None where it has none, or it is missing."""
    course = alert.course
    value = getattr(course, which)[-1] if course is not None and course.observed else -1
    return None if course is None or value < 0 else value * 60 / course.bucket_seconds


_Of = Callable[[Alert], float | None]
_LAST = "in the last bucket of the feed that shows it most."
_OF_INCIDENT: tuple[tuple[str, str, _Of], ...] = (
    ("started_timestamp_seconds", "Estimated onset, seconds since 1970.", lambda a: millis(a.started_at) / 1000),
    ("detected_timestamp_seconds", "When it was opened, event time.", lambda a: millis(a.detected_at) / 1000),
    ("reports", "Reports since its onset.", lambda a: a.observed),
    ("expected_reports", "Reports that were to be expected since its onset.", lambda a: a.expected),
    ("reports_per_minute", f"Reports a minute {_LAST}", lambda a: _a_minute(a, "observed")),
    ("expected_reports_per_minute", f"Reports a minute expected {_LAST}", lambda a: _a_minute(a, "expected")),
    (
        "expected_low_reports_per_minute",
        f"Lower end of the 95 % interval of what was expected {_LAST}",
        lambda a: _a_minute(a, "low"),
    ),
    (
        "expected_high_reports_per_minute",
        f"Upper end of the 95 % interval of what was expected {_LAST}",
        lambda a: _a_minute(a, "high"),
    ),
    ("evidence", "Its most evidence, log10 of a return period in series-weeks.", lambda a: a.evidence),
    (
        "verdict_explained_ratio",
        "Share of all reports beyond the usual that this cause explains.",
        lambda a: a.verdict.explained if a.verdict else None,
    ),
    (
        "verdict_taking_part_ratio",
        "Share of the series within it that show it, of those that were looked at.",
        lambda a: a.verdict.taking_part / a.verdict.looked_at if a.verdict and a.verdict.looked_at else None,
    ),
    (
        "contacts_extra",
        "Contacts of our contact centres beyond the usual since it began.",
        lambda a: a.contacts.extra if a.contacts else None,
    ),
    (
        "contacts_explained_ratio",
        "Share of these that are about it; missing where it cannot be told whose fault they are.",
        lambda a: a.contacts.explained if a.contacts else None,
    ),
    (
        "contacts_per_hour",
        "Contacts an hour beyond the usual, now.",
        lambda a: a.contacts.an_hour if a.contacts else None,
    ),
    (
        "contacts_forecast",
        "Contacts beyond the usual in the end.",
        lambda a: a.contacts.forecast if a.contacts else None,
    ),
)
_COSTS: tuple[tuple[str, str, _Of], ...] = (
    (
        "contacts_cost",
        "What the extra contacts cost so far, in `currency`.",
        lambda a: a.contacts.cost if a.contacts else None,
    ),
    (
        "contacts_forecast_cost",
        "What the extra contacts will have cost in the end, in `currency`.",
        lambda a: a.contacts.forecast_cost if a.contacts else None,
    ),
)
_OF_SERIES: tuple[tuple[str, str, Callable[[Busy], float | None]], ...] = (
    (
        "reports_per_minute",
        "Reports a minute in the last bucket of the busiest series; missing while its source is silent.",
        lambda s: s.observed if s.observed >= 0 else None,
    ),
    ("expected_reports_per_minute", "Reports a minute expected in that bucket.", lambda s: s.expected),
    (
        "expected_low_reports_per_minute",
        "Lower end of the 95 % interval of what was expected in that bucket, a minute.",
        lambda s: s.low,
    ),
    (
        "expected_high_reports_per_minute",
        "Upper end of the 95 % interval of what was expected in that bucket, a minute.",
        lambda s: s.high,
    ),
)

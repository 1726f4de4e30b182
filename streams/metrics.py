"""All Prometheus metrics, each with its meaning and unit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics import Info
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from detectors.alert import Severity, State
from detectors.command import REASONS as COMMAND_REASONS
from detectors.command import Action
from detectors.report import Reason
from streams.http_ingest.problem import Refusal

STAGES = ("ingest", "detect", "judge")

#: Classes of the answers to requests with reports.
HTTP_CODES = ("2xx", "4xx", "5xx")

_EVIDENCE = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0, 100.0)
_LATENCY_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_HTTP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_DELAY_SECONDS = (10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)


class EvidenceHistogram(Collector):
    """Histogram of the evidence told to the judge: all rows of a tick in one call, which the client's own cannot take.

    A partition may hold 100,000 series; one `observe` a series would cost more than to score them.
    There is no `_sum`: evidence can be negative, and a sum that falls is no counter. Without it OpenMetrics wants no
    `_count` either; the bucket of +Inf is the same.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._counts = np.zeros(len(_EVIDENCE) + 1, dtype=np.int64)
        registry.register(self)

    def observe(self, evidence: float | npt.NDArray[np.float64]) -> None:
        """Count one score or many, log10 series-weeks; NaN (no score) is left out."""
        values = np.atleast_1d(np.asarray(evidence, dtype=np.float64))
        places = np.searchsorted(_EVIDENCE, values[~np.isnan(values)], side="left")
        self._counts += np.bincount(places, minlength=len(self._counts))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        bounds = [*map(floatToGoString, _EVIDENCE), "+Inf"]
        yield HistogramMetricFamily(
            "groundswell_evidence",
            "Evidence told to the judge of series that surge or did lately, log10 of a return period in series-weeks.",
            buckets=list(zip(bounds, np.cumsum(self._counts).tolist(), strict=True)),
        )


class Metrics:
    """The metrics of one process in `registry`. Label values come from closed sets, never from reports.

    Series known beforehand start at 0, so that `rate()` sees their first event.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry

        # Ingest. Read = counted + rejected, once all that was read is done with.
        self.reports_read = Counter(
            "groundswell_reports_read_total", "Records read from the reports topic.", registry=registry
        )
        self.reports_counted = Counter(
            "groundswell_reports_counted_total", "Records that were counted into a bucket.", registry=registry
        )
        self.reports_rejected = Counter(
            "groundswell_reports_rejected_total",
            "Records that went to the dead-letter topic, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in Reason:
            self.reports_rejected.labels(reason.value)
        self.report_volume = Counter(
            "groundswell_report_volume_total",
            "Reports that the counted records stand for: the sum of their count fields.",
            registry=registry,
        )
        self.input_lag = Gauge(
            "groundswell_input_lag_records",
            "Records of an assigned input partition that are not handled yet.",
            ["topic", "partition"],
            registry=registry,
        )

        # Detect
        self.watermark_age = Gauge(
            "groundswell_watermark_age_seconds",
            "How far the watermark of a source is behind the clock; sources that are not configured count as default.",
            ["source"],
            registry=registry,
        )
        self.watermark = Gauge(
            "groundswell_watermark_timestamp_seconds",
            "Event time up to which everything is decided, seconds since 1970; 0 before the first report.",
            registry=registry,
        )
        self.buckets_closed = Counter(
            "groundswell_buckets_closed_total",
            "Buckets that were closed, each for all series of a source and partition.",
            registry=registry,
        )
        self.series_tracked = Gauge(
            "groundswell_series_tracked",
            "Series (source, service, region) that a partition holds.",
            ["partition"],
            registry=registry,
        )
        self.series_overflow = Counter(
            "groundswell_series_overflow_total",
            "Reports of new names beyond the cap on series, counted in the overflow series.",
            registry=registry,
        )
        self.scores = EvidenceHistogram(registry)

        # Judge
        self.open_incidents = Gauge(
            "groundswell_open_incidents", "Incidents that are open now, by severity.", ["severity"], registry=registry
        )
        for severity in Severity:
            self.open_incidents.labels(severity.value).set(0)
        self.incidents_refused = Counter(
            "groundswell_incidents_refused_total",
            "Incidents that were not opened because too many are open already.",
            registry=registry,
        )
        self.alerts = Counter(
            "groundswell_alerts_total", "Alert records sent, by what they say.", ["state"], registry=registry
        )
        for state in State:
            self.alerts.labels(state.value)
        self.alert_budget = Gauge(
            "groundswell_alert_budget_pages_per_week",
            "Pages (errors and criticals) a week that are bearable: setting incidents.alert_budget.",
            registry=registry,
        )
        self.alert_achieved = Gauge(
            "groundswell_alert_achieved_pages_per_week",
            "Pages a week in the last four weeks of event time; of the worker that judges, 0 at the others.",
            registry=registry,
        )
        self.alert_latency = Histogram(
            "groundswell_alert_latency_seconds",
            "From the event time of a decision to the alert being sent; of live reports, not of replayed history.",
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )

        self.detection_delay = Histogram(
            "groundswell_detection_delay_seconds",
            "From the estimated onset of an incident to the decision that opens it, event times; of silent feeds none.",
            buckets=_DELAY_SECONDS,
            registry=registry,
        )

        self.alert_false = Gauge(
            "groundswell_alert_false_pages_per_week",
            "Of these, pages that people called false alarms; of the worker that judges, 0 at the others.",
            registry=registry,
        )
        self.commands = Counter(
            "groundswell_commands_total",
            "Commands of people that were forwarded, by action.",
            ["action"],
            registry=registry,
        )
        for action in Action:
            self.commands.labels(action.value)
        self.commands_rejected = Counter(
            "groundswell_commands_rejected_total",
            "Records on incident-commands that hold no command, by reason; each has a warning in the log.",
            ["reason"],
            registry=registry,
        )
        for reason in COMMAND_REASONS:
            self.commands_rejected.labels(reason.value)

        # Deliveries
        self.deliveries = Counter(
            "groundswell_deliveries_total",
            "Records of alerts for a destination, by what became of them; retried: a try that failed.",
            ["destination", "outcome"],
            registry=registry,
        )
        self.delivery_seconds = Histogram(
            "groundswell_delivery_seconds",
            "From an alert being read to its destination having taken it.",
            ["destination"],
            buckets=_LATENCY_SECONDS,
            registry=registry,
        )
        self.destination_up = Gauge(
            "groundswell_destination_up",
            "1: the destination takes alerts, as far as known; 0: it is down, tried from time to time. Of the worker "
            "that carries its alerts.",
            ["destination"],
            registry=registry,
        )
        self.destination_pending = Gauge(
            "groundswell_destination_pending",
            "Incidents that wait for the destination; of the worker that carries its alerts.",
            ["destination"],
            registry=registry,
        )

        # HTTP ingest
        self.http_requests = Counter(
            "groundswell_http_ingest_requests_total",
            "Requests with reports over HTTP, by class of the answer; health checks are left out.",
            ["code"],
            registry=registry,
        )
        for code in HTTP_CODES:
            self.http_requests.labels(code)
        self.http_reports = Counter(
            "groundswell_http_ingest_reports_total",
            "Reports over HTTP that Kafka has confirmed, by source, as the tokens file names it.",
            ["source"],
            registry=registry,
        )
        self.http_refused = Counter(
            "groundswell_http_ingest_refused_total",
            "Requests over HTTP that were refused, none of their reports taken (kafka_silent: unknown), by reason.",
            ["reason"],
            registry=registry,
        )
        for refusal in Refusal:
            self.http_refused.labels(refusal.value)
        self.http_seconds = Histogram(
            "groundswell_http_ingest_request_seconds",
            "From the head of a request with reports over HTTP to its answer.",
            buckets=_HTTP_SECONDS,
            registry=registry,
        )

        # State
        self.snapshots = Counter(
            "groundswell_snapshots_total", "Snapshots of state that the broker confirmed.", ["stage"], registry=registry
        )
        self.snapshot_bytes = Gauge(
            "groundswell_snapshot_bytes", "Size of a stage's last snapshot.", ["stage"], registry=registry
        )
        self.snapshots_refused = Counter(
            "groundswell_snapshots_refused_total",
            "Snapshots that could not be used, being damaged; each has an error in the log.",
            ["stage"],
            registry=registry,
        )
        for stage in STAGES:
            self.snapshots.labels(stage)
            self.snapshots_refused.labels(stage)
            self.snapshot_bytes.labels(stage).set(0)
        self.recovery_seconds = Gauge(
            "groundswell_recovery_seconds", "How long the last recovery of state took.", registry=registry
        )

        # Process
        self.info = Info("groundswell_build", "The running version of Groundswell.", registry=registry)
        self.info.info({"version": version("groundswell")})
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)

    def forget_destination(self, destination: str) -> None:
        """Its alerts are carried by another worker now: its state is told there."""
        for gauge in (self.destination_up, self.destination_pending):
            with contextlib.suppress(KeyError):
                gauge.remove(destination)

    def forget_lag(self, topic: str, partition: int) -> None:
        """A partition is another worker's now: its lag is told there."""
        with contextlib.suppress(KeyError):
            self.input_lag.remove(topic, str(partition))

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from detectors.report import Reason
from streams.metrics import Metrics

UNITS = ("seconds", "bytes", "records")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def own_families(metrics: Metrics) -> dict:
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {f.name: f for f in families if f.name.startswith("groundswell_") and not f.name.endswith("_created")}


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_every_reason_starts_at_zero(metrics):
    samples = own_families(metrics)["groundswell_reports_rejected"].samples

    assert {s.labels["reason"]: s.value for s in samples} == {reason.value: 0.0 for reason in Reason}


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("groundswell_open_incidents", "severity", {"info", "warning", "error", "critical"}),
        ("groundswell_alerts", "state", {"open", "update", "resolved"}),
        ("groundswell_snapshots", "stage", {"ingest", "detect", "judge"}),
        ("groundswell_snapshot_bytes", "stage", {"ingest", "detect", "judge"}),
    ],
)
def test_closed_sets_of_labels_start_at_zero(metrics, name, label, values):
    samples = own_families(metrics)[name].samples

    assert {s.labels[label] for s in samples} == values
    assert {s.value for s in samples} == {0.0}


def test_names_follow_the_conventions(metrics):
    for family in own_families(metrics).values():
        assert family.documentation.endswith("."), family.name
        if family.type == "counter":
            assert all(s.name.endswith("_total") for s in family.samples), family.name
        else:
            assert not family.name.endswith("_total"), family.name
        for unit in UNITS:
            assert unit not in family.name or family.name.endswith(f"_{unit}"), family.name


def test_counted_things_appear_under_their_published_names(metrics):
    metrics.reports_read.inc(5)
    metrics.reports_counted.inc(3)
    metrics.reports_rejected.labels("late").inc(2)
    metrics.report_volume.inc(30)
    metrics.input_lag.labels("reports", "0").set(7)
    metrics.watermark_age.labels("default").set(4.5)
    metrics.watermark.set(1_666_699_200)
    metrics.buckets_closed.inc(11)
    metrics.series_tracked.labels("3").set(40)
    metrics.series_overflow.inc()
    metrics.alert_budget.set(2)
    metrics.alert_achieved.set(1.25)
    metrics.alert_latency.observe(2.4)
    metrics.recovery_seconds.set(1.5)

    assert value(metrics, "groundswell_reports_read_total") == 5
    assert value(metrics, "groundswell_reports_counted_total") == 3
    assert value(metrics, "groundswell_reports_rejected_total", reason="late") == 2
    assert value(metrics, "groundswell_report_volume_total") == 30
    assert value(metrics, "groundswell_input_lag_records", topic="reports", partition="0") == 7
    assert value(metrics, "groundswell_watermark_age_seconds", source="default") == 4.5
    assert value(metrics, "groundswell_watermark_timestamp_seconds") == 1_666_699_200
    assert value(metrics, "groundswell_buckets_closed_total") == 11
    assert value(metrics, "groundswell_series_tracked", partition="3") == 40
    assert value(metrics, "groundswell_series_overflow_total") == 1
    assert value(metrics, "groundswell_alert_budget_pages_per_week") == 2
    assert value(metrics, "groundswell_alert_achieved_pages_per_week") == 1.25
    assert value(metrics, "groundswell_alert_latency_seconds_bucket", le="2.0") == 0
    assert value(metrics, "groundswell_alert_latency_seconds_bucket", le="3.0") == 1
    assert value(metrics, "groundswell_recovery_seconds") == 1.5
    assert value(metrics, "groundswell_build_info", version="0.1.0") == 1


def test_evidence_of_a_whole_bank_is_observed_at_once(metrics):
    metrics.scores.observe(np.array([-3.0, 0.2, 2.0, 2.1, 7.0, np.inf, np.nan]))
    metrics.scores.observe(30.0)

    assert value(metrics, "groundswell_evidence_bucket", le="-1.0") == 1
    assert value(metrics, "groundswell_evidence_bucket", le="2.0") == 3
    assert value(metrics, "groundswell_evidence_bucket", le="10.0") == 5
    assert value(metrics, "groundswell_evidence_bucket", le="50.0") == 6
    assert value(metrics, "groundswell_evidence_bucket", le="+Inf") == 7
    assert value(metrics, "groundswell_evidence_sum") is None


def test_open_metrics_exposition_parses(metrics):
    text = openmetrics.generate_latest(metrics.registry).decode()

    families = {f.name: f.type for f in openmetrics_parser.text_string_to_metric_families(text)}

    assert families["groundswell_reports_read"] == "counter"
    assert families["groundswell_evidence"] == "histogram"
    assert families["groundswell_build"] == "info"
    assert families["process_resident_memory_bytes"] == "gauge"
    assert families["python_info"] == "gauge"

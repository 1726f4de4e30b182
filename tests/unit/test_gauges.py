"""Gauges of what is open: what a scrape gets to see, whoever named the things in it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detectors import counts, surges
from detectors.alert import Acknowledged, Alert, Contacts, Course, Kind, Muted, Severity, Verdict
from detectors.counts import ChunkCounts
from detectors.rules import Rules
from detectors.series import Names, Series
from detectors.silence import Silent
from detectors.surges import SurgeRecord, Tick
from detectors.watch import Busy
from streams.detect import Detect
from streams.gauges import MOST_LETTERS, HealthGauges, IncidentGauges, SeriesGauges
from streams.health import Health
from streams.judge import JudgeStage
from streams.metrics import Metrics
from streams.settings import Settings
from streams.topics import names
from tests.made_alerts import outage, silence

WHATSAPP = {"kind": "series", "service": "WhatsApp", "region": "it"}
T0 = 1_666_656_000_000  # 2022-10-25T00:00:00Z
RULES = Rules(partitions=1, reports_partitions=1)

Stage = TypeVar("Stage", JudgeStage, Detect)


def scraped(*collectors: Any) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The samples of a scrape, by name."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        assert family.documentation.endswith(".")
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def incidents(*alerts: Alert) -> dict[str, list[tuple[dict[str, str], float]]]:
    return scraped(IncidentGauges(lambda most: alerts[:most], lambda most: {}, 50))


def statuses(*alerts: Alert) -> list[str]:
    return [labels["status"] for labels, _ in incidents(*alerts)["groundswell_incident_open"]]


def test_open_incident_is_told_with_what_it_is_and_how_bad():
    told = incidents(outage(course=course([5, 40], 300)))

    assert told["groundswell_incident_open"] == [
        ({**WHATSAPP, "severity": "critical", "status": "pages", "incident": "incident-1"}, 1.0)
    ]
    assert told["groundswell_incident_started_timestamp_seconds"] == [(WHATSAPP, 1_666_698_480.0)]
    assert told["groundswell_incident_reports"] == [(WHATSAPP, 8214.0)]
    # A minute, of a bucket of five.
    assert told["groundswell_incident_reports_per_minute"] == [(WHATSAPP, 8.0)]
    assert told["groundswell_incident_expected_reports_per_minute"] == [(WHATSAPP, 1.0)]
    assert told["groundswell_incident_expected_low_reports_per_minute"] == [(WHATSAPP, 0.4)]
    assert told["groundswell_incident_expected_high_reports_per_minute"] == [(WHATSAPP, 2.0)]


def course(observed: list[int], bucket_seconds: int) -> Course:
    n = len(observed)
    return Course(
        bucket_seconds=bucket_seconds,
        end="2022-10-25T12:00:00Z",
        observed=observed,
        expected=[5.0] * n,
        low=[2.0] * n,
        high=[10.0] * n,
    )


def test_missing_bucket_has_no_observed_rate_but_an_expected_one():
    told = incidents(outage(course=course([7, -1], 60)))

    assert "groundswell_incident_reports_per_minute" not in told
    assert told["groundswell_incident_expected_reports_per_minute"] == [(WHATSAPP, 5.0)]


def test_incident_without_verdict_contacts_or_course_has_none_of_their_figures():
    told = incidents(outage())

    assert not [name for name in told if "verdict" in name or "contacts" in name or "per_minute" in name]


def test_verdict_and_contacts_are_told():
    verdict = Verdict(explained=0.97, taking_part=3, looked_at=4, not_taking_part=["x"], likelier=5.0, instead=[])
    contacts = Contacts(
        cause="incident-1", about="WhatsApp", explained=0.85, shown_by=None, broken=[], observed=900, expected=300.0,
        extra=600.0, extra_explained=510.0, an_hour=7200.0, peak_at=None, forecast=1300.0, cost=369.0,
        forecast_cost=799.5, currency="EUR", until="2022-10-25T12:00:00Z", voice_menu={}, agents={},
    )  # fmt: skip

    told = incidents(outage(verdict=verdict, contacts=contacts))

    assert told["groundswell_incident_verdict_explained_ratio"] == [(WHATSAPP, 0.97)]
    assert told["groundswell_incident_verdict_taking_part_ratio"] == [(WHATSAPP, 0.75)]
    assert told["groundswell_incident_contacts_extra"] == [(WHATSAPP, 600.0)]
    assert told["groundswell_incident_contacts_explained_ratio"] == [(WHATSAPP, 0.85)]
    assert told["groundswell_incident_contacts_cost"] == [({**WHATSAPP, "currency": "EUR"}, 369.0)]
    assert told["groundswell_incident_contacts_forecast_cost"] == [({**WHATSAPP, "currency": "EUR"}, 799.5)]


def test_status_says_why_an_incident_calls_nobody():
    said = {"by": "maria", "reason": "calling them", "at": "2022-10-25T12:00:00Z"}
    muted = Muted(by="maria", reason="tests", since="2022-10-25T12:00:00Z")

    assert statuses(
        outage(service="a"),
        outage(service="b", severity=Severity.WARNING),
        outage(service="c", parent="x", acknowledged=Acknowledged(**said)),
        outage(service="d", acknowledged=Acknowledged(**said)),
        outage(service="e", muted=muted),
        outage(service="f", silenced=True),
    ) == ["pages", "mild", "explained", "acknowledged", "muted", "planned"]


def test_what_spans_all_and_what_names_nothing_differ_in_their_labels():
    told = incidents(
        outage(kind=Kind.SERVICE, region=None),
        outage(kind=Kind.REGION, service=None),
        outage(region=""),
        silence(),
    )["groundswell_incident_open"]

    assert [(labels["service"], labels["region"]) for labels, _ in told] == [
        ("WhatsApp", "*"),
        ("*", "it"),
        ("WhatsApp", "-"),
        ("*feed", "outage-site"),
    ]


def test_hostile_names_stay_short_apart_and_harmless():
    long = [outage(service="x" * 5000 + end) for end in ("a", "b")]
    told = incidents(*long, outage(service='a"} 1\n# HELP \\'), outage(service="lone \ud800"))

    names = [labels["service"] for labels, _ in told["groundswell_incident_open"]]
    assert len(set(names)) == 4
    assert max(map(len, names)) == MOST_LETTERS
    assert names[2:] == ['a"} 1\n# HELP \\', "lone ?"]


def test_names_that_are_one_label_are_told_once():
    told = incidents(outage(service="lone \ud800"), outage(service="lone \ud801"))

    assert len(told["groundswell_incident_reports"]) == 1


def test_no_more_incidents_and_sources_than_the_setting_says_are_told_of():
    told = scraped(
        IncidentGauges(
            lambda most: [outage(service=f"s{n}") for n in range(most)],
            lambda most: {f"source {n}": 60.0 * n for n in range(most)},
            2,
        )
    )

    assert len(told["groundswell_incident_open"]) == 2
    assert told["groundswell_source_silent_seconds"] == [({"source": "source 0"}, 0.0), ({"source": "source 1"}, 60.0)]


def test_busiest_series_are_told_with_their_band_and_a_missing_bucket_without_reports():
    busy = [
        Busy("site", Names("WhatsApp", "it"), 12.0, 10.0, 4.0, 17.0),
        Busy("calls", Names("TIM", ""), -1.0, 3.0, 0.0, 7.0),
    ]

    told = scraped(SeriesGauges(lambda most: busy[:most], 20))

    site = {"source": "site", "service": "WhatsApp", "region": "it"}
    calls = {"source": "calls", "service": "TIM", "region": "-"}
    assert told["groundswell_series_reports_per_minute"] == [(site, 12.0)]
    assert told["groundswell_series_expected_reports_per_minute"] == [(site, 10.0), (calls, 3.0)]
    assert told["groundswell_series_expected_high_reports_per_minute"] == [(site, 17.0), (calls, 7.0)]


def test_health_is_told_in_figures():
    health = Health()
    health.assigned(True)
    health.recovered(True)
    health.lag("detect", 12, now=100.0)
    health.lag("judge", 0, now=100.0)

    told = scraped(HealthGauges(health, lambda: 130.0))

    assert told["groundswell_ready"] == [({}, 1.0)]
    assert told["groundswell_stage_stalled_seconds"] == [({"stage": "detect"}, 30.0), ({"stage": "judge"}, 0.0)]


def test_stall_watch_rests_while_state_is_recovered():
    health = Health()
    health.assigned(True)
    health.lag("detect", 12, now=100.0)

    told = scraped(HealthGauges(health, lambda: 400.0))

    assert told["groundswell_ready"] == [({}, 0.0)]
    assert told["groundswell_stage_stalled_seconds"] == [({"stage": "detect"}, 0.0)]


# --- the stages behind them ---


class Kafka:
    """Takes every record."""

    def __init__(self) -> None:
        self.producer = self

    async def send(self, *_: object) -> asyncio.Future[None]:
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        taken.set_result(None)
        return taken


class NoState:
    """A table without a snapshot, of which none is due."""

    def load(self, *_: object) -> None:
        return None

    def due(self, _partition: int) -> bool:
        return False


def stage(kind: type[Stage]) -> Stage:
    parts: tuple[Any, ...] = (Kafka(), RULES, names(Settings()), NoState(), Metrics(CollectorRegistry()), Health())
    return kind(*parts)


def records(*values: bytes) -> list[SimpleNamespace]:
    return [SimpleNamespace(offset=offset, value=value) for offset, value in enumerate(values)]


async def test_what_another_worker_judges_now_is_gone_from_the_next_scrape():
    judge = stage(JudgeStage)
    await judge.resume(frozenset({0}))
    silent = Silent("calls", T0, T0, 60, 50.0, 9.0, False)
    await judge.handle(0, records(surges.encode(SurgeRecord(0, 1, T0 + 90_000, [Tick(T0 + 90_000, [], [silent])]))))
    gauges = IncidentGauges(judge.open_now, judge.silent, 50)
    assert [labels["region"] for labels, _ in scraped(gauges)["groundswell_incident_open"]] == ["calls"]
    assert scraped(gauges)["groundswell_source_silent_seconds"] == [({"source": "calls"}, 90.0)]

    judge.release(frozenset())

    assert scraped(gauges) == {}


async def test_series_that_another_worker_watches_now_are_gone_from_the_next_scrape():
    detect = stage(Detect)
    await detect.resume(frozenset({0}))
    await detect.handle(0, records(counts.encode(hour())))
    gauges = SeriesGauges(detect.busiest, 20)
    assert [labels["service"] for labels, _ in scraped(gauges)["groundswell_series_reports_per_minute"]] == ["WhatsApp"]

    detect.release(frozenset())

    assert scraped(gauges) == {}


def hour() -> ChunkCounts:
    """Five reports in each minute of an hour."""
    times = [T0 + minute * 60_000 for minute in range(60)]
    return ChunkCounts(
        0, 1, 0, 60, T0 + 3_603_000,
        sorted({time // 3_600_000 for time in [*times, T0 + 3_603_000]}),
        {"site": [(time // 60_000, time // 10_000) for time in times]},
        [Series("site", "whatsapp", "it")], [Names("WhatsApp", "it")],
        [0] * 60, [time // 10_000 for time in times], [5] * 60,
    )  # fmt: skip

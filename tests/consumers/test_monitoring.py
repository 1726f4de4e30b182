"""A real Prometheus scrapes a real worker through an outage: rules find their metrics, dashboards their data."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yaml

from deploy.grafana import dashboards
from tests.consumers import monitoring, servers
from tests.consumers.monitoring import lately, now
from tests.pipeline import feeds, harness

pytestmark = pytest.mark.timeout(240)  # the first test waits for the run

QUIET_MINUTES = 48 * 60
OUTAGE_MINUTES = 15
SILENT_MINUTES = 60
REGIONS = ("it/lazio", "it/lombardia", "it/campania", "it/veneto", "it/sicilia")

MADE = [make() for make in dashboards.DASHBOARDS.values()]


def targets() -> list[Any]:
    return [
        pytest.param(target, id=f"{made['uid']}-{panel['id']}{target['refId']}")
        for made in MADE
        for panel in made["panels"]
        for target in panel.get("targets", [])
    ]


def rule_metrics() -> list[str]:
    groups = yaml.safe_load(monitoring.RULES.read_text())["groups"]
    expressions = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    return sorted(set(re.findall(r"\bgroundswell_\w+\b|\bup\b", expressions)))


class Run(msgspec.Struct, frozen=True):
    """What is up after the outage: where Prometheus answers, and where the worker does."""

    prometheus: str
    worker: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def run(tmp_path_factory: pytest.TempPathFactory, broker: str, embedded: bool) -> AsyncIterator[Run]:
    """A worker that was scraped from its start on, while WhatsApp went down and calls about it came in."""
    stage = harness.Stage(tmp_path_factory.mktemp("monitoring"), broker, embedded)
    pages = stage.folder / "alertmanager.yml"
    pages.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with servers.alertmanager(stage.folder, pages) as manager:
        async for each in scraped(stage, manager):
            yield each


async def scraped(stage: harness.Stage, manager: servers.Server) -> AsyncIterator[Run]:
    """The run, whose alerts go to this Alertmanager."""
    scene = await stage.set_scene(
        destination__oncall__type="alertmanager",
        destination__oncall__urls=[manager.url],
        topics__partitions=2,
        ours__services=["TIM"],
        ours__sources=["contact-centre"],
        ours__cost_per_contact=0.615,
    )
    async with harness.workers(scene) as start:
        worker = start()
        await worker.ready()
        config = monitoring.configured(stage.folder, worker.port)
        with servers.prometheus(stage.folder, config) as server:
            # Counters have to be seen at 0 first: what they grow by is nothing else.
            await until(server.url, "groundswell_reports_read_total == 0", "the worker was scraped")
            await harness.send(scene, feed(scene.partitions))
            for expr in (
                'groundswell_incident_open{service="WhatsApp", status="pages"}',
                "groundswell_incident_contacts_cost > 0",
                'ALERTS{alertname="GroundswellSourceSilent", alertstate="firing"}',
                "groundswell_alert_latency_seconds_count > 0",
                'rate(groundswell_deliveries_total{outcome="delivered"}[1m]) > 0',
                "sum(groundswell_input_lag_records) == 0",
            ):
                await until(server.url, expr, f"{expr} had data")
            yield Run(server.url, f"http://127.0.0.1:{worker.port}")


async def until(url: str, expr: str, what: str) -> None:
    async def there() -> bool:
        return bool(now(url, expr))

    await harness.wait_until(there, 60, what)


def feed(partitions: int) -> list[tuple[int, bytes]]:
    """Two quiet days up to now, their last quarter of an hour an outage of WhatsApp, about which people call.

    A source says nothing in the last hour, and a few records are no reports.
    """
    end = int(time.time()) // 60 * 60
    records = []
    for minute in range(QUIET_MINUTES):
        at, left = end - (QUIET_MINUTES - minute) * 60, QUIET_MINUTES - minute
        usual, down = (3, 6, 5, 4, 7)[minute * 7 % 5], left <= OUTAGE_MINUTES
        for region in REGIONS:
            records.append(feeds.report(at, "WhatsApp", region, "site", count=60 if down else usual))
        records.append(feeds.report(at, "TIM", "it/lazio", "site", count=usual))
        records.append(feeds.report(at, "TIM", "it/lazio", "contact-centre", count=2 * usual))
        records.append(feeds.report(at, "WhatsApp", "it/lazio", "contact-centre", count=80 if down else 1))
        if left > SILENT_MINUTES:
            records.append(feeds.report(at, "Netflix", "it/lazio", "social", count=usual))
    records += [b"no report"] * 9
    first, last = feeds.report(end - QUIET_MINUTES * 60, "heartbeat", count=0), feeds.report(end, "heartbeat", count=0)
    return [
        *((n, first) for n in range(partitions)),
        *((n % partitions, record) for n, record in enumerate(records)),
        *((n, last) for n in range(partitions)),
    ]


@pytest.mark.parametrize("metric", rule_metrics())
def test_metric_that_a_rule_names_is_there(run: Run, metric: str):
    assert now(run.prometheus, metric)


def test_rules_are_evaluated_without_an_error_and_the_right_ones_fire(run: Run):
    groups = monitoring.ask(run.prometheus, "rules")["groups"]

    assert [rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")] == []
    assert {"GroundswellWatchdog", "GroundswellSourceSilent"} <= monitoring.firing(run.prometheus)
    assert "GroundswellStalled" not in monitoring.firing(run.prometheus)


def test_alert_on_groundswell_links_to_its_panel_at_the_address_that_is_configured(run: Run):
    alerts = monitoring.ask(run.prometheus, "alerts")["alerts"]
    (silent,) = (each for each in alerts if each["labels"]["alertname"] == "GroundswellSourceSilent")

    assert silent["annotations"]["summary"].startswith("Source social has been silent for 1h")
    assert silent["annotations"]["dashboard_url"] == "http://localhost:3000/d/groundswell-operations?viewPanel=7"


def filled(expr: str) -> str:
    """A query with its variables as Grafana puts them in where all is chosen, over the last minutes."""
    values = {"$__rate_interval": "1m", "$__range": "5m", "$job": ".+", "$instance": ".+", "$incident": ".+"}
    for name, value in values.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


@pytest.mark.parametrize("target", targets())
def test_query_of_a_panel_has_data(run: Run, target: dict[str, Any]):
    expr = filled(target["expr"])

    assert now(run.prometheus, expr) if target["instant"] else lately(run.prometheus, expr)


@pytest.mark.parametrize("annotation", [pytest.param(each, id=each["name"]) for each in dashboards.ANNOTATIONS])
def test_query_of_an_annotation_has_data(run: Run, annotation: dict[str, Any]):
    found = lately(run.prometheus, filled(annotation["expr"]))

    assert found
    if annotation["name"] == "Incidents":
        named = set(re.findall(r"{{(\w+)}}", annotation["titleFormat"] + annotation["textFormat"]))
        assert all(named <= labels.keys() for labels, _ in found)


VARIABLES = {each["name"]: each for made in MADE for each in made["templating"]["list"] if each["type"] == "query"}


@pytest.mark.parametrize("name", VARIABLES)
def test_variable_has_values(run: Run, name: str):
    query = VARIABLES[name]["query"]["query"]

    if values := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
        assert [labels for labels, _ in now(run.prometheus, filled(values[1])) if values[2] in labels]
        return
    result = re.fullmatch(r"query_result\((.+)\)", query)
    assert result is not None
    # As Grafana writes the results down, and looks in them with the regular expression, which is JavaScript's.
    regex = VARIABLES[name]["regex"].strip("/").replace("(?<", "(?P<")
    found = []
    for labels, value in now(run.prometheus, filled(result[1])):
        text = ",".join(f'{label}="{labels[label]}"' for label in sorted(labels))
        match = re.search(regex, f"{{{text}}} {value:g} 1666699200000")
        assert match is not None
        found.append(match["text"])
        assert re.fullmatch("[0-9a-f]{16}", match["value"])
    assert "WhatsApp in *" in found


def test_outage_is_drawn_above_its_band_and_its_parts_are_told_as_explained(run: Run):
    assert now(
        run.prometheus,
        'groundswell_incident_reports{kind="service", service="WhatsApp"} > 3 * groundswell_incident_expected_reports',
    )
    observed, high = (
        {
            labels["region"]: max(values)
            for labels, values in lately(run.prometheus, f'{name}{{kind="service", service="WhatsApp"}}')
        }
        for name in (
            "groundswell_incident_reports_per_minute",
            "groundswell_incident_expected_high_reports_per_minute",
        )
    )
    assert observed["*"] > high["*"]
    parts = now(run.prometheus, 'groundswell_incident_open{kind="series", service="WhatsApp", status="explained"}')
    assert len(parts) >= len(REGIONS) - 1


def test_busiest_series_have_what_came_and_what_was_expected(run: Run):
    labels = '{source="site", service="TIM", region="it/lazio"}'
    ((_, expected),) = now(run.prometheus, f"groundswell_series_expected_reports_per_minute{labels}")

    assert 3 < expected < 8


def test_promtool_has_nothing_to_say_about_what_the_worker_tells(run: Run):
    with urllib.request.urlopen(f"{run.worker}/metrics") as answer:
        page = answer.read()
    own = b"\n".join(line for line in page.splitlines() if b"groundswell_" in line) + b"\n"

    done = subprocess.run(
        [servers.tool("promtool", "prometheus"), "check", "metrics"], input=own, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr.decode()

"""Rules, runbook and dashboards fit each other. Whether Prometheus takes them, and has data: tests/consumers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import dashboards

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RUNBOOK = ROOT / "docs" / "runbook.md"
MADE = {file: make() for file, make in dashboards.DASHBOARDS.items()}


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "groundswell.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (panel for panel in made["panels"] if panel["type"] != "row")


PANELS = [(made, panel) for made in MADE.values() for panel in panels(made)]
QUERIES = sorted({target["expr"] for _, panel in PANELS for target in panel["targets"]})
NAMES = [f"{made['uid']}-{panel['id']}" for made, panel in PANELS]


# --- rules ---


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_how_bad_it_is_what_to_do_and_where_to_read_on(name: str):
    rule = ALERTS[name]
    annotations = rule["annotations"]

    assert re.fullmatch(r"Groundswell([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in {"critical", "warning", "info"} or name == "GroundswellWatchdog"
    assert annotations["summary"].endswith((".", ")."))
    assert len(annotations["description"]) > 80
    assert annotations["runbook_url"].endswith(f"/docs/runbook.md#{name.lower()}")


def test_every_alert_has_its_section_in_the_runbook_and_none_is_left_over():
    sections = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert sections == list(ALERTS)


def test_alerts_link_to_panels_that_are_there_and_those_to_the_runbook():
    by_link = {f"/d/{made['uid']}?viewPanel={panel['id']}": panel for made, panel in PANELS}
    linked = {name: rule["annotations"].get("dashboard_url") for name, rule in ALERTS.items()}

    assert [name for name, url in linked.items() if url is None] == ["GroundswellWatchdog"]
    for url in filter(None, linked.values()):
        assert by_link[url.removeprefix("{{ $externalLabels.grafana }}")]["links"]
    for _, panel in PANELS:
        for link in panel["links"]:
            assert link["url"].partition("#")[2] in {name.lower() for name in ALERTS}


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not():
    tests = yaml.safe_load((PROMETHEUS / "groundswell.rules.test.yml").read_text())["tests"]
    fires: dict[str, set[bool]] = {}
    for test in tests:
        for case in test.get("alert_rule_test", []):
            fires.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
        for case in test.get("promql_expr_test", []):
            for name in re.findall(r'ALERTS\{alertname="(\w+)", alertstate="firing"', case["expr"]):
                fires.setdefault(name, set()).add(bool(case["exp_samples"]))

    always = {"GroundswellWatchdog": {True}}
    assert fires == {name: {True, False} for name in ALERTS} | always


def test_what_is_recorded_is_named_by_level_metric_and_operation_and_used():
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    used = " ".join(rule["expr"] for rule in rules())

    assert all(name.startswith("groundswell:") and name.count(":") >= 2 for name in recorded)
    # For people: how fast deliveries go.
    for_people = {"groundswell:deliveries:rate5m", "groundswell:delivery_seconds:p95_15m"}
    assert {name for name in recorded if name not in used} == for_people


# --- dashboards ---


@pytest.mark.parametrize("file", MADE)
def test_file_is_what_the_generator_writes(file: str):
    written = (GRAFANA / "dashboards" / file).read_text(encoding="utf-8")

    assert written == dashboards.text(MADE[file]), "run: python deploy/grafana/dashboards.py"


def test_there_are_no_other_dashboards():
    assert {path.name for path in (GRAFANA / "dashboards").iterdir()} == set(MADE)


@pytest.mark.parametrize("file", MADE)
def test_dashboard_is_not_editable_and_has_the_variables_of_others(file: str):
    made = MADE[file]
    variables = {each["name"]: each for each in made["templating"]["list"]}

    assert made["editable"] is False
    assert made["uid"].startswith("groundswell-")
    assert list(variables)[:3] == ["datasource", "job", "instance"]
    assert variables["datasource"]["type"] == "datasource"
    for name in ("job", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["includeAll"]
        assert variables[name]["allValue"] == ".+"
        assert variables[name]["refresh"] == 2
    assert [each["name"] for each in made["annotations"]["list"]] == ["Incidents", "Alerts on Groundswell"]


def test_ids_of_panels_are_unique_on_their_dashboard():
    for made in MADE.values():
        ids = [panel["id"] for panel in made["panels"]]
        assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("made", "panel"), PANELS, ids=NAMES)
def test_panel_explains_itself_and_takes_the_data_source_that_is_chosen(made: dict[str, Any], panel: dict[str, Any]):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert panel["targets"]
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24


@pytest.mark.parametrize("file", MADE)
def test_panels_do_not_overlap(file: str):
    taken: set[tuple[int, int]] = set()
    for panel in MADE[file]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("expr", QUERIES)
def test_query_heeds_the_chosen_workers_and_takes_counters_by_their_rate(expr: str):
    # ALERTS are of rules, most of which are about no single worker.
    for metric, matchers in re.findall(r"\b((?:groundswell|process)_\w+|up)\{([^}]*)\}", expr):
        assert matchers.startswith('job=~"$job", instance=~"$instance"'), expr
        if metric.endswith(("_total", "_bucket")):
            window = re.search(re.escape(f"{metric}{{{matchers}}}") + r"\[(\S+)\]", expr)
            assert window is not None, expr
            assert window[1] in ("$__rate_interval", "$__range")
    assert "[5m]" not in expr


def test_both_are_provisioned_from_files_with_a_data_source():
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/groundswell.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]

    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False
    assert (source["type"], source["isDefault"]) == ("prometheus", True)


def test_json_has_no_surprises_for_other_readers():
    for made in MADE.values():
        assert json.loads(dashboards.text(made)) == made

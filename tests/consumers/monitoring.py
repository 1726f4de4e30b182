"""What deploy/ ships for Prometheus, set up for one worker of a test, and questions to a real Prometheus."""

from __future__ import annotations

import json
import math
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "groundswell.rules.yml"
#: Between two scrapes, and two evaluations of the rules.
SECONDS = 1


def configured(folder: Path, port: int, *, hold_seconds: int | None = None) -> Path:
    """The shipped configuration and rules, for one worker at a port of this machine; the path of the former.

    hold_seconds: how long a condition has to hold before its alert fires; None: as shipped.
    """
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{SECONDS}s")
    config["alerting"]["alertmanagers"] = []
    (job,) = (each for each in config["scrape_configs"] if each["job_name"] == "groundswell")
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    config["scrape_configs"] = [job]
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            if "for" in rule and hold_seconds is not None:
                rule["for"] = f"{hold_seconds}s"
    assert config["rule_files"] == [RULES.name]
    (folder / RULES.name).write_text(yaml.safe_dump(rules))
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    return file


def ask(url: str, path: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus's API. AssertionError with its reason where it refuses."""
    request = f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{parameters}: {error.read().decode()}") from None


def now(url: str, expr: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each sample that a query gives now."""
    result = ask(url, "query", query=expr)["result"]
    return [(each["metric"], float(each["value"][1])) for each in result]


def lately(url: str, expr: str, seconds: float = 60.0) -> list[tuple[dict[str, str], list[float]]]:
    """Labels and finite values of each line that a query gives over the last seconds."""
    end = time.time()
    found = ask(url, "query_range", query=expr, start=str(end - seconds), end=str(end), step="2")["result"]
    lines = [(each["metric"], [float(value) for _, value in each["values"]]) for each in found]
    return [
        (labels, finite) for labels, values in lines if (finite := [value for value in values if math.isfinite(value)])
    ]


def firing(url: str) -> set[str]:
    """The names of the alerts that fire."""
    return {labels["alertname"] for labels, _ in now(url, 'ALERTS{alertstate="firing"}')}

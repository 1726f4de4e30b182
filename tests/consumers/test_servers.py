"""The servers that the other tests here talk to do start, and start again."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tests.consumers import servers


def test_prometheus_starts_and_answers_queries(tmp_path: Path):
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1s}\n")

    with (
        servers.prometheus(tmp_path, config) as server,
        urllib.request.urlopen(f"{server.url}/api/v1/query?query=1") as a,
    ):
        assert json.load(a)["data"]["result"][1] == "1"


def test_alertmanager_starts_and_comes_back_after_a_kill(tmp_path: Path):
    config = tmp_path / "alertmanager.yml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")

    with servers.alertmanager(tmp_path, config) as server:
        server.restart(kill=True)
        with urllib.request.urlopen(f"{server.url}/api/v2/alerts") as answer:
            assert json.load(answer) == []

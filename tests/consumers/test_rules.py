"""Prometheus's own tool takes the rules and their configuration, and the cases of each alert hold."""

from __future__ import annotations

import subprocess

import pytest

from tests.consumers.monitoring import DEPLOY
from tests.consumers.servers import tool


@pytest.mark.parametrize(
    "command",
    [
        "check rules groundswell.rules.yml",
        "check config prometheus.yml",
        "test rules groundswell.rules.test.yml",
    ],
)
def test_promtool_finds_nothing_wrong(command: str):
    done = subprocess.run(
        [tool("promtool", "prometheus"), *command.split()],
        cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout

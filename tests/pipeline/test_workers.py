"""Workers come and go while reports pour in: each report is counted once, and the alerts are the same."""

from __future__ import annotations

import pytest

from tests.pipeline.harness import given
from tests.pipeline.runs import Runs

pytestmark = pytest.mark.timeout(400)  # the first test waits for the runs


def test_run_by_two_workers_then_one_then_three_ends_as_the_undisturbed_run(runs: Runs) -> None:
    undisturbed, regrouped = given(runs.undisturbed), given(runs.regrouped)

    assert regrouped.counts == undisturbed.counts
    assert regrouped.alerts == undisturbed.alerts
    assert regrouped.dead_letters == undisturbed.dead_letters

"""Workers that are killed, come and go change nothing: counts, alerts and dead letters are those of a calm run."""

from __future__ import annotations

import pytest

from detectors import alert
from tests.pipeline.harness import given
from tests.pipeline.runs import Runs

pytestmark = pytest.mark.timeout(400)  # the first test waits for the runs


def test_undisturbed_run_gives_the_alerts_of_a_run_without_kafka(runs: Runs) -> None:
    undisturbed = given(runs.undisturbed)

    states = {alert.decode(value).state for value in runs.expected.alerts}
    assert states == {alert.State.OPEN, alert.State.UPDATE, alert.State.RESOLVED}
    assert list(undisturbed.alerts.values()) == runs.expected.alerts


def test_undisturbed_run_counts_or_dead_letters_each_record(runs: Runs) -> None:
    undisturbed = given(runs.undisturbed)

    # Each counted report of this feed stands for itself, but for the heartbeat at both ends of each partition.
    heartbeats = 8
    assert sum(undisturbed.counts.values()) == runs.expected.pipeline.counted - heartbeats
    assert len(undisturbed.dead_letters) == runs.expected.pipeline.rejected.total()
    assert sum(undisturbed.counts.values()) + len(undisturbed.dead_letters) + heartbeats == len(runs.expected.feed)


def test_run_killed_three_times_ends_as_the_undisturbed_run(runs: Runs) -> None:
    undisturbed, killed = given(runs.undisturbed), given(runs.killed)

    assert killed.counts == undisturbed.counts
    assert killed.alerts == undisturbed.alerts
    assert killed.dead_letters == undisturbed.dead_letters


def test_run_by_two_workers_then_one_then_three_ends_as_the_undisturbed_run(runs: Runs) -> None:
    undisturbed, regrouped = given(runs.undisturbed), given(runs.regrouped)

    assert regrouped.counts == undisturbed.counts
    assert regrouped.alerts == undisturbed.alerts
    assert regrouped.dead_letters == undisturbed.dead_letters

"""Calibration: what a score is worth as evidence."""

import numpy as np
import pytest

from detectors.calibration import CHANCE, USUAL_EPISODES, Calibration

WEEK = 7 * 24  # buckets of an hour


def calibration_of(rows: int, bucket_seconds: int = 3600) -> Calibration:
    calibration = Calibration(bucket_seconds)
    calibration.add(rows)
    return calibration


def episodes(calibration: Calibration, rows: int, a_week: float, weeks: int) -> None:
    """So many episodes of an hour in each series and week, evenly spread."""
    every = WEEK / a_week
    for hour in range(weeks * WEEK):
        high = (hour + np.arange(rows) * every / rows) % every < 1.0
        calibration.learn(np.where(high, 3.0, -1.0))


def test_evidence_rises_with_the_score_without_a_jump_or_a_ceiling():
    evidence = calibration_of(1).evidence(np.linspace(0.0, 1000.0, 100_001))

    assert (np.diff(evidence) > 0.0).all()
    assert np.diff(evidence).max() < 0.01
    assert evidence[-1] > evidence[round(CHANCE * 100)] + 3.0


def test_longer_buckets_need_less_for_the_same_evidence():
    minute, hour = calibration_of(1, 60), calibration_of(1, 3600)

    assert hour.evidence(np.zeros(1)) - minute.evidence(np.zeros(1)) == pytest.approx(np.log10(60.0))


@pytest.mark.parametrize("a_week", [0.0, 1.0, 2.0])
def test_feed_that_surges_no_more_than_usual_is_left_alone(a_week: float):
    calibration = calibration_of(50)

    if a_week:
        episodes(calibration, 50, a_week, weeks=6)

    assert calibration.lowered == 0.0


def test_feed_that_surges_all_the_time_lowers_its_evidence_until_that_ends():
    calibration = calibration_of(50)
    episodes(calibration, 50, 3 * USUAL_EPISODES, weeks=4)
    lowered = calibration.lowered

    for _ in range(WEEK):
        calibration.learn(np.full(50, -1.0))

    assert lowered > 1.0
    assert calibration.evidence(np.full(1, 20.0)) < calibration_of(1).evidence(np.full(1, 20.0))
    assert 0.0 <= calibration.lowered < lowered


def test_episode_does_not_lower_its_own_evidence():
    calibration = calibration_of(1, 60)
    for _ in range(600):
        calibration.learn(np.array([5.0]))

    assert calibration.lowered == 0.0


def test_one_bad_hour_of_all_series_lowers_it_by_little():
    calibration = calibration_of(1000)

    for evidence in (6.0, -1.0, -1.0):
        calibration.learn(np.full(1000, evidence))

    assert calibration.lowered < 0.4


def test_series_that_come_later_had_no_episode():
    calibration = calibration_of(1, 60)
    calibration.learn(np.array([5.0]))
    calibration.add(101)

    for _ in range(40):
        calibration.learn(np.full(101, -1.0))

    assert calibration.lowered < 2.0 / 101


def test_state_goes_on_where_it_was():
    calibration, other = calibration_of(3), calibration_of(3)
    episodes(calibration, 3, 8.0, weeks=2)

    other.load(calibration.arrays())
    episodes(calibration, 3, 8.0, weeks=1)
    episodes(other, 3, 8.0, weeks=1)

    assert calibration.lowered == other.lowered > 0.0

"""Habit: how high a series' score usually is."""

import numpy as np
import pytest

from detectors.habit import CHANCE, HIGH, Habit

A_DAY = 24  # buckets of an hour


def test_new_series_is_taken_as_it_comes():
    habit = Habit(3600)
    habit.add(3)

    assert habit.temper(np.array([0.0, 15.0, 200.0])).tolist() == [0.0, 15.0, 200.0]


def test_series_that_surges_every_other_day_says_less():
    habit = Habit(3600)
    habit.add(2)
    for hour in range(60 * A_DAY):
        surge = 60.0 if hour % (2 * A_DAY) < 8 else 0.0
        habit.learn(habit.temper(np.array([surge, 0.0])))

    often, seldom = habit.temper(np.array([100.0, 100.0]))

    assert seldom == 100.0
    assert HIGH < often < 60.0


def test_what_is_learned_is_forgotten_within_months_but_never_below_chance():
    habit = Habit(3600)
    habit.add(1)
    for _ in range(40 * A_DAY):
        habit.learn(np.array([60.0]))
    learned = float(habit.temper(np.array([100.0]))[0])
    for _ in range(200 * A_DAY):
        habit.learn(np.array([0.0]))

    assert learned < 40.0
    assert habit.temper(np.array([100.0]))[0] == 100.0


def test_usual_height_falls_at_the_same_pace_whatever_the_bucket():
    usual = []
    for bucket_seconds in (60, 3600):
        habit = Habit(bucket_seconds)
        habit.add(1)
        for _ in range(7 * 86_400 // bucket_seconds):
            habit.learn(np.array([0.0]))
        usual.append(float(habit.arrays()["usual"][0]))

    assert usual[0] == pytest.approx(CHANCE * np.exp(-7 / 28), rel=0.01)
    assert usual[1] == pytest.approx(usual[0], rel=0.01)


@pytest.mark.parametrize("usual", [0.1, 4.0, 40.0])
def test_order_of_scores_is_kept(usual: float):
    habit = Habit(60)
    habit.add(500)
    habit.load({"usual": np.full(500, usual, dtype=np.float32)})

    tempered = habit.temper(np.linspace(0.0, 100.0, 500))

    assert (np.diff(tempered) > 0.0).all()

"""Holiday: which type of day the counts follow."""

import numpy as np
import pytest

from detectors.holiday import MOST, PRIOR, Holiday

MEAN, RATIO = np.full(50, 4.0), np.full(50, -0.7)  # fifty series, half as busy on the other type of day
HERE = np.zeros(50, dtype=np.int32)


def follow(holiday: Holiday, factor: float, minutes: int) -> None:
    for _ in range(minutes):
        share = holiday.share()[HERE]
        expected = MEAN * np.exp(share * RATIO)
        holiday.learn(holiday.weigh(HERE, MEAN * factor, expected, RATIO, share, 1.0))


def test_every_day_begins_as_what_the_calendar_says():
    holiday = Holiday()
    holiday.add(2)

    assert holiday.share() == pytest.approx([1 / 149.4, 1 / 149.4], rel=0.01)


def test_counts_of_the_other_type_of_day_are_a_holiday_within_the_hour():
    holiday = Holiday()
    holiday.add(1)

    follow(holiday, 0.5, minutes=60)

    assert holiday.share()[0] > 0.9


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_counts_as_usual_or_a_surge_are_no_holiday(factor: float):
    holiday = Holiday()
    holiday.add(1)

    follow(holiday, factor, minutes=600)

    assert holiday.share()[0] < 0.01


def test_midnight_tells_of_the_day_that_ended_and_begins_anew():
    holiday = Holiday()
    holiday.add(1)
    follow(holiday, 0.5, minutes=600)

    ended = holiday.begin_day(0)

    assert ended > 0.99
    assert holiday.log_odds.tolist() == [PRIOR]


def test_time_zones_do_not_share_their_holidays_and_odds_are_bounded():
    holiday = Holiday()
    holiday.add(2)

    for _ in range(1000):
        holiday.learn(np.array([5.0, -5.0]))

    assert holiday.log_odds.tolist() == [MOST, -MOST]


def test_one_series_that_explodes_says_no_more_than_a_bounded_amount():
    holiday = Holiday()
    holiday.add(1)
    one = np.ones(1)

    told = holiday.weigh(HERE[:1], 1e9 * one, 4.0 * one, 0.7 * one, 0.0 * one, 1.0)

    assert 0.0 < told[0] < 0.3

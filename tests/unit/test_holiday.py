"""Holiday: which type of day the counts follow."""

import numpy as np
import pytest

from detectors.holiday import MOST, PRIOR, PRIOR_PUBLIC, Holiday, spread
from detectors.local_time import DAY_MS
from detectors.series import Series

MEAN, RATIO = np.full(50, 4.0), np.full(50, -0.7)  # fifty series, half as busy on the other type of day
HERE = np.zeros(50, dtype=np.int32)
#: 25 October 2022, noon. The Tuesday after it is All Saints' Day, a public holiday in Italy and in Bavaria.
TUESDAY = 19_290 * DAY_MS + DAY_MS // 2
ALL_SAINTS = TUESDAY + 7 * DAY_MS
ROME = {"it": "Europe/Rome"}
LAZIO, OHIO = Series("site", "shop", "it/lazio"), Series("site", "shop", "us/ohio")


def follow(holiday: Holiday, factor: float, minutes: int) -> None:
    for _ in range(minutes):
        share = holiday.share()[HERE]
        expected = MEAN * np.exp(share * RATIO)
        holiday.learn(holiday.weigh(HERE, MEAN * factor, expected, RATIO, share, 1.0))


def test_every_day_begins_as_what_the_calendar_says():
    holiday = Holiday(ROME)
    holiday.add([LAZIO, OHIO])

    assert holiday.share() == pytest.approx([1 / 149.4, 1 / 149.4], rel=0.01)


def test_counts_of_the_other_type_of_day_are_a_holiday_within_the_hour():
    holiday = Holiday()
    holiday.add([LAZIO])

    follow(holiday, 0.5, minutes=60)

    assert holiday.share()[0] > 0.9


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_counts_as_usual_or_a_surge_are_no_holiday(factor: float):
    holiday = Holiday()
    holiday.add([LAZIO])

    follow(holiday, factor, minutes=600)

    assert holiday.share()[0] < 0.01


def test_midnight_tells_of_the_day_that_ended_and_begins_anew():
    holiday = Holiday()
    holiday.add([LAZIO])
    follow(holiday, 0.5, minutes=600)

    ended = holiday.begin_day(0, TUESDAY)

    assert ended > 0.99
    assert holiday.log_odds.tolist() == [PRIOR]


def test_time_zones_do_not_share_their_holidays_and_odds_are_bounded():
    holiday = Holiday(ROME)
    holiday.add([LAZIO, OHIO])

    for _ in range(1000):
        holiday.learn(np.array([5.0, -5.0]))

    assert holiday.log_odds.tolist() == [MOST, -MOST]


def test_one_series_that_explodes_says_no_more_than_a_bounded_amount():
    holiday = Holiday()
    holiday.add([LAZIO])
    one = np.ones(1)

    told = holiday.weigh(HERE[:1], 1e9 * one, 4.0 * one, 0.7 * one, 0.0 * one, 1.0)

    assert 0.0 < told[0] < 0.3


# --- public holidays ---


def test_public_holiday_begins_with_even_odds_where_it_is_one_and_other_days_do_not():
    holiday = Holiday(ROME, {"it": "IT", "us": "US"})
    holiday.add([LAZIO, OHIO])

    for group in (0, 1):
        holiday.begin_day(group, ALL_SAINTS)
    on_the_day = holiday.log_odds.tolist()
    for group in (0, 1):
        holiday.begin_day(group, TUESDAY)

    assert on_the_day == [PRIOR_PUBLIC, PRIOR]
    assert holiday.log_odds.tolist() == [PRIOR, PRIOR]


def test_day_is_that_of_the_time_zone():
    holiday = Holiday(ROME, {"it": "IT"})
    holiday.add([LAZIO])
    midnight_in_rome = 19_297 * DAY_MS - 3_600_000

    holiday.look_at(midnight_in_rome - 1)
    before = holiday.public.tolist()
    holiday.look_at(midnight_in_rome)

    assert (before, holiday.public.tolist()) == ([False], [True])


def test_public_holiday_on_a_weekend_follows_the_weekend():
    holiday = Holiday({}, {"it": "IT"})
    holiday.add([LAZIO])

    holiday.look_at(19_351 * DAY_MS)  # Sunday, 25 December 2022

    assert holiday.public.tolist() == [False]


def test_countries_of_one_time_zone_have_odds_of_their_own_and_subdivisions_their_own_days():
    holiday = Holiday({}, {"de": "DE", "de/by": "DE-BY"})

    holiday.add([Series("site", "shop", region) for region in ("de/be", "de/by", "de/by/munich", "fr")], ALL_SAINTS)

    assert holiday.groups == [("UTC", "DE"), ("UTC", "DE-BY"), ("UTC", "")]
    assert holiday.group.tolist() == [0, 1, 1, 2]
    assert holiday.log_odds.tolist() == [PRIOR, PRIOR_PUBLIC, PRIOR]
    assert holiday.public.tolist() == [False, True, False]


def test_odds_are_kept_when_groups_are_others_after_a_restart():
    one = Holiday()
    one.add([LAZIO, OHIO])
    one.learn(np.array([2.0]))

    two = Holiday(ROME, {"us": "US"})
    two.add([LAZIO, OHIO])
    two.load(one.arrays())

    assert two.log_odds.tolist() == [PRIOR + 2.0, PRIOR + 2.0]


def test_spread_is_that_of_two_curves_and_none_when_one_is_certain():
    half, ratio = np.array([0.5]), np.array([-0.7])

    told = spread(half, ratio)

    geometric = np.exp(-0.35)
    assert told[0] == pytest.approx(0.25 * (1.0 - np.exp(-0.7)) ** 2 / geometric**2)
    assert spread(np.array([0.0, 1.0]), np.array([-0.7, -0.7])).tolist() == [0.0, 0.0]

"""The season: the curve of the day, from the first day on, in local time."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.baseline import MINUTE_MS, Baseline
from detectors.local_time import DAY_MS, local_ms
from detectors.season import Factors, Season
from detectors.series import Series

MONDAY = 4 * DAY_MS
FRIDAY_EVENING = 8 * DAY_MS + 18 * 60 * MINUTE_MS
SHOP = [Series("reports", "shop", region) for region in ("a", "b", "c", "d")]


def swing(local: int) -> float:
    """The curve of the day that the feeds here follow: 0.2 at midnight, 1.8 at noon."""
    return float(1.0 - 0.8 * np.cos(2 * np.pi * (local % DAY_MS) / DAY_MS))


class Feed:
    """Feeds a baseline with what is expected on the curve, 5 reports a minute in the mean, in each row's local time."""

    def __init__(self, bucket_seconds: int, series: list[Series], start: int, zones: dict[str, str] | None = None):
        self.baseline = Baseline(bucket_seconds, zones or {})
        self.baseline.add(series)
        self.now = start
        self.bucket_ms = bucket_seconds * 1000
        self.local: Callable[[int], list[int]] = lambda at: [at] * self.baseline.rows

    def usual(self) -> NDArray[np.float64]:
        middle = self.now + self.bucket_ms // 2
        return np.array([5.0 * swing(local) * self.bucket_ms / MINUTE_MS for local in self.local(middle)])

    def run(self, until: int, missing: list[bool] | None = None) -> NDArray[np.float64]:
        """Log of what the season expected over what came, a row a bucket."""
        errors = []
        gone = None if missing is None else np.array(missing)
        while self.now < until:
            everyone = slice(0, self.baseline.rows)
            self.baseline.refresh(self.now)
            p, x = self.baseline.predict(self.now, everyone), self.usual()
            errors.append(np.log(p.base / x))
            if gone is not None:
                x[gone] = 0.0
            self.baseline.learn(p, everyone, x, gone, None, None)
            told = self.baseline.holiday(p, everyone, x, gone)
            self.baseline.end_bucket(self.now, missing is not None, told)
            self.now += self.bucket_ms
        return np.array(errors)


@pytest.mark.parametrize("bucket_seconds", [60, 240, 600, 1800, 3600])
def test_curve_is_there_from_the_end_of_the_first_day(bucket_seconds: int):
    feed = Feed(bucket_seconds, SHOP[:2], MONDAY)
    feed.run(MONDAY + DAY_MS)

    second_day = feed.run(MONDAY + 2 * DAY_MS)

    assert np.abs(second_day).mean() < 0.1
    assert np.abs(second_day).max() < 0.5


def test_first_day_over_friday_and_saturday_makes_one_curve():
    feed = Feed(600, SHOP, FRIDAY_EVENING)
    feed.run(FRIDAY_EVENING + DAY_MS)

    sunday = feed.run(FRIDAY_EVENING + 2 * DAY_MS)

    assert np.abs(sunday).mean() < 0.15


def test_first_day_is_over_once_every_hour_of_it_was_seen():
    feed = Feed(600, SHOP, MONDAY)
    feed.run(MONDAY + DAY_MS // 4)
    feed.run(MONDAY + DAY_MS // 2, missing=[True] * 4)
    feed.run(MONDAY + DAY_MS)
    season = feed.baseline._season
    known_after_a_day = season.known.tolist()

    feed.run(MONDAY + DAY_MS + DAY_MS // 4 + 2 * feed.bucket_ms)
    later = feed.run(MONDAY + 2 * DAY_MS)

    assert known_after_a_day == [False]
    assert season.known.tolist() == [True]
    assert np.abs(later).max() < 0.5


def test_day_of_which_nothing_came_is_not_the_first():
    feed = Feed(600, SHOP, MONDAY)

    feed.run(MONDAY + DAY_MS, missing=[True] * 4)

    assert feed.baseline._season.minutes.tolist() == [0.0]


def test_rows_that_are_missing_do_not_shorten_the_first_day():
    feed = Feed(600, SHOP, MONDAY)
    feed.run(MONDAY + DAY_MS, missing=[True, True, False, False])
    season = feed.baseline._season
    half = season.minutes.tolist()

    feed.run(MONDAY + 2 * DAY_MS + feed.bucket_ms, missing=[True, True, False, False])
    third_day = feed.run(MONDAY + 3 * DAY_MS)

    assert half == [720.0]
    assert season.known.tolist() == [True]
    assert np.abs(third_day[6:, 2:]).max() < 0.5


def test_new_service_borrows_the_curve_of_the_feed_once_its_rows_are_there():
    feed = Feed(600, SHOP, MONDAY)
    feed.run(MONDAY + 3 * DAY_MS)
    feed.baseline.add([Series("reports", "bank", "a")])

    noon = feed.baseline._season.factors(MONDAY + 3 * DAY_MS + DAY_MS // 2).curve
    night = feed.baseline._season.factors(MONDAY + 3 * DAY_MS).curve

    assert noon[4] / night[4] > 4
    assert noon[4] == pytest.approx(noon[0], rel=0.1)


def test_series_added_on_the_third_day_takes_its_level_within_a_day():
    feed = Feed(600, SHOP, MONDAY)
    feed.run(MONDAY + 2 * DAY_MS)
    feed.baseline.add([Series("reports", "shop", "e")])

    feed.run(MONDAY + 4 * DAY_MS)
    later = feed.run(MONDAY + 5 * DAY_MS)

    assert np.abs(later).max() < 0.3


def test_factors_move_without_a_jump_from_one_half_hour_to_the_next():
    feed = Feed(600, SHOP, MONDAY)
    feed.run(MONDAY + 2 * DAY_MS)

    curve = [feed.baseline._season.factors(MONDAY + 2 * DAY_MS + m * MINUTE_MS).curve[0] for m in range(1440)]

    assert np.abs(np.diff(np.log(curve))).max() < 0.03


@pytest.mark.parametrize("month", [3, 10])
@pytest.mark.parametrize("bucket_seconds", [1800, 3600])
def test_daylight_saving_time_is_followed_on_the_day_it_changes(month: int, bucket_seconds: int):
    # Clocks change on the second Sunday from this Monday on.
    monday = round(datetime(2024, month, {3: 18, 10: 14}[month], tzinfo=UTC).timestamp()) * 1000
    series = [Series("reports", "shop", "it/lazio"), Series("reports", "shop", "fr")]
    feed = Feed(bucket_seconds, series, monday, {"it": "Europe/Rome"})
    feed.local = lambda at: [local_ms("Europe/Rome", at), at]

    feed.run(monday + 6 * DAY_MS)
    before = feed.run(monday + 13 * DAY_MS)
    change = feed.run(monday + 15 * DAY_MS)
    after = feed.run(monday + 28 * DAY_MS)

    assert np.abs(before).max() < 0.05
    assert np.abs(change).max() < 0.05
    assert np.abs(after).max() < 0.05


def test_weekend_gets_its_own_curve_and_the_ratio_tells_it():
    season = Season(3600, {})
    season.add(SHOP)
    ones, age = np.ones(4), np.full(4, 1e5)
    for hour in range(24 * 28):
        at = MONDAY + hour * 60 * MINUTE_MS + 30 * MINUTE_MS
        rate = 0.5 if hour // 24 % 7 >= 5 else 1.0
        season.learn(at, 60.0 * rate * ones, 60.0 * ones, ones, Factors(ones, ones, ones, ones), age)

    tuesday, saturday = season.factors(MONDAY + DAY_MS), season.factors(MONDAY + 5 * DAY_MS + DAY_MS // 2)

    assert saturday.curve[0] / tuesday.curve[0] == pytest.approx(0.5, abs=0.15)
    assert tuesday.ratio[0] == pytest.approx(-saturday.ratio[0], abs=0.1)
    assert tuesday.ratio[0] < -0.4


def test_season_with_two_time_zones_is_loaded_bit_for_bit():
    zones = {"a": "Asia/Kolkata", "b": "America/New_York"}
    feed = Feed(600, SHOP, MONDAY, zones)
    feed.run(MONDAY + DAY_MS)
    feed.baseline.add([Series("reports", "bank", "a"), Series("reports", "bank", "z")])
    feed.run(MONDAY + 2 * DAY_MS)
    other = Feed(600, [*SHOP, Series("reports", "bank", "a"), Series("reports", "bank", "z")], feed.now, zones)

    other.baseline.load(feed.baseline.arrays())
    ours, theirs = feed.run(MONDAY + 4 * DAY_MS), other.run(MONDAY + 4 * DAY_MS)

    assert np.array_equal(ours, theirs)
    mine, again = feed.baseline.arrays(), other.baseline.arrays()
    assert all(np.array_equal(mine[name], again[name]) for name in mine)

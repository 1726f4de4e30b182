"""Evidence of a surge: what fires, what does not, and when it ends."""

from functools import cache

import numpy as np
import pytest
from river import compose

from detectors.baseline import MINUTE_MS
from detectors.local_time import DAY_MS
from detectors.series import Series
from detectors.surge import SurgeBank, SurgeRule
from detectors.surge_detector import SurgeDetector

MONDAY = 4 * DAY_MS
SHOP = Series("reports", "shop", "it")
RULE = SurgeRule()


class Feed:
    """Feeds a bank of one with Poisson counts, a bucket after the other."""

    def __init__(self, bucket_seconds: int = 60, seed: int = 1) -> None:
        self.bank = SurgeBank(RULE, bucket_seconds)
        self.bank.add([SHOP])
        self.bucket_ms = bucket_seconds * 1000
        self.now = MONDAY
        self.rng = np.random.default_rng(seed)

    def close(self, count: int) -> float:
        self.scores = self.bank.close(self.now, np.array([count], dtype=np.int64))
        self.now += self.bucket_ms
        return float(self.scores.evidence[0])

    def run(self, minutes: float, a_minute: float) -> list[float]:
        buckets = round(minutes * MINUTE_MS / self.bucket_ms)
        return [self.close(int(self.rng.poisson(a_minute * self.bucket_ms / MINUTE_MS))) for _ in range(buckets)]

    @classmethod
    def after(cls, hours: int, a_minute: float, bucket_seconds: int = 60) -> "Feed":
        """A feed that was quiet for so long."""
        feed = cls(bucket_seconds)
        arrays, feed.rng.bit_generator.state, feed.now = quiet(hours, a_minute, bucket_seconds)
        feed.bank = SurgeBank.restore(RULE, bucket_seconds, [SHOP], arrays)
        return feed

    def peek(self, fraction: float, count: int) -> float:
        return float(self.bank.peek(self.now, np.array([fraction]), np.array([count], dtype=np.int64)).evidence[0])


@cache
def quiet(hours: int, a_minute: float, bucket_seconds: int) -> tuple:
    feed = Feed(bucket_seconds)
    feed.run(60 * hours, a_minute)
    return feed.bank.arrays(), feed.rng.bit_generator.state, feed.now


@pytest.mark.parametrize("a_minute", [0.0, 0.01, 0.5, 4.0, 50.0, 900.0])
def test_quiet_hours_then_tenfold_is_evident_within_five_minutes(a_minute: float):
    feed = Feed()
    feed.run(180, a_minute)

    surge = feed.run(5, max(4.0, 10 * a_minute))

    assert max(surge) > 2


def test_surge_in_the_first_minutes_of_an_empty_bank_is_ignorance_not_evidence():
    feed = Feed()

    first_hours = feed.run(180, 60.0)

    assert max(first_hours) < 1
    assert feed.scores.warming[0]


def test_new_region_of_a_watched_service_counts_as_silent_until_now():
    feed = Feed.after(3, 4.0)
    feed.bank.add([Series("reports", "shop", "fr")])

    for _ in range(4):
        scores = feed.bank.close(feed.now, np.array([4, 30], dtype=np.int64))
        feed.now += MINUTE_MS

    assert scores.evidence[1] > 2


def test_one_bucket_of_one_busy_person_does_not_fire():
    feed = Feed.after(24, 4.0)

    assert feed.peek(1.0, 40) < 2
    assert feed.close(40) < 2
    assert max(feed.run(30, 4.0)) < 2


def test_sixty_reports_in_ten_seconds_where_four_a_minute_are_usual_fire_at_once():
    feed = Feed.after(24, 4.0)

    assert feed.peek(1 / 6, 60) > 2


def test_peek_at_the_whole_bucket_says_what_close_says():
    feed = Feed.after(3, 4.0)

    for count in (0, 4, 30, 500):
        assert feed.peek(1.0, count) == feed.close(count)


def test_onset_is_where_the_surge_began():
    feed = Feed.after(24, 4.0)
    began = feed.now

    feed.run(20, 40.0)

    assert abs(int(feed.scores.onset[0]) - began) <= 2 * MINUTE_MS


def test_larger_surge_has_more_evidence_and_neither_has_a_ceiling():
    small, large = Feed.after(24, 4.0), Feed.after(24, 4.0)

    small_hour, large_hour = small.run(60, 8.0), large.run(60, 400.0)

    assert large_hour[-1] > small_hour[-1] + 1
    assert large_hour[-1] > large_hour[29] > large_hour[9] > 4


@pytest.mark.parametrize("times", [3, 10, 100])
def test_evidence_is_gone_within_twenty_minutes_after_the_surge(times: int):
    feed = Feed.after(24, 4.0)
    feed.run(120, 4.0 * times)

    after = feed.run(40, 4.0)

    assert max(after[20:]) < 0.5


def test_outage_of_six_hours_is_not_learned():
    feed = Feed.after(48, 4.0)

    outage = feed.run(360, 20.0)

    assert min(outage[5:]) > 2
    assert feed.scores.expected[0] < 6


def test_lasting_shift_is_taken_for_the_new_normal():
    feed = Feed.after(48, 4.0)

    after = feed.run(16 * 60, 12.0)

    assert min(after[5 : 9 * 60]) > 2
    assert max(after[-60:]) < 2


def test_missing_is_not_zero_and_its_backlog_is_no_surge():
    feed = Feed.after(24, 4.0)
    for _ in range(30):
        feed.close(-1)

    assert feed.close(120) < 1
    assert feed.run(10, 4.0)[-1] < 1


def test_skip_does_nearly_what_missing_buckets_do():
    one, other = Feed.after(24, 4.0), Feed.after(24, 4.0)

    for _ in range(7):
        one.close(-1)
    other.bank.skip(other.now, other.now + 7 * MINUTE_MS)

    expected, skipped = one.bank.expected(one.now), other.bank.expected(one.now)
    assert skipped == pytest.approx(expected, rel=0.05)


def test_year_of_silence_is_survived_and_followed_by_caution():
    feed = Feed.after(48, 4.0)
    feed.bank.skip(feed.now, feed.now + 365 * DAY_MS)
    feed.now += 365 * DAY_MS

    back = feed.run(120, 40.0)

    assert feed.scores.warming[0]
    assert max(back) < 2


@pytest.mark.parametrize("bucket_seconds", [10, 30, 300, 3600])
def test_any_bucket_length_finds_a_surge_and_stays_quiet_before(bucket_seconds: int):
    feed = Feed(bucket_seconds)
    before = feed.run(max(180, bucket_seconds * 24 / 60), 2.0)

    surge = feed.run(max(6, 3 * bucket_seconds / 60), 30.0)

    assert max(before) < 2
    assert max(surge) > 2


def test_ten_second_buckets_share_the_cap_of_a_minute():
    feed = Feed.after(3, 1.0, bucket_seconds=10)

    two_buckets = [feed.close(10), feed.close(10)]

    assert max(two_buckets) < 2


def test_state_of_another_shape_is_refused():
    feed = Feed()
    feed.run(10, 4.0)
    arrays = feed.bank.arrays()

    with pytest.raises(ValueError, match="arrays are"):
        SurgeBank.restore(RULE, 60, [SHOP], {"rows": arrays["rows"]})
    with pytest.raises(ValueError, match="array own"):
        SurgeBank.restore(RULE, 60, [SHOP], {**arrays, "own": arrays["own"][:1]})
    with pytest.raises(ValueError, match="not finite"):
        SurgeBank.restore(RULE, 60, [SHOP], {**arrays, "rows": arrays["rows"] * np.nan})
    with pytest.raises(ValueError, match="array cusum has numbers that are not finite"):
        SurgeBank.restore(RULE, 60, [SHOP], {**arrays, "cusum": arrays["cusum"] * np.float32(np.nan)})
    with pytest.raises(ValueError, match="array"):
        SurgeBank.restore(RULE, 10, [SHOP], arrays)


def test_detector_composes_in_a_river_pipeline():
    pipeline = compose.Select("start") | SurgeDetector(bucket_seconds=60)
    for minute in range(240):
        pipeline.learn_one({"start": MONDAY + minute * MINUTE_MS, "weather": 3}, 4)

    usual = pipeline.score_one({"start": MONDAY + 240 * MINUTE_MS}, y=4)
    much = pipeline.score_one({"start": MONDAY + 240 * MINUTE_MS}, y=400)

    assert usual < 0 < 2 < much


def test_detector_clones_with_its_parameters():
    clone = SurgeDetector(bucket_seconds=300, shift_hours=5.0).clone()

    assert (clone.bucket_seconds, clone.shift_hours, clone.warming_hours) == (300, 5.0, 48.0)


@pytest.mark.parametrize("bucket_seconds", [-60, 0, 1, 7, 86_400])
def test_detector_refuses_a_bucket_that_does_not_fit_the_clock(bucket_seconds: int):
    with pytest.raises(ValueError, match="does not fit the clock"):
        SurgeDetector(bucket_seconds=bucket_seconds)


def test_detector_refuses_a_bucket_out_of_order():
    detector = SurgeDetector()
    detector.learn_one({"start": MONDAY}, 1)

    with pytest.raises(ValueError, match="in order"):
        detector.learn_one({"start": MONDAY}, 1)


@pytest.mark.parametrize("a_day", [0.5, 15.0, 100.0])
def test_surge_of_a_rare_series_goes_on_in_buckets_of_an_hour(a_day: float):
    feed = Feed.after(240, a_day / 1440, bucket_seconds=3600)

    surge = [feed.close(260) for _ in range(8)]

    assert surge == sorted(surge)
    assert surge[2] > 2


def test_missing_bucket_leaves_a_surge_as_it_is_whatever_other_series_do():
    alone, beside = SurgeBank(RULE, 60), SurgeBank(RULE, 60)
    alone.add([SHOP])
    beside.add([SHOP, Series("reports", "bank", "fr")])
    now = MONDAY
    shop = [4] * 240 + [60] * 30 + [5, -1, 5, 5, 5]
    bank = [4] * 240 + [60] * 35

    for mine, other in zip(shop, bank, strict=True):
        alone.close(now, np.array([mine]))
        beside.close(now, np.array([mine, other]))
        now += MINUTE_MS

    assert alone.arrays()["watch"][1, 0] > 0
    assert np.array_equal(alone.arrays()["watch"][:, 0], beside.arrays()["watch"][:, 0])


def test_one_minute_bursts_do_not_fire_time_and_again():
    feed = Feed.after(48, 4.0)

    bursts = [feed.close(35) if minute % 20 == 0 else feed.run(1, 4.0)[0] for minute in range(240)]

    assert max(bursts) < 2


def test_slow_ramp_is_found_before_it_is_sixfold():
    feed = Feed.after(48, 6.0)

    ramp = [feed.run(1, 6.0 * (1.0 + 5.0 * minute / 180))[0] for minute in range(180)]

    assert max(ramp) > 2
    assert max(feed.run(60, 36.0)) > 2


def test_backlog_that_comes_after_an_outage_of_the_feed_is_no_surge():
    feed = Feed.after(48, 4.0)
    feed.bank.skip(feed.now, feed.now + 90 * MINUTE_MS)
    feed.now += 90 * MINUTE_MS

    back = [feed.close(360), *feed.run(60, 4.0)]

    assert max(back) < 1


class Week:
    """A bank of twelve series that are 60 % quieter on some days; every hour counts what is expected of it."""

    def __init__(self, quiet_days: tuple[int, ...]) -> None:
        self.bank = SurgeBank(RULE, 600)
        self.bank.add([Series("reports", f"service {k % 3}", f"region {k // 3}") for k in range(12)])
        self.rng = np.random.default_rng(5)
        self.quiet_days = quiet_days
        self.now = MONDAY

    def day(self, factor: float | None = None) -> tuple[float, float]:
        """Highest evidence of a day, and how far off the expected counts were in its second half (log)."""
        usual = 0.4 if self.now // DAY_MS % 7 in self.quiet_days else 1.0
        highest, off = -9.0, []
        for step in range(144):
            rate = 60.0 * (1.0 - 0.6 * np.cos(2 * np.pi * step / 144)) * (usual if factor is None else factor)
            scores = self.bank.close(self.now, self.rng.poisson(rate, 12))
            self.now += 10 * MINUTE_MS
            highest = max(highest, float(scores.evidence.max()))
            if step >= 72:
                off.append(np.log(scores.expected / rate))
        return highest, float(np.abs(np.mean(off)))


@cache
def weeks(quiet_days: tuple[int, ...]) -> tuple:
    week = Week(quiet_days)
    days = [week.day() for _ in range(21)]
    return week.bank.arrays(), week.rng.bit_generator.state, week.now, days


def after_three_weeks(quiet_days: tuple[int, ...]) -> Week:
    week = Week(quiet_days)
    arrays, week.rng.bit_generator.state, week.now, _ = weeks(quiet_days)
    week.bank = SurgeBank.restore(RULE, 600, week.bank.series, arrays)
    return week


def test_bank_goes_on_when_regions_are_given_time_zones_and_learns_holidays_anew_there():
    bank = SurgeBank(SurgeRule(), 60)
    bank.add([Series("site", "shop", "it"), Series("site", "shop", "us")])
    bank.close(0, np.array([7, 9]))

    found = SurgeBank.restore(SurgeRule(time_zones={"it": "Europe/Rome"}), 60, bank.series, bank.arrays())

    assert found.arrays()["holiday"].shape == (2,)
    assert found.arrays()["rows"].tolist() == bank.arrays()["rows"].tolist()


SATURDAY_AND_SUNDAY = (2, 3)  # days since 1970 modulo 7: that was a Thursday


def test_weekends_and_the_mondays_after_them_are_expected():
    week = after_three_weeks(SATURDAY_AND_SUNDAY)

    days = [week.day() for _ in range(8)]

    assert max(evidence for evidence, _ in days) < 1
    assert max(off for _, off in days) < 0.15


def test_holiday_is_followed_within_the_day_and_the_day_after_is_no_surge():
    week = after_three_weeks(SATURDAY_AND_SUNDAY)
    week.day()

    _, off_on_the_holiday = week.day(factor=0.4)
    evidence, off_after = week.day()

    assert off_on_the_holiday < 0.2
    assert evidence < 1
    assert off_after < 0.15


class Planned:
    """A bank of six series of a service; some of them rest for half an hour in which they bring what they like."""

    def __init__(self) -> None:
        self.bank = SurgeBank(RULE, 60)
        self.bank.add([Series("reports", "shop", f"region {number}") for number in range(6)])
        self.rng = np.random.default_rng(4)
        self.now = MONDAY

    def run(self, minutes: int, factor: float = 1.0, resting: np.ndarray | None = None) -> float:
        """Minutes in which the first three series bring `factor` times the usual; the highest evidence of those."""
        highest = -9.0
        for _ in range(minutes):
            usual = self.rng.poisson(4.0, 6)
            times = np.where(np.arange(6) < 3, factor, 1.0)
            scores = self.bank.close(self.now, np.round(usual * times).astype(np.int64), resting)
            self.now += MINUTE_MS
            highest = max(highest, float(scores.evidence[:3].max()))
        return highest


FIRST_THREE = np.arange(6) < 3


@pytest.mark.parametrize("hours", [2, 30])
def test_rows_that_rest_are_scored_and_all_that_is_learned_is_as_if_nothing_had_happened(hours: int):
    disturbed, quiet = Planned(), Planned()
    for each in (disturbed, quiet):
        each.run(60 * hours)

    assert disturbed.run(33, 10.0, FIRST_THREE) > 2
    assert quiet.run(33, 1.0, FIRST_THREE) < 2
    for each in (disturbed, quiet):
        each.bank.wake(FIRST_THREE)
        each.run(1)

    mine, other = disturbed.bank.arrays(), quiet.bank.arrays()
    assert [name for name in other if not np.array_equal(mine[name], other[name])] == []


def test_rest_that_is_over_leaves_no_evidence_and_a_surge_that_goes_on_shows_at_once():
    over, going_on = Planned(), Planned()
    for each in (over, going_on):
        each.run(120)
        each.run(30, 10.0, FIRST_THREE)
        each.bank.wake(FIRST_THREE)

    assert over.run(20) < 0
    assert going_on.run(4, 10.0) > 2


def test_no_backlog_is_expected_after_a_rest():
    feed = Planned()
    feed.run(120)
    feed.run(30, 1.0, FIRST_THREE)
    feed.bank.wake(FIRST_THREE)

    expected = feed.bank.expected(feed.now)

    assert expected == pytest.approx([4.0] * 6, rel=0.3)


def test_resting_row_that_misses_a_bucket_is_missing():
    feed = Planned()
    feed.run(120)
    counts = np.array([-1, 4, 4, 4, 4, 4])

    feed.bank.close(feed.now, counts, FIRST_THREE)

    scores = feed.bank.close(feed.now + MINUTE_MS, np.array([8, 4, 4, 4, 4, 4]))
    assert scores.expected[0] > 1.5 * scores.expected[1]


class Country:
    """Twelve series in Italy that are hardly busy on weekends, from 10 October 2022, a Monday, on."""

    def __init__(self, holidays: dict[str, str], a_bucket: float = 8.0) -> None:
        self.holidays = holidays
        self.a_bucket = a_bucket
        self.bank = SurgeBank(RULE, 600, holidays)
        self.series = [Series("reports", f"service {k % 3}", f"it/{k // 3}") for k in range(12)]
        self.bank.add(self.series)
        self.rng = np.random.default_rng(5)
        self.now = 19_275 * DAY_MS

    def until(self, day: int, hour: int = 0) -> list[np.ndarray]:
        """Up to an hour (UTC) of a day since 1970: evidence, low and high of all rows, bucket by bucket."""
        told = []
        while self.now < day * DAY_MS + hour * 60 * MINUTE_MS:
            step = self.now % DAY_MS // (10 * MINUTE_MS)
            weekend = (self.now // DAY_MS + 3) % 7 >= 5
            rate = self.a_bucket * (1.0 - 0.6 * np.cos(2 * np.pi * step / 144)) * (0.1 if weekend else 1.0)
            scores = self.bank.close(self.now, self.rng.poisson(rate, 12))
            self.now += 10 * MINUTE_MS
            told.append(np.stack([scores.evidence, *scores.bounds()]))
        return told


#: All Saints' Day 2022, a Tuesday and a public holiday.
ALL_SAINTS = 19_297


def test_interval_of_a_public_holiday_holds_both_types_of_day():
    knows, does_not = Country({"it": "IT"}, 100.0), Country({}, 100.0)
    for each in (knows, does_not):
        each.until(ALL_SAINTS)

    start, counts = ALL_SAINTS * DAY_MS, np.full(12, 40)
    low, high = knows.bank.peek(start, np.ones(12), counts).bounds()
    usual_low, usual_high = does_not.bank.peek(start, np.ones(12), counts).bounds()

    assert (high - low > 1.2 * (usual_high - usual_low)).all()


def test_days_that_are_no_public_holidays_are_the_same_with_and_without_the_country():
    knows, does_not = Country({"it": "IT"}), Country({})

    assert np.array_equal(knows.until(ALL_SAINTS), does_not.until(ALL_SAINTS))
    assert not np.array_equal(knows.until(ALL_SAINTS, 3), does_not.until(ALL_SAINTS, 3))


def test_bank_goes_on_within_a_public_holiday_as_if_it_had_not_been_kept():
    feed = Country({"it": "IT"})
    feed.until(ALL_SAINTS, 2)
    kept = SurgeBank.restore(RULE, 600, feed.series, feed.bank.arrays(), feed.holidays)
    start = feed.now

    mine = feed.bank.close(start, np.full(12, 5))
    other = kept.close(start, np.full(12, 5))

    assert np.array_equal(mine.evidence, other.evidence)
    assert np.array_equal(mine.bounds(), other.bounds())

"""The bench of detection quality: what counts as found, late or false; that it leaves the detectors as they were."""

from __future__ import annotations

import numpy as np
import pytest

from bench import ablation, calibration, cost, feeds, judging, quality, rivals
from bench.feeds import Outage
from bench.judging import Case
from detectors.series import Series
from detectors.surge import SurgeBank, SurgeRule

ROWS = 2 * feeds.WEEK


def case(*outages: Outage, series: int = 1, rows: int = ROWS, eval_from: int = 0, shifts=()) -> Case:
    return Case(
        names=[("a", f"region {number}") for number in range(series)],
        counts=np.zeros((rows, series), dtype=np.int64),
        rate=np.ones((rows, series), dtype=np.float32),
        size=np.full(series, 10.0),
        outages=list(outages),
        shifts=shifts,
        eval_from=eval_from,
    )


def scores(*alarms: tuple[int, float], rows: int = ROWS) -> np.ndarray:
    made = np.zeros((rows, 1), dtype=np.float32)
    for row, height in alarms:
        made[row] = height
    return made


def test_outage_is_found_from_its_onset_to_the_row_before_its_end():
    one = case(Outage(0, 1000, 1100))

    first, last, before, after = (judging.judge(scores((row, 9.0)), one, [1.0])[0] for row in (1000, 1099, 999, 1100))

    assert [first.pod, last.pod, before.pod, after.pod] == [1.0, 1.0, 0.0, 0.0]
    assert (first.delay_median, last.delay_median) == (1.0, 100.0)
    assert after.blind == 100.0


def test_threshold_keeps_the_budget_and_no_more():
    # In 200 series-weeks a budget of 1 in 100 allows two false alerts.
    one = case(Outage(0, 1000, 1100), rows=200 * feeds.WEEK)
    told = scores((1050, 5.0), (50_000, 8.0), (90_000, 7.0), (500_000, 6.0), rows=len(one.counts))

    strict, lax = judging.judge(told, one, [1.0, 1.5])

    assert (strict.threshold, strict.pod) == (6.0, 0.0)
    assert (lax.threshold, lax.pod) == (0.0, 1.0)


def test_alarm_is_not_false_until_two_hours_after_an_outage():
    one = case(Outage(0, 1000, 1100))

    told = [judging.false_alerts(scores((row, 9.0)), one, 2.0) for row in (1050, 1219, 1220, 999)]

    assert told == [0.0, 0.0, 50.0, 50.0]


def test_alarm_is_not_false_on_the_day_after_a_lasting_shift():
    one = case(shifts=[(0, 2000)])

    told = [judging.false_alerts(scores((row, 9.0)), one, 2.0) for row in (2000, 2000 + 1439, 2000 + 1440)]

    assert told == [0.0, 0.0, 50.0]


def test_alarms_less_than_half_an_hour_apart_are_one():
    one = case()

    assert judging.false_alerts(scores((100, 9.0), (129, 9.0)), one, 2.0) == 50.0
    assert judging.false_alerts(scores((100, 9.0), (130, 9.0)), one, 2.0) == 100.0


def test_alarms_of_two_series_are_two():
    assert judging.episodes(np.array([[False, True], [True, False]]), 30) == 2


def test_outages_of_the_warm_up_are_not_judged_but_their_end_is_not_false():
    one = case(Outage(0, 900, 1010), Outage(0, 5000, 5010), eval_from=1000)
    told = scores((0, 9.0), (4000, 8.0), rows=ROWS - 1000)

    assert judging.judge(told, one, [60.0])[0].pod == 1.0
    assert judging.false_alerts(told, one, 2.0) == 0.0


def test_oracle_needs_two_rows_and_tells_an_outage_from_a_burst():
    one = case(rows=3000, eval_from=2000)
    one.counts[:] = 1
    one.counts[2500] = 40
    one.counts[2800:2810] = 6

    told = judging.oracle(one)[:, 0]

    assert told[500] == pytest.approx(judging.CAP, abs=0.1)
    assert told[809] > 2 * judging.CAP
    assert told[499] < 1.0


def test_bank_for_referees_scores_all_series_at_once():
    bank = quality.bank([("a", "x"), ("a", "y")], bucket_minutes=5)

    told = [bank.update(minute, np.array([3, -1], dtype=np.int32)) for minute in range(0, 600, 5)]

    assert {each.shape for each in told} == {(2,)}
    assert np.isfinite(told).all()
    assert bank.bank.bucket_seconds == 300


def test_case_of_our_feeds_keeps_time_and_truth_together():
    made = quality.made(4, 2, 3, warmup_days=3)

    assert made.counts.shape == made.rate.shape == (10 * feeds.DAY, 6)
    assert made.start == 4 * feeds.DAY
    broken = [each for each in made.outages if each.start >= made.eval_from and each.end - each.start > 30]
    during = [made.counts[each.start : each.end, each.series].sum() for each in broken]
    usual = [made.rate[each.start : each.end, each.series].sum() for each in broken]
    assert np.sum(during) > 1.5 * np.sum(usual)
    calm = np.ones(made.counts.shape, dtype=np.bool_)
    for each in made.outages:
        calm[max(0, each.start) : each.end, each.series] = False
    assert made.counts[calm].sum() == pytest.approx(made.rate[calm].sum(), rel=0.05)


@pytest.mark.parametrize("rival", [rivals.EarsC2, rivals.AdaptiveBands])
def test_rivals_see_a_jump_after_days_of_quiet(rival):
    chance = np.random.default_rng(2)
    bank = rival([("a", "x"), ("a", "y")], bucket_minutes=5)
    quiet = [bank.update(minute, chance.poisson(5.0, 2)) for minute in range(0, 9 * 1440, 5)][6 * 288 :]

    jump = [bank.update(9 * 1440 + 5 * row, np.array([5, 60])) for row in range(3)][-1]

    assert jump[1] > np.max(quiet)
    assert jump[0] < np.max(quiet)


@pytest.mark.parametrize("variant", ablation.VARIANTS, ids=lambda each: each.name)
def test_variant_changes_what_it_names_and_puts_it_back(variant):
    before = [getattr(target, name) for target, name, _ in variant.changes]

    with variant.active():
        within = [getattr(target, name) for target, name, _ in variant.changes]

    assert [getattr(target, name) for target, name, _ in variant.changes] == before
    assert within == [value for _, _, value in variant.changes]
    assert all(one is not other and one != other for one, other in zip(before, within, strict=True))
    assert bool(variant.changes) or variant.rule != SurgeRule() or variant is ablation.VARIANTS[0]


def test_bytes_of_a_bank_are_those_of_its_arrays_each_once():
    bank = SurgeBank(SurgeRule(), 60)
    bank.add([Series("reports", "a", str(region)) for region in range(1000)])

    sizes = cost.arrays_of(bank)

    assert sizes["_cusum"] == 10 * 1000 * 4
    assert {"_baseline._season._own", "_excess._ring", "_habit._usual", "_calibration._last"} <= set(sizes)
    held = sum(each.nbytes for each in bank.arrays().values())
    assert held <= sum(sizes.values()) <= 1.15 * held


def test_buckets_of_ten_seconds_are_the_minute_taken_apart():
    minutes = np.array([[6, 0], [12, 3]])

    short = list(calibration._buckets(minutes, 10, np.random.default_rng(1)))
    long = list(calibration._buckets(minutes, 120, np.random.default_rng(1)))

    assert len(short) == 12
    assert np.sum(short[:6], axis=0).tolist() == [6, 0]
    assert np.sum(short[6:], axis=0).tolist() == [12, 3]
    assert [each.tolist() for each in long] == [[18, 3]]

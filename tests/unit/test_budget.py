"""The alert budget: the pages of late, the tail of a history, and the threshold for a budget."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.budget import HOUR_MS, WEEK_MS, PageLog, Verdict, choose, fit, likely, smoothed

T0 = 2_750 * WEEK_MS


def paged(*hours: float) -> PageLog:
    log = PageLog(began=T0)
    for hour in hours:
        log = log.paged(T0 + round(hour * HOUR_MS))
    return log


def test_a_page_in_the_first_hours_is_one_a_week():
    assert paged(0.5).per_week(T0 + HOUR_MS) == 1.0


def test_pages_are_divided_by_the_time_seen_and_by_four_weeks_at_most():
    log = paged(1, 1, 2, 3)

    assert log.per_week(T0 + 2 * WEEK_MS) == 2.0
    assert log.per_week(T0 + 4 * WEEK_MS - HOUR_MS * 24) == pytest.approx(4 / (27 / 7))


def test_pages_older_than_four_weeks_do_not_count():
    log = paged(1, 1, 24 * 20)

    assert log.per_week(T0 + 4 * WEEK_MS + 12 * HOUR_MS) == 1 / 4


def test_log_of_pages_stays_small_whatever_happens():
    log = PageLog(began=T0)
    for hour in range(5000):
        log = log.paged(T0 + hour * HOUR_MS).paged(T0 + hour * HOUR_MS)

    assert len(log.hours) == 4 * 168
    assert log.per_week(T0 + 4999 * HOUR_MS) == 2 * 168


def test_nothing_judged_is_no_page():
    assert PageLog().per_week(0) == 0.0


@pytest.mark.parametrize("shape", [0.0, 0.5, 1.0])
def test_fit_finds_the_shape_and_scale_that_the_values_were_drawn_with(shape):
    share = (np.arange(2000) + 0.5) / 2000
    excess = -np.log(share) if shape == 0 else (share**-shape - 1) / shape

    tail = fit(3.0 + 2.0 * excess, 3.0)

    assert tail.shape == pytest.approx(shape, abs=0.07)
    assert tail.scale == pytest.approx(2.0, rel=0.07)
    quarter = 3.0 + 2.0 * float(np.quantile(excess, 0.75))
    assert tail.above(quarter) == pytest.approx(500, rel=0.03)


def test_tail_of_hardly_any_values_is_refused():
    with pytest.raises(ValueError, match="4 values above"):
        fit(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), 1.0)


def test_equal_values_have_a_tail():
    tail = fit(np.full(12, 3.0), 2.0)

    assert 0 <= tail.above(3.5) < 3
    assert tail.above(2.0) == 12


def test_smoothed_pages_are_near_those_counted_and_never_rise():
    chance = np.random.default_rng(5)
    marks = 2 * np.exp(chance.exponential(1.0, 60))
    tried = [2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 40.0, 1000.0]
    pages = [int((marks >= each).sum()) for each in tried]

    expected = smoothed(list(marks), tried, pages, 10.0)

    assert expected[:2] == pages[:2]
    assert expected == sorted(expected, reverse=True)
    assert all(abs(told - counted) < 5 for told, counted in zip(expected, pages, strict=True))
    assert expected[-1] == 0.0


def test_few_marks_are_taken_as_counted():
    assert smoothed([2.5, 3.0], [2.0, 2.75, 4.0], [2, 1, 0], 8.0) == [2.0, 1.0, 0.0]


def test_lowest_threshold_that_keeps_the_budget_is_chosen():
    marks = [float(2 * 1.1**n) for n in range(40)]
    tried = [2.0, 10.0, 20.0, 30.0, 40.0, 60.0]
    pages = [sum(mark >= each for mark in marks) for each in tried]

    choice = choose(budget=2, weeks=4, thresholds=tried, pages=pages, marks=marks)

    assert (choice.verdict, choice.threshold, choice.pages) == (Verdict.KEPT, 40.0, 8)
    assert choice.per_week == pytest.approx(2.0, abs=0.25)
    assert choice.low < 2.0 < choice.high


def test_budget_that_the_lowest_threshold_keeps_is_one_with_room_to_spare():
    choice = choose(budget=2, weeks=10, thresholds=[2.0, 3.0], pages=[3, 1], marks=[2.5, 2.7, 9.0])

    assert (choice.verdict, choice.threshold, choice.per_week) == (Verdict.SPARE, 2.0, 0.3)


def test_budget_that_no_threshold_keeps_is_exceeded():
    marks = [5000.0 + n for n in range(100)]

    choice = choose(budget=2, weeks=4, thresholds=[2.0, 1000.0], pages=[100, 100], marks=marks)

    assert (choice.verdict, choice.threshold) == (Verdict.EXCEEDED, 1000.0)


def test_rate_of_a_budget_that_is_exceeded_is_more_than_the_budget():
    """Counted are 3.25 a week where the tail, drawn through larger outages, says less than the budget of 2."""
    marks = [*(5 + 0.02 * n for n in range(40)), *(15.5 + 0.001 * n for n in range(13))]

    choice = choose(budget=2, weeks=4, thresholds=[1.0, 15.0], pages=[53, 13], marks=marks)

    assert (choice.verdict, choice.threshold) == (Verdict.EXCEEDED, 15.0)
    assert choice.per_week < 2 < choice.larger == 13 / 4


@pytest.mark.parametrize(("budget", "weeks"), [(2.0, 2.4), (50.0, 0.9), (0.1, 40.0), (2.0, 0.0)])
def test_history_with_room_for_less_than_five_pages_or_of_less_than_a_week_is_short(budget, weeks):
    choice = choose(budget=budget, weeks=weeks, thresholds=[2.0, 4.0], pages=[9, 3], marks=[3.0] * 6 + [5.0] * 3)

    assert choice.verdict is Verdict.SHORT


def test_likely_rates_are_those_of_the_tables():
    # Garwood 1936, 80 %: of 0, of 5 and of 20.
    assert likely(0) == pytest.approx((0, 2.303), abs=0.03)
    assert likely(5) == pytest.approx((2.433, 9.275), abs=0.02)
    assert likely(20) == pytest.approx((14.53, 27.05), abs=0.02)

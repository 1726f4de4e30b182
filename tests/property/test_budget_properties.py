"""Whatever a history holds, the budget's statistics give an answer that makes sense."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.budget import HOUR_MS, PageLog, Verdict, choose, smoothed
from detectors.trial import LADDER

MARKS = st.lists(
    st.one_of(st.floats(2.0, 10.0), st.floats(2.0, 1e6), st.sampled_from([2.0, 3.0, 1e6])), min_size=0, max_size=200
)


def counted(marks: list[float]) -> list[int]:
    return [sum(mark >= each for mark in marks) for each in LADDER]


@given(MARKS, st.floats(0.01, 500))
@settings(max_examples=300, deadline=None)
def test_smoothed_pages_are_finite_never_rise_and_are_never_more_than_there_were(marks, wanted):
    expected = smoothed(marks, LADDER, counted(marks), wanted)

    assert len(expected) == len(LADDER)
    assert all(math.isfinite(each) and 0 <= each <= len(marks) for each in expected)
    assert expected == sorted(expected, reverse=True)


@given(MARKS, st.floats(0.01, 50), st.floats(0, 60))
@settings(max_examples=300, deadline=None)
def test_choice_that_keeps_the_budget_kept_it_in_the_history(marks, budget, weeks):
    pages = counted(marks)

    choice = choose(budget=budget, weeks=weeks, thresholds=LADDER, pages=pages, marks=marks)

    assert choice.threshold in LADDER
    assert choice.low <= choice.high
    if choice.verdict in (Verdict.KEPT, Verdict.SPARE):
        assert choice.pages <= budget * weeks
        assert choice.per_week <= budget * (1 + 1e-9)
    if choice.verdict is Verdict.KEPT:
        assert choice.threshold > LADDER[0]


@given(st.lists(st.integers(0, 5000), max_size=200), st.integers(0, 2000))
@settings(max_examples=200, deadline=None)
def test_log_of_pages_gives_the_rate_of_the_last_four_weeks(hours, later):
    hours.sort()
    log = PageLog(began=0)
    for hour in hours:
        log = log.paged(hour * HOUR_MS + 17)
    now = (hours[-1] if hours else 0) + later

    rate = log.per_week(now * HOUR_MS)

    recent = sum(hour > now - 672 for hour in hours)
    assert math.isclose(rate, recent / min(max(now / 168, 1), 4))
    assert len(log.hours) <= 672

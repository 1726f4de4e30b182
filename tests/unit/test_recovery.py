"""Recovery: when a surge is statistically over, and when it only looks like it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from detectors.recovery import height, is_back


class Counted(msgspec.Struct, frozen=True):
    """A bucket of reports."""

    start: int
    observed: int
    expected: float
    variance: float


def minutes(observed: Sequence[int], expected: float) -> list[Counted]:
    """Buckets of a minute from 0 ms on whose counts scatter as those of independent reports do. -1: missing."""
    return [Counted(60_000 * minute, count, expected, expected) for minute, count in enumerate(observed)]


# Over


def test_surge_that_ended_is_over_four_buckets_later() -> None:
    buckets = minutes([40, 41, 39, 40, 5, 4, 6, 5], expected=5.0)

    assert is_back(buckets, height=35.0)


def test_surge_that_ended_three_buckets_ago_is_not_over_yet() -> None:
    buckets = minutes([40, 41, 39, 40, 5, 4, 6], expected=5.0)

    assert not is_back(buckets, height=35.0)


def test_surge_that_goes_on_is_not_over() -> None:
    buckets = minutes([40] * 60, expected=5.0)

    assert not is_back(buckets, height=35.0)


def test_surge_that_goes_on_at_half_its_height_is_not_over_however_long_it_takes() -> None:
    buckets = minutes([40] * 10 + [22] * 50, expected=5.0)

    assert not is_back(buckets, height=35.0)


def test_surge_that_goes_on_a_fifth_as_high_is_not_over_as_it_is_out_of_the_band() -> None:
    buckets = minutes([40] * 10 + [12] * 50, expected=5.0)

    assert not is_back(buckets, height=35.0)


def test_fewer_reports_than_expected_are_no_surge_that_goes_on() -> None:
    buckets = minutes([40, 40, 1, 0, 1, 0], expected=5.0)

    assert is_back(buckets, height=35.0)


def test_one_quiet_bucket_ends_no_surge() -> None:
    buckets = minutes([40, 38, 42, 40, 41, 5], expected=5.0)

    assert not is_back(buckets, height=35.0)


# Few reports


def test_small_surge_of_a_sparse_series_is_not_over_in_four_silent_buckets() -> None:
    # Half of one report a minute would be two by now: that none came happens often enough.
    buckets = minutes([2, 1, 1, 0, 0, 0, 0], expected=0.1)

    assert not is_back(buckets, height=1.0)


def test_small_surge_of_a_sparse_series_is_over_when_silence_lasts() -> None:
    buckets = minutes([2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0], expected=0.1)

    assert is_back(buckets, height=1.0)


def test_series_of_which_nothing_is_expected_may_be_over_too() -> None:
    buckets = minutes([3, 4, 0, 0, 0, 0], expected=0.0)

    assert is_back(buckets, height=3.0)


def test_series_of_which_nothing_is_expected_is_not_over_while_something_comes() -> None:
    buckets = minutes([3, 4, 3, 2, 3, 2, 3, 2], expected=0.0)

    assert not is_back(buckets, height=3.0)


# Counts that scatter


def test_counts_that_scatter_widely_take_longer_to_tell() -> None:
    quiet = [5, 4, 6, 5]
    tame = [Counted(60_000 * n, count, 5.0, 5.0) for n, count in enumerate(quiet)]
    wild = [Counted(60_000 * n, count, 5.0, 200.0) for n, count in enumerate(quiet)]

    assert is_back(tame, height=10.0)
    assert not is_back(wild, height=10.0)


# Missing buckets


def test_nothing_is_over_where_nothing_is_known() -> None:
    assert not is_back([], height=10.0)
    assert not is_back(minutes([-1] * 30, expected=5.0), height=10.0)


def test_missing_buckets_are_none_in_which_nothing_came() -> None:
    buckets = minutes([40, 40, 40, 40, -1, -1, -1, -1, -1, -1, -1, -1], expected=5.0)

    assert not is_back(buckets, height=35.0)


def test_missing_buckets_between_quiet_ones_are_left_out() -> None:
    buckets = minutes([40, 40, -1, 5, -1, 4, 6, -1, 5], expected=5.0)

    assert is_back(buckets, height=35.0)


# How high it was


def test_height_is_the_mean_of_reports_beyond_the_expected() -> None:
    buckets = minutes([5, 5, 20, 30, 40], expected=5.0)

    assert height(buckets, started=120_000) == 25.0


def test_height_is_that_of_the_last_ten_buckets() -> None:
    buckets = minutes([1000] * 5 + [15] * 10, expected=5.0)

    assert height(buckets, started=0) == 10.0


def test_height_of_fewer_than_three_buckets_is_not_known() -> None:
    buckets = minutes([5, 5, 5, 40, 50], expected=5.0)

    assert height(buckets, started=180_000) == 0.0


def test_missing_buckets_have_no_height() -> None:
    assert height(minutes([20, -1, 30, -1, 40], expected=5.0), started=0) == 25.0
    assert height(minutes([20, -1, -1, -1, 40], expected=5.0), started=0) == 0.0


def test_height_is_never_below_the_expected() -> None:
    assert height(minutes([1, 2, 0, 1], expected=5.0), started=0) == pytest.approx(0.0)

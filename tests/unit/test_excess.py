"""Excess: how far above its slow baseline a series stayed, for how long."""

import numpy as np
import pytest

from detectors.excess import LONGEST, SHORTEST, Excess


def blocks(excess: Excess, counts: list[float], expected: float, missing: bool = False) -> list[float]:
    """The height after each bucket of one row."""
    heights = []
    row = slice(0, 1)
    gone = np.array([True]) if missing else None
    for count in counts:
        excess.take(row, np.array([float(count)]), np.array([expected]), gone)
        if excess.step():
            excess.end_block(row)
        heights.append(float(excess.height(row)[0]))
    return heights


def excess_of_one(bucket_seconds: int) -> Excess:
    excess = Excess(bucket_seconds)
    excess.add(1)
    return excess


@pytest.mark.parametrize("bucket_seconds", [10, 60, 240, 300])
def test_height_rises_with_the_time_that_counts_stayed_twice_as_high(bucket_seconds: int):
    excess = excess_of_one(bucket_seconds)
    a_bucket = 10.0 * bucket_seconds / 60

    surge = blocks(excess, [2 * a_bucket] * (120 * 60 // bucket_seconds), a_bucket)

    shortest, longest = int(SHORTEST * 60 / bucket_seconds), int(LONGEST * 60 / bucket_seconds)
    assert max(surge[: shortest - 1]) == 0.0
    assert 0.4 < surge[shortest + 2 * 300 // bucket_seconds] < surge[longest]
    assert surge[longest] > 1.5


def test_burst_of_two_blocks_gives_nothing():
    excess = excess_of_one(60)

    burst = blocks(excess, [10] * 60 + [1000] * 10 + [10] * 30, 10.0)

    assert max(burst) == 0.0


def test_one_block_back_at_normal_ends_it():
    excess = excess_of_one(300)

    high = blocks(excess, [200] * 12, 50.0)
    back = blocks(excess, [50], 50.0)

    assert high[-1] > 1.0
    assert back == [0.0]


def test_gap_ends_it():
    excess = excess_of_one(60)
    blocks(excess, [100] * 43, 50.0)

    excess.clear()

    assert excess.height(slice(0, 1))[0] == 0.0
    assert max(blocks(excess, [100] * 14, 50.0)) == 0.0


def test_missing_buckets_are_no_shortfall():
    excess = excess_of_one(60)
    high = blocks(excess, [100] * 30, 50.0)

    blocks(excess, [0, 0], 50.0, missing=True)
    after = blocks(excess, [100, 100, 100], 50.0)

    assert after[-1] > high[-1] > 0.4


def test_series_that_is_often_high_needs_more():
    calm, moody = excess_of_one(300), excess_of_one(300)
    blocks(calm, [50] * 3000, 50.0)
    blocks(moody, ([200] * 12 + [50] * 36) * 62, 50.0)

    assert blocks(calm, [200] * 12, 50.0)[-1] > 1.2 * blocks(moody, [200] * 12, 50.0)[-1]


def test_few_reports_prove_nothing():
    assert max(blocks(excess_of_one(60), [0, 0, 0, 0, 1] * 36, 0.01)) < 0.55 * 3.6


def test_rows_that_come_later_begin_as_the_first_did():
    excess = excess_of_one(60)
    blocks(excess, [100] * 7, 50.0)

    excess.add(40)

    arrays = excess.arrays(40)
    assert (arrays["excess_usual"][1:] == 1.0).all()
    assert (arrays["excess_sums"][:, 1:] == 0.0).all()


def test_state_goes_on_bit_for_bit_in_the_middle_of_a_block():
    excess, other = excess_of_one(60), excess_of_one(60)
    blocks(excess, [100, 30, 7] * 11, 20.0)

    other.load(1, excess.arrays(1))

    assert blocks(excess, [90] * 40, 20.0) == blocks(other, [90] * 40, 20.0)

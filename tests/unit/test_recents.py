"""Recents: the last hour of each series."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.recents import BUCKETS, Recents, dispersion

END = 1_666_681_200_000


def push(recents: Recents, *counts: int) -> None:
    recents.push(np.array(counts, np.int64), np.full(len(counts), 4.0))


def test_buckets_come_oldest_first_and_only_the_last_are_kept():
    recents = Recents(60)
    for n in range(BUCKETS + 5):
        push(recents, n, 0)

    recent = recents.of(0, END, dispersion=1e6)

    assert recent.observed == list(range(5, BUCKETS + 5))
    assert (recent.bucket_seconds, recent.end) == (60, END)


def test_series_that_came_later_is_missing_before():
    recents = Recents(60)
    push(recents, 1)
    push(recents, 2, 7)

    assert recents.of(1, END, dispersion=1e6).observed == [-1, 7]


def test_gap_is_missing():
    recents = Recents(60)
    push(recents, 1)
    recents.push_missing(1_000_000)
    push(recents, 2)

    assert recents.of(0, END, dispersion=1e6).observed == [-1] * (BUCKETS - 1) + [2]


def test_interval_is_that_of_the_dispersion_and_never_below_zero():
    recents = Recents(60)
    push(recents, 1)

    poisson, wide = recents.of(0, END, dispersion=1e9), recents.of(0, END, dispersion=1.0)

    assert poisson.high[0] == pytest.approx(4 + 1.96 * 2, rel=1e-3)
    assert wide.high[0] == pytest.approx(4 + 1.96 * 20**0.5, rel=1e-3)
    assert wide.low == [0.0]


def test_dispersion_is_found_again_from_an_interval():
    assert dispersion(4.0, 4 + 1.959964 * 20**0.5) == pytest.approx(1.0)
    assert dispersion(4.0, 4 + 1.959964 * 2) > 1e5


def test_counts_beyond_32_bits_do_not_wrap():
    recents = Recents(60)
    push(recents, 10**12)

    assert recents.of(0, END, dispersion=1e6).observed == [2**31 - 1]


def test_restored_rings_go_on():
    recents = Recents(60)
    for n in range(70):
        push(recents, n, 100 + n)

    again = Recents.restore(60, 2, recents.arrays(2))
    push(again, 1, 2)
    push(recents, 1, 2)

    assert again.of(1, END, 5.0) == recents.of(1, END, 5.0)


def test_rings_of_another_size_are_refused():
    recents = Recents(60)
    push(recents, 1, 2)

    with pytest.raises(ValueError, match="for 3 series"):
        Recents.restore(60, 3, recents.arrays(2))

"""Arrival: what part of a bucket's reports is to be there by when."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.arrival import Arrival


def test_reports_are_taken_to_come_evenly_before_any_came() -> None:
    arrival = Arrival(ticks=6, bucket_seconds=60)
    arrival.add(1)

    assert arrival.share(0).tolist() == pytest.approx([1 / 6])
    assert arrival.share(2).tolist() == pytest.approx([1 / 2])


def test_all_is_to_be_there_at_the_end_of_the_bucket() -> None:
    arrival = Arrival(ticks=6, bucket_seconds=60)
    arrival.add(1)
    arrival.saw(4, np.array([12_345.0]))

    assert arrival.share(5).tolist() == pytest.approx([1.0])


def test_feed_that_stamps_all_at_second_thirty_has_all_of_its_bucket_from_then_on() -> None:
    arrival = Arrival(ticks=6, bucket_seconds=60)
    arrival.add(1)

    for _ in range(60):
        arrival.saw(3, np.array([100.0]))
        arrival.end_bucket()

    assert arrival.share(3).tolist() == pytest.approx([1.0], abs=0.02)
    assert arrival.share(4).tolist() == pytest.approx([1.0], abs=0.02)


def test_share_is_never_less_than_that_of_reports_that_come_evenly() -> None:
    arrival = Arrival(ticks=6, bucket_seconds=60)
    arrival.add(1)

    for _ in range(60):
        arrival.saw(3, np.array([100.0]))
        arrival.end_bucket()

    # Before second 30 nothing comes: to expect nothing would make one report a surge.
    assert arrival.share(0).tolist() == pytest.approx([1 / 6])
    assert arrival.share(2).tolist() == pytest.approx([1 / 2])


def test_few_reports_move_the_share_little() -> None:
    arrival = Arrival(ticks=6, bucket_seconds=60)
    arrival.add(1)

    arrival.saw(0, np.array([5.0]))

    assert arrival.share(0).tolist() == pytest.approx([0.2063], abs=0.0001)


def test_each_source_has_a_share_of_its_own() -> None:
    arrival = Arrival(ticks=6, bucket_seconds=60)
    arrival.add(2)

    arrival.saw(0, np.array([900.0, 0.0]))

    assert arrival.share(0).tolist() == pytest.approx([0.9167, 0.1667], abs=0.0001)


def test_source_that_comes_later_changes_nothing_for_those_that_are_there() -> None:
    arrival = Arrival(ticks=6, bucket_seconds=60)
    arrival.add(1)
    arrival.saw(0, np.array([900.0]))

    arrival.add(2)

    assert arrival.share(0).tolist() == pytest.approx([0.9167, 0.1667], abs=0.0001)


def test_feed_that_stamps_otherwise_from_some_day_on_is_learned_anew() -> None:
    arrival = Arrival(ticks=2, bucket_seconds=3600)
    arrival.add(1)
    arrival.saw(0, np.array([10_000.0]))

    for _ in range(14 * 24):
        arrival.saw(1, np.array([500.0]))
        arrival.end_bucket()

    # No less than evenly, though next to nothing comes in the first half any more.
    assert arrival.share(0).tolist() == pytest.approx([0.5])


def test_loaded_arrival_goes_on_as_the_saved_one_does() -> None:
    arrival, restored = Arrival(ticks=6, bucket_seconds=60), Arrival(ticks=6, bucket_seconds=60)
    arrival.add(2)
    arrival.saw(3, np.array([70.0, 3.0]))
    restored.add(2)

    restored.load(arrival.array())
    arrival.saw(1, np.array([40.0, 5.0]))
    restored.saw(1, np.array([40.0, 5.0]))

    assert restored.share(1).tolist() == arrival.share(1).tolist()
    assert restored.array().tolist() == arrival.array().tolist()


def test_saved_arrival_is_a_copy() -> None:
    arrival = Arrival(ticks=2, bucket_seconds=60)
    arrival.add(1)

    saved = arrival.array()
    arrival.saw(0, np.array([70.0]))

    assert saved.tolist() == [[50.0, 50.0]]

"""Watermark: idle partitions go on with the clock, but only while reports are live."""

from __future__ import annotations

from detectors.watermark import NEVER, Watermark


def test_live_idle_partition_moves_on_with_the_clock_less_the_usual_delay():
    mark = Watermark(event=10_000, delay=1_500.0, live=True)

    assert mark.advance_idle(now=20_000)
    assert mark.event == 18_500


def test_watermark_never_goes_back():
    mark = Watermark(event=20_000, delay=0.0, live=True)

    assert not mark.advance_idle(now=19_000)
    assert mark.event == 20_000


def test_replayed_history_does_not_move_on_with_the_clock():
    mark = Watermark(event=10_000, delay=0.0, live=False)

    assert not mark.advance_idle(now=1_000_000)
    assert mark.event == 10_000


def test_partition_that_never_had_a_record_stays_so():
    mark = Watermark()

    assert not mark.advance_idle(now=1_000_000)
    assert mark.event == NEVER

"""Silence: when a source or a series is missing and not quiet, and what is left out of what it brings afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from math import log, log10
from typing import NamedTuple

import numpy as np
import pytest

from detectors.series import Series
from detectors.silence import Alive, Silence, Silent

CALLS = Series("calls", "whatsapp", "it")
SITE = Series("site", "whatsapp", "it")
SITE_SIGNAL = Series("site", "signal", "it")
SITE_EVERYWHERE = Series("site", "whatsapp", "*")


class Minute(NamedTuple):
    """What came of a bucket: the counts that the bank sees, and what is told of sources."""

    counts: list[int]
    told: list[Silent]


class Story:
    """Series of which so many reports are expected a minute, minute by minute from 1970 on; six ticks each."""

    def __init__(self, expected: dict[Series, float], silent_after: float = 7.0) -> None:
        self.silence = Silence(silent_after, 6, 60)
        self.silence.add(list(expected))
        self.series, self.expected = list(expected), np.array(list(expected.values()))
        self.alive = Alive()
        self.minute = 0

    def minutes(
        self, number: int, observed: Sequence[int], *, heard: Sequence[str] = (), tick: int = 5
    ) -> list[Minute]:
        """So many minutes with these counts. heard: the sources that have their last report in `tick`."""
        found = []
        for _ in range(number):
            for source in heard:
                self.alive.heard(source, self.minute, 6 * self.minute + tick)
            counts = np.array(observed, np.int64)
            bucket, told = self.silence.close(self.minute, counts, lambda: self.expected, self.alive)
            self.silence.learn(counts, bucket, self.expected)
            found.append(Minute(bucket.counts.tolist(), told))
            self.minute += 1
        return found

    def restored(self) -> Story:
        """The story as it goes on after a restart."""
        other = Story(dict(zip(self.series, self.expected.tolist(), strict=True)))
        other.silence.load(self.silence.save(), self.silence.arrays())
        other.alive, other.minute = Alive(self.alive.last), self.minute
        return other


def counts(minutes: Sequence[Minute]) -> list[list[int]]:
    return [minute.counts for minute in minutes]


def silent(minutes: Sequence[Minute]) -> list[list[str]]:
    """By minute, the sources that are told of as silent."""
    return [[told.source for told in minute.told if not told.over] for minute in minutes]


def back(minutes: Sequence[Minute]) -> list[list[str]]:
    """By minute, the sources that are told of as back."""
    return [[told.source for told in minute.told if told.over] for minute in minutes]


# Sources


def test_busy_source_that_stops_is_silent_when_seven_expected_reports_are_missed_and_missing_from_there() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])

    minutes = story.minutes(5, [0])

    assert silent(minutes) == [[], [], ["site"], ["site"], ["site"]]
    assert counts(minutes) == [[0], [0], [-1], [-1], [-1]]


def test_silence_is_told_with_its_begin_and_what_was_missed() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])

    minutes = story.minutes(3, [0])

    # e^-9 for each report that comes in a week: log10(e^9) - log10(3 * 10,080)
    assert minutes[2].told == [Silent("site", 300_000, 420_000, 60, 9.0, 9 / log(10) - log10(30_240), over=False)]


def test_what_is_missed_counts_from_the_tick_of_the_last_report_on() -> None:
    story = Story({SITE: 3.0})
    story.minutes(4, [3], heard=["site"])
    story.minutes(1, [3], heard=["site"], tick=0)

    minutes = story.minutes(2, [0])

    assert [(told.since, told.missed) for told in minutes[1].told] == [(250_000, 8.5)]


def test_evidence_of_a_silence_grows_until_it_is_certain() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])

    minutes = story.minutes(6, [0])

    assert [round(told.evidence, 2) for minute in minutes for told in minute.told] == [-0.57, 0.73, 2.03, 3.34]


def test_bucket_in_which_a_source_comes_back_is_missing_and_the_next_one_is_not() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])
    story.minutes(10, [0])

    minutes = story.minutes(3, [3], heard=["site"])

    assert counts(minutes) == [[-1], [3], [3]]
    assert (silent(minutes), back(minutes)) == ([[], [], []], [["site"], [], []])


def test_sparse_source_is_not_silent_after_twenty_minutes() -> None:
    story = Story({SITE: 0.1})
    story.minutes(1, [1], heard=["site"])

    minutes = story.minutes(20, [0])

    assert silent(minutes) == [[]] * 20
    assert counts(minutes) == [[0]] * 20


def test_sparse_source_is_silent_after_seventy_minutes() -> None:
    story = Story({SITE: 0.1})
    story.minutes(1, [1], heard=["site"])
    story.minutes(68, [0])

    assert silent(story.minutes(2, [0])) == [[], ["site"]]


def test_many_sparse_series_make_a_source_that_is_silent_soon() -> None:
    story = Story({SITE: 1.5, SITE_SIGNAL: 1.5})
    story.minutes(5, [2, 1], heard=["site"])

    minutes = story.minutes(3, [0, 0])

    assert silent(minutes) == [[], [], ["site"]]
    assert counts(minutes)[2] == [-1, -1]


def test_rollup_expects_what_its_series_do_and_not_as_much_again() -> None:
    story = Story({SITE: 3.0, SITE_EVERYWHERE: 3.0})
    story.minutes(5, [3, 3], heard=["site"])

    minutes = story.minutes(3, [0, 0])

    assert [told.missed for told in minutes[2].told] == [9.0]


def test_source_that_was_never_heard_is_not_silent() -> None:
    story = Story({SITE: 3.0})

    assert silent(story.minutes(20, [0])) == [[]] * 20


def test_source_that_only_says_that_it_is_alive_is_not_silent() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])

    assert silent(story.minutes(20, [0], heard=["site"])) == [[]] * 20


def test_source_is_silent_after_as_many_reports_as_it_is_set_to() -> None:
    story = Story({SITE: 3.0}, silent_after=30.0)
    story.minutes(5, [3], heard=["site"])

    minutes = story.minutes(10, [0])

    assert silent(minutes) == [[]] * 9 + [["site"]]


def test_source_that_comes_in_lumps_every_five_minutes_is_silent_at_first_and_then_no_more() -> None:
    story = Story({SITE: 3.0})
    story.minutes(1, [15], heard=["site"])
    story.minutes(4, [0])
    story.minutes(1, [15], heard=["site"])
    story.minutes(4, [0])
    at_first = story.minutes(1, [15], heard=["site"])

    later = [
        *story.minutes(4, [0]),
        *story.minutes(1, [15], heard=["site"]),
        *story.minutes(4, [0]),
        *story.minutes(1, [15], heard=["site"]),
    ]

    assert back(at_first) == [["site"]]
    assert silent(later) == [[]] * 10


def test_source_that_comes_in_lumps_is_silent_after_twice_its_usual_gap() -> None:
    story = Story({SITE: 3.0})
    for _ in range(5):
        story.minutes(1, [15], heard=["site"])
        story.minutes(4, [0])
    story.minutes(1, [15], heard=["site"])

    minutes = story.minutes(10, [0])

    # Four minutes without a report are usual, eight are twice that.
    assert silent(minutes) == [[]] * 8 + [["site"], ["site"]]


def test_one_of_two_sources_dies_and_the_other_goes_on_without_harm() -> None:
    story = Story({CALLS: 3.0, SITE: 3.0})
    story.minutes(5, [3, 3], heard=["calls", "site"])

    minutes = story.minutes(4, [0, 3], heard=["site"])

    assert silent(minutes) == [[], [], ["calls"], ["calls"]]
    assert counts(minutes) == [[0, 3], [0, 3], [-1, 3], [-1, 3]]


# Series


def test_series_that_is_silent_while_its_source_is_not_is_missing_once_seven_expected_reports_were_missed() -> None:
    story = Story({SITE: 3.0, SITE_SIGNAL: 3.0})
    story.minutes(5, [3, 3], heard=["site"])

    minutes = story.minutes(5, [0, 3], heard=["site"])

    assert counts(minutes) == [[0, 3], [0, 3], [0, 3], [-1, 3], [-1, 3]]
    assert silent(minutes) == [[]] * 5


def test_series_with_a_report_now_and_then_is_quiet_and_not_missing() -> None:
    story = Story({SITE: 3.0, SITE_SIGNAL: 3.0})
    story.minutes(2, [0, 3], heard=["site"])
    story.minutes(1, [1, 3], heard=["site"])

    minutes = story.minutes(2, [0, 3], heard=["site"])

    assert counts(minutes) == [[0, 3], [0, 3]]


def test_series_is_lately_back_for_two_hours_after_it_was_missing() -> None:
    story = Story({SITE: 3.0, SITE_SIGNAL: 3.0})
    story.minutes(9, [0, 3], heard=["site"])

    story.minutes(1, [3, 3], heard=["site"])
    at_once = story.silence.lately_back.tolist()
    story.minutes(119, [3, 3], heard=["site"])
    after_two_hours = story.silence.lately_back.tolist()
    story.minutes(1, [3, 3], heard=["site"])

    assert (at_once, after_two_hours) == ([True, False], [True, False])
    assert story.silence.lately_back.tolist() == [False, False]


# Backlogs. The bank expects one in the bucket after a gap: that one is left as it is.


def test_backlog_that_takes_long_is_left_out_of_the_series_and_of_its_service() -> None:
    story = Story({SITE: 3.0, SITE_SIGNAL: 3.0, SITE_EVERYWHERE: 3.0})
    story.minutes(5, [3, 3, 3], heard=["site"])
    story.minutes(60, [0, 0, 0])
    story.minutes(2, [30, 3, 30], heard=["site"])

    minutes = story.minutes(3, [30, 3, 30], heard=["site"])

    assert counts(minutes) == [[3, 3, 3]] * 3


def test_backlog_of_a_part_is_left_out_of_a_rollup_that_was_not_silent() -> None:
    story = Story({SITE: 3.0, SITE_EVERYWHERE: 9.0})
    story.minutes(5, [3, 9], heard=["site"])
    story.minutes(60, [0, 6], heard=["site"])
    story.minutes(1, [30, 36], heard=["site"])

    minutes = story.minutes(2, [30, 36], heard=["site"])

    assert counts(minutes) == [[3, 9], [3, 9]]


def test_no_more_is_left_out_than_was_missed() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])
    story.minutes(9, [0])
    story.minutes(2, [3], heard=["site"])

    [minute] = story.minutes(1, [100], heard=["site"])

    # 27 were missed.
    assert minute.counts == [73]


def test_backlog_that_came_in_the_bucket_of_the_return_is_not_owed_again() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])
    story.minutes(10, [0])
    story.minutes(1, [33], heard=["site"])
    story.minutes(1, [3], heard=["site"])

    [minute] = story.minutes(1, [30], heard=["site"])

    assert minute.counts == [30]


def test_backlog_that_has_not_come_after_hours_is_not_expected_any_more() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])
    story.minutes(60, [0])
    story.minutes(181, [3], heard=["site"])

    [minute] = story.minutes(1, [30], heard=["site"])

    assert minute.counts == [30]


def test_counts_of_who_was_never_silent_are_left_as_they_are() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])

    minutes = story.minutes(3, [300], heard=["site"])

    assert counts(minutes) == [[300], [300], [300]]


def test_open_bucket_of_a_silent_source_shows_no_more_than_is_expected() -> None:
    story = Story({CALLS: 3.0, SITE: 3.0, SITE_EVERYWHERE: 3.0})
    story.minutes(5, [3, 3, 3], heard=["calls", "site"])
    story.minutes(10, [3, 0, 0], heard=["calls"])

    seen = story.silence.without_backlog(np.array([40, 40, 40]), np.array([1.5, 1.5, 1.5]))

    assert seen.tolist() == [40, 1, 1]


def test_open_bucket_where_nobody_is_silent_is_left_as_it_is() -> None:
    story = Story({CALLS: 3.0, SITE: 3.0})
    story.minutes(5, [3, 3], heard=["calls", "site"])

    seen = story.silence.without_backlog(np.array([40, 1]), np.array([1.5, 1.5]))

    assert seen.tolist() == [40, 1]


# Restarts


def test_restored_silence_goes_on_the_same_while_a_source_is_silent() -> None:
    story = Story({CALLS: 3.0, SITE: 3.0, SITE_EVERYWHERE: 3.0})
    story.minutes(5, [3, 3, 3], heard=["calls", "site"])
    story.minutes(2, [3, 0, 0], heard=["calls"])
    restored = story.restored()

    minutes = story.minutes(3, [3, 0, 0], heard=["calls"]) + story.minutes(3, [3, 30, 30], heard=["calls", "site"])
    again = restored.minutes(3, [3, 0, 0], heard=["calls"]) + restored.minutes(3, [3, 30, 30], heard=["calls", "site"])

    assert silent(minutes) == [["site"], ["site"], ["site"], [], [], []]
    assert again == minutes


def test_restored_silence_still_leaves_out_what_is_owed() -> None:
    story = Story({SITE: 3.0})
    story.minutes(5, [3], heard=["site"])
    story.minutes(60, [0])
    story.minutes(2, [3], heard=["site"])
    restored = story.restored()

    minutes = restored.minutes(1, [30], heard=["site"])

    assert counts(minutes) == [[3]]
    assert restored.silence.lately_back.tolist() == [True]


def test_restored_silence_knows_the_usual_gap_of_a_source_that_comes_in_lumps() -> None:
    story = Story({SITE: 3.0})
    for _ in range(5):
        story.minutes(1, [15], heard=["site"])
        story.minutes(4, [0])
    restored = story.restored()

    minutes = restored.minutes(1, [15], heard=["site"]) + restored.minutes(4, [0])

    assert silent(minutes) == [[]] * 5


def test_saved_silence_of_other_sources_is_refused() -> None:
    silence = Silence(7.0, 6, 60)
    silence.add([CALLS])
    other = Silence(7.0, 6, 60)
    other.add([SITE])

    with pytest.raises(ValueError, match=r"silence of the sources \['calls'\] where the series are of \['site'\]"):
        other.load(silence.save(), silence.arrays())


def test_saved_silence_of_another_number_of_series_is_refused() -> None:
    silence = Silence(7.0, 6, 60)
    silence.add([SITE, SITE_SIGNAL])
    other = Silence(7.0, 6, 60)
    other.add([SITE])

    with pytest.raises(ValueError, match="quiet"):
        other.load(silence.save(), silence.arrays())


# Alive


def test_last_tick_of_a_bucket_is_kept_in_whatever_order_reports_come() -> None:
    alive = Alive()

    alive.heard("site", 10, 63)
    alive.heard("site", 10, 61)
    alive.heard("site", 9, 54)

    assert (alive.in_bucket("site", 10), alive.in_bucket("site", 9)) == (63, 54)


def test_bucket_without_a_report_has_no_tick() -> None:
    alive = Alive()
    alive.heard("site", 10, 63)

    assert (alive.in_bucket("site", 11), alive.in_bucket("calls", 10)) == (None, None)


def test_of_each_source_its_own_past_is_forgotten_and_the_rest_kept() -> None:
    alive = Alive({"calls": {9: 54, 10: 60, 11: 66}, "site": {9: 54, 10: 60, 11: 66}, "tweets": {9: 54}})

    alive.forget({"calls": 10, "site": 11, "tweets": 10}.__getitem__)

    assert alive.last == {"calls": {10: 60, 11: 66}, "site": {11: 66}}


def test_forgetting_never_takes_what_lies_ahead_and_keeps_memory_bounded() -> None:
    alive = Alive()
    for bucket in range(5000):
        alive.heard("site", bucket, 6 * bucket)
        alive.heard("site", bucket + 3, 6 * (bucket + 3))

        alive.forget({"site": bucket}.__getitem__)

    assert [alive.in_bucket("site", bucket) for bucket in (4999, 5000, 5001, 5002)] == [29994, 30000, 30006, 30012]
    assert len(alive.last["site"]) <= 504


def test_alive_made_from_another_is_a_copy() -> None:
    alive = Alive()
    alive.heard("site", 10, 63)

    other = Alive(alive.last)
    alive.heard("site", 10, 65)

    assert other.in_bucket("site", 10) == 63

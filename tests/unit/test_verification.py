"""Verification: what is found, missed and false, at the edges too."""

from __future__ import annotations

import pytest

from detectors.verification import TAIL_MS, verify
from tests.made_episodes import at, known, silent, told

ALL_DAY = (at(0), at(1440))


@pytest.mark.parametrize(
    ("detected", "until", "delay"),
    [
        (105, 130, 5),  # within
        (100, 130, 0),  # at its first moment
        (119.9, 130, 19.9),  # just before its end
        (60, 101, 0),  # open before, and still
        (60, 300, 0),  # open all the time
    ],
)
def test_label_is_found_by_an_incident_that_was_open_within_it(detected, until, delay):
    incident = told(detected, until)

    verified = verify([known(100, 120)], [incident], seen=ALL_DAY)

    assert [(each.episode, each.delay) for each in verified.found] == [(incident, delay * 60_000)]
    assert (verified.missed, verified.false, verified.explained) == ([], [], 1)


@pytest.mark.parametrize(
    ("detected", "until", "false"),
    [
        (60, 100, 1),  # over at its first moment
        (120, 130, 0),  # from its end on: too late to find it, but explained by it
        (239.9, 250, 0),  # within the tail
        (240, 250, 1),  # after the tail
    ],
)
def test_label_is_missed_where_no_incident_was_open_within_it(detected, until, false):
    verified = verify([known(100, 120)], [told(detected, until)], seen=ALL_DAY)

    assert verified.found == []
    assert verified.missed == [known(100, 120)]
    assert len(verified.false) == false
    assert TAIL_MS == 120 * 60_000


def test_first_alert_counts_of_several():
    first, second = told(103, 106), told(110, 115)

    verified = verify([known(100, 120)], [second, first], seen=ALL_DAY)

    assert [(each.episode, each.delay) for each in verified.found] == [(first, 180_000)]
    assert verified.explained == 2


@pytest.mark.parametrize(
    ("place", "covered"),
    [
        ({"region": "it"}, True),
        ({"region": "IT/Lazio"}, True),
        ({"region": "italy"}, False),
        ({"region": ""}, False),
        ({"region": "it", "service": "TIM"}, False),
    ],
)
def test_label_stands_for_its_region_and_all_within(place, covered):
    verified = verify([known(100, 120, region="it")], [told(105, 110, **place)], seen=ALL_DAY)

    assert bool(verified.found) is covered
    assert bool(verified.false) is not covered


def test_label_without_region_stands_for_all_regions():
    incidents = [told(105, 110, region="it/lazio"), told(106, 110, region=""), told(107, 110, service="TIM")]

    verified = verify([known(100, 120, region="")], incidents, seen=ALL_DAY)

    assert verified.found[0].episode == incidents[0]
    assert verified.false == [incidents[2]]


@pytest.mark.parametrize(
    ("place", "concerned"),
    [
        ({"region": "it/lazio"}, True),
        ({"region": None}, True),
        ({"region": "it/*"}, True),
        ({"service": None, "region": "it/lazio"}, True),
        ({"service": None, "region": "it/lazio/roma"}, True),
        ({"service": None, "region": "it/*"}, True),
        ({"service": None, "region": None}, True),
        ({"region": "fr/*"}, False),
        ({"service": "TIM", "region": None}, False),
        ({"service": None, "region": "fr"}, False),
        ({"region": "it"}, False),  # reports that name no more than it are not those of lazio
    ],
)
def test_label_is_found_by_what_spans_it_too(place, concerned):
    verified = verify([known(100, 120, region="it/lazio")], [told(105, 110, **place)], seen=ALL_DAY)

    assert bool(verified.found) is concerned
    assert bool(verified.false) is not concerned


def test_silent_feed_finds_no_label_and_is_no_false_incident():
    verified = verify([known(100, 120, region="")], [silent(100, 120)], seen=ALL_DAY)

    assert (verified.found, len(verified.missed), verified.false, verified.explained) == ([], 1, [], 0)


def test_what_another_incident_explains_is_judged_only_if_it_paged():
    parent = told(105, 110, region=None)
    quiet = told(106, 110, region="fr", parent=parent.id, paged=False)
    paged_first = told(104, 110, region="es", parent=parent.id, paged=True)

    verified = verify([known(100, 120)], [paged_first, parent, quiet], seen=ALL_DAY)

    assert verified.found[0].episode == parent
    assert (verified.false, verified.explained) == ([paged_first], 1)


def test_label_of_which_the_run_saw_no_time_is_neither_found_nor_missed():
    before, after, within = known(0, 100), known(200, 300), known(199, 300)

    verified = verify([before, after, within], [], seen=(at(100), at(200)))

    assert verified.outside == [before, after]
    assert verified.missed == [within]
    assert verify([within], [], seen=None).outside == [within]


def test_one_incident_may_find_several_labels_and_the_median_delay_is_theirs():
    verified = verify([known(100, 120), known(90, 110), known(60, 64)], [told(102, 115)], seen=ALL_DAY)

    assert [each.delay for each in verified.found] == [120_000, 720_000]
    assert verified.median_delay == 420_000
    assert verify([], [], seen=ALL_DAY).median_delay is None

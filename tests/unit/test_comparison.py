"""Comparison: which incidents of two runs belong together, and what differs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from detectors.alert import Severity
from detectors.comparison import Difference, compare, difference
from tests.made_episodes import at, told


def test_same_runs_differ_in_nothing():
    incidents = [told(100, 120), told(200, 220, service="TIM")]

    matches = compare(incidents, incidents)

    assert len(matches) == 2
    assert all(each.a and each.b and difference(each.a, each.b).none for each in matches)


def test_incidents_of_one_place_that_overlap_belong_together_and_differ_by_b_less_a():
    a = told(100, 130, evidence=3.0, severity=Severity.WARNING)
    b = told(105, 120, evidence=7.5, severity=Severity.CRITICAL)

    (match,) = compare([a], [b])

    assert match.a is not None
    assert match.b is not None
    assert (match.a.episodes, match.b.episodes) == ((a,), (b,))
    assert difference(match.a, match.b) == Difference(detected=300_000, open=-900_000, evidence=4.5, severity=2)


def test_incident_that_opens_later_belongs_to_one_that_is_over_if_its_onset_does():
    (match,) = compare([told(100, 110)], [told(112, 130, started=101)])

    assert match.a is not None
    assert match.b is not None


def test_other_places_and_times_stay_apart_in_the_order_of_onset():
    a = [told(100, 110), told(300, 310)]
    b = [told(200, 210), told(100, 110, region="it/lazio")]

    matches = compare(a, b)

    assert [(each.a is not None, each.b is not None) for each in matches] == [
        (True, False),
        (False, True),
        (False, True),
        (True, False),
    ]
    assert [each.first.started for each in matches] == [at(98), at(98), at(198), at(298)]


def test_one_incident_against_three_that_it_spans():
    parts = [told(100, 110, evidence=2.0), told(120, 130, evidence=9.0), told(140, 150)]

    (match,) = compare([told(100, 160)], parts)

    assert match.b is not None
    assert match.b.episodes == tuple(parts)
    assert (match.b.detected, match.b.open, match.b.evidence) == (at(100), 30 * 60_000, 9.0)


_spans = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60), st.sampled_from(["it", "fr"])), max_size=12).map(
    lambda them: [told(s, s + n, region=r, started=s, id=f"{i}") for i, (s, n, r) in enumerate(them)]
)


@given(_spans, _spans)
def test_every_incident_is_in_one_match_and_overlapping_ones_are_in_the_same(a, b):
    matches = compare(a, b)

    of_a = {each.id: n for n, match in enumerate(matches) if match.a for each in match.a.episodes}
    of_b = {each.id: n for n, match in enumerate(matches) if match.b for each in match.b.episodes}
    assert sum(len(match.a.episodes) for match in matches if match.a) == len(of_a) == len(a)
    assert sum(len(match.b.episodes) for match in matches if match.b) == len(of_b) == len(b)
    for x in a:
        others = [y for y in b if y.place == x.place and y.started < x.until and y.until > x.started]
        assert {of_b[y.id] for y in others} <= {of_a[x.id]}
        if not others:
            assert matches[of_a[x.id]].b is None

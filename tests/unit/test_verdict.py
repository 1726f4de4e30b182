"""Verdict: small tables of services and regions, and the few causes that explain them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from detectors.rollup import ALL, regions_around
from detectors.verdict import Atom, Scope, Table, covers, overlap, within

SERVICES = ("netflix", "signal", "telegram", "tim", "whatsapp")
REGIONS = ("abruzzo", "calabria", "campania", "lazio", "liguria", "marche", "molise", "puglia", "toscana", "veneto")
#: Observed and expected reports of a series since the surge began.
Counts = tuple[float, float]


def counts(regions: Iterable[str], observed: float, expected: float, *services: str) -> dict[Scope, Counts]:
    """The same counts in each of the regions, of each of the services."""
    return dict.fromkeys([(service, region) for service in services for region in regions], (observed, expected))


def calm() -> dict[Scope, Counts]:
    """Five services in ten regions, each with the five reports that are expected."""
    return counts(REGIONS, 5, 5, *SERVICES)


def table(cells: Mapping[Scope, Counts], *hot: Scope, rests: Iterable[Atom] = ()) -> Table:
    """Counts that scatter as those of independent reports do, with all roll-ups of them known."""
    around = {(service, wide) for service, region in cells for wide in regions_around(region)}
    everywhere = {(ALL, region) for _, region in {*cells, *around}}
    atoms = [Atom(*scope, observed, expected, expected) for scope, (observed, expected) in cells.items()]
    return Table([*atoms, *rests], hot, [*cells, *around, *everywhere])


def causes(table: Table, *kept: Scope) -> list[Scope]:
    return sorted(table.choose(kept))


# One cause


def test_nothing_that_surges_has_no_cause() -> None:
    assert causes(table(calm())) == []
    assert causes(Table([], [], [])) == []


def test_one_of_ten_regions_surges_and_the_series_is_the_cause() -> None:
    story = table(calm() | {("whatsapp", "lazio"): (60, 5)}, ("whatsapp", "lazio"), ("whatsapp", "*"), ("*", "lazio"))

    assert causes(story) == [("whatsapp", "lazio")]


def test_all_regions_surge_a_bit_and_the_service_is_the_cause() -> None:
    story = table(calm() | counts(REGIONS, 9, 5, "whatsapp"), ("whatsapp", "*"))

    assert causes(story) == [("whatsapp", "*")]


def test_thirty_regions_with_two_extra_reports_each_are_the_service() -> None:
    regions = [f"region{number}" for number in range(30)]
    story = table(counts(regions, 4, 2, "whatsapp") | counts(regions, 2, 2, "signal"), ("whatsapp", "*"))

    assert causes(story) == [("whatsapp", "*")]


def test_all_regions_surge_much_and_the_service_is_the_cause_though_each_stands_out() -> None:
    story = table(calm() | counts(REGIONS, 50, 5, "whatsapp"))

    assert causes(story) == [("whatsapp", "*")]


def test_every_service_surges_in_one_region_and_the_region_is_the_cause() -> None:
    story = table(
        calm() | counts(["lazio"], 30, 5, *SERVICES),
        ("*", "lazio"),
        ("whatsapp", "lazio"),
        ("whatsapp", "*"),
        ("*", "*"),
    )

    assert causes(story) == [("*", "lazio")]


def test_everything_doubled_everywhere_and_everything_is_the_cause() -> None:
    story = table(counts(REGIONS, 12, 5, *SERVICES), ("*", "*"))

    assert causes(story) == [("*", "*")]


def test_everything_a_little_high_has_no_cause_as_what_is_expected_may_be_off() -> None:
    story = table(counts(REGIONS, 6, 5, *SERVICES), ("*", "*"), ("whatsapp", "*"), ("*", "lazio"))

    assert causes(story) == []


def test_service_that_reports_on_one_region_only_surges_and_the_series_is_the_cause() -> None:
    story = table({("whatsapp", "it"): (50, 5)}, ("whatsapp", "it"), ("whatsapp", "*"), ("*", "it"), ("*", "*"))

    assert causes(story) == [("whatsapp", "it")]


def test_reports_that_name_no_region_surge_and_their_series_is_the_cause() -> None:
    story = table({("whatsapp", ""): (50, 5), ("signal", ""): (5, 5)}, ("whatsapp", ""), ("whatsapp", "*"))

    assert causes(story) == [("whatsapp", "")]


# Countries


def test_service_is_down_in_one_country_and_its_part_there_is_the_cause() -> None:
    italy, states = ("it/lazio", "it/lombardia", "it/puglia", "it/veneto"), ("us/ca", "us/fl", "us/ny", "us/tx")
    story = table(
        counts(italy, 25, 5, "whatsapp") | counts(states, 20, 20, "whatsapp") | counts(italy + states, 5, 5, "signal"),
        ("whatsapp", "it/*"),
        ("whatsapp", "*"),
    )

    assert causes(story) == [("whatsapp", "it/*")]


def test_all_services_are_down_in_one_country_and_the_country_is_the_cause() -> None:
    italy, states = ("it/lazio", "it/lombardia", "it/puglia", "it/veneto"), ("us/ca", "us/fl", "us/ny", "us/tx")
    story = table(counts(italy, 25, 5, *SERVICES) | counts(states, 5, 5, *SERVICES), ("*", "it/*"), ("*", "*"))

    assert causes(story) == [("*", "it/*")]


# Several causes


def test_service_is_down_while_a_region_is_dark_and_both_are_causes() -> None:
    story = table(
        calm() | counts(REGIONS, 25, 5, "whatsapp") | counts(["lazio"], 30, 5, *SERVICES),
        ("*", "lazio"),
        ("whatsapp", "*"),
        ("*", "*"),
    )

    assert causes(story) == [("*", "lazio"), ("whatsapp", "*")]


def test_two_series_of_two_services_in_two_regions_are_two_causes_and_not_everything() -> None:
    story = table(
        calm() | {("netflix", "veneto"): (50, 5), ("whatsapp", "lazio"): (60, 5)},
        ("netflix", "veneto"),
        ("whatsapp", "lazio"),
        ("*", "*"),
    )

    assert causes(story) == [("netflix", "veneto"), ("whatsapp", "lazio")]


def test_two_services_are_down_everywhere_and_both_are_causes() -> None:
    story = table(calm() | counts(REGIONS, 25, 5, "tim", "whatsapp"), ("tim", "*"), ("whatsapp", "*"), ("*", "*"))

    assert causes(story) == [("tim", "*"), ("whatsapp", "*")]


def test_one_region_higher_than_the_others_is_no_second_cause() -> None:
    story = table(
        calm() | counts(REGIONS, 25, 5, "whatsapp") | {("whatsapp", "lazio"): (60, 5)},
        ("whatsapp", "*"),
        ("whatsapp", "lazio"),
    )

    assert causes(story) == [("whatsapp", "*")]


# What speaks against a cause, and what says nothing


def test_busy_regions_that_are_calm_speak_against_everywhere() -> None:
    calm_ones = ("campania", "lazio", "liguria", "marche", "molise", "puglia", "toscana", "veneto")
    story = table(
        calm() | counts(["abruzzo", "calabria"], 25, 5, "whatsapp") | counts(calm_ones, 200, 200, "whatsapp"),
        ("whatsapp", "*"),
        ("whatsapp", "abruzzo"),
        ("whatsapp", "calabria"),
    )

    assert causes(story) == [("whatsapp", "abruzzo"), ("whatsapp", "calabria")]


def test_regions_that_expect_next_to_nothing_do_not_speak_against_everywhere() -> None:
    sparse_ones = ("campania", "lazio", "liguria", "marche", "molise", "puglia", "toscana", "veneto")
    story = table(
        calm() | counts(["abruzzo", "calabria"], 25, 5, "whatsapp") | counts(sparse_ones, 0, 0.05, "whatsapp"),
        ("whatsapp", "*"),
        ("whatsapp", "abruzzo"),
        ("whatsapp", "calabria"),
    )

    assert causes(story) == [("whatsapp", "*")]


def test_regions_that_expect_next_to_nothing_do_not_speak_for_everywhere_either() -> None:
    story = table(
        {("whatsapp", "lazio"): (25, 5)} | counts(REGIONS[4:], 0, 0.05, "whatsapp"),
        ("whatsapp", "*"),
        ("whatsapp", "lazio"),
    )

    assert causes(story) == [("whatsapp", "lazio")]


def test_calm_rest_of_a_service_speaks_against_everywhere() -> None:
    rest = Atom("whatsapp", None, 40, 40, 40)
    story = table({("whatsapp", "lazio"): (50, 5)}, ("whatsapp", "lazio"), ("whatsapp", "*"), rests=[rest])

    assert causes(story) == [("whatsapp", "lazio")]


def test_surging_rest_of_a_service_speaks_for_everywhere() -> None:
    rest = Atom("whatsapp", None, 200, 20, 20)
    story = table({("whatsapp", "lazio"): (50, 5)}, ("whatsapp", "lazio"), ("whatsapp", "*"), rests=[rest])

    assert causes(story) == [("whatsapp", "*")]


def test_cause_that_is_not_known_is_none() -> None:
    atoms = [Atom("whatsapp", "lazio", 25, 5, 5), Atom("whatsapp", "veneto", 25, 5, 5)]

    known_series_only = Table(atoms, [("whatsapp", "*")], [("whatsapp", "lazio"), ("whatsapp", "veneto")])

    assert causes(known_series_only) == [("whatsapp", "lazio"), ("whatsapp", "veneto")]


def test_cause_that_was_believed_before_needs_less() -> None:
    fading = table(calm() | counts(["lazio"], 9, 5, *SERVICES), ("*", "lazio"))

    assert causes(fading) == []
    assert causes(fading, ("*", "lazio")) == [("*", "lazio")]


def test_order_of_the_table_decides_nothing() -> None:
    cells = calm() | counts(REGIONS, 25, 5, "whatsapp") | counts(["lazio"], 30, 5, *SERVICES)
    hot = [("*", "lazio"), ("whatsapp", "*"), ("*", "*")]

    forward, backward = table(cells, *hot), table(dict(reversed(cells.items())), *reversed(hot))

    assert forward.choose() == pytest.approx(backward.choose())


# Why


def test_verdict_of_a_service_says_what_takes_part_and_what_does_not() -> None:
    story = table(
        calm() | counts(REGIONS, 25, 5, "whatsapp") | {("whatsapp", "molise"): (5, 5), ("whatsapp", "puglia"): (9, 9)},
        ("whatsapp", "*"),
    )

    verdict = story.verdict(("whatsapp", "*"), story.choose())

    assert (verdict.explained, verdict.taking_part, verdict.looked_at) == (1.0, 8, 10)
    assert verdict.not_taking_part == ["puglia", "molise"]  # the busiest first
    assert verdict.likelier > 5


def test_verdict_of_a_region_names_the_services_that_do_not_take_part() -> None:
    story = table(
        calm() | counts(["lazio"], 30, 5, "netflix", "signal", "tim", "whatsapp"),
        ("*", "lazio"),
    )

    verdict = story.verdict(("*", "lazio"), story.choose())

    assert (verdict.explained, verdict.taking_part, verdict.looked_at) == (1.0, 4, 5)
    assert verdict.not_taking_part == ["telegram"]
    assert verdict.likelier > 5


def test_verdict_of_a_series_is_about_itself() -> None:
    story = table(calm() | {("whatsapp", "lazio"): (60, 5)}, ("whatsapp", "lazio"))

    verdict = story.verdict(("whatsapp", "lazio"), story.choose())

    assert (verdict.explained, verdict.taking_part, verdict.looked_at) == (1.0, 1, 1)
    assert (verdict.not_taking_part, verdict.instead) == ([], [])
    assert verdict.likelier > 20


def test_verdicts_of_two_causes_share_what_is_explained() -> None:
    story = table(
        calm() | {("netflix", "veneto"): (50, 5), ("whatsapp", "lazio"): (60, 5)},
        ("netflix", "veneto"),
        ("whatsapp", "lazio"),
    )
    chosen = story.choose()

    netflix, whatsapp = story.verdict(("netflix", "veneto"), chosen), story.verdict(("whatsapp", "lazio"), chosen)

    assert (netflix.explained, whatsapp.explained) == (0.45, 0.55)
    assert netflix.likelier > 0
    assert whatsapp.likelier > 0


def test_verdict_says_what_else_would_explain_the_same() -> None:
    rest = Atom("whatsapp", None, 40, 40, 40)
    story = table({("whatsapp", "lazio"): (50, 5)}, ("whatsapp", "lazio"), ("whatsapp", "*"), rests=[rest])

    verdict = story.verdict(("whatsapp", "lazio"), story.choose())

    assert verdict.instead == ["whatsapp in *"]
    assert 0 < verdict.likelier < 5


def test_verdict_names_ten_that_do_not_take_part_at_most() -> None:
    flat = [f"flat{number}" for number in range(12)]
    story = table(counts(flat, 10, 10, "whatsapp") | counts(REGIONS, 100, 5, "whatsapp"), ("whatsapp", "*"))

    verdict = story.verdict(("whatsapp", "*"), [("whatsapp", "*")])

    assert (verdict.taking_part, verdict.looked_at, len(verdict.not_taking_part)) == (10, 22, 10)


def test_cause_without_a_cell_gains_nothing() -> None:
    story = Table([], [("whatsapp", "*")], [("whatsapp", "*")])

    assert (story.choose(), story.alone(("whatsapp", "*"))) == ({}, 0.0)


# What covers what


@pytest.mark.parametrize(
    ("cause", "service", "region"),
    [
        (("whatsapp", "it/lazio"), "whatsapp", "it/lazio"),
        (("whatsapp", "it/*"), "whatsapp", "it/lazio"),
        (("whatsapp", "*"), "whatsapp", "it/lazio"),
        (("*", "it/*"), "whatsapp", "it/lazio"),
        (("*", "*"), "whatsapp", "it/lazio"),
        (("whatsapp", "*"), "whatsapp", None),
        (("*", "*"), "whatsapp", None),
        (("*", "it"), None, "it"),
        (("*", "*"), None, "it"),
        (("*", "*"), None, None),
    ],
)
def test_cause_covers_what_is_within_it(cause: Scope, service: str | None, region: str | None) -> None:
    assert covers(cause, Atom(service, region, 1, 1, 1))


@pytest.mark.parametrize(
    ("cause", "service", "region"),
    [
        (("whatsapp", "it/lazio"), "whatsapp", "it/puglia"),
        (("whatsapp", "it/*"), "whatsapp", "it"),
        (("signal", "*"), "whatsapp", "it"),
        (("whatsapp", "it"), "whatsapp", None),
        (("whatsapp", "it/*"), "whatsapp", None),
        (("whatsapp", "*"), None, "it"),
        (("*", "us"), None, "it"),
        (("whatsapp", "*"), None, None),
        (("*", "it"), None, None),
    ],
)
def test_cause_covers_neither_others_nor_a_rest_that_is_wider(
    cause: Scope, service: str | None, region: str | None
) -> None:
    assert not covers(cause, Atom(service, region, 1, 1, 1))


def test_service_and_region_overlap_and_none_is_within_the_other() -> None:
    assert overlap(("whatsapp", "*"), ("*", "it"))
    assert not within(("whatsapp", "*"), ("*", "it"))
    assert not within(("*", "it"), ("whatsapp", "*"))


def test_two_regions_of_a_service_have_nothing_in_common() -> None:
    assert not overlap(("whatsapp", "it"), ("whatsapp", "us"))
    assert not overlap(("whatsapp", "it/*"), ("whatsapp", "it"))


def test_two_services_in_a_region_have_nothing_in_common() -> None:
    assert not overlap(("whatsapp", "it"), ("signal", "it"))

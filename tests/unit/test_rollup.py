"""Roll-ups: which wider series a report counts for, and what they are called."""

from __future__ import annotations

import pytest

from detectors.rollup import holds, is_rollup, regions_around, rollups, siblings
from detectors.series import Names, Series


def test_unnamed_region_lies_in_all_regions_and_in_nothing_else() -> None:
    assert regions_around("") == ["*"]


def test_widest_region_lies_in_all_regions_and_not_within_itself() -> None:
    assert regions_around("it") == ["*"]


def test_region_of_six_levels_lies_in_five_and_in_all() -> None:
    assert regions_around("a/b/c/d/e/f") == ["a/b/c/d/e/*", "a/b/c/d/*", "a/b/c/*", "a/b/*", "a/*", "*"]


def test_region_of_eight_levels_rolls_up_to_the_six_widest_ones_only() -> None:
    assert regions_around("a/b/c/d/e/f/g/h") == [
        "a/b/c/d/e/f/*",
        "a/b/c/d/e/*",
        "a/b/c/d/*",
        "a/b/c/*",
        "a/b/*",
        "a/*",
        "*",
    ]


@pytest.mark.parametrize(
    ("service", "region"),
    [("*", "it"), ("*", ""), ("whatsapp", "*"), ("whatsapp", "it/*"), ("*", "*")],
)
def test_series_that_spans_others_is_a_rollup(service: str, region: str) -> None:
    assert is_rollup(service, region)


@pytest.mark.parametrize(
    ("service", "region"),
    [("whatsapp", ""), ("whatsapp", "it"), ("whatsapp", "it/lazio"), ("*overflow*", ""), ("a/*", "it")],
)
def test_series_of_reports_is_no_rollup(service: str, region: str) -> None:
    assert not is_rollup(service, region)


# What a series counts for


def test_rollups_have_the_source_of_their_series_and_names_as_people_write_them() -> None:
    found = rollups(Series("site", "whatsapp", "it/lazio/roma"), Names("WhatsApp", "IT/Lazio/Roma"))

    assert found == [
        (Series("site", "whatsapp", "it/lazio/*"), Names("WhatsApp", "IT/Lazio/*")),
        (Series("site", "whatsapp", "it/*"), Names("WhatsApp", "IT/*")),
        (Series("site", "whatsapp", "*"), Names("WhatsApp", "*")),
    ]


def test_series_without_a_region_counts_for_its_service_only() -> None:
    found = rollups(Series("site", "whatsapp", ""), Names("WhatsApp", ""))

    assert found == [(Series("site", "whatsapp", "*"), Names("WhatsApp", "*"))]


def test_all_services_in_a_region_are_a_rollup_as_well_as_what_is_around_it() -> None:
    found = rollups(Series("site", "*", "it/lazio"), Names("*", "IT/Lazio"))

    assert found == [
        (Series("site", "*", "it/lazio"), Names("*", "IT/Lazio")),
        (Series("site", "*", "it/*"), Names("*", "IT/*")),
        (Series("site", "*", "*"), Names("*", "*")),
    ]


def test_all_services_in_no_named_region_count_for_everything_only() -> None:
    found = rollups(Series("site", "*", ""), Names("*", ""))

    assert found == [(Series("site", "*", "*"), Names("*", "*"))]


# Siblings


def test_series_has_siblings_by_its_service_and_by_its_region() -> None:
    assert siblings(Series("site", "whatsapp", "it/lazio")) == ("whatsapp", "it/lazio")


@pytest.mark.parametrize(
    ("series", "groups"),
    [
        (Series("site", "whatsapp", "*"), ("whatsapp/*", "*/*")),
        (Series("site", "whatsapp", "it/*"), ("whatsapp/*", "*/it/*")),
        (Series("site", "*", "it/lazio"), ("*/*", "*/it/lazio")),
        (Series("site", "*", "*"), ("*/*", "*/*")),
    ],
)
def test_rollup_has_other_rollups_as_siblings_and_nothing_that_it_sums_up(
    series: Series, groups: tuple[str, str]
) -> None:
    assert siblings(series) == groups


# Regions within regions


@pytest.mark.parametrize(
    ("region", "other"),
    [
        ("*", "*"),
        ("*", ""),
        ("*", "it/*"),
        ("it", "it"),
        ("it/*", "it/*"),
        ("it/*", "it/lazio"),
        ("it/*", "it/lazio/roma"),
        ("it/*", "it/lazio/*"),
    ],
)
def test_region_holds_itself_and_what_lies_within(region: str, other: str) -> None:
    assert holds(region, other)


@pytest.mark.parametrize(
    ("region", "other"),
    [
        ("it", "*"),
        ("it", "it/lazio"),
        ("it", "it/*"),
        ("it/*", "*"),
        ("it/*", "it"),
        ("it/*", "italy/lazio"),
        ("it/lazio/*", "it/*"),
        ("", "it"),
    ],
)
def test_region_holds_neither_what_is_wider_nor_what_is_named_alike(region: str, other: str) -> None:
    assert not holds(region, other)

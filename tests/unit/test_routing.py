"""Routes: which destinations an incident's changes go to."""

from __future__ import annotations

import pytest

from detectors.alert import Kind, Severity
from detectors.routing import Route, destinations, matches
from tests.made_alerts import outage, silence

NAMED = ("chat", "mail", "oncall")


def test_without_routes_what_pages_goes_everywhere_and_the_rest_nowhere():
    assert destinations((), outage(severity=Severity.ERROR), named=NAMED) == NAMED
    assert destinations((), outage(severity=Severity.WARNING), named=NAMED) == ()


def test_the_first_route_that_matches_is_the_last_one_looked_at():
    routes = (Route(to=("oncall",), service=("Whats*",)), Route(to=("mail",)))

    assert destinations(routes, outage(), named=NAMED) == ("oncall",)
    assert destinations(routes, outage(service="TIM"), named=NAMED) == ("mail",)


def test_a_route_that_goes_on_lets_the_next_one_match_too():
    routes = (Route(to=("oncall",), severity=(Severity.CRITICAL,), go_on=True), Route(to=("chat", "oncall")))

    assert destinations(routes, outage(), named=NAMED) == ("chat", "oncall")


def test_no_route_that_matches_is_no_destination():
    assert destinations((Route(to=("oncall",), kind=(Kind.REGION,)),), outage(), named=NAMED) == ()


@pytest.mark.parametrize(
    ("pattern", "region", "fits"),
    [
        ("it", "it", True),
        ("it", "it/lazio", False),
        ("it/*", "it/lazio", True),
        ("IT/*", "it/lazio/roma", True),
        ("*", None, True),
        ("i*", None, False),
        ("?", "", False),
    ],
)
def test_patterns_of_regions(pattern: str, region: str | None, fits: bool):
    assert matches(Route(to=("chat",), region=(pattern,)), outage(region=region)) is fits


def test_patterns_of_services_are_compared_without_case():
    assert matches(Route(to=("chat",), service=("WHATS*",)), outage())


def test_of_a_silent_feed_only_the_star_fits():
    assert matches(Route(to=("chat",), service=("*",)), silence())
    assert not matches(Route(to=("chat",), service=("outage*",)), silence())

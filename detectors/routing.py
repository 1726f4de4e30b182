"""Routing: which destinations an incident's changes go to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from detectors.alert import PAGING, Alert, Kind, Severity, place
from detectors.report import MAX_NAME, MAX_REGION, fold

#: A pattern of names or regions, without case.
_Service = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
_Region = Annotated[str, Meta(min_length=1, max_length=MAX_REGION)]


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"go_on": "continue"}):
    """Incidents that match go to these destinations. What a route leaves out matches all.

    The first route that matches is the last one that is looked at, unless it says `continue`.
    """

    to: Annotated[tuple[str, ...], Meta(min_length=1, description="names of destinations")]
    severity: Annotated[tuple[Severity, ...], Meta(description="info, warning, error, critical")] = ()
    kind: Annotated[tuple[Kind, ...], Meta(description="series, service, region, global, feed")] = ()
    service: Annotated[
        tuple[_Service, ...],
        Meta(description="patterns of services: Whats*; * alone is also what spans all services, and a silent feed"),
    ] = ()
    region: Annotated[
        tuple[_Region, ...], Meta(description="patterns of regions: it, it/*; * alone is also what spans all regions")
    ] = ()
    go_on: Annotated[bool, Meta(description="routes below this one are looked at, too")] = False


def matches(route: Route, alert: Alert) -> bool:
    """Whether the route is for this incident."""
    service, region = place(alert)
    return (
        (not route.severity or alert.severity in route.severity)
        and (not route.kind or alert.kind in route.kind)
        and _any_fits(route.service, service)
        and _any_fits(route.region, region)
    )


def _any_fits(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(
        # What spans all of them, or is a feed, has no name that a pattern such as A* could be about.
        pattern == "*" or (not name.startswith("*") and fnmatchcase(name, fold(pattern)))
        for pattern in patterns
    )


def destinations(routes: Sequence[Route], alert: Alert, *, named: Sequence[str]) -> tuple[str, ...]:
    """The destinations that the alert is for, of those that there are, `named`; without any route what pages is for all
    of them."""
    if not routes:
        return tuple(named) if alert.severity in PAGING else ()
    wanted = set(_chosen(routes, alert))
    return tuple(name for name in named if name in wanted)


def _chosen(routes: Sequence[Route], alert: Alert) -> Iterator[str]:
    for route in routes:
        if matches(route, alert):
            yield from route.to
            if not route.go_on:
                return

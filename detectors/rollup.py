"""Rollup: the wider series that a report counts for as well: its service, the regions around it, everything.

A roll-up is a series whose name says what it spans: service `*` is all services, region `*` all regions, and `it/*` all
within `it`, which is more than the reports that say `it` and no more. Reports may not use such names.
"""

from __future__ import annotations

from detectors.series import Names, Series

#: All services, or all regions.
ALL = "*"
_WITHIN = "/*"
#: Regions of more levels than this roll up to the widest ones only: nobody's map has more, and an invented one could.
MOST_LEVELS = 6


def regions_around(region: str) -> list[str]:
    """The regions that hold `region`, widest last: what is around it on each level, then all.

    >>> regions_around("it/lazio/roma"), regions_around("it"), regions_around("")
    (['it/lazio/*', 'it/*', '*'], ['*'], ['*'])
    """
    parts = region.split("/")[:-1][:MOST_LEVELS]
    return [*("/".join(parts[:level]) + _WITHIN for level in range(len(parts), 0, -1)), ALL]


def is_rollup(service: str, region: str) -> bool:
    """Whether a series is one that spans others."""
    return service == ALL or region == ALL or region.endswith(_WITHIN)


def siblings(series: Series) -> tuple[str, str]:
    """By service and by region, the group of series that it shares its curve with and surges together with.

    A roll-up is no sibling of what it sums up.

    >>> siblings(Series("site", "whatsapp", "it")), siblings(Series("site", "*", "it"))
    (('whatsapp', 'it'), ('*/*', '*/it'))
    """
    if is_rollup(series.service, series.region):
        return series.service + _WITHIN, f"{ALL}/{series.region}"
    return series.service, series.region


def rollups(series: Series, names: Names) -> list[tuple[Series, Names]]:
    """The roll-ups that the reports of a series count for, with the names to show.

    Of service `*`, which has the sums over all services, that is its own region as well.

    >>> rollups(Series("site", "whatsapp", "it/lazio"), Names("WhatsApp", "it/Lazio"))[0]
    (Series(source='site', service='whatsapp', region='it/*'), Names(service='WhatsApp', region='it/*'))
    >>> [each.region for each, _ in rollups(Series("site", "*", "it/lazio"), Names("*", "it/Lazio"))]
    ['it/lazio', 'it/*', '*']
    """
    found = [
        (Series(series.source, series.service, region), Names(names.service, shown))
        for region, shown in zip(regions_around(series.region), regions_around(names.region), strict=True)
    ]
    # A region that the reports do not name is none that could be dark.
    return [(series, names), *found] if series.service == ALL and series.region else found


def holds(region: str, other: str) -> bool:
    """Whether `region`, a roll-up or not, holds all of `other`.

    >>> holds("*", "it"), holds("it/*", "it/lazio"), holds("it/*", "it/lazio/*"), holds("it", "it/lazio")
    (True, True, True, False)
    """
    return region in (ALL, other) or (region.endswith(_WITHIN) and other.startswith(region[:-1]))

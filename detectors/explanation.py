"""Explanation: what an incident consists of, and what was there before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from detectors.alert import Contacts, Earlier, Muted, Part, Word, six_digits
from detectors.catalogue import About
from detectors.cells import Cell, Feed, Sums
from detectors.rollup import is_rollup
from detectors.verdict import Scope, within

#: Parts that are told of.
MOST_PARTS = 5


class Beside(NamedTuple):
    """What an alert tells of an incident beyond its own figures.

    regions, services: the top ones within it. about: what the catalogue knows of it. muted: by settings. word: what
    somebody said that leads to this record.
    """

    regions: list[Part]
    services: list[Part]
    earlier: list[Earlier]
    contacts: Contacts | None
    about: About
    muted: Muted | None
    word: Word | None


def top_regions(scope: Scope, cells: Iterable[Cell], started: int) -> list[Part]:
    """The regions within a service's incident, of the cells that the judge knows."""
    inside = _inside(scope, cells)
    return _parts([(cell.names.region, cell.over(started)) for cell in inside if cell.region])


def top_services(scope: Scope, cells: Iterable[Cell], started: int) -> list[Part]:
    """The services within an incident of a region or of everything."""
    sums: dict[str, Sums] = {}
    for cell in _inside(scope, cells):
        sums[cell.names.service] = sums.get(cell.names.service, Sums()).also(cell.over(started))
    return _parts(list(sums.items()))


def top_sources(cell: Cell, started: int) -> list[Part]:
    """The feeds that report on an incident's place."""
    return _parts([(feed.source, feed.over(started)) for feed in cell.feeds])


def top_problems(feeds: Sequence[Feed], started: int) -> list[Part]:
    """What the reports of these feeds name as wrong, since the bucket that holds `started` (ms)."""
    total = 0
    counts: dict[str, int] = {}
    usual: dict[str, float] = {}
    for feed in feeds:
        tally = feed.problems(started)
        total += tally.total
        for problem, count in tally.counts.items():
            counts[problem] = counts.get(problem, 0) + count
        for bucket in feed.buckets:
            if bucket.named is not None:
                # While a service surges, what is usual stands still: any bucket's figure will do.
                usual.update({problem: share for problem, _, share in bucket.named.top})
    top = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:MOST_PARTS]
    return [
        Part(name=problem, share=six_digits(count / total), usual=six_digits(usual.get(problem, 0.0)))
        for problem, count in top
    ]


def _inside(scope: Scope, cells: Iterable[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.feeds and not is_rollup(*cell.scope) and within(cell.scope, scope)]


def _parts(sums: Sequence[tuple[str, Sums]]) -> list[Part]:
    observed = sum(each.observed for _, each in sums)
    expected = sum(each.expected for _, each in sums)
    if not observed:
        return []
    top = sorted(sums, key=lambda each: (-each[1].observed, each[0]))[:MOST_PARTS]
    return [
        Part(
            name=name,
            share=six_digits(each.observed / observed),
            usual=six_digits(each.expected / expected if expected > 0 else 0.0),
        )
        for name, each in top
    ]

"""Comparison: the incidents of two runs over the same reports, side by side.

Episodes of the two runs belong together if they are of one place and overlap in time, from their estimated onset to
their end. One may so belong to several of the other run: a match holds all that hang together.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from detectors.alert import Severity
from detectors.episodes import Episode, Place

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Side(msgspec.Struct, frozen=True):
    """What one run told of a match.

    detected: its first alert, ms. open: how long it was open in all, ms. evidence, severity: the most.
    """

    episodes: tuple[Episode, ...]
    detected: int
    open: int
    evidence: float
    severity: Severity

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Side | None:
        """None of no episodes."""
        if not episodes:
            return None
        return cls(
            episodes=tuple(episodes),
            detected=min(each.detected for each in episodes),
            open=sum(each.until - each.detected for each in episodes),
            evidence=max(each.evidence for each in episodes),
            severity=max((each.severity for each in episodes), key=_RANK.__getitem__),
        )


class Match(msgspec.Struct, frozen=True):
    """Episodes of one place that hang together; one of the sides may be None, never both."""

    place: Place
    a: Side | None
    b: Side | None

    @property
    def first(self) -> Episode:
        """The earliest episode of either side."""
        return min((*(self.a.episodes if self.a else ()), *(self.b.episodes if self.b else ())), key=_by_onset)


class Difference(msgspec.Struct, frozen=True):
    """What b tells otherwise than a: times in ms, b less a."""

    detected: int
    open: int
    evidence: float
    severity: int

    @property
    def none(self) -> bool:
        """Whether the two tell the same."""
        return not (self.detected or self.open or self.evidence or self.severity)


def difference(a: Side, b: Side) -> Difference:
    """severity: steps up, info to critical; the rest as Side."""
    return Difference(
        detected=b.detected - a.detected,
        open=b.open - a.open,
        evidence=b.evidence - a.evidence,
        severity=_RANK[b.severity] - _RANK[a.severity],
    )


def compare(a: Sequence[Episode], b: Sequence[Episode]) -> list[Match]:
    """The matches of two runs in the order of their first onset, then by place."""
    places: dict[Place, tuple[list[Episode], list[Episode]]] = {}
    for side, episodes in enumerate((a, b)):
        for each in episodes:
            places.setdefault(each.place, ([], []))[side].append(each)
    matches = [match for place, sides in places.items() for match in _matches(place, *sides)]
    return sorted(matches, key=lambda match: (match.first.started, match.place))


def _by_onset(each: Episode) -> tuple[int, int]:
    return each.started, each.detected


def _matches(place: Place, a: list[Episode], b: list[Episode]) -> list[Match]:
    """A sweep over the onsets: each episode joins the groups of those of the other run that it overlaps."""
    order = sorted([(each, 0) for each in a] + [(each, 1) for each in b], key=lambda one: (*_by_onset(one[0]), one[1]))
    group: list[int] = []  # union-find: of the episode at each place of `order`, another of its group
    running: tuple[list[int], list[int]] = ([], [])

    def root(index: int) -> int:
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index

    for index, (each, side) in enumerate(order):
        group.append(index)
        others = [other for other in running[1 - side] if order[other][0].until > each.started]
        for other in others:
            group[root(other)] = root(index)
        running[1 - side][:] = others
        running[side].append(index)
    groups: dict[int, tuple[list[Episode], list[Episode]]] = {}
    for index, (each, side) in enumerate(order):
        groups.setdefault(root(index), ([], []))[side].append(each)
    return [Match(place, Side.of(of_a), Side.of(of_b)) for of_a, of_b in groups.values()]

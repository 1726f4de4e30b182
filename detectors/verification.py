"""Verification: incidents beside the outages that are known: found, missed, false, and how long it took.

A label is *found* if an incident that concerns it was open at some time within [start, end); its *delay* is the time
from its start to the first alert of the first such incident, 0 where that was open before. An incident is *false* if it
was open at no time within [start, end + tail) of any label that it concerns. A label's place is its service in its
region and all regions within that; without a region it is the service anywhere. Incidents within that place concern it,
and those that span it or a part of it: of the service in a wider region or everywhere, of all services there, of
everything.

Two kinds of incidents are never false. What another one explains and called nobody stands and falls with that. Of
silent feeds labels do not tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from detectors.alert import Kind
from detectors.episodes import Episode, Place
from detectors.rollup import ALL, holds

#: How long after the end of a label an incident may still be its: reports go on for a while, labels end early. The
#: field has no standard; two hours is what is chosen here.
TAIL_MS: Final = 120 * 60 * 1000


class Label(msgspec.Struct, frozen=True, gc=False):
    """A known outage. service, region: as written; place: folded. start, end: ms since 1970, start < end."""

    service: str
    region: str
    place: Place
    start: int
    end: int

    def covers(self, place: Place) -> bool:
        """Whether `place` lies within the label's.

        >>> Label("WhatsApp", "it", ("whatsapp", "it"), 0, 1).covers(("whatsapp", "it/lazio"))
        True
        """
        service, region = self.place
        if place[0] != service:
            return False
        return not region or place[1] == region or place[1].startswith(region + "/")

    def concerns(self, place: Place) -> bool:
        """Whether an incident of `place`, which may be a roll-up, is one of the label's place or of what spans it.

        >>> label = Label("WhatsApp", "it", ("whatsapp", "it"), 0, 1)
        >>> [label.concerns(place) for place in (("whatsapp", "*"), ("*", "it/lazio"), ("*", "fr"))]
        [True, True, False]
        """
        service, region = self.place
        if place[0] not in (service, ALL):
            return False
        return self.covers((service, place[1])) or holds(place[1], region)


class Found(msgspec.Struct, frozen=True):
    """A label that was found. episode: the first of its place that was open within it. delay: ms, >= 0."""

    label: Label
    episode: Episode
    delay: int


class Verification(msgspec.Struct, frozen=True):
    """What became of the labels and of the incidents.

    found, missed: labels in their order. outside: labels that the run saw no time of: neither found nor missed.
    false: episodes that no label explains, in their order; explained: how many some label does, of those that it may.
    """

    found: list[Found]
    missed: list[Label]
    outside: list[Label]
    false: list[Episode]
    explained: int

    @property
    def median_delay(self) -> float | None:
        """Of the found labels, ms; None where none was."""
        return float(np.median([each.delay for each in self.found])) if self.found else None


def is_judged(each: Episode) -> bool:
    """Whether an episode can be false: labels tell of its kind, and it stands for itself or called somebody."""
    return each.kind is not Kind.FEED and (each.parent is None or each.paged)


class _Times:
    """The episodes of a service as arrays, to ask for those open at some time of a span."""

    def __init__(self, episodes: Sequence[tuple[int, Episode]]) -> None:
        self._episodes = episodes
        self._detected = np.array([each.detected for _, each in episodes], np.int64)
        self._until = np.array([each.until for _, each in episodes], np.int64)

    def open_within(self, start: int, end: int) -> Iterator[tuple[int, Episode]]:
        """Index and episode of those open within [start, end), in their order."""
        for place in np.flatnonzero((self._detected < end) & (self._until > start)).tolist():
            yield self._episodes[place]


def verify(
    labels: Sequence[Label], episodes: Sequence[Episode], *, seen: tuple[int, int] | None, tail_ms: int = TAIL_MS
) -> Verification:
    """Put the episodes, in the order of their first alerts, beside the labels.

    seen: begin and end of what was read, ms; None where nothing was: all labels are outside then.
    """
    labelled = {label.place[0] for label in labels}
    by_service: dict[str, list[tuple[int, Episode]]] = {}
    for index, each in enumerate(episodes):
        for service in labelled if each.place[0] == ALL else (each.place[0],):
            by_service.setdefault(service, []).append((index, each))
    times = {service: _Times(told) for service, told in by_service.items()}
    found: list[Found] = []
    missed: list[Label] = []
    outside: list[Label] = []
    explained: set[int] = set()
    for label in labels:
        first: Episode | None = None
        known = times.get(label.place[0])
        for index, each in known.open_within(label.start, label.end + tail_ms) if known else ():
            if label.concerns(each.place):
                explained.add(index)
                if each.detected < label.end and (first is None or each.detected < first.detected):
                    first = each
        if first is not None:
            found.append(Found(label, first, max(0, first.detected - label.start)))
        elif seen is None or label.end <= seen[0] or label.start >= seen[1]:
            outside.append(label)
        else:
            missed.append(label)
    judged = [(index, each) for index, each in enumerate(episodes) if is_judged(each)]
    false = [each for index, each in judged if index not in explained]
    return Verification(found, missed, outside, false, len(judged) - len(false))

"""Verdict: which few causes explain what surges, by likelihood over the table of services and regions.

A cause covers cells: one cell (a series), a service everywhere or within a region, a region over all services, or
everything. It raises what is expected of its cells by about one factor. Causes are chosen so that the likelihood of
what was observed is highest after a penalty for each, like a prior: a surge in every region of a service is one cause,
though each region may surge by itself; and a cause that covers cells which do not surge has to pay for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.alert import Verdict, six_digits
from detectors.arrays import Flags, Floats
from detectors.rollup import ALL, holds, is_rollup, regions_around

#: Service and region of a series or of a roll-up, see rollup.py.
Scope = tuple[str, str]

#: By what a cause may raise what is expected.
FACTORS: Final = 0.1 * 2.0 ** np.arange(0, 14, 0.5)
#: Cells of one cause are raised by factors that scatter like this around its own, as standard deviation of their logs.
SCATTER: Final = 1.0
#: What is expected is off by so much, beyond what the counts scatter.
OFF: Final = 0.12
#: ... and a cause of many cells raises them by no less than this: all of them may be off by a little.
LEAST_FACTOR: Final = 0.25
#: Nats that a cause has to gain: prior odds against it. A single series is the plainest; ties go to the narrower.
PENALTY: Final = 5.0
WIDE: Final = 1.5
WIDEST: Final = 4.0
#: ... and one that was believed before.
PENALTY_KEPT: Final = 2.5
#: ... and one more that has cells in common with another: that some others are a little high is no second cause.
CROSSING: Final = 8.0
#: ... and a wide one that is new and holds one that was believed: it has to be better by more than a little.
SWALLOWING: Final = 4.0
#: A surge that no cause explains still has one, if the table does not speak against it: so many nats of any cell.
LEAST: Final = 0.5
#: A cell stands out with so many nats of its own.
STANDS_OUT: Final = 3.0
#: A cell that speaks against a cause with so many nats takes no part in it; one with fewer has too little to say.
TAKES_PART: Final = 1.0
#: Kinds of causes that are tried by themselves: each with the plainer ones.
_KINDS: Final = (
    ("series", "service", "region", "global"),
    ("series", "service", "region"),
    ("series", "service"),
    ("series", "region"),
    ("series",),
)
#: Candidates that are weighed at most: those with the most evidence.
CANDIDATES: Final = 150


class Atom(NamedTuple):
    """A cell of the table, or what is left of a roll-up without its cells: observed and expected, and their scatter.

    region or service None: the rest of the service, of the region. variance: of the count where expected is right.
    """

    service: str | None
    region: str | None
    observed: float
    expected: float
    variance: float


def covers(cause: Scope, atom: Atom) -> bool:
    """Whether an atom is within a cause. A rest is within whatever it is the rest of, and wider."""
    service, region = cause
    if atom.service is None:
        return service == ALL and (region == ALL if atom.region is None else holds(region, atom.region))
    if service not in (ALL, atom.service):
        return False
    return region == ALL if atom.region is None else holds(region, atom.region)


def within(inner: Scope, outer: Scope) -> bool:
    """Whether a scope is all within another.

    >>> within(("whatsapp", "it"), ("whatsapp", "*")), within(("*", "it"), ("whatsapp", "*"))
    (True, False)
    """
    return outer[0] in (ALL, inner[0]) and holds(outer[1], inner[1])


def overlap(one: Scope, other: Scope) -> bool:
    """Whether two scopes have cells in common."""
    same = one[0] == other[0] or ALL in (one[0], other[0])
    return same and (holds(one[1], other[1]) or holds(other[1], one[1]))


class Table:
    """The atoms as arrays, and how likely each is under each factor."""

    def __init__(self, atoms: Sequence[Atom], hot: Collection[Scope], known: Collection[Scope]) -> None:
        """hot: what shows a surge by itself. known: what can be a cause."""
        self.atoms = atoms
        observed = np.array([atom.observed for atom in atoms])[:, None]
        expected = np.array([max(atom.expected, 1e-3) for atom in atoms])[:, None]
        variance = np.array([atom.variance for atom in atoms])[:, None]
        beyond = np.maximum(variance - expected, 0.0) + (OFF * expected) ** 2
        size = expected * expected / beyond
        # log-likelihood ratio of two negative binomials of one size, raised against not raised
        alone = observed * np.log1p(FACTORS) - (observed + size) * np.log1p(expected * FACTORS / (size + expected))
        away = (np.log(FACTORS)[:, None] - np.log(FACTORS)) / SCATTER
        # By atom and factor of the cause: the best factor of its own that the atom may have.
        self._nats = (alone[:, :, None] - 0.5 * away * away).max(axis=1)
        self._most = float(np.maximum(self._nats.max(axis=1), 0.0).sum())  # nats if each atom had a cause of its own
        self.candidates = sorted((set(hot) | self._suggested(alone.max(axis=1))) & set(known), key=_narrow_first)
        self._wide = np.array([is_rollup(*cause) for cause in self.candidates], np.bool_)
        covered = [[covers(cause, atom) for atom in atoms] for cause in self.candidates]
        self._covered = np.array(covered, np.bool_).reshape(len(self.candidates), len(atoms))
        #: Which candidates have cells in common.
        self._shares: Flags = np.asarray((self._covered[:, None, :] & self._covered[None, :, :]).any(axis=2))
        self._singles: dict[int, tuple[int, float]] = {}

    def _suggested(self, nats: Floats) -> set[Scope]:
        """Cells that stand out in the table, and what is common to several of them."""
        found: set[Scope] = set()
        common: Counter[Scope] = Counter()
        for atom, stands_out in zip(self.atoms, nats >= STANDS_OUT, strict=True):
            if stands_out and atom.service is not None and atom.region is not None:
                found.add((atom.service, atom.region))
                around = regions_around(atom.region)
                common.update([(atom.service, region) for region in around])
                common.update([(ALL, region) for region in (atom.region, *around)])
        return found | {scope for scope, number in common.items() if number > 1}

    def choose(self, kept: Collection[Scope] = ()) -> dict[Scope, float]:
        """The causes that explain the table best, and the nats that each gains. kept: causes that are known already.

        One is added after the other, the best first. A wide one that was taken early may have kept out several narrow
        ones that are better together: so it is tried without regions, without services, and without each wide one.
        """
        penalty = np.array([_penalty(scope, scope in kept) for scope in self.candidates])
        for number, scope in enumerate(self.candidates):
            if scope not in kept and any(is_rollup(*each) and within(each, scope) for each in kept):
                penalty[number] += SWALLOWING
        tried: set[int] = set()
        chosen: dict[int, int] = {}
        barred: set[int] = set()
        best = -np.inf
        for kinds in _KINDS:
            without = {n for n, cause in enumerate(self.candidates) if _kind(cause) not in kinds}
            other = self._greedy(penalty, without, beat=best)
            score = self._score(other, penalty)
            if score > best:
                chosen, barred, best = other, without, score
        while wide := sorted(each for each in chosen if self._wide[each] and each not in tried):
            tried.add(wide[0])
            other = self._greedy(penalty, barred | {wide[0]}, beat=best)
            score = self._score(other, penalty)
            if score > best:
                chosen, best = other, score
                barred.add(wide[0])
        return {self.candidates[cause]: self._loss(chosen, cause) for cause in chosen}

    def _greedy(
        self,
        penalty: Floats,
        barred: Collection[int],
        begin: Mapping[int, int] | None = None,
        beat: float = -np.inf,
    ) -> dict[int, int]:
        """Causes, each with the number of its factor, those of `begin` and more, without those barred.

        beat: a score; given up where it cannot be reached.
        """
        chosen = dict(begin or {})
        gains: dict[int, tuple[int, float]] = {}
        while self._most - sum(float(penalty[each]) for each in chosen) > beat:
            best = self._best(chosen, gains, penalty, barred)
            if best is None:
                break
            chosen[best[0]] = best[1]
            gains = {each: gain for each, gain in gains.items() if not self._shares[each, best[0]]}
        # A cause that others made needless goes.
        for cause in sorted(chosen, key=lambda each: self._loss(chosen, each) - penalty[each]):
            if self._loss(chosen, cause) < penalty[cause]:
                del chosen[cause]
        return chosen

    def _score(self, chosen: Mapping[int, int], penalty: Floats) -> float:
        """Nats of the causes together, penalties paid."""
        causes = [self.candidates[each] for each in chosen]
        crossings = sum(any(overlap(cause, each) for each in causes[:number]) for number, cause in enumerate(causes))
        paid = sum(float(penalty[each]) for each in chosen) + CROSSING * crossings
        return float(self._explained(chosen)[0].sum()) - paid

    def verdict(self, cause: Scope, chosen: Collection[Scope]) -> Verdict:
        """What speaks for one of the chosen causes."""
        number = self.candidates.index(cause)
        covered = self._covered[number]
        excess = np.array([max(0.0, atom.observed - atom.expected) for atom in self.atoms])
        factor = self._single(number)[0]
        mine = [
            (atom, float(self._nats[n, factor]))
            for n, atom in enumerate(self.atoms)
            if covered[n] and atom.service is not None and atom.region is not None
        ]
        others = sorted((atom for atom, nats in mine if nats <= -TAKES_PART), key=lambda atom: -atom.expected)
        names = dict.fromkeys((atom.service if cause[0] == ALL else atom.region) or "" for atom in others)
        penalty = np.array([_penalty(scope, False) for scope in self.candidates])
        now = {self.candidates.index(each): 0 for each in chosen if each in self.candidates}
        for each in now:
            rest = {other: factor for other, factor in now.items() if other != each}
            now[each] = self._factor(self._explained(rest), each)[0]
        rest = {each: factor for each, factor in now.items() if each != number}
        same = {n for n in range(len(self.candidates)) if (self._covered[n] == covered).all()}
        other = self._greedy(penalty, same, rest)
        instead = sorted((self.candidates[each] for each in other if each not in now), key=str)
        return Verdict(
            explained=six_digits(float(excess[covered].sum() / max(excess.sum(), 1e-9))),
            taking_part=sum(nats > 0.0 for _, nats in mine),
            looked_at=len(mine),
            not_taking_part=list(names)[:10],
            likelier=six_digits((self._score(now, penalty) - self._score(other, penalty)) / float(np.log(10.0))),
            instead=[" in ".join(filter(None, each)) for each in instead[:3]],
        )

    def alone(self, cause: Scope) -> float:
        """Nats of a cause by itself."""
        return self._single(self.candidates.index(cause))[1]

    def _single(self, number: int) -> tuple[int, float]:
        """The best factor of a candidate by itself, and its nats. The judge asks for each several times a tick."""
        found = self._singles.get(number)
        if found is None:
            found = self._factor(self._explained({}), number) if self._covered[number].any() else (0, 0.0)
            self._singles[number] = found
        return found

    def near(self, scope: Scope, known: Collection[Scope]) -> list[Scope]:
        """The candidates that share cells with a scope.

        Not those that share cells with a known cause as well, and gain less than their penalty beyond the known ones:
        they would take the credit for what these explain.
        """
        now = self._under(known)
        found = [cause for cause in self.candidates if overlap(cause, scope)]
        return [
            cause
            for cause in found
            if not any(overlap(cause, each) for each in known)
            or self._factor(now, self.candidates.index(cause))[1] >= _penalty(cause, False)
        ]

    def _under(self, chosen: Collection[Scope]) -> tuple[Floats, Flags]:
        """As `_explained`, of causes by name, each with its best factor by itself."""
        numbers = [self.candidates.index(each) for each in chosen if each in self.candidates]
        return self._explained({each: self._single(each)[0] for each in numbers})

    def likeliest(self, causes: Sequence[Scope], chosen: Collection[Scope]) -> tuple[Scope, float, float]:
        """The one of these candidates that explains most beyond the chosen causes, penalties paid; the first of equals.

        With its nats, and what it would have to gain as a cause that nothing else speaks for.
        """
        now = self._under(chosen)
        added = {cause: self._factor(now, self.candidates.index(cause))[1] for cause in causes}
        best = max(causes, key=lambda cause: added[cause] - _penalty(cause, False))
        crossing = any(overlap(best, each) for each in chosen)
        return best, added[best], _penalty(best, False) + (CROSSING if crossing else 0.0)

    def _explained(self, chosen: Mapping[int, int]) -> tuple[Floats, Flags]:
        """Nats of each atom under the chosen causes (by factor), the best of those that cover it; which are covered."""
        if not chosen:
            return np.zeros(len(self.atoms)), np.zeros(len(self.atoms), np.bool_)
        each = np.where(self._covered[list(chosen)], self._nats.T[list(chosen.values())], -np.inf)
        nats = each.max(axis=0)
        some = np.isfinite(nats)
        nats[~some] = 0.0
        return nats, some

    def _factor(self, now: tuple[Floats, Flags], cause: int) -> tuple[int, float]:
        """The best factor of one cause more than `now`, see `_explained`, and the nats that it adds."""
        covered = self._covered[cause]
        nats, some = now[0][covered], now[1][covered]
        mine = self._nats[covered]
        # What another cause explains is no reason for one more, however well it would fit.
        mine = np.where(some[:, None], nats[:, None], mine)
        gains: NDArray[np.float64] = mine.sum(axis=0) - nats.sum()
        if self._wide[cause]:
            gains[FACTORS < LEAST_FACTOR] = -np.inf
        factor = int(gains.argmax())
        return factor, float(gains[factor])

    def _best(
        self, chosen: Mapping[int, int], gains: dict[int, tuple[int, float]], penalty: Floats, barred: Collection[int]
    ) -> tuple[int, int] | None:
        """The cause that gains most beyond its penalty, and its factor; None where none gains.

        gains: what `_factor` says of causes beyond the chosen ones, as far as it is known; the others are added.
        """
        now = self._explained(chosen)
        best, most = None, 1e-9
        for cause in range(len(self.candidates)):
            if cause in chosen or cause in barred or not self._covered[cause].any():
                continue
            if cause not in gains:
                gains[cause] = self._factor(now, cause) if chosen else self._single(cause)
            factor, gain = gains[cause]
            crossing = any(overlap(self.candidates[each], self.candidates[cause]) for each in chosen)
            gain -= penalty[cause] + (CROSSING if crossing else 0.0)
            if gain > most:
                best, most = (cause, factor), gain
        return best

    def _loss(self, chosen: Mapping[int, int], cause: int) -> float:
        """Nats lost without a cause."""
        rest = {each: factor for each, factor in chosen.items() if each != cause}
        return float(self._explained(chosen)[0].sum() - self._explained(rest)[0].sum())


def _kind(scope: Scope) -> str:
    if not is_rollup(*scope):
        return "series"
    if scope[0] != ALL:
        return "service"
    return "global" if scope[1] == ALL else "region"


def _narrow_first(scope: Scope) -> tuple[object, ...]:
    """Of causes that explain the same the first is taken: a series, a service (everywhere, if that is no more than
    within `it`), a region, everything.
    """
    everywhere = scope[1] == ALL
    return is_rollup(*scope), scope[0] == ALL, everywhere if scope[0] == ALL else not everywhere, scope


def _penalty(scope: Scope, kept: bool) -> float:
    wide = (WIDEST if scope == (ALL, ALL) else WIDE) if is_rollup(*scope) else 0.0
    return (PENALTY_KEPT if kept else PENALTY) + wide

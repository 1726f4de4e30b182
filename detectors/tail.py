"""Tail: how rare a score is, estimated online from the highest scores of each row (peaks over threshold)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, Ints, check_all, grown

WEEK_SECONDS: Final = 604_800.0
#: Scores above the threshold that are no further apart than this are one episode.
EPISODE_SECONDS: Final = 1800

#: The threshold is exceeded in so many buckets a week, in the long run.
OVER_A_WEEK: Final = 25.0
#: ... and in so many buckets in all while a row is young, but in no more than a share of them.
OVER_AT_FIRST: Final = 16.0
OVER_AT_MOST: Final = 0.125
#: The threshold forgets: so many weeks weigh.
THRESHOLD_WEEKS: Final = 2.0
#: So many peaks are kept, none older than this. At OVER_A_WEEK the ring is full after five weeks.
PEAKS: Final = 128
PEAK_WEEKS: Final = 10.0
#: Scores that a row begins with; before, nothing is rare.
START: Final = 64

#: A bucket of an episode moves the threshold, but no more than so many of them: an outage is no habit.
EPISODE_MOVES: Final = 16.0
#: For the same reason a peak counts as if it had at most this evidence: once in a hundred weeks; and if the threshold
#: was exceeded in more than one bucket and for so long, which chance rarely does, once in three weeks.
MOST_LEARNED: Final = 2.0
MOST_LEARNED_OF_OUTAGE: Final = 0.5
OUTAGE_SECONDS: Final = 1200

#: What is known of the shape of tails before any peak: normal distribution, cut. Chosen so that evidence of 0, 1 and 2
#: is exceeded as often as it says within a factor of three, from normal scores to Pareto's with shape 1/4: after four
#: weeks of minutes 0.4 to 1, 1 and 2 to 3 times at 2, which the peaks of a series hardly reach.
SHAPE_MEAN: Final = 0.2
SHAPE_DEVIATION: Final = 0.2
SHAPE_LEAST: Final = -0.2
SHAPE_MOST: Final = 0.5
#: n times the variance of the shape that is estimated from n exponential excesses (Hosking and Wallis 1987).
SHAPE_NOISE: Final = 4.0 / 3.0
#: One shape must have no upper end, so that evidence is finite.
SHAPE_OPEN: Final = 0.01
#: Excesses that the body of the distribution stands for; and the least scale, as a share of the body's.
BODY_EXCESSES: Final = 2.0
BODY_SHARE: Final = 0.1
SCALE_LEAST: Final = 1e-9
#: Gauss-Hermite quadrature of a normal distribution with three nodes, in standard deviations.
NODES: Final = ((-(3.0**0.5), 1.0 / 6.0), (0.0, 2.0 / 3.0), (3.0**0.5, 1.0 / 6.0))
#: A shape nearer to 0 is exponential.
SHAPE_NONE: Final = 1e-6
#: Scores beyond are taken for this, so that sums stay finite.
HUGE: Final = 1e100

FIELDS: Final = (
    "seen",  # scores learned
    "next",  # place of the next peak in the ring
    "threshold",
    "mean",  # of all scores
    "run",  # buckets since the episode began, the first included; 0: no episode
    "quiet",  # ... since its last bucket over the threshold
    "over",  # ... over the threshold in it
    "peak",  # its highest score
    # The fit: changes when a peak comes.
    "origin",  # the least peak kept; what exceeds it is rare
    "excesses",  # peaks above it
    "since",  # value of `seen` from which on they were counted
    "scale",  # mean excess
    "low",  # shapes, one a node
    "middle",
    "high",
)
_AT: Final = {name: row for row, name in enumerate(FIELDS)}
_SHAPES: Final = ("low", "middle", "high")


class TailBank:
    """Evidence of scores, a row a series: log10 of the return period of such a score, in series-weeks of episodes.

    Peaks over a threshold, online: the highest score of each episode over a high running quantile is kept in a ring;
    their excesses over the least of them follow a generalised Pareto distribution, fitted by probability-weighted
    moments, its shape shrunk towards nearly exponential. Evidence is averaged over what the shape may be. All of it
    forgets within weeks; an outage counts as one episode, and as no more than one that comes every three weeks.

    Source: Siffer et al. 2017, Anomaly detection in streams with extreme value theory (KDD); Hosking and Wallis 1987,
    Parameter and quantile estimation for the generalised Pareto distribution (Technometrics 29).

    A step costs the same whatever came before; a row takes 2.2 KB.

    >>> bank = TailBank(bucket_seconds=60)
    >>> bank.add(1)
    >>> for minute in range(1440):
    ...     bank.learn(-np.log1p([-(minute * 0.618034 % 1.0)]))
    >>> usual, rare = bank.evidence(np.array([1.0])), bank.evidence(np.array([90.0]))
    >>> bool(usual[0] < -3), bool(rare[0] > 2)
    (True, True)
    """

    def __init__(self, bucket_seconds: int, lasting_hours: float = 10.0) -> None:
        """lasting_hours: an episode that lasts longer is taken for the new normal."""
        self.rows = 0
        self._week: float = WEEK_SECONDS / bucket_seconds
        self._least: float = -math.log10(self._week)
        self._share = min(OVER_AT_MOST, OVER_A_WEEK / self._week)
        self._gap = max(1.0, EPISODE_SECONDS // bucket_seconds)
        self._outage = max(2.0, OUTAGE_SECONDS / bucket_seconds)
        self._lasting = max(2.0, round(3600.0 * lasting_hours / bucket_seconds))
        self._state: Floats = np.zeros((len(FIELDS), 0))
        self._peaks: Floats = np.zeros((PEAKS, 0))
        self._clocks: Floats = np.zeros((PEAKS, 0))  # `seen` when the peak was kept

    def add(self, rows: int) -> None:
        """Appends rows."""
        self.rows += rows
        self._state = grown(self._state, self.rows)
        self._peaks = grown(self._peaks, self.rows)
        self._clocks = grown(self._clocks, self.rows)

    def __getitem__(self, field: str) -> Floats:
        return self._state[_AT[field], : self.rows]

    @property
    def least(self) -> float:
        """Evidence of what may happen in any bucket."""
        return self._least

    @property
    def seen(self) -> Floats:
        """Scores learned, of every row."""
        return self["seen"].copy()

    def evidence(self, scores: Floats) -> Floats:
        """Evidence of a score of every row, finite; changes no state. A larger score never has less."""
        evidence = np.full(self.rows, self.least)
        scores = np.clip(scores, -HUGE, HUGE)
        rows = np.flatnonzero((scores > self["origin"]) & (self["seen"] >= START))
        if len(rows):
            evidence[rows] = self._evidence(rows, scores[rows])
        return evidence

    def _evidence(self, rows: Ints, scores: Floats) -> Floats:
        """Of scores above the origin."""
        state = self._state[:, rows]
        excess = np.maximum(scores - state[_AT["origin"]], 0.0) / state[_AT["scale"]]
        count, weeks = state[_AT["excesses"]], (state[_AT["seen"]] - state[_AT["since"]]) / self._week
        # How well the scale is known makes the tail heavier: of n exponential excesses it is Pareto with shape 1 / n.
        doubt = 1.0 / np.maximum(count, 1.0)
        most = np.full(len(rows), -np.inf)
        logs = []
        for name, (_, weight) in zip(_SHAPES, NODES, strict=True):
            shape = state[_AT[name]]
            heavy = shape + doubt
            heavy = np.where(np.abs(heavy) < SHAPE_NONE, SHAPE_NONE, heavy)
            inner = np.maximum(heavy * (excess / (1.0 - shape)), 1e-9 - 1.0)
            logs.append(math.log(weight) - np.log1p(inner) / heavy)
            np.maximum(most, logs[-1], out=most)
        total = np.exp(logs[0] - most)
        for log in logs[1:]:
            total += np.exp(log - most)
        # Where no score ever differed, nothing is known of what lies beyond but that it is new.
        known = (count > 0.0) | (state[_AT["scale"]] > 2.0 * SCALE_LEAST * (1.0 + np.abs(state[_AT["origin"]])))
        above = np.where(known, most + np.log(total), 0.0)
        rate = (count + 0.5) / np.maximum(weeks, 1.0 / self._week)
        evidence: Floats = np.maximum(-(above + np.log(rate)) / math.log(10.0), self.least)
        return evidence

    def learn(self, scores: Floats, present: Flags | None = None) -> None:
        """The next bucket of every row, and its score, finite. present: which rows have one; None: all."""
        scores = np.clip(scores, -HUGE, HUGE)
        here = np.ones(self.rows, dtype=np.bool_) if present is None else present
        seen = self["seen"]
        seen += here
        young = here & (seen <= START)
        if young.any():
            self._begin(np.flatnonzero(young), scores)
        here = here & (seen > START)
        threshold, run, quiet, over, peak = (self[name] for name in ("threshold", "run", "quiet", "over", "peak"))
        share = np.clip(OVER_AT_FIRST / np.maximum(seen, 1.0), self._share, OVER_AT_MOST)
        hit = here & (scores > threshold)
        begins = hit & (run == 0.0)
        np.copyto(over, 0.0, where=begins)
        np.copyto(peak, scores, where=hit & (begins | (scores > peak)))
        run += begins | (run > 0.0)
        over += hit
        quiet += 1.0
        np.copyto(quiet, 0.0, where=hit)

        # The threshold: a stochastic approximation of the quantile, in steps of what the tail's scale makes of them.
        lasting = run > self._lasting
        moves = hit & ((over <= EPISODE_MOVES) | lasting)
        weight = np.minimum(seen, THRESHOLD_WEEKS * self._week)
        step = np.where(moves, 1.0, 0.0) - np.where(here & (moves | ~hit), share, 0.0)
        step /= share * np.maximum(weight, 1.0)
        # A young row's threshold climbs, as its share falls.
        climbs = here & (share > self._share) & (share < OVER_AT_MOST)
        step += np.where(climbs, 1.0 / np.maximum(seen, 1.0), 0.0)
        # A new normal may lie at any distance: what the old one's tail was like says nothing of it.
        far = np.where(hit & lasting, scores - threshold, 0.0)
        threshold += np.maximum(self["scale"], far) * step
        mean = self["mean"]
        gain = np.where(here, 1.0 / np.maximum(weight, 1.0), 0.0)
        mean += gain * (np.minimum(scores, threshold + self["scale"]) - mean)
        np.maximum(threshold, mean, out=threshold, where=here)

        gap = np.clip(np.floor(0.25 / share), 1.0, self._gap)
        ends = (run > 0.0) & (quiet >= gap)
        keep = ends | (hit & lasting & (np.mod(run, self._lasting) == 1.0))
        if keep.any():
            self._keep(np.flatnonzero(keep))
            np.copyto(peak, scores, where=keep)
            np.copyto(run, 0.0, where=ends)

    def skip(self, buckets: int) -> None:
        """So many buckets are missing for all rows."""
        if buckets > 0 and self.rows:
            none = np.zeros(self.rows, dtype=np.bool_)
            for _ in range(min(buckets, int(self._gap))):
                self.learn(np.zeros(self.rows), none)

    def _begin(self, rows: Ints, scores: Floats) -> None:
        """The first scores of rows: all are kept, and make the threshold once there are START of them."""
        seen = self["seen"][rows]
        place = seen.astype(np.int64) - 1
        self._peaks[place, rows] = scores[rows]
        self._clocks[place, rows] = seen
        rows = rows[seen == START]
        if len(rows):
            first = np.sort(np.ascontiguousarray(self._peaks[:START, rows].T), axis=1)
            self["threshold"][rows] = first[:, START - 1 - int(OVER_AT_MOST * START)]
            self["mean"][rows] = first.mean(axis=1)
            self["next"][rows] = START
            self._fit(rows)

    def _keep(self, rows: Ints) -> None:
        """The episodes of rows are over: keeps their peaks, and fits the tails anew."""
        peaks = self["peak"][rows]
        known = peaks > self["origin"][rows]
        most = np.where(self["over"][rows] >= self._outage, MOST_LEARNED_OF_OUTAGE, MOST_LEARNED)
        too_rare = np.flatnonzero(known)[self._evidence(rows[known], peaks[known]) > most[known]]
        if len(too_rare):
            peaks[too_rare] = self._score_of(rows[too_rare], peaks[too_rare], most[too_rare])
        place = self["next"][rows].astype(np.int64)
        self._peaks[place, rows] = peaks
        self._clocks[place, rows] = self["seen"][rows]
        self["next"][rows] = (place + 1) % PEAKS
        self._fit(rows)

    def _score_of(self, rows: Ints, most: Floats, evidence: Floats) -> Floats:
        """The score of such evidence, by bisection between the origin and `most`."""
        low, high = self["origin"][rows].copy(), most.copy()
        for _ in range(60):
            middle = 0.5 * low + 0.5 * high
            above = self._evidence(rows, middle) > evidence
            np.copyto(high, middle, where=above)
            np.copyto(low, middle, where=~above)
        return low

    def _fit(self, rows: Ints) -> None:
        """Fits the tails of rows to their peaks."""
        seen, threshold = self["seen"][rows], self["threshold"][rows]
        # A row of its own in memory for each tail: sums do then not depend on how many are fitted together.
        peaks = np.ascontiguousarray(self._peaks[:, rows].T)
        clocks = np.ascontiguousarray(self._clocks[:, rows].T)
        begin = np.maximum(seen - PEAK_WEEKS * self._week, 0.0)[:, None]
        held = (clocks > begin) & (peaks >= threshold[:, None])
        origin = np.where(held, peaks, np.inf).min(axis=1)
        none = ~np.isfinite(origin)
        origin[none] = threshold[none]
        above = held & (peaks > origin[:, None])
        excess = np.sort(np.where(above, peaks - origin[:, None], 0.0), axis=1)
        count = above.sum(axis=1).astype(np.float64)
        n = np.maximum(count, 1.0)

        place = np.arange(1.0, PEAKS + 1.0)[None, :] - (PEAKS - n[:, None])
        total = excess.sum(axis=1)
        first = total / n
        second = (excess * np.clip(1.0 - (place - 0.35) / n[:, None], 0.0, 1.0)).sum(axis=1) / n
        spread = first - 2.0 * second
        shape = np.where(spread > 0.0, 2.0 - first / np.where(spread > 0.0, spread, 1.0), SHAPE_LEAST)
        shape = np.clip(shape, -1.0, 1.0)
        noise = SHAPE_NOISE / n
        trust = np.where(count > 0.0, SHAPE_DEVIATION**2 / (SHAPE_DEVIATION**2 + noise), 0.0)
        shape = SHAPE_MEAN + trust * (shape - SHAPE_MEAN)
        deviation = SHAPE_DEVIATION * np.sqrt(1.0 - trust)
        for name, (node, _) in zip(_SHAPES, NODES, strict=True):
            self[name][rows] = np.clip(shape + node * deviation, SHAPE_LEAST, SHAPE_MOST)
        self["high"][rows] = np.maximum(self["high"][rows], SHAPE_OPEN)

        share = np.clip(OVER_AT_FIRST / seen, self._share, OVER_AT_MOST)
        body = np.maximum(origin - self["mean"][rows], 0.0) / -np.log(share)
        scale = (total + BODY_EXCESSES * body) / (count + BODY_EXCESSES)
        least = np.maximum(BODY_SHARE * body, SCALE_LEAST * (1.0 + np.abs(origin)))
        self["scale"][rows] = np.maximum(scale, least)
        self["origin"][rows] = origin
        self["excesses"][rows] = count
        # A ring that went round knows nothing of what came before its oldest peak.
        oldest = np.take_along_axis(clocks, self["next"][rows].astype(np.int64)[:, None], axis=1)[:, 0]
        self["since"][rows] = np.maximum(oldest, begin[:, 0])

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies: `restore` goes on from it bit for bit."""
        rows = self.rows
        return {
            "state": self._state[:, :rows].copy(),
            "peaks": self._peaks[:, :rows].copy(),
            "clocks": self._clocks[:, :rows].copy(),
        }

    @classmethod
    def restore(cls, bucket_seconds: int, lasting_hours: float, rows: int, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The bank of `rows` rows whose `arrays` these are. ValueError where they do not fit."""
        bank = cls(bucket_seconds, lasting_hours)
        bank.add(rows)
        check_all(arrays, bank.arrays(), "a bank of tails")
        bank._state[:, :rows] = arrays["state"]
        bank._peaks[:, :rows] = arrays["peaks"]
        bank._clocks[:, :rows] = arrays["clocks"]
        place = bank["next"]
        if ((place != np.floor(place)) | (place < 0) | (place >= PEAKS)).any():
            raise ValueError("array state points outside of the ring of peaks")
        if (bank["scale"][bank["seen"] >= START] <= 0.0).any() or (bank["seen"] < 0.0).any():
            raise ValueError("array state has a tail without a scale, or a negative number of scores")
        return bank

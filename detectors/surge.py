"""Evidence of a surge, in closed and in open buckets; River's interface for one series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from river import base as river_base

from detectors.arrays import grown
from detectors.baseline import MINUTE_MS, Baseline, Flags, Floats, Ints, Prediction
from detectors.series import Series

# What a surge may look like: the expected rate times so much, or so many reports a minute on top.
TIMES: Final = (1.5, 2.0, 3.0, 6.0, 15.0, 50.0)
PLUS: Final = (0.5, 1.5, 4.0, 12.0)
SHAPES: Final = len(TIMES) + len(PLUS)

#: The most that one bucket may prove, nats: it may be one person posting forty times. Two must agree.
CAP: Final = 4.5
CAP_AFTER_GAP: Final = 3.0
#: More than one person posts: this many reports at once, and twice the expected, prove more; but no more than this.
BURST: Final = 40.0
STEEP_GAIN: Final = 20.0
STEEP_MOST: Final = 10.0
#: Evidence is for a surge that goes on now: it fades so, a minute.
FORGET: Final = 0.01

#: From this many nats on the counts are taken for a surge and kept out of the level and the season.
HOT: Final = 9.0
#: From this many on it is watched whether the counts have come back.
WATCH: Final = 6.0
#: So many nats for "back to normal" against "half of the surge goes on" end a surge, which then drains, a minute.
BACK: Final = 3.0
BACK_CAP: Final = 1.5
BACK_MOST: Final = 6.0
DRAIN: Final = 0.5
#: While hot the drift follows only counts that are no further than this from the expected.
FOLLOW: Final = 1.6

# Evidence of a CUSUM, measured on simulated feeds without surges, of 1 report a week to 1000 a minute.
EVIDENCE_PER_NAT: Final = 0.45
EVIDENCE_OF_NONE: Final = -3.1
EVIDENCE_PER_DECADE: Final = 1.0  # of the bucket's length


class SurgeRule(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """What the surge detector may assume about the feed."""

    shift_hours: Annotated[
        float, Meta(ge=1, le=168, description="a surge that lasts longer is taken for the new normal, hours")
    ] = 10.0
    warming_hours: Annotated[
        float, Meta(ge=0, le=336, description="a series seen for less is reported as warming up, hours")
    ] = 48.0


class Scores(msgspec.Struct, frozen=True):
    """What a bank says of a bucket, a row a series.

    evidence: log10 of the return period in series-weeks of what was seen, without a ceiling; may be negative.
    expected, low, high: expected count and its 95 % interval; of the part of the bucket seen so far.
    onset: begin of the surge, ms; 0 where there is none. warming: too young to be trusted fully.
    """

    evidence: Floats
    expected: Floats
    low: Floats
    high: Floats
    onset: Ints
    warming: Flags


class SurgeBank:
    """All series of one source in a partition: arrays with a row a series.

    For each row and each shape of a surge, a CUSUM of the negative-binomial log-likelihood ratio, surge against none;
    the largest of them leads. Evidence is its return period.
    """

    def __init__(self, rule: SurgeRule, bucket_seconds: int) -> None:
        self.rule = rule
        self.bucket_seconds = bucket_seconds
        self.series: list[Series] = []
        self._minutes = bucket_seconds / 60.0
        self._bucket_ms = bucket_seconds * 1000
        self._baseline = Baseline(bucket_seconds)
        self._cusum: Floats = np.zeros((SHAPES, 0))
        self._onset: Ints = np.zeros((SHAPES, 0), dtype=np.int64)
        # Per row: minutes hot, nats for "back to normal", mean count of the last quarter of an hour.
        self._watch: Floats = np.zeros((3, 0))
        # Buckets shorter than a minute share a minute's cap: what is left of it.
        self._left: Floats = np.zeros((SHAPES if bucket_seconds < 60 else 0, 0))
        self._keep = float(np.exp(-FORGET * self._minutes))
        self._running_gain = float(-np.expm1(-self._minutes / 15.0))
        self._bind()

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows."""
        if not series:
            return
        first, rows = len(self.series), len(self.series) + len(series)
        self.series.extend(series)
        self._baseline.add(series)
        self._cusum = grown(self._cusum, rows)
        self._onset = grown(self._onset, rows)
        self._watch = grown(self._watch, rows)
        self._left = grown(self._left, rows)
        self._left[:, first:rows] = CAP
        self._bind()

    def _bind(self) -> None:
        n = len(self.series)
        self._c = self._cusum[:, :n]
        self._o = self._onset[:, :n]
        self._hot_minutes, self._back, self._running = self._watch[:, :n]
        self._allowance = self._left[:, :n]
        self._gain = np.zeros((SHAPES, n))
        self._gain[: len(TIMES)] = np.log(TIMES)[:, None]
        self._log = np.zeros((SHAPES, n))
        self._step = np.zeros((SHAPES, n))
        self._gain_of = -1
        self._row = np.arange(n)

    # ---- the steps of a bank

    def close(self, start: int, counts: NDArray[np.int64]) -> Scores:
        """The bucket from `start` (ms) of every row: its count, -1 where missing. Buckets come one after the other."""
        baseline = self._baseline
        baseline.refresh(start)
        p = baseline.predict(start)
        x, missing = _known(counts)
        step = self._steps(p, x, 1.0, missing)
        c = self._c
        np.copyto(self._o, start, where=c == 0.0)
        c *= self._keep
        if missing is not None:
            c[c < 1e-6] = 0.0
        c += step
        np.maximum(c, 0.0, out=c)
        if len(self._left):
            allowance = self._allowance
            allowance += CAP * self._minutes
            np.minimum(allowance, CAP, out=allowance)
            np.maximum(step, 0.0, out=step)
            allowance -= step
            np.maximum(allowance, 0.0, out=allowance)
        self._end_surges(p, x, missing)
        lead, nats = self._lead(c)
        scores = self._scores(p, 1.0, nats, np.where(nats > 0.0, self._o[lead, self._row], 0))
        self._learn(p, x, missing, nats)
        return scores

    def peek(self, start: int, fraction: float, counts: NDArray[np.int64]) -> Scores:
        """The open bucket from `start` after `fraction` of it, in (0, 1], and its counts so far; changes no state."""
        p = self._baseline.predict(start)
        x, missing = _known(counts)
        c = self._steps(p, x, fraction, missing)
        c += self._c * self._keep**fraction
        np.maximum(c, 0.0, out=c)
        lead, nats = self._lead(c)
        since = np.where(self._c[lead, self._row] > 0.0, self._o[lead, self._row], start)
        return self._scores(p, fraction, nats, np.where(nats > 0.0, since, 0))

    def skip(self, start: int, until: int) -> None:
        """The buckets from `start` to `until` (ms) are missing for all rows."""
        if until <= start:
            return
        minutes = (until - start) / MINUTE_MS
        self._c *= np.exp(-min(FORGET * minutes, 50.0))
        self._c[self._c < 1e-6] = 0.0
        self._hot_minutes -= np.minimum(self._hot_minutes, 2.0 * minutes)
        self._allowance[:] = CAP
        self._baseline.skip(start, until)
        self._gain_of = -1

    def expected(self, start: int) -> Floats:
        """Expected count of every row in the bucket from `start`, as far as is known now; changes no state."""
        return self._baseline.predict(start).mean.copy()

    # ---- parts of a step

    def _steps(self, p: Prediction, x: Floats, fraction: float, missing: Flags | None) -> Floats:
        """Nats by which the counts speak for each shape of a surge, capped; scratch space of the bank."""
        null, size = p.null, p.size
        shapes = len(TIMES)
        if self._gain_of != p.start:
            ratio = self._gain[shapes:]
            np.divide((np.array(PLUS) * self._minutes)[:, None], null, out=ratio)
            ratio += 1.0
            np.log(ratio, out=ratio)
            self._gain_of = p.start
        log, step = self._log, self._step
        part = null * fraction
        spread = part + size
        # log of (size + surge) / (size + null): the surge's rate less the null's, over size + null
        np.multiply(part, (np.array(TIMES) - 1.0)[:, None], out=log[:shapes])
        log[shapes:] = (np.array(PLUS) * self._minutes * fraction)[:, None]
        log /= spread
        log += 1.0
        np.log(log, out=log)
        log *= x + size
        np.multiply(self._gain, x, out=step)
        step -= log

        cap: Any = self._baseline.trust * CAP
        if self._baseline.gaps:
            np.copyto(cap, self._baseline.trust * CAP_AFTER_GAP, where=self._baseline["backlog"] > 0.0)
        if len(self._left):
            cap = np.minimum(cap, np.minimum(self._allowance + CAP * self._minutes * fraction, CAP))
        if len(x) and x.max() > BURST:
            steep = (x - part) / (2.0 * part + BURST)
            np.maximum(steep, 1.0, out=steep)
            np.log(steep, out=steep)
            steep *= STEEP_GAIN
            np.minimum(steep, STEEP_MOST, out=steep)
            steep *= self._baseline.trust
            cap = cap + steep
        np.minimum(step, cap, out=step)
        if missing is not None:
            step[:, missing] = 0.0
        return step

    def _lead(self, c: Floats) -> tuple[Ints, Floats]:
        """The shape with the most evidence, and its nats."""
        lead = c.argmax(axis=0)
        return lead, c[lead, self._row]

    def _end_surges(self, p: Prediction, x: Floats, missing: Flags | None) -> None:
        """Lets go of surges whose counts have come back."""
        self._running += (x - self._running) * self._running_gain
        np.maximum(self._running, 1e-9, out=self._running)
        watched = self._c.max(axis=0) > WATCH
        if missing is not None:
            watched &= ~missing
        rows = np.flatnonzero(watched)
        if len(rows) == 0:
            if missing is None:
                self._back[:] = 0.0
            return
        null, size, seen = p.null[rows], p.size[rows], x[rows]
        half = np.maximum(null + 0.5 * (self._running[rows] - null), 1.25 * null)
        against = seen * np.log(half / null) - (seen + size) * np.log((size + half) / (size + null))
        most = BACK_CAP * min(1.0, self._minutes) if self._minutes < 5.0 else BACK
        back = np.clip(self._back[rows] + np.clip(-against, -CAP, most), 0.0, BACK_MOST)
        self._back[:] = 0.0
        self._back[rows] = back
        ended = rows[back >= BACK]
        if len(ended):
            self._c[:, ended] *= float(np.exp(-DRAIN * self._minutes))

    def _learn(self, p: Prediction, x: Floats, missing: Flags | None, nats: Floats) -> None:
        """Hands the bucket to the baseline, but for what is a surge."""
        minutes, hot = self._minutes, nats > HOT
        if not hot.any() and missing is None and not self._hot_minutes.any():
            self._baseline.learn(p, x, None, None, None)
            return
        present = np.ones(len(x), dtype=np.bool_) if missing is None else ~missing
        counted = self._hot_minutes + np.where(hot, minutes, -2.0 * minutes)
        self._hot_minutes[:] = np.where(present, np.maximum(counted, 0.0), self._hot_minutes)
        shifted = self._hot_minutes > 60.0 * self.rule.shift_hours
        if shifted.any():
            self._baseline.relearn(shifted)
        few = 0.3 * minutes
        follow = present & (~hot | (self._running + few < FOLLOW * (p.mean + few)))
        self._baseline.learn(p, x, missing, present & (~hot | shifted), follow)

    def _scores(self, p: Prediction, fraction: float, nats: Floats, onset: Ints) -> Scores:
        expected = p.mean * fraction
        low, high = interval(expected, p.size)
        warming = self._baseline["seen"] < 60.0 * self.rule.warming_hours
        return Scores(evidence(nats, self._minutes), expected, low, high, onset, warming)

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies: `restore` goes on from it bit for bit."""
        return {
            **self._baseline.arrays(),
            "cusum": self._c.copy(),
            "onset": self._o.copy(),
            "watch": self._watch[:, : len(self.series)].copy(),
            "allowance": self._allowance.copy(),
        }

    @classmethod
    def restore(
        cls, rule: SurgeRule, bucket_seconds: int, series: Sequence[Series], arrays: Mapping[str, NDArray[Any]]
    ) -> Self:
        """The bank whose `arrays` these are. ValueError where they do not fit the series or the bucket."""
        bank = cls(rule, bucket_seconds)
        bank.add(series)
        mine = bank.arrays()
        if set(mine) != set(arrays):
            raise ValueError(f"arrays are {sorted(arrays)}, but a bank has {sorted(mine)}")
        for name, array in mine.items():
            check_like(name, arrays[name], array)
        bank._baseline.load(arrays)
        bank._c[:] = arrays["cusum"]
        bank._o[:] = arrays["onset"]
        bank._watch[:, : len(series)] = arrays["watch"]
        bank._allowance[:] = arrays["allowance"]
        return bank


def evidence(nats: Floats, bucket_minutes: float) -> Floats:
    """log10 of the return period, in series-weeks, of a CUSUM that rises to `nats`; fewer buckets rise more rarely."""
    return nats * EVIDENCE_PER_NAT + (EVIDENCE_OF_NONE + EVIDENCE_PER_DECADE * float(np.log10(bucket_minutes)))


def interval(mean: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Bounds that a negative-binomial count stays within in 95 % of cases, each a whole number.

    By the transform that makes its variance constant, 2 sqrt(size) asinh(sqrt(count / size)): right to one or so.

    >>> low, high = interval(np.array([0.1, 4.0, 100.0]), np.array([1e6, 1e6, 1e6]))
    >>> low.tolist(), high.tolist()
    ([0.0, 1.0, 81.0], [1.0, 8.0, 120.0])
    """
    reach = 0.98 / np.sqrt(size)
    part = mean / size
    middle, side = np.sqrt(part) * np.cosh(reach), np.sqrt(part + 1.0) * np.sinh(reach)
    low, high = np.maximum(middle - side, 0.0), middle + side
    return np.floor(low * low * size), np.floor(high * high * size)


def check_like(name: str, array: NDArray[Any], like: NDArray[Any]) -> None:
    """ValueError unless `array` has the shape and type of `like` and finite numbers."""
    if array.shape != like.shape or array.dtype != like.dtype:
        raise ValueError(f"array {name} is {array.dtype}{array.shape}, these series need {like.dtype}{like.shape}")
    if array.dtype == np.float64 and not np.isfinite(array).all():
        raise ValueError(f"array {name} has numbers that are not finite")


def _known(counts: NDArray[np.int64]) -> tuple[Floats, Flags | None]:
    """Counts as floats, 0 where missing; and which are missing, None if none are."""
    x = counts.astype(np.float64)
    if len(x) == 0 or counts.min() >= 0:
        return x, None
    np.maximum(x, 0.0, out=x)
    return x, counts < 0


class SurgeDetector(river_base.SupervisedAnomalyDetector):  # type: ignore[misc]
    """The surge detector for one series in River's interface: a view of a bank of one.

    x = {"start": begin of the bucket, ms since 1970 or a datetime}; y = its count. Buckets that were passed over are
    missing, not zero; a y of None is missing, too. Without a start (x = {} or None) it is the bucket after the last
    one; without any before, the first of 1970. Other features are ignored.

    >>> detector = SurgeDetector(bucket_seconds=60)
    >>> for minute in range(180):
    ...     detector.learn_one({"start": minute * 60_000}, 4)
    >>> usual, much = (detector.score_one({"start": 180 * 60_000}, count) for count in (5, 400))
    >>> usual < 0 < 2 < much
    True
    """

    def __init__(self, bucket_seconds: int = 60, shift_hours: float = 10.0, warming_hours: float = 48.0) -> None:
        self.bucket_seconds = bucket_seconds
        self.shift_hours = shift_hours
        self.warming_hours = warming_hours
        self._bank = SurgeBank(SurgeRule(shift_hours=shift_hours, warming_hours=warming_hours), bucket_seconds)
        self._bank.add([Series("", "", "")])
        self._end: int | None = None

    # River's Pipeline passes `y` on to a score_one only if that takes any keyword.
    def score_one(self, x: Mapping[str, Any] | None, y: float | None, **_: object) -> float:
        """Evidence of a surge if the bucket has `y` reports: log10 of its return period in series-weeks."""
        return float(self._bank.peek(self._start(x), 1.0, _count(y)).evidence[0])

    def learn_one(self, x: Mapping[str, Any] | None, y: float | None) -> None:
        """Closes the bucket with `y` reports. ValueError if it is not later than the one before."""
        start = self._start(x)
        if self._end is not None and start < self._end:
            raise ValueError(f"bucket {start} begins before {self._end}, the end of the last one; give them in order")
        if self._end is not None:
            self._bank.skip(self._end, start)
        self._bank.close(start, _count(y))
        self._end = start + self.bucket_seconds * 1000

    def _start(self, x: Mapping[str, Any] | None) -> int:
        start = x.get("start") if x else None
        if start is None:
            return self._end or 0
        at = round(start.timestamp() * 1000) if isinstance(start, datetime) else int(start)
        return at - at % (self.bucket_seconds * 1000)

    # A bank's arrays are views of each other, which pickle and deepcopy would tear apart.
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bank": self._bank.arrays()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        rule = SurgeRule(shift_hours=self.shift_hours, warming_hours=self.warming_hours)
        self._bank = SurgeBank.restore(rule, self.bucket_seconds, [Series("", "", "")], state["_bank"])


def _count(y: float | None) -> Ints:
    return np.array([-1 if y is None else round(y)], dtype=np.int64)

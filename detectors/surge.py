"""Evidence of a surge, in closed and in open buckets: the bank of the default detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, NamedTuple, Protocol, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, Ints, Numbers, check_all, either, exact_sums, grown
from detectors.baseline import MINUTE_MS, Baseline, Prediction
from detectors.calibration import Calibration
from detectors.excess import BLOCK_MINUTES, Excess
from detectors.habit import Habit
from detectors.local_time import by_region, zone
from detectors.rollup import ALL
from detectors.series import Series

# What a surge may look like: the expected rate times so much, or so many reports a minute on top.
TIMES: Final = (1.5, 2.0, 3.0, 6.0, 15.0, 50.0)
PLUS: Final = (0.5, 1.5, 4.0, 12.0)
SHAPES: Final = len(TIMES) + len(PLUS)
_MORE: Final = np.array(TIMES)[:, None] - 1.0
_LOG_TIMES: Final = np.log(TIMES)[:, None]

#: The most that one bucket may prove, nats: it may be one person posting forty times. Two must agree.
CAP: Final = 4.5
CAP_AFTER_GAP: Final = 3.0
#: More than one person posts: this many reports at once, and twice the expected, prove more; but no more than this.
BURST: Final = 40.0
STEEP_GAIN: Final = 25.0
STEEP_MOST: Final = 18.0
#: Evidence is for a surge that goes on now: it fades so, a minute.
FORGET: Final = 0.01

#: From this many nats on the counts are taken for a surge and kept out of the level and the season.
HOT: Final = 9.0
#: A hot series whose last minutes are no more than this times the expected drains: a chance run, or wandering.
CALM: Final = 1.3
CALM_DRAIN: Final = 0.05
#: From this many on it is watched whether the counts have come back.
WATCH: Final = 6.0
#: So many nats for "back to normal" against "half of the surge goes on" end a surge, which then drains, a minute.
BACK: Final = 3.0
BACK_CAP: Final = 1.5
BACK_MOST: Final = 6.0
DRAIN: Final = 0.5
#: The mean of the last minutes follows in so many.
RUNNING_MINUTES: Final = 10.0
#: A few reports a minute are no surge however few are expected.
FEW: Final = 0.3
#: While hot the drift follows only counts that are no further than this from the expected.
FOLLOW: Final = 1.6

# What the excess line adds, nats: so much a unit of height above the floor, in full from this many nats on.
EXCESS_GAIN: Final = 20.0
EXCESS_FLOOR: Final = 0.55
EXCESS_NATS: Final = 4.0

# What other series of the service or of the region add, nats, when they surge too.
SIBLINGS: Final = 6.0
#: One sibling counts for no more than this, nats; from SIBLINGS_FROM in the mean on they add, in full SPAN above it.
SIBLING_MOST: Final = 6.0
SIBLINGS_FROM: Final = 1.7
SIBLINGS_SPAN: Final = 1.5
SIBLINGS_LEAST: Final = 4
#: In full for a row that shows this itself, nats.
SIBLINGS_NATS: Final = 3.0

#: Rows handled at once: what a step needs then stays in the processor's cache.
BLOCK_ROWS: Final = 4096


class SurgeRule(msgspec.Struct, frozen=True, kw_only=True):
    """What the surge detector may assume about the feed. ValueError for a time zone that does not exist."""

    shift_hours: Annotated[
        float, Meta(ge=1, le=168, description="a surge that lasts longer is taken for the new normal, hours")
    ] = 10.0
    warming_hours: Annotated[
        float, Meta(ge=0, le=336, description="a series seen for less is reported as warming up, hours")
    ] = 48.0
    time_zones: Annotated[
        dict[str, str],
        Meta(description='time zone by region, for all within it too: `{ it = "Europe/Rome" }`; others follow UTC'),
    ] = {}

    def __post_init__(self) -> None:
        for name in self.time_zones.values():
            zone(name)


class Bounds(Protocol):
    """Gives the ends of the 95 % interval of what is expected, of all rows or of some."""

    def __call__(self, *, rows: Ints | slice = ...) -> tuple[Floats, Floats]: ...


class Scores(msgspec.Struct, frozen=True):
    """What a bank says of a bucket, a row a series.

    evidence: log10 of the return period in series-weeks of what was seen, without a ceiling; may be negative.
    expected: expected count of the part of the bucket seen so far. bounds: gives the ends of its 95 % interval, worked
    out when they are asked for. onset: begin of the surge, ms; 0 where there is none. warming: too young to be trusted
    fully.
    """

    evidence: Floats
    expected: Floats
    bounds: Bounds
    onset: Ints
    warming: Flags


class SurgeBank:
    """All series of one source in a partition: arrays with a row a series.

    For each row and each shape of a surge, a CUSUM of the negative-binomial log-likelihood ratio, surge against none;
    the largest of them leads. What stays high for long and what siblings show adds to it. Evidence is its return
    period.
    """

    def __init__(self, rule: SurgeRule, bucket_seconds: int, holidays: Mapping[str, str] = {}) -> None:
        """holidays: country or subdivision by region, whose public holidays are heeded; see `public_holidays`."""
        self.rule = rule
        self.bucket_seconds = bucket_seconds
        self.series: list[Series] = []
        self._minutes = bucket_seconds / 60.0
        self._bucket_ms = bucket_seconds * 1000
        self._plus = np.array(PLUS)[:, None] * self._minutes
        self._baseline = Baseline(bucket_seconds, by_region(rule.time_zones), by_region(holidays))
        # Few long blocks say no more than the CUSUMs.
        self._excess = Excess(bucket_seconds) if self._minutes <= BLOCK_MINUTES else None
        self._cusum: NDArray[np.float32] = np.zeros((SHAPES, 0), dtype=np.float32)
        # Bucket in which each CUSUM left zero: 32 bits last until the year 2650 in buckets of ten seconds.
        self._onset: NDArray[np.int32] = np.zeros((SHAPES, 0), dtype=np.int32)
        # Per row: minutes hot, nats for "back to normal", mean count and mean expected count of the last minutes.
        self._watch: Floats = np.zeros((4, 0))
        # Buckets shorter than a minute share a minute's cap: what is left of it.
        self._left: NDArray[np.float32] = np.zeros((SHAPES if bucket_seconds < 60 else 0, 0), dtype=np.float32)
        # Whether one bucket may prove more than CAP. Over all services it may be one feed's backlog, which shows in its
        # own series alone.
        self._sudden: Flags = np.zeros(0, np.bool_)
        self._keep = float(np.exp(-FORGET * self._minutes))
        self._running_gain = float(-np.expm1(-self._minutes / RUNNING_MINUTES))
        self._habit = Habit(bucket_seconds)
        self._calibration = Calibration(bucket_seconds)

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows."""
        if not series:
            return
        first, rows = len(self.series), len(self.series) + len(series)
        self.series.extend(series)
        self._baseline.add(series)
        self._sudden = np.concatenate([self._sudden, np.array([one.service != ALL for one in series], np.bool_)])
        if self._excess is not None:
            self._excess.add(rows)
        self._habit.add(rows)
        self._calibration.add(rows)
        self._cusum = grown(self._cusum, rows)
        self._onset = grown(self._onset, rows)
        self._watch = grown(self._watch, rows)
        self._left = grown(self._left, rows)
        self._left[:, first:rows] = CAP

    def _blocks(self) -> Iterator[slice]:
        rows = len(self.series)
        for begin in range(0, rows, BLOCK_ROWS):
            yield slice(begin, min(begin + BLOCK_ROWS, rows))

    # ---- the steps of a bank

    def close(self, start: int, counts: NDArray[np.int64], resting: Flags | None = None) -> Scores:
        """The bucket from `start` (ms) of every row: its count, -1 where missing. Buckets come one after the other.

        resting: rows whose count is scored, but teaches nothing; None: none. `wake` ends it.
        """
        baseline, excess = self._baseline, self._excess
        baseline.refresh(start)
        parts: list[_Part] = []
        holiday: Floats | None = None
        gap = False
        for rows in self._blocks():
            x, missing = _known(counts[rows])
            rest = None if resting is None else resting[rows]
            p = baseline.predict(start, rows)
            nats, lead = self._raise(start, rows, p, x, missing)
            if excess is not None:
                excess.take(rows, x, baseline.slow(p, rows), missing)
            onset = self._onset[lead, np.arange(rows.start, rows.stop)] * np.int64(self._bucket_ms)
            onset[nats <= 0.0] = 0
            parts.append(_Part(nats, p.mean, baseline.size_told(p, rows), onset))
            told = baseline.holiday(p, rows, x, either(missing, rest))
            if told is not None:
                holiday = told if holiday is None else holiday + told
            self._learn(p, rows, x, missing, rest, nats)
            gap = gap or missing is not None
        if excess is not None and excess.step():
            for rows in self._blocks():
                excess.end_block(rows, None if resting is None else resting[rows])
        warming = self._warming()
        baseline.end_bucket(start, gap, holiday)
        return self._scores(_joined(parts), warming, resting, learn=True)

    def peek(self, start: int, fractions: Floats, counts: NDArray[np.int64]) -> Scores:
        """The open bucket from `start`, of which a part is there, and its counts so far; changes no state.

        fractions: of each row, the part of a bucket's reports that is to be there by now, in (0, 1].
        """
        parts: list[_Part] = []
        for rows in self._blocks():
            x, missing = _known(counts[rows])
            p = self._baseline.predict(start, rows)
            fraction = fractions[rows]
            c = self._cusum[:, rows] * (self._keep**fraction).astype(np.float32)
            c += self._steps(p, rows, x, fraction, missing)
            np.maximum(c, 0.0, out=c)
            lead, row = c.argmax(axis=0), np.arange(rows.start, rows.stop)
            nats = c[lead, row - rows.start].astype(np.float64)
            began = self._onset[lead, row] * np.int64(self._bucket_ms)
            since = np.where(self._cusum[lead, row] > 0.0, began, start)
            size = self._baseline.size_told(p, rows)
            parts.append(_Part(nats, p.mean * fraction, size, np.where(nats > 0.0, since, 0)))
        return self._scores(_joined(parts), self._warming(), None, learn=False)

    def skip(self, start: int, until: int) -> None:
        """The buckets from `start` to `until` (ms) are missing for all rows."""
        if until <= start:
            return
        minutes = (until - start) / MINUTE_MS
        cusum, watch = self._cusum, self._watch
        cusum *= np.float32(np.exp(-min(FORGET * minutes, 50.0)))
        cusum[cusum < 1e-6] = 0.0
        watch[0] -= np.minimum(watch[0], 2.0 * minutes)
        self._left[:] = CAP
        if self._excess is not None:
            self._excess.clear()
        self._baseline.skip(start, until)

    def wake(self, rows: Flags) -> None:
        """The rest of these rows is over: what they showed in it proves nothing of what comes now."""
        self._cusum[:, : len(rows)][:, rows] = 0.0
        self._onset[:, : len(rows)][:, rows] = 0
        self._left[:, : len(rows)][:, rows] = CAP
        _, back, running, usual = self._watch[:, : len(rows)]
        back[rows] = 0.0
        running[rows] = usual[rows]
        if self._excess is not None:
            self._excess.forget(rows)

    def expected(self, start: int) -> Floats:
        """Expected count of every row in the bucket from `start`, without the backlog of a gap; changes no state."""
        expected = np.zeros(len(self.series))
        for rows in self._blocks():
            expected[rows] = self._baseline.predict(start, rows).mean - self._baseline["backlog"][rows]
        return expected

    # ---- parts of a step

    def _raise(self, start: int, rows: slice, p: Prediction, x: Floats, missing: Flags | None) -> tuple[Floats, Ints]:
        """Moves the CUSUMs of the rows on by a bucket; the nats of the largest of each row, and its shape."""
        step = self._steps(p, rows, x, 1.0, missing)
        c, onset = self._cusum[:, rows], self._onset[:, rows]
        np.copyto(onset, start // self._bucket_ms, where=c == 0.0)
        c *= np.float32(self._keep)
        if missing is not None:
            c[c < 1e-6] = 0.0
        c += step
        np.maximum(c, 0.0, out=c)
        if len(self._left):
            allowance = self._left[:, rows]
            allowance += CAP * self._minutes
            np.minimum(allowance, CAP, out=allowance)
            allowance -= np.maximum(step, 0.0)
            np.maximum(allowance, 0.0, out=allowance)
        self._end_surges(p, rows, x, missing)
        lead = c.argmax(axis=0)
        nats = c[lead, np.arange(c.shape[1])].astype(np.float64)
        return nats, lead

    def _steps(self, p: Prediction, rows: slice, x: Floats, fraction: Floats | float, missing: Flags | None) -> Floats:
        """Nats by which the counts speak for each shape of a surge, capped. fraction: of the bucket that is there."""
        null, size = p.null, p.size
        shapes, plus = len(TIMES), self._plus
        part = null * fraction
        spread = part + size
        # log of (size + surge) / (size + null): the surge's rate less the null's, over size + null
        log = np.empty((SHAPES, len(x)))
        np.multiply(part, _MORE, out=log[:shapes])
        log[shapes:] = plus * fraction
        log /= spread
        np.log1p(log, out=log)
        log *= x + size
        step = np.empty((SHAPES, len(x)))
        np.multiply(x, _LOG_TIMES, out=step[:shapes])
        np.multiply(x, np.log1p(plus / null), out=step[shapes:])
        step -= log

        trust = self._baseline.trust(rows)
        cap: Any = CAP
        if self._baseline.gaps:
            cap = np.where(self._baseline["backlog"][rows] > 0.0, CAP_AFTER_GAP, CAP)
        if trust is not None:
            cap = cap * trust
        if len(self._left):
            cap = np.minimum(cap, np.minimum(self._left[:, rows] + CAP * self._minutes * fraction, CAP))
        burst = BURST * max(1.0, self._minutes)
        if len(x) and x.max() > burst:
            steep = np.log(np.maximum((x - part) / (2.0 * part + burst), 1.0))
            steep *= STEEP_GAIN / max(1.0, self._minutes)
            np.minimum(steep, STEEP_MOST, out=steep)
            steep *= self._sudden[rows]
            cap = cap + (steep if trust is None else steep * trust)
        np.minimum(step, cap, out=step)
        if missing is not None:
            step[:, missing] = 0.0
        return step

    def _end_surges(self, p: Prediction, rows: slice, x: Floats, missing: Flags | None) -> None:
        """Lets go of surges whose counts have come back."""
        c, (_, back, running, usual) = self._cusum[:, rows], self._watch[:, rows]
        gain: Any = self._running_gain if missing is None else np.where(missing, 0.0, self._running_gain)
        # Never so few that a surge could not show above FEW: an hour of that is more than a rare series ever expects.
        few = FEW * self._minutes
        most = 2.0 * p.mean + 6.0 * p.sd + max(2.0, few / 1.5)
        running += (np.minimum(x, most) - running) * gain
        np.maximum(running, 1e-9, out=running)
        usual += (p.mean - usual) * gain
        highest = c.max(axis=0)
        watched = highest > WATCH
        if missing is not None:
            watched &= ~missing
        picked = watched.nonzero()[0]
        before = back[picked]
        # A missing bucket says nothing, whatever the others do.
        back *= 0.0 if missing is None else missing
        if len(picked) == 0:
            return
        null, size, seen = p.null[picked], p.size[picked], x[picked]
        half = np.maximum(null + 0.5 * (running[picked] - null), 1.25 * null)
        against = seen * np.log(half / null) - (seen + size) * np.log((size + half) / (size + null))
        at_most = BACK_CAP * min(1.0, self._minutes) if self._minutes < 5.0 else BACK
        held = np.clip(before + np.clip(-against, -CAP, at_most), 0.0, BACK_MOST)
        back[picked] = held
        ended = picked[held >= BACK]
        if len(ended):
            c[:, ended] *= np.float32(np.exp(-DRAIN * self._minutes))
        calm = watched & (highest > HOT) & (running + few < CALM * (usual + few))
        if calm.any():
            c[:, calm] *= np.float32(np.exp(-CALM_DRAIN * self._minutes))

    def _learn(
        self, p: Prediction, rows: slice, x: Floats, missing: Flags | None, resting: Flags | None, nats: Floats
    ) -> None:
        """Hands the bucket to the baseline, but for what is a surge."""
        minutes, hot = self._minutes, nats > HOT
        hot_minutes, _, running, usual = self._watch[:, rows]
        if missing is None and not hot.any() and not hot_minutes.any():
            self._baseline.learn(p, rows, x, None, None, None, resting)
            return
        untaught = either(missing, resting)
        present = np.ones(len(x), dtype=np.bool_) if untaught is None else ~untaught
        counted = hot_minutes + np.where(hot, minutes, -2.0 * minutes)
        hot_minutes[:] = np.where(present, np.maximum(counted, 0.0), hot_minutes)
        shifted = hot_minutes > 60.0 * self.rule.shift_hours
        if shifted.any():
            self._baseline.relearn(rows, shifted)
        few = FEW * minutes
        follow = present & (~hot | (running + few < FOLLOW * (usual + few)))
        self._baseline.learn(p, rows, x, missing, present & (~hot | shifted), follow, resting)

    # ---- scores

    def _warming(self) -> Flags:
        warming: Flags = self._baseline["seen"] < 60.0 * self.rule.warming_hours
        return warming

    def _scores(self, part: _Part, warming: Flags, resting: Flags | None, *, learn: bool) -> Scores:
        """The evidence of all rows: their own nats, what stays high, and what their siblings show."""
        nats, expected, size, onset = part
        bounds = partial(interval, expected, size)
        if len(nats) == 0:
            return Scores(nats, expected, bounds, onset, warming)
        score = nats.copy()
        if self._excess is not None:
            height = self._excess.height(slice(0, len(nats)))
            if height.max() > EXCESS_FLOOR:
                score += EXCESS_GAIN * np.maximum(height - EXCESS_FLOOR, 0.0) * np.minimum(nats / EXCESS_NATS, 1.0)
        agreed = self._agreed(nats if resting is None else np.where(resting, 0.0, nats))
        if agreed is not None:
            score += SIBLINGS * agreed * np.minimum(nats / SIBLINGS_NATS, 1.0)
        score = self._habit.temper(score)
        told = self._calibration.evidence(score)
        if learn:
            self._habit.learn(score, resting)
            self._calibration.learn(told, resting)
        return Scores(told, expected, bounds, onset, warming)

    def _agreed(self, nats: Floats) -> Floats | None:
        """How far the siblings of each row show a surge, 0 to 1; None where none of any row do."""
        if nats.max() <= SIBLINGS_FROM:
            return None
        low = np.minimum(nats, SIBLING_MOST)
        others: Floats | None = None
        for group, members in self._baseline.groups:
            total = exact_sums(group, low, len(members))
            # No row's others come to more than all of its group do.
            if (total > SIBLINGS_FROM * np.maximum(members - 1, SIBLINGS_LEAST)).any():
                mean = _others(group, members, low, total)
                others = mean if others is None else np.maximum(others, mean)
        return None if others is None else np.clip((others - SIBLINGS_FROM) / SIBLINGS_SPAN, 0.0, 1.0)

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies: `restore` goes on from it bit for bit."""
        rows = len(self.series)
        return {
            **self._baseline.arrays(),
            **(self._excess.arrays(rows) if self._excess is not None else {}),
            **self._habit.arrays(),
            **self._calibration.arrays(),
            "cusum": self._cusum[:, :rows].copy(),
            "onset": self._onset[:, :rows].copy(),
            "watch": self._watch[:, :rows].copy(),
            "allowance": self._left[:, :rows].copy(),
        }

    @classmethod
    def restore(
        cls,
        rule: SurgeRule,
        bucket_seconds: int,
        series: Sequence[Series],
        arrays: Mapping[str, NDArray[Any]],
        holidays: Mapping[str, str] = {},
    ) -> Self:
        """The bank whose `arrays` these are. ValueError where they do not fit the series or the bucket."""
        bank = cls(rule, bucket_seconds, holidays)
        bank.add(series)
        check_all(arrays, bank.arrays(), "a bank")
        rows = len(series)
        bank._baseline.load(arrays)
        if bank._excess is not None:
            bank._excess.load(rows, arrays)
        bank._habit.load(arrays)
        bank._calibration.load(arrays)
        bank._cusum[:, :rows] = arrays["cusum"]
        bank._onset[:, :rows] = arrays["onset"]
        bank._watch[:, :rows] = arrays["watch"]
        bank._left[:, :rows] = arrays["allowance"]
        return bank


class _Part(NamedTuple):
    """What the rows of a block say of a bucket: nats, expected count, size of its distribution, onset."""

    nats: Floats
    expected: Floats
    size: Floats
    onset: Ints


def _joined(parts: Sequence[_Part]) -> _Part:
    """Blocks put together."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _Part(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    return _Part(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _others(group: Numbers, members: Ints, values: Floats, total: Floats) -> Floats:
    """Mean of the values of the other rows of each row's group; 0 in groups too small to tell.

    group: of each row; members, total: number of rows and sum of values of each group.
    """
    mine = members[group]
    return np.where(mine > SIBLINGS_LEAST, (total[group] - values) / np.maximum(mine - 1, 1), 0.0)


def interval(mean: Floats, size: Floats, *, rows: Ints | slice = slice(None)) -> tuple[Floats, Floats]:
    """Bounds that a negative-binomial count stays within in 95 % of cases, each a whole number; of some rows only.

    By the transform that makes its variance constant, 2 sqrt(size) asinh(sqrt(count / size)): right to one or so.

    >>> low, high = interval(np.array([0.1, 4.0, 100.0]), np.array([1e6, 1e6, 1e6]))
    >>> low.tolist(), high.tolist()
    ([0.0, 1.0, 81.0], [1.0, 8.0, 120.0])
    """
    mean, size = mean[rows], size[rows]
    reach = 0.98 / np.sqrt(size)
    part = mean / size
    middle, side = np.sqrt(part) * np.cosh(reach), np.sqrt(part + 1.0) * np.sinh(reach)
    low, high = np.maximum(middle - side, 0.0), middle + side
    return np.floor(low * low * size), np.floor(high * high * size)


def _known(counts: NDArray[np.int64]) -> tuple[Floats, Flags | None]:
    """Counts as floats, 0 where missing; and which are missing, None if none are."""
    x = counts.astype(np.float64)
    if len(x) == 0 or counts.min() >= 0:
        return x, None
    np.maximum(x, 0.0, out=x)
    return x, counts < 0

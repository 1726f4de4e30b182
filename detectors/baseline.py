"""Expected count of a bucket: season, level, short-term drift and spread, as arrays with a row a series.

    expected = level * curve of the service * own hours * exp(drift), negative binomial with `size`

All of it is learned from the counts, one bucket after the other. Constants are in minutes, so that a bucket may have
any length. docs/detection.md says where they come from and what each part is worth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, Ints, Numbers, either, exact_sums, grown
from detectors.holiday import Holiday, spread
from detectors.local_time import DAY_MS, local_ms
from detectors.rollup import is_rollup, siblings
from detectors.season import DAY_MINUTES, OWN_PRIOR, Factors, Season
from detectors.series import Series

MINUTE_MS: Final = 60_000

#: The slow parts (season, spread, wander) are put into tables this often; they hardly move in between.
TABLE_MINUTES: Final = 10.0
#: A series is trusted fully once it was watched for this long; before, its level is hardly known.
TRUST_MINUTES: Final = 60.0
#: From this age on of a service its days are compared: weekdays and weekends are known.
WEEK_MINUTES: Final = 7 * DAY_MINUTES

# Memories: minutes after which a past count weighs 1/e.
LEVEL_MEMORY: Final = 5760.0
DRIFT_MEMORY: Final = 120.0
SLOW_MEMORY: Final = 1440.0
SPREAD_MEMORY: Final = 4320.0
WANDER_MEMORY: Final = 7200.0
LATE_MEMORY: Final = 15.0
#: What is known of a series fades so while nothing is heard of it: after a year away it starts nearly anew.
FADE_MEMORY: Final = 43_200.0
#: A gap's backlog is expected for no more than this: nobody delivers last month's reports at once.
BACKLOG_MINUTES: Final = 1440.0

#: Silence before the first report counts for no more than this: new regions come up without an outage, too.
SILENCE_MINUTES: Final = 720.0

#: The least rate that is told from none, reports a minute: one a week.
LEAST_RATE: Final = 1e-4
#: A series begins with its first report; that says about one report in the time the service was watched before.
FIRST_COUNT: Final = 0.7
FIRST_EXPOSURE: Final = 1.0
#: What other regions' share of other services says of a new series, in reports.
BORROWED_COUNT: Final = 0.5
WANDER: Final = 0.012  # variance of the drift of a series that has not shown its own
WANDER_PRIOR: Final = 60.0
SEASONLESS_WANDER: Final = 0.2  # until the service's curve is known: the drift has to follow the day
SIZE: Final = 10.0  # of a series that has not shown its own
SIZE_PRIOR: Final = 20.0
#: A day is taken for the other type of day, and not learned from, from this probability on.
HOLIDAY: Final = 0.3

# Rows of the state. Running sums first: one expression moves them all.
SUMS: Final = (
    "count",  # level = count / exposure, reports a minute
    "exposure",
    "noise",  # size = scale / noise, of the variance beyond Poisson's
    "scale",
    "covariance",  # wander = covariance / power, both at a lag, where the noise of single buckets cancels
    "power",
    "late_error",  # means of the last quarter of an hour: the other end of that lag
    "late_base",
)
MOVING: Final = (
    "drift",  # log factor of minutes to hours
    "drift_variance",  # of its estimate
    "slow_drift",  # its mean of about a day
    "backlog",  # reports expected on top, after a gap
    "seen",  # minutes with a count
    "silent",  # minutes that the service was watched before the series had its first report
    "learned_count",  # since the last refresh of the tables
    "learned_minutes",
)
TABLES: Final = ("shape", "own", "own_doubt", "ratio", "wander", "size")
FIELDS: Final = SUMS + MOVING + TABLES
_AT: Final = {name: row for row, name in enumerate(FIELDS)}


class Prediction(NamedTuple):
    """What is expected of one bucket in some rows.

    base: expected count without drift. drift, drift_variance: at this bucket. mean: expected count, all in.
    null: what a surge has to beat: the mean, raised by the doubt about it. size: of the negative binomial. over: its
    variance over its mean. sd: its standard deviation.
    """

    base: Floats
    drift: Floats
    drift_variance: Floats
    mean: Floats
    null: Floats
    size: Floats
    over: Floats
    sd: Floats


class Baseline:
    """Expected counts of all series of one source. Rows are handled in slices, to keep what is at work in the cache."""

    def __init__(self, bucket_seconds: int, zones: Mapping[str, str], countries: Mapping[str, str] = {}) -> None:
        """zones, countries: by region, as `local_time.by_region` has them."""
        self.minutes = bucket_seconds / 60.0
        self.rows = 0
        self._bucket_ms = bucket_seconds * 1000
        self._slot_ms = max(self._bucket_ms, round(TABLE_MINUTES * MINUTE_MS))
        self._slot = -1
        self._next = -1
        self.gaps = False  # does a row have a backlog?
        self._season = Season(bucket_seconds, zones)
        self._holiday = Holiday(zones, countries)
        self._rollup: Flags = np.zeros(0, np.bool_)
        self._weekly = False  # is a service known for a week, so that its days can be compared?
        self._state: Floats = np.zeros((len(FIELDS), 0))
        self._keep_drift = float(np.exp(-self.minutes / DRIFT_MEMORY))
        self._slow_gain = float(-np.expm1(-self.minutes / SLOW_MEMORY))
        self._late_gain = float(-np.expm1(-self.minutes / LATE_MEMORY))
        # Of SUMS from "noise" on.
        fading = (self.minutes / SPREAD_MEMORY, self.minutes / WANDER_MEMORY, self._late_gain)
        self._fading = np.repeat(fading, 2)[:, None]
        self._derive()

    # ---- rows

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows. In a service that is watched already, a new row is one that was silent until now."""
        first, rows = self.rows, self.rows + len(series)
        season = self._season
        borrowed = self._borrowed(series)
        watched = np.zeros(len(season.services) + len(series))
        np.maximum.at(watched, season.service, self["seen"])
        season.add(series)
        self._holiday.add(series, self._middle(self._slot) if self._slot >= 0 else None)
        wide = np.array([is_rollup(one.service, one.region) for one in series], np.bool_)
        self._rollup = np.concatenate([self._rollup, wide])
        self._state = grown(self._state, rows)
        self.rows = rows

        silent = np.minimum(watched[season.service[first:]], SILENCE_MINUTES)
        new = self._state[:, first:rows]
        new[_AT["count"]] = FIRST_COUNT + np.where(borrowed > 0.0, BORROWED_COUNT, 0.0)
        new[_AT["exposure"]] = FIRST_EXPOSURE + silent
        new[_AT["exposure"]] += np.where(borrowed > 0.0, BORROWED_COUNT / np.maximum(borrowed, LEAST_RATE), 0.0)
        new[_AT["silent"]] = silent
        new[_AT["wander"]] = new[_AT["drift_variance"]] = SEASONLESS_WANDER
        new[_AT["size"]] = SIZE
        new[_AT["shape"]] = new[_AT["own"]] = 1.0
        new[_AT["own_doubt"]] = 1.0 / OWN_PRIOR
        if self._slot >= 0:
            factors = season.factors(self._middle(self._slot))
            new[_AT["shape"]] = factors.curve[first:]
        self._derive()

    def _borrowed(self, series: Sequence[Series]) -> Floats:
        """Rate that a new row's service and region suggest: reports a minute, 0 where nothing does.

        The mean rate of its service's rows, times what its region has of the mean in other services.
        """
        season = self._season
        old = season.service
        rates = np.zeros(len(series))
        if len(old) == 0:
            return rates
        level = self["count"] / self["exposure"]
        services = len(season.services)
        mean = exact_sums(old, level, services) / season.members
        share = np.log(np.maximum(level, LEAST_RATE) / np.maximum(mean[old], LEAST_RATE))
        # A region's mean share, exact: it must not depend on which series came first.
        shares = exact_sums(season.region, share, len(season.regions))
        shares /= season.region_members
        for place, one in enumerate(series):
            names = siblings(one)
            service, region = season.services.get(names[0]), season.regions.get(names[1])
            if service is not None and region is not None:
                rates[place] = mean[service] * np.exp(shares[region])
        return rates

    def trust(self, rows: slice) -> Floats | None:
        """How far rows are to be trusted: 0 for the first third of the time, then rising to 1; None where all are.

        No alarm comes from pure ignorance.
        """
        if not self._young:
            return None
        watched = self["seen"][rows] + self["silent"][rows]
        return np.clip(watched * (1.5 / max(TRUST_MINUTES, 5 * self.minutes)) - 0.5, 0.0, 1.0)

    def _derive(self) -> None:
        """What follows from the tables and is needed at each bucket."""
        self._weekly = bool((self._season.minutes >= WEEK_MINUTES).any())
        watched = self["seen"] + self["silent"]
        self._young = bool((watched < max(TRUST_MINUTES, 5 * self.minutes)).any())
        self._look_at_day()
        self._ahead: tuple[int, Floats] | None = None

    def _look_at_day(self) -> None:
        """What the odds of a holiday come to, by group: asked for at each bucket."""
        self._share = self._holiday.share()
        likeliest = float(self._share.max(initial=0.0)) if self._weekly else 0.0
        self._maybe_odd, self._surely_odd = likeliest > 0.01, likeliest >= HOLIDAY
        # Only a day that is known to be a holiday has two curves to scatter between. On others the odds leave 0 when
        # the counts say so, and then the drift has followed them already.
        self._two_curves = self._weekly and bool(self._holiday.public.any())

    def __getitem__(self, field: str) -> Floats:
        """One of FIELDS, a row a series: a view."""
        return self._state[_AT[field], : self.rows]

    @property
    def groups(self) -> tuple[tuple[Numbers, Ints], tuple[Numbers, Ints]]:
        """By service and by region: the number of each row's, and how many rows each has."""
        season = self._season
        return (season.service, season.members), (season.region, season.region_members)

    # ---- season

    def _middle(self, slot: int) -> int:
        return slot * self._slot_ms + self._slot_ms // 2

    def refresh(self, start: int) -> None:
        """Brings the tables to the time of the bucket that begins at `start`, if they are of another time."""
        self._next = start
        slot = start // self._slot_ms
        if slot == self._slot:
            return
        season = self._season
        if self._slot >= 0:
            before = self._middle(self._slot)
            self._learn_season(before)
            self._begin_days(before, self._middle(slot))
        self._holiday.look_at(self._middle(slot))
        factors = season.factors(self._middle(slot))
        self["shape"][:] = factors.curve * factors.own
        self["own"][:] = factors.own
        self["own_doubt"][:] = factors.doubt
        # Before a week is known, days cannot be compared.
        self["ratio"][:] = np.where((season.minutes >= WEEK_MINUTES)[season.service], factors.ratio, 0.0)
        self._slot = slot
        # No number may decay until it underflows.
        np.maximum(self["count"], 1e-3, out=self["count"])
        for name in ("drift", "slow_drift"):
            self[name][np.abs(self[name]) < 1e-12] = 0.0
        self["wander"][:] = np.clip(
            (self["covariance"] + WANDER * WANDER_PRIOR) / (self["power"] + WANDER_PRIOR), 0.002, 0.15
        )
        unknown = ~season.known[season.service]
        np.maximum(self["wander"], SEASONLESS_WANDER, out=self["wander"], where=unknown)
        scale = self["scale"] + SIZE_PRIOR
        self["size"][:] = scale / np.clip(self["noise"] + SIZE_PRIOR / SIZE, scale / 60.0, scale / 1.5)
        self._derive()

    def _learn_season(self, at: int) -> None:
        """Moves what was learned since the last refresh into the season."""
        season = self._season
        now = Factors(self["shape"] / self["own"], self["own"], self["own_doubt"], self["ratio"])
        level = self["count"] / self["exposure"]
        age = self["seen"] + self["silent"]
        ended = season.learn(at, self["learned_count"], self["learned_minutes"], level, now, age)
        self["learned_count"][:] = 0.0
        self["learned_minutes"][:] = 0.0
        if ended is not None:
            # The drift has followed what the season knows only now.
            new = season.factors(at)
            known = np.log(new.curve * new.own / self["shape"])
            self["drift"][:] -= np.where(ended[season.service], np.clip(known, -2.0, 2.0), 0.0)

    def _begin_days(self, before: int, now: int) -> None:
        """At midnight of a time zone: what belongs to the day that ended does not go on."""
        season, holiday = self._season, self._holiday
        for number, (name, _) in enumerate(holiday.groups):
            if local_ms(name, before) // DAY_MS == local_ms(name, now) // DAY_MS:
                continue
            share = holiday.begin_day(number, now)
            here = holiday.group == number
            drift = self["drift"]
            if self._weekly:
                drift[here] *= 1.0 - share
            # A service whose rows were all low today had an odd day: tomorrow need not be one. That they were all high
            # may go on; to expect less would alarm.
            precision = np.where(here, 1.0 / self["wander"], 0.0)
            total = exact_sums(season.service, precision, len(season.services))
            mean = exact_sums(season.service, precision * drift, len(season.services)) / np.maximum(total, 1e-9)
            certain = np.clip(-mean * np.sqrt(total) - 2.0, 0.0, 1.0)
            certain *= season.known
            drift -= np.where(here, (np.minimum(mean, 0.0) * certain)[season.service], 0.0)

    # ---- one bucket

    def predict(self, start: int, rows: slice) -> Prediction:
        """What is expected of the bucket that begins at `start`. Changes no state."""
        state = self._state[:, rows]
        shape, ratio, keep = state[_AT["shape"]], state[_AT["ratio"]], self._keep_drift
        slot = start // self._slot_ms
        if slot != self._slot:
            if self._ahead is None or self._ahead[0] != slot:
                factors = self._season.factors(self._middle(slot))
                self._ahead = slot, factors.curve * factors.own
            shape = self._ahead[1][rows]
        if start > self._next >= 0:
            keep = float(np.exp(-min(50.0, ((start - self._next) / MINUTE_MS + self.minutes) / DRIFT_MEMORY)))
        base = state[_AT["count"]] / state[_AT["exposure"]]
        base *= shape
        np.maximum(base, LEAST_RATE, out=base)
        base *= self.minutes
        if self._maybe_odd:
            base *= np.exp(self._share[self._holiday.group[rows]] * ratio)
        drift = state[_AT["drift"]] * keep
        variance = state[_AT["drift_variance"]] * (keep * keep)
        variance += (1.0 - keep * keep) * state[_AT["wander"]]
        mean = np.exp(drift)
        mean *= base
        mean += state[_AT["backlog"]]
        doubt = 1.0 / (state[_AT["count"]] + 1.0)
        doubt += state[_AT["own_doubt"]]
        doubt += variance
        if self._two_curves:
            share = self._share[self._holiday.group[rows]]
            doubt += np.where(self._public(rows), share * (1.0 - share) * ratio * ratio, 0.0)
        np.sqrt(doubt, out=doubt)
        doubt *= 0.4
        null = np.exp(doubt)
        null *= mean
        size = state[_AT["size"]].copy()  # the tables change in place, a prediction does not
        over = mean / size
        over += 1.0
        sd = mean * over
        np.sqrt(sd, out=sd)
        return Prediction(base, drift, variance, mean, null, size, over, sd)

    def _public(self, rows: slice) -> Flags:
        public: Flags = self._holiday.public[self._holiday.group[rows]]
        return public

    def size_told(self, p: Prediction, rows: slice) -> Floats:
        """Size of the distribution of the counts as its interval is to show it: on a public holiday of two curves."""
        if not self._two_curves:
            return p.size
        share = self._share[self._holiday.group[rows]]
        wider = np.where(self._public(rows), spread(share, self["ratio"][rows]), 0.0)
        size: Floats = p.size / (1.0 + p.size * wider)
        return size

    def slow(self, p: Prediction, rows: slice) -> Floats:
        """Expected count by the slow parts alone: what drifts within hours is not in it."""
        slow: Floats = p.base * np.exp(self["slow_drift"][rows])
        return slow

    def learn(
        self,
        p: Prediction,
        rows: slice,
        x: Floats,
        missing: Flags | None,
        steady: Flags | None,
        follow: Flags | None,
        resting: Flags | None = None,
    ) -> None:
        """Learns the counts `x` of the bucket that was predicted for these rows.

        missing: rows without a count, whose x is 0. steady: rows whose level and season may learn. follow: rows whose
        drift may learn. resting: rows that learn nothing from theirs. None: none missing, all steady, all follow, none
        resting.
        """
        b, state = self.minutes, self._state[:, rows]
        untaught = either(missing, resting)
        gapped = self._gap_before(rows, untaught)
        season_weight = weight = _weight(steady, gapped)
        chase = _weight(follow, gapped)
        if self._surely_odd:
            odd = (self._share >= HOLIDAY)[self._holiday.group[rows]]
            season_weight = weight = np.where(odd, 0.0, 1.0 if weight is None else weight)
        if weight is not None and not self._season.known.all():
            # Of a first day everything goes into the curve: an hour left out would be a hole in it.
            young = ~self._season.known[self._season.service[rows]]
            usable = 1.0 if gapped is None else (~gapped).astype(np.float64)
            season_weight = np.where(young, usable, weight)
        mean, base = p.mean, p.base

        most = 4.0 * p.sd
        most += mean
        most += 1.0
        trust = self.trust(rows)
        if trust is not None:
            # A young series takes its counts as they come; later ones are winsorised.
            most += np.where(trust < 1.0, 1e12, 0.0)
        held = np.minimum(x, most)

        target = np.empty((len(SUMS), len(x)))
        # level
        target[0] = held
        np.multiply(state[_AT["shape"]], b, out=target[1])
        if season_weight is None:
            state[_AT["learned_count"]] += held
            state[_AT["learned_minutes"]] += b
        else:
            state[_AT["learned_count"]] += season_weight * held
            state[_AT["learned_minutes"]] += season_weight * b

        # size: variance beyond Poisson's, weighed so that sparse buckets do not decide
        at_least_one = np.maximum(mean, 1.0)
        square = mean * mean
        np.divide(square, at_least_one, out=target[3])
        target[3] *= b
        error = held - mean
        noise = np.minimum(error * error, 30.0 * square + mean + 3.0, out=target[2])
        noise -= mean
        noise /= at_least_one
        noise *= b

        # drift: one step of an extended Kalman filter
        gain = mean / p.over
        gain *= p.drift_variance
        kept = gain + 1.0
        gain /= kept
        error /= mean
        np.minimum(error, 5.0, out=error)
        error *= gain
        np.minimum(error, 1.0, out=error)
        drift, variance = state[_AT["drift"]], state[_AT["drift_variance"]]
        if chase is None:
            np.add(p.drift, error, out=drift)
            np.divide(p.drift_variance, kept, out=variance)
            state[_AT["slow_drift"]] += self._slow_gain * (drift - state[_AT["slow_drift"]])
        else:
            error *= chase
            np.add(p.drift, error, out=drift)
            variance[:] = np.where(chase > 0.0, p.drift_variance / kept, p.drift_variance)
            state[_AT["slow_drift"]] += chase * self._slow_gain * (drift - state[_AT["slow_drift"]])

        # wander: covariance of the error with that of the minutes before
        g = 1.0 / (1.0 + base * (0.5 / b))
        g *= g
        g *= b
        np.subtract(held, base, out=target[6])
        np.multiply(target[6], state[_AT["late_error"]], out=target[4])
        target[4] *= g
        np.multiply(base, state[_AT["late_base"]], out=target[5])
        target[5] *= g
        target[6] *= self._late_gain
        np.multiply(base, self._late_gain, out=target[7])

        sums = state[: len(SUMS)]
        watched = state[_AT["seen"]] + state[_AT["silent"]]
        target[0:2] -= sums[0:2] * (b / np.minimum(np.maximum(watched, max(TRUST_MINUTES, b)), LEVEL_MEMORY))
        target[2:] -= sums[2:] * self._fading
        if weight is not None:
            target[0:4] *= weight
        if chase is not None:
            target[4:8] *= chase
        sums += target

        if untaught is None:
            state[_AT["seen"]] += b
            if gapped is not None:
                state[_AT["backlog"]] = 0.0
        else:
            state[_AT["seen"]] += np.where(untaught, 0.0, b)
            late = 0.0 if missing is None else np.where(missing, np.minimum(mean, base * (BACKLOG_MINUTES / b)), 0.0)
            state[_AT["backlog"]] = late
            self._fade(b, rows, untaught)

    def holiday(self, p: Prediction, rows: slice, x: Floats, untaught: Flags | None) -> Floats | None:
        """What these rows say for the other type of day, for each group; None before a week is known."""
        if not self._weekly:
            return None
        # What a roll-up has to say, the series that it sums up have said.
        mute = self._rollup[rows] if untaught is None else self._rollup[rows] | untaught
        ratio = np.where(mute, 0.0, self["ratio"][rows])
        group = self._holiday.group[rows]
        return self._holiday.weigh(group, x, p.mean, ratio, self._share[group], self.minutes)

    def end_bucket(self, start: int, missing: bool, holiday: Floats | None) -> None:
        """The bucket from `start` is learned by all rows. missing: did one miss it? holiday: sum of what rows said."""
        if holiday is not None:
            self._holiday.learn(holiday)
            self._look_at_day()
        self.gaps = missing
        self.refresh(start + self._bucket_ms)

    def _gap_before(self, rows: slice, untaught: Flags | None) -> Flags | None:
        """Rows that teach nothing now or were missing in the bucket before; None if there are none."""
        if untaught is None and not self.gaps:
            return None
        return either(self["backlog"][rows] > 0.0, untaught)

    def _fade(self, minutes: float, rows: slice, missing: Flags) -> None:
        """What is known of the rows that are missing, or teach nothing, grows old by `minutes`."""
        state = self._state[:, rows]
        self._young = True
        keep = np.where(missing, np.exp(-min(minutes / FADE_MEMORY, 50.0)), 1.0)
        for name in ("seen", "silent"):
            values = state[_AT[name]]
            values *= keep
            values[values < 1e-9] = 0.0
        # One minute of exposure stays: the level, though hardly trusted.
        keep = np.maximum(keep, np.minimum(1.0, FIRST_EXPOSURE / state[_AT["exposure"]]))
        state[_AT["count"]] *= keep
        state[_AT["exposure"]] *= keep

    def skip(self, start: int, until: int) -> None:
        """All rows are missing from `start` to `until`, ms; as many buckets of -1 would do nearly the same."""
        minutes = (until - start) / MINUTE_MS
        everyone = slice(0, self.rows)
        p = self.predict(start, everyone)
        rest = float(np.exp(-min(50.0, (minutes - self.minutes) / DRIFT_MEMORY)))
        self["drift"][:] = p.drift * rest
        self["drift_variance"][:] = p.drift_variance * rest**2 + (1.0 - rest**2) * self["wander"]
        self["slow_drift"][:] *= float(np.exp(-min(50.0, minutes / SLOW_MEMORY)))
        self["backlog"][:] = np.minimum(
            self["backlog"] + p.base * (min(minutes, BACKLOG_MINUTES) / self.minutes),
            p.base * (BACKLOG_MINUTES / self.minutes),
        )
        self.gaps = self.rows > 0
        self._fade(minutes, everyone, np.ones(self.rows, dtype=np.bool_))
        self.refresh(until)
        self._derive()

    def relearn(self, rows: slice, shifted: Flags) -> None:
        """The level of rows is taken for wrong: an hour of it is kept, so that the counts to come decide."""
        state = self._state[:, rows]
        keep = np.where(shifted, np.minimum(1.0, TRUST_MINUTES / state[_AT["exposure"]]), 1.0)
        state[_AT["count"]] *= keep
        state[_AT["exposure"]] *= keep

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies."""
        return {
            "rows": self._state[:, : self.rows].copy(),
            "clock": np.array([self._slot, self._next, self.gaps], dtype=np.int64),
            **self._season.arrays(),
            **self._holiday.arrays(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave, once its series were added."""
        self._state[:, : self.rows] = arrays["rows"]
        self._slot, self._next, gaps = (int(part) for part in arrays["clock"])
        self.gaps = bool(gaps)
        self._season.load(arrays)
        self._holiday.load(arrays)
        if self._slot >= 0:
            self._holiday.look_at(self._middle(self._slot))
        self._derive()


def _weight(allowed: Flags | None, gapped: Flags | None) -> Floats | None:
    if allowed is None:
        return None if gapped is None else (~gapped).astype(np.float64)
    return (allowed if gapped is None else allowed & ~gapped).astype(np.float64)

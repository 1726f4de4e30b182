"""Expected count of a bucket: season, level, short-term drift and spread, as arrays with a row a series.

    expected = level * curve of the service * own hours * exp(drift), negative binomial with `size`

All of it is learned from the counts, one bucket after the other. Constants are in minutes, so that a bucket may have
any length. Days are UTC days; Saturday and Sunday are a type of day of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import grown
from detectors.series import Series

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000

#: The slow parts (season, spread, memory) are put into tables this often; they hardly move in between.
TABLE_MINUTES: Final = 10.0
#: A series is trusted fully once it was watched for this long; before, its level is hardly known.
TRUST_MINUTES: Final = 60.0
#: A series teaches its service's curve from this age on: before, its own level still follows the day.
SEASON_MINUTES: Final = 720.0
#: ... and its own hours, once the service's curve is there.
OWN_SEASON_MINUTES: Final = 2160.0

# Memories: minutes after which a past count weighs 1/e.
LEVEL_MEMORY: Final = 5760.0
CURVE_MEMORY: Final = (429.0, 171.0)  # minutes spent in one half hour: three weeks of weekdays, of weekends
OWN_MEMORY: Final = 720.0  # minutes spent in one hour: twelve days
DRIFT_MEMORY: Final = 120.0
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
CURVE_PRIOR: Final = 12.0  # reports (of a series at one a minute) that a half hour needs to be believed
TYPE_PRIOR: Final = 60.0  # ... to differ between weekdays and weekends
OWN_PRIOR: Final = 40.0  # ... to differ from the service's curve: a deviation of 16 % between regions
WANDER: Final = 0.012  # variance of the drift of a series that has not shown its own
WANDER_PRIOR: Final = 60.0
SEASONLESS_WANDER: Final = 0.2  # at least, until the service's curve is known: the drift has to follow the day
SIZE: Final = 10.0  # of a series that has not shown its own
SIZE_PRIOR: Final = 20.0

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
    "backlog",  # reports expected on top, after a gap
    "seen",  # minutes with a count
    "silent",  # minutes that the service was watched before the series had its first report
    "learned_count",  # since the last refresh of the tables
    "learned_minutes",
)
TABLES: Final = ("curve", "own", "own_doubt", "wander", "size", "watched")
FIELDS: Final = SUMS + MOVING + TABLES
_AT: Final = {name: row for row, name in enumerate(FIELDS)}


class Prediction(msgspec.Struct, gc=False):
    """What is expected of one bucket, a row a series. The arrays are the baseline's own: valid until it moves on.

    base: expected count without drift. drift, drift_variance: at this bucket. mean: expected count, all in.
    null: what a surge has to beat: the mean, raised by the doubt about it. size: of the negative binomial.
    """

    start: int
    base: Floats
    drift: Floats
    drift_variance: Floats
    mean: Floats
    null: Floats
    size: Floats


class Baseline:
    """Expected counts of all series of one source."""

    def __init__(self, bucket_seconds: int) -> None:
        self.minutes = bucket_seconds / 60.0
        self.rows = 0
        self._bucket_ms = bucket_seconds * 1000
        self._slot_ms = max(self._bucket_ms, round(TABLE_MINUTES * MINUTE_MS))
        self._slot = -1
        self._next = -1
        self.gaps = False  # does a row have a backlog?
        self._services: dict[str, int] = {}
        self._service: Ints = np.zeros(0, dtype=np.int64)
        self._state: Floats = np.zeros((len(FIELDS), 0))
        self._own: Floats = np.zeros((2, 2, 24, 0))  # counts and exposures, by type of day and hour
        # A bucket of an hour would leave every other half hour empty.
        self._curve: Floats = np.zeros((2, 2, 48 if bucket_seconds <= 1800 else 24, 0))
        self._keep_drift = float(np.exp(-self.minutes / DRIFT_MEMORY))
        self._bind()
        self._derive()

    # ---- rows

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows. In a service that is watched already, a new row is one that was silent until now."""
        first, rows = self.rows, self.rows + len(series)
        watched: dict[int, float] = {}
        for service, minutes in zip(self._service[:first].tolist(), self["seen"].tolist(), strict=True):
            watched[service] = max(minutes, watched.get(service, 0.0))
        for one in series:
            self._services.setdefault(one.service, len(self._services))
        services = np.array([self._services[one.service] for one in series], dtype=np.int64)
        self._service = np.concatenate([self._service[:first], services])
        self._state = grown(self._state, rows)
        self._own = grown(self._own, rows)
        self._curve = grown(self._curve, len(self._services))
        self.rows = rows
        self._bind()

        silent = np.array([min(watched.get(service, 0.0), SILENCE_MINUTES) for service in services.tolist()])
        new = self._state[:, first:rows]
        new[_AT["count"]] = FIRST_COUNT
        new[_AT["exposure"]] = FIRST_EXPOSURE + silent
        new[_AT["silent"]] = new[_AT["watched"]] = silent
        new[_AT["wander"]] = new[_AT["drift_variance"]] = SEASONLESS_WANDER
        new[_AT["size"]] = SIZE
        new[_AT["own"]] = 1.0
        new[_AT["own_doubt"]] = 1.0 / OWN_PRIOR
        new[_AT["curve"]] = self._curves(self._middle(self._slot))[services] if self._slot >= 0 else 1.0
        self._derive()

    def _bind(self) -> None:
        """Views and scratch space for the present rows."""
        n = self.rows
        self._sums = self._state[: len(SUMS), :n]
        self._fields = {name: self._state[row, :n] for name, row in _AT.items()}
        self._members = np.maximum(np.bincount(self._service, minlength=len(self._services)), 1).astype(np.float64)
        self._rates = np.zeros((len(SUMS), n))
        self._target = np.zeros((len(SUMS), n))
        self._weights = np.zeros((len(SUMS), n))
        self._scratch = np.zeros((6, n))
        base, drift, drift_variance, mean, null = np.zeros((5, n))
        self._prediction = Prediction(-1, base, drift, drift_variance, mean, null, self["size"])

    def _derive(self) -> None:
        """What follows from the tables and is needed at each bucket."""
        b = self.minutes
        self._shape = self["curve"] * self["own"]
        memory = np.clip(self["watched"], max(TRUST_MINUTES, b), LEVEL_MEMORY)
        self._rates[0] = self._rates[1] = b / memory
        self._rates[2:4] = b / SPREAD_MEMORY
        self._rates[4:6] = b / WANDER_MEMORY
        self._rates[6:8] = -np.expm1(-b / LATE_MEMORY)
        # 0 for the first third of the time, then rising: no alarm from pure ignorance.
        self.trust = np.clip(1.5 * self["watched"] / max(TRUST_MINUTES, 5 * b) - 0.5, 0.0, 1.0)
        # A young series takes its counts as they come; later ones are winsorised.
        self._ample = np.where(self.trust < 1.0, 1e12, 1.0)
        self._wander_step = (1.0 - self._keep_drift**2) * self["wander"]
        self._prediction.start = -1

    def __getitem__(self, field: str) -> Floats:
        """One of FIELDS, a row a series: a view."""
        return self._fields[field]

    # ---- season

    def _middle(self, slot: int) -> int:
        return slot * self._slot_ms + self._slot_ms // 2

    def _bins(self, at: int, bins: int) -> tuple[tuple[int, int], tuple[int, int], float]:
        """The two bins (type of day, bin of the day) whose centres lie around `at`, and the weight of the second."""
        length = DAY_MS // bins
        before, into = divmod(at - length // 2, length)
        return _bin(before, bins), _bin(before + 1, bins), into / length

    def _curves(self, at: int) -> Floats:
        """Factor of each service at a time."""
        counts, exposures = self._curve[..., : len(self._services)]
        first, second, weight = self._bins(at, self._curve.shape[2])
        factors = []
        for kind, half in (first, second):
            any_day = (CURVE_PRIOR + counts[0, half] + counts[1, half]) / (
                CURVE_PRIOR + exposures[0, half] + exposures[1, half]
            )
            factors.append((TYPE_PRIOR * any_day + counts[kind, half]) / (TYPE_PRIOR + exposures[kind, half]))
        return np.where(_whole_day(exposures), (1.0 - weight) * factors[0] + weight * factors[1], 1.0)

    def _owns(self, at: int) -> tuple[Floats, Floats]:
        """Factor of each series on top of its service's curve, and the variance of its logarithm."""
        counts, exposures = self._own[..., : self.rows]
        first, second, weight = self._bins(at, 24)
        factors, masses = [], []
        for kind, hour in (first, second):
            any_day = (OWN_PRIOR + counts[0, hour] + counts[1, hour]) / (
                OWN_PRIOR + exposures[0, hour] + exposures[1, hour]
            )
            factors.append((OWN_PRIOR * any_day + counts[kind, hour]) / (OWN_PRIOR + exposures[kind, hour]))
            masses.append(exposures[kind, hour])
        mass = (1.0 - weight) * masses[0] + weight * masses[1]
        factor = np.where(_whole_day(exposures), (1.0 - weight) * factors[0] + weight * factors[1], 1.0)
        return factor, 1.0 / (OWN_PRIOR + mass)

    def _learn_season(self) -> None:
        """Moves what was learned since the last refresh into the bins of that time."""
        at = self._middle(self._slot)
        count, minutes = self["learned_count"], self["learned_minutes"]
        level = self["count"] / self["exposure"]
        # Busy series would drown the others of their service: from a third of a report a minute on, all weigh the same.
        weight = np.where(self["seen"] >= SEASON_MINUTES, 1.0, 0.0) / np.maximum(1.0, 3.0 * level)
        kind, half = _bin(at // (DAY_MS // self._curve.shape[2]), self._curve.shape[2])
        services = len(self._services)
        spent = np.bincount(self._service, minutes, services) / self._members
        keep = np.exp(-spent / CURVE_MEMORY[kind])
        for which, learned in enumerate((count * weight / self["own"], minutes * level * weight)):
            bins = self._curve[which, kind, half, :services]
            bins *= keep
            bins += np.bincount(self._service, learned, services)

        kind, hour = _bin(at // (DAY_MS // 24), 24)
        mature = self["seen"] >= OWN_SEASON_MINUTES
        keep = np.exp(-minutes / OWN_MEMORY)
        for which, learned in enumerate((count, minutes * level * self["curve"])):
            bins = self._own[which, kind, hour, : self.rows]
            bins *= keep
            bins += np.where(mature, learned, 0.0)
            np.maximum(bins, 1e-9, out=bins)
        count[:] = 0.0
        minutes[:] = 0.0

    def refresh(self, start: int) -> None:
        """Brings the tables to the time of the bucket that begins at `start`, if they are of another time."""
        self._next = start
        slot = start // self._slot_ms
        if slot == self._slot:
            return
        at = self._middle(slot)
        if self._slot >= 0:
            thought = self._curves(at)[self._service] * self._owns(at)[0]
            self._learn_season()
        self["curve"][:] = self._curves(at)[self._service]
        self["own"][:], self["own_doubt"][:] = self._owns(at)
        if self._slot >= 0:
            # The drift has followed what the season knows only now: it gives half back, as the rest fades by itself.
            # Measured with 3 days of history: POD@1 .77; with all of it .65, with none .73 (.50 after 1 day, else .76).
            self["drift"][:] -= 0.5 * np.log(self["curve"] * self["own"] / thought)
        self._slot = slot
        # No number may decay until it underflows.
        np.maximum(self["count"], 1e-3, out=self["count"])
        self["drift"][np.abs(self["drift"]) < 1e-12] = 0.0
        self["wander"][:] = np.clip(
            (self["covariance"] + WANDER * WANDER_PRIOR) / (self["power"] + WANDER_PRIOR), 0.002, 0.15
        )
        curveless = ~_whole_day(self._curve[1, ..., : len(self._services)])[self._service]
        np.maximum(self["wander"], SEASONLESS_WANDER, out=self["wander"], where=curveless)
        scale = self["scale"] + SIZE_PRIOR
        self["size"][:] = scale / np.clip(self["noise"] + SIZE_PRIOR / SIZE, scale / 60.0, scale / 1.5)
        np.add(self["seen"], self["silent"], out=self["watched"])
        self._derive()

    # ---- one bucket

    def predict(self, start: int) -> Prediction:
        """What is expected of the bucket that begins at `start`. Changes no state."""
        p = self._prediction
        if p.start == start:
            return p
        shape, keep = self._shape, self._keep_drift
        if start // self._slot_ms != self._slot:
            at = self._middle(start // self._slot_ms)
            shape = self._curves(at)[self._service] * self._owns(at)[0]
        if start > self._next >= 0:
            keep = float(np.exp(-min(50.0, ((start - self._next) / MINUTE_MS + self.minutes) / DRIFT_MEMORY)))
        doubt = self._scratch[0]
        np.divide(self["count"], self["exposure"], out=p.base)
        p.base *= shape
        np.maximum(p.base, LEAST_RATE, out=p.base)
        p.base *= self.minutes
        np.multiply(self["drift"], keep, out=p.drift)
        np.multiply(self["drift_variance"], keep * keep, out=p.drift_variance)
        if keep == self._keep_drift:
            p.drift_variance += self._wander_step
        else:
            p.drift_variance += (1.0 - keep * keep) * self["wander"]
        np.exp(p.drift, out=p.mean)
        p.mean *= p.base
        p.mean += self["backlog"]
        np.add(self["count"], 1.0, out=doubt)
        np.reciprocal(doubt, out=doubt)
        doubt += self["own_doubt"]
        doubt += p.drift_variance
        np.sqrt(doubt, out=doubt)
        doubt *= 0.4
        np.exp(doubt, out=p.null)
        p.null *= p.mean
        p.start = start
        return p

    def learn(
        self, p: Prediction, x: Floats, missing: Flags | None, steady: Flags | None, follow: Flags | None
    ) -> None:
        """Learns the counts `x` of the bucket that was predicted last.

        missing: rows without a count, whose x is 0. steady: rows whose level and season may learn. follow: rows whose
        drift may learn. None: none missing, all steady, all follow.
        """
        b, state = self.minutes, self._fields
        gapped = self._gap_before(missing)
        weight = _weight(steady, gapped)
        chase = _weight(follow, gapped)
        target, scratch = self._target, self._scratch
        mean, base, size = p.mean, p.base, p.size

        spread = np.divide(mean, size, out=scratch[0])
        spread += 1.0
        spread *= mean  # variance of the count
        x_held = np.sqrt(spread, out=scratch[1])
        x_held *= 4.0
        x_held += mean
        x_held += self._ample
        np.minimum(x_held, x, out=x_held)

        # level
        target[0] = x_held
        np.multiply(self._shape, b, out=target[1])
        if weight is None:
            state["learned_count"] += x_held
            state["learned_minutes"] += b
        else:
            state["learned_count"] += weight * x_held
            state["learned_minutes"] += weight * b

        # size: variance beyond Poisson's, weighed so that sparse buckets do not decide
        at_least_one = np.maximum(mean, 1.0, out=scratch[2])
        square = np.multiply(mean, mean, out=scratch[3])
        np.divide(square, at_least_one, out=target[3])
        target[3] *= b
        square *= 30.0
        square += mean
        square += 3.0
        error = np.subtract(x_held, mean, out=scratch[4])
        noise = np.multiply(error, error, out=target[2])
        np.minimum(noise, square, out=noise)
        noise -= mean
        noise /= at_least_one
        noise *= b

        # drift: one step of an extended Kalman filter
        gain = np.divide(mean, size, out=scratch[2])
        gain += 1.0
        np.divide(mean, gain, out=gain)
        gain *= p.drift_variance
        kept = np.add(gain, 1.0, out=scratch[3])
        gain /= kept
        error /= mean
        np.minimum(error, 5.0, out=error)
        error *= gain
        np.minimum(error, 1.0, out=error)
        variance = np.divide(p.drift_variance, kept, out=kept)
        if chase is None:
            np.add(p.drift, error, out=state["drift"])
            state["drift_variance"][:] = variance
        else:
            error *= chase
            np.add(p.drift, error, out=state["drift"])
            state["drift_variance"][:] = np.where(chase > 0.0, variance, p.drift_variance)

        # wander: covariance of the error with that of the minutes before
        g = np.multiply(base, 0.5 / b, out=scratch[2])
        g += 1.0
        np.reciprocal(g, out=g)
        g *= g
        g *= b
        np.subtract(x_held, base, out=target[6])
        np.multiply(target[6], state["late_error"], out=target[4])
        target[4] *= g
        np.multiply(base, state["late_base"], out=target[5])
        target[5] *= g
        target[6] *= self._rates[6]
        np.multiply(base, self._rates[7], out=target[7])

        fading = np.multiply(self._sums, self._rates, out=self._weights)
        target -= fading
        if weight is not None and chase is not None:
            target[0:4] *= weight
            target[4:8] *= chase
        self._sums += target

        if missing is None:
            state["seen"] += b
            if gapped is not None:
                state["backlog"][:] = 0.0
                self.gaps = False
        else:
            state["seen"] += np.where(missing, 0.0, b)
            state["backlog"][:] = np.where(missing, np.minimum(mean, base * (BACKLOG_MINUTES / b)), 0.0)
            self.gaps = True
            self._fade(b, missing)
        self.refresh(p.start + self._bucket_ms)
        self._prediction.start = -1

    def _gap_before(self, missing: Flags | None) -> Flags | None:
        """Rows that are missing or were missing in the bucket before; None if there are none."""
        backlog = self["backlog"]
        if missing is None and not self.gaps:
            return None
        gapped: Flags = backlog > 0.0
        return gapped if missing is None else gapped | missing

    def _fade(self, minutes: float, rows: Flags) -> None:
        """What is known of `rows` grows old by `minutes`."""
        keep = np.where(rows, np.exp(-min(minutes / FADE_MEMORY, 50.0)), 1.0)
        for name in ("seen", "silent"):
            self[name][:] *= keep
            self[name][self[name] < 1e-9] = 0.0
        # One minute of exposure stays: the level, though hardly trusted.
        keep = np.maximum(keep, np.minimum(1.0, FIRST_EXPOSURE / self["exposure"]))
        self["count"][:] *= keep
        self["exposure"][:] *= keep

    def skip(self, start: int, until: int) -> None:
        """All rows are missing from `start` to `until`, ms; as many buckets of -1 would do nearly the same."""
        minutes = (until - start) / MINUTE_MS
        p = self.predict(start)
        rest = float(np.exp(-min(50.0, (minutes - self.minutes) / DRIFT_MEMORY)))
        self["drift"][:] = p.drift * rest
        self["drift_variance"][:] = p.drift_variance * rest**2 + (1.0 - rest**2) * self["wander"]
        self["backlog"][:] = np.minimum(
            self["backlog"] + p.base * (min(minutes, BACKLOG_MINUTES) / self.minutes),
            p.base * (BACKLOG_MINUTES / self.minutes),
        )
        self.gaps = self.rows > 0
        self._fade(minutes, np.ones(self.rows, dtype=np.bool_))
        self.refresh(until)
        self._derive()

    def relearn(self, rows: Flags) -> None:
        """The level of `rows` is taken for wrong: an hour of it is kept, so that the counts to come decide."""
        keep = np.where(rows, np.minimum(1.0, TRUST_MINUTES / self["exposure"]), 1.0)
        self["count"][:] *= keep
        self["exposure"][:] *= keep

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies."""
        return {
            "rows": self._state[:, : self.rows].copy(),
            "own": self._own[..., : self.rows].copy(),
            "curve": self._curve[..., : len(self._services)].copy(),
            "clock": np.array([self._slot, self._next], dtype=np.int64),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave, once its series were added."""
        self._state[:, : self.rows] = arrays["rows"]
        self._own[..., : self.rows] = arrays["own"]
        self._curve[..., : len(self._services)] = arrays["curve"]
        self._slot, self._next = (int(part) for part in arrays["clock"])
        self.gaps = bool(self["backlog"].any())
        self._derive()


def _bin(number: int, bins: int) -> tuple[int, int]:
    """Type of day (0 weekday, 1 weekend) and bin of the day of the bin that is `number`th since 1970.

    >>> _bin(0, 24), _bin(2 * 24 + 7, 24)  # a Thursday, a Saturday
    ((0, 0), (1, 7))
    """
    day, of_day = divmod(number, bins)
    return int((day + 3) % 7 >= 5), of_day


def _whole_day(exposures: Floats) -> Flags:
    """Which columns know nearly all bins of a day, on weekdays or weekends. Half a curve is worse than none: where it
    ends, the expected count would jump."""
    known: Flags = (exposures.sum(axis=0) > 1e-6).mean(axis=0) > 0.97
    return known


def _weight(allowed: Flags | None, gapped: Flags | None) -> Floats | None:
    if allowed is None:
        return None if gapped is None else (~gapped).astype(np.float64)
    return (allowed if gapped is None else allowed & ~gapped).astype(np.float64)

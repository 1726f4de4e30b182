"""Season: how a series' rate moves with the hour, on weekdays and on weekends, in its local time.

A service's series share one curve of the day, a factor for each half hour; each series has its own hours on top of it.
Half a curve is worse than none, as the expected count would jump where it ends: of a service's first day the raw counts
are kept, and its curve is there from the end of that day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, Numbers, exact_sums, grown
from detectors.local_time import DAY_MS, is_weekend, local_ms, zone_of
from detectors.rollup import siblings
from detectors.series import Series

DAY_MINUTES: Final = 1440.0
HOURS: Final = 24
#: A series teaches its service's curve and its own hours from this age on: before, its level still follows the day.
MATURE_MINUTES: Final = 720.0

# Memories: minutes after which a past count weighs 1/e.
CURVE_MEMORY: Final = (429.0, 171.0)  # minutes spent in one half hour: three weeks of weekdays, of weekends
OWN_MEMORY: Final = 720.0  # minutes spent in one hour: twelve days

CURVE_PRIOR: Final = 12.0  # reports (of a series at one a minute) that a half hour needs to be believed
TYPE_PRIOR: Final = 60.0  # ... to differ between weekdays and weekends
OWN_PRIOR: Final = 40.0  # ... to differ from the service's curve: a deviation of 16 % between regions
FIRST_PRIOR: Final = 2.0  # ... of an hour of the first day


class Factors(NamedTuple):
    """What the time of day does to each row.

    curve: factor of its service. own: its own factor on top. doubt: variance of the logarithm of `own`.
    ratio: log of the curve of the other type of day (weekend on a weekday) over `curve`, within -1 to 1.
    """

    curve: Floats
    own: Floats
    doubt: Floats
    ratio: Floats


class Season:
    """The curves of the services and the hours of the rows of a bank.

    zones: IANA name of the time zone by region, as `local_time.zone_of` reads it.
    """

    def __init__(self, bucket_seconds: int, zones: Mapping[str, str]) -> None:
        self.services: dict[str, int] = {}
        self.service: Numbers = np.zeros(0, dtype=np.int32)
        self.regions: dict[str, int] = {}
        self.region: Numbers = np.zeros(0, dtype=np.int32)
        self.zones: list[str] = []
        self.zone: Numbers = np.zeros(0, dtype=np.int32)
        self._zone_names = zones
        # A bucket of an hour would leave every other half hour empty.
        self._bins = 48 if bucket_seconds <= 1800 else 24
        # Axes: counts and exposures, type of day, bin, service or row.
        self._curve: Floats = np.zeros((2, 2, self._bins, 0))
        self._own: NDArray[np.float32] = np.zeros((2, 2, HOURS, 0), dtype=np.float32)
        self._minutes: Floats = np.zeros(0)  # that a service was learned from

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows."""
        rows = len(self.service) + len(series)
        mine, there, regions = [], [], []
        for one in series:
            service, region = siblings(one)
            mine.append(self.services.setdefault(service, len(self.services)))
            regions.append(self.regions.setdefault(region, len(self.regions)))
            name = zone_of(one.region, self._zone_names)
            if name not in self.zones:
                self.zones.append(name)
            there.append(self.zones.index(name))
        self.service = np.concatenate([self.service, np.array(mine, dtype=np.int32)])
        self.region = np.concatenate([self.region, np.array(regions, dtype=np.int32)])
        self.zone = np.concatenate([self.zone, np.array(there, dtype=np.int32)])
        self._own = grown(self._own, rows)
        self._curve = grown(self._curve, len(self.services))
        self._minutes = grown(self._minutes, len(self.services))
        self.members = np.bincount(self.service)
        self.region_members = np.bincount(self.region)

    @property
    def known(self) -> Flags:
        """Services whose curve is there, a flag each."""
        known: Flags = self._minutes[: len(self.services)] >= DAY_MINUTES
        return known

    @property
    def minutes(self) -> Floats:
        """Minutes that each service was learned from."""
        return self._minutes[: len(self.services)]

    def _groups(self, at: int) -> Iterator[tuple[Any, int]]:
        """The rows of each time zone, as an index, and its local time."""
        for number, name in enumerate(self.zones):
            rows = slice(0, len(self.service)) if len(self.zones) == 1 else np.flatnonzero(self.zone == number)
            yield rows, local_ms(name, at)

    # ---- reading

    def factors(self, at: int) -> Factors:
        """The factors of all rows at a time, ms."""
        n = len(self.service)
        result = Factors(np.ones(n), np.ones(n), np.ones(n), np.zeros(n))
        known = self.known
        for rows, local in self._groups(at):
            kind, services = int(is_weekend(local)), self.service[rows]
            usual, other = self._curves(local, kind), self._curves(local, 1 - kind)
            result.curve[rows] = usual[services]
            ratio = np.where(known, np.clip(np.log(other / usual), -1.0, 1.0), 0.0)
            result.ratio[rows] = ratio[services]
            own, doubt = self._owns(rows, local, kind)
            settled = known[services]
            result.own[rows] = np.where(settled, own, 1.0)
            result.doubt[rows] = np.where(settled, doubt, 1.0 / OWN_PRIOR)
        return result

    def _curves(self, local: int, kind: int) -> Floats:
        """Factor of each service at a local time of a day of that kind."""
        counts, exposures = self._curve[..., : len(self.services)]
        first, second, weight = _around(local, self._bins)
        factors = []
        for half in (first, second):
            any_count, any_exposure = counts[0, half] + counts[1, half], exposures[0, half] + exposures[1, half]
            # A new service borrows the feed's curve.
            feed = (CURVE_PRIOR + _total(any_count)) / (CURVE_PRIOR + _total(any_exposure))
            any_day = (CURVE_PRIOR * feed + any_count) / (CURVE_PRIOR + any_exposure)
            factors.append((TYPE_PRIOR * any_day + counts[kind, half]) / (TYPE_PRIOR + exposures[kind, half]))
        curves: Floats = (1.0 - weight) * factors[0] + weight * factors[1]
        return curves

    def _owns(self, rows: Any, local: int, kind: int) -> tuple[Floats, Floats]:
        """Factor of each row on top of its service's curve, and the variance of its logarithm."""
        first, second, weight = _around(local, HOURS)
        factors, masses = [], []
        for hour in (first, second):
            counts, exposures = self._own[:, :, hour, rows]  # type of day, row
            any_day = (OWN_PRIOR + counts[0] + counts[1]) / (OWN_PRIOR + exposures[0] + exposures[1])
            factors.append((OWN_PRIOR * any_day + counts[kind]) / (OWN_PRIOR + exposures[kind]))
            masses.append(exposures[kind].astype(np.float64))
        factor: Floats = (1.0 - weight) * factors[0].astype(np.float64) + weight * factors[1].astype(np.float64)
        return factor, 1.0 / (OWN_PRIOR + (1.0 - weight) * masses[0] + weight * masses[1])

    # ---- learning

    def learn(self, at: int, counts: Floats, minutes: Floats, level: Floats, now: Factors, age: Floats) -> Flags | None:
        """Learns what came around a time, ms: `counts` reports in `minutes` minutes of each row.

        level: reports a minute. now: the factors that were expected. age: minutes that a row was watched. Returns the
        services whose first day ended, None if none.
        """
        services = len(self.services)
        known = self.known
        settled = known[self.service]
        mature = settled & (age >= MATURE_MINUTES)
        # Busy series would drown the others of their service: from a third of a report a minute on, all weigh the same.
        weight = np.where(mature, 1.0, 0.0) / np.maximum(1.0, 3.0 * level)
        for rows, local in self._groups(at):
            kind = int(is_weekend(local))
            half, hour = local % DAY_MS * self._bins // DAY_MS, local % DAY_MS * HOURS // DAY_MS
            mine = self.service[rows]
            spent = exact_sums(mine, minutes[rows], services) / self.members
            keep = np.exp(-spent / CURVE_MEMORY[kind])
            learned = (counts[rows] * weight[rows] / now.own[rows], minutes[rows] * level[rows] * weight[rows])
            for which in (0, 1):
                bins = self._curve[which, kind, half, :services]
                bins *= keep
                bins += exact_sums(mine, learned[which], services)
            self._minutes[:services] += spent
            fade = np.where(settled[rows], np.exp(-minutes[rows] / OWN_MEMORY), 1.0)
            taught = np.where(mature[rows], 1.0, 0.0)
            grown_by = (
                np.where(settled[rows], taught * counts[rows], counts[rows]),
                np.where(settled[rows], taught * minutes[rows] * level[rows] * now.curve[rows], minutes[rows]),
            )
            for which in (0, 1):
                self._own[which, kind, hour, rows] = np.maximum(
                    self._own[which, kind, hour, rows] * fade + grown_by[which], 1e-9
                )
        ended = self.known & ~known
        if not ended.any():
            return None
        self._end_first_day(ended)
        return ended

    def _end_first_day(self, ended: Flags) -> None:
        """Makes the curves of services out of the raw counts of their first day, kept in the hours of their rows."""
        rows = np.flatnonzero(ended[self.service])
        counts, minutes = self._own[..., rows].astype(np.float64)  # type of day, hour, row
        level = np.maximum(counts.sum(axis=(0, 1)) / np.maximum(minutes.sum(axis=(0, 1)), 60.0), 1e-6)
        weight = 1.0 / np.maximum(1.0, 3.0 * level)
        mine, services = self.service[rows], len(self.services)
        seen = np.zeros((2, HOURS, services))
        usual = np.zeros((2, HOURS, services))
        for kind in (0, 1):
            for hour in range(HOURS):
                seen[kind, hour] = exact_sums(mine, weight * counts[kind, hour], services)
                usual[kind, hour] = exact_sums(mine, weight * level * minutes[kind, hour], services)
        ratio = (seen.sum(axis=0) + FIRST_PRIOR) / (usual.sum(axis=0) + FIRST_PRIOR)
        for number in range(self._bins):
            hour, later = divmod(number * HOURS * 2 // self._bins, 2)
            beside = (hour + (1 if later else -1)) % HOURS
            shape = 0.75 * ratio[hour] + 0.25 * ratio[beside] if self._bins > HOURS else ratio[hour]
            exposure = usual[:, hour] * (HOURS / self._bins)
            self._curve[1, :, number, :services] += np.where(ended, exposure, 0.0)
            self._curve[0, :, number, :services] += np.where(ended, exposure * shape, 0.0)
        for kind in (0, 1):
            for hour in range(HOURS):
                middle = (2 * hour + 1) * DAY_MS // (2 * HOURS)
                curve = self._curves(middle, kind)[mine]
                self._own[1, kind, hour, rows] = np.maximum(level * minutes[kind, hour] * curve, 1e-9)

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies."""
        services = len(self.services)
        return {
            "own": self._own[..., : len(self.service)].copy(),
            "curve": self._curve[..., :services].copy(),
            "learned": self._minutes[:services].copy(),
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave, once its series were added."""
        services = len(self.services)
        self._own[..., : len(self.service)] = arrays["own"]
        self._curve[..., :services] = arrays["curve"]
        self._minutes[:services] = arrays["learned"]


def _around(local: int, bins: int) -> tuple[int, int, float]:
    """The two bins of the day whose centres lie around a local time, and the weight of the second.

    >>> _around(3_600_000, 24)
    (0, 1, 0.5)
    """
    length = DAY_MS // bins
    before, into = divmod(local - length // 2, length)
    return int(before % bins), int((before + 1) % bins), into / length


def _total(values: Floats) -> float:
    """Sum that does not depend on the order."""
    return float(exact_sums(np.zeros(len(values), dtype=np.int64), values, 1)[0])

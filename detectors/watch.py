"""Watch: the series of one policy in a partition, tick by tick and bucket by bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Array, Flags, Floats, Numbers, check_like, grown, pack, unpack
from detectors.arrival import Arrival
from detectors.local_time import HOUR_MS
from detectors.maintenance import PlannedRows
from detectors.problems import Problems, SavedProblems
from detectors.recents import Recents, dispersion
from detectors.river_bank import Bank, make_bank, restore_bank
from detectors.river_models import DetectorChoice
from detectors.rollup import ALL, is_rollup
from detectors.rules import Policy, Rules
from detectors.series import OVERFLOW, Names, Series
from detectors.silence import Alive, SavedSilence, Silence, Silent
from detectors.surge import Bounds, Scores
from detectors.surges import SurgeRow
from detectors.window import OpenTick, SavedWindow, Window

#: After its evidence fell a series is still reported to the judge for so long, so that it sees the incident end.
COOLING_MS = 30 * 60 * 1000
#: Evidence from which the judge is told of a series; an incident closes below IncidentRule.close_at, so never above it.
HOT = 0.5
#: ... and of sums over all services, whose number is small: the judge asks early whether all of a region surges.
HOT_OVERALL = -1.5
#: Of a series that the judge was not told of yet.
NOT_TOLD = -(2**62)
#: Series that are told of because others of their service or region are hot, in one tick: those with most reports.
BESIDE = 400
#: An open bucket is scored from so many reports in a series on: less is never steep.
EARLY_REPORTS = 5
#: A day without a report from any source is a gap of the feed: nothing is known of it.
GAP_HOURS = 24


def hot(close_at: float) -> float:
    """Evidence from which the judge is told of a series, where its incidents are calm below close_at."""
    return min(HOT, close_at)


class Cap:
    """How many series a partition may still take up, and as many roll-ups of them; shared by its watches."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.rollups = 0
        self.overflowed = 0

    def take(self, series: Series) -> bool:
        """Take up a series, if there is room."""
        if is_rollup(series.service, series.region):
            if self.rollups >= self.limit:
                return False
            self.rollups += 1
            return True
        if self.taken >= self.limit:
            return False
        self.taken += 1
        return True


class Observer(Protocol):
    """Is shown what the watches of a run close, for those who look at it afterwards; decides nothing."""

    def closing(self, bank: Bank, start: int, counts: NDArray[np.int64]) -> None:
        """The bucket from `start` (ms) is about to close with these counts: `bank` is as it was before it."""

    def closed(
        self, bank: Bank, start: int, counts: NDArray[np.int64], scores: Scores, told: NDArray[np.int64]
    ) -> None:
        """The bucket from `start` (ms) closed: counts and scores of every row of `bank`, valid during the call only.

        told: the rows that the judge is told of.
        """

    def skipped(self, bank: Bank) -> None:
        """The buckets from here to the next that closes are missing: a gap of the feed."""


class Closed(NamedTuple):
    """What is told of a tick."""

    rows: list[SurgeRow]
    silent: list[Silent]


class Busy(NamedTuple):
    """A series in the bucket that closed last: what came, -1 where missing, and the 95 % interval of what was expected.

    All in reports a minute, but for a missing bucket.
    """

    source: str
    names: Names
    observed: float
    expected: float
    low: float
    high: float


class SavedWatch(msgspec.Struct, frozen=True, array_like=True):
    """A watch in a snapshot."""

    policy: Policy
    choice: DetectorChoice
    series: list[Series]
    names: list[Names]
    bank: dict[str, Array]
    recents: dict[str, Array]
    own: dict[str, Array]
    window: SavedWindow
    silence: SavedSilence
    problems: SavedProblems
    next_tick: int | None


class Watch:
    """Closes the ticks and buckets of one policy's series, and tells which series are worth the judge's look."""

    def __init__(
        self, rules: Rules, policy: Policy, cap: Cap, partition: int, observer: Observer | None = None
    ) -> None:
        self.policy = policy
        self.window = Window()
        self.rows: dict[Series, int] = {}
        self.names: list[Names] = []
        self.next_tick: int | None = None
        self._choice = _choice(rules, policy)
        self.bank: Bank = make_bank(self._choice, rules.surge, policy.rule.bucket_seconds, rules.holidays)
        planned = rules.maintenance()
        self._planned = PlannedRows(planned) if planned else None
        self.recents = Recents(policy.rule.bucket_seconds)
        self.buckets_closed = 0
        # Asked for at every tick.
        self._ticks, self._tick_ms = policy.rule.ticks, policy.rule.tick_ms
        self._lateness_ms, self._bucket_ms = policy.rule.lateness_ms, policy.rule.bucket_ms
        self._hot = hot(rules.incidents.close_at)
        self._overall: Flags = np.zeros(0, np.bool_)  # rows of service `*`
        self._single: Flags = np.zeros(0, np.bool_)  # rows that are neither a roll-up nor the overflow series
        # Of the bucket that closed last. Only for people to look at: a snapshot does without.
        self._bounds: Bounds | None = None
        self._bounded = 0  # rows that it had
        self._cap = cap
        self._observer = observer
        self._overflow = Series(f"*{policy.source}/{policy.detector}/{partition}", OVERFLOW, "")
        self.silence = Silence(policy.rule.silent_after, policy.rule.ticks, policy.rule.bucket_seconds)
        self.arrival = Arrival(policy.rule.ticks, policy.rule.bucket_seconds)
        self.problems = Problems(policy.rule.bucket_ms)
        # Of rows: number of the source and service, number of the region.
        self._services: dict[tuple[str, str], int] = {}
        self._regions: dict[str, int] = {}
        self._service: Numbers = np.zeros(0, np.int32)
        self._region: Numbers = np.zeros(0, np.int32)
        self._partial = np.zeros(0, np.int64)
        self._expected = np.zeros(0, np.float64)
        self._hot_until = np.zeros(0, np.int64)
        self._told = np.zeros(0, np.int64)  # start of the last bucket in which it was told of

    # Counting

    def count(self, ticks: NDArray[np.int64], rows: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Add reports of series that have a row; arrays of one length.

        What belongs to a tick that is closed already (a partition woke up late) counts in the open tick.
        """
        self.window.add(ticks if self.next_tick is None else np.maximum(ticks, self.next_tick), rows, counts)

    def count_new(self, tick: int, series: Series, names: Names, count: int) -> None:
        """Add reports of a series that has no row."""
        if self.next_tick is not None and tick < self.next_tick:
            tick = self.next_tick
        if series not in self.window.names and len(self.window.names) >= 2 * self._cap.limit:
            # A flood of invented names faster than ticks close: memory stays bounded, the reports count.
            if is_rollup(series.service, series.region):
                return  # the overflow series has its reports
            self._cap.overflowed += count
            series, names = self._overflow, Names(OVERFLOW, "")
        self.window.add_new(tick, series, names, count)

    def hear_problem(self, bucket: int, series: Series, problem: str, count: int) -> None:
        """Add reports that name a problem; they are counted already. Of a closed bucket they go with the open one."""
        open_bucket = bucket if self.next_tick is None else max(bucket, self.next_tick // self._ticks)
        self.problems.add(open_bucket, series, problem, count)

    # Time

    def due(self) -> int | None:
        """Event time at which the next tick that matters can be decided, ms; None while nothing was ever counted."""
        tick = self.next_tick if self.next_tick is not None else self.window.earliest()
        return None if tick is None else self._at(tick)

    def _at(self, tick: int) -> int:
        return (tick + 1) * self._tick_ms + self._lateness_ms

    def close(self, until: int, horizon: int, hours: set[int], alive: Alive) -> Iterator[tuple[int, Closed]]:
        """Close the ticks that can be decided by event time `until`: (at, what is told) of each that has something.

        hours: the hours in which any report of any source fell, complete up to `horizon`, which is >= until. A gap of
        the feed is left behind at once, also where it ends after `until`. alive: complete in the same way.
        """
        ticks, tick_ms = self._ticks, self._tick_ms
        if self.next_tick is None:
            earliest = self.window.earliest()
            if earliest is None or self._at(earliest) > until:
                return
            self.next_tick = earliest - earliest % ticks
        last = (until - self._lateness_ms) // tick_ms - 1
        waiting = self.window.ticks
        while (tick := self.next_tick) <= last:
            position = tick % ticks
            if position < ticks - 1 and tick not in waiting:
                if position == 0 and (after := self._gap_end(tick, horizon, hours)) is not None:
                    self._skip(tick, after)
                else:
                    self.next_tick = tick + 1
                continue
            told = self._close_tick(tick, position, alive)
            self.next_tick = tick + 1
            if told.rows or told.silent:
                yield self._at(tick), told

    def _gap_end(self, tick: int, horizon: int, hours: set[int]) -> int | None:
        """The first tick of the bucket after a gap of the feed that begins at `tick`; None where there is none."""
        begin = tick * self._tick_ms
        hour = begin // HOUR_MS
        last = (horizon - self._lateness_ms) // HOUR_MS
        if hour in hours or last - hour <= GAP_HOURS:
            return None
        if any(h in hours for h in range(hour, hour + GAP_HOURS + 1)):
            return None
        after = min((h for h in hours if h > hour), default=last)
        bucket = min(after, last) * HOUR_MS // self._bucket_ms
        return bucket * self._ticks

    def _skip(self, tick: int, after: int) -> None:
        bucket = self._bucket_ms
        begin, end = tick // self._ticks * bucket, after // self._ticks * bucket
        self.bank.skip(begin, end)
        self.recents.push_missing((end - begin) // bucket)
        if self._observer is not None:
            self._observer.skipped(self.bank)
        self._bounds = None
        self.next_tick = after

    def _close_tick(self, tick: int, position: int, alive: Alive) -> Closed:
        found = self.window.ticks.pop(tick, None)
        touched = self._take_in(found, position) if found else None
        bucket, at = tick // self._ticks, self._at(tick)
        if position == self._ticks - 1:
            return self._close_bucket(bucket, at, alive)
        if touched is None:
            return Closed([], [])
        fractions = self.arrival.share(position)[self.silence.source]
        return Closed(self._peek(bucket * self._bucket_ms, fractions, touched, at), [])

    def _take_in(self, found: OpenTick, position: int) -> NDArray[np.int64]:
        """Add a tick's reports to the open bucket, whose tick number `position` it is; the rows that they went to."""
        pieces = found.rows
        if found.new:
            self._add_rows(sorted(series for series in found.new if series not in self.rows))
            rows, counts = self._rows_of(found.new)
            pieces = [*pieces, rows]
            found.counts.append(counts)
        rows, counts = np.concatenate(pieces), np.concatenate(found.counts)
        np.add.at(self._partial, rows, counts)
        sources = np.bincount(self.silence.source[rows], counts, len(self.silence.sources)).astype(np.float64)
        self.arrival.saw(position, sources)
        return rows

    def _rows_of(self, counts: dict[Series, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The rows that counts belong to, and those counts; of series beyond the cap they are the overflow series'."""
        pairs: list[tuple[int, int]] = []
        for series, count in counts.items():
            row = self.rows.get(series)
            if row is None:
                if is_rollup(series.service, series.region):
                    continue
                row = self.rows[self._overflow]
                self._cap.overflowed += count
            pairs.append((row, count))
        both = np.array(pairs, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def _add_rows(self, new: list[Series]) -> None:
        """Rows for new series, in order of name while the cap allows; if it does not, the overflow series gets one."""
        added: list[Series] = []
        for series in new:
            _, names = self.window.names.pop(series, (0, Names(series.service, series.region)))
            if series == self._overflow or not self._cap.take(series):
                if is_rollup(series.service, series.region) or self._overflow in self.rows:
                    continue
                series, names = self._overflow, Names(OVERFLOW, "")
            self.rows[series] = len(self.names)
            self.names.append(names)
            added.append(series)
        if added:
            self.bank.add(added)
            self._number(added)
            self._grow(len(self.names))

    def _number(self, added: list[Series]) -> None:
        """What rows have to do with each other."""
        self.silence.add(added)
        if self._planned is not None:
            self._planned.add(added)
        self.arrival.add(len(self.silence.sources))
        overall = [each.service == ALL for each in added]
        self._overall = np.concatenate([self._overall, np.array(overall, np.bool_)])
        single = [each.service != OVERFLOW and not is_rollup(each.service, each.region) for each in added]
        self._single = np.concatenate([self._single, np.array(single, np.bool_)])
        services = [self._services.setdefault((each.source, each.service), len(self._services)) for each in added]
        regions = [self._regions.setdefault(each.region, len(self._regions)) for each in added]
        self._service = np.concatenate([self._service, np.array(services, np.int32)])
        self._region = np.concatenate([self._region, np.array(regions, np.int32)])

    def _grow(self, size: int) -> None:
        self._partial = grown(self._partial, size)
        self._expected = grown(self._expected, size)
        self._hot_until = grown(self._hot_until, size)
        self._told = grown(self._told, size, NOT_TOLD)
        self.recents.grow(size)

    # Scores

    def _peek(self, start: int, fractions: Floats, touched: NDArray[np.int64], at: int) -> list[SurgeRow]:
        """Early fire: the rows of an open bucket whose counts are steep, and those beside them."""
        n = len(self.names)
        counts = self._partial[:n]
        rows = self._steep(counts, fractions, touched)
        if not len(rows):
            return []
        counts = self.silence.without_backlog(counts, self._expected[:n] * fractions)
        scores = self.bank.peek(start, fractions, counts)
        hot = rows[scores.evidence[rows] >= self._hot]
        self._hot_until[hot] = at + COOLING_MS
        rows = self._with_those_beside(hot, scores)
        if not len(rows):
            return []
        return self._rows(rows.tolist(), scores, counts, start, start, closed=False)

    def _steep(self, counts: NDArray[np.int64], fractions: Floats, touched: NDArray[np.int64]) -> NDArray[np.int64]:
        # The last bucket's expectation is a good enough sieve; the bank has the last word.
        counts = counts[touched]
        if counts.max(initial=0) < EARLY_REPORTS:
            return np.zeros(0, np.int64)
        steep = (counts >= EARLY_REPORTS) & (counts > 2 * (self._expected[touched] * fractions[touched] + 1))
        return np.unique(touched[steep])

    def _close_bucket(self, number: int, at: int, alive: Alive) -> Closed:
        n, start = len(self.names), number * self._bucket_ms
        observed = self._partial[:n]
        bucket, silent = self.silence.close(number, observed, partial(self.bank.expected, start), alive)
        if self._observer is not None:
            self._observer.closing(self.bank, start, bucket.counts)
        scores = self._score(start, bucket.counts)
        self.silence.learn(observed, bucket, scores.expected)
        self.arrival.end_bucket()
        self.recents.push(bucket.counts, scores.expected)
        self._expected[:n], self._bounds, self._bounded = scores.expected, scores.bounds, n
        self.buckets_closed += 1
        self.problems.close(number)
        hot_until = self._hot_until[:n]
        hot_until[scores.evidence >= self._hot] = at + COOLING_MS
        hot = np.flatnonzero(hot_until > at)
        shown = self._with_those_beside(hot, scores)
        if self._observer is not None:
            self._observer.closed(self.bank, start, bucket.counts, scores, shown)
        rows = self._rows(shown.tolist(), scores, bucket.counts, start, start + self._bucket_ms, closed=True)
        surging = (self.bank.series[row] for row in hot.tolist())
        self.problems.learn(number, {(each.source, each.service) for each in surging})
        observed[:] = 0
        return Closed(rows, silent)

    def _score(self, start: int, counts: NDArray[np.int64]) -> Scores:
        """What the bank says of the bucket that closes. From what was planned it learns nothing."""
        if self._planned is None:
            return self.bank.close(start, counts)
        end = start + self._bucket_ms
        resting = self._planned.during(start, end)
        scores = self.bank.close(start, counts, resting)
        if resting is not None:
            still = self._planned.during(end, end + self._bucket_ms)
            self.bank.wake(resting if still is None else resting & ~still)
        return scores

    def _with_those_beside(self, hot: NDArray[np.int64], scores: Scores) -> NDArray[np.int64]:
        """Hot rows, and those that show whose fault it is: all of their services and regions, and what comes back."""
        told = (self._overall & (scores.evidence >= HOT_OVERALL)) | self.silence.lately_back
        if len(hot):
            services = np.zeros(len(self._services), np.bool_)
            services[self._service[hot]] = True
            regions = np.zeros(len(self._regions), np.bool_)
            regions[self._region[hot]] = True
            told |= services[self._service] | regions[self._region]
            told[hot] = False
        others = np.flatnonzero(told)
        if len(others) > BESIDE:
            order = sorted(others.tolist(), key=lambda row: (-scores.expected[row], self.bank.series[row]))
            others = np.array(order[:BESIDE])
        return np.concatenate([hot, others])

    def _rows(
        self, picked: Sequence[int], scores: Scores, counts: NDArray[np.int64], start: int, end: int, *, closed: bool
    ) -> list[SurgeRow]:
        """What the judge is told of the picked rows, in order of series. end: where the last closed bucket ends, ms."""
        told: list[SurgeRow] = []
        if not picked:
            return told
        lows, highs = scores.bounds()
        for row in sorted(picked, key=self.bank.series.__getitem__):
            expected, high = float(scores.expected[row]), float(highs[row])
            # The judge adds up what it is told bucket by bucket: what lies before the first one is news.
            news = self._told[row] < start - self._bucket_ms
            recent = self.recents.of(row, end, dispersion(expected, high)) if news else None
            self._told[row] = start
            told.append(
                SurgeRow(
                    self.bank.series[row],
                    self.names[row],
                    float(scores.evidence[row]),
                    int(scores.onset[row]),
                    start,
                    closed,
                    int(counts[row]),
                    expected,
                    float(lows[row]),
                    high,
                    bool(scores.warming[row]),
                    recent,
                    self.problems.of(self.bank.series[row]) if closed else None,
                )
            )
        return told

    # For people to look at

    def busiest(self, most: int) -> list[Busy]:
        """The series of which most reports were expected in the bucket that closed last, at most so many, in any order.

        None after a gap of the feed or a restart, until a bucket closes. Roll-ups are left out, since they would always
        be the busiest, and so is the overflow series.
        """
        if self._bounds is None or most <= 0:
            return []
        n = self._bounded  # what came since then is not known yet
        expected = np.where(self._single[:n], self._expected[:n], -1.0)
        rows = np.argpartition(-expected, most - 1)[:most] if n > most else np.arange(n)
        rows = rows[expected[rows] >= 0.0]
        minutes = self._bucket_ms / 60_000
        observed, (lows, highs) = self.recents.last(rows), self._bounds(rows=rows)
        return [
            Busy(
                self.bank.series[row].source,
                self.names[row],
                float(seen) / minutes if seen >= 0 else -1.0,
                float(expected[row]) / minutes,
                float(low) / minutes,
                float(high) / minutes,
            )
            for row, seen, low, high in zip(rows.tolist(), observed, lows, highs, strict=True)
        ]

    # Keeping

    def save(self) -> SavedWatch:
        """The watch as it is, for a snapshot."""
        n = len(self.names)
        own = {
            "partial": self._partial[:n],
            "expected": self._expected[:n],
            "hot_until": self._hot_until[:n],
            "told": self._told[:n],
        }
        return SavedWatch(
            self.policy,
            self._choice,
            list(self.bank.series),
            self.names,
            pack(self.bank.arrays()),
            pack(self.recents.arrays(n)),
            pack(own | self.silence.arrays() | {"arrival": self.arrival.array()}),
            self.window.save(),
            self.silence.save(),
            self.problems.save(),
            self.next_tick,
        )

    @staticmethod
    def fits(rules: Rules, policy: Policy, saved: SavedWatch) -> bool:
        """Whether a watch of a snapshot can go on under a policy of today: same bucket, same detector."""
        same_bucket = saved.policy.rule.bucket_seconds == policy.rule.bucket_seconds
        return same_bucket and saved.choice == _choice(rules, policy)

    @classmethod
    def restore(cls, rules: Rules, policy: Policy, saved: SavedWatch, cap: Cap, partition: int) -> Watch:
        """The watch of a snapshot that `fits`. ValueError where its parts do not fit each other."""
        watch = cls(rules, policy, cap, partition)
        n = len(saved.series)
        if len(saved.names) != n:
            raise ValueError(f"{len(saved.names)} names for {n} series")
        bucket_seconds = policy.rule.bucket_seconds
        watch.bank = restore_bank(
            saved.choice, rules.surge, bucket_seconds, saved.series, unpack(saved.bank), rules.holidays
        )
        watch.recents = Recents.restore(bucket_seconds, n, unpack(saved.recents))
        watch.window, watch.next_tick = Window.restore(saved.window), saved.next_tick
        # A catalogue that is new since then spells names its way.
        watch.names = [
            spelled if settled == series else names
            for series, names in zip(saved.series, saved.names, strict=True)
            for settled, spelled in (rules.catalogue.settle(series, names),)
        ]
        watch.rows = {series: row for row, series in enumerate(saved.series)}
        watch._number(list(saved.series))
        watch._grow(n)
        own = unpack(saved.own)
        if own.keys() != {"partial", "expected", "hot_until", "told", "arrival", *watch.silence.arrays()}:
            raise ValueError(f"arrays of a watch are {sorted(own)}")
        watch.silence.load(saved.silence, own)
        watch.problems.load(saved.problems)
        check_like("arrival", own["arrival"], watch.arrival.array())
        watch.arrival.load(own["arrival"])
        watch._partial[:n], watch._expected[:n] = own["partial"], own["expected"]
        watch._hot_until[:n], watch._told[:n] = own["hot_until"], own["told"]
        wide = sum(is_rollup(each.service, each.region) for each in saved.series)
        cap.rollups += wide
        cap.taken += n - wide - (watch._overflow in watch.rows)
        return watch


def _choice(rules: Rules, policy: Policy) -> DetectorChoice:
    return rules.detectors[policy.detector] if policy.detector >= 0 else DetectorChoice()

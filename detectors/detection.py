"""Detection: one partition of `report-counts`, from chunk counts to the surges that the judge hears of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import nsmallest
from itertools import groupby

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.counts import ChunkCounts
from detectors.local_time import HOUR_MS
from detectors.rollup import ALL, rollups
from detectors.rules import Policy, Rules
from detectors.series import OVERFLOW, Names, Series, partition_of
from detectors.silence import Alive
from detectors.snapshot import Mismatch, check_version
from detectors.surges import SurgeRecord, Tick, cut
from detectors.watch import Busy, Cap, Closed, Observer, SavedWatch, Watch
from detectors.watermark import NEVER

#: Buckets closed in one step at most, of the source with the shortest, so that a long way to go leaves room for others.
STEP_BUCKETS = 60
#: ... and event time.
STEP_MS = 6 * HOUR_MS
#: Of what `Detection.save` writes: another number for whatever today's `restore` could not go on from.
STATE_VERSION = 4
#: Hours remembered before those that no watch needs any more are forgotten.
_HOURS_KEPT = 2_000


class Input(msgspec.Struct, array_like=True):
    """How far an input partition is in the counts: its current chunk, and the last message of it.

    clears: event time that it does not hold back, ms: its watermark, or, while it never had a record, the watermark of
    the others when it last said so. A record may be on its way to it that is older than what came to the others since.
    """

    start: int
    upto: int
    clears: int
    last: ChunkCounts | None = None


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """A partition of detect in a snapshot."""

    version: int
    partitions: int
    inputs: list[Input | None]
    marks: list[int]
    through: int
    hours: list[int]
    alive: dict[str, dict[int, int]]
    overflowed: int
    watches: list[SavedWatch]


class _Version(msgspec.Struct, frozen=True, array_like=True):
    """What any version of `Saved` begins with."""

    version: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Saved).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


class Detection:
    """What a partition of detect knows, and its two steps: `apply` a message, then `advance` until it returns nothing.

    A function of the messages in their order alone. Counts do not depend on how the messages of different input
    partitions interleave, nor do they change when a message comes again.
    observer: is shown what is closed.
    """

    def __init__(self, rules: Rules, partition: int, observer: Observer | None = None) -> None:
        self.rules = rules
        self.partition = partition
        self._observer = observer
        self.inputs: list[Input | None] = [None] * rules.reports_partitions
        self._marks = [NEVER] * rules.reports_partitions
        self.through = NEVER
        self._everywhere = partition_of(ALL, rules.partitions)
        shortest = min(rule.bucket_ms for rule in (rules.source_default, *rules.sources.values()))
        self._step_ms = min(STEP_MS, STEP_BUCKETS * shortest)
        self._cap = Cap(max(1, rules.series_limit // rules.partitions))
        self._rollups: dict[tuple[Series, Names], list[tuple[Series, Names]]] = {}
        self._alive = Alive()
        self._hours: set[int] = set()
        self._watches: dict[Policy, Watch] = {}
        self._policies: dict[Series, Watch] = {}

    @property
    def series(self) -> int:
        """Series watched, the overflow series among them; roll-ups come on top."""
        return sum(len(watch.names) for watch in self._watches.values()) - self._cap.rollups

    @property
    def overflowed(self) -> int:
        """Reports counted in the overflow series."""
        return self._cap.overflowed

    @property
    def buckets_closed(self) -> int:
        """Buckets closed since this object was made, each for all series of its source."""
        return sum(watch.buckets_closed for watch in self._watches.values())

    def busiest(self, most: int) -> list[Busy]:
        """The series of which most reports a minute are expected, at most so many, the busiest first; see `Watch`."""
        found = (each for watch in self._watches.values() for each in watch.busiest(most))
        return nsmallest(
            most, found, key=lambda each: (-each.expected, each.source, each.names.service, each.names.region)
        )

    def apply(self, message: ChunkCounts) -> None:
        """Take in the counts of a chunk so far; a replay changes nothing.

        ValueError if the message was made for another number of input partitions than the rules say.
        """
        if message.partitions != len(self.inputs) or not 0 <= message.partition < len(self.inputs):
            raise ValueError(
                f"counts of partition {message.partition} of {message.partitions}, but topics.reports_partitions is "
                f"{len(self.inputs)}; stop all workers, give each the same settings, and start them again"
            )
        current = self.inputs[message.partition]
        if current is None or message.start > current.start:
            current = Input(message.start, message.start, NEVER if current is None else current.clears)
        elif message.start < current.start or message.upto < current.upto:
            return
        self.inputs[message.partition] = current
        self._hours.update(message.hours)
        for source, buckets in message.alive.items():
            for bucket, tick in buckets:
                self._alive.heard(source, bucket, tick)
        self._count(message, {} if current.last is None else _by_key(current.last))
        self._hear_problems(message, {} if current.last is None else _by_problem(current.last))
        current.last = message
        current.upto = message.upto
        if message.watermark == NEVER:
            marks = [each for each in self._marks if each != NEVER]
            current.clears = max(current.clears, min(marks, default=NEVER))
        else:
            self._marks[message.partition] = max(self._marks[message.partition], message.watermark)
            current.clears = self._marks[message.partition]

    def _count(self, message: ChunkCounts, before: dict[tuple[Series, Names, int], int]) -> None:
        """Count what the message has more than was counted before of its chunk."""
        index = np.array(message.rows, np.int64)
        ticks = np.array(message.ticks, np.int64)
        counts = np.array(message.counts, np.int64)
        if before:
            keys = ((message.series[row], message.names[row], tick) for row, tick in zip(index, ticks, strict=True))
            counts -= np.fromiter((before.get(key, 0) for key in keys), np.int64, len(counts))
            more = counts > 0
            index, ticks, counts = index[more], ticks[more], counts[more]
        # Service `*` has sums over services: there are only roll-ups of them.
        own = np.fromiter((series.service != ALL for series in message.series), np.bool_, len(message.series))[index]
        self._add(message.series, message.names, index[own], ticks[own], counts[own])
        self._add_rollups(message, index, ticks, counts)

    def _hear_problems(self, message: ChunkCounts, before: dict[tuple[Series, Names, int, str], int]) -> None:
        """Count problems that the message has more than were counted before of its chunk."""
        for row, bucket, number, count in message.mentions:
            series, problem = message.series[row], message.problems[number]
            if before:
                count -= before.get((series, message.names[row], bucket, problem), 0)
            if count > 0:
                self._watch(series).hear_problem(bucket, series, problem, count)

    def _add_rollups(
        self, message: ChunkCounts, index: NDArray[np.int64], ticks: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> None:
        wider: dict[tuple[Series, Names], int] = {}
        flat: list[int] = []
        lengths: list[int] = []
        for both in zip(message.series, message.names, strict=True):
            found = self._rollups.get(both)
            if found is None:
                if len(self._rollups) > 2 * self._cap.limit:
                    self._rollups.clear()
                found = self._rollups[both] = rollups(*both)
            flat.extend(wider.setdefault(each, len(wider)) for each in found)
            lengths.append(len(found))
        # Each count once for each roll-up of its series.
        length = np.array(lengths, np.int64)
        first = np.cumsum(length) - length
        repeated = length[index]
        whose = np.repeat(np.arange(len(index)), repeated)
        nth = np.arange(len(whose)) - np.repeat(np.cumsum(repeated) - repeated, repeated)
        place = np.array(flat, np.int64)[first[index[whose]] + nth] if len(whose) else whose
        series, names = [each for each, _ in wider], [each for _, each in wider]
        self._add(series, names, place, ticks[whose], counts[whose])

    def _add(
        self,
        series: Sequence[Series],
        names: Sequence[Names],
        index: NDArray[np.int64],
        ticks: NDArray[np.int64],
        counts: NDArray[np.int64],
    ) -> None:
        """Count reports of these series. index: into series; index, ticks, counts: of one length."""
        watches = [self._watch(each) for each in series]
        rows = np.fromiter(
            (watch.rows.get(each, -1) for watch, each in zip(watches, series, strict=True)), np.int64, len(watches)
        )
        for watch in dict.fromkeys(watches):
            mine = np.fromiter((each is watch for each in watches), np.bool_, len(watches))
            known = (mine & (rows >= 0))[index]
            if known.any():
                watch.count(ticks[known], rows[index[known]], counts[known])
        new = (rows < 0)[index]
        for place, tick, count in zip(index[new].tolist(), ticks[new].tolist(), counts[new].tolist(), strict=True):
            watches[place].count_new(tick, series[place], names[place], count)

    def _watch(self, series: Series) -> Watch:
        watch = self._policies.get(series)
        if watch is None:
            policy = self.rules.policy(series)
            watch = self._watches.get(policy)
            if watch is None:
                watch = self._watches[policy] = Watch(self.rules, policy, self._cap, self.partition, self._observer)
            if len(self._policies) > 2 * self._cap.limit:
                self._policies.clear()
            self._policies[series] = watch
        return watch

    @property
    def watermark(self) -> int:
        """Event time up to which all input partitions are read, ms; NEVER until each has been heard of."""
        return min(NEVER if each is None else each.clears for each in self.inputs)

    def advance(self) -> list[SurgeRecord]:
        """Close what can be closed, STEP_BUCKETS at most: one record or more; none when nothing is left to do."""
        horizon = self.watermark
        if horizon <= self.through:
            return []
        first = min((due for watch in self._watches.values() if (due := watch.due()) is not None), default=horizon)
        until = min(horizon, max(first, self.through) + self._step_ms)
        told: list[tuple[int, Closed]] = []
        for _, watch in sorted(self._watches.items()):
            told.extend(watch.close(until, horizon, self._hours, self._alive))
        told.sort(key=lambda each: each[0])
        ticks = []
        for at, group in groupby(told, key=lambda each: each[0]):
            parts = [closed for _, closed in group]
            rows = sorted((row for part in parts for row in part.rows), key=lambda row: row.series)
            # Only the partition of service `*` sees all of a source.
            everywhere = self.partition == self._everywhere
            silent = [each for part in parts for each in part.silent] if everywhere else []
            silent.sort(key=lambda each: each.source)
            if not rows and not silent:
                continue
            ticks.append(Tick(at, rows, silent))
        self._alive.forget(self._first_open)
        self.through = until
        if len(self._hours) > _HOURS_KEPT:
            need = min((due for watch in self._watches.values() if (due := watch.due()) is not None), default=until)
            self._hours = {hour for hour in self._hours if hour >= min(need, until) // HOUR_MS - 1}
        return cut(SurgeRecord(self.partition, self.rules.partitions, until, ticks))

    def _first_open(self, source: str) -> int:
        """The first bucket of a source (number since 1970) that is not closed."""
        rule = self.rules.source(source)
        return (self.through - rule.lateness_ms) // rule.bucket_ms

    def take(self, message: ChunkCounts) -> Iterator[SurgeRecord]:
        """`apply`, then all that `advance` gives."""
        self.apply(message)
        while records := self.advance():
            yield from records

    def restart(self, starts: Sequence[int]) -> None:
        """The log of reports begins anew, at `starts` of the input partitions; all that is known by now stays.

        So what is older than the reports known by now is late in the new log, too.
        """
        for partition, start in enumerate(starts):
            before = self.inputs[partition]
            if before is not None:
                self.inputs[partition] = Input(start, start, before.clears)

    def save(self) -> bytes:
        """The whole state, for a snapshot."""
        watches = [watch.save() for _, watch in sorted(self._watches.items())]
        return _encode(
            Saved(
                STATE_VERSION,
                self.rules.partitions,
                self.inputs,
                self._marks,
                self.through,
                sorted(self._hours),
                self._alive.needed(self._first_open),
                self.overflowed,
                watches,
            )
        )

    @classmethod
    def restore(cls, rules: Rules, partition: int, data: bytes) -> Detection:
        """The state of `save`, under today's rules: going on from it gives what going on without a stop had given.

        A bank whose bucket length or detector changed starts anew. ValueError if the data is no such state; Mismatch if
        it was made by another version or for other numbers of partitions.
        """
        try:
            check_version(_decode_version(data).version, STATE_VERSION)
            saved = _decode(data)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no state of detect: {error}") from error
        if saved.partitions != rules.partitions or len(saved.inputs) != rules.reports_partitions:
            raise Mismatch(
                f"the state was made for {saved.partitions} partitions of report-counts and {len(saved.inputs)} of "
                f"reports, the settings say {rules.partitions} and {rules.reports_partitions}"
            )
        self = cls(rules, partition)
        self.inputs, self._marks = saved.inputs, saved.marks
        self.through, self._hours, self._alive = saved.through, set(saved.hours), Alive(saved.alive)
        self._cap.overflowed = saved.overflowed
        for each in saved.watches:
            if not each.series and not each.window.ticks:
                continue
            sample = each.series[0] if each.series else next(iter(each.window.names))
            policy = rules.policy(sample) if sample.service != OVERFLOW else each.policy
            if policy not in self._watches and Watch.fits(rules, policy, each):
                self._watches[policy] = Watch.restore(rules, policy, each, self._cap, partition)
        return self


def _by_key(message: ChunkCounts) -> dict[tuple[Series, Names, int], int]:
    return {
        (message.series[row], message.names[row], tick): count
        for row, tick, count in zip(message.rows, message.ticks, message.counts, strict=True)
    }


def _by_problem(message: ChunkCounts) -> dict[tuple[Series, Names, int, str], int]:
    return {
        (message.series[row], message.names[row], bucket, message.problems[problem]): count
        for row, bucket, problem, count in message.mentions
    }

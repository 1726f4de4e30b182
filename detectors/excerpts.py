"""Excerpts: the buckets around incidents and known outages, cut out of what passes by in a run.

Which series an incident will need is known late: the judge comes hours of event time after detection where reports are
sparse. So each series that the judge is told of is kept from some time before that until after it, and what turns out
to be no incident's is dropped. Memory is bounded: by RING_BYTES for what just passed, and by numbers of excerpts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.arrays import grown
from detectors.episodes import Episode, History, Place
from detectors.local_time import DAY_MS
from detectors.river_bank import Bank
from detectors.rollup import is_rollup
from detectors.series import Series
from detectors.surge import Scores
from detectors.verification import Label

#: Buckets kept from before a series is told of: an onset lies 60 back at most, and as much again shows what was usual.
BEFORE: Final = 120
#: Where that many do not fit RING_BYTES there are fewer, but no less than these.
BEFORE_LEAST: Final = 10
#: Buckets kept after the judge was last told of a series, half an hour after it was hot.
AFTER: Final = 15
#: Buckets kept before and after a label.
AROUND_LABEL: Final = 60
#: The longest excerpt; what goes on longer is kept in several.
LONGEST: Final = 1440
#: What the buckets that just passed may take, for all series together.
RING_BYTES: Final = 128 << 20
#: Excerpts that are being made at once; further series have none until others end.
RUNNING: Final = 5_000
#: Excerpts of incidents that are kept: those with the most evidence.
KEPT: Final = 1_000
#: Labels that excerpts are kept for, and series of each: those that came nearest to an incident.
LABELS: Final = 1_000
SERIES_OF_LABEL: Final = 3
#: As incidents put it where a detector is infinitely sure.
_MOST_EVIDENCE: Final = 1e6
_FIELDS: Final = 5
#: Buckets that may be put together: so many make times that people count in.
_TOGETHER: Final = (1, 2, 3, 5, 10, 15, 30, 60, 120, 240, 720, LONGEST)

Floats32 = NDArray[np.float32]


class Excerpt(msgspec.Struct, frozen=True, eq=False):
    """Closed buckets of one series, in their order, without gaps of the feed.

    starts: begins of the buckets, ms, shape (n,). values: shape (5, n): observed, expected, low, high, evidence; NaN
    where the series was not there yet.
    """

    series: Series
    bucket_ms: int
    starts: NDArray[np.int64]
    values: Floats32

    @property
    def begin(self) -> int:
        return int(self.starts[0])

    @property
    def end(self) -> int:
        return int(self.starts[-1]) + self.bucket_ms

    @property
    def place(self) -> Place:
        return self.series.service, self.series.region

    def peak(self, begin: int | None = None, end: int | None = None) -> float:
        """The most evidence in a bucket that begins in [begin, end), ms; -inf where there is none."""
        within = np.ones(len(self.starts), np.bool_)
        if begin is not None:
            within &= self.starts > begin - self.bucket_ms
        if end is not None:
            within &= self.starts < end
        evidence = self.values[4, within]
        evidence = evidence[~np.isnan(evidence)]
        return float(evidence.max()) if len(evidence) else -np.inf

    def between(self, begin: int, end: int) -> Excerpt:
        """The buckets that overlap [begin, end), ms; possibly none."""
        within = (self.starts > begin - self.bucket_ms) & (self.starts < end)
        return Excerpt(self.series, self.bucket_ms, self.starts[within], self.values[:, within])

    def coarser(self, most: int) -> Excerpt:
        """With so many buckets put together that there are no more than `most`.

        Counts and expected counts add up; ends of intervals by the squares of their distances, as Sums of incidents do;
        of evidence the most. A bucket at either end that would not be whole is left out.
        """
        several = next(n for n in _TOGETHER if n * most >= len(self.starts))
        if several == 1:
            return self
        bucket_ms = self.bucket_ms * several
        first = int(np.argmax(self.starts % bucket_ms == 0))
        whole = (len(self.starts) - first) // several
        part = self.values[:, first : first + whole * several].reshape(_FIELDS, whole, several).astype(np.float64)
        observed, expected, low, high, evidence = part
        middle = expected.sum(axis=1)
        values = np.stack(
            (
                observed.sum(axis=1),
                middle,
                np.maximum(middle - np.sqrt(((expected - low) ** 2).sum(axis=1)), 0.0),
                middle + np.sqrt(((high - expected) ** 2).sum(axis=1)),
                evidence.max(axis=1),
            )
        )
        starts = self.starts[first : first + whole * several : several]
        return Excerpt(self.series, bucket_ms, starts, values.astype(np.float32))


#: An excerpt that came to its end, and the index of the label that it is of.
Kept = tuple[Excerpt, int | None]


class Recorder:
    """An observer of a run that keeps excerpts. The same run gives the same excerpts.

    labels: known outages; for the first LABELS of them excerpts are kept whatever becomes of them. ring_bytes: for the
    buckets that just passed. most_running: excerpts that are being made at once, by default RUNNING.
    Call `prune` now and then, and `finish` at the end; then ask.
    """

    def __init__(
        self, labels: Sequence[Label] = (), *, ring_bytes: int = RING_BYTES, most_running: int | None = None
    ) -> None:
        self.labels = labels[:LABELS]
        self.most_running = RUNNING if most_running is None else most_running
        self._ring_bytes = ring_bytes
        self._labels: dict[str, list[tuple[int, Label]]] = {}
        for index, label in enumerate(self.labels):
            self._labels.setdefault(label.place[0], []).append((index, label))
        self._tracks: dict[Bank, _Track] = {}
        self._done: dict[Place, list[Excerpt]] = {}
        self._of_labels: dict[int, list[Excerpt]] = {}
        self._many = 0
        self.running = 0

    # As an observer

    def closing(self, bank: Bank, start: int, counts: NDArray[np.int64]) -> None:
        pass

    def closed(
        self, bank: Bank, start: int, counts: NDArray[np.int64], scores: Scores, told: NDArray[np.int64]
    ) -> None:
        track = self._tracks.get(bank)
        if track is None:
            track = self._tracks[bank] = _Track(self, bank)
        if len(counts) > track.series and track.grow(len(counts)):
            self._share_out()
        track.push(start, counts, scores, told)

    def skipped(self, bank: Bank) -> None:
        track = self._tracks.get(bank)
        if track is not None:
            track.skip()

    def _share_out(self) -> None:
        """Let the tracks keep as many buckets as there is room for."""
        columns = sum(track.room for track in self._tracks.values())
        length = min(BEFORE, max(BEFORE_LEAST, self._ring_bytes // (4 * _FIELDS * columns)))
        for track in self._tracks.values():
            track.shorten(length)

    # In several processes

    def part(self, share: float) -> RecorderPart:
        """A recorder for some of the partitions. share: how many of them; together they take no more than this one."""
        most_running = max(1, int(share * self.most_running))
        return RecorderPart(self.labels, ring_bytes=int(share * self._ring_bytes), most_running=most_running)

    def take(self, kept: Sequence[Kept]) -> None:
        """Keep what a part handed on."""
        for excerpt, label in kept:
            self.keep(excerpt, label)

    # What tracks hand over

    def labels_of(self, series: Series) -> Iterable[tuple[int, Label]]:
        """The labels that a series belongs to, with their indexes; none of a roll-up, which would show it once more."""
        if is_rollup(series.service, series.region):
            return
        for index, label in self._labels.get(series.service, ()):
            if label.covers((series.service, series.region)):
                yield index, label

    def keep(self, excerpt: Excerpt, label: int | None) -> None:
        """Take a whole excerpt: of a label, or of an incident, perhaps."""
        if label is None:
            self._done.setdefault(excerpt.place, []).append(excerpt)
            self._many += 1
            return
        kept = self._of_labels.setdefault(label, [])
        kept.append(excerpt)
        kept.sort(key=lambda each: (-each.peak(), each.series))
        del kept[SERIES_OF_LABEL:]

    # For the one who runs it

    def prune(self, history: History, judged: int) -> None:
        """Drop what no incident up to event time `judged` (ms) needs, and, beyond KEPT, those of the least evidence.

        A day after its end no incident will need an excerpt any more: decisions come the lateness after what they are
        about, and that is a day at most.
        """
        if self._many < 2 * KEPT:
            return
        kept: list[tuple[float, int, Excerpt]] = []
        for place, excerpts in self._done.items():
            episodes = history.at(place)
            for excerpt in excerpts:
                over = [each.evidence for each in episodes if _overlap(excerpt, each)]
                if over or excerpt.end + DAY_MS > judged:
                    kept.append((max(over, default=excerpt.peak()), len(kept), excerpt))
        if len(kept) > KEPT:
            kept.sort(key=lambda each: (-each[0], each[2].begin, each[2].series))
            del kept[KEPT:]
            kept.sort(key=lambda each: each[1])
        self._done = {}
        self._many = len(kept)
        for _, _, excerpt in kept:
            self._done.setdefault(excerpt.place, []).append(excerpt)

    def finish(self) -> None:
        """The run is over: end all excerpts where they are."""
        for track in self._tracks.values():
            track.skip()

    def of(self, episode: Episode) -> list[Excerpt]:
        """The excerpts that show an episode: of each source the one that has most of it, the most evidence first.

        How it began counts first: one that outlasts LONGEST is shown up to there.
        """
        shown: dict[str, Excerpt] = {}
        for excerpt in self._done.get(episode.place, ()):
            if excerpt.series.source in episode.sources and _overlap(excerpt, episode):
                best = shown.get(excerpt.series.source)
                if best is None or _part_of(excerpt, episode) > _part_of(best, episode):
                    shown[excerpt.series.source] = excerpt
        return sorted(shown.values(), key=lambda each: (-each.peak(episode.started, episode.until), each.series))

    def of_labels(self) -> list[tuple[Excerpt, int]]:
        """The excerpts of all labels, with the label's index."""
        return [(excerpt, index) for index, excerpts in self._of_labels.items() for excerpt in excerpts]

    def of_label(self, index: int) -> list[Excerpt]:
        """The excerpts of a label, the most evidence first; none where no report of its place came in time."""
        return list(self._of_labels.get(index, ()))


class RecorderPart(Recorder):
    """A recorder that hands on what comes to its end, of labels at the end of all: of those few are kept."""

    def __init__(self, labels: Sequence[Label], *, ring_bytes: int, most_running: int) -> None:
        super().__init__(labels, ring_bytes=ring_bytes, most_running=most_running)
        self._kept: list[Kept] = []

    def keep(self, excerpt: Excerpt, label: int | None) -> None:
        if label is None:
            self._kept.append((excerpt, None))
        else:
            super().keep(excerpt, label)

    def finish(self) -> None:
        super().finish()
        self._kept += self.of_labels()

    def hand_on(self) -> list[Kept]:
        """What came to its end since the last call."""
        kept, self._kept = self._kept, []
        return kept


def _overlap(excerpt: Excerpt, episode: Episode) -> bool:
    return excerpt.begin < episode.until and excerpt.end > episode.started


def _part_of(excerpt: Excerpt, episode: Episode) -> tuple[int, int]:
    """How much it has of the time from onset to detection, and of all of the episode, ms."""
    began = max(excerpt.begin, episode.started)
    return min(excerpt.end, episode.detected) - began, min(excerpt.end, episode.until) - began


class _Running:
    """An excerpt that is being made. taken: buckets of the track that are in `pieces`; last: when it was wanted."""

    __slots__ = ("last", "length", "pieces", "row", "taken")

    def __init__(self, row: int, taken: int, last: int) -> None:
        self.row = row
        self.taken = taken
        self.last = last
        self.length = 0
        self.pieces: list[tuple[NDArray[np.int64], Floats32]] = []


class _Track:
    """The buckets of a bank that just passed, as a ring, and the excerpts that are being made of them."""

    def __init__(self, recorder: Recorder, bank: Bank) -> None:
        self._recorder = recorder
        self._bank = bank
        self._bucket_ms = bank.bucket_seconds * 1000
        self.series = 0
        self._length = BEFORE
        self._starts = np.zeros(BEFORE, np.int64)
        self._ring: Floats32 = np.zeros((_FIELDS, BEFORE, 0), np.float32)
        # How many buckets were pushed, and how many of them lie before the last gap.
        self._pushed = 0
        self._since = 0
        self._hot: dict[int, _Running] = {}
        # By index of the label and row; and those to come: begin (ms), row, index, end.
        self._labelled: dict[tuple[int, int], tuple[int, _Running]] = {}
        self._coming: list[tuple[int, int, int, int]] = []

    @property
    def room(self) -> int:
        """Series that there is room for."""
        return int(self._ring.shape[-1])

    def grow(self, series: int) -> bool:
        """Room for so many series; true if more memory is taken for them."""
        room = self.room
        self._ring = grown(self._ring, series, np.nan)
        around = AROUND_LABEL * self._bucket_ms
        for row in range(self.series, series):
            for index, label in self._recorder.labels_of(self._bank.series[row]):
                if len(self._coming) < RUNNING:
                    heappush(self._coming, (label.start - around, row, index, label.end + around))
        self.series = series
        return self.room > room

    def shorten(self, length: int) -> None:
        """Keep no more than `length` buckets from now on."""
        if length >= self._length:
            return
        self._take_all()
        last = np.arange(max(self._pushed - length, 0), self._pushed)
        ring = np.full((_FIELDS, length, self.room), np.nan, np.float32)
        starts = np.zeros(length, np.int64)
        ring[:, last % length] = self._ring[:, last % self._length]
        starts[last % length] = self._starts[last % self._length]
        self._ring, self._starts, self._length = ring, starts, length

    def push(self, start: int, counts: NDArray[np.int64], scores: Scores, told: NDArray[np.int64]) -> None:
        n, slot = len(counts), self._pushed % self._length
        bucket = self._ring[:, slot, :n]
        # A detector chosen by name may be infinitely sure or expect more than 32 bits hold.
        with np.errstate(over="ignore", invalid="ignore"):
            bucket[0] = counts
            bucket[1] = scores.expected
            bucket[2], bucket[3] = scores.bounds()
            bucket[4] = scores.evidence
            np.minimum(bucket[4], _MOST_EVIDENCE, out=bucket[4])
        self._starts[slot] = start
        self._pushed += 1
        if len(told):
            self._follow(told.tolist())
        if self._hot:
            self._end_hot()
        if self._coming or self._labelled:
            self._follow_labels(start)
        if self._pushed % self._length == 0:
            self._take_all()

    def skip(self) -> None:
        """A gap of the feed, or the end: all excerpts end here."""
        for row in list(self._hot):
            self._finish(self._hot.pop(row), None)
        for key in list(self._labelled):
            self._finish(self._labelled.pop(key)[1], key[0])
        self._since = self._pushed

    def _follow(self, told: list[int]) -> None:
        for row in told:
            running = self._hot.get(row)
            if running is not None:
                running.last = self._pushed
            elif self._recorder.running < self._recorder.most_running:
                first = max(self._since, self._pushed - self._length)
                self._hot[row] = self._begin(row, first)

    def _begin(self, row: int, first: int) -> _Running:
        self._recorder.running += 1
        running = _Running(row, first, self._pushed)
        self._take(running)
        return running

    def _end_hot(self) -> None:
        ended = [
            row
            for row, each in self._hot.items()
            if each.last + AFTER < self._pushed or each.length + self._pushed - each.taken >= LONGEST
        ]
        for row in ended:
            self._finish(self._hot.pop(row), None)

    def _follow_labels(self, start: int) -> None:
        while self._coming and self._coming[0][0] <= start:
            _, row, index, end = heappop(self._coming)
            if end > start and self._recorder.running < self._recorder.most_running:
                self._labelled[index, row] = (end, self._begin(row, self._pushed - 1))
        ended = [
            key
            for key, (end, each) in self._labelled.items()
            if end <= start + self._bucket_ms or each.length + self._pushed - each.taken >= LONGEST
        ]
        for key in ended:
            self._finish(self._labelled.pop(key)[1], key[0])

    def _take_all(self) -> None:
        for each in self._hot.values():
            self._take(each)
        for _, each in self._labelled.values():
            self._take(each)

    def _take(self, running: _Running) -> None:
        """Copy what passed since the last time."""
        if running.taken < self._pushed:
            slots = np.arange(running.taken, self._pushed) % self._length
            running.pieces.append((self._starts[slots], self._ring[:, slots, running.row]))
            running.length += len(slots)
            running.taken = self._pushed

    def _finish(self, running: _Running, label: int | None) -> None:
        self._take(running)
        self._recorder.running -= 1
        starts = np.concatenate([starts for starts, _ in running.pieces])
        values = np.concatenate([values for _, values in running.pieces], axis=1)
        self._recorder.keep(Excerpt(self._bank.series[running.row], self._bucket_ms, starts, values), label)

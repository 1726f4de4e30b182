"""Pipeline: all stages in one process, in the order of the data, without Kafka. The alerts are those of the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from detectors import alert
from detectors.counts import BEGIN, ChunkCounts, NameCache, PartitionCounter, Position
from detectors.detection import Detection
from detectors.incident import Judge
from detectors.report import Reason
from detectors.rules import Rules
from detectors.surges import SurgeRecord
from detectors.watch import Observer


class PlainRecord(NamedTuple):
    """A record of `reports`. timestamp: ms since 1970."""

    offset: int
    timestamp: int
    value: bytes | None


class Learned(NamedTuple):
    """What the stages know. ingest: by partition of `reports`; detect: by partition of `report-counts`, as saved."""

    ingest: list[Position]
    detect: list[bytes]
    judge: bytes


class Replay:
    """Reports in, surges out: the stages before the judge.

    counted: reports counted; rejected: the others, by reason. observer: is shown what detection closes; the surges do
    not depend on it.
    """

    def __init__(self, rules: Rules, observer: Observer | None = None) -> None:
        self.counted = 0
        self.rejected: Counter[Reason] = Counter()
        names = NameCache(rules)
        self._counters = [PartitionCounter(names, partition, BEGIN) for partition in range(rules.reports_partitions)]
        self._detections = [Detection(rules, partition, observer) for partition in range(rules.partitions)]

    def empty(self, partition: int) -> list[SurgeRecord]:
        """Say that a partition of `reports` has no record yet: it holds the others back no longer. As `read`."""
        return self._detect(self._counters[partition].messages())

    def read(self, partition: int, values: Sequence[bytes | None], stamps: Sequence[int]) -> list[SurgeRecord]:
        """Read the next records of a partition of `reports`; returns the surges that follow, in order.

        values, stamps: of consecutive records, the record's value and its timestamp in ms.
        """
        counter = self._counters[partition]
        first = counter.upto
        records = [
            PlainRecord(first + i, stamp, value) for i, (value, stamp) in enumerate(zip(values, stamps, strict=True))
        ]
        surges: list[SurgeRecord] = []
        begin, before = 0, counter.counted
        while begin < len(records):
            begin, rejected = counter.read(records, begin)
            self.rejected.update(each.reason for _, each in rejected)
            surges += self._detect(counter.messages())
            if counter.full:
                counter.seal()
        self.counted += counter.counted - before
        return surges

    @property
    def series(self) -> int:
        """Series watched, overflow series among them."""
        return sum(detection.series for detection in self._detections)

    @property
    def overflowed(self) -> int:
        """Reports counted in overflow series."""
        return sum(detection.overflowed for detection in self._detections)

    def learned(self, starts: Sequence[int]) -> tuple[list[Position], list[bytes]]:
        """Positions of ingest and states of detect, for a log that begins at `starts`: see `Pipeline.learned`."""
        positions = []
        for counter, start in zip(self._counters, starts, strict=True):
            positions.append(msgspec.structs.replace(counter.seal(), offset=start))
        for detection in self._detections:
            detection.restart(starts)
        return positions, [detection.save() for detection in self._detections]

    def _detect(self, messages: list[ChunkCounts]) -> list[SurgeRecord]:
        taken = zip(self._detections, messages, strict=True)
        return [surges for detection, message in taken for surges in detection.take(message)]


class Pipeline:
    """Reports in, alerts out. replay: the stages before the judge."""

    def __init__(self, rules: Rules, observer: Observer | None = None) -> None:
        self.replay = Replay(rules, observer)
        self._judge = Judge(rules.incidents, rules.partitions)

    @property
    def counted(self) -> int:
        """Reports counted."""
        return self.replay.counted

    @property
    def rejected(self) -> Counter[Reason]:
        """Reports not counted, by reason."""
        return self.replay.rejected

    @property
    def judged(self) -> int:
        """Event time up to which all alerts are out, ms; 0 as long as a partition was not heard of."""
        return self._judge.through

    @property
    def open_incidents(self) -> int:
        """Incidents that are open now."""
        return sum(self._judge.open_by_severity().values())

    def empty(self, partition: int) -> list[bytes]:
        """As `Replay.empty`."""
        return self._alerts(self.replay.empty(partition))

    def read(self, partition: int, values: Sequence[bytes | None], stamps: Sequence[int]) -> list[bytes]:
        """As `Replay.read`; returns the alerts that follow, encoded, in order."""
        return self._alerts(self.replay.read(partition, values, stamps))

    def learned(self, starts: Sequence[int]) -> Learned:
        """What stages go on from that read what comes next in a log of its own, from `starts` of its partitions on.

        The alerts that follow are those that reading on here had given. Call it last: the pipeline's own log is over.
        """
        positions, detections = self.replay.learned(starts)
        return Learned(positions, detections, self._judge.to_state())

    def _alerts(self, surges: list[SurgeRecord]) -> list[bytes]:
        return [alert.encode(each) for record in surges for each in self._judge.apply(record)]

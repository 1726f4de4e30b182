"""Pipeline: all stages in one process, in the order of the data, without Kafka. The alerts are those of the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from detectors import alert
from detectors.counts import BEGIN, ChunkCounts, NameCache, PartitionCounter, Position
from detectors.detection import Detection
from detectors.judge import Judge
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


class Detections(Protocol):
    """Detection of every partition of `report-counts`."""

    def take(self, messages: Sequence[ChunkCounts]) -> list[SurgeRecord]:
        """Take in a message for each partition; surges that follow, in order: of these messages or of earlier ones."""

    def rest(self) -> list[SurgeRecord]:
        """No message comes any more: the surges that `take` did not give yet."""

    @property
    def series(self) -> int:
        """Series watched, overflow series among them; of what was given back so far."""

    @property
    def overflowed(self) -> int:
        """Reports counted in overflow series; of what was given back so far."""

    def learned(self, starts: Sequence[int]) -> list[bytes]:
        """After `rest`, the state of each partition for a log that begins at `starts`."""


class Here:
    """Detection of all partitions in this process, one after the other. observer: is shown what it closes."""

    def __init__(self, rules: Rules, partitions: Iterable[int] | None = None, observer: Observer | None = None) -> None:
        """partitions: those of `report-counts`; None for all."""
        numbers = range(rules.partitions) if partitions is None else partitions
        self._detections = [Detection(rules, partition, observer) for partition in numbers]

    def take(self, messages: Sequence[ChunkCounts]) -> list[SurgeRecord]:
        return [record for records in self.each(messages) for record in records]

    def each(self, messages: Sequence[ChunkCounts]) -> list[list[SurgeRecord]]:
        """As `take`, partition by partition."""
        taken = zip(self._detections, messages, strict=True)
        return [list(detection.take(message)) for detection, message in taken]

    def rest(self) -> list[SurgeRecord]:
        return []

    @property
    def series(self) -> int:
        return sum(detection.series for detection in self._detections)

    @property
    def overflowed(self) -> int:
        return sum(detection.overflowed for detection in self._detections)

    def learned(self, starts: Sequence[int]) -> list[bytes]:
        for detection in self._detections:
            detection.restart(starts)
        return [detection.save() for detection in self._detections]


class Replay:
    """Reports in, surges out: the stages before the judge.

    counted: reports counted; rejected: the others, by reason. detections: where detection takes place, by default here.
    """

    def __init__(self, rules: Rules, detections: Detections | None = None) -> None:
        self.counted = 0
        self.rejected: Counter[Reason] = Counter()
        self.detections = detections or Here(rules)
        names = NameCache(rules)
        self._counters = [PartitionCounter(names, partition, BEGIN) for partition in range(rules.reports_partitions)]

    def empty(self, partition: int) -> list[SurgeRecord]:
        """Say that a partition of `reports` has no record yet: it holds the others back no longer. As `read`."""
        return self.detections.take(self._counters[partition].messages())

    def read(self, partition: int, values: Sequence[bytes | None], stamps: Sequence[int]) -> list[SurgeRecord]:
        """Read the next records of a partition of `reports`; returns surges that follow, in order: see `rest`.

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
            surges += self.detections.take(counter.messages())
            if counter.full:
                counter.seal()
        self.counted += counter.counted - before
        return surges

    def rest(self) -> list[SurgeRecord]:
        """No record comes any more: the surges that `read` did not give yet."""
        return self.detections.rest()

    def learned(self, starts: Sequence[int]) -> tuple[list[Position], list[bytes]]:
        """Positions of ingest and states of detect, for a log that begins at `starts`: see `Pipeline.learned`."""
        positions = []
        for counter, start in zip(self._counters, starts, strict=True):
            positions.append(msgspec.structs.replace(counter.seal(), offset=start))
        return positions, self.detections.learned(starts)


class Pipeline:
    """Reports in, alerts out. replay: the stages before the judge."""

    def __init__(self, rules: Rules, detections: Detections | None = None) -> None:
        self.replay = Replay(rules, detections)
        self._judge = Judge(rules.incidents, rules.partitions, rules.maintenance())

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

    def rest(self) -> list[bytes]:
        """As `Replay.rest`."""
        return self._alerts(self.replay.rest())

    def learned(self, starts: Sequence[int]) -> Learned:
        """What stages go on from that read what comes next in a log of its own, from `starts` of its partitions on.

        The alerts that follow are those that reading on here had given. Call it last, after `rest`: the pipeline's own
        log is over.
        """
        positions, detections = self.replay.learned(starts)
        return Learned(positions, detections, self._judge.to_state())

    def _alerts(self, surges: list[SurgeRecord]) -> list[bytes]:
        return [alert.encode(each) for record in surges for each in self._judge.apply(record)]

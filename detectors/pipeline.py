"""Pipeline: all stages in one process, in the order of the data, without Kafka. The alerts are those of the stream."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from detectors import alert
from detectors.counts import BEGIN, ChunkCounts, NameCache, PartitionCounter
from detectors.detection import Detection
from detectors.incident import Judge
from detectors.report import Reason
from detectors.rules import Rules
from detectors.surges import SurgeRecord


class PlainRecord(NamedTuple):
    """A record of `reports`. timestamp: ms since 1970."""

    offset: int
    timestamp: int
    value: bytes | None


class Replay:
    """Reports in, surges out: the stages before the judge.

    counted: reports counted; rejected: the others, by reason.
    """

    def __init__(self, rules: Rules) -> None:
        self.counted = 0
        self.rejected: Counter[Reason] = Counter()
        names = NameCache(rules)
        self._counters = [PartitionCounter(names, partition, BEGIN) for partition in range(rules.reports_partitions)]
        self._detections = [Detection(rules, partition) for partition in range(rules.partitions)]

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

    def _detect(self, messages: list[ChunkCounts]) -> list[SurgeRecord]:
        surges: list[SurgeRecord] = []
        for detection, message in zip(self._detections, messages, strict=True):
            detection.apply(message)
            while records := detection.advance():
                surges += records
        return surges


class Pipeline:
    """Reports in, alerts out."""

    def __init__(self, rules: Rules) -> None:
        self._replay = Replay(rules)
        self._judge = Judge(rules.incidents, rules.partitions)

    @property
    def counted(self) -> int:
        """Reports counted."""
        return self._replay.counted

    @property
    def rejected(self) -> Counter[Reason]:
        """Reports not counted, by reason."""
        return self._replay.rejected

    def empty(self, partition: int) -> list[bytes]:
        """As `Replay.empty`."""
        return self._judged(self._replay.empty(partition))

    def read(self, partition: int, values: Sequence[bytes | None], stamps: Sequence[int]) -> list[bytes]:
        """As `Replay.read`; returns the alerts that follow, encoded, in order."""
        return self._judged(self._replay.read(partition, values, stamps))

    def _judged(self, surges: list[SurgeRecord]) -> list[bytes]:
        return [alert.encode(each) for record in surges for each in self._judge.apply(record)]

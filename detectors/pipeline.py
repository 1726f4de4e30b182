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
from detectors.watch import Observer


class PlainRecord(NamedTuple):
    """A record of `reports`. timestamp: ms since 1970."""

    offset: int
    timestamp: int
    value: bytes | None


class Pipeline:
    """Reports in, alerts out. counted: reports counted; rejected: the others, by reason.

    observer: is shown what detection closes; the alerts do not depend on it.
    """

    def __init__(self, rules: Rules, observer: Observer | None = None) -> None:
        self.counted = 0
        self.rejected: Counter[Reason] = Counter()
        names = NameCache(rules)
        self._counters = [PartitionCounter(names, partition, BEGIN) for partition in range(rules.reports_partitions)]
        self._detections = [Detection(rules, partition, observer) for partition in range(rules.partitions)]
        self._judge = Judge(rules.incidents, rules.partitions)

    @property
    def judged(self) -> int:
        """Event time up to which all alerts are out, ms; 0 as long as a partition was not heard of."""
        return self._judge.through

    def empty(self, partition: int) -> list[bytes]:
        """Say that a partition of `reports` has no record yet: it holds the others back no longer. As `read`."""
        return self._detect(self._counters[partition].messages())

    def read(self, partition: int, values: Sequence[bytes | None], stamps: Sequence[int]) -> list[bytes]:
        """Read the next records of a partition of `reports`; returns the alerts that follow, encoded, in order.

        values, stamps: of consecutive records, the record's value and its timestamp in ms.
        """
        counter = self._counters[partition]
        first = counter.upto
        records = [
            PlainRecord(first + i, stamp, value) for i, (value, stamp) in enumerate(zip(values, stamps, strict=True))
        ]
        alerts: list[bytes] = []
        begin, before = 0, counter.counted
        while begin < len(records):
            begin, rejected = counter.read(records, begin)
            self.rejected.update(each.reason for _, each in rejected)
            alerts += self._detect(counter.messages())
            if counter.full:
                counter.seal()
        self.counted += counter.counted - before
        return alerts

    def _detect(self, messages: list[ChunkCounts]) -> list[bytes]:
        alerts: list[bytes] = []
        for detection, message in zip(self._detections, messages, strict=True):
            detection.apply(message)
            while records := detection.advance():
                alerts += [alert.encode(each) for record in records for each in self._judge.apply(record)]
        return alerts

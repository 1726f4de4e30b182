"""Interjections: commands of people put into a replay where event time has come to when they were said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from detectors.alert import Alert
from detectors.command import Command
from detectors.judge import Judge
from detectors.surges import SurgeRecord


class Interjections:
    """Commands on their way to a judge, in the order of their times.

    unheeded: those that came to nothing, since no such incident was open then.
    """

    def __init__(self, commands: Iterable[Command]) -> None:
        self.unheeded = 0
        self._waiting = sorted(commands, key=lambda each: each.at_ms)
        self._reached: dict[int, int] = {}

    def apply(self, judge: Judge, record: SurgeRecord) -> Iterator[Alert]:
        """As `Judge.apply`, with the commands that are due meanwhile.

        A record that goes past a command's time is cut there: to the judge that makes no difference, and it hears the
        command just when all partitions are there.
        """
        reached = self._reached.get(record.partition, 0)
        for command in list(self._waiting):
            if command.at_ms >= record.through:
                break
            if command.at_ms > reached:
                ticks = [tick for tick in record.ticks if tick.at <= command.at_ms]
                yield from judge.apply(replace(record, through=command.at_ms, ticks=ticks))
                yield from self._due(judge)
        yield from judge.apply(record)
        yield from self._due(judge)
        self._reached[record.partition] = record.through

    def _due(self, judge: Judge) -> Iterator[Alert]:
        while self._waiting and self._waiting[0].at_ms <= judge.through:
            alerts = judge.heed(self._waiting.pop(0))
            self.unheeded += not alerts
            yield from alerts

"""Detection of a file in processes of its own, on all processors: a partition's series depend on no other's."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from detectors import counts, surges
from detectors.counts import ChunkCounts
from detectors.excerpts import RING_BYTES, Excerpt, Recorder
from detectors.pipeline import Detections, Here
from detectors.rules import Rules
from detectors.surges import SurgeRecord
from detectors.verification import Label

#: Files smaller than this are through before processes have started: some four seconds of work.
LEAST_BYTES = 8 << 20
#: ... compressed.
LEAST_COMPRESSED = 1 << 20

Kept = tuple[Excerpt, int | None]
T = TypeVar("T")


class _Take(NamedTuple):
    """A message for each partition of a process, encoded."""

    messages: list[bytes]


class _Finish(NamedTuple):
    """No message comes any more."""


class _Learned(NamedTuple):
    """Give the states for a log that begins there."""

    starts: Sequence[int]


class _Told(NamedTuple):
    """What a process answers. surges: by message, encoded. kept: excerpts that came to their end, of which label."""

    surges: list[list[bytes]]
    kept: list[Kept]
    series: int
    overflowed: int


class _Failed(NamedTuple):
    """What went wrong in a process."""

    trace: str


@contextlib.contextmanager
def detections(rules: Rules, path: str | Path, recorder: Recorder | None = None) -> Iterator[Detections]:
    """Where to detect the surges of a file: in processes where it is long and there are processors, else here.

    recorder: is given the excerpts. Surges and excerpts are the same either way.
    """
    number = min(rules.partitions, processors())
    if number < 2 or not _is_long(path):
        yield Here(rules, observer=recorder)
        return
    processes = Processes(rules, number, recorder)
    try:
        yield processes
    finally:
        processes.close()


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_long(path: str | Path) -> bool:
    try:
        size = os.path.getsize(path)
    except OSError:
        return False  # standard input, or a file that is not there: whoever opens it says so
    return size >= (LEAST_COMPRESSED if str(path).endswith((".gz", ".parquet")) else LEAST_BYTES)


class Processes:
    """Detection in `number` processes. RuntimeError where one of them fails.

    It is one `take` behind, so that this process reads the file meanwhile.
    """

    def __init__(self, rules: Rules, number: int, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._pending = False
        self._partitions = [list(range(first, rules.partitions, number)) for first in range(number)]
        self._order = [partition for each in self._partitions for partition in each]
        self._told: list[_Told] = []
        # Not a fork: this process has threads.
        context = multiprocessing.get_context("spawn")
        labels = None if recorder is None else recorder.labels
        self._connections: list[Connection] = []
        self._processes = []
        for partitions in self._partitions:
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, rules, partitions, labels, number), daemon=True)
            process.start()
            theirs.close()
            self._connections.append(mine)
            self._processes.append(process)

    def take(self, messages: Sequence[ChunkCounts]) -> list[SurgeRecord]:
        before = self._collect()
        for connection, partitions in zip(self._connections, self._partitions, strict=True):
            self._send(connection, _Take([counts.encode(messages[partition]) for partition in partitions]))
        self._pending = True
        return before

    def rest(self) -> list[SurgeRecord]:
        last = self._collect()
        for connection in self._connections:
            self._send(connection, _Finish())
        self._pending = True
        return last + self._collect()

    @property
    def series(self) -> int:
        return sum(each.series for each in self._told)

    @property
    def overflowed(self) -> int:
        return sum(each.overflowed for each in self._told)

    def learned(self, starts: Sequence[int]) -> list[bytes]:
        for connection in self._connections:
            self._send(connection, _Learned(starts))
        states: list[bytes] = [state for connection in self._connections for state in self._receive(connection)]
        return self._in_order(states)

    def close(self) -> None:
        """End the processes."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.terminate()
            process.join()

    def _collect(self) -> list[SurgeRecord]:
        """What the processes answer to what they were sent last."""
        if not self._pending:
            return []
        self._pending = False
        self._told = [self._receive(connection) for connection in self._connections]
        for told in self._told:
            for excerpt, label in told.kept:
                assert self._recorder is not None
                self._recorder.keep(excerpt, label)
        by_partition = self._in_order([each for told in self._told for each in told.surges])
        return [surges.decode(record) for each in by_partition for record in each]

    def _in_order(self, values: list[T]) -> list[T]:
        """Values process by process, in order of their partitions."""
        return [value for _, value in sorted(zip(self._order, values, strict=False), key=lambda each: each[0])]

    def _send(self, connection: Connection, request: _Take | _Finish | _Learned) -> None:
        try:
            connection.send(request)
        except OSError as error:
            raise RuntimeError("a process of detection has ended; there may be too little memory") from error

    def _receive(self, connection: Connection) -> Any:
        try:
            answer = connection.recv()
        except (OSError, EOFError) as error:
            raise RuntimeError("a process of detection has ended; there may be too little memory") from error
        if isinstance(answer, _Failed):
            raise RuntimeError(f"detection failed in its process:\n{answer.trace}")
        return answer


class _Collector(Recorder):
    """A recorder that hands on what comes to its end."""

    def __init__(self, labels: Sequence[Label], ring_bytes: int) -> None:
        super().__init__(labels, ring_bytes=ring_bytes)
        self.kept: list[Kept] = []

    def keep(self, excerpt: Excerpt, label: int | None) -> None:
        self.kept.append((excerpt, label))


def _serve(
    connection: Connection, rules: Rules, partitions: list[int], labels: Sequence[Label] | None, number: int
) -> None:
    """A process: detect what comes, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asked for it ends us
    collector = None if labels is None else _Collector(labels, RING_BYTES // number)
    here = Here(rules, partitions, collector)
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = connection.recv()
            answer: _Told | list[bytes] | _Failed
            try:
                answer = _answer(here, collector, request)
            except Exception:
                answer = _Failed(traceback.format_exc())
            connection.send(answer)


def _answer(here: Here, collector: _Collector | None, request: _Take | _Finish | _Learned) -> _Told | list[bytes]:
    if isinstance(request, _Learned):
        return here.learned(request.starts)
    told: list[list[bytes]] = []
    if isinstance(request, _Take):
        found = here.each([counts.decode_counts(message) for message in request.messages])
        told = [[surges.encode(record) for record in each] for each in found]
    elif collector is not None:
        collector.finish()
    kept: list[Kept] = []
    if collector is not None:
        kept, collector.kept = collector.kept, []
    return _Told(told, kept, here.series, here.overflowed)

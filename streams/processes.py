"""Detection of a file in processes of its own, on all processors: a partition's series depend on no other's."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from detectors import counts, surges
from detectors.counts import ChunkCounts
from detectors.pipeline import Detections, Here
from detectors.rules import Rules
from detectors.surges import SurgeRecord
from detectors.watch import Observer
from streams.fault import Fault

#: For smaller files a process costs more, a second or two to start, than it saves.
LEAST_BYTES = 8 << 20
#: ... compressed.
LEAST_COMPRESSED = 1 << 20

T = TypeVar("T")


class Part(Observer, Protocol):
    """An observer in a process of detection: it goes there pickled, and hands on what it keeps."""

    def hand_on(self) -> Sequence[Any]:
        """What is to be kept since the last call."""

    def finish(self) -> None:
        """The run is over."""


class Shared(Observer, Protocol):
    """An observer of a run, here or in parts."""

    def part(self, share: float) -> Part:
        """An observer for a process with such a share of the partitions."""

    def take(self, kept: Sequence[Any]) -> None:
        """Keep what a part handed on."""


class _Take(NamedTuple):
    """A message for each partition of a process, encoded."""

    messages: list[bytes]


class _Finish(NamedTuple):
    """No message comes any more."""


class _Learned(NamedTuple):
    """Give the states for a log that begins there."""

    starts: Sequence[int]


class _Told(NamedTuple):
    """What a process answers. surges: by partition, encoded. kept: what its part of the observer hands on."""

    surges: dict[int, list[bytes]]
    kept: Sequence[Any]
    series: int
    overflowed: int


class _Failed(NamedTuple):
    """What went wrong in a process."""

    trace: str


@contextlib.contextmanager
def detections(rules: Rules, path: str | Path, observer: Shared | None = None) -> Iterator[Detections]:
    """Where to detect the surges of a file: in processes where it is long and there are processors, else here.

    Surges are the same either way; so are excerpts while there is room for them all.
    Fault, while it is in use, where a process ends.
    """
    with spread(rules, observer, apart=_is_long(path)) as where:
        yield where


@contextlib.contextmanager
def spread(rules: Rules, observer: Shared | None, *, apart: bool) -> Iterator[Detections]:
    """As `detections`. apart: there is enough to do for several processes."""
    number = min(rules.partitions, processors())
    if number < 2 or not apart:
        yield Here(rules, observer=observer)
        return
    processes = Processes(rules, number, observer)
    try:
        yield processes
    finally:
        processes.close()


def processors() -> int:
    """How many this process may use. A container's quota of time is not known here: more processes do no harm then."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _is_long(path: str | Path) -> bool:
    try:
        size = os.path.getsize(path)
    except OSError:
        return False  # standard input, or a file that is not there: whoever opens it says so
    return size >= (LEAST_COMPRESSED if str(path).endswith((".gz", ".parquet")) else LEAST_BYTES)


class Processes:
    """Detection in `number` processes. Fault where one of them ends, RuntimeError where it fails.

    It is one `take` behind, so that this process reads the file meanwhile.
    """

    def __init__(self, rules: Rules, number: int, observer: Shared | None) -> None:
        self._observer = observer
        self._pending = False
        self._series = self._overflowed = 0
        self._partitions = [list(range(first, rules.partitions, number)) for first in range(number)]
        # Not a fork: this process has threads.
        context = multiprocessing.get_context("spawn")
        self._processes: list[tuple[SpawnProcess, Connection]] = []
        try:
            with _interrupts_ignored():
                for partitions in self._partitions:
                    mine, theirs = context.Pipe()
                    part = None if observer is None else observer.part(len(partitions) / rules.partitions)
                    process = context.Process(target=_serve, args=(theirs, rules, partitions, part), daemon=True)
                    process.start()
                    theirs.close()
                    self._processes.append((process, mine))
        except BaseException:
            self.close()
            raise

    def take(self, messages: Sequence[ChunkCounts]) -> list[SurgeRecord]:
        before = self._collect()
        self._ask(*(_Take([counts.encode(messages[partition]) for partition in each]) for each in self._partitions))
        return before

    def rest(self) -> list[SurgeRecord]:
        last = self._collect()
        self._ask(*(_Finish() for _ in self._partitions))
        return last + self._collect()

    @property
    def series(self) -> int:
        return self._series

    @property
    def overflowed(self) -> int:
        return self._overflowed

    def learned(self, starts: Sequence[int]) -> list[bytes]:
        assert not self._pending, "`rest` comes first"
        self._ask(*(_Learned(starts) for _ in self._partitions))
        return _in_order(self._answers())

    def close(self) -> None:
        """End the processes."""
        for process, connection in self._processes:
            connection.close()
            process.terminate()
            process.join()

    def _collect(self) -> list[SurgeRecord]:
        """What the processes answer to what they were sent last."""
        if not self._pending:
            return []
        told: list[_Told] = self._answers()
        self._series, self._overflowed = sum(each.series for each in told), sum(each.overflowed for each in told)
        if self._observer is not None:
            for each in told:
                self._observer.take(each.kept)
        by_partition = _in_order([each.surges for each in told])
        return [surges.decode(record) for records in by_partition for record in records]

    def _ask(self, *requests: _Take | _Finish | _Learned) -> None:
        """Send each process its request."""
        for (process, connection), request in zip(self._processes, requests, strict=True):
            try:
                connection.send(request)
            except OSError as error:
                raise _ended(process) from error
        self._pending = True

    def _answers(self) -> list[Any]:
        """What each process answers."""
        self._pending = False
        answers = []
        for process, connection in self._processes:
            try:
                answer = connection.recv()
            except (OSError, EOFError) as error:
                raise _ended(process) from error
            if isinstance(answer, _Failed):
                raise RuntimeError(f"detection failed in its process:\n{answer.trace}")
            answers.append(answer)
        return answers


def _in_order(answers: list[dict[int, T]]) -> list[T]:
    """What the processes say of their partitions, in order of these."""
    return [value for _, value in sorted((pair for each in answers for pair in each.items()), key=lambda pair: pair[0])]


def _ended(process: SpawnProcess) -> Fault:
    process.join(5)
    code = process.exitcode
    why = "It was killed, as it happens where memory runs out." if code == -signal.SIGKILL else ""
    return Fault(f"a process of detection ended, exit code {code}", why, "Try again with more memory.")


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ctrl-C goes to all processes of a terminal; those that start here inherit that they ignore it: we end them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(connection: Connection, rules: Rules, partitions: list[int], part: Part | None) -> None:
    """A process: detect what comes, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Windows inherits nothing
    here = Here(rules, partitions, part)
    with contextlib.suppress(EOFError, OSError):
        while True:
            request = connection.recv()
            answer: _Told | dict[int, bytes] | _Failed
            try:
                answer = _answer(here, partitions, part, request)
            except Exception:
                answer = _Failed(traceback.format_exc())
            connection.send(answer)


def _answer(
    here: Here, partitions: list[int], part: Part | None, request: _Take | _Finish | _Learned
) -> _Told | dict[int, bytes]:
    told: dict[int, list[bytes]] = {}
    match request:
        case _Learned(starts):
            return dict(zip(partitions, here.learned(starts), strict=True))
        case _Take(messages):
            found = here.each([counts.decode_counts(message) for message in messages])
            told = {n: [surges.encode(each) for each in records] for n, records in zip(partitions, found, strict=True)}
        case _Finish() if part is not None:
            part.finish()
    return _Told(told, () if part is None else part.hand_on(), here.series, here.overflowed)

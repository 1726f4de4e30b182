"""`groundswell backtest`: the alerts that a file of reports would have raised, without Kafka.

Beside them, where asked for: how well they fit the outages that are known, what other settings would have told, and a
page to look at all of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from detectors import alert
from detectors.command import Command
from detectors.comparison import compare
from detectors.episodes import History
from detectors.excerpts import Recorder
from detectors.pipeline import Pipeline
from detectors.verification import Label, verify
from streams import command_file, labels
from streams.backtest_result import Result, Run
from streams.console import err, out, safe
from streams.fault import Fault
from streams.feed import STDIN, Feed, Record, play
from streams.processes import detections
from streams.progress import reading, told
from streams.settings import Settings
from streams.tail import line, print_json


class Variant(msgspec.Struct, frozen=True):
    """Settings to compare with. name: where they come from, for people."""

    name: str
    settings: Settings


def run(
    settings: Settings,
    path: str | Path,
    *,
    json_output: bool,
    name: str = "the settings",
    report: Path | None = None,
    labels_file: Path | None = None,
    commands_file: Path | None = None,
    other: Variant | None = None,
) -> int:
    """Print the alerts as `tail` does, those of the workers to the byte, and on stderr what became of the rows. 0.

    Records take the wall clock of the run's start as their timestamp, as they do on being sent: it stands for the time
    of reports that name none, and times after it are rejected as being in the future.

    labels_file: known outages; which were found follows the alerts. commands_file: what people said at the time, heeded
    at the event times that it bears; how many pages they called false alarms follows. other: settings to compare with;
    the difference follows, with json_output all of it as one last line. report: the page to write. name: where the
    settings come from. FeedError, LabelError, CommandFileError, and Fault where the page cannot be written; as far as
    possible before the file is read.
    """
    stamp_ms = time.time_ns() // 1_000_000

    def tell(value: bytes) -> None:
        _print(value, json_output=json_output)

    if labels_file is None and report is None and other is None and commands_file is None:
        _play(settings, path, stamp_ms, tell, None)
        return 0
    # Who asks for the alerts alone need not wait for what makes pages.
    from streams import backtest_page, backtest_tables

    known = None if labels_file is None else labels.read(labels_file, settings.catalogued)
    commands = None if commands_file is None else command_file.read(commands_file)
    if report is not None:
        backtest_page.check_writable(report)
    if other is not None and (str(path) == STDIN or (Path(path).exists() and not Path(path).is_file())):
        raise Fault("a pipe can be read only once", "A comparison reads the reports twice.", "Give a file.")
    a = _Look(name, settings, known, commands, pictures=report is not None).run(path, stamp_ms, tell)
    b = None
    if other is not None:
        second = _Look(other.name, other.settings, known, commands, pictures=report is not None)
        b = second.run(path, stamp_ms, lambda value: None)
    result = Result(
        file="standard input" if str(path) == STDIN else Path(path).name,
        a=a,
        labels=known,
        verified=None if known is None else verify(known, a.episodes, seen=a.seen),
        b=b,
        verified_b=None if known is None or b is None else verify(known, b.episodes, seen=b.seen),
        matches=None if b is None else compare(a.episodes, b.episodes),
    )
    if known is not None or b is not None or commands is not None:
        if json_output:
            print_json(backtest_tables.to_json(result))
        else:
            backtest_tables.print_result(result)
    if report is not None:
        size = backtest_page.write(report, result)
        err.print(safe(f"{report}: {size / 1e6:.1f} MB, open it in a browser"))
    return 0


class _Look:
    """A run that is looked at: what is kept of it while it goes on."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        known: list[Label] | None,
        commands: list[Command] | None,
        *,
        pictures: bool,
    ) -> None:
        self._name = name
        self._settings = settings
        self.commands = commands
        self._history = History()
        self._recorder = Recorder(known or ()) if pictures else None
        self._first: int | None = None
        self._last: int | None = None

    @property
    def recorder(self) -> Recorder | None:
        return self._recorder

    def run(self, path: str | Path, stamp_ms: int, tell: Callable[[bytes], None]) -> Run:
        """Play the file. tell: called with each alert."""

        def take(value: bytes) -> None:
            self._history.apply(alert.decode(value))
            tell(value)

        feed, pipeline = _play(self._settings, path, stamp_ms, take, self)
        if self._recorder is not None:
            self._recorder.finish()
        return Run(
            name=self._name,
            settings=self._settings,
            read=feed.read,
            rejected={reason.value: rows for reason, rows in sorted(pipeline.rejected.items())},
            seen=None if self._first is None or self._last is None else (self._first, self._last),
            records=self._history.records,
            episodes=self._history.episodes(pipeline.judged),
            recorder=self._recorder,
            unheeded=None if self.commands is None else pipeline.said.unheeded,
        )

    def passed(self, records: list[Record], judged: int) -> None:
        """These records were read; all alerts up to event time `judged` are out."""
        times = [record.event_ms for record in records if record.event_ms is not None]
        if times:
            self._first = min(times) if self._first is None else min(self._first, min(times))
            self._last = max(times) if self._last is None else max(self._last, max(times))
        if self._recorder is not None:
            self._recorder.prune(self._history, judged)


def _play(
    settings: Settings, path: str | Path, stamp_ms: int, take: Callable[[bytes], None], look: _Look | None
) -> tuple[Feed, Pipeline]:
    """Read the file to its end; say on stderr what became of the rows. take: called with each alert, encoded."""
    began = time.monotonic()
    rules = settings.rules()
    alerts = 0
    with (
        reading(path, rules, stamp_ms) as (feed, pieces),
        detections(rules, path, None if look is None else look.recorder) as where,
    ):
        pipeline = Pipeline(rules, where, () if look is None else look.commands or ())
        for records, values in play(pieces, pipeline, stamp_ms):
            alerts += len(values)
            for value in values:
                take(value)
            if look is not None:
                look.passed(records, pipeline.judged)
    became = told(feed.read, pipeline.rejected, time.monotonic() - began)
    err.print(f"{became}; {alerts:,} alert{'' if alerts == 1 else 's'}")
    return feed, pipeline


def _print(value: bytes, *, json_output: bool) -> None:
    if json_output:
        print_json(value)
        return
    # Over the bar where both are on the screen.
    screen = err if out.is_terminal and err.is_terminal else out
    screen.print(line(alert.decode(value)), soft_wrap=True)

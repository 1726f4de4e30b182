"""Progress through a file, on a terminal."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from detectors.report import Reason
from detectors.rules import Rules
from streams.console import err, safe
from streams.feed import Feed, Record
from streams.rows import Rows


def shown(rows: Rows, done: Callable[[], int]) -> contextlib.AbstractContextManager[Callable[[], None]]:
    """Show on stderr how far the file is read, by its bytes where its size is known, and the rate.

    done: rows that are through. Gives what to call each time that some are. Without a terminal nothing is shown.
    """
    return bar(rows.name, rows.share_read, done)


@contextlib.contextmanager
def bar(name: str, share: Callable[[], float | None], done: Callable[[], int]) -> Iterator[Callable[[], None]]:
    """As `shown`, of what is called `name`. share: how much of it is read, 0 to 1; None where nobody can know."""
    if not err.is_terminal:
        yield lambda: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows  {task.fields[rate]:,.0f} rows/s"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    total = None if share() is None else 1.0
    # Results go to stdout as they are: rich would take it over, and with it what a program reads.
    with Progress(*columns, console=err, redirect_stdout=False, redirect_stderr=False) as progress:
        task = progress.add_task(safe(name), total=total, rows=0, rate=0.0)

        def moved() -> None:
            rate = done() / max(time.monotonic() - began, 1e-3)
            progress.update(task, completed=share() or 0.0, rows=done(), rate=rate)

        yield moved


@contextlib.contextmanager
def reading(path: str | Path, rules: Rules, stamp_ms: int) -> Iterator[tuple[Feed, Iterator[list[Record]]]]:
    """A file of reports and its records, piece by piece, with a bar; on stderr what a user may want to know of it.

    stamp_ms: time of the records, as `Feed`'s now. FeedError, also while the pieces are taken.
    """
    with (
        Feed(path, rules, now=lambda: stamp_ms, note=lambda text: err.print(safe(text))) as feed,
        shown(feed.rows, lambda: feed.read) as moved,
    ):

        def pieces() -> Iterator[list[Record]]:
            for records in feed:
                yield records
                moved()

        yield feed, pieces()


def told(read: int, rejected: Counter[Reason], seconds: float) -> str:
    """What became of the rows that were read.

    >>> told(1922, Counter({Reason.NOT_JSON: 1}), 3.14)
    '1,922 rows in 3.1 s: counted 1,921, rejected 1 (not_json 1)'
    """
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(rejected.items()))
    return (
        f"{read:,} rows in {seconds:.1f} s: counted {read - rejected.total():,}, rejected {rejected.total():,}"
        f"{f' ({reasons})' if reasons else ''}"
    )

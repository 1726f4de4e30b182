"""`groundswell backtest`: the alerts that a file of reports would have raised, without Kafka."""

from __future__ import annotations

import time
from pathlib import Path

from detectors import alert
from detectors.pipeline import Pipeline
from streams.console import err, out, safe
from streams.feed import Feed, by_partition
from streams.progress import shown, told
from streams.settings import Settings
from streams.tail import line, print_json


def run(settings: Settings, path: str | Path, *, json_output: bool) -> int:
    """Print the alerts as `tail` does, those of the workers to the byte, and on stderr what became of the rows. 0.

    Records take the wall clock of the run's start as their timestamp, as they do on being sent: it stands for the time
    of reports that name none, and times after it are rejected as being in the future. FeedError.
    """
    began = time.monotonic()
    start_ms = time.time_ns() // 1_000_000
    rules = settings.rules()
    pipeline = Pipeline(rules)
    alerts = 0
    with (
        Feed(path, rules, now=lambda: start_ms, note=lambda text: err.print(safe(text))) as feed,
        shown(feed.rows, lambda: feed.read) as moved,
    ):
        for records in feed:
            for partition, values in by_partition(records):
                for value in pipeline.read(partition, values, [start_ms] * len(values)):
                    alerts += 1
                    _print(value, json_output=json_output)
            moved()
    became = told(feed.read, pipeline.rejected, time.monotonic() - began)
    err.print(f"{became}; {alerts:,} alert{'' if alerts == 1 else 's'}")
    return 0


def _print(value: bytes, *, json_output: bool) -> None:
    if json_output:
        print_json(value)
        return
    # Over the bar where both are on the screen.
    screen = err if out.is_terminal and err.is_terminal else out
    screen.print(line(alert.decode(value)), soft_wrap=True)

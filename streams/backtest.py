"""`groundswell backtest`: the alerts that a file of reports would have raised, without Kafka."""

from __future__ import annotations

import time
from pathlib import Path

from detectors import alert
from detectors.pipeline import Pipeline
from streams.console import err, out, safe
from streams.feed import Feed, Record
from streams.progress import shown
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
            for value in read(pipeline, records, rules.reports_partitions, start_ms):
                alerts += 1
                _print(value, json_output=json_output)
            moved()
    err.print(_told(feed, pipeline, alerts, time.monotonic() - began))
    return 0


def read(pipeline: Pipeline, records: list[Record], partitions: int, stamp_ms: int) -> list[bytes]:
    """Read the feed's records, each in its partition; the alerts that follow, encoded. stamp_ms: their timestamp."""
    values: list[list[bytes]] = [[] for _ in range(partitions)]
    for record in records:
        values[record.partition].append(record.value)
    alerts: list[bytes] = []
    for partition, consecutive in enumerate(values):
        if consecutive:
            alerts += pipeline.read(partition, consecutive, [stamp_ms] * len(consecutive))
    return alerts


def _print(value: bytes, *, json_output: bool) -> None:
    if json_output:
        print_json(value)
        return
    # Over the bar where both are on the screen.
    screen = err if out.is_terminal and err.is_terminal else out
    screen.print(line(alert.decode(value)), soft_wrap=True)


def _told(feed: Feed, pipeline: Pipeline, alerts: int, seconds: float) -> str:
    rejected = pipeline.rejected.total()
    reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(pipeline.rejected.items()))
    return (
        f"{feed.read:,} rows in {seconds:.1f} s: counted {feed.read - rejected:,}, rejected {rejected:,}"
        f"{f' ({reasons})' if reasons else ''}; {alerts:,} alert{'' if alerts == 1 else 's'}"
    )

"""The same count as plain Faust does it, an event at a time, for comparison: python -m bench.plain_faust VARIANT ….

table: validate the report, count by service and region in a table. raw: take the bytes and do nothing.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import faust

from bench import wire


class Report(faust.Record, serializer="json", validation=True):
    """A report with as many checks as Faust's own models make."""

    service: str
    region: str = ""
    time: str = ""
    source: str = "reports"
    problem: str = ""
    id: str = ""
    count: int = 1


def make_app(variant: Literal["table", "raw"], address: str, topic: str, records: int, notes: Path) -> faust.App:
    """An app that takes `records` records of `topic` and appends to `notes` when it has."""
    app = faust.App(
        f"{topic}-plain-{variant}",
        broker=f"kafka://{address}",
        # As short as the embedded broker needs them, since it waits this long for others to join.
        broker_rebalance_timeout=3.0,
        broker_session_timeout=10.0,
        topic_partitions=4,
        topic_disable_leader=True,
        datadir=notes.parent / f"{topic}-plain-{variant}",
        web_enabled=False,
        value_serializer="raw",
    )
    done = 0

    def note_if_last() -> None:
        if done == records:
            wire.append(notes, wire.Handled(records, time.monotonic()))

    if variant == "raw":

        @app.agent(app.topic(topic, value_serializer="raw"))
        async def take(stream: faust.Stream[bytes]) -> None:
            nonlocal done
            async for _ in stream:
                done += 1
                note_if_last()

    else:
        counts = app.Table("counts", default=int, partitions=4)

        @app.agent(app.topic(topic, value_type=Report))
        async def count(stream: faust.Stream[Report]) -> None:
            nonlocal done
            async for report in stream:
                counts[f"{report.service}/{report.region}"] += report.count
                done += 1
                note_if_last()

    return app


if __name__ == "__main__":
    variant, address, topic, records, notes = sys.argv[1:]
    wire.note(Path(notes), fetched=topic, acknowledged="")
    app = make_app(variant, address, topic, int(records), Path(notes))
    app.finalize()
    faust.Worker(app, loglevel="warning", blocking_timeout=None).execute_from_commandline()

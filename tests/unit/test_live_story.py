"""`groundswell feed`: the story at the real clock."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice

from detectors.report import Report, decode
from streams import live_story, story
from streams.story import Batch

NOON = story.ms(datetime(2026, 3, 2, 12, 0, tzinfo=UTC))
HOUR = 3_600_000


class Clock:
    """A clock that moves when somebody sleeps. times: in ms, when it was slept for."""

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self.slept: list[float] = []

    def now(self) -> int:
        return self.ms

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ms += round(seconds * 1000)


def _decoded(runs: list[list[bytes]]) -> list[Report]:
    reports = [decode(value) for values in runs for value in values]
    assert all(isinstance(report, Report) for report in reports)
    return reports  # type: ignore[return-value]


def test_each_report_comes_when_it_is_due_and_not_before():
    clock = Clock(1000)
    batch = Batch([b"before", b"a", b"b", b"c"], [999, 1000, 1500, 4000])

    runs = [(clock.ms, run) for run in live_story.due([batch], 1000, now=clock.now, sleep=clock.sleep)]

    assert runs == [(1000, [b"a"]), (1500, [b"b"]), (4000, [b"c"])]
    assert clock.slept == [0.5, 2.5]


def test_after_a_pause_what_is_due_comes_together():
    clock = Clock(5000)
    batch = Batch([b"a", b"b", b"c"], [1000, 1500, 6000])

    runs = list(live_story.due([batch], 1000, now=clock.now, sleep=clock.sleep))

    assert runs == [[b"a", b"b"], [b"c"]]


def test_past_ends_where_the_live_feed_begins():
    now = NOON + 1_234_567
    past = [value for run in live_story.past(now - HOUR, now) for value in run]
    batches = live_story.hours(now, outage=datetime(2030, 1, 1, tzinfo=UTC))
    live = [
        value for run in live_story.due(islice(batches, 1), now, now=lambda: now + HOUR, sleep=exit) for value in run
    ]

    times = [story.ms(report.time) for report in _decoded([past + live])]  # type: ignore[arg-type]

    assert times == sorted(times)
    assert now - HOUR <= times[0] <= times[len(past) - 1] < now <= times[len(past)]


def test_outage_begins_when_told_and_not_in_the_past():
    outage = datetime(2026, 3, 2, 12, 10, tzinfo=UTC)
    batches = list(islice(live_story.hours(NOON, outage=outage), 3))
    reports = _decoded([batch.values for batch in batches])

    def whatsapp(begin: datetime, minutes: int) -> int:
        end = begin + timedelta(minutes=minutes)
        return sum(
            report.count
            for report in reports
            if report.service == story.BROKEN and report.source == story.SITE and begin <= report.time < end  # type: ignore[operator]
        )

    assert whatsapp(outage - timedelta(minutes=10), 10) < 40
    assert whatsapp(outage, 30) > 10_000
    calm = _decoded(list(live_story.past(NOON, NOON + HOUR)))
    assert sum(report.service == story.BROKEN and report.source == story.SITE for report in calm) < 200


def test_command_prints_reports_of_now_and_ends_with_its_reader():
    # The outage begins with the next minute.
    command = f"{sys.executable} -m streams feed --outage-after 1s | head -n 5"
    began = datetime.now(UTC)

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=110)

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 5, done.stderr
    assert all(began <= datetime.fromisoformat(row["time"]) <= datetime.now(UTC) for row in rows)
    assert done.stderr == ""


def test_command_begins_where_it_is_told_to():
    since = datetime.now(UTC) - timedelta(minutes=30)
    command = f"{sys.executable} -m streams feed --since {since.isoformat()} | head -n 1"

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=110)

    first = datetime.fromisoformat(json.loads(done.stdout)["time"])
    assert timedelta(0) <= first - since < timedelta(minutes=10)


def test_command_prints_the_past_and_ends():
    command = [sys.executable, "-m", "streams", "feed", "--past", "2h"]

    done = subprocess.run(command, capture_output=True, timeout=60, check=True)

    reports = _decoded([done.stdout.splitlines()])
    assert len(reports) > 300
    assert {report.source for report in reports} == {story.SITE, story.CONTACT_CENTRE}

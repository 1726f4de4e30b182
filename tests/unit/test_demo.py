"""The demo's parts: what it sends and when, and whose settings it obeys."""

import asyncio
import socket
from datetime import UTC, datetime

import pytest

from detectors import report
from detectors.incident import IncidentRule
from streams import demo, settings, story
from streams.story import Batch


def test_outage_is_told_from_a_quarter_of_an_hour_before_it_begins():
    feed = demo.outage()

    before = [time for batch in feed.before for time in batch.times]
    told = [time for batch in feed.told for time in batch.times]

    assert before[-1] < feed.told_from <= told[0]
    assert datetime.fromtimestamp(feed.told_from / 1000, UTC) == datetime(2022, 10, 25, 6, 45, tzinfo=UTC)
    assert len(before) + len(told) == sum(len(batch.times) for batch in story.reports())


def test_outage_reaches_its_first_minute_within_seconds():
    feed = demo.outage()

    assert feed.speed is not None
    assert (story.ms(story.OUTAGE_START) - feed.told_from) / 1000 / feed.speed <= 5
    assert (feed.end - feed.told_from) / 1000 / feed.speed <= 120


def test_tweets_are_all_told_at_full_speed():
    feed = demo.two_months_of_tweets()
    batches = list(feed.told)

    assert list(feed.before) == []
    assert feed.speed is None
    assert feed.start == feed.told_from == batches[0].times[0]
    assert feed.end == batches[-1].times[-1]
    assert sum(len(batch.values) for batch in batches) > 70_000


@pytest.mark.parametrize("name", ["outage", "tweets"])
def test_heartbeat_is_of_a_series_of_the_feed_and_counts_nothing(name):
    feed = demo.FEEDS[name]()
    list(feed.before)
    reports = (report.decode(value) for batch in feed.told for value in batch.values)
    seen = {(each.source, each.service, each.region) for each in reports}

    assert (feed.heartbeat.source, feed.heartbeat.service, feed.heartbeat.region) in seen
    assert feed.heartbeat.count == 0
    assert feed.heartbeat.source in feed.sources


def test_settings_are_the_demos_own_but_for_detection_and_judgement(tmp_path):
    given = settings.Settings(
        kafka=settings.KafkaSettings(address="production:9092", security="SSL", group="payments"),
        incidents=IncidentRule(open_at=3.5),
    )

    found = demo.settings_for(tmp_path, given, "127.0.0.1:19092", demo.outage())

    assert found.kafka == settings.KafkaSettings(address="127.0.0.1:19092", embedded=True)
    assert found.topics.prefix == ""
    assert found.incidents.open_at == 3.5
    assert found.sources["contact-centre"].bucket_seconds == 300
    assert settings.load(tmp_path / "groundswell.toml", env={}).settings == found


def test_page_takes_another_port_where_its_own_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        given = settings.Settings(web=settings.WebSettings(port=port))

        found = demo.settings_for(tmp_path, given, "127.0.0.1:19092", demo.outage())

    assert found.web.port not in (port, 0)


async def test_reports_are_sent_when_the_clock_says(monkeypatch):
    now = 100.0
    slept = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += 1.0

    monkeypatch.setattr(demo.time, "monotonic", lambda: now)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    batch = Batch([b"a", b"b", b"c", b"d"], [1000, 61_000, 61_000, 150_000])

    sent = [(begin, end, now) async for _, begin, end in demo.paced([batch], 1000, 60.0)]

    assert sent == [(0, 1, 100.0), (1, 3, 101.0), (3, 4, 103.0)]


async def test_full_speed_sends_whole_batches_at_once():
    batches = [Batch([b"a", b"b"], [1000, 9_000_000]), Batch([b"c"], [99_000_000])]

    sent = [(begin, end) async for _, begin, end in demo.paced(batches, 1000, None)]

    assert sent == [(0, 2), (0, 1)]

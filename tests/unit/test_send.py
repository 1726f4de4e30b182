import asyncio
import gzip
import os
import signal
import sys
import time
import uuid
from asyncio.subprocess import PIPE
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from streams import send, topics
from streams.feed import FeedError, plan
from streams.kafka import client_options, end_offsets
from streams.reach import Unreachable
from streams.settings import KafkaSettings, Settings, TopicSettings

PARTITIONS = 3


@pytest.fixture
async def settings(broker: str, embedded: bool) -> Settings:
    made = Settings(
        kafka=KafkaSettings(address=broker, embedded=embedded),
        topics=TopicSettings(prefix=f"{uuid.uuid4().hex}-", partitions=1, reports_partitions=PARTITIONS),
    )
    await topics.create_missing(made)
    return made


async def records(settings: Settings) -> dict[int, list[ConsumerRecord]]:
    """What is on the reports topic, by partition."""
    partitions = [TopicPartition(topics.names(settings).reports, number) for number in range(PARTITIONS)]
    ends = await end_offsets(settings, partitions)
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign(partitions)
    found: dict[int, list[ConsumerRecord]] = {number: [] for number in range(PARTITIONS)}
    async with asyncio.timeout(30):
        while any(len(found[tp.partition]) < ends[tp] for tp in partitions):
            for tp, more in (await consumer.getmany(timeout_ms=100)).items():
                found[tp.partition] += more
    await consumer.stop()
    return found


def reports(folder: Path, count: int, *more: bytes) -> Path:
    path = folder / "reports.ndjson"
    rows = [
        msgspec.json.encode({"service": f"S{number % 7}", "time": 1_666_681_440 + number / 10})
        for number in range(count)
    ]
    path.write_bytes(b"\n".join([*rows, *more]))
    return path


def sent(settings: Settings, path: Path | str, speed: float | None = None) -> int:
    return send.run(settings, path, speed=speed, json_output=True)


async def test_the_topic_gets_what_the_plan_says(settings, tmp_path, capsys):
    path = reports(tmp_path, 5000)

    code = await asyncio.to_thread(sent, settings, path)

    found = await records(settings)
    planned: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    for partition, value in plan(path, PARTITIONS):
        planned[partition].append(value)
    assert {number: [record.value for record in of_it] for number, of_it in found.items()} == planned
    assert code == 0
    outcome = msgspec.json.decode(capsys.readouterr().out, type=send.Outcome)
    assert (outcome.read, outcome.sent, outcome.not_sent, outcome.complete) == (5000, 5000, 0, True)


async def test_no_row_leaves_before_all_partitions_have_their_heartbeat(settings, tmp_path, monkeypatch):
    events: list[tuple[str, int]] = []
    send_batch = AIOKafkaProducer.send_batch

    async def noted(self, batch, topic, *, partition):
        events.append((f"{batch.record_count()} sent", partition))
        future = await send_batch(self, batch, topic, partition=partition)
        future.add_done_callback(lambda _: events.append(("acknowledged", partition)))
        return future

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", noted)
    file = tmp_path / "a.ndjson"
    file.write_text("\n".join(f'{{"service":"s{n}","time":{1_666_681_440 + n}}}' for n in range(40)))

    await asyncio.to_thread(send.run, settings, file, speed=None, json_output=False)

    opening = events[: 2 * PARTITIONS]
    assert sorted(partition for what, partition in opening if what == "1 sent") == list(range(PARTITIONS))
    assert sorted(partition for what, partition in opening if what == "acknowledged") == list(range(PARTITIONS))
    assert len(events) >= 4 * PARTITIONS


async def test_records_bear_the_wall_clock_and_no_key(settings, tmp_path):
    before = time.time() * 1000

    await asyncio.to_thread(sent, settings, reports(tmp_path, 10))

    found = [record for of_it in (await records(settings)).values() for record in of_it]
    assert all(before - 1 <= record.timestamp <= time.time() * 1000 + 1 for record in found)
    assert {record.key for record in found} == {None}


async def test_rows_that_the_worker_will_reject_are_counted_and_sent(settings, tmp_path, capsys):
    code = await asyncio.to_thread(sent, settings, reports(tmp_path, 10, b"no json", b'{"service":1}', b"[]"))

    values = [record.value for of_it in (await records(settings)).values() for record in of_it]
    assert {b"no json", b'{"service":1}', b"[]"} <= set(values)
    assert code == 0
    assert msgspec.json.decode(capsys.readouterr().out)["rejected"] == {"invalid": 2, "not_json": 1}


async def test_people_are_told_in_plain_lines(settings, tmp_path, capsys):
    await asyncio.to_thread(send.run, settings, reports(tmp_path, 10, b"x"), speed=None, json_output=False)

    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("sent 11 of 11 rows in ")
    assert second == "the worker will reject 1: not_json 1"


async def test_an_over_long_line_is_sent_cut_off(settings, tmp_path):
    path = reports(tmp_path, 1, b"x" * 1_200_000)

    code = await asyncio.to_thread(sent, settings, path)

    sizes = [len(record.value) for of_it in (await records(settings)).values() for record in of_it]
    assert code == 0
    assert max(sizes) == 1_000_001


async def test_speed_spreads_the_rows_by_their_event_times(settings, tmp_path):
    path = reports(tmp_path, 11)  # a second of event time

    began = time.monotonic()
    await asyncio.to_thread(sent, settings, path, 2.0)

    assert time.monotonic() - began >= 0.5
    stamps = [record.timestamp for of_it in (await records(settings)).values() for record in of_it]
    assert 400 <= max(stamps) - min(stamps) < 5000


async def test_another_number_of_partitions_is_refused_with_the_setting_to_change(settings, tmp_path):
    other = msgspec.structs.replace(settings, topics=msgspec.structs.replace(settings.topics, reports_partitions=5))

    with pytest.raises(send.SendError, match=r"has 3 partitions, not 5.*Give topics\.reports_partitions 3"):
        await asyncio.to_thread(sent, other, reports(tmp_path, 1))


async def test_a_missing_topic_says_how_to_make_it(settings, tmp_path):
    other = msgspec.structs.replace(settings, topics=TopicSettings(prefix="none-"))

    with pytest.raises(send.SendError, match=r"topic none-reports is missing.*groundswell topics"):
        await asyncio.to_thread(sent, other, reports(tmp_path, 1))


async def test_a_file_that_ends_in_the_middle_is_told_after_its_rows_went_out(settings, tmp_path, capsys):
    path = tmp_path / "a.ndjson.gz"
    rows = b"".join(b'{"service":"%d"}\n' % number for number in range(50_000))
    path.write_bytes(gzip.compress(rows)[:-20])

    with pytest.raises(FeedError, match="to its end"):
        await asyncio.to_thread(sent, settings, path)

    outcome = msgspec.json.decode(capsys.readouterr().out, type=send.Outcome)
    assert outcome.sent > 0
    assert not outcome.complete


def test_an_unreachable_broker_is_a_fault_and_the_summary_says_that_nothing_went_out(tmp_path, capsys):
    nowhere = Settings(kafka=KafkaSettings(address="127.0.0.1:1"))

    with pytest.raises(Unreachable, match=r"nothing listens at 127\.0\.0\.1:1"):
        sent(nowhere, reports(tmp_path, 1))

    outcome = msgspec.json.decode(capsys.readouterr().out, type=send.Outcome)
    assert (outcome.sent, outcome.complete) == (0, False)


async def test_rows_piped_in_go_out_before_the_pipe_ends_and_ctrl_c_ends_it(settings):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams", "send", "--json", "-",
        stdin=PIPE, stdout=PIPE, stderr=PIPE, env=os.environ | variables(settings),
    )  # fmt: skip
    assert process.stdin
    process.stdin.write(b'{"service":"A"}\n')

    await arrival(settings)
    process.send_signal(signal.SIGINT)
    output, errors = await process.communicate()

    assert msgspec.json.decode(output)["sent"] == 1
    assert process.returncode == 130
    assert b"Traceback" not in errors


def variables(settings: Settings) -> dict[str, str]:
    return {
        "GROUNDSWELL_KAFKA_ADDRESS": settings.kafka.address,
        "GROUNDSWELL_KAFKA_EMBEDDED": str(settings.kafka.embedded).lower(),
        "GROUNDSWELL_TOPICS_PREFIX": settings.topics.prefix,
        "GROUNDSWELL_TOPICS_PARTITIONS": "1",
        "GROUNDSWELL_TOPICS_REPORTS_PARTITIONS": str(PARTITIONS),
    }


async def arrival(settings: Settings) -> None:
    """Wait for the first record."""
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([TopicPartition(topics.names(settings).reports, number) for number in range(PARTITIONS)])
    async with asyncio.timeout(60):
        await consumer.getone()
    await consumer.stop()

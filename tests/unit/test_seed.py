"""groundswell seed: what it refuses, and what it leaves in the topics."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detectors.counts import decode_position
from detectors.detection import Detection
from detectors.snapshot import Whole, join
from streams import seed, topics
from streams.fault import Fault
from streams.feed import FeedError
from streams.kafka import client_options, records_of
from streams.seed import Outcome, SeedError
from streams.settings import KafkaSettings, Settings, TopicSettings
from streams.state import Kept

#: 25 October 2022, 00:00 UTC, in seconds.
DAY = 1_666_656_000
MINUTES = 600


@pytest.fixture
async def settings(broker: str, embedded: bool) -> Settings:
    made = Settings(
        kafka=KafkaSettings(address=broker, embedded=embedded),
        topics=TopicSettings(prefix=f"{uuid.uuid4().hex}-", partitions=2, reports_partitions=3),
    )
    await topics.create_missing(made)
    return made


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Ten hours of two services, a report a minute each, and two rows that are no reports."""
    rows = [
        msgspec.json.encode({"service": service, "time": DAY + 60 * minute})
        for minute in range(MINUTES)
        for service in ("WhatsApp", "TIM")
    ]
    return written(tmp_path, *rows, b"no report", b"{}")


def written(folder: Path, *rows: bytes) -> Path:
    path = folder / "history.ndjson"
    path.write_bytes(b"\n".join(rows))
    return path


async def seeded(settings: Settings, path: Path, *, replace: bool = False) -> int:
    return await asyncio.to_thread(seed.run, settings, path, replace=replace, json_output=True)


async def send(settings: Settings, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int = 0):
    producer = AIOKafkaProducer(**client_options(settings))
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, key=key, partition=partition)
    finally:
        await producer.stop()


async def held(settings: Settings, topic: str) -> dict[tuple[int, bytes], bytes]:
    """What a state topic holds, by partition and key."""
    count = next(spec.partitions for spec in topics.specs(settings) if spec.name == topic)
    partitions = [TopicPartition(topic, number) for number in range(count)]
    values: dict[tuple[int, bytes], bytes] = {}
    async for record in records_of(settings, partitions):
        values[record.partition, record.key] = record.value
    return {place: value for place, value in values.items() if value is not None}


def opened(block: bytes) -> Kept:
    whole = join({0: block})
    assert isinstance(whole, Whole)
    return msgspec.msgpack.decode(whole.data, type=Kept)


async def nothing_written(settings: Settings) -> bool:
    name = topics.names(settings)
    return not any([await held(settings, topic) for topic in (name.ingest_state, name.detect_state, name.judge_state)])


# --- what it leaves behind ---


async def test_state_of_every_partition_is_in_the_topics_for_a_log_that_begins(settings, history, capsys):
    assert await seeded(settings, history) == 0

    name = topics.names(settings)
    ingest = await held(settings, name.ingest_state)
    detect = await held(settings, name.detect_state)
    judge = await held(settings, name.judge_state)
    assert sorted(ingest) == [(0, b"0:1:0"), (1, b"1:1:0"), (2, b"2:1:0")]
    assert sorted(detect) == [(0, b"0:1:0"), (1, b"1:1:0")]
    assert sorted(judge) == [(0, b"0:1:0")]
    last = (DAY + 60 * (MINUTES - 1)) * 1000
    positions = [decode_position(opened(block).data) for block in ingest.values()]
    assert [(each.offset, each.watermark, each.live) for each in positions] == [(0, last, False)] * 3
    banks = [
        Detection.restore(settings.rules(), number, opened(detect[number, b"%d:1:0" % number]).data)
        for number in range(2)
    ]
    assert sum(bank.series for bank in banks) == 2
    assert {opened(block).offset for block in (*detect.values(), *judge.values())} == {0}


async def test_it_tells_what_was_learned(settings, history, capsys):
    await seeded(settings, history)

    outcome = msgspec.json.decode(capsys.readouterr().out, type=Outcome)
    assert (outcome.read, outcome.counted, outcome.rejected) == (1202, 1200, {"invalid": 1, "not_json": 1})
    assert (outcome.series, outcome.overflowed, outcome.open_incidents) == (2, 0, 0)
    assert (outcome.first, outcome.last) == ("2022-10-25T00:00:00Z", "2022-10-25T09:59:00Z")
    assert outcome.state_bytes > 1000


async def test_people_are_told_in_a_few_lines(settings, history, capsys):
    await asyncio.to_thread(seed.run, settings, history, replace=False, json_output=False)

    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("1,202 rows in ")
    assert first.endswith(" s: counted 1,200, rejected 2 (invalid 1, not_json 1)")
    assert second == "learned 2 series from 2022-10-25T00:00:00Z to 2022-10-25T09:59:00Z"
    assert third.startswith("wrote 0.")


async def test_no_alert_and_no_dead_letter_goes_out(settings, history):
    await seeded(settings, history)

    name = topics.names(settings)
    for topic in (name.alerts, name.dead_letter, name.surges, name.counts, name.reports):
        assert await held(settings, topic) == {}


# --- what it refuses ---


async def refused(settings: Settings, path: Path, *, replace: bool = False) -> Fault:
    with pytest.raises(Fault) as fault:
        await seeded(settings, path, replace=replace)
    return fault.value


async def test_missing_topics_are_refused(broker, embedded, history):
    settings = Settings(
        kafka=KafkaSettings(address=broker, embedded=embedded), topics=TopicSettings(prefix=f"{uuid.uuid4().hex}-")
    )

    fault = await refused(settings, history)

    assert "missing" in fault.fact
    assert fault.hint == "Run: groundswell topics"


async def test_topics_of_another_size_are_refused(settings, history):
    more = msgspec.structs.replace(settings, topics=msgspec.structs.replace(settings.topics, partitions=4))

    assert "topics.partitions changed from 2 to 4" in (await refused(more, history)).fact
    assert await nothing_written(settings)


async def test_running_worker_is_refused(settings, history):
    consumer = AIOKafkaConsumer(
        topics.names(settings).reports,
        **client_options(settings),
        group_id=topics.app_id(settings),
        rebalance_timeout_ms=3000,
        session_timeout_ms=10_000,
    )
    await consumer.start()
    try:
        fault = await refused(settings, history)
    finally:
        await consumer.stop()

    assert fault.fact == f"1 worker runs in group {topics.app_id(settings)}"
    assert fault.hint.startswith("Stop all workers.")
    assert await nothing_written(settings)


@pytest.mark.parametrize("topic", ["ingest_state", "detect_state", "judge_state", "counts", "surges"])
async def test_state_that_is_there_is_refused(settings, history, topic):
    used = getattr(topics.names(settings), topic)
    await send(settings, used, b"x", key=b"0:0:0")

    fault = await refused(settings, history)

    assert fault.fact == f"workers have learned already: topic {used} is not empty"
    assert "--replace" in fault.hint


async def test_state_that_is_there_is_replaced_whole_where_that_is_wanted(settings, history):
    name = topics.names(settings)
    for slot in range(2):
        for block in range(3):
            await send(settings, name.detect_state, b"old", key=b"1:%d:%d" % (slot, block), partition=1)
    await send(settings, name.counts, b"counted", partition=1)
    await send(settings, name.surges, b"judged")
    await send(settings, name.surges, b"judged")

    assert await seeded(settings, history, replace=True) == 0

    detect = await held(settings, name.detect_state)
    assert sorted(detect) == [(0, b"0:1:0"), (1, b"1:1:0")]
    assert [opened(block).offset for _, block in sorted(detect.items())] == [0, 1]
    judge = await held(settings, name.judge_state)
    assert [opened(block).offset for block in judge.values()] == [2]


async def test_second_run_is_refused(settings, history):
    await seeded(settings, history)

    assert "workers have learned already" in (await refused(settings, history)).fact


async def test_reports_that_wait_in_the_topic_have_to_come_after_the_history(settings, history):
    name = topics.names(settings)
    await send(settings, name.reports, b"no report", partition=2)
    await send(settings, name.reports, msgspec.json.encode({"service": "TIM", "time": DAY + 36_000}), partition=2)
    await send(settings, name.reports, msgspec.json.encode({"service": "TIM", "time": DAY + 3_000}), partition=1)

    fault = await refused(settings, history)

    assert fault.fact.endswith(f"and topic {name.reports} overlap")
    assert "1 of the first 2 reports in the topic are not newer" in fault.detail
    assert "before 2022-10-25T00:50:00Z" in fault.hint
    assert await nothing_written(settings)


async def test_few_stragglers_among_the_reports_that_wait_are_no_overlap(settings, history):
    name = topics.names(settings)
    for second in (10, 0, *range(-72_000, -71_980), 20, 30):
        await send(settings, name.reports, msgspec.json.encode({"service": "TIM", "time": DAY + 72_000 + second}))

    fault = await refused(settings, history)
    assert "20 of the first 24 reports" in fault.detail

    for second in range(200):
        await send(settings, name.reports, msgspec.json.encode({"service": "TIM", "time": DAY + 72_000 + second}))

    assert await seeded(settings, history) == 0


async def test_reports_that_wait_in_the_topic_and_come_after_the_history_are_read_after_it(settings, history):
    name = topics.names(settings)
    await send(settings, name.reports, msgspec.json.encode({"service": "TIM", "time": DAY + 36_000}), partition=2)

    assert await seeded(settings, history) == 0

    ingest = await held(settings, name.ingest_state)
    assert [decode_position(opened(block).data).offset for block in ingest.values()] == [0, 0, 0]


@pytest.mark.parametrize(
    ("rows", "detail"),
    [
        ([], "It has no rows."),
        ([b"no report", b"{}"], "None of its 2 rows can be counted: invalid 1, not_json 1."),
        ([msgspec.json.encode({"service": "TIM", "time": time.time() + 86_400})], "can be counted: future 1."),
    ],
)
async def test_file_without_a_usable_row_is_refused(settings, tmp_path, rows, detail):
    fault = await refused(settings, written(tmp_path, *rows))

    assert isinstance(fault, SeedError)
    assert fault.fact.startswith("nothing can be learned from ")
    assert detail in fault.detail
    assert await nothing_written(settings)


async def test_rows_without_a_time_are_refused(settings, tmp_path):
    timed = msgspec.json.encode({"service": "TIM", "time": DAY})

    fault = await refused(settings, written(tmp_path, timed, b"no report", b'{"service": "TIM"}'))

    assert fault.fact.startswith("1 of the first 3 rows of ")
    assert await nothing_written(settings)


async def test_file_that_cannot_be_read_is_refused(settings, tmp_path):
    assert isinstance(await refused(settings, tmp_path / "none.csv"), FeedError)

import asyncio
import uuid
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from detectors import alert as alert_record
from detectors.alert import Alert, Kind, Severity, State
from streams import tail, topics
from streams.kafka import client_options
from streams.settings import KafkaSettings, Settings, TopicSettings


def an_alert(sequence: int = 1, **changes: object) -> Alert:
    first = Alert(
        id="00ff", sequence=1, episode=1, state=State.OPEN, kind=Kind.SERIES, sources=["reports"],
        service="WhatsApp", region="it/lazio", severity=Severity.ERROR,
        started_at="2022-10-25T07:04:00Z", detected_at="2022-10-25T07:05:03Z",
        updated_at="2022-10-25T07:05:03Z", resolved_at=None, summary="WhatsApp in it/lazio: 61 reports", observed=61,
        expected=4.3, expected_low=1.0, expected_high=9.0, ratio=14.2, evidence=7.5, warming=False, course=None,
    )  # fmt: skip
    return msgspec.structs.replace(first, sequence=sequence, **changes)


@pytest.fixture
async def settings(broker: str, embedded: bool) -> Settings:
    made = Settings(
        kafka=KafkaSettings(address=broker, embedded=embedded),
        topics=TopicSettings(prefix=f"{uuid.uuid4().hex}-", partitions=1, reports_partitions=1),
    )
    await topics.create_missing(made)
    return made


async def publish(settings: Settings, *values: bytes | None) -> None:
    """All in one batch, as the judge sends them."""
    producer = AIOKafkaProducer(**client_options(settings))
    await producer.start()
    batch = producer.create_batch()
    for value in values:
        batch.append(timestamp=None, key=b"00ff", value=value)
    await (await producer.send_batch(batch, topics.names(settings).alerts, partition=0))
    await producer.stop()


async def first(found: AsyncIterator[Alert], count: int) -> list[Alert]:
    async with asyncio.timeout(30):
        return [await anext(found) for _ in range(count)]


async def test_from_start_without_following_gives_all_that_are_there(settings):
    await publish(settings, *(alert_record.encode(an_alert(sequence)) for sequence in (1, 2, 3)))

    found = [alert.sequence async for alert in tail.alerts(settings, from_start=True, follow=False)]

    assert found == [1, 2, 3]


async def test_without_alerts_it_ends_at_once(settings):
    assert [alert async for alert in tail.alerts(settings, from_start=True, follow=False)] == []


async def test_following_gives_the_next_alerts_and_none_of_the_batch_before(settings):
    await publish(settings, *(alert_record.encode(an_alert(sequence)) for sequence in (1, 2, 3)))
    found = tail.alerts(settings, from_start=False, follow=True)
    next_one = asyncio.ensure_future(first(found, 1))
    # It has begun once it asked where the topic ends: alerts come until it shows the first.
    sequence = 3
    while not next_one.done():
        sequence += 1
        await publish(settings, alert_record.encode(an_alert(sequence)))
        await asyncio.wait([next_one], timeout=0.2)

    assert next_one.result()[0].sequence > 3
    await found.aclose()


async def test_records_that_are_no_alerts_are_left_out(settings, capsys):
    await publish(settings, b"\x1b[31mno json", None, b"{}", alert_record.encode(an_alert()))

    found = [alert.sequence async for alert in tail.alerts(settings, from_start=True, follow=False)]

    assert found == [1]
    assert "\x1b" not in capsys.readouterr().err


async def test_json_is_the_records_own_bytes(settings, capfdbinary):
    values = [alert_record.encode(an_alert(sequence)) for sequence in (1, 2)]
    await publish(settings, *values)

    code = await asyncio.to_thread(tail.run, settings, json_output=True, follow=False, from_start=True)

    assert code == 0
    assert capfdbinary.readouterr().out == b"".join(value + b"\n" for value in values)


async def test_people_get_a_line_an_alert(settings, capfd):
    await publish(settings, alert_record.encode(an_alert()))

    await asyncio.to_thread(tail.run, settings, json_output=False, follow=False, from_start=True)

    assert capfd.readouterr().out == "2022-10-25T07:05:03Z  open      error     WhatsApp in it/lazio: 61 reports\n"


async def test_a_missing_topic_says_how_to_make_it(broker, embedded):
    nowhere = Settings(kafka=KafkaSettings(address=broker, embedded=embedded), topics=TopicSettings(prefix="none-"))

    with pytest.raises(tail.TailError, match=r"topic none-alerts is missing.*groundswell topics"):
        await first(tail.alerts(nowhere, from_start=True, follow=True), 1)


def test_a_line_is_one_line_and_moves_no_cursor():
    text = tail.line(an_alert(summary="a\x1b[2Jb\n[bold]c"))

    assert text.plain.endswith("a\\x1b[2Jb\\n[bold]c")


def test_what_another_incident_explains_is_said_to_be_a_part_and_stands_back():
    text = tail.line(an_alert(parent="ff00", severity=Severity.CRITICAL))

    assert text.plain.endswith("WhatsApp in it/lazio: 61 reports  part of a wider incident")
    assert "bold red" not in {str(span.style) for span in text.spans}


def test_colour_tells_the_severity_and_what_is_over():
    def styles(**changes: object) -> set[str]:
        return {str(span.style) for span in tail.line(an_alert(**changes)).spans}

    assert "bold red" in styles(severity=Severity.CRITICAL)
    assert "yellow" in styles(severity=Severity.WARNING)
    assert "green" in styles(state=State.RESOLVED)

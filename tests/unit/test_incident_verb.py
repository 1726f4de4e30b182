"""`groundswell incident`: which incident is meant, what is sent, and what is said where nobody answers."""

from __future__ import annotations

import asyncio
import getpass
import json
import uuid
from collections.abc import Callable

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from detectors import alert as alert_record
from detectors import command as command_record
from detectors.alert import Alert, Muted, State, Word
from detectors.command import Action, Command
from streams import incident, topics
from streams.fault import Fault
from streams.kafka import client_options, records_of
from streams.settings import KafkaSettings, Settings, TopicSettings
from tests.pipeline.harness import wait_until
from tests.unit.test_tail import an_alert


@pytest.fixture
async def settings(broker: str, embedded: bool) -> Settings:
    made = Settings(
        kafka=KafkaSettings(address=broker, embedded=embedded),
        topics=TopicSettings(prefix=f"{uuid.uuid4().hex}-", partitions=1, reports_partitions=1),
    )
    await topics.create_missing(made)
    return made


async def publish(settings: Settings, *alerts: Alert) -> None:
    producer = AIOKafkaProducer(**client_options(settings))
    await producer.start()
    for alert in alerts:
        await producer.send_and_wait(
            topics.names(settings).alerts, alert_record.encode(alert), key=alert.id.encode(), partition=0
        )
    await producer.stop()


async def sent(settings: Settings) -> list[Command]:
    where = TopicPartition(topics.names(settings).commands, 0)
    found = [command_record.decode(record.value) async for record in records_of(settings, [where])]
    return [each for each in found if isinstance(each, Command)]


def fault_of(call: Callable[[], object]) -> Fault:
    with pytest.raises(Fault) as caught:
        call()
    return caught.value


# --- which one is meant ---

LAST = {
    "9e847e169e681493": an_alert(id="9e847e169e681493"),
    "9e84000000000000": an_alert(id="9e84000000000000", state=State.RESOLVED, resolved_at="2022-10-25T08:00:00Z"),
    "2f4c66a1d0b3e957": an_alert(id="2f4c66a1d0b3e957"),
    "2f4c66ffffffffff": an_alert(id="2f4c66ffffffffff"),
    "aaaa66ffffffffff": an_alert(id="aaaa66ffffffffff", state=State.RESOLVED, resolved_at="2022-10-25T08:00:00Z"),
}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("9e847e169e681493", "9e847e169e681493"),
        ("9e84", "9e847e169e681493"),  # the other one is resolved
        ("2f4c66a", "2f4c66a1d0b3e957"),
    ],
)
def test_incident_is_named_by_its_id_or_by_as_much_of_it_as_tells_it_from_the_others(given: str, meant: str) -> None:
    assert incident.named(LAST, given).id == meant


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("9e8", "'9e8' is too short for an id"),
        ("2f4c", "2 open incidents begin with '2f4c'"),
        ("aaaa", "incident aaaa66ffffffffff is resolved already"),
        ("bbbb", "no incident has the id 'bbbb'"),
    ],
)
def test_what_names_no_open_incident_is_told_with_what_to_do(given: str, said: str) -> None:
    fault = fault_of(lambda: incident.named(LAST, given))

    assert fault.fact == said
    assert fault.hint


# --- what is sent ---


def test_command_is_from_who_is_logged_in_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "maria")

    assert incident.made(Action.ACK).by == "maria"
    assert incident.made(Action.ACK, by="joe").by == "joe"
    assert incident.made(Action.ACK).id != incident.made(Action.ACK).id


def test_who_has_no_name_has_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", nobody)

    assert fault_of(lambda: incident.made(Action.ACK)).hint == "Give --by NAME."


def test_what_a_worker_would_refuse_is_not_sent() -> None:
    assert fault_of(lambda: incident.made(Action.ACK, by="a\x1b[2J")).fact == "--by cannot be taken"
    assert fault_of(lambda: incident.made(Action.ACK, by="joe", reason="x" * 501)).fact == "--reason cannot be taken"


async def test_sent_without_waiting_it_is_on_the_topic_for_the_whole_id(settings: Settings) -> None:
    await publish(settings, LAST["9e847e169e681493"])
    command = incident.made(Action.MUTE, by="joe", reason="known", for_seconds=7200)

    code = await asyncio.to_thread(incident.say, settings, command, "9e84", wait_seconds=None, json_output=False)

    [there] = await sent(settings)
    assert code == 0
    assert (there.id, there.incident, there.action, there.by) == (command.id, "9e847e169e681493", Action.MUTE, "joe")
    assert (there.reason, there.for_seconds) == ("known", 7200)


async def test_answer_is_the_record_that_bears_the_command(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    first = LAST["9e847e169e681493"]
    await publish(settings, first)
    command = incident.made(Action.MUTE, by="joe")
    saying = asyncio.create_task(
        asyncio.to_thread(incident.say, settings, command, "9e84", wait_seconds=30.0, json_output=False)
    )
    await wait_until(lambda: sent(settings), 30, "the command was sent")

    other = an_alert(2, id=first.id, word=Word(id="other", action="ack", by="x", reason="", at=first.updated_at))
    muted = Muted(by="joe", reason="", since=first.updated_at, until="2022-10-25T09:00:00Z")
    answer = an_alert(3, id=first.id, state=State.UPDATE, muted=muted, word=command.word)
    await publish(settings, other, answer)

    assert await saying == 0
    assert capfd.readouterr().out.splitlines() == [
        "2022-10-25T07:05:03Z  update    error     WhatsApp in it/lazio: 61 reports"
        "  muted by joe until 2022-10-25T09:00:00Z"
    ]


async def test_without_an_answer_in_time_it_says_where_the_command_is_and_what_to_do(settings: Settings) -> None:
    await publish(settings, LAST["9e847e169e681493"])
    command = incident.made(Action.ACK, by="joe")

    with pytest.raises(Fault) as caught:
        await asyncio.to_thread(incident.say, settings, command, "9e84", wait_seconds=0.5, json_output=False)

    assert caught.value.fact == "no worker answered within 0.5 s"
    assert topics.names(settings).commands in caught.value.detail
    assert "groundswell incident list" in caught.value.hint


async def test_unknown_incident_is_told_before_anything_is_sent(settings: Settings) -> None:
    command = incident.made(Action.ACK, by="joe")

    with pytest.raises(Fault, match="no incident has the id 'bbbb'"):
        await asyncio.to_thread(incident.say, settings, command, "bbbb", wait_seconds=None, json_output=False)

    assert await sent(settings) == []


# --- what is open ---


async def test_list_shows_what_is_open_the_worst_first_and_who_spoke_for_it(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    muted = Muted(by="joe\x1b[2J", reason="", since="2022-10-25T07:05:03Z")
    mild = an_alert(id="9e847e169e681493", severity=alert_record.Severity.INFO)
    await publish(
        settings,
        mild,
        LAST["aaaa66ffffffffff"],
        LAST["2f4c66a1d0b3e957"],
        an_alert(2, id="2f4c66a1d0b3e957", muted=muted),
    )

    assert await asyncio.to_thread(incident.show, settings, json_output=False) == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert await asyncio.to_thread(incident.show, settings, json_output=True) == 0
    records = [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    assert lines[1] == [
        "2f4c66a1d0b3e957", "error", "WhatsApp", "in", "it/lazio", "2022-10-25T07:04:00Z", "muted", "by", "joe\\x1b[2J",
    ]  # fmt: skip
    assert [line[0] for line in lines[1:]] == ["2f4c66a1d0b3e957", "9e847e169e681493"]
    assert [(record["id"], record["sequence"]) for record in records] == [
        ("2f4c66a1d0b3e957", 2),
        ("9e847e169e681493", 1),
    ]

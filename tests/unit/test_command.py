"""Commands of people as they come by the topic: what is understood, what is refused and why."""

from __future__ import annotations

import json

import msgspec
import pytest

from detectors.command import Action, Command, decode, decode_logged, encode_logged
from detectors.report import Reason, Rejected
from detectors.surges import SurgeRecord
from detectors.surges import encode as encode_surges

GOOD = {
    "id": "c-1",
    "action": "ack",
    "incident": "00ff",
    "by": "maria",
    "reason": "looking after it",
    "at": "2022-10-25T07:09:00Z",
}


def value(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_command_says_who_what_when_and_why() -> None:
    command = decode(value())

    assert isinstance(command, Command)
    assert (command.action, command.incident, command.by) == (Action.ACK, "00ff", "maria")
    assert msgspec.structs.asdict(command.word) == {
        "id": "c-1",
        "action": "ack",
        "by": "maria",
        "reason": "looking after it",
        "at": "2022-10-25T07:09:00Z",
    }


@pytest.mark.parametrize("at", ["2022-10-25T09:09:00+02:00", 1_666_681_740, 1_666_681_740_000])
def test_time_is_text_seconds_or_milliseconds(at: object) -> None:
    command = decode(value(at=at))

    assert isinstance(command, Command)
    assert command.at_ms == 1_666_681_740_000


def test_mute_lasts_for_so_long_or_until_a_time() -> None:
    lasts, until = (
        decode(value(action="mute", for_seconds=7200)),
        decode(value(action="mute", until="2022-10-25T09:00:00Z")),
    )

    assert isinstance(lasts, Command)
    assert isinstance(until, Command)
    assert (lasts.for_seconds, lasts.until_ms) == (7200, None)
    assert (until.for_seconds, until.until_ms) == (None, 1_666_688_400_000)


@pytest.mark.parametrize(
    ("bad", "reason", "path"),
    [
        (None, Reason.EMPTY, "$"),
        (b"", Reason.EMPTY, "$"),
        (b"ack 00ff", Reason.NOT_JSON, "$"),
        (b"\xff\xfe", Reason.NOT_JSON, "$"),
        (b"[" * 10_000, Reason.INVALID, "$"),
        (b'{"x": ' * 2_000, Reason.NOT_JSON, "$"),
        (b'"' + b"x" * 20_000 + b'"', Reason.TOO_LARGE, "$"),
        (b"{}", Reason.INVALID, "$"),
        (value(action="delete"), Reason.INVALID, "$.action"),
        (value(by=""), Reason.INVALID, "$.by"),
        (value(by="  "), Reason.BAD_NAME, "$.by"),
        (value(by="x" * 201), Reason.INVALID, "$.by"),
        (value(reason="x" * 501), Reason.INVALID, "$.reason"),
        (value(reason="a\u202eb"), Reason.BAD_NAME, "$.reason"),
        # Two letters each once normalised.
        (value(reason="\u0958" * 300), Reason.BAD_NAME, "$.reason"),
        (value(by="maria\x1b[2J"), Reason.BAD_NAME, "$.by"),
        (value(id="\x00"), Reason.BAD_NAME, "$.id"),
        (value(incident="x" * 101), Reason.INVALID, "$.incident"),
        (value(at="yesterday"), Reason.INVALID, "$.at"),
        (value(at="2022-10-25T07:09:00"), Reason.INVALID, "$.at"),
        (value(at=-5), Reason.BAD_TIME, "$.at"),
        (value(at=1e300), Reason.BAD_TIME, "$.at"),
        (value(action="mute", until=1e15), Reason.BAD_TIME, "$.until"),
        (value(action="mute", for_seconds=0), Reason.INVALID, "$.for_seconds"),
        (value(action="mute", for_seconds=60, until=1_666_688_400), Reason.INVALID, "$.until"),
        (value(until=1_666_688_400), Reason.INVALID, "$.action"),
    ],
)
def test_what_is_no_command_is_refused_with_the_reason_and_the_place(
    bad: bytes | None, reason: Reason, path: str
) -> None:
    refused = decode(bad)

    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.path) == (reason, path)


def test_log_of_surges_tells_steps_and_commands_apart() -> None:
    command = decode(value(action="mute", until="2022-10-25T09:00:00Z"))
    step = SurgeRecord(3, 4, 1_666_681_740_000, [])

    assert decode_logged(encode_logged(command)) == command
    assert decode_logged(encode_surges(step)) == step


@pytest.mark.parametrize(
    "bad", [b"", b"\xc1", b"\x80", b"\xdf", encode_logged({"id": "1"}), encode_logged(GOOD | {"at": -5})]
)
def test_what_is_neither_in_the_log_is_refused_as_other_strange_records_are(bad: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_logged(bad)

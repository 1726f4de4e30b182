"""A command of people about an incident: decoded, checked, normalised, or rejected with a reason."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from detectors.alert import Word, utc
from detectors.report import Reason, Rejected, clean, moment_ms
from detectors.surges import SurgeRecord
from detectors.surges import decode as decode_surges

MAX_ID = 100
MAX_BY = 200
MAX_REASON = 500
#: A mute for longer is meant to last until somebody takes it back.
MAX_MUTE_SECONDS = 366 * 86_400.0
#: A command with the longest texts in escaped letters.
MAX_BYTES = 16_384
#: Why a record may hold no command.
REASONS = (Reason.EMPTY, Reason.TOO_LARGE, Reason.NOT_JSON, Reason.INVALID, Reason.BAD_NAME, Reason.BAD_TIME)


class Action(enum.StrEnum):
    """What a command asks for."""

    ACK = "ack"
    MUTE = "mute"
    UNMUTE = "unmute"
    RESOLVE = "resolve"
    FALSE_ALARM = "false-alarm"


#: Fields of a command, and of a request for one.
Asked = Annotated[
    Action,
    Meta(
        description="ack: somebody looks after it, no page in this episode; mute: no page, also if it comes back;"
        " unmute: pages again; resolve: it is over; false-alarm: it was none, which counts"
    ),
]
ForSeconds = Annotated[
    Annotated[float, Meta(gt=0, le=MAX_MUTE_SECONDS)] | None,
    Meta(description="of a mute: for how long, in event time; null: until unmute"),
]


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says about an incident."""

    id: Annotated[
        str, Meta(min_length=1, max_length=MAX_ID, description="of the command, unique: a repeat of it changes nothing")
    ]
    action: Asked
    incident: Annotated[str, Meta(min_length=1, max_length=MAX_ID, description="id of the incident")]
    by: Annotated[str, Meta(min_length=1, max_length=MAX_BY, description="who says it")]
    reason: Annotated[str, Meta(max_length=MAX_REASON, description="why")] = ""
    at: Annotated[
        Annotated[datetime, Meta(tz=True)] | int | float,
        Meta(description="when it was said: RFC 3339, or seconds or milliseconds since 1970"),
    ]
    for_seconds: ForSeconds = None
    until: Annotated[
        Annotated[datetime, Meta(tz=True)] | int | float | None,
        Meta(description="of a mute, instead of for_seconds: until when, an event time, as at"),
    ] = None

    @property
    def at_ms(self) -> int:
        """When it was said, ms since 1970. Of a checked command."""
        return _checked(self.at)

    @property
    def until_ms(self) -> int | None:
        """Until when, ms since 1970; None where it does not say. Of a checked command."""
        return None if self.until is None else _checked(self.until)

    @property
    def word(self) -> Word:
        """What a record that follows from it says of it."""
        return Word(id=self.id, action=self.action.value, by=self.by, reason=self.reason, at=utc(self.at_ms))


encode = msgspec.json.Encoder().encode
_parse = msgspec.json.Decoder(Command).decode

#: As it is forwarded into `surges`.
encode_logged = msgspec.msgpack.Encoder().encode
_decode_logged = msgspec.msgpack.Decoder(Command).decode


def decode(value: bytes | None) -> Command | Rejected:
    """The command in a record's value, names and times normalised, or why it holds none."""
    if not value:
        return Rejected(Reason.EMPTY, "$", "the record has no value; send a JSON object")
    if len(value) > MAX_BYTES:
        return Rejected(Reason.TOO_LARGE, "$", f"{len(value)} bytes, at most {MAX_BYTES} are read")
    try:
        command = _parse(value)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `")
        return Rejected(Reason.INVALID, path.rstrip("`") or "$", text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Rejected(Reason.NOT_JSON, "$", str(error))
    return check(command)


def check(command: Command) -> Command | Rejected:
    """The command with its names and times normalised, or what is wrong with it."""
    texts: dict[str, str] = {}
    for name, most in (("id", MAX_ID), ("incident", MAX_ID), ("by", MAX_BY), ("reason", MAX_REASON)):
        text = clean(getattr(command, name))
        if text is None:
            return Rejected(Reason.BAD_NAME, f"$.{name}", "control or direction characters are not allowed")
        if not text and name != "reason":
            return Rejected(Reason.BAD_NAME, f"$.{name}", "empty once trimmed")
        if len(text) > most:  # some letters are two once normalised
            return Rejected(Reason.BAD_NAME, f"$.{name}", f"longer than {most} letters once normalised")
        texts[name] = text
    lasts = command.for_seconds is not None or command.until is not None
    if lasts and command.action is not Action.MUTE:
        return Rejected(Reason.INVALID, "$.action", "for_seconds and until are of a mute; leave them out")
    if command.for_seconds is not None and command.until is not None:
        return Rejected(Reason.INVALID, "$.until", "give for_seconds or until, not both")
    said = moment_ms(command.at, "$.at")
    until = None if command.until is None else moment_ms(command.until, "$.until")
    for time in (said, until):
        if isinstance(time, Rejected):
            return time
    return replace(command, **texts, at=said, until=until)


def decode_logged(value: bytes) -> SurgeRecord | Command:
    """A record of `surges`: the step of a partition of detect, or a command. Raises what msgspec raises.

    The one is an array, the other a map: no value of msgpack is both.
    """
    is_map = bool(value) and (value[0] >> 4 == 0x8 or value[0] in (0xDE, 0xDF))
    if not is_map:
        return decode_surges(value)
    command = check(_decode_logged(value))
    if isinstance(command, Rejected):
        raise msgspec.ValidationError(f"{command.detail} - at `{command.path}`")
    return command


def _checked(time: datetime | float) -> int:
    ms = moment_ms(time, "$")
    if isinstance(ms, Rejected):
        raise ValueError(f"{time!r} is no time of a checked command: {ms.detail}")
    return ms

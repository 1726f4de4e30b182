"""Alerts made by hand, for the tests of what reads them."""

from __future__ import annotations

from msgspec.structs import replace

from detectors.alert import Acknowledged, Alert, Course, Kind, Muted, Resolution, Severity, State
from detectors.command import Action, Command

NOON = 1_666_699_200.0
"""2022-10-25T12:00:00Z in seconds since 1970: the data's clock in these tests."""


def outage(id: str = "incident-1", **changed: object) -> Alert:
    """WhatsApp is out in Italy since 11:48, 44 times the usual; as of 12:00."""
    fields: dict[str, object] = {
        "id": id,
        "sequence": 1,
        "episode": 1,
        "state": State.OPEN,
        "kind": Kind.SERIES,
        "sources": ["reports"],
        "service": "WhatsApp",
        "region": "it",
        "severity": Severity.CRITICAL,
        "started_at": "2022-10-25T11:48:00Z",
        "detected_at": "2022-10-25T11:49:00Z",
        "updated_at": "2022-10-25T12:00:00Z",
        "resolved_at": None,
        "summary": "WhatsApp in it: 8,214 reports in 12 min where 187 are usual",
        "observed": 8214,
        "expected": 187.0,
        "expected_low": 150.0,
        "expected_high": 224.0,
        "ratio": 43.9,
        "evidence": 23.1,
        "warming": False,
        "course": None,
    }
    return Alert(**{**fields, **changed})  # type: ignore[arg-type]


def silence(id: str = "silence-1", **changed: object) -> Alert:
    """The source outage-site is silent since 11:48; 812 reports were missed as of 12:00."""
    fields: dict[str, object] = {
        "kind": Kind.FEED,
        "sources": ["outage-site"],
        "service": None,
        "region": None,
        "severity": Severity.ERROR,
        "summary": "Feed outage-site is silent: no report since 11:48 UTC, 812 expected since then",
        "observed": 0,
        "expected": 812.0,
        "expected_low": 812.0,
        "expected_high": 812.0,
        "ratio": 0.0,
    }
    return outage(id, **{**fields, **changed})


def resolved(id: str = "incident-1", **changed: object) -> Alert:
    """The same outage, over at noon."""
    return outage(id, **{"sequence": 9, "state": State.RESOLVED, "resolved_at": "2022-10-25T12:00:00Z", **changed})


def answer(before: Alert, command: Command) -> Alert:
    """What the judge says of an incident when it heeds a command."""
    changed: dict[str, object] = {"sequence": before.sequence + 1, "state": State.UPDATE, "word": command.word}
    match command.action:
        case Action.ACK:
            changed["acknowledged"] = Acknowledged(by=command.by, reason=command.reason, at=before.updated_at)
        case Action.MUTE:
            changed["muted"] = Muted(by=command.by, reason=command.reason, since=before.updated_at)
        case Action.UNMUTE:
            changed["muted"] = None
        case _:
            changed |= {"state": State.RESOLVED, "resolved_at": before.updated_at, "resolution": Resolution.BY_HAND}
    return replace(before, **changed)


def course(observed: list[int]) -> Course:
    """Minutes up to noon with `observed` reports where 10 are expected, 4 to 16."""
    n = len(observed)
    return Course(
        bucket_seconds=60,
        end="2022-10-25T12:00:00Z",
        observed=observed,
        expected=[10.0] * n,
        low=[4.0] * n,
        high=[16.0] * n,
    )

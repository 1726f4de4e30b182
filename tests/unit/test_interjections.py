"""Commands in a replay: heeded where event time has come to when they were said, and in nobody else's way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detectors import alert
from detectors.alert import Alert, Resolution, State, millis
from detectors.command import Action, Command
from detectors.pipeline import Pipeline
from detectors.rules import Rules
from streams import cli, command_file
from streams.command_file import CommandFileError
from tests.pipeline import feeds

RULES = Rules()


@pytest.fixture(scope="module")
def feed() -> list[tuple[int, bytes | None]]:
    """Ten quiet hours, forty minutes of ten times as many reports, and some quiet; all partitions at the same pace."""
    partitions = RULES.reports_partitions
    return [
        (n % partitions, feeds.report(feeds.DAY + minute * 60 + n, "WhatsApp", count=40 if 600 <= minute < 640 else n))
        for minute in range(700)
        for n in range(2, 2 + partitions)
    ]


def said(action: Action, incident: str, at: int, number: int = 1) -> Command:
    return Command(id=f"c-{number}", action=action, incident=incident, by="maria", at=at)


def alerts_of(feed: list[tuple[int, bytes | None]], *commands: Command, portion: int = 200) -> list[Alert]:
    """The alerts of a feed that is read so many records at a time."""
    pipeline = Pipeline(RULES, commands=commands)
    now = 1_700_000_000_000
    told: list[bytes] = []
    for begin in range(0, len(feed), portion):
        values: dict[int, list[bytes | None]] = {}
        for partition, value in feed[begin : begin + portion]:
            values.setdefault(partition, []).append(value)
        for partition, theirs in sorted(values.items()):
            told += pipeline.read(partition, theirs, [now] * len(theirs))
    return [alert.decode(each) for each in told]


@pytest.mark.parametrize("portion", [50, 200, 100_000])
def test_command_takes_effect_at_its_time_however_the_feed_is_cut(
    feed: list[tuple[int, bytes | None]], portion: int
) -> None:
    plain = alerts_of(feed)
    at = millis(plain[0].updated_at) + 12_345

    told = alerts_of(feed, said(Action.ACK, plain[0].id, at), portion=portion)

    [answer] = [each for each in told if each.word is not None]
    assert (answer.id, millis(answer.updated_at)) == (plain[0].id, at)


def test_command_for_nobody_changes_no_alert(feed: list[tuple[int, bytes | None]]) -> None:
    times = range(feeds.DAY * 1000, (feeds.DAY + 12 * 3600) * 1000, 777_777)
    commands = [said(Action.RESOLVE, "nobody", at, number) for number, at in enumerate(times)]

    assert alerts_of(feed, *commands) == alerts_of(feed)


def test_backtest_counts_the_pages_that_were_called_false_alarms_against_the_budget(
    feed: list[tuple[int, bytes | None]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reports.ndjson").write_bytes(b"\n".join(value for _, value in feed if value and b"\n" not in value))
    assert cli.main(["backtest", str(tmp_path / "reports.ndjson"), "--json"]) == 0
    plain = [alert.decode(line.encode()) for line in capfd.readouterr().out.splitlines()]
    page = next(each for each in plain if each.severity in alert.PAGING and each.parent is None)
    lines = [
        {"id": "1", "action": "false-alarm", "incident": page.id, "by": "maria", "at": page.updated_at},
        {"id": "2", "action": "ack", "incident": "nobody", "by": "maria", "at": page.updated_at},
    ]
    (tmp_path / "said.ndjson").write_text("\n".join(map(json.dumps, lines)))
    arguments = ["backtest", str(tmp_path / "reports.ndjson"), "--commands", str(tmp_path / "said.ndjson")]

    assert cli.main([*arguments, "--json"]) == 0
    *alerts, last = capfd.readouterr().out.splitlines()
    assert cli.main(arguments) == 0
    sentence = capfd.readouterr().out.splitlines()[-1]

    ends = [alert.decode(line.encode()) for line in alerts if f'"{page.id}"' in line and '"resolved"' in line]
    assert (ends[0].state, ends[0].resolution) == (State.RESOLVED, Resolution.FALSE_ALARM)
    pages = json.loads(last)["pages"]
    assert (pages["false_alarms"], pages["alert_budget"], pages["commands_unheeded"]) == (1, 2.0, 1)
    assert "1 of them called a false alarm, 1.0 a week; the budget is 2 a week; 1 command came to nothing" in sentence


def test_line_that_is_no_command_is_told_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "said.ndjson"
    file.write_text('\n{"id": "1", "action": "ack", "incident": "00ff", "by": "maria", "at": "today"}\n')

    with pytest.raises(CommandFileError, match=r"line 2: no command.*\$\.at"):
        command_file.read(file)


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CommandFileError, match=r"cannot be read.*--commands"):
        command_file.read(tmp_path / "none")

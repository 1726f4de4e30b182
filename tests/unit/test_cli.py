"""The command line: help, exit codes, and how failures are told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from streams import cli, console
from streams.fault import Fault
from streams.settings import Loaded

VERBS = [
    "demo",
    "worker",
    "broker",
    "send",
    "feed",
    "seed",
    "tail",
    "incident",
    "backtest",
    "why",
    "tune",
    "notify-test",
    "check",
    "topics",
    "schema",
]
SECRET = "canary-tulip-7"


@pytest.fixture(autouse=True)
def clean_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("GROUNDSWELL_"):
            monkeypatch.delenv(name)


@pytest.fixture
def verb(monkeypatch):
    """Put a command in place that does what the test says."""

    def put(do):
        @click.command()
        @cli.settings_option
        @cli.kafka_option
        def probe():
            return do()

        monkeypatch.setitem(cli.cli.commands, "probe", probe)

    return put


def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "streams", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=dict(os.environ) | env, stdout=pipe, stderr=pipe, text=True)


def ran(*arguments: str, **env: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process of its own."""
    process = start(*arguments, **env)
    stdout, stderr = process.communicate(timeout=60)
    return process.returncode, stdout, stderr


# --- help ---


def test_help_lists_the_verbs_in_the_order_people_meet_them(capsys):
    assert cli.main(["--help"]) == 0

    shown = capsys.readouterr().out
    commands = shown.split("Commands:\n")[1].split("\n\n")[0]
    assert [line.split()[0] for line in commands.splitlines()] == VERBS
    assert "..." not in commands


@pytest.mark.parametrize("name", VERBS)
def test_help_of_each_verb_teaches_by_example(name, capsys):
    assert cli.main([name, "--help"]) == 0

    shown = capsys.readouterr().out
    assert "Example" in shown
    assert f"groundswell {name}" in shown.split("Example")[1]


def test_help_waits_for_no_slow_import():
    slow = ["faust", "river", "aiokafka", "numpy", "streams.settings"]
    probe = (
        f"import sys; from streams.cli import main; main(['--help']); print([m for m in {slow} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_version_is_that_of_the_package(capsys):
    assert cli.main(["--version"]) == 0

    assert capsys.readouterr().out == f"groundswell {metadata.version('groundswell')}\n"


# --- exit codes ---


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["--nope"],
        ["check", "--nope"],
        ["send"],
        ["send", "--speed", "fast", "x"],
        ["schema", "surges"],
        ["incident", "ack"],
        ["incident", "delete", "9e84"],
        ["incident", "mute", "9e84", "--for", "long"],
        ["incident", "mute", "9e84", "--for", "-1h"],
        ["incident", "mute", "9e84", "--until", "2022-10-25T09:00:00"],
        ["incident", "mute", "9e84", "--for", "1h", "--until", "2022-10-25T09:00:00Z"],
        ["incident", "ack", "9e84", "--for", "1h"],
        ["tune"],
        ["why", "WhatsApp", "it"],
        ["tune", "--budget", "0", "x"],
        [],
    ],
)
def test_wrong_usage_is_2(arguments, capsys):
    assert cli.main(arguments) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "groundswell" in shown.err


def test_wrong_setting_is_2_and_told_on_stderr(monkeypatch, capfd):
    monkeypatch.setenv("GROUNDSWELL_WEB_PORT", "http")

    assert cli.main(["check"]) == 2

    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        'groundswell: setting GROUNDSWELL_WEB_PORT="http" is not a whole number',
        "  Port to listen on; 0 takes a free one.",
        "  Give 0 to 65535; the default is 8600.",
    ]


def test_unreachable_broker_is_1_without_a_traceback():
    code, out, err = ran("topics", "--kafka", "127.0.0.1:1")

    assert (code, out) == (1, "")
    assert err.startswith("groundswell: nothing listens at 127.0.0.1:1\n  Start the broker")
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [KafkaConnectionError("closed"), TopicAuthorizationFailedError("reports")])
def test_error_of_the_kafka_client_inside_a_verb_is_looked_into(verb, error, capsys):
    def fail():
        raise error

    verb(fail)

    assert cli.main(["probe", "--kafka", "127.0.0.1:1"]) == 1
    assert "nothing listens at 127.0.0.1:1" in capsys.readouterr().err


def test_error_that_the_usual_mistakes_do_not_explain_is_told_itself(verb, broker, capsys):
    def fail():
        raise TopicAuthorizationFailedError("reports")

    verb(fail)

    assert cli.main(["probe", "--kafka", broker]) == 1
    assert "TopicAuthorizationFailedError" in capsys.readouterr().err


def test_code_of_the_verb_is_the_code_of_the_command(verb):
    verb(lambda: 1)

    assert cli.main(["probe"]) == 1


def test_interrupt_is_130_and_quiet(verb, capsys):
    def wait():
        os.kill(os.getpid(), signal.SIGINT)
        asyncio.run(asyncio.sleep(60))

    verb(wait)

    assert cli.main(["probe"]) == 130
    shown = capsys.readouterr()
    assert (shown.out, shown.err.strip()) == ("", "")


def test_reader_that_has_seen_enough_ends_it_quietly():
    process = start("schema", "reports")
    assert process.stdout
    process.stdout.close()

    assert process.stderr
    said = process.stderr.read()
    process.stderr.close()

    assert process.wait(60) == 1
    assert said == ""


# --- options ---


def seen(verb) -> list[Loaded]:
    found: list[Loaded] = []
    verb(lambda: found.append(cli.loaded()) or 0)
    return found


def test_options_may_stand_before_the_verb_or_after_it(verb):
    Path("mine.toml").write_text('[kafka]\ngroup = "mine"\n')
    found = seen(verb)

    assert cli.main(["--settings", "mine.toml", "--kafka", "a:1", "probe"]) == 0
    assert cli.main(["probe", "--settings", "mine.toml", "--kafka", "a:1"]) == 0
    assert cli.main(["--kafka", "b:2", "probe", "--settings", "mine.toml", "--kafka", "a:1"]) == 0

    assert [(one.settings.kafka.address, one.settings.kafka.group) for one in found] == [("a:1", "mine")] * 3
    assert found[0].origins["kafka.address"] == "--kafka"


def test_options_of_one_call_do_not_reach_the_next(verb):
    found = seen(verb)

    cli.main(["probe", "--kafka", "a:1"])
    cli.main(["probe"])

    assert [one.settings.kafka.address for one in found] == ["a:1", "127.0.0.1:9092"]


@pytest.mark.parametrize(("text", "speed"), [("60x", 60.0), ("0.5", 0.5), ("1e3x", 1000.0)])
def test_speed_is_read(text, speed):
    assert cli.Speed().convert(text, None, None) == speed


@pytest.mark.parametrize("text", ["0", "-1x", "nan", "infx", "x", "60xx"])
def test_speed_that_is_none_is_refused(text):
    with pytest.raises(click.BadParameter, match="60x"):
        cli.Speed().convert(text, None, None)


def test_backtest_takes_its_options_and_other_settings_under_the_same_variables(monkeypatch):
    Path("a.ndjson").write_text('{"service":"a","time":1666656000}\n')
    Path("known.csv").write_text("service,region,start,end\n")
    Path("other.toml").write_text("[incidents]\nopen_at = 3\n")
    monkeypatch.setenv("GROUNDSWELL_SURGE_SHIFT_HOURS", "7")

    code, out, err = ran(
        "backtest", "a.ndjson", "--json", "--report", "o.html", "--labels", "known.csv", "--compare", "other.toml"
    )

    assert (code, err.count("1 rows in")) == (0, 2)
    assert json.loads(out)["comparison"] == {
        "only_a": [], "only_b": [], "both": [], "found_by_a_alone": [], "found_by_b_alone": []
    }  # fmt: skip
    page = Path("o.html").read_text()
    assert "<td>incidents.open_at</td><td>2</td><td>3</td>" in page
    assert "surge.shift_hours</dt><dd>7" in page
    assert "<td>surge.shift_hours" not in page


@pytest.mark.parametrize(
    ("option", "text", "code", "told"),
    [
        ("--labels", "service\n", 1, "groundswell: labels file x needs one column named region\n"),
        ("--compare", "[incidents]\nopen_at = -1\n", 2, "groundswell: setting incidents.open_at=-1 in x is out"),
    ],
)
def test_bad_file_of_a_backtest_is_told(option, text, code, told, capsys):
    Path("x").write_text(text)

    assert cli.main(["backtest", "a.ndjson", option, "x"]) == code
    assert capsys.readouterr().err.startswith(told)


# --- output ---


def test_check_for_programs_is_one_json_object_and_holds_no_secret():
    code, out, err = ran(
        "check",
        "--json",
        GROUNDSWELL_KAFKA_ADDRESS="127.0.0.1:1",
        GROUNDSWELL_KAFKA_SECURITY="SASL_PLAINTEXT",
        GROUNDSWELL_KAFKA_USERNAME="u",
        GROUNDSWELL_KAFKA_PASSWORD=SECRET,
    )

    assert code == 1
    assert json.loads(out)["ok"] is False
    assert SECRET not in out + err


@pytest.mark.parametrize("topic", ["reports", "alerts", "alerts-undelivered", "incident-commands"])
def test_schema_is_json(topic, capsys):
    assert cli.main(["schema", topic]) == 0

    assert json.loads(capsys.readouterr().out)["type"] == "object"


def test_fault_is_told_without_control_characters_and_markup(capsys):
    console.tell(Fault("bad \x1b]0;x\x07[bold]name[/bold] :smile:", "one\ntwo", "\u202ehint"))

    assert capsys.readouterr().err == (
        "groundswell: bad \\x1b]0;x\\x07[bold]name[/bold] :smile:\n  one\n  two\n  \\u202ehint\n"
    )


def test_piped_lines_are_whole(capsys):
    rows = console.table("a", "b")
    rows.add_row("x" * 5000, "[red]y")
    console.out.print(rows)
    console.out.print("z " * 5000)

    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == [
        "a" + " " * 4999 + "  b",
        "x" * 5000 + "  [red]y",
        ("z " * 5000).rstrip(),
    ]


def test_terminal_that_knows_few_characters_is_no_reason_to_fail():
    code, out, _ = ran("worker", "--help", PYTHONIOENCODING="ascii")

    assert code == 0
    assert "worker" in out

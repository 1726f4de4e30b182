"""Destinations and routes in the settings file, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectors.alert import Severity
from streams.notify.destinations import Alertmanager, PagerDuty
from streams.notify.settings import unreadable
from streams.settings import Loaded, SettingsError, load

ONCALL = """
[destination.oncall]
type = "pagerduty"
routing_key_file = "key"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("k" * 32)
    return tmp_path


def read(folder: Path, text: str) -> Loaded:
    file = folder / "groundswell.toml"
    file.write_text(text)
    return load(file, env={})


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        read(folder, text)
    return str(refused.value)


def test_destinations_and_routes_are_read_and_paths_are_beside_the_file(folder: Path):
    settings = read(
        folder,
        ONCALL
        + """
[destination.am]
type = "alertmanager"
urls = ["http://a:9093", "http://b:9093"]

[[routes]]
severity = ["critical"]
to = ["oncall"]
continue = true

[[routes]]
service = ["Whats*"]
to = ["am"]
""",
    ).settings

    assert settings.destinations == {
        "oncall": PagerDuty(routing_key_file=folder / "key"),
        "am": Alertmanager(urls=("http://a:9093", "http://b:9093")),
    }
    assert [(route.severity, route.service, route.to, route.go_on) for route in settings.routes] == [
        ((Severity.CRITICAL,), (), ("oncall",), True),
        ((), ("Whats*",), ("am",), False),
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[destination.x]\n", ["[destination.x]", "it has no type", "alertmanager, pagerduty, slack, webhook, email"]),
        ('[destination.x]\ntype = "pager"\n', ['type="pager" is unknown', "Give one of"]),
        ('[destination.x]\ntype = "pagerduty"\n', ["has no routing_key_file", "file with the integration's key"]),
        (ONCALL + 'routing_kye = "x"\n', ['unknown setting "routing_kye"', "Did you mean routing_key_file?"]),
        (ONCALL.replace("oncall", '"On Call"'), ["is not allowed as a name", "small letters"]),
        ('[destination.x]\ntype = "alertmanager"\nurls = ["ftp://a"]\n', ['urls=["ftp://a"] is not allowed']),
        ('[destination.x]\ntype = "alertmanager"\nurls = []\n', ["urls=[] is not allowed"]),
        ('[destination.x]\ntype = "webhook"\nurl = "http://h/"\nsecret_files = ["key"]\n', ["allow_private = true"]),
        ("destination = 3\n", ["no table of tables"]),
        ('[[routes]]\nto = ["nobody"]\n', ['no destination is named "nobody"', "no destination at all"]),
        (ONCALL + '[[routes]]\nto = ["oncal"]\n', ['no destination is named "oncal"', "There are oncall"]),
        (ONCALL + '[[routes]]\nto = ["oncall"]\nseverity = ["fatal"]\n', ["[[routes]] number 1", "fatal"]),
        (ONCALL + '[[routes]]\nto = ["oncall"]\nservices = ["A"]\n', ["Did you mean service?"]),
        (ONCALL + "[[routes]]\nto = []\n", ["[[routes]] number 1"]),
        ('[routes]\nto = ["oncall"]\n', ["no list of tables"]),
    ],
)
def test_what_is_wrong_is_told_with_the_place_and_what_to_do(folder: Path, text: str, parts: list[str]):
    said = refusal(folder, text)

    assert [part for part in parts if part not in said] == []


def test_a_secret_in_the_settings_file_itself_is_no_setting(folder: Path):
    said = refusal(folder, '[destination.x]\ntype = "pagerduty"\nrouting_key = "tulip"\n')

    assert "Did you mean routing_key_file?" in said
    assert "tulip" not in said


@pytest.mark.parametrize(
    ("content", "fact", "detail"),
    [
        (None, "file {} cannot be read", "No such file or directory"),
        (b"\xff", "file {} cannot be read", "not UTF-8"),
        (b" \n", "file {} is empty", ""),
    ],
)
def test_a_secret_that_cannot_be_read_is_told_to_who_needs_it(
    folder: Path, content: bytes | None, fact: str, detail: str
):
    secret = folder / "key"
    if content is None:
        secret.unlink()
    else:
        secret.write_bytes(content)

    # Not here: whoever sends reports, or looks at incidents, need not be able to read it.
    settings = read(folder, ONCALL).settings

    assert [(fault.fact, fault.detail) for fault in unreadable(settings.destinations)] == [
        ("[destination.oncall]: " + fact.format(secret), detail)
    ]


def test_a_variable_for_a_destination_says_where_they_stand():
    with pytest.raises(SettingsError, match=r"\[destination.oncall\]"):
        load(env={"GROUNDSWELL_DESTINATION_ONCALL_TYPE": "slack"})

"""The systemd unit: what it runs, with which settings and rights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from streams import cli
from streams.settings import load

HERE = Path(__file__).parents[2] / "deploy" / "systemd"


def _lines(name: str) -> list[tuple[str, str]]:
    """(directive, value) of a unit file; a directive may stand more than once."""
    text = (HERE / name).read_text()
    return [(key, value) for key, value in re.findall(r"^([A-Za-z]+)=(.*)$", text, re.M)]


def _one(name: str, directive: str) -> str:
    [value] = [value for key, value in _lines(name) if key == directive]
    return value


UNIT, CREDENTIALS, TOKENS = (
    "groundswell.service",
    "groundswell.service.d/credentials.conf",
    "groundswell.service.d/tokens.conf",
)


def test_it_runs_the_worker_from_where_the_image_has_it_too():
    path, verb = _one(UNIT, "ExecStart").split()

    assert path == "/opt/groundswell/bin/groundswell"
    assert verb in cli.cli.commands
    assert "COPY --from=build /opt/groundswell /opt/groundswell" in (HERE.parent / "Dockerfile").read_text()
    # Where a settings file is found without being named.
    assert _one(UNIT, "WorkingDirectory") == "/etc/groundswell"


def test_its_variables_are_settings(tmp_path):
    ours = {
        name: value
        for unit in (UNIT, CREDENTIALS, TOKENS)
        for key, words in _lines(unit)
        if key == "Environment"
        for name, value in (word.split("=", 1) for word in words.split())
        if name.startswith("GROUNDSWELL_")
    }
    (tmp_path / "kafka-password").write_text("tulip")
    ours = {name: value.replace("%d", str(tmp_path)) for name, value in ours.items()}

    settings = load(env=ours | {"GROUNDSWELL_KAFKA_SECURITY": "SASL_SSL", "GROUNDSWELL_KAFKA_USERNAME": "x"}).settings

    assert settings.log.format == "json"
    assert settings.kafka.password.reveal() == "tulip"
    assert settings.web.tokens_file == tmp_path / "page-tokens"
    assert settings.http_ingest.tokens_file == tmp_path / "feed-tokens"


def test_secrets_are_loaded_as_credentials_and_not_as_variables():
    for unit in (CREDENTIALS, TOKENS):
        loaded = dict(value.split(":") for key, value in _lines(unit) if key == "LoadCredential")
        named = [value.partition("=%d/")[2] for key, value in _lines(unit) if key == "Environment"]

        assert named == list(loaded)
        assert all(source == f"/etc/groundswell/secrets/{name}" for name, source in loaded.items())
    assert "PASSWORD=" not in (HERE / UNIT).read_text()


def test_it_is_restarted_unless_a_setting_is_wrong():
    assert _one(UNIT, "Restart") == "on-failure"
    # Exit code 2 of the command line.
    assert _one(UNIT, "RestartPreventExitStatus") == "2"
    assert _one(UNIT, "StartLimitIntervalSec") == "0"


@pytest.mark.parametrize(
    ("directive", "value"),
    [
        ("DynamicUser", "yes"),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("CapabilityBoundingSet", ""),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
    ],
)
def test_it_is_shut_in(directive, value):
    assert _one(UNIT, directive) == value

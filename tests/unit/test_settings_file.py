"""Settings written back: the keys that change, and nothing else."""

from __future__ import annotations

import os
import stat

import pytest

from streams import settings_file
from streams.settings import SettingsError, load

FILE = """\
# Ours.
[kafka]
address = "kafka-1:9092"  # the old cluster

[incidents] # on call
# quiet before it closes
close_at = 0.4

# Seen by all.
[web]
port = 8700
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "groundswell.toml"


def written(file, **env: str):
    loaded = load(env=env)
    return settings_file.write(loaded, {"incidents.open_at": 4.0, "incidents.alert_budget": 1.5})


def test_value_that_is_there_changes_in_its_place(file):
    file.write_text("[incidents]\nopen_at = 2.5 # as it was\nclose_at = 0.4\nalert_budget = 9\n")

    written(file)

    assert file.read_text() == "[incidents]\nopen_at = 4 # as it was\nclose_at = 0.4\nalert_budget = 1.5\n"


def test_new_value_stands_below_the_head_of_its_section_and_the_rest_stays(file):
    file.write_text(FILE)

    written(file)

    head = "[incidents] # on call\n"
    assert file.read_text() == FILE.replace(head, head + "alert_budget = 1.5\nopen_at = 4\n")
    assert load(env={}).settings.incidents.open_at == 4.0
    assert load(env={}).settings.web.port == 8700


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "[incidents]\nalert_budget = 1.5\nopen_at = 4\n"),
        ("[web]\nport = 8700", "[web]\nport = 8700\n[incidents]\nalert_budget = 1.5\nopen_at = 4\n"),
        (
            "incidents.close_at = 0.4\n[web]\nport = 8700\n",
            "incidents.close_at = 0.4\nincidents.alert_budget = 1.5\nincidents.open_at = 4\n[web]\nport = 8700\n",
        ),
        ("incidents = { open_at = 3 }\n", "incidents = { open_at = 4, alert_budget = 1.5}\n"),
    ],
)
def test_section_that_is_missing_or_written_in_another_way(file, before, after):
    file.write_text(before)

    written(file)

    assert file.read_text() == after
    assert load(env={}).settings.incidents.alert_budget == 1.5


def test_without_a_file_the_one_that_would_be_read_is_made(file):
    assert written(file) == file.relative_to(file.parent)

    assert file.read_text() == "[incidents]\nalert_budget = 1.5\nopen_at = 4\n"
    assert load(env={}).settings.incidents.open_at == 4.0


def test_rights_and_links_of_the_file_stay(file, tmp_path):
    target = tmp_path / "real.toml"
    target.write_text(FILE)
    target.chmod(0o640)
    file.symlink_to(target)

    written(file)

    assert file.is_symlink()
    assert "open_at = 4" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["groundswell.toml", "real.toml"]


def test_value_that_a_variable_sets_is_refused_and_the_file_stays(file):
    file.write_text(FILE)

    with pytest.raises(SettingsError) as error:
        written(file, GROUNDSWELL_INCIDENTS_OPEN_AT="3")

    assert error.value.fact == "incidents.open_at is not written: GROUNDSWELL_INCIDENTS_OPEN_AT sets it"
    assert error.value.hint == "Change GROUNDSWELL_INCIDENTS_OPEN_AT itself, or take it away."
    assert file.read_text() == FILE


def test_file_that_cannot_be_replaced_is_a_fault_that_says_what_to_write(file, monkeypatch):
    file.write_text(FILE)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)

    with pytest.raises(SettingsError) as error:
        written(file)

    assert error.value.fact == "settings file groundswell.toml cannot be written"
    assert error.value.detail == "Permission denied"
    assert error.value.hint == "Write it yourself: incidents.open_at = 4; incidents.alert_budget = 1.5"
    assert file.read_text() == FILE
    assert os.listdir(file.parent) == ["groundswell.toml"]

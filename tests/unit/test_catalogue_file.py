"""The catalogue's file: what is read, how it meets the settings, and what is said of a wrong entry."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from detectors.alert import Kind
from detectors.catalogue import Catalogue, Mute, Region, Service
from detectors.verification import Label
from streams import labels
from streams.catalogue_file import CatalogueError, read
from streams.check import Catalogued, catalogued
from streams.settings import SettingsError, load

FILE = """\
[[service]]
name = "WhatsApp"
aliases = ["WA", "Whats App"]
owner = "Ada Rossi"
team = "messaging"
[service.links]
runbook = "https://wiki.example.org/whatsapp"

[[service]]
name = "TIM"
minor = true
own = true

[[region]]
path = "it/lazio"
name = "Lazio"
aliases = ["lazio"]
time_zone = "Europe/Rome"

[[mute]]
service = "Test*"
kind = "series"
reason = "load tests"
until = 2026-12-01T01:00:00+01:00
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "catalogue.toml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def refused(text: str) -> CatalogueError:
    with pytest.raises(CatalogueError) as caught:
        read(write(text))
    return caught.value


def test_entries_are_read_as_they_are_written():
    assert read(write(FILE)) == Catalogue(
        services=(
            Service(
                name="WhatsApp",
                aliases=("WA", "Whats App"),
                owner="Ada Rossi",
                team="messaging",
                links={"runbook": "https://wiki.example.org/whatsapp"},
            ),
            Service(name="TIM", minor=True, own=True),
        ),
        regions=(Region(path="it/lazio", name="Lazio", aliases=("lazio",), time_zone="Europe/Rome"),),
        mutes=(Mute(service="Test*", kind=Kind.SERIES, reason="load tests", until=datetime(2026, 12, 1, tzinfo=UTC)),),
    )


def test_empty_file_is_an_empty_catalogue():
    assert read(write("")) == Catalogue()


@pytest.mark.parametrize(
    ("text", "fact", "hint"),
    [
        (
            "[[services]]\nname = 'TIM'\n",
            'unknown table "services" in catalogue catalogue.toml',
            "Did you mean service?",
        ),
        ("[service]\nname = 'TIM'\n", "service in catalogue catalogue.toml is no list of tables", "Begin each with"),
        (
            "[[service]]\nname = 'TIM'\nalias = ['T']\n",
            '[[service]] number 1 (TIM) in catalogue catalogue.toml: unknown name "alias"',
            "Did you mean aliases?",
        ),
        (
            "[[service]]\nname = 'TIM'\n[[service]]\nteam = 'a'\n",
            "[[service]] number 2 in catalogue catalogue.toml has no name",
            "Write name = ...",
        ),
        (
            "[[service]]\nname = 'TIM'\nteam = 5\n",
            "[[service]] number 1 (TIM) in catalogue catalogue.toml: team=5 is not a text",
            "Give at most 200 characters.",
        ),
        (
            "[[service]]\nname = 'TIM'\nteam = ''\n",
            '[[service]] number 1 (TIM) in catalogue catalogue.toml: team="" is not allowed',
            "Give at most 200 characters.",
        ),
        (
            "[[service]]\nname = 'TIM'\naliases = [5]\n",
            "[[service]] number 1 (TIM) in catalogue catalogue.toml: aliases=[5] is not a list of names",
            'Write ["WA", "Whats App"].',
        ),
        (
            "[[service]]\nname = 'TIM'\n[service.links]\nrunbook = 5\n",
            '[[service]] number 1 (TIM) in catalogue catalogue.toml: links={"runbook": 5} is not a table of texts',
            "Write { runbook = ",
        ),
        (
            "[[mute]]\nreason = 'r'\nuntil = 2026-12-01T00:00:00\n",
            '[[mute]] number 1 in catalogue catalogue.toml: until="2026-12-01T00:00:00" is not a time with its zone',
            "Write 2026-12-01T00:00:00Z.",
        ),
        (
            "[[mute]]\nreason = 'r'\nkind = 'country'\n",
            '[[mute]] number 1 in catalogue catalogue.toml: kind="country" is not one of its words',
            'Give "series", "service"',
        ),
        (
            "[[service]]\nname = 'A'\n[[service]]\nname = 'B'\naliases = ['a']\n",
            '[[service]] number 2 (B) in catalogue catalogue.toml: alias "a" belongs to [[service]] number 1 (A)',
            "Keep it in one of them.",
        ),
        ("[[service]\n", "catalogue catalogue.toml is not TOML", "An entry begins with [[service]]"),
    ],
)
def test_wrong_entry_is_named_and_said_what_to_write(text, fact, hint):
    error = refused(text)

    assert error.fact == fact
    assert error.hint.startswith(hint)


def test_file_that_is_not_utf8_or_not_there_is_refused():
    Path("catalogue.toml").write_bytes(b"\xff")
    with pytest.raises(CatalogueError, match="is not UTF-8"):
        read(Path("catalogue.toml"))
    with pytest.raises(CatalogueError, match="cannot be read"):
        read(Path("none.toml"))


# --- with the settings ---


def test_path_in_the_settings_is_relative_to_their_file():
    Path("etc").mkdir()
    write(FILE, "etc/services.toml")
    settings = write('[catalogue]\nfile = "services.toml"\n', "etc/groundswell.toml")

    loaded = load(settings, env={})

    assert loaded.settings.rules().catalogue == read(Path("etc/services.toml"))
    assert loaded.settings.rules().surge.time_zones == {"it/lazio": "Europe/Rome"}
    assert catalogued(loaded.settings) == Catalogued("etc/services.toml", 2, 3, 1, 1)


def test_variable_names_the_catalogue():
    write(FILE)

    settings = load(env={"GROUNDSWELL_CATALOGUE_FILE": "catalogue.toml"}).settings

    assert len(settings.catalogued.services) == 2


def test_without_a_catalogue_there_is_nothing_to_tell():
    settings = load(env={}).settings

    assert settings.catalogued == Catalogue()
    assert catalogued(settings) is None


def test_catalogue_that_is_not_there_is_a_wrong_setting():
    with pytest.raises(SettingsError) as caught:
        load(env={"GROUNDSWELL_CATALOGUE_FILE": "none.toml"})

    assert caught.value.fact == 'setting GROUNDSWELL_CATALOGUE_FILE="none.toml" is not a file'


def test_wrong_entry_is_a_wrong_setting():
    write("[[service]]\n")

    with pytest.raises(SettingsError, match="number 1 in catalogue"):
        load(env={"GROUNDSWELL_CATALOGUE_FILE": "catalogue.toml"})


def test_region_with_one_time_zone_here_and_another_there_is_refused():
    write(FILE)
    settings = '[catalogue]\nfile = "catalogue.toml"\n[surge.time_zones]\nLazio = "{}"\nfr = "Europe/Paris"\n'

    with pytest.raises(SettingsError) as caught:
        load(write(settings.format("Europe/Vienna"), "groundswell.toml"), env={})
    same = load(write(settings.format("Europe/Rome"), "groundswell.toml"), env={}).settings.rules()

    assert caught.value.fact == 'surge.time_zones gives region "Lazio" Europe/Vienna, the catalogue Europe/Rome'
    assert same.surge.time_zones == {"it/lazio": "Europe/Rome", "fr": "Europe/Paris"}


def test_labels_of_known_outages_follow_the_aliases():
    known = write("service,region,start,end\nwa,Lazio/Roma,2022-10-25T07:00:00Z,2022-10-25T08:00:00Z\n", "known.csv")

    (label,) = labels.read(known, read(write(FILE)))

    assert label == Label(
        "WhatsApp", "it/lazio/Roma", ("whatsapp", "it/lazio/roma"), 1_666_681_200_000, 1_666_684_800_000
    )

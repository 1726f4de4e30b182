"""`groundswell tune`: what it says of a file, and what it writes."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from detectors.alert import Pager, decode
from streams import backtest, tune
from streams.settings import SettingsError, load

DAY = 86_400
#: Monday, 3 October 2022, 00:00 UTC, in seconds.
BEGIN = 1_664_755_200
DAYS = 16


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> Path:
    """Sixteen days of a report each ten minutes; each afternoon something breaks, never twice as badly."""
    rows = []
    for day in range(DAYS):
        for minute in range(0, 1440, 10):
            rows.append((BEGIN + day * DAY + minute * 60, 1))
        for minute in range(0, 10 + 8 * (day * 7 % DAYS), 2):
            rows.append((BEGIN + day * DAY + 15 * 3600 + minute * 60 + 30, 6 + 2 * (day * 7 % DAYS)))
    path = tmp_path_factory.mktemp("tune") / "history.ndjson"
    service = '<script>alert("x")</script> & co'
    values = [msgspec.json.encode({"service": service, "time": at, "count": count}) for at, count in sorted(rows)]
    path.write_bytes(b"\n".join([*values, b"no report"]))
    return path


@pytest.fixture
def settings_file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "groundswell.toml"


@pytest.fixture(autouse=True)
def long_buckets(monkeypatch):
    """Sixteen days in buckets of a minute take a while."""
    monkeypatch.setenv("GROUNDSWELL_SOURCE_DEFAULT_BUCKET_SECONDS", "1800")


def run(history, **changes):
    options = {"budget": None, "write": False, "picture": None, "json_output": False} | changes
    return tune.run(load(env=os.environ), history, **options)


def test_threshold_is_one_at_which_a_backtest_pages_as_often_as_told(history, settings_file, capfdbinary, monkeypatch):
    run(history, budget=3.0, json_output=True)
    tuned = json.loads(capfdbinary.readouterr().out)
    choice = tuned["choice"]

    monkeypatch.setenv("GROUNDSWELL_INCIDENTS_OPEN_AT", str(choice["threshold"]))
    backtest.run(load(env=os.environ).settings, history, json_output=True)

    pager = Pager()
    alerts = [decode(line) for line in capfdbinary.readouterr().out.splitlines()]
    # Those of the first two days, while baselines are young, are not counted.
    assert sum(pager.pages(each) and each.updated_at >= "2022-10-05T06" for each in alerts) == choice["pages"]
    assert choice["verdict"] == "kept"
    assert choice["threshold"] > 2.0
    assert choice["per_week"] <= 3.0
    assert 1 <= choice["pages"] <= 3.0 * choice["weeks"]
    assert tuned["written"] is None


def test_people_get_the_trade_the_choice_and_what_would_be_written(history, settings_file, capfd):
    assert run(history, budget=3.0) == 0

    shown = capfd.readouterr()
    assert re.search(r"2\.0 weeks of history, budget 3 pages a week", shown.out)
    assert re.search(r"^now +2 ", shown.out, re.MULTILINE)
    assert re.search(r"^-> +\d+", shown.out, re.MULTILINE)
    assert re.search(r"open_at = \S+ keeps the budget: [123]\.\d pages a week to be expected", shown.out)
    assert "The biggest that would not page: 2022-10-" in shown.out
    assert re.search(r"it would write to groundswell.toml: incidents.open_at = \S+ \(was 2\)", shown.out)
    assert "counted" in shown.err
    assert "not_json 1" in shown.err
    assert not settings_file.exists()


def test_write_puts_threshold_and_budget_into_the_settings_file(history, settings_file, capfd):
    settings_file.write_text("[incidents]\n# calm\nclose_at = 0.5\n")

    run(history, budget=3.0, write=True)

    shown = capfd.readouterr().out
    rule = load(env={}).settings.incidents
    assert rule.alert_budget == 3.0
    assert rule.open_at > 2.0
    assert rule.close_at == 0.5
    assert f"Wrote to groundswell.toml: incidents.open_at = {rule.open_at:g} (was 2)" in shown
    assert "# calm" in settings_file.read_text()


def test_what_is_set_already_is_not_written_again(history, settings_file, capfd):
    run(history, budget=3.0, write=True)
    before = settings_file.stat().st_mtime_ns
    capfd.readouterr()

    run(history, write=True)

    assert "That is what is set; nothing to write." in capfd.readouterr().out
    assert settings_file.stat().st_mtime_ns == before


def test_write_is_refused_before_the_replay_where_a_variable_sets_the_threshold(settings_file, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_INCIDENTS_OPEN_AT", "3")

    with pytest.raises(SettingsError, match="GROUNDSWELL_INCIDENTS_OPEN_AT sets it"):
        run("no such file", write=True)


def test_short_history_is_shown_and_refused(history, settings_file, tmp_path, capfd):
    short = tmp_path / "short.ndjson"
    days = 5 * DAY + BEGIN
    lines = history.read_bytes().splitlines()[:-1]
    short.write_bytes(b"\n".join(line for line in lines if msgspec.json.decode(line)["time"] < days))

    with pytest.raises(tune.TuneError) as error:
        run(short, write=True)

    assert error.value.fact == "2.7 days of history are too short to tell"
    assert "2.5 weeks or more" in error.value.hint
    shown = capfd.readouterr().out
    assert "pages/week" in shown
    assert "->" not in shown
    assert not settings_file.exists()


def test_picture_is_a_drawing_that_names_the_choice_and_escapes_what_reports_say(history, settings_file, tmp_path):
    picture = tmp_path / "trade.svg"

    run(history, budget=3.0, picture=picture)

    root = ET.fromstring(picture.read_text())
    texts = ["".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert any(re.fullmatch(r"open_at = \S+ keeps the budget of 3 pages a week", each) for each in texts)
    assert "budget 3 a week" in texts
    assert "now 2" in texts
    assert any('<script>alert("x")</script> & co' in each for each in texts)
    assert list(root.iter("{http://www.w3.org/2000/svg}script")) == []
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) > 5


def test_picture_of_a_short_history_claims_no_choice(history, settings_file, tmp_path):
    short, picture = tmp_path / "short.ndjson", tmp_path / "trade.svg"
    short.write_bytes(b"\n".join(history.read_bytes().splitlines()[:164]))

    with pytest.raises(tune.TuneError, match="too short"):
        run(short, picture=picture)

    assert "Too short a history" in picture.read_text()
    assert "keeps the budget" not in picture.read_text()


def test_picture_that_cannot_be_written_is_a_fault_before_the_replay(settings_file, tmp_path):
    with pytest.raises(tune.TuneError, match="cannot be written"):
        run("no such file", picture=tmp_path / "nowhere" / "trade.svg")


def test_file_without_reports_is_too_short(settings_file, tmp_path):
    empty = tmp_path / "empty.ndjson"
    empty.write_bytes(b"")

    with pytest.raises(tune.TuneError, match="too short"):
        run(empty)

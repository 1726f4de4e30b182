import re

import msgspec
import numpy as np
import pytest

from detectors import alert
from detectors.pipeline import Pipeline
from streams import backtest, cli
from streams.fault import Fault
from streams.feed import FeedError, plan
from streams.labels import LabelError
from streams.settings import IncidentRule, Settings
from streams.tail import line
from tests.pipeline.harness import by_partition

#: 25 October 2022, 00:00 UTC, in seconds.
DAY = 1_666_656_000


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """Six hours of two reports a minute, then twenty minutes of sixty; one row that is no report."""
    times = [DAY + 30 * number for number in range(720)] + [DAY + 21_600 + number for number in range(1200)]
    rows = [msgspec.json.encode({"service": "WhatsApp", "time": time}) for time in times]
    path = tmp_path_factory.mktemp("backtest") / "outage.ndjson"
    path.write_bytes(b"\n".join([*rows, b"no report", msgspec.json.encode({"service": "TIM", "time": DAY + 30_000})]))
    return path


def expected(path) -> list[bytes]:
    """The alerts of the same records, given a few at a time."""
    settings = Settings()
    pipeline = Pipeline(settings.rules())
    now = 1_700_000_000_000
    records = list(plan(path, settings.topics.reports_partitions, now=lambda: now))
    return [
        found
        for first in range(0, len(records), 40)
        for partition, values in by_partition(records[first : first + 40]).items()
        for found in pipeline.read(partition, values, [now] * len(values))
    ]


def test_json_output_is_the_alerts_byte_for_byte_and_nothing_else(outage, capfdbinary):
    code = backtest.run(Settings(), outage, json_output=True)

    output = capfdbinary.readouterr()
    assert code == 0
    assert output.out.splitlines() == expected(outage)
    assert output.out.count(b'"state":"open"') >= 1


def test_detector_of_river_watches_the_services_that_the_settings_say(tmp_path, monkeypatch, capfdbinary):
    monkeypatch.chdir(tmp_path)
    counts = [*np.random.default_rng(3).poisson(4.0, 1440).tolist(), *[60] * 20]
    rows = [
        msgspec.json.encode({"service": service, "time": DAY + 60 * minute, "count": count})
        for minute, count in enumerate(counts)
        for service in ("WhatsApp", "TIM")
    ]
    (tmp_path / "outage.ndjson").write_bytes(b"\n".join(rows))
    (tmp_path / "river.toml").write_text(
        '[[detectors]]\nservices = "whats*"\nname = "HoltWinters"\nparameters = { alpha = 0.2, warmup_period = 120 }\n'
    )

    found = []
    for settings in (["--settings", str(tmp_path / "river.toml")], []):
        assert cli.main([*settings, "backtest", str(tmp_path / "outage.ndjson"), "--json"]) == 0
        found.append(capfdbinary.readouterr().out.splitlines())

    told, default = found
    assert expected_of(told, "TIM") == pytest.approx(expected_of(default, "TIM"), rel=0.01)
    assert expected_of(told, "TIM")
    assert of_service(told, "WhatsApp") != of_service(default, "WhatsApp")
    # The mean of about a day is what River's banks expect.
    (opened,) = [each for each in of_service(told, "WhatsApp") if b'"state":"open"' in each]
    assert alert.decode(opened).expected < 10


def expected_of(alerts: list[bytes], service: str) -> list[float]:
    """What the detector expects; evidence is calibrated, and curves are borrowed, by all that it watches."""
    return [alert.decode(value).expected for value in of_service(alerts, service)]


def of_service(alerts: list[bytes], service: str) -> list[bytes]:
    return [value for value in alerts if alert.decode(value).service == service]


def test_people_get_a_line_an_alert_and_what_became_of_the_rows(outage, capfd):
    backtest.run(Settings(), outage, json_output=False)

    output = capfd.readouterr()
    assert output.out.splitlines() == [line(alert.decode(value)).plain for value in expected(outage)]
    assert "1,922 rows in" in output.err
    assert "counted 1,921, rejected 1 (not_json 1)" in output.err


def test_reports_without_a_time_take_the_start_of_the_run(tmp_path, capfd):
    path = tmp_path / "a.csv"
    path.write_text("service\nWhatsApp\nTIM\n")

    assert backtest.run(Settings(), path, json_output=False) == 0
    assert "counted 2, rejected 0; 0 alerts" in capfd.readouterr().err


def test_a_file_that_cannot_be_read_is_a_fault(tmp_path):
    with pytest.raises(FeedError, match="No such file"):
        backtest.run(Settings(), tmp_path / "none.csv", json_output=True)


# --- looking at a run ---

LABELS = (
    "service,region,start,end\n"
    "whatsapp,,2022-10-25T06:00:00Z,2022-10-25T06:20:00Z\n"
    "WhatsApp,,2022-10-25T02:00:00Z,2022-10-25T03:00:00Z\n"
)


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "known.csv"
    path.write_text(LABELS)
    return path


def test_labels_follow_the_alerts_as_a_table(outage, labels, capfd):
    assert backtest.run(Settings(), outage, json_output=False, labels_file=labels) == 0

    output = capfd.readouterr().out.splitlines()
    alerts = [line(alert.decode(value)).plain for value in expected(outage)]
    assert output[: len(alerts)] == alerts
    table = [each.split()[:2] for each in output[len(alerts) :]]
    assert ["missed", "WhatsApp"] in table
    assert ["found", "whatsapp"] in table
    assert output[-1].startswith("found 1 of 2 known outages (50 %), delay ")
    assert output[-1].endswith("; 0 false incidents, 0.0 a week")


def test_labels_for_programs_are_one_last_line(outage, labels, capfdbinary):
    backtest.run(Settings(), outage, json_output=True, labels_file=labels)

    *alerts, last = capfdbinary.readouterr().out.splitlines()
    assert alerts == expected(outage)
    told = msgspec.json.decode(last)["labels"]
    (found,) = told["found"]
    assert found["incident"] == alert.decode(alerts[0]).id
    assert 0 <= found["delay_seconds"] < 300
    assert [each["start"] for each in told["missed"]] == ["2022-10-25T02:00:00Z"]
    assert (told["false"], told["outside"], told["explained"]) == ([], [], 1)


def test_settings_that_open_late_are_compared(outage, labels, capfd):
    other = backtest.Variant("late.toml", Settings(incidents=IncidentRule(open_at=3.5)))

    backtest.run(Settings(), outage, json_output=False, name="defaults", labels_file=labels, other=other)

    output = capfd.readouterr()
    assert output.err.count("1,922 rows in") == 2
    assert "A is defaults, B is late.toml" in output.out
    assert re.search(r"incidents\.open_at +2 +3\.5", output.out)
    assert re.search(r"in both +WhatsApp +2022-10-25 06:0\d:\d\d +\+\d+ min", output.out)
    # After the outage the feed is silent, which is an incident of its own.
    assert "A has 2 incidents, B 2: 0 only in A, 0 only in B, 2 in both, 2 of these not the same" in output.out


def test_settings_that_never_open_find_nothing(outage, labels, capfdbinary):
    never = backtest.Variant("never.toml", Settings(incidents=IncidentRule(open_at=1e5)))

    backtest.run(Settings(), outage, json_output=True, labels_file=labels, other=never)

    told = msgspec.json.decode(capfdbinary.readouterr().out.splitlines()[-1])
    assert len(told["labels"]["found"]) == 1
    assert told["labels_b"]["found"] == []
    assert [each["service"] for each in told["comparison"]["only_a"]] == ["WhatsApp"]
    assert told["comparison"]["only_b"] == []
    assert [side["kind"] for both in told["comparison"]["both"] for side in both["a"]] == ["feed"]
    assert [each["service"] for each in told["comparison"]["found_by_a_alone"]] == ["whatsapp"]


def test_page_is_written_beside_the_same_alerts(outage, tmp_path, capfdbinary):
    path = tmp_path / "out.html"

    backtest.run(Settings(), outage, json_output=True, report=path)

    output = capfdbinary.readouterr()
    assert output.out.splitlines() == expected(outage)
    assert b"out.html" in output.err
    assert path.read_text().startswith("<!doctype html>")
    assert [each.name for each in tmp_path.iterdir()] == ["out.html"]


def test_pipe_cannot_be_compared():
    with pytest.raises(Fault, match="only once"):
        backtest.run(Settings(), "-", json_output=True, other=backtest.Variant("b", Settings()))


def test_bad_label_is_told_before_the_file_is_read(tmp_path):
    path = tmp_path / "known.csv"
    path.write_text("service,region,start,end\nWhatsApp,,x,y\n")

    with pytest.raises(LabelError, match="line 2"):
        backtest.run(Settings(), tmp_path / "none.csv", json_output=True, labels_file=path)

"""`groundswell why` on files: what it says, for people and for programs, and how it refuses."""

from __future__ import annotations

import msgspec
import pytest

from detectors import alert
from streams import backtest, cli, why
from streams.settings import Settings
from streams.why import Answer, WhyError

#: 25 October 2022, 00:00 UTC, in seconds.
DAY = 1_666_656_000


@pytest.fixture(scope="module")
def outage(tmp_path_factory):
    """Six hours of two reports a minute on WhatsApp in Lazio and Lombardia; then sixty a minute in Lazio, for long."""
    regions = ("it/Lazio", "it/Lombardia")
    times = [(DAY + 60 * n + 7 * i, regions[i % 2]) for n in range(480) for i in range(4)]
    times += [(DAY + 21_600 + n, "it/Lazio") for n in range(1800)]
    rows = [
        msgspec.json.encode({"service": "WhatsApp", "region": region, "time": time}) for time, region in sorted(times)
    ]
    path = tmp_path_factory.mktemp("why") / "outage.ndjson"
    path.write_bytes(b"\n".join(rows))
    return path


def asked(outage, capfdbinary, region: str, when: str, *, minutes: int = 30) -> Answer:
    code = why.run(Settings(), "whatsapp", region, when, outage, day=None, minutes=(minutes, minutes), json_output=True)
    assert code == 0
    (line,) = capfdbinary.readouterr().out.splitlines()
    return msgspec.json.decode(line, type=Answer)


def test_page_is_answered_with_the_incident_of_the_backtest(outage, capfdbinary):
    backtest.run(Settings(), outage, json_output=True)
    alerts = [alert.decode(value) for value in capfdbinary.readouterr().out.splitlines()]

    told = asked(outage, capfdbinary, "IT/Lazio", "2022-10-25T06:05Z")

    assert [each.reason.value for each in told.findings][:2] == ["incident", "paged"]
    assert alerts[0].id in told.findings[0].text
    assert told.alerts == [each for each in alerts if each.updated_at <= "2022-10-25T06:35:03Z"]
    assert (told.time, told.begin, told.end) == (
        "2022-10-25T06:05:00Z",
        "2022-10-25T05:35:00Z",
        "2022-10-25T06:35:00Z",
    )


def test_buckets_are_those_that_were_counted(outage, capfdbinary):
    told = asked(outage, capfdbinary, "it/lazio", "2022-10-25T06:00Z", minutes=5)

    (shown,) = told.series
    assert (shown.source, shown.bucket_seconds) == ("reports", 60)
    assert [(each.start[11:16], each.observed) for each in shown.buckets] == [
        *((f"05:{minute}", 2) for minute in range(55, 60)),
        *((f"06:0{minute}", 62) for minute in range(5)),
    ]
    assert shown.buckets[-1].told
    assert shown.buckets[0].low <= shown.buckets[0].expected <= shown.buckets[0].high
    assert [(each.service, each.region) for each in told.around] == [
        ("whatsapp", "it/*"), ("whatsapp", "*"), ("*", "it/lazio"), ("*", "it/*"), ("*", "*")
    ]  # fmt: skip


def test_answer_does_not_depend_on_what_comes_after_the_time(outage, tmp_path, capfdbinary):
    rows = outage.read_bytes().split(b"\n")
    cut = tmp_path / outage.name
    cut.write_bytes(b"\n".join(rows[: len(rows) // 2]))

    told = [asked(file, capfdbinary, "it/lazio", "2022-10-25T03:00Z") for file in (outage, cut)]

    assert told[0].findings == told[1].findings
    assert told[0].series == told[1].series
    assert told[0].findings[0].reason.value == "below"


def test_quiet_region_beside_the_outage_had_no_alarm(outage, capfdbinary):
    told = asked(outage, capfdbinary, "it/lombardia", "2022-10-25T06:10Z")

    assert told.findings[0].reason.value == "below"
    assert "No alarm: evidence stayed below 2" in told.findings[0].text


def test_people_get_sentences_first_and_quiet_buckets_as_one_line(outage, capfd):
    why.run(
        Settings(), "WhatsApp", "it/lazio", "2022-10-25 06:02", outage, day=None, minutes=(30, 5), json_output=False
    )

    lines = [line.rstrip() for line in capfd.readouterr().out.splitlines()]
    assert lines[0] == "whatsapp in it/lazio at 2022-10-25 06:02 UTC  (outage.ndjson; all times UTC)"
    assert lines[1].startswith("- Incident ")
    assert "- It paged at 06:0" in lines[2]
    quiet = [line for line in lines if line.startswith("05:")]
    assert len(quiet) < 4
    assert "05:32 to 0" in quiet[0]
    (at,) = [line for line in lines if line.startswith("06:02 <")]
    assert "62" in at
    assert any("PAGE" in line for line in lines)


def test_names_of_a_file_do_no_harm_to_the_terminal(tmp_path, capfd):
    path = tmp_path / "bad\x1b[31m.ndjson"
    path.write_bytes(b"\n".join(b'{"service":"[red]x","time":%d}' % (DAY + 60 * n) for n in range(90)))

    why.run(Settings(), "[red]x", "-", "2022-10-25T00:40Z", path, day=None, minutes=(30, 30), json_output=False)

    shown = capfd.readouterr().out
    assert "\x1b" not in shown
    assert shown.startswith("[red]x without a region at")


# --- what is refused ---


@pytest.mark.parametrize(
    ("service", "region", "when", "told"),
    [
        ("WhatsAp", "it/lazio", "2022-10-25T06:00Z", r"names whatsap in it/lazio. Did you mean: whatsapp it/lazio\?"),
        ("WhatsApp", "lazio", "2022-10-25T06:00Z", r"Did you mean: whatsapp it/lazio"),
        ("WhatsApp", "it", "2022-10-25T06:00Z", r"Did you mean: whatsapp it/\*"),
        ("Facebook", "it/lazio", "2022-10-25T06:00Z", r"There are: whatsapp\."),
        ("WhatsApp", "it/lazio", "2022-10-24T06:00Z", r"nothing about 2022-10-24 06:00 UTC. Its reports begin at"),
        ("WhatsApp", "it/lazio", "2022-10-26T06:00Z", r"end at 2022-10-25 07:59:21 UTC"),
        ("WhatsApp", "it/lazio", "yesterday", r"'yesterday' is no time. Give it like 2022-10-25T09:10Z"),
        ("WhatsApp", "it/lazio", "09:10", r"09:10 is on no day. Give --date"),
        ("WhatsApp", "it/*/x", "2022-10-25T06:00Z", r"names nothing"),
        ("*", "-", "2022-10-25T06:00Z", r"not watched together"),
        ("WhatsApp", "it/lazio", "1960-01-01", r"is no time"),
    ],
)
def test_question_that_has_no_answer_says_why_and_what_to_do(outage, service, region, when, told):
    with pytest.raises(WhyError, match=told):
        why.run(Settings(), service, region, when, outage, day=None, minutes=(30, 30), json_output=True)


def test_file_without_a_report_that_counts_is_told(tmp_path):
    path = tmp_path / "a.ndjson"
    path.write_text("no report\n")

    with pytest.raises(WhyError, match="no reports that could be counted"):
        why.run(Settings(), "a", "-", "2022-10-25T06:00Z", path, day=None, minutes=(30, 30), json_output=True)


def test_time_that_has_not_come_is_no_question_to_the_topic():
    with pytest.raises(WhyError, match="has not come yet"):
        why.run(Settings(), "a", "-", "2190-01-01", why.TOPIC, day=None, minutes=(30, 30), json_output=True)


# --- times ---


@pytest.mark.parametrize(
    ("text", "day", "at"),
    [
        ("2022-10-25T09:10:00Z", None, 33_000),
        ("2022-10-25 09:10", None, 33_000),
        ("2022-10-25T09:10+02:00", None, 25_800),
        ("2022-10-25", None, 0),
        ("9:10", "2022-10-25", 33_000),
        ("09:10", None, 33_000),
        ("23:10", None, 83_400 - 86_400),
    ],
)
def test_time_is_understood(text, day, at):
    assert why._moment(text, day, latest=(DAY + 40_000) * 1000) == (DAY + at) * 1000


@pytest.mark.parametrize(
    ("text", "day"), [("25:10", "2022-10-25"), ("09:10", "yesterday"), ("2022-10-25", "2022-10-25")]
)
def test_time_that_is_none_is_refused(text, day):
    with pytest.raises(WhyError, match=r"no time|no clock time"):
        why._moment(text, day, latest=None)


# --- the command ---


def test_command_asks_the_topic_unless_there_is_a_file(monkeypatch):
    calls = []
    monkeypatch.setattr(why, "run", lambda settings, *places, **more: calls.append((places, more)) or 0)

    assert cli.main(["why", "WhatsApp", "it/*", "09:10", "--minutes", "60/10"]) == 0
    assert cli.main(["why", "WhatsApp", "-", "09:10", "a.csv", "--date", "2022-10-25", "--json"]) == 0

    assert calls == [
        (("WhatsApp", "it/*", "09:10", "topic"), {"day": None, "minutes": (60, 10), "json_output": False}),
        (("WhatsApp", "-", "09:10", "a.csv"), {"day": "2022-10-25", "minutes": (30, 30), "json_output": True}),
    ]


@pytest.mark.parametrize("minutes", ["0", "x", "10/", "1/2/3", "5000"])
def test_minutes_that_are_none_are_wrong_usage(minutes, capsys):
    assert cli.main(["why", "a", "b", "09:10", "--minutes", minutes]) == 2
    assert "60/10" in capsys.readouterr().err

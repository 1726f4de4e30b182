"""Maintenance: what iCalendar texts plan, when, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from detectors.maintenance import CalendarText, Maintenance, PlannedRows, Window, check
from detectors.series import Series

ROME = {"it": "Europe/Rome"}
#: A time zone that no database knows, as the file itself tells it: half an hour off the others.
OUR_TIME = """\
BEGIN:VTIMEZONE
TZID:Our Time
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0330
TZOFFSETTO:+0330
END:STANDARD
END:VTIMEZONE
"""


def calendar(*events: str, before: str = "") -> str:
    """An iCalendar text of events, given by their lines."""
    inner = "".join(f"BEGIN:VEVENT\n{event.strip()}\nEND:VEVENT\n" for event in events)
    text = f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//tests//EN\n{before}{inner}END:VCALENDAR\n"
    return text.replace("\n", "\r\n")


def planned(text: str, zones: Mapping[str, str] = {}) -> Maintenance:
    return Maintenance([CalendarText("works.ics", text)], zones)


def ms(time: str) -> int:
    return round(datetime.fromisoformat(time + "+00:00").timestamp() * 1000)


def times(text: str, begin: str, end: str, zones: Mapping[str, str] = {}) -> list[tuple[str, str]]:
    """Begin and end of the windows that overlap a time, UTC."""
    windows = planned(text, zones).during(ms(begin), ms(end))
    return [(utc(window.begin), utc(window.end)) for window in windows]


def utc(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, UTC):%m-%d %H:%M}"


def test_event_is_a_window_with_title_services_and_region():
    text = calendar(
        """
UID:1
DTSTART:20221025T070000Z
DTEND:20221025T080000Z
SUMMARY:Router swap\\, part 2
CATEGORIES:WhatsApp,Net Flix
CATEGORIES:tele*
LOCATION:IT / Lazio
"""
    )

    assert planned(text).during(ms("2022-10-25T07:30"), ms("2022-10-25T07:31")) == [
        Window(
            ms("2022-10-25T07:00"),
            ms("2022-10-25T08:00"),
            "Router swap, part 2",
            ("net flix", "tele*", "whatsapp"),
            "it/lazio",
        )
    ]


def test_window_holds_its_begin_and_not_its_end():
    text = calendar("UID:1\nDTSTART:20221025T070000Z\nDURATION:PT1H")

    assert times(text, "2022-10-25T06:59", "2022-10-25T07:00") == []
    assert times(text, "2022-10-25T06:59", "2022-10-25T07:01") == [("10-25 07:00", "10-25 08:00")]
    assert times(text, "2022-10-25T07:59", "2022-10-25T08:00") == [("10-25 07:00", "10-25 08:00")]
    assert times(text, "2022-10-25T08:00", "2022-10-25T08:01") == []


def test_event_without_a_place_covers_everything():
    window = planned(calendar("UID:1\nDTSTART:20221025T070000Z\nDURATION:PT1H")).during(
        ms("2022-10-25T07:00"), ms("2022-10-25T07:01")
    )[0]

    assert window.title == "maintenance"
    assert all(window.covers(*scope) for scope in [("whatsapp", "it/lazio"), ("*", "*"), ("whatsapp", ""), ("*", "it")])


@pytest.mark.parametrize(
    ("services", "region", "scope", "covered"),
    [
        (("whatsapp",), "", ("whatsapp", "*"), True),
        (("whatsapp",), "", ("signal", "it"), False),
        (("whatsapp",), "", ("*", "it"), False),
        (("*",), "", ("*", "*"), True),
        (("?",), "", ("*", "*"), False),
        (("whats*", "signal"), "it", ("signal", "it/*"), True),
        ((), "it", ("*", "it/lazio"), True),
        ((), "it", ("whatsapp", "*"), False),
        ((), "it", ("whatsapp", "italy"), False),
        ((), "it", ("whatsapp", ""), False),
        ((), "it/lazio", ("whatsapp", "it/*"), False),
    ],
)
def test_rollup_is_covered_when_all_of_it_is(services, region, scope, covered):
    assert Window(0, 1, "works", services, region).covers(*scope) is covered


@pytest.mark.parametrize("location", ["it/*", "IT", "it/"])
def test_region_may_be_written_as_alerts_write_it(location):
    text = calendar(f"UID:1\nDTSTART:20221025T070000Z\nDURATION:PT1H\nLOCATION:{location}")

    assert planned(text).title("whatsapp", "it/lazio", ms("2022-10-25T07:00"), ms("2022-10-25T07:01")) == "maintenance"


def test_recurring_event_keeps_local_time_over_the_change_of_clocks_and_leaves_out_exceptions():
    text = calendar(
        """
UID:1
DTSTART;TZID=Europe/Rome:20221028T220000
DTEND;TZID=Europe/Rome:20221028T230000
RRULE:FREQ=DAILY
EXDATE;TZID=Europe/Rome:20221031T220000
"""
    )

    assert times(text, "2022-10-28T00:00", "2022-11-02T00:00") == [
        ("10-28 20:00", "10-28 21:00"),
        ("10-29 20:00", "10-29 21:00"),
        ("10-30 21:00", "10-30 22:00"),
        ("11-01 21:00", "11-01 22:00"),
    ]


def test_one_occurrence_may_be_moved_and_another_cancelled():
    text = calendar(
        "UID:1\nDTSTART:20221028T020000Z\nDTEND:20221028T040000Z\nRRULE:FREQ=DAILY;COUNT=4\nSUMMARY:nightly",
        "UID:1\nRECURRENCE-ID:20221029T020000Z\nDTSTART:20221029T100000Z\nDTEND:20221029T110000Z\nSUMMARY:by day",
        "UID:1\nRECURRENCE-ID:20221030T020000Z\nDTSTART:20221030T020000Z\nDTEND:20221030T040000Z\nSTATUS:CANCELLED",
    )

    windows = planned(text).during(ms("2022-10-28T00:00"), ms("2022-11-05T00:00"))

    assert [(utc(window.begin), window.title) for window in windows] == [
        ("10-28 02:00", "nightly"),
        ("10-29 10:00", "by day"),
        ("10-31 02:00", "nightly"),
    ]


def test_cancelled_event_is_none():
    text = calendar("UID:1\nDTSTART:20221025T070000Z\nDURATION:PT1H\nSTATUS:CANCELLED")

    assert times(text, "2022-10-25T00:00", "2022-10-26T00:00") == []


def test_time_zone_may_be_defined_in_the_file():
    text = calendar("UID:1\nDTSTART;TZID=Our Time:20221025T073000\nDURATION:PT1H", before=OUR_TIME)

    assert times(text, "2022-10-25T00:00", "2022-10-26T00:00") == [("10-25 04:00", "10-25 05:00")]


def test_whole_days_and_times_without_a_zone_are_those_of_the_region():
    day = "UID:1\nDTSTART;VALUE=DATE:20221025\nDTEND;VALUE=DATE:20221027\nLOCATION:it/lazio"
    floating = "UID:2\nDTSTART:20221025T070000\nDURATION:PT1H\nLOCATION:it"

    assert times(calendar(day), "2022-10-24T00:00", "2022-10-28T00:00", ROME) == [("10-24 22:00", "10-26 22:00")]
    assert times(calendar(floating), "2022-10-24T00:00", "2022-10-28T00:00", ROME) == [("10-25 05:00", "10-25 06:00")]
    assert times(calendar(floating), "2022-10-24T00:00", "2022-10-28T00:00") == [("10-25 07:00", "10-25 08:00")]


def test_long_window_is_there_on_all_of_its_days_and_any_order_of_questions_has_the_same_answers():
    text = calendar(
        "UID:1\nDTSTART:20220101T020000Z\nDURATION:P90D",
        "UID:2\nDTSTART:20220101T100000Z\nDURATION:PT2H\nRRULE:FREQ=DAILY",
    )
    asked = [ms(f"2022-{month:02}-15T{hour:02}:30") for month in range(1, 13) for hour in (1, 11)]
    there = planned(text)
    forwards = [there.during(at, at + 60_000) for at in asked]

    assert [there.during(at, at + 60_000) for at in reversed(asked)] == forwards[::-1]
    assert [len(each) for each in forwards[:8]] == [1, 2, 1, 2, 1, 2, 0, 1]


def test_rollup_of_a_service_is_covered_when_all_its_series_are():
    rows = PlannedRows(
        planned(
            calendar(
                "UID:1\nDTSTART:20221025T070000Z\nDURATION:PT1H\nLOCATION:it/lazio",
                "UID:2\nDTSTART:20221025T070000Z\nDURATION:PT1H\nLOCATION:it/puglia",
            )
        )
    )
    begin = ms("2022-10-25T07:00")
    rows.add([Series("site", "whatsapp", region) for region in ("it/lazio", "it/puglia", "it/*", "*")])
    rows.add([Series("site", "*", "it/lazio"), Series("site", "*", "*")])

    first = rows.during(begin, begin + 60_000)
    rows.add([Series("site", "whatsapp", "fr")])
    second = rows.during(begin, begin + 60_000)

    assert first is not None
    assert second is not None
    assert first.tolist() == [True, True, True, True, True, False]
    assert second.tolist() == [True, True, True, False, True, False, False]


def test_title_of_a_rollup_is_that_of_its_parts_when_all_are_covered():
    there = planned(calendar("UID:1\nDTSTART:20221025T070000Z\nDURATION:PT1H\nLOCATION:it"))
    begin = ms("2022-10-25T07:00")
    asked = "whatsapp", "*", begin, begin + 60_000

    assert there.title(*asked, [("whatsapp", "it/lazio"), ("whatsapp", "it")]) == "maintenance"
    assert there.title(*asked, [("whatsapp", "it/lazio"), ("whatsapp", "fr")]) is None
    assert there.title(*asked) is None


def test_nothing_planned_is_false():
    assert not Maintenance()
    assert planned(calendar())


def test_rows_that_come_later_are_covered_too():
    rows = PlannedRows(planned(calendar("UID:1\nDTSTART:20221025T070000Z\nDURATION:PT1H\nCATEGORIES:whatsapp")))
    begin = ms("2022-10-25T07:00")
    rows.add([Series("site", "whatsapp", "it"), Series("site", "signal", "it")])

    first = rows.during(begin, begin + 60_000)
    rows.add([Series("site", "whatsapp", "*")])
    second = rows.during(begin, begin + 60_000)

    assert first is not None
    assert second is not None
    assert (first.tolist(), second.tolist()) == ([True, False], [True, False, True])
    assert rows.during(begin - 60_000, begin) is None


HOUR = "UID:7\nDTSTART:20220101T100000Z\nDURATION:PT1H\nSUMMARY:Swap\n"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "it is no iCalendar"),
        ("hello", "it is no iCalendar"),
        ("BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "it is no iCalendar"),
        ("BEGIN:VCARD\r\nEND:VCARD\r\n", "it is no iCalendar"),
        (calendar("SUMMARY:Swap"), "event 1 (Swap): it has no DTSTART"),
        (calendar("UID:7\nDTSTART:2022"), "event 1 (7): DTSTART:2022 cannot be read"),
        (calendar(HOUR, "UID:8\nDTSTART:20220101T100000Z"), "event 2 (8): it ends when it begins"),
        (calendar("UID:7\nDTSTART:20220101T100000Z\nDTEND:20220101T090000Z"), "DTEND lies before DTSTART"),
        (calendar("UID:7\nDTSTART:20220101T100000Z\nDURATION:-PT1H"), "DURATION is not more than nothing"),
        (calendar("UID:7\nDTSTART:20220101T100000Z\nDURATION:PTXH"), "DURATION:PTXH cannot be read"),
        (calendar("UID:7\nDTSTART;TZID=No/Where:20220101T100000\nDURATION:PT1H"), "the time zone No/Where"),
        (calendar(HOUR + "RRULE:FREQ=FOO"), "event 1 (Swap 7): RRULE:FREQ=FOO cannot be read"),
        (calendar(HOUR + "RRULE:FREQ=DAILY;UNTIL=soon"), "cannot be read"),
        (calendar(HOUR + "RRULE:FREQ=DAILY;INTERVAL=0"), "INTERVAL is less than 1"),
        (calendar(HOUR + "RRULE:FREQ=SECONDLY"), "it recurs SECONDLY"),
        (calendar(HOUR + "LOCATION:a\x07b"), "LOCATION 'a\\x07b' has characters"),
    ],
)
def test_text_that_is_no_calendar_is_refused_with_what_is_wrong(text, wrong):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is looked at
        check(text)

    assert wrong in str(error.value)


def test_calendar_of_more_events_than_anybody_plans_is_refused(monkeypatch):
    monkeypatch.setattr("detectors.maintenance.MAX_EVENTS", 2)

    with pytest.raises(ValueError, match="more than 2 events"):
        check(calendar(HOUR, HOUR, HOUR))

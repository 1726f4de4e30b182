"""The record on `alerts`: its times, its headers, its sentence."""

from __future__ import annotations

import json

import msgspec
import pytest

from detectors import alert as alerts_topic
from detectors.alert import Alert, Kind, Severity, State, headers, place, summary, title, utc

#: 2022-10-25T07:04:00Z
OUTAGE = 1_666_681_440_000
MINUTE = 60_000

OPEN = Alert(
    id="9e847e169e681493",
    sequence=2,
    episode=1,
    state=State.UPDATE,
    kind=Kind.SERIES,
    sources=["reports"],
    service="WhatsApp",
    region="it/lazio",
    severity=Severity.ERROR,
    started_at="2022-10-25T07:04:00Z",
    detected_at="2022-10-25T07:05:03Z",
    updated_at="2022-10-25T07:06:03.250Z",
    resolved_at=None,
    summary="WhatsApp in it/lazio: 61 reports in 2 minutes, 4.2 usual (15 times), since 07:04 UTC",
    observed=61,
    expected=4.2,
    expected_low=0.9,
    expected_high=8.8,
    ratio=14.5238,
    evidence=9.5,
    warming=False,
    course=None,
)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (OUTAGE, "2022-10-25T07:04:00Z"),
        (OUTAGE + 7, "2022-10-25T07:04:00.007Z"),
        (7_258_118_399_999, "2199-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_utc_with_milliseconds_only_where_there_are_some(ms, text):
    assert utc(ms) == text


def test_headers_are_those_of_a_cloud_event_in_binary_mode():
    assert headers(OPEN) == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"9e847e169e681493.2"),
        ("ce_source", b"/groundswell"),
        ("ce_type", b"io.github.groundswell.incident.update.v1"),
        ("ce_subject", b"WhatsApp/it/lazio"),
        ("ce_time", b"2022-10-25T07:06:03.250Z"),
        ("content-type", b"application/json"),
    ]


def test_headers_of_a_place_without_region_name_the_service_in_utf8():
    nowhere = msgspec.structs.replace(OPEN, service="Café ☕", region="")

    assert dict(headers(nowhere))["ce_subject"] == "Café ☕".encode()


def test_record_is_json_with_every_field_in_place():
    fields = json.loads(alerts_topic.encode(OPEN))

    assert list(fields)[:5] == ["schema_version", "id", "sequence", "episode", "state"]
    assert (fields["kind"], fields["parent"], fields["resolved_at"], fields["state"]) == (
        "series",
        None,
        None,
        "update",
    )


#: What alerts may span: kind, service, region, title.
SPANS = [
    (Kind.SERIES, "WhatsApp", "it/lazio", "WhatsApp in it/lazio"),
    (Kind.SERIES, "WhatsApp", "", "WhatsApp"),
    (Kind.SERVICE, "WhatsApp", None, "WhatsApp everywhere"),
    (Kind.SERVICE, "WhatsApp", "it/*", "WhatsApp in all of it"),
    (Kind.REGION, None, "it/lazio", "All services in it/lazio"),
    (Kind.REGION, None, "it/*", "All services in all of it"),
    (Kind.GLOBAL, None, None, "Everything"),
    (Kind.FEED, None, None, "Feed reports"),
]


@pytest.mark.parametrize(("kind", "service", "region", "text"), SPANS)
def test_title_says_what_is_in_trouble_and_where(kind, service, region, text):
    alert = msgspec.structs.replace(OPEN, kind=kind, service=service, region=region)

    assert title(alert) == text
    assert summary(alert, OUTAGE + MINUTE).startswith(text)


@pytest.mark.parametrize(
    ("kind", "service", "region", "folded"),
    [
        (Kind.SERIES, "WhatsApp", "it/Lazio", ("whatsapp", "it/lazio")),
        (Kind.SERVICE, "WhatsApp", None, ("whatsapp", "*")),
        (Kind.REGION, None, "IT/*", ("*", "it/*")),
        (Kind.GLOBAL, None, None, ("*", "*")),
        (Kind.FEED, None, None, ("*feed", "reports")),
    ],
)
def test_place_is_that_of_the_series_and_roll_ups(kind, service, region, folded):
    assert place(msgspec.structs.replace(OPEN, kind=kind, service=service, region=region)) == folded


def sentence(until: int, **changes: object) -> str:
    """Of the outage as it was `until` minutes after its onset."""
    facts: dict[str, object] = {"state": State.OPEN, "expected": 4.3}
    return summary(msgspec.structs.replace(OPEN, **(facts | changes)), OUTAGE + round(until * MINUTE))


@pytest.mark.parametrize(
    ("until", "changes", "text"),
    [
        (5, {}, "WhatsApp in it/lazio: 61 reports in 5 minutes, 4.3 usual (14 times), since 07:04 UTC"),
        (5, {"region": ""}, "WhatsApp: 61 reports in 5 minutes, 4.3 usual (14 times), since 07:04 UTC"),
        (
            5,
            {"episode": 2},
            "WhatsApp in it/lazio again: 61 reports in 5 minutes, 4.3 usual (14 times), since 07:04 UTC",
        ),
        (
            5,
            {"resolved_at": "2022-10-25T07:44:00Z"},
            "WhatsApp in it/lazio: resolved at 07:44 UTC after 61 reports in 5 minutes, 4.3 usual (14 times),"
            " since 07:04 UTC",
        ),
        (
            190,
            {"observed": 25_000, "expected": 7_041.2},
            "WhatsApp in it/lazio: 25,000 reports in 3 hours 10 minutes, 7,041 usual (3.6 times), since 07:04 UTC",
        ),
        (
            1 / 3,
            {"observed": 1, "expected": 0.01},
            "WhatsApp in it/lazio: 1 report in 20 seconds, hardly any usual, since 07:04 UTC",
        ),
        (1, {"expected": 0.0}, "WhatsApp in it/lazio: 61 reports in 1 minute, none usual, since 07:04 UTC"),
        (
            1440,
            {},
            "WhatsApp in it/lazio: 61 reports in 24 hours, 4.3 usual (14 times), since 2022-10-25 07:04 UTC",
        ),
    ],
)
def test_summary_says_what_a_person_needs_at_night(until, changes, text):
    assert sentence(until, **changes) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Feed reports is silent: no report since 07:04 UTC, 812 expected since then"),
        ({"episode": 2}, "Feed reports is silent again: no report since 07:04 UTC, 812 expected since then"),
        (
            {"resolved_at": "2022-10-25T08:01:00Z"},
            "Feed reports is back at 08:01 UTC after 57 minutes of silence, 812 reports expected in that time",
        ),
    ],
)
def test_summary_of_a_silent_feed_tells_of_silence_not_of_a_surge(changes, text):
    silent = {"kind": Kind.FEED, "service": None, "region": None, "observed": 0, "expected": 812.0}

    assert sentence(50, **silent, **changes) == text


@pytest.mark.parametrize("name", ["a\nb", "a\r\nb", "a\u2028b", "a\x0bb", "a\x85b", "a\tb"])
def test_summary_stays_one_line_whatever_the_names_hold(name):
    text = sentence(5, service=name, region=name)

    assert text.splitlines() == [text]
    assert text.startswith("a b in a b: ")

"""Reports: decoded, checked, normalised, or rejected with a reason."""

from __future__ import annotations

import json

import pytest

from detectors.report import MAX_COUNT, Reason, Rejected, Report, decode, identify, time_ms
from detectors.series import Names, Series

STAMP_MS = 1_666_681_500_000


def why(value: bytes | None) -> tuple[Reason, str]:
    found = decode(value)
    assert isinstance(found, Rejected)
    return found.reason, found.path


def test_shortest_report_is_one_of_the_default_source_from_nowhere():
    assert decode(b'{"service":"WhatsApp"}') == Report(service="WhatsApp", region="", source="reports", count=1)


def test_unknown_fields_are_left_out():
    assert isinstance(decode(b'{"service":"WhatsApp","lang":"it"}'), Report)


@pytest.mark.parametrize(
    ("value", "reason", "path"),
    [
        (None, Reason.EMPTY, "$"),
        (b"", Reason.EMPTY, "$"),
        (b"{", Reason.NOT_JSON, "$"),
        (b"\xff\xfe", Reason.NOT_JSON, "$"),
        (b'{"service":"\xff"}', Reason.NOT_JSON, "$"),
        (b"[" * 100_000, Reason.TOO_LARGE, "$"),
        (b"[" * 60_000, Reason.INVALID, "$"),
        (b'{"region":"it"}', Reason.INVALID, "$"),
        (b'{"service":7}', Reason.INVALID, "$.service"),
        (b'{"service":""}', Reason.INVALID, "$.service"),
        (b'{"service":"x","count":-1}', Reason.INVALID, "$.count"),
        (b'{"service":"x","count":1.5}', Reason.INVALID, "$.count"),
        (b'{"service":"x","count":1000001}', Reason.INVALID, "$.count"),
        (b'{"service":"x","time":"yesterday"}', Reason.INVALID, "$.time"),
        (b'{"service":"x","time":"2022-10-25T07:00:00"}', Reason.INVALID, "$.time"),
        (json.dumps({"service": "x" * 201}).encode(), Reason.INVALID, "$.service"),
        (json.dumps({"service": "x", "region": "y" * 301}).encode(), Reason.INVALID, "$.region"),
        (b'{"service":"x","pad":"' + b"p" * 70_000 + b'"}', Reason.TOO_LARGE, "$"),
    ],
)
def test_bad_record_is_rejected_with_reason_and_path(value, reason, path):
    assert why(value) == (reason, path)


def test_largest_count_is_taken():
    assert decode(json.dumps({"service": "x", "count": MAX_COUNT}).encode()) == Report(service="x", count=MAX_COUNT)


@pytest.mark.parametrize(
    ("time", "ms"),
    [
        ('"2022-10-25T07:05:00Z"', STAMP_MS),
        ('"2022-10-25T09:05:00.250+02:00"', STAMP_MS + 250),
        ("1666681500", STAMP_MS),
        ("1666681500.25", STAMP_MS + 250),
        ("1666681500250", STAMP_MS + 250),
        ("0", 0),
        ("null", 42),
    ],
)
def test_time_is_told_apart_by_its_form(time, ms):
    report = decode(b'{"service":"x","time":%s}' % time.encode())

    assert isinstance(report, Report)
    assert time_ms(report, 42) == ms


@pytest.mark.parametrize("time", ["-1", "1e300", "99999999999999", '"1969-12-31T23:59:59Z"', '"2200-01-01T00:00:00Z"'])
def test_time_out_of_bounds_is_rejected(time):
    report = decode(b'{"service":"x","time":%s}' % time.encode())

    assert isinstance(report, Report)
    found = time_ms(report, 42)
    assert isinstance(found, Rejected)
    assert (found.reason, found.path) == (Reason.BAD_TIME, "$.time")


def test_no_time_and_no_timestamp_is_rejected():
    assert isinstance(time_ms(Report(service="x"), -1), Rejected)


def test_spellings_of_a_name_are_one_series():
    upper = identify("Reports", "  CAFÉ  App", "IT/Lazio/ Roma ")
    lower = identify("reports", "cafe\u0301 app", "it/lazio/roma")

    assert upper == (Series("reports", "café app", "it/lazio/roma"), Names("CAFÉ App", "IT/Lazio/Roma"))
    assert lower == (Series("reports", "café app", "it/lazio/roma"), Names("café app", "it/lazio/roma"))


@pytest.mark.parametrize(
    ("source", "service", "region", "path"),
    [
        ("reports", "a\nb\x1b[31m", "", "$.service"),
        ("reports", "\u202eevil", "", "$.service"),
        ("reports", " ", "", "$.service"),
        ("reports", "*", "", "$.service"),
        ("*", "x", "", "$.source"),
        ("reports", "x", "it\x00", "$.region"),
        ("\ud800", "x", "", "$.source"),
    ],
)
def test_name_that_could_harm_is_rejected(source, service, region, path):
    found = identify(source, service, region)

    assert isinstance(found, Rejected)
    assert (found.reason, found.path) == (Reason.BAD_NAME, path)


def test_html_in_a_name_is_a_name():
    found = identify("reports", "<script>alert(1)</script>", "")

    assert not isinstance(found, Rejected)
    assert found[1].service == "<script>alert(1)</script>"

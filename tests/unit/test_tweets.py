from collections import Counter
from importlib import resources

import msgspec
import pytest

from detectors.report import Report, decode, time_ms
from streams import tweets


@pytest.fixture(scope="module")
def reports() -> list[Report]:
    found = [decode(value) for value in tweets.reports()]
    return [report for report in found if isinstance(report, Report)]


def test_each_row_of_the_five_companies_is_one_report(reports):
    services = Counter(report.service for report in reports)

    assert services == {"Apple": 15_902, "Amazon": 15_831, "Facebook": 15_833, "Google": 15_842, "Coca-Cola": 15_851}


def test_reports_are_in_the_order_of_their_times_each_company_once_a_bucket(reports):
    times = [time_ms(report, 0) for report in reports]

    assert times == sorted(times)
    assert len({(time // 300_000, report.service) for time, report in zip(times, reports, strict=True)}) == len(reports)


def test_a_count_bears_the_last_second_of_its_bucket(reports):
    assert {time_ms(report, 0) % 300_000 for report in reports} == {299_000}


def test_five_minutes_without_a_tweet_are_a_report_with_count_0(reports):
    assert min(report.count for report in reports) == 0


def test_the_source_has_buckets_of_five_minutes(reports):
    assert {report.source for report in reports} == {tweets.SOURCE}
    assert tweets.TWEETS.bucket_seconds == 300


def test_the_file_has_a_report_a_line(tmp_path):
    tweets.write(tmp_path / "tweets.ndjson")

    lines = (tmp_path / "tweets.ndjson").read_bytes().splitlines()
    assert len(lines) == 79_259
    assert msgspec.json.decode(lines[0]) == {
        "service": "Amazon", "time": "2015-02-26T21:44:59Z", "source": "tweets", "count": 57,
    }  # fmt: skip


def test_the_licence_lies_with_the_data():
    text = resources.files("streams").joinpath("data/tweets/LICENSE").read_text()

    assert "Numenta" in text
    assert "Permission is hereby granted" in text

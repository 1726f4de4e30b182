"""The simulated outage agrees with what was published of the real one."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from detectors import report
from streams import story

HALF_PAST_SEVEN = datetime(2022, 10, 25, 7, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def history() -> list[story.Batch]:
    return list(story.reports(story.START, story.DAY_START))


@pytest.fixture(scope="module")
def day() -> list[tuple[int, report.Report]]:
    batches = story.reports(story.DAY_START, story.END)
    return [
        (time, report.decode(value)) for batch in batches for time, value in zip(batch.times, batch.values, strict=True)
    ]


def _sum(day, begin: datetime, end: datetime, source: str, service: str) -> int:
    return sum(
        each.count
        for time, each in day
        if story.ms(begin) <= time < story.ms(end) and (each.source, each.service) == (source, service)
    )


def test_outage_draws_over_25_000_reports_as_published(day):
    assert 25_000 < _sum(day, story.OUTAGE_START, story.OUTAGE_END, "outage-site", "WhatsApp") < 28_000


def test_first_half_hour_draws_about_12_000_as_published(day):
    assert _sum(day, story.OUTAGE_START, HALF_PAST_SEVEN, "outage-site", "WhatsApp") == pytest.approx(12_000, rel=0.05)


def test_contact_centre_takes_65_000_extra_contacts_in_three_hours_as_published(day):
    contacts = _sum(day, story.CONTACTS_START, story.CONTACTS_END, "contact-centre", "TIM contact centre")

    assert contacts - 3 * story.USUAL_CONTACTS_AN_HOUR == pytest.approx(65_000, rel=0.03)


def test_contact_centre_takes_310_percent_more_than_on_the_tuesday_before(day):
    week = timedelta(days=7)
    before = [
        (time, report.decode(value))
        for batch in story.reports(story.CONTACTS_START - week, story.CONTACTS_END - week)
        for time, value in zip(batch.times, batch.values, strict=True)
    ]
    usual = _sum(before, story.CONTACTS_START - week, story.CONTACTS_END - week, "contact-centre", "TIM contact centre")
    contacts = _sum(day, story.CONTACTS_START, story.CONTACTS_END, "contact-centre", "TIM contact centre")

    assert usual / 3 == pytest.approx(7_000, rel=0.03)
    assert contacts / usual - 1 == pytest.approx(3.10, rel=0.04)


def test_figures_of_cost_agree_with_each_other():
    assert pytest.approx(story.EXTRA_COST_EURO, rel=0.001) == story.EXTRA_CONTACTS * story.EURO_A_CONTACT


def test_most_callers_of_the_outage_speak_of_whatsapp_and_few_of_a_usual_hour(day):
    usual = _sum(day, story.DAY_START, story.OUTAGE_START, "contact-centre", "WhatsApp")
    outage = _sum(day, story.CONTACTS_START, story.CONTACTS_END, "contact-centre", "WhatsApp")

    assert usual < 100
    assert 0.8 * 65_000 < outage < 0.9 * 65_000


def test_services_that_did_not_break_stay_as_they_are(day):
    after = _sum(day, story.OUTAGE_START, story.OUTAGE_END, "outage-site", "Netflix")

    assert after < 100


def test_every_record_is_a_report_with_its_event_time(day):
    for time, each in day:
        assert isinstance(each, report.Report)
        assert report.time_ms(each, 0) == time


def test_history_has_enough_for_three_weeks_and_no_more_than_a_minute_of_reading(history):
    assert 200_000 < sum(len(batch.values) for batch in history) < 350_000
    assert len(history) == 21 * 24 + 6


def test_all_services_and_regions_and_both_sources_appear(day):
    seen = Counter((each.source, each.service) for _, each in day)

    assert len({service for source, service in seen if source == "outage-site"}) == 10
    assert {service for source, service in seen if source == "contact-centre"} == {"TIM contact centre", "WhatsApp"}
    assert len({each.region for _, each in day}) == 10


def test_reports_come_in_time_order(history):
    times = [time for batch in history for time in batch.times]

    assert times == sorted(times)
    assert times[0] >= story.ms(story.START)
    assert times[-1] < story.ms(story.DAY_START)


def test_nights_are_quiet_and_sundays_have_fewer_contacts(history):
    def of(day_of_october: int, begin: int, end: int) -> int:
        start = (day_of_october - 4) * 24
        return sum(len(batch.values) for batch in history[start + begin : start + end])

    def contacts(day_of_october: int) -> int:
        batches = history[(day_of_october - 4) * 24 : (day_of_october - 3) * 24]
        decoded = (report.decode(value) for batch in batches for value in batch.values)
        return sum(each.count for each in decoded if each.service == "TIM contact centre")

    assert of(5, 0, 3) < of(5, 16, 19) / 2
    assert contacts(9) < 0.6 * contacts(11)


def test_same_seed_same_bytes_wherever_one_begins():
    whole = list(story.reports(story.DAY_START, story.END, seed=7))
    part = list(story.reports(story.OUTAGE_END, story.END, seed=7))

    assert whole[3:] == part


def test_other_seed_other_reports():
    one = next(story.reports(story.OUTAGE_START, story.OUTAGE_END, seed=1))
    other = next(story.reports(story.OUTAGE_START, story.OUTAGE_END, seed=2))

    assert one != other


def test_time_within_an_hour_is_refused():
    with pytest.raises(ValueError, match="full hours"):
        next(story.reports(HALF_PAST_SEVEN, story.END))

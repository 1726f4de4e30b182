"""Is it ours: contacts beyond the usual beside somebody else's incident."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.alert import Contacts, ShownBy
from detectors.ledger import KEPT_MS, Ledger
from detectors.ours import Other, OursRule, Own, assess, follows, forecast
from detectors.problems import Named
from detectors.series import Names, Series
from detectors.surges import Recent, SurgeRow

MINUTE = 60_000
STEP = 5 * MINUTE
BEGIN = 1_666_681_200_000  # 07:00
RULE = OursRule(services=("TIM",), sources=("calls",), total="All calls", cost_per_contact=0.5, time_zone="Europe/Rome")
WHATSAPP = Other("9e84", "whatsapp", "WhatsApp", ("whatsapp", "wa"), BEGIN, 12.0)


def ledger(**courses: list[int]) -> Ledger:
    """Courses of five minutes from BEGIN by source_service, 100 usual in each."""
    kept = Ledger()
    for name, observed in courses.items():
        source, _, service = name.partition("_")
        tell(kept, source, service.replace("_", " "), observed)
    return kept


def tell(kept: Ledger, source: str, service: str, observed: list[int], named: Named | None = None) -> None:
    for number, count in enumerate(observed):
        start = BEGIN + number * STEP
        recent = None if number else Recent(300, start + STEP, [count], [100.0], [80.0], [120.0])
        kept.hear(
            SurgeRow(
                Series(source, service, "*"), Names(service, "*"), 3.0, BEGIN, start, True, count, 100.0, 80.0, 120.0,
                False, recent, named,
            )
        )  # fmt: skip


def told(kept: Ledger, rule: OursRule = RULE, other: Other = WHATSAPP) -> Contacts | None:
    return assess(rule, Own.of(rule), kept, other)


def test_contacts_that_name_the_service_say_which_share_of_the_extra_ones_is_about_it() -> None:
    contacts = told(ledger(calls_all_calls=[100, 300, 500], calls_whatsapp=[100, 250, 450], site_tim=[100, 101, 99]))

    assert contacts is not None
    assert (contacts.observed, contacts.expected, contacts.extra) == (900, 300.0, 600.0)
    assert (contacts.explained, contacts.shown_by) == (pytest.approx(500 / 600, rel=1e-5), ShownBy.MENTIONS)
    assert (contacts.cost, contacts.currency, contacts.broken) == (300.0, "EUR", [])
    assert contacts.until == "2022-10-25T07:15:00Z"


def test_problem_that_names_the_service_counts_as_a_mention() -> None:
    kept = ledger(calls_all_calls=[100, 300, 500])
    tell(kept, "calls", "tim", [100, 300, 500], Named(200, (("wa does not work", 150, 0.01), ("line", 50, 0.9))))

    contacts = told(kept)

    assert contacts is not None
    assert contacts.shown_by is ShownBy.MENTIONS
    # In each bucket 150, less the usual: of 100 contacts as many in a hundred name a problem, and one of them this one.
    usual = sum(0.01 * 100 * 200 / observed for observed in (100, 300, 500))
    assert contacts.explained == pytest.approx((450 - usual) / 600, rel=1e-5)


def test_contacts_that_name_nothing_are_compared_by_their_course() -> None:
    contacts = told(ledger(calls_all_calls=[100, 300, 500, 300, 100], site_whatsapp=[200, 300, 200, 100, 100]))

    assert contacts is not None
    assert contacts.shown_by is ShownBy.COURSE
    assert contacts.explained == pytest.approx(1.0)


def test_contacts_that_name_others_have_nothing_to_do_with_it() -> None:
    assert told(ledger(calls_all_calls=[100, 300, 500], calls_netflix=[100, 300, 500])) is None


def test_usual_contacts_are_not_told_of() -> None:
    assert told(ledger(calls_all_calls=[104, 97, 101], calls_whatsapp=[100, 200, 300])) is None


@pytest.mark.parametrize(
    ("tim", "broken"),
    [
        ([100, 130, 160], []),  # some blame us for it: an echo, small and of the same course
        ([100, 300, 500], ["tim"]),  # as much as the other
        ([160, 100, 100], ["tim"]),  # at another time than the other
    ],
)
def test_own_service_that_surges_by_itself_leaves_it_open_whose_fault_it_is(tim: list[int], broken: list[str]) -> None:
    contacts = told(
        ledger(
            calls_all_calls=[100, 300, 500],
            calls_whatsapp=[100, 300, 500],
            site_whatsapp=[100, 300, 500],
            site_tim=tim,
        )
    )

    assert contacts is not None
    assert contacts.broken == broken
    assert (contacts.explained is None) is bool(broken)
    assert bool(contacts.voice_menu) is not bool(broken)


def test_sentences_are_filled_in_both_languages_with_local_time() -> None:
    contacts = told(ledger(calls_all_calls=[100, 300, 500], calls_whatsapp=[100, 300, 500]))

    assert contacts is not None
    assert contacts.voice_menu["it"].startswith("Dalle 09:00 molti utenti segnalano problemi con WhatsApp.")
    assert "with 12 times the usual reports; 100 % of the 600 extra contacts are about it" in contacts.agents["en"]


@pytest.mark.parametrize("template", ["{servce}", "{service!r}", "{service.x}", "{since:>9}", "{"])
def test_template_with_a_name_that_there_is_not_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"voice_menu\.en"):
        OursRule(voice_menu={"en": template})


def test_course_is_followed_as_far_as_the_other_gives_it() -> None:
    reports = np.array([0.0, 10.0, 5.0, 0.0])

    assert follows(np.array([0.0, 0.0, 20.0, 10.0]), reports, 2) == pytest.approx(1.0)
    assert follows(np.array([0.0, 0.0, 20.0, 10.0]), reports, 0) < 0.5
    assert follows(np.zeros(4), reports, 2) == 0.0


def test_forecast_goes_on_for_as_long_again_before_the_peak_and_down_after_it() -> None:
    rising = forecast(np.array([0.0, 100.0, 200.0, 300.0]), STEP)
    assert (rising.now, rising.peak) == (2400.0, None)
    assert rising.to_come == pytest.approx(200.0 * 3)

    falling = forecast(np.array([300.0, 300.0, 300.0, 200.0, 150.0, 100.0]), STEP)
    assert falling.peak == 1
    assert 0 < falling.to_come < 600


def test_ledger_keeps_a_day() -> None:
    kept = Ledger()
    kept.hear(_row(0, Recent(60, BEGIN + MINUTE, [1], [1.0], [0.0], [2.0])))
    kept.hear(_row(KEPT_MS // MINUTE + 5, None))

    assert list(kept.courses["calls", "x"].buckets) == [BEGIN + KEPT_MS + 5 * MINUTE]


def _row(minute: int, recent: Recent | None) -> SurgeRow:
    start = BEGIN + minute * MINUTE
    return SurgeRow(Series("calls", "x", "*"), Names("x", "*"), 1.0, 0, start, True, 1, 1.0, 0.0, 2.0, False, recent)

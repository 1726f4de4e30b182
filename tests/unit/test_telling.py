"""What the demo tells of the alerts."""

from msgspec.structs import replace

from detectors.alert import Alert, Kind, Severity, State
from streams import story
from streams.telling import Telling, by_service, cost, outage_sentences

SEVEN = story.ms(story.OUTAGE_START)

OPEN = Alert(
    id="a1",
    sequence=1,
    episode=1,
    state=State.OPEN,
    kind=Kind.SERIES,
    sources=["outage-site"],
    service="WhatsApp",
    region="it/lazio",
    severity=Severity.WARNING,
    started_at="2022-10-25T07:00:00Z",
    detected_at="2022-10-25T07:02:13Z",
    updated_at="2022-10-25T07:02:13Z",
    resolved_at=None,
    summary="WhatsApp in it/lazio: 20 reports in 2 minutes, 1 usual (20 times), since 07:00 UTC",
    observed=20,
    expected=1.0,
    expected_low=0.0,
    expected_high=4.0,
    ratio=20.0,
    evidence=3.0,
    warming=False,
    course=None,
)
UPDATE = replace(OPEN, state=State.UPDATE, sequence=2)
RESOLVED = replace(OPEN, state=State.RESOLVED, sequence=3, resolved_at="2022-10-25T09:00:00Z")
CALLS = replace(
    OPEN, id="b2", service=story.CONTACTS, detected_at="2022-10-25T07:20:03Z", observed=65_300, expected=300.0
)


def test_opened_and_resolved_incidents_get_a_line():
    telling = Telling(SEVEN)

    assert telling.apply(OPEN)
    assert telling.open == 1
    assert telling.apply(RESOLVED)
    assert telling.open == 0


def test_update_that_says_nothing_new_gets_none():
    telling = Telling(SEVEN)
    telling.apply(OPEN)

    assert not telling.apply(replace(UPDATE, observed=79))


def test_update_gets_a_line_once_it_has_four_times_the_reports_of_the_last_line():
    telling = Telling(SEVEN)
    telling.apply(OPEN)

    assert telling.apply(replace(UPDATE, observed=80))
    assert not telling.apply(replace(UPDATE, observed=300))
    assert telling.apply(replace(UPDATE, observed=320))


def test_update_gets_a_line_when_it_is_worse_and_none_when_it_is_better():
    telling = Telling(SEVEN)
    telling.apply(OPEN)

    assert telling.apply(replace(UPDATE, severity=Severity.CRITICAL))
    assert not telling.apply(replace(UPDATE, severity=Severity.ERROR))


def test_alerts_of_the_time_before_are_counted_and_not_told():
    telling = Telling(SEVEN)

    assert not telling.apply(replace(OPEN, detected_at="2022-10-24T20:00:00Z"))
    assert (telling.records, telling.before, telling.incidents) == (1, {"a1"}, [])


def test_what_another_incident_explains_gets_no_line_but_the_end_of_one_that_had_one():
    telling = Telling(SEVEN)
    wide = replace(OPEN, id="w", kind=Kind.SERVICE, region=None)
    telling.apply(OPEN)
    telling.apply(wide)

    assert not telling.apply(replace(OPEN, id="c", region="it/sicilia", parent="w"))
    assert not telling.apply(replace(OPEN, id="c", region="it/sicilia", parent="w", state=State.RESOLVED))
    assert not telling.apply(replace(UPDATE, parent="w"))
    assert telling.apply(replace(RESOLVED, parent="w"))


def test_what_outlives_the_incident_that_explained_it_gets_a_line():
    telling = Telling(SEVEN)
    telling.apply(replace(OPEN, parent="w"))

    assert telling.apply(replace(UPDATE, parent=None))


def test_reports_of_a_part_are_counted_once():
    telling = Telling(SEVEN)
    telling.apply(replace(CALLS, kind=Kind.SERVICE, region=None))
    telling.apply(replace(CALLS, id="part", parent="b2", observed=40_000))
    telling.apply(replace(OPEN, id="whatsapp", parent="elsewhere"))

    rows = by_service(telling.incidents)

    assert cost(telling.incidents).contacts == 65_000
    assert list(rows.columns[4].cells) == ["65,300", "20"]
    assert list(rows.columns[2].cells) == ["2", "1"]


def test_all_services_and_silent_feeds_have_lines_of_their_own_in_the_table():
    wide = replace(OPEN, id="w", kind=Kind.REGION, service=None)
    silent = replace(OPEN, id="f", kind=Kind.FEED, service=None, region=None)

    rows = by_service([wide, silent])

    assert list(rows.columns[0].cells) == ["All services", "Feed outage-site"]


def test_cost_is_that_of_the_contacts_beyond_the_usual():
    telling = Telling(SEVEN)
    telling.apply(OPEN)
    telling.apply(CALLS)

    assert cost(telling.incidents).contacts == 65_000
    assert round(cost(telling.incidents).euro) == 39_975


def test_episodes_of_an_incident_count_each():
    telling = Telling(SEVEN)
    telling.apply(replace(CALLS, observed=300 + 1000))
    telling.apply(replace(CALLS, observed=300 + 2000, state=State.RESOLVED))
    telling.apply(replace(CALLS, observed=300 + 500, episode=2))

    assert cost(telling.incidents).contacts == 2500


def test_sentences_say_how_long_it_took_and_how_far_ahead_of_the_callers_it_was():
    telling = Telling(SEVEN)
    telling.apply(OPEN)
    telling.apply(CALLS)

    said = list(outage_sentences(telling))

    assert said[0] == "WhatsApp broke at 07:00 UTC; the first alert says so 2 min 13 s later."
    assert said[1] == "The TIM contact centre was hit as well: its own alert came 17 min 50 s after that."
    assert "65,000 contacts more than usual, 39,975 euro" in said[2]


def test_nothing_is_said_of_an_outage_that_no_alert_saw():
    assert list(outage_sentences(Telling(SEVEN))) == []


def test_table_has_a_line_a_service_with_its_worst_severity():
    rows = by_service([OPEN, replace(OPEN, id="c3", region="it/sicilia", severity=Severity.ERROR), CALLS])

    assert rows.row_count == 2
    assert list(rows.columns[1].cells) == ["error", "warning"]
    assert list(rows.columns[2].cells) == ["2", "1"]


def test_hostile_service_name_reaches_the_terminal_harmless():
    rows = by_service([replace(OPEN, service="a\x1b[31m[bold]")])

    assert list(rows.columns[0].cells) == ["a\\x1b[31m[bold]"]

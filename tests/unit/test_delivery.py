"""Delivery: what a destination is told of each incident, and what of those that it missed."""

from __future__ import annotations

from typing import Any

import pytest

from detectors import delivery
from detectors.alert import Acknowledged, Alert, Muted, Severity, State, millis, utc
from detectors.delivery import Action, Delivery, DeliveryRule, Dispatch, Manner, Told
from detectors.routing import Route
from tests.made_alerts import NOON, outage, resolved

NOW = round(NOON * 1000)
HOUR_LATER = NOW + 3_600_000
MESSAGE = Manner()
PAGER = Manner(acknowledges=True)
STATE = Manner(parts=True, inhibits=True, changes=True, repeats=True, most=10)
RECORD = Manner(parts=True, quiet=True, changes=True)
ACKNOWLEDGED = Acknowledged(by="ada", reason="on it", at="2022-10-25T12:00:00Z")
MUTED = Muted(by="ada", reason="known", since="2022-10-25T12:00:00Z")
RULE = DeliveryRule(repeat_seconds=60, repeat_resolved_seconds=300, retry_first_seconds=1, retry_most_seconds=60)


def dispatch(manner: Manner, **changed: Any) -> Dispatch:
    fields: dict[str, Any] = {"routes": (), "rule": RULE, "told": {}, **changed}
    return Dispatch(
        "oncall",
        manner,
        fields["rule"],
        fields["routes"],
        named=("oncall",),
        open_within_seconds=600,
        told=fields["told"],
    )


def carry(desk: Dispatch, alert: Alert, now: int = NOW) -> list[Action]:
    """Take it and deliver what is due; what was delivered."""
    desk.take(alert, now)
    return [delivery.action for delivery in deliver(desk, now)]


def deliver(desk: Dispatch, now: int = NOW) -> list[Delivery]:
    found = []
    while due := desk.due(now):
        for each in due:
            desk.taken(each, now)
        found += due
    return found


def test_a_message_goes_out_for_the_page_and_for_the_end_and_not_in_between():
    desk = dispatch(MESSAGE)

    told = [
        carry(desk, outage()),
        carry(desk, outage(sequence=2, state=State.UPDATE, observed=20_000)),
        carry(desk, resolved(sequence=3)),
    ]

    assert told == [[Action.OPEN], [], [Action.RESOLVE]]


def test_an_incident_that_grows_to_an_error_pages_then():
    desk = dispatch(MESSAGE)

    assert carry(desk, outage(severity=Severity.WARNING)) == []
    assert carry(desk, outage(sequence=2, state=State.UPDATE, severity=Severity.ERROR)) == [Action.OPEN]


def test_an_incident_that_was_told_is_told_to_its_end_though_no_route_leads_there_any_more():
    desk = dispatch(STATE, routes=(Route(to=("oncall",), severity=(Severity.CRITICAL,)),))
    carry(desk, outage())

    assert carry(desk, outage(sequence=2, severity=Severity.WARNING)) == [Action.UPDATE]
    assert carry(desk, resolved(sequence=3, severity=Severity.WARNING)) == [Action.RESOLVE]


def test_an_incident_that_comes_back_pages_anew():
    desk = dispatch(MESSAGE)
    carry(desk, outage())
    carry(desk, resolved(sequence=2))

    assert carry(desk, outage(sequence=3, episode=2)) == [Action.OPEN]


def test_an_incident_that_came_back_muted_while_nobody_listened_is_acknowledged():
    desk = dispatch(PAGER)
    carry(desk, outage())
    desk.take(resolved(sequence=2), NOW)

    assert carry(desk, outage(sequence=3, episode=2, muted=MUTED)) == [Action.ACKNOWLEDGE]


def test_an_incident_that_ended_and_came_back_while_nobody_listened_pages_anew():
    desk = dispatch(MESSAGE)
    carry(desk, outage())
    desk.take(resolved(sequence=2), NOW)

    assert carry(desk, outage(sequence=3, episode=2)) == [Action.OPEN]


def test_what_another_incident_explains_calls_nobody_and_goes_where_parts_are_wanted():
    part = outage(parent="incident-0")

    assert carry(dispatch(MESSAGE), part) == []
    assert carry(dispatch(RECORD), part) == [Action.OPEN]


def test_a_part_goes_where_what_explains_it_inhibits_it_only_as_long_as_that_is_open_there():
    desk = dispatch(STATE)
    whole, part = outage("whole"), outage("part", parent="whole", severity=Severity.CRITICAL)
    desk.take(part, NOW)
    before = deliver(desk)
    desk.take(whole, NOW)
    both = [(each.alert.id, each.action) for each in deliver(desk)]
    desk.take(resolved("whole", sequence=2), NOW)
    ends = [(each.alert.id, each.action) for each in deliver(desk)]

    assert before == []
    assert both == [("whole", Action.OPEN), ("part", Action.OPEN)]
    assert ends == [("part", Action.RESOLVE), ("whole", Action.RESOLVE)]
    assert carry(desk, outage("part", sequence=2)) == [Action.OPEN]


def test_the_cause_is_the_incident_that_explains_it_in_the_end():
    desk = dispatch(STATE)
    for id, parent in (("a", None), ("b", "a"), ("c", "b")):
        desk.take(outage(id, parent=parent), NOW)

    assert {each.alert.id: each.standing.cause for each in deliver(desk)} == {"a": "a", "b": "a", "c": "a"}


def test_parts_move_with_what_explains_them_before_it_stops_to_do_so():
    desk = dispatch(STATE)
    desk.take(outage("service"), NOW)
    for number in range(12):
        desk.take(outage(f"region-{number}", parent="service"), NOW)
    deliver(desk)
    carry(desk, outage("all"))
    desk.take(outage("service", sequence=2, parent="all"), NOW)
    moved = deliver(desk)

    assert {each.standing.cause for each in moved} == {"all"}
    assert [each.alert.id for each in moved].index("service") == 12


def test_the_parts_of_parts_end_with_what_explains_all():
    desk = dispatch(STATE)
    for id, parent in (("a", None), ("b", "a"), ("c", "b")):
        desk.take(outage(id, parent=parent), NOW)
    deliver(desk)
    desk.take(resolved("a", sequence=2), NOW)

    assert {each.alert.id: each.action for each in deliver(desk)} == dict.fromkeys("abc", Action.RESOLVE)


def test_what_explains_parts_goes_before_them_though_it_failed_before():
    desk = dispatch(STATE)
    desk.take(outage("whole"), NOW)
    desk.failed(desk.due(NOW), NOW, luck=0)
    for number in range(12):
        desk.take(outage(f"part-{number}", parent="whole"), NOW)

    assert desk.due(NOW + 1000)[0].alert.id == "whole"


@pytest.mark.parametrize("asleep", [{"acknowledged": ACKNOWLEDGED}, {"muted": MUTED}, {"maintenance": "works"}])
def test_what_nobody_shall_be_called_for_calls_nobody_but_is_on_record(asleep: dict[str, Any]):
    assert carry(dispatch(MESSAGE), outage(**asleep)) == []
    assert carry(dispatch(STATE), outage(**asleep)) == []
    assert carry(dispatch(RECORD), outage(**asleep)) == [Action.OPEN]


def test_a_pager_learns_that_it_was_acknowledged_that_it_got_worse_and_that_it_asks_again():
    desk = dispatch(PAGER)
    carry(desk, outage(severity=Severity.ERROR))

    told = [
        carry(desk, outage(sequence=2, severity=Severity.CRITICAL)),
        carry(desk, outage(sequence=3, muted=MUTED)),
        carry(desk, outage(sequence=4, muted=MUTED, observed=9_000)),
        carry(desk, outage(sequence=5)),
    ]

    assert told == [[Action.UPDATE], [Action.ACKNOWLEDGE], [], [Action.UPDATE]]


def test_a_repeated_record_is_not_told_again():
    desk = dispatch(RECORD)
    carry(desk, outage(sequence=2))

    assert carry(desk, outage(sequence=2)) == []
    assert carry(desk, outage(sequence=1)) == []


# --- the past ---


def test_nobody_is_paged_about_the_past():
    hours_later = NOW + 3 * 3_600_000
    desk = dispatch(MESSAGE)
    desk.take(outage(), hours_later)
    desk.take(resolved(sequence=2), hours_later)

    assert deliver(desk, hours_later) == []


def test_what_is_open_still_after_hours_of_downtime_pages():
    hours_later = NOW + 3 * 3_600_000
    desk = dispatch(MESSAGE)
    desk.take(outage(), hours_later)

    still_open = outage(sequence=9, state=State.UPDATE, updated_at=utc(hours_later - 60_000))
    assert carry(desk, still_open, hours_later) == [Action.OPEN]


def test_what_was_detected_lately_is_told_though_it_is_over():
    just_after = millis(outage().detected_at) + 14 * 60_000

    assert carry(dispatch(MESSAGE), resolved(), just_after) == [Action.RESOLVE]
    assert carry(dispatch(MESSAGE), resolved(), just_after + 60_001) == []


def test_the_end_of_what_was_told_is_told_however_late():
    desk = dispatch(MESSAGE)
    carry(desk, outage())

    assert carry(desk, resolved(sequence=2), NOW + 30 * 3_600_000) == [Action.RESOLVE]


# --- failures ---


def test_after_an_outage_of_the_destination_only_the_latest_state_goes_out():
    desk = dispatch(RECORD)
    for sequence in range(1, 6):
        desk.take(outage(sequence=sequence), NOW)
        for _ in desk.due(NOW):
            desk.failed(desk.due(NOW), NOW, luck=0)

    later = NOW + 60_000
    assert [each.alert.sequence for each in deliver(desk, later)] == [5]
    assert desk.superseded == 4


def test_waits_double_up_to_the_longest_and_the_destination_counts_as_down():
    desk = dispatch(RECORD, rule=DeliveryRule(retry_first_seconds=1, retry_most_seconds=8, circuit_after=3))
    desk.take(outage(), NOW)
    now, waits = NOW, []
    for _ in range(6):
        waits.append(desk.failed(desk.due(now), now, luck=0))
        assert desk.due(now) == []
        now += round(1000 * waits[-1])

    assert waits == [1, 2, 4, 8, 8, 8]
    assert desk.down
    desk.taken(desk.due(now)[0], now)
    assert not desk.down


def test_retry_after_is_obeyed():
    desk = dispatch(RECORD)
    desk.take(outage(), NOW)

    desk.failed(desk.due(NOW), NOW, luck=0, asked_seconds=30)

    assert desk.due(NOW + 29_999) == []
    assert len(desk.due(NOW + 30_000)) == 1


def test_an_incident_that_the_destination_trips_over_does_not_hold_up_the_others():
    desk = dispatch(RECORD)
    desk.take(outage("bad"), NOW)
    desk.take(outage("good", severity=Severity.ERROR), NOW)
    first = desk.due(NOW)
    desk.failed(first, NOW, luck=0)

    assert [each.alert.id for each in first] == ["bad"]
    assert [each.alert.id for each in desk.due(NOW + 1000)] == ["good"]


# --- what comes while something is under way ---


def open_since_an_hour(**changed: Any) -> Alert:
    """As of HOUR_LATER."""
    return outage(updated_at=utc(HOUR_LATER), **changed)


def under_way(desk: Dispatch, now: int = NOW) -> list[Delivery]:
    due = desk.due(now)
    desk.begin(due, now)
    return due


@pytest.mark.parametrize("manner", [MESSAGE, PAGER, STATE, RECORD])
def test_the_end_that_comes_while_the_page_is_under_way_is_told(manner: Manner):
    desk = dispatch(manner)
    desk.take(open_since_an_hour(), HOUR_LATER)
    (page,) = under_way(desk, HOUR_LATER)
    desk.take(resolved(sequence=2), HOUR_LATER)
    desk.taken(page, HOUR_LATER)

    assert [each.action for each in deliver(desk, HOUR_LATER)] == [Action.RESOLVE]
    assert not any(each.open for each in deliver(desk, HOUR_LATER + 61_000))


def test_the_end_of_what_may_have_arrived_is_told():
    desk = dispatch(MESSAGE)
    desk.take(open_since_an_hour(), HOUR_LATER)
    desk.failed(under_way(desk, HOUR_LATER), HOUR_LATER, luck=0)
    desk.take(resolved(sequence=2), HOUR_LATER)

    assert [each.action for each in deliver(desk, HOUR_LATER + 1000)] == [Action.RESOLVE]


def test_what_may_have_arrived_is_acknowledged_when_somebody_does():
    desk = dispatch(PAGER)
    desk.take(outage(), NOW)
    desk.failed(under_way(desk), NOW, luck=0)
    desk.take(outage(sequence=2, acknowledged=ACKNOWLEDGED), NOW)

    assert [each.action for each in deliver(desk, NOW + 1000)] == [Action.ACKNOWLEDGE]


def test_the_end_of_what_was_refused_is_not_told():
    desk = dispatch(MESSAGE)
    desk.take(open_since_an_hour(), HOUR_LATER)
    desk.refused(under_way(desk, HOUR_LATER)[0], HOUR_LATER)
    desk.take(resolved(sequence=2), HOUR_LATER)

    assert deliver(desk, HOUR_LATER) == []


def test_an_acknowledgement_that_comes_while_the_page_is_under_way_is_told():
    desk = dispatch(PAGER)
    desk.take(outage(), NOW)
    (page,) = under_way(desk)
    desk.take(outage(sequence=2, acknowledged=ACKNOWLEDGED), NOW)
    desk.taken(page, NOW)

    assert [each.action for each in deliver(desk)] == [Action.ACKNOWLEDGE]


def test_a_part_that_is_under_way_when_what_explains_it_ends_ends_with_it():
    desk = dispatch(STATE)
    carry(desk, outage("whole"))
    desk.take(outage("part", parent="whole"), NOW)
    (part,) = under_way(desk)
    desk.take(resolved("whole", sequence=2), NOW)
    desk.taken(part, NOW)

    assert [(each.alert.id, each.action) for each in deliver(desk)] == [
        ("part", Action.RESOLVE),
        ("whole", Action.RESOLVE),
    ]


def test_what_was_under_way_when_the_worker_was_killed_and_is_muted_by_now_is_not_repeated():
    desk = dispatch(STATE)
    desk.take(outage(), NOW)
    (intent,) = desk.begin(desk.due(NOW), NOW)
    again = dispatch(STATE, told={intent.incident: intent})
    again.take(outage(sequence=2, muted=MUTED), NOW)
    again.resume(NOW)

    assert again.due(NOW) == []


# --- refusals ---


def test_an_end_that_is_refused_is_not_followed_by_word_that_it_goes_on():
    desk = dispatch(STATE)
    carry(desk, outage())
    desk.take(resolved(sequence=2), NOW)
    desk.refused(desk.due(NOW)[0], NOW)

    assert desk.due(NOW + 61_000) == []


def test_what_was_refused_is_not_tried_again_but_what_comes_after_it_is():
    desk = dispatch(RECORD)
    desk.take(outage(), NOW)
    desk.refused(desk.due(NOW)[0], NOW)

    assert desk.due(NOW) == []
    assert carry(desk, outage(sequence=2)) == [Action.OPEN]


def test_a_record_that_comes_while_its_incident_is_being_told_goes_out_after_it():
    desk = dispatch(RECORD)
    desk.take(outage(), NOW)
    (under_way,) = desk.due(NOW)
    desk.take(resolved(sequence=2), NOW)
    desk.taken(under_way, NOW)

    assert [(each.action, each.alert.sequence) for each in deliver(desk)] == [(Action.RESOLVE, 2)]


def test_the_worst_goes_first():
    desk = dispatch(RECORD, routes=(Route(to=("oncall",)),))
    for severity in (Severity.INFO, Severity.CRITICAL, Severity.WARNING):
        desk.take(outage(severity.value, severity=severity), NOW)

    assert [each.alert.id for each in deliver(desk)] == ["critical", "warning", "info"]


# --- repetitions ---


def test_what_is_open_is_repeated_and_what_is_over_for_a_while_longer():
    desk = dispatch(STATE)
    carry(desk, outage())
    seen = []
    for minute in range(1, 12):
        if minute == 3:
            carry(desk, resolved(sequence=2), NOW + minute * 60_000)
        for each in deliver(desk, NOW + minute * 60_000):
            seen.append((minute, each.action.value, each.alert.state.value))

    assert seen == [
        (1, "repeat", "open"),
        (2, "repeat", "open"),
        (4, "repeat", "resolved"),
        (5, "repeat", "resolved"),
        (6, "repeat", "resolved"),
        (7, "repeat", "resolved"),
        (8, "repeat", "resolved"),
    ]


def test_nothing_waits_for_a_clock_that_went_back():
    desk = dispatch(STATE)
    carry(desk, outage())
    hour_before = NOW - 3_600_000

    assert [each.action for each in desk.due(hour_before)] == [Action.REPEAT]
    assert carry(desk, outage(sequence=2), hour_before) == [Action.UPDATE]


def test_a_wait_that_was_set_before_the_clock_went_back_is_over():
    desk = dispatch(RECORD)
    desk.take(outage(), NOW)
    desk.failed(desk.due(NOW), NOW, luck=0, asked_seconds=600)

    assert len(desk.due(NOW - 1)) == 1


# --- floods ---


def test_of_incidents_that_were_missed_only_so_many_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivery, "LAST_KEPT", 100)
    desk = dispatch(MESSAGE)
    for number in range(300):
        desk.take(resolved(f"incident-{number}"), NOW)

    assert desk.pending <= 100
    assert {each.alert.id for each in deliver(desk)} >= {f"incident-{number}" for number in range(250, 300)}


def test_what_is_remembered_from_before_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivery, "TOLD_KEPT", 100)
    desk = dispatch(MESSAGE)
    kept = {}
    for number in range(300):
        desk.take(resolved(f"incident-{number}"), NOW)
        kept |= {each.alert.id: desk.taken(each, NOW) for each in desk.due(NOW)}

    assert len(kept) == 300
    assert len(vars(dispatch(MESSAGE, told=kept))["_told"]) <= 100


# --- restarts ---


def told_of(desk: Dispatch, alert: Alert) -> Told:
    desk.take(alert, NOW)
    (delivery,) = desk.due(NOW)
    return desk.taken(delivery, NOW)


def test_a_restart_tells_nothing_twice_and_repeats_what_is_open():
    kept = told_of(dispatch(STATE), outage())
    again = dispatch(STATE, told={kept.incident: kept})
    again.take(outage(), NOW)
    again.resume(NOW)

    assert [each.action for each in again.due(NOW)] == [Action.REPEAT]


def test_what_was_under_way_when_the_worker_was_killed_is_told_again():
    desk = dispatch(MESSAGE)
    desk.take(outage(), NOW)
    intent = desk.due(NOW)[0].told(NOW, sure=False)
    again = dispatch(MESSAGE, told={intent.incident: intent})

    assert carry(again, outage()) == [Action.OPEN]


def test_what_was_under_way_when_the_worker_was_killed_and_is_over_by_now_is_resolved():
    desk = dispatch(MESSAGE)
    desk.take(outage(), NOW)
    intent = desk.due(NOW)[0].told(NOW, sure=False)
    again = dispatch(MESSAGE, told={intent.incident: intent})

    assert carry(again, resolved(sequence=2), NOW + 30 * 3_600_000) == [Action.RESOLVE]

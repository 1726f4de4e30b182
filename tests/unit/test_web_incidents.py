import tracemalloc

import pytest

from detectors.alert import Kind, Severity, State, Word, encode
from streams.web import incidents
from streams.web.incidents import IncidentView
from tests.made_alerts import course, outage, resolved, silence


def view_of(*alerts) -> IncidentView:
    view = IncidentView()
    for alert in alerts:
        view.apply(alert)
    return view


def test_opened_incident_is_open():
    view = view_of(outage())

    assert view.open == (outage(),)
    assert view.recent == ()


def test_update_takes_the_place_of_what_was_known():
    view = view_of(outage(sequence=1, observed=100), outage(sequence=2, observed=200))

    assert [a.observed for a in view.open] == [200]


def test_resolved_incident_moves_to_the_recent_ones():
    view = view_of(outage(), resolved())

    assert view.open == ()
    assert view.recent == (resolved(),)


def test_same_sequence_again_changes_nothing():
    view = view_of(outage(sequence=2))

    changed = view.apply(outage(sequence=2))

    assert not changed
    assert view.version == 1


def test_older_sequence_does_not_reopen_a_resolved_incident():
    view = view_of(resolved(sequence=3))

    changed = view.apply(outage(sequence=2, state=State.UPDATE))

    assert not changed
    assert view.open == ()


def test_incident_that_came_back_is_open_again():
    view = view_of(resolved(sequence=3), outage(sequence=4, episode=2))

    assert [a.episode for a in view.open] == [2]
    assert view.recent == ()


def test_compacted_topic_gives_the_same_view_as_the_whole_one():
    whole = view_of(outage("a"), outage("b"), outage("a", sequence=2), resolved("b", sequence=2))
    compacted = view_of(outage("a", sequence=2), resolved("b", sequence=2))

    assert (whole.open, whole.recent) == (compacted.open, compacted.recent)


def test_worst_comes_first_by_severity_then_ratio_then_evidence():
    view = view_of(
        outage("warning", severity=Severity.WARNING, ratio=90.0),
        outage("mild", severity=Severity.ERROR, ratio=3.0),
        outage("sure", severity=Severity.ERROR, ratio=5.0, evidence=9.0),
        outage("less sure", severity=Severity.ERROR, ratio=5.0, evidence=4.0),
        outage("nothing usual", severity=Severity.ERROR, ratio=None),
        outage("critical", severity=Severity.CRITICAL, ratio=2.0),
    )

    assert [a.id for a in view.open] == ["critical", "nothing usual", "sure", "less sure", "mild", "warning"]


def test_regions_of_a_service_are_together_however_it_is_spelled():
    view = view_of(
        outage("1", service="WhatsApp", region="it/lazio", ratio=3.0),
        outage("2", service="TIM", region="it", ratio=4.0),
        outage("3", service="whatsapp", region="it/lombardia", ratio=9.0),
    )

    groups = view.groups()

    assert [(group.name, [a.region for a in group.incidents]) for group in groups] == [
        ("whatsapp", ["it/lombardia", "it/lazio"]),
        ("TIM", ["it"]),
    ]
    assert groups[0].worst.region == "it/lombardia"


def test_all_services_together_and_each_silent_feed_are_groups_of_their_own():
    view = view_of(
        outage("1", ratio=9.0),
        outage("2", kind=Kind.REGION, service=None, region="it/lazio", ratio=8.0),
        outage("3", kind=Kind.GLOBAL, service=None, region=None, ratio=7.0),
        silence("4"),
        silence("5", sources=["calls"]),
    )

    assert [(group.name, [a.id for a in group.incidents]) for group in view.groups()] == [
        ("WhatsApp", ["1"]),
        ("All services", ["2", "3"]),
        ("Feed outage-site", ["4"]),
        ("Feed calls", ["5"]),
    ]


def test_what_an_incident_explains_is_with_it_whatever_its_service():
    view = view_of(
        outage("part", service="TIM", parent="wide", ratio=90.0),
        outage("part of part", parent="part"),
        outage("wide", kind=Kind.GLOBAL, service=None, region=None, ratio=2.0),
    )

    (group,) = view.groups()

    assert group.worst.id == "wide"
    assert {id: [a.id for a in parts] for id, parts in group.parts.items()} == {"wide": ["part", "part of part"]}


@pytest.mark.parametrize("parent", ["gone", "1", "2"])
def test_part_of_what_is_not_there_is_shown_by_itself(parent):
    view = view_of(outage("1", parent=parent), outage("2", parent="1" if parent == "2" else None))

    assert {a.id for group in view.groups() for a in group.incidents} == {"1", "2"}


def test_what_another_incident_explains_comes_after_all_that_none_does():
    view = view_of(outage("part", parent="mild"), outage("mild", severity=Severity.INFO, ratio=1.1))

    assert [a.id for a in view.open] == ["mild", "part"]


def test_last_resolved_comes_first():
    view = view_of(
        resolved("noon", resolved_at="2022-10-25T12:00:00Z"),
        resolved("evening", resolved_at="2022-10-25T18:00:00Z"),
        resolved("morning", resolved_at="2022-10-25T06:00:00Z"),
    )

    assert [a.id for a in view.recent] == ["evening", "noon", "morning"]


def test_no_more_than_the_last_resolved_are_kept():
    view = view_of(*(resolved(f"{i}") for i in range(250)))

    assert len(view.recent) == 200
    assert {a.id for a in view.recent} == {f"{i}" for i in range(50, 250)}


def test_flood_of_open_incidents_shows_the_worst(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incidents, "OPEN_SHOWN", 3)
    monkeypatch.setattr(incidents, "_OPEN_KEPT", 5)

    view = view_of(*(outage(f"{i}", ratio=float(i)) for i in range(10)))

    assert [a.id for a in view.open] == ["9", "8", "7"]
    assert view.open_count <= 5


def test_memory_of_ids_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incidents, "_IDS_KEPT", 10)

    view = view_of(*(resolved(f"{i}") for i in range(100)))

    assert len(view._sequences) == 10


def test_flood_of_long_records_and_courses_stays_within_bounds(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incidents, "OPEN_BYTES", 1_000_000)
    monkeypatch.setattr(incidents, "PAST_BYTES", 500_000)
    monkeypatch.setattr(incidents, "TRAILS_KEPT", 50)
    view = IncidentView()
    tracemalloc.start()

    for i in range(1_000):
        view.apply(outage(f"{i}", summary=f"{i}" * 4_000, ratio=float(i), course=course([i] * 480)))
        view.apply(resolved(f"over {i}", summary=f"{i}" * 4_000, course=course([i] * 480)))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # All of it would be 20 MB of text and 30 MB of counts.
    assert taken < 5_000_000
    assert view.open[0].id == "999"
    assert view.past[0].id == "over 999"


def test_trails_of_what_is_over_go_before_those_of_what_is_open(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incidents, "TRAILS_KEPT", 10)
    view = view_of(outage("open", ratio=1.5), *(resolved(f"{i}") for i in range(100)))

    assert view.trail("open").steps
    assert not view.trail("0").steps


def test_what_went_over_goes_from_the_open_bytes_to_those_of_the_past():
    view = view_of(outage("1"), resolved("1"), outage("1", sequence=10, episode=2), resolved("1", sequence=11))

    assert view._open_bytes == 0
    assert view._past_bytes == len(encode(resolved("1", sequence=11)))


def test_last_records_are_found_by_id_and_their_parts_with_them():
    view = view_of(outage("wide"), outage("1", parent="wide"), resolved("2", parent="wide"), outage("3"))

    assert view.get("2") == resolved("2", parent="wide")
    assert view.get("nope") is None
    assert [alert.id for alert in view.parts("wide")] == ["1", "2"]


def test_answered_commands_are_known_by_their_id_and_told_to_who_listens(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(incidents, "ANSWERS_KEPT", 2)
    view, heard = IncidentView(), []
    view.listen(lambda alert: heard.append(alert.id))

    view.apply(outage("quiet"))
    for i in range(3):
        word = Word(id=f"c{i}", action="ack", by="maria", reason="", at="2022-10-25T12:00:00Z")
        view.apply(outage(f"{i}", word=word))

    assert [view.answered(f"c{i}") for i in range(3)] == [None, "1", "2"]
    assert heard == ["0", "1", "2"]

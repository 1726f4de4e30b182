"""The trail of an incident: its joined counts and its timeline, in bounded memory."""

import pytest
from msgspec.structs import replace

from detectors.alert import Acknowledged, Alert, Course, Kind, Muted, Resolution, Severity, State, Word, utc
from streams.web.trail import MOST_BUCKETS, MOST_STEPS, Change, Trail, followed
from tests.made_alerts import NOON, course, outage, resolved

_NOON_MS = int(NOON) * 1000


def trail_of(*alerts: Alert) -> Trail:
    trail, before = Trail(), None
    for alert in alerts:
        trail, before = followed(trail, before, alert), alert
    return trail


def course_to(end_ms: int, observed: list[int], bucket_seconds: int = 60) -> Course:
    return replace(course(observed), end=utc(end_ms), bucket_seconds=bucket_seconds)


def minutes(first: int, last: int) -> list[int]:
    """Counts of the minutes of a day from `first` on, each its number."""
    return list(range(first, last))


def counted(trail: Trail) -> list[int]:
    assert trail.counts is not None
    return trail.counts.course().observed


def changes(trail: Trail) -> list[Change]:
    return [step.what for step in trail.steps]


# Counts


def test_counts_of_one_record_are_its_course():
    trail = trail_of(outage(course=course([9, -1, 200])))

    assert trail.counts is not None
    assert trail.counts.course() == course([9, -1, 200])


def test_counts_go_on_where_those_of_the_record_before_ended():
    trail = trail_of(
        outage(course=course_to(_NOON_MS, minutes(660, 720))),
        outage(sequence=2, course=course_to(_NOON_MS + 30 * 60_000, minutes(690, 750))),
    )

    assert counted(trail) == minutes(660, 750)


def test_time_between_two_records_that_neither_has_is_missing():
    trail = trail_of(
        outage(course=course_to(_NOON_MS, [1, 2])),
        outage(sequence=2, course=course_to(_NOON_MS + 4 * 60_000, [5, 6])),
    )

    assert counted(trail) == [1, 2, -1, -1, 5, 6]


def test_what_lies_more_than_an_hour_before_the_onset_goes():
    trail = trail_of(outage(started_at="2022-10-25T11:58:00Z", course=course_to(_NOON_MS, minutes(600, 720))))

    assert counted(trail) == minutes(658, 720)


def test_counts_of_another_feed_take_the_place_of_those_before():
    trail = trail_of(
        outage(course=course_to(_NOON_MS, [1, 2, 3, 4])),
        outage(sequence=2, course=course_to(_NOON_MS + 60_000, [70, 80, 90, 95])),
    )

    assert counted(trail) == [70, 80, 90, 95]


def test_counts_begin_anew_where_the_incident_grows():
    trail = trail_of(
        outage(course=course_to(_NOON_MS, [1, 2, 3, 4])),
        outage(sequence=2, kind=Kind.SERVICE, region=None, course=course_to(_NOON_MS + 60_000, [3, 4])),
    )

    assert counted(trail) == [3, 4]


def test_record_without_a_course_keeps_the_counts():
    trail = trail_of(outage(course=course([9, 10])), resolved())

    assert counted(trail) == [9, 10]


@pytest.mark.parametrize("hours", [9, 26, 100])
def test_counts_become_coarser_before_they_become_many_and_lose_none(hours):
    start = _NOON_MS
    alerts = [
        outage(sequence=i, started_at=utc(start), course=course_to(start + i * 1_800_000, [1] * 60))
        for i in range(2, 2 * hours + 1)
    ]

    trail = trail_of(*alerts)

    assert trail.counts is not None
    assert len(trail.counts) <= MOST_BUCKETS
    steps = trail.counts.bucket_ms // 60_000
    assert set(counted(trail)) == {steps}
    assert trail.counts.begin == start
    assert start + hours * 3_600_000 - trail.counts.end < trail.counts.bucket_ms


@pytest.mark.parametrize(
    "odd",
    [
        course([]),
        replace(course([1, 2]), bucket_seconds=0),
        replace(course([1, 2]), bucket_seconds=10**9),
        replace(course([1, 2]), end="soon"),
        replace(course([1, 2]), end="2022-10-25T12:00:00"),
        replace(course([1, 2]), end="1970-01-01T00:00:01Z"),
        replace(course([1, 2]), low=[]),
        replace(course([1, 2]), observed=[1, 10**400]),
    ],
)
def test_course_that_cannot_be_drawn_is_left_out(odd):
    assert trail_of(outage(course=odd)).counts is None


def test_course_of_any_length_is_cut_to_its_last_buckets():
    trail = trail_of(outage(started_at="2022-10-25T00:00:00Z", course=course([1] * 50_000)))

    assert len(counted(trail)) == MOST_BUCKETS


# Timeline


def test_first_record_opens_it_at_its_detection():
    (step,) = trail_of(outage(severity=Severity.WARNING)).steps

    assert (step.what, step.at, step.to) == (Change.OPENED, "2022-10-25T11:49:00Z", "warning")


def test_record_that_only_counts_on_is_no_step():
    trail = trail_of(outage(), outage(sequence=2, observed=9000, evidence=30.0))

    assert changes(trail) == [Change.OPENED]


def test_what_changes_is_told_in_the_order_of_the_records():
    word = Word(id="c1", action="ack", by="maria", reason="calling", at="2022-10-25T12:00:00Z")
    taken = Acknowledged(by="maria", reason="calling", at=word.at)

    trail = trail_of(
        outage(severity=Severity.WARNING),
        outage(sequence=2, severity=Severity.ERROR),
        outage(sequence=3, severity=Severity.ERROR, kind=Kind.SERVICE, region=None),
        outage(sequence=4, severity=Severity.ERROR, kind=Kind.SERVICE, region=None, acknowledged=taken, word=word),
        outage(sequence=5, severity=Severity.ERROR, kind=Kind.SERVICE, region=None, acknowledged=taken, stale=True),
        resolved(sequence=6, severity=Severity.ERROR, kind=Kind.SERVICE, region=None, acknowledged=taken),
        outage(sequence=7, episode=2, severity=Severity.ERROR, kind=Kind.SERVICE, region=None),
    )

    assert changes(trail) == [
        Change.OPENED,
        Change.SEVERITY,
        Change.SPAN,
        Change.ACKNOWLEDGED,
        Change.STALE,
        Change.HEARD,
        Change.RESOLVED,
        Change.REOPENED,
    ]
    assert (trail.steps[3].by, trail.steps[3].reason, trail.steps[3].command) == ("maria", "calling", "c1")


def test_mute_that_ends_by_itself_is_nobodys_word():
    muted = Muted(by="joe", reason="known", since="2022-10-25T12:00:00Z", until="2022-10-25T12:30:00Z")
    word = Word(id="c2", action="unmute", by="maria", reason="", at="2022-10-25T12:10:00Z")

    by_itself = trail_of(outage(muted=muted), outage(sequence=2)).steps[-1]
    taken_back = trail_of(outage(muted=muted), outage(sequence=2, word=word)).steps[-1]

    assert (by_itself.what, by_itself.by) == (Change.UNMUTED, "")
    assert (taken_back.by, taken_back.command) == ("maria", "c2")


def test_end_by_hand_names_who_and_why():
    word = Word(id="c3", action="false-alarm", by="joe", reason="a test", at="2022-10-25T12:10:00Z")

    step = trail_of(outage(), resolved(resolution=Resolution.FALSE_ALARM, word=word)).steps[-1]

    assert (step.what, step.to, step.by, step.reason) == (Change.RESOLVED, "false alarm", "joe", "a test")


def test_parent_and_maintenance_come_and_go():
    trail = trail_of(outage(), outage(sequence=2, parent="wide", maintenance="works"), outage(sequence=3))

    assert changes(trail) == [Change.OPENED, Change.EXPLAINED, Change.PLANNED, Change.ALONE, Change.UNPLANNED]


def test_record_that_was_resolved_before_anybody_looked_is_opened_and_resolved():
    assert changes(trail_of(resolved())) == [Change.OPENED, Change.RESOLVED]


def test_long_timeline_keeps_its_first_and_last_steps_and_says_how_many_are_gone():
    alerts = [outage(sequence=i, severity=list(Severity)[i % 4], updated_at=utc(_NOON_MS + i)) for i in range(1, 201)]

    trail = trail_of(*alerts)

    assert len(trail.steps) == MOST_STEPS
    assert trail.forgotten == 200 - MOST_STEPS
    assert trail.steps[0].what is Change.OPENED
    assert trail.steps[-1].at == utc(_NOON_MS + 200)


def test_words_of_people_are_cut():
    taken = Acknowledged(by="m" * 5000, reason="r" * 5000, at="2022-10-25T12:00:00Z")

    step = trail_of(outage(), outage(sequence=2, acknowledged=taken, state=State.UPDATE)).steps[-1]

    assert len(step.by) == len(step.reason) == 200

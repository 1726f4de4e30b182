"""Trail: what passed by of one incident: its counts from an hour before the onset on, and its timeline.

A record has the last hour of counts alone; here they are joined, record after record. Memory is bounded: counts become
coarser before they become many, and of a long timeline the middle is forgotten.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from detectors.alert import Acknowledged, Alert, Course, Muted, Resolution, State, Time, Word, millis, place, utc
from streams.console import shortened

#: Buckets of a trail; where there would be more, two become one.
MOST_BUCKETS = 480
#: How long before the onset it begins.
BEFORE_MS = 3_600_000
#: Steps of a timeline: the first, and the latest.
MOST_STEPS = 40
#: A person's words in a step are cut to so many characters.
MOST_SAID = 200
#: A bucket beyond this is no bucket of ours: records are not trusted with our memory.
_MOST_BUCKET_SECONDS = 86_400
_LARGEST = 1e12


class Change(enum.StrEnum):
    """What happened to an incident."""

    OPENED = "opened"
    REOPENED = "reopened"
    SEVERITY = "severity"
    SPAN = "span"
    EXPLAINED = "explained"
    ALONE = "alone"
    ACKNOWLEDGED = "acknowledged"
    MUTED = "muted"
    UNMUTED = "unmuted"
    PLANNED = "planned"
    UNPLANNED = "unplanned"
    STALE = "stale"
    HEARD = "heard"
    RESOLVED = "resolved"


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an incident's timeline."""

    at: Annotated[Time, Meta(description="event time of the decision")]
    what: Annotated[
        Change,
        Meta(
            description="opened, reopened: the first record, the next episode; severity, span: it became as `to` says;"
            " explained: incident `to` explains it; alone: none does any more; acknowledged, muted, unmuted: somebody"
            " said so; planned, unplanned: within maintenance `to`; stale, heard: its feeds fell silent, are back;"
            " resolved: its end, `to` says how"
        ),
    ]
    to: Annotated[str, Meta(description="what it became: a severity, kind, incident id, end of a mute, or nothing")] = (
        ""
    )
    by: Annotated[str, Meta(description="who said it; empty: nobody, it was detected")] = ""
    reason: Annotated[str, Meta(description="why, in their words")] = ""
    command: Annotated[str | None, Meta(description="id of the command that it answers")] = None


class Counts(msgspec.Struct, frozen=True):
    """A course in arrays: 32 bytes a bucket. begin: ms since 1970. -1 observed: missing."""

    begin: int
    bucket_ms: int
    observed: array[float]
    expected: array[float]
    low: array[float]
    high: array[float]

    @property
    def end(self) -> int:
        """Where it ends, ms since 1970."""
        return self.begin + len(self.observed) * self.bucket_ms

    def course(self) -> Course:
        """As alerts have it."""
        return Course(
            bucket_seconds=max(self.bucket_ms // 1000, 1),
            end=utc(self.end),
            observed=[int(count) for count in self.observed],
            expected=[float(f"{value:.6g}") for value in self.expected],
            low=[float(f"{value:.6g}") for value in self.low],
            high=[float(f"{value:.6g}") for value in self.high],
        )


class Trail(msgspec.Struct, frozen=True):
    """What is kept of one incident beyond its last record. forgotten: steps left out after the first one."""

    steps: tuple[Step, ...] = ()
    forgotten: int = 0
    counts: Counts | None = None


def followed(trail: Trail, before: Alert | None, alert: Alert) -> Trail:
    """The trail after one more record. before: the record before it, as far as it is known."""
    steps = (*trail.steps, *_steps(before, alert))
    surplus = max(len(steps) - MOST_STEPS, 0)
    moved = before is not None and place(before) != place(alert)
    return Trail(
        steps=(steps[0], *steps[1 + surplus :]) if surplus else steps,
        forgotten=trail.forgotten + surplus,
        # The counts of another series do not go on where those of this one end.
        counts=_joined(None if moved else trail.counts, alert),
    )


def _steps(before: Alert | None, alert: Alert) -> Iterator[Step]:
    """What the record says that the one before did not."""
    if before is None:
        yield Step(at=alert.detected_at, what=Change.OPENED, to=alert.severity.value)
    elif before.episode != alert.episode:
        yield _step(alert, Change.REOPENED, alert.severity.value)
    elif before.severity is not alert.severity:
        yield _step(alert, Change.SEVERITY, alert.severity.value)
    if before is not None and place(before) != place(alert):
        yield _step(alert, Change.SPAN, alert.kind.value)
    parent = before.parent if before is not None else None
    if alert.parent != parent:
        yield _step(alert, Change.ALONE) if alert.parent is None else _step(alert, Change.EXPLAINED, alert.parent)
    yield from _said(before, alert)
    planned = before.maintenance if before is not None else None
    if alert.maintenance != planned:
        yield (
            _step(alert, Change.UNPLANNED)
            if alert.maintenance is None
            else _step(alert, Change.PLANNED, alert.maintenance)
        )
    if alert.stale != (before is not None and before.stale):
        yield _step(alert, Change.STALE if alert.stale else Change.HEARD)
    if alert.state is State.RESOLVED and (before is None or before.state is not State.RESOLVED):
        how = "" if alert.resolution is None else alert.resolution.value
        by_hand = alert.resolution in (Resolution.BY_HAND, Resolution.FALSE_ALARM)
        yield _step(alert, Change.RESOLVED, how, alert.word if by_hand else None)


def _said(before: Alert | None, alert: Alert) -> Iterator[Step]:
    """What people newly said of it, their end of an incident aside."""
    word, taken, muted = alert.word, alert.acknowledged, alert.muted
    command = word.id if word is not None else None
    if taken is not None and (before is None or before.acknowledged != taken):
        answered = command if word is not None and word.action == "ack" else None
        yield _step(alert, Change.ACKNOWLEDGED, "", taken, answered)
    if muted is not None and (before is None or before.muted != muted):
        answered = command if word is not None and word.action == "mute" else None
        yield _step(alert, Change.MUTED, muted.until or "", muted, answered)
    elif muted is None and before is not None and before.muted is not None:
        yield _step(alert, Change.UNMUTED, "", word if word is not None and word.action == "unmute" else None)


def _step(
    alert: Alert,
    what: Change,
    to: str = "",
    who: Word | Acknowledged | Muted | None = None,
    command: str | None = None,
) -> Step:
    """who: what a person said that led to it."""
    return Step(
        at=alert.updated_at,
        what=what,
        to=shortened(to, MOST_SAID),
        by=shortened(who.by, MOST_SAID) if who is not None else "",
        reason=shortened(who.reason, MOST_SAID) if who is not None else "",
        command=who.id if isinstance(who, Word) else command,
    )


def _joined(counts: Counts | None, alert: Alert) -> Counts | None:
    """The counts so far with those of one more record, without what lies far before the onset."""
    told = _told(alert.course)
    if told is None:
        return counts
    joined = told if counts is None else _on(counts, told)
    started = _millis(alert.started_at)
    if started is not None:
        joined = _from(joined, started - BEFORE_MS)
    while len(joined.observed) > MOST_BUCKETS:
        joined = _coarser(joined, 2)
    return joined


def _told(course: Course | None) -> Counts | None:
    """The course of a record; None where it has none that could be drawn."""
    if course is None or not 0 < course.bucket_seconds <= _MOST_BUCKET_SECONDS:
        return None
    columns = (course.observed, course.expected, course.low, course.high)
    length, end = min(len(column) for column in columns), _millis(course.end)
    if end is None or not length:
        return None
    length = min(length, MOST_BUCKETS)
    bucket_ms = course.bucket_seconds * 1000
    begin = end - length * bucket_ms
    return None if begin < 0 else Counts(begin, bucket_ms, *(_numbers(column[-length:]) for column in columns))


def _on(counts: Counts, told: Counts) -> Counts:
    """`counts` going on with `told`; `told` alone where it is of another series, as when another feed shows more."""
    steps = counts.bucket_ms // told.bucket_ms
    if counts.bucket_ms % told.bucket_ms:
        return told
    if steps > 1:
        whole = _whole(told, counts.bucket_ms)
        if whole is None:
            return counts
        told = _coarser(whole, steps)
    gap = (told.begin - counts.end) // told.bucket_ms
    if (told.begin - counts.begin) % told.bucket_ms or told.begin < counts.begin or gap > MOST_BUCKETS:
        return told
    kept = min((told.begin - counts.begin) // told.bucket_ms, len(counts.observed))
    again = counts.observed[kept:]
    # Closed buckets do not change: counts that differ are another's.
    if sum(old != new for old, new in zip(again, told.observed, strict=False)) > len(again) // 4:
        return told
    missing, nothing = array("d", [-1.0] * max(gap, 0)), array("d", [0.0] * max(gap, 0))
    return Counts(
        counts.begin,
        counts.bucket_ms,
        counts.observed[:kept] + missing + told.observed,
        counts.expected[:kept] + nothing + told.expected,
        counts.low[:kept] + nothing + told.low,
        counts.high[:kept] + nothing + told.high,
    )


def _from(counts: Counts, begin: int) -> Counts:
    """Without the buckets before `begin`, but with one at least."""
    left_out = min(max((begin - counts.begin) // counts.bucket_ms, 0), len(counts.observed) - 1)
    if not left_out:
        return counts
    columns = (counts.observed, counts.expected, counts.low, counts.high)
    return Counts(
        counts.begin + left_out * counts.bucket_ms, counts.bucket_ms, *(column[left_out:] for column in columns)
    )


def _whole(counts: Counts, bucket_ms: int) -> Counts | None:
    """From the first whole bucket of `bucket_ms` on; None where there is none. Coarse buckets begin at multiples."""
    first = -(-counts.begin // bucket_ms) * bucket_ms
    if first + bucket_ms > counts.end:
        return None
    return _from(counts, first)


def _coarser(counts: Counts, steps: int) -> Counts:
    """With `steps` buckets as one; those that are not whole, at both ends, wait or go."""
    bucket_ms = counts.bucket_ms * steps
    counts = _whole(counts, bucket_ms) or counts
    whole = range(0, len(counts.observed) - steps + 1, steps)
    return Counts(
        counts.begin,
        bucket_ms,
        array("d", [-1.0 if min(part) < 0 else sum(part) for part in (counts.observed[i : i + steps] for i in whole)]),
        *(
            array("d", [sum(column[i : i + steps]) for i in whole])
            for column in (counts.expected, counts.low, counts.high)
        ),
    )


def _numbers(values: Sequence[float]) -> array[float]:
    return array("d", [min(max(float(value), -1.0), _LARGEST) for value in values])


def _millis(time: str) -> int | None:
    try:
        return millis(time)
    except (ValueError, TypeError, OverflowError):  # TypeError: a time without a zone
        return None

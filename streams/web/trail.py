"""Trail: what passed by of one incident: its counts from an hour before the onset on, and its timeline.

A record has the last hour of counts alone; here they are joined, record after record. Memory is bounded: counts become
coarser before they become many, and of a long timeline the middle is forgotten.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from detectors.alert import (
    Acknowledged,
    Alert,
    Course,
    Muted,
    Resolution,
    State,
    Time,
    Word,
    millis,
    place,
    six_digits,
    utc,
)
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

Table = npt.NDArray[np.float64]


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


class Counts(msgspec.Struct, frozen=True, eq=False):
    """A course as a table: a column a bucket, rows observed (-1: missing), expected, low, high. begin: ms."""

    begin: int
    bucket_ms: int
    table: Table

    def __len__(self) -> int:
        return int(self.table.shape[1])

    @property
    def end(self) -> int:
        """Where it ends, ms since 1970."""
        return self.begin + len(self) * self.bucket_ms

    def course(self) -> Course:
        """As alerts have it."""
        observed, expected, low, high = self.table.tolist()
        return Course(
            bucket_seconds=max(self.bucket_ms // 1000, 1),
            end=utc(self.end),
            observed=[int(count) for count in observed],
            expected=[six_digits(value) for value in expected],
            low=[six_digits(value) for value in low],
            high=[six_digits(value) for value in high],
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
    while len(joined) > MOST_BUCKETS:
        joined = _coarser(joined, 2)
    return joined


def _told(course: Course | None) -> Counts | None:
    """The course of a record; None where it has none that could be drawn."""
    if course is None or not 0 < course.bucket_seconds <= _MOST_BUCKET_SECONDS:
        return None
    columns = (course.observed, course.expected, course.low, course.high)
    length, end = min(MOST_BUCKETS, *(len(column) for column in columns)), _millis(course.end)
    if end is None or not length:
        return None
    bucket_ms = course.bucket_seconds * 1000
    begin = end - length * bucket_ms
    try:
        table = np.array([column[-length:] for column in columns], dtype=np.float64)
    except OverflowError:  # JSON has whole numbers of any length
        return None
    return None if begin < 0 else Counts(begin, bucket_ms, np.clip(table, -1.0, _LARGEST))


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
    kept = min((told.begin - counts.begin) // told.bucket_ms, len(counts))
    again = counts.table[0, kept : kept + len(told)]
    # Closed buckets do not change: counts that differ are another's.
    if np.count_nonzero(again != told.table[0, : len(again)]) > len(again) // 4:
        return told
    missing = np.zeros((4, max(gap, 0)))
    missing[0] = -1.0
    return Counts(counts.begin, counts.bucket_ms, np.hstack((counts.table[:, :kept], missing, told.table)))


def _from(counts: Counts, begin: int) -> Counts:
    """Without the buckets before `begin`, but with one at least."""
    left_out = min(max((begin - counts.begin) // counts.bucket_ms, 0), len(counts) - 1)
    if not left_out:
        return counts
    # A copy: a view would keep the whole table.
    return Counts(counts.begin + left_out * counts.bucket_ms, counts.bucket_ms, counts.table[:, left_out:].copy())


def _whole(counts: Counts, bucket_ms: int) -> Counts | None:
    """From the first whole bucket of `bucket_ms` on; None where there is none. Coarse buckets begin at multiples."""
    first = -(-counts.begin // bucket_ms) * bucket_ms
    return None if first + bucket_ms > counts.end else _from(counts, first)


def _coarser(counts: Counts, steps: int) -> Counts:
    """With `steps` buckets as one; those that are not whole, at both ends, wait or go. One part missing: all of it."""
    bucket_ms = counts.bucket_ms * steps
    counts = _whole(counts, bucket_ms) or counts
    parts = counts.table[:, : len(counts) // steps * steps].reshape(4, -1, steps)
    table = parts.sum(axis=2)
    table[0, (parts[0] < 0).any(axis=1)] = -1.0
    return Counts(counts.begin, bucket_ms, table)


def _millis(time: str) -> int | None:
    try:
        return millis(time)
    except (ValueError, TypeError, OverflowError):  # TypeError: a time without a zone
        return None

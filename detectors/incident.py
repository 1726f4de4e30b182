"""Incidents: surges of a service in a region become open, update, resolved.

A *place* is a service in a region. All sources that report on it are judged together: log-likelihood ratios add up, so
the evidence of a place is the sum of its sources' positive evidences. An *episode* is the time from open to resolved;
when the place surges again soon after, the same incident has its next episode.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from heapq import heappop, heappush
from typing import Annotated, Self

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from detectors.alert import PAGING, Alert, Course, Severity, State, summary, utc
from detectors.budget import PageLog
from detectors.series import Names
from detectors.snapshot import Mismatch, check_version
from detectors.source import SourceRule
from detectors.surges import SurgeRecord, SurgeRow

#: Incidents open at once: more than anybody reads, and little enough to keep in memory with their last hour.
MAX_OPEN = 10_000
#: Closed buckets of a source that are kept, and how far back an onset may lie: what `Recent` carries.
BUCKETS = 60
#: Where a detector is infinitely sure: JSON has no infinity.
MOST_EVIDENCE = 1e6
#: An excess that doubled from less than so many reports is no news.
DOUBLES_FROM = 10.0

STATE_VERSION = 2
KIND = "series"
#: Ticks in a bucket at most (SourceRule.ticks).
_TICKS = 6
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class IncidentRule(msgspec.Struct, frozen=True, kw_only=True):
    """When surges become an incident, how bad it is, and when it is over.

    ValueError where close_at is not below open_at: the incident would open and calm at once.
    """

    alert_budget: Annotated[
        float,
        Meta(
            gt=0,
            le=10_000,
            description="pages (errors and criticals) a week that are bearable, over all services and regions;"
            " `groundswell tune` finds the open_at that keeps it",
        ),
    ] = 2.0
    open_at: Annotated[float, Meta(gt=0, description="evidence that opens an incident, log10 series-weeks")] = 2.0
    close_at: Annotated[
        float, Meta(gt=0, description="evidence below which an incident is calm, log10 series-weeks; below open_at")
    ] = 0.5
    close_after_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long an incident has to be calm to be resolved, seconds")
    ] = 300.0
    reopen_seconds: Annotated[
        float, Meta(ge=0, le=604_800, description="how long after that a surge is the same incident's, seconds")
    ] = 3600.0
    update_seconds: Annotated[
        float, Meta(ge=10, le=86_400, description="an open incident is reported at least so often, seconds")
    ] = 300.0
    warning_ratio: Annotated[
        float, Meta(ge=1, description="observed / expected below which an incident is no more than info")
    ] = 1.2
    error_ratio: Annotated[
        float, Meta(ge=1, description="observed / expected below which an incident is no more than a warning")
    ] = 1.5
    error_excess: Annotated[float, Meta(ge=0, description="reports beyond the usual that an error has at least")] = 20.0
    error_after_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long a small outage has to last to be an error, seconds")
    ] = 600.0
    critical_per_minute: Annotated[
        float,
        Meta(gt=0, description="reports a minute beyond the usual that are an error at once, later critical"),
    ] = 20.0
    critical_after_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long critical_per_minute has to last to be critical, seconds")
    ] = 300.0
    critical_excess: Annotated[
        float, Meta(gt=0, description="reports beyond the usual that are critical however long they took")
    ] = 1000.0

    def __post_init__(self) -> None:
        if not self.close_at < self.open_at:
            raise ValueError(f"close_at={self.close_at} is not below open_at={self.open_at}; give less, such as 0.5")


def severity(rule: IncidentRule, *, observed: int, expected: float, seconds: float) -> Severity:
    """How bad an outage is that brought `observed` reports instead of `expected` in `seconds`.

    Two reports a minute more than usual that last are an error, over in minutes they are a warning; a steep outage is
    an error at once and critical when it lasts or grows big. Where there are many reports anyway, a small part more
    is significant but not bad: the ratios see to that.

    >>> rule = IncidentRule()
    >>> [severity(rule, observed=3 * m, expected=m, seconds=60 * m).value for m in (5, 30)]
    ['warning', 'error']
    >>> [severity(rule, observed=30 * m, expected=m, seconds=60 * m).value for m in (1, 5)]
    ['error', 'critical']
    >>> severity(rule, observed=11_000, expected=10_000, seconds=300).value
    'info'
    """
    excess = observed - expected
    steep = excess * 60 >= rule.critical_per_minute * seconds
    if observed < rule.warning_ratio * expected:
        return Severity.INFO
    if observed < rule.error_ratio * expected or excess < rule.error_excess:
        return Severity.WARNING
    if excess >= rule.critical_excess or (steep and seconds >= rule.critical_after_seconds):
        return Severity.CRITICAL
    if steep or seconds >= rule.error_after_seconds:
        return Severity.ERROR
    return Severity.WARNING


def six_digits(value: float) -> float:
    """`value` with six significant digits, as all floats in alerts are.

    >>> six_digits(4.23456789), six_digits(12345678.9)
    (4.23457, 12345700.0)
    """
    return float(f"{value:.6g}")


def incident_id(service: str, region: str, at: int) -> str:
    """The id of the incident that opens at the tick `at` (ms): the same whenever the same reports are judged.

    >>> incident_id("whatsapp", "it/lazio", 1_666_681_444_000)
    '9e847e169e681493'
    """
    return blake2b(msgspec.json.encode((KIND, service, region, at)), digest_size=8).hexdigest()


# What the judge remembers


class Bucket(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Reports of a source on a place in a bucket or in the part of it seen so far. observed: -1 where missing."""

    start: int
    observed: int
    expected: float
    low: float
    high: float


class Sums(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Reports of several buckets. down, up: squares of the distances from expected to the ends of its 95 % interval.

    The squares add up over buckets, as variances do: a sum's interval reaches sqrt(down) below and sqrt(up) above. Of
    one bucket that is the bucket's own interval, skewed as it is. Buckets are taken as independent, so where the
    expectation as a whole is off (a holiday), the interval of a long sum is too narrow.
    """

    observed: int = 0
    expected: float = 0.0
    down: float = 0.0
    up: float = 0.0

    def plus(self, buckets: Iterable[Bucket]) -> Sums:
        """With these buckets added, missing ones left out."""
        observed, expected, down, up = self.observed, self.expected, self.down, self.up
        for bucket in buckets:
            if bucket.observed >= 0:
                observed += bucket.observed
                expected += bucket.expected
                down += (bucket.expected - bucket.low) ** 2
                up += (bucket.high - bucket.expected) ** 2
        return Sums(observed, expected, down, up)

    def also(self, other: Sums) -> Sums:
        """With those of another source added."""
        return Sums(
            self.observed + other.observed, self.expected + other.expected, self.down + other.down, self.up + other.up
        )


class Feed(msgspec.Struct, frozen=True, array_like=True):
    """One source's view of a place.

    evidence, onset (0: none), start, warming: of its latest row.
    until: event time that the row covers, see `_until`. lapses: when it is outdated, see `_lapses`; both in ms.
    bucket_ms: length of its buckets, told with `recent`; 0 as long as it is not known.
    buckets: the last closed ones, oldest first, at most BUCKETS. part: the open one so far.
    before: the sums of the episode's buckets that have left `buckets`.
    """

    source: str
    names: Names
    evidence: float
    onset: int
    start: int
    until: int
    lapses: int
    warming: bool
    bucket_ms: int
    buckets: tuple[Bucket, ...]
    part: Bucket | None
    before: Sums

    def now(self, at: int) -> float:
        """Its evidence at event time `at`, >= 0."""
        return self.evidence if self.evidence > 0 and self.lapses > at else 0.0

    def since(self) -> int:
        """Begin of its surge, ms: in the latest bucket at most, and at most BUCKETS buckets before."""
        if not self.onset:
            return self.start
        # A bucket of unknown length is shorter than what the row took to become outdated.
        longest = self.bucket_ms or self.lapses - self.start
        return max(min(self.onset, self.start), self.start - BUCKETS * longest)

    def sums(self, started: int) -> Sums:
        """Its reports from the bucket that holds `started` (ms) on."""
        floor = _floor(started, self.bucket_ms)
        seen = self.buckets if self.part is None else (*self.buckets, self.part)
        return self.before.plus(bucket for bucket in seen if bucket.start >= floor)

    def course(self) -> Course | None:
        """Its last closed buckets without gaps between them; None before their length is known."""
        if not self.buckets or not self.bucket_ms:
            return None
        first = len(self.buckets) - 1
        while first > 0 and self.buckets[first].start - self.buckets[first - 1].start == self.bucket_ms:
            first -= 1
        shown = self.buckets[first:]
        return Course(
            bucket_seconds=self.bucket_ms // 1000,
            end=utc(shown[-1].start + self.bucket_ms),
            observed=[bucket.observed for bucket in shown],
            expected=[six_digits(bucket.expected) for bucket in shown],
            low=[six_digits(bucket.low) for bucket in shown],
            high=[six_digits(bucket.high) for bucket in shown],
        )


def _until(row: SurgeRow, at: int, bucket_ms: int) -> int:
    """Event time up to which a row counts reports, ms.

    `at` less its source's lateness. That is not told: it is taken as less than a tick, and nothing after the bucket
    counts.
    """
    if not bucket_ms:
        return at
    if row.closed:
        return row.start + bucket_ms
    tick_ms = SourceRule(bucket_seconds=bucket_ms // 1000).tick_ms
    return min(row.start + bucket_ms, at - (at - row.start) % tick_ms)


def _lapses(row: SurgeRow, at: int, bucket_ms: int) -> int:
    """When a row is outdated, ms.

    Detect sends a row of a series at each of its buckets' ends while it is hot and for half an hour after that: a
    bucket after one row there is the next, or the series is not hot any more and counts nothing. Where the bucket's
    length is not known, a bound has to do: `at` lies a bucket and the lateness after the start if the tick ends the
    bucket, a tick at least if not.
    """
    if not bucket_ms:
        bucket_ms = (at - row.start) * (1 if row.closed else _TICKS)
    return at + bucket_ms


def _bucket(start: int, observed: int, expected: float, low: float, high: float) -> Bucket:
    """A bucket; one whose expectation is no number (a detector chosen by name may say so) counts as missing."""
    if math.isfinite(expected + low + high):
        return Bucket(start, observed, expected, low, high)
    return Bucket(start, -1, 0.0, 0.0, 0.0)


def _closed(row: SurgeRow) -> list[Bucket]:
    """The closed buckets that a row tells of, oldest first."""
    buckets = []
    if row.recent is not None:
        recent = row.recent
        bucket_ms = recent.bucket_seconds * 1000
        begin = recent.end - bucket_ms * len(recent.observed)
        columns = zip(recent.observed, recent.expected, recent.low, recent.high, strict=True)
        buckets = [_bucket(begin + i * bucket_ms, *values) for i, values in enumerate(columns)]
    if row.closed and (not buckets or buckets[-1].start < row.start):
        buckets.append(_bucket(row.start, row.observed, row.expected, row.low, row.high))
    return buckets


def _saw(feed: Feed | None, row: SurgeRow, at: int, started: int | None) -> Feed:
    """The feed after a row at tick `at`. started: begin of the episode that it takes part in, ms; None: of none."""
    bucket_ms, before = (feed.bucket_ms, feed.before) if feed else (0, Sums())
    if row.recent is not None:
        bucket_ms = row.recent.bucket_seconds * 1000
    buckets, part = (feed.buckets, feed.part) if feed else ((), None)
    if told := _closed(row):
        # What is told now replaces what was told before: the same counts, judged by a later baseline.
        first, last = told[0].start, told[-1].start
        buckets = (*(bucket for bucket in buckets if bucket.start < first), *told)
        part = part if part is not None and part.start > last else None
    if not row.closed and not (buckets and row.start <= buckets[-1].start):
        part = _bucket(row.start, row.observed, row.expected, row.low, row.high)
    if leaving := buckets[:-BUCKETS]:
        buckets = buckets[-BUCKETS:]
        if started is not None:
            floor = _floor(started, bucket_ms)
            before = before.plus(bucket for bucket in leaving if bucket.start >= floor)
    return Feed(
        source=row.series.source,
        names=row.names,
        evidence=0.0 if math.isnan(row.evidence) else min(row.evidence, MOST_EVIDENCE),
        onset=row.onset,
        start=row.start,
        until=_until(row, at, bucket_ms),
        lapses=_lapses(row, at, bucket_ms),
        warming=row.warming,
        bucket_ms=bucket_ms,
        buckets=buckets,
        part=part,
        before=before,
    )


def _waiting(feed: Feed) -> Feed:
    """The feed of a place without an open incident: of its buckets only those that one may need when it opens."""
    floor = _floor(feed.since(), feed.bucket_ms)
    return replace(feed, buckets=tuple(bucket for bucket in feed.buckets if bucket.start >= floor), before=Sums())


def _floor(started: int, bucket_ms: int) -> int:
    """Begin of the bucket that holds `started` (ms), or `started` itself where the bucket's length is not known: 0."""
    return started - started % bucket_ms if bucket_ms else started


class Incident(msgspec.Struct, frozen=True, array_like=True):
    """What was said of an incident. Times in ms.

    names: as shown to people, the same for all its life. sequence: of the last record.
    sources: those that take part in the episode, sorted. evidence: the most that the episode had.
    sent, excess: when the last record was sent, and the reports beyond the usual that it told of.
    calm: since when the evidence is low; None while it is not. resolved: None while open.
    """

    id: str
    names: Names
    sequence: int
    episode: int
    started: int
    detected: int
    sources: tuple[str, ...]
    severity: Severity
    evidence: float
    sent: int
    excess: float
    calm: int | None = None
    resolved: int | None = None


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A service in a region that some source saw surge. feeds: in order of source.

    refused: its incident was not opened because too many are.
    due: next event time at which something happens without a row, ms.
    """

    service: str
    region: str
    feeds: tuple[Feed, ...] = ()
    incident: Incident | None = None
    refused: bool = False
    due: int = 0

    @property
    def open(self) -> Incident | None:
        """Its incident, if that is open."""
        return self.incident if self.incident is not None and self.incident.resolved is None else None

    def evidence(self, at: int) -> float:
        return sum(feed.now(at) for feed in self.feeds)

    def saw(self, row: SurgeRow, at: int) -> Place:
        """The place after a row at tick `at`."""
        source = row.series.source
        feed = next((feed for feed in self.feeds if feed.source == source), None)
        taking_part = self.open if self.open is not None and source in self.open.sources else None
        saw = _saw(feed, row, at, taking_part.started if taking_part else None)
        others = [feed for feed in self.feeds if feed.source != source]
        return replace(self, feeds=tuple(sorted((*others, saw), key=_by_source)))


def _by_source(feed: Feed) -> str:
    return feed.source


class JudgeState(msgspec.Struct, frozen=True):
    """A judge in a snapshot."""

    version: int
    reached: list[int]
    places: list[Place]
    held: list[tuple[int, list[SurgeRow]]]
    not_opened: int
    pages: PageLog


class _Version(msgspec.Struct, frozen=True):
    """What any version of JudgeState has."""

    version: int


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(JudgeState).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode

Key = tuple[str, str]


class Judge:
    """Turns what the partitions of detect saw into alerts, in step: a tick is judged when all partitions are past it.

    At an event time all rows of its ticks are taken in first, then each place that they or its own deadlines touch is
    judged once; alerts come in order of service and region. Nothing depends on how the records of partitions interleave
    or on how ticks are put together into records.

    not_opened: incidents that were not opened because MAX_OPEN others were.
    pages: the records of the last weeks that page, by the definition of `Pager`.
    """

    def __init__(self, rule: IncidentRule, partitions: int) -> None:
        self.rule = rule
        self.not_opened = 0
        self.pages = PageLog()
        self._reached = [0] * partitions
        self._places: dict[Key, Place] = {}
        self._open = dict.fromkeys(Severity, 0)
        # The calendar: event times at which something is to do, with rows to take in and places to look after. A place
        # is on it once, at its due time or before; an alarm that comes too early is set anew.
        self._times: list[int] = []
        self._held: dict[int, list[SurgeRow]] = {}
        self._alarms: dict[int, set[Key]] = {}
        self._alarm: dict[Key, int] = {}

    @property
    def through(self) -> int:
        """Event time up to which everything is judged, ms; 0 as long as a partition was not heard of."""
        return min(self._reached)

    def open_by_severity(self) -> Mapping[Severity, int]:
        """How many incidents of each severity are open."""
        return dict(self._open)

    def pages_per_week(self) -> float:
        """Pages a week of event time lately; see `PageLog.per_week`."""
        return self.pages.per_week(self.through)

    def apply(self, record: SurgeRecord) -> list[Alert]:
        """The alerts that this record makes due, in order. A record that was applied before is a replay: none.

        ValueError where the record comes from another number of partitions than the judge was made for.
        """
        reached = self._reached
        partition = record.partition
        if record.partitions != len(reached) or not 0 <= partition < len(reached):
            raise ValueError(
                f"partition {partition} of {record.partitions} reached a judge of {len(reached)}: the number of"
                " partitions of `report-counts` was changed; set it back, or follow `groundswell topics` to migrate"
            )
        before = reached[partition]
        if record.through <= before:
            return []
        for tick in record.ticks:
            if tick.at > before:  # a replay may be cut into other records than the first time
                held = self._held.get(tick.at)
                if held is None:
                    self._schedule(tick.at)
                    held = self._held[tick.at] = []
                held.extend(tick.rows)
        reached[partition] = record.through
        if not self._times:
            return []
        through = min(reached)
        alerts: list[Alert] = []
        while self._times and self._times[0] <= through:
            self._judge(heappop(self._times), alerts)
        return alerts

    def _schedule(self, at: int) -> None:
        if at not in self._held and at not in self._alarms:
            heappush(self._times, at)

    def _judge(self, at: int, alerts: list[Alert]) -> None:
        """Everything that happens at event time `at`."""
        if not self.pages.began:
            self.pages = PageLog(began=at)
        touched = set()
        for row in sorted(self._held.pop(at, ()), key=_by_series):
            key = (row.series.service, row.series.region)
            place = self._places.get(key)
            if place is None:
                if not row.evidence > 0:
                    continue
                place = Place(*key)
            self._places[key] = place.saw(row, at)
            touched.add(key)
        for key in self._alarms.pop(at, ()):
            if self._alarm.get(key) == at:
                del self._alarm[key]
                if self._places[key].due <= at:
                    touched.add(key)
                else:
                    self._wake(key)
        changes: dict[Key, Alert] = {}
        surging: list[tuple[float, Key]] = []
        for key in touched:
            place = self._places[key]
            if place.open is not None:
                self._follow(key, place, place.open, at, changes)
            elif (evidence := place.evidence(at)) >= self.rule.open_at:
                surging.append((-evidence, key))
            else:
                self._watch(key, place, at)
        for _, key in sorted(surging):
            if sum(self._open.values()) < MAX_OPEN:
                self._begin(key, self._places[key], at, changes)
            else:
                self._refuse(key, self._places[key], at)
        alerts.extend(changes[key] for key in sorted(changes))

    # A place without an open incident

    def _watch(self, key: Key, place: Place, at: int) -> None:
        """Nothing to open. Forget what is over for good."""
        incident = self._remembered(place, at)
        feeds = tuple(_waiting(feed) for feed in place.feeds if feed.now(at))
        if incident is None and not feeds:
            del self._places[key]
            self._alarm.pop(key, None)
        else:
            self._settle(key, replace(place, feeds=feeds, incident=incident, refused=False), at)

    def _remembered(self, place: Place, at: int) -> Incident | None:
        """The resolved incident of a place, as long as a surge may be its next episode."""
        incident = place.incident
        if incident is None or incident.resolved is None or at >= incident.resolved + self._reopen_ms:
            return None
        return incident

    def _refuse(self, key: Key, place: Place, at: int) -> None:
        """Too many incidents are open. What is kept of a place is little: there may be many more of them."""
        self.not_opened += not place.refused
        feeds = tuple(replace(feed, buckets=feed.buckets[-1:]) for feed in place.feeds if feed.now(at))
        incident = self._remembered(place, at)
        self._settle(key, replace(place, feeds=feeds, incident=incident, refused=True), at)

    def _begin(self, key: Key, place: Place, at: int, changes: dict[Key, Alert]) -> None:
        """A new incident, or the next episode of one that was resolved not long ago."""
        strongest = _strongest(place.feeds, at)
        part = [feed for feed in place.feeds if feed is strongest or feed.now(at) >= self.rule.close_at]
        started = min(feed.since() for feed in part)
        old = self._remembered(place, at)
        if old is not None and old.calm is not None:
            # What came before the calm is the last episode's. Decisions come the lateness after what they are about.
            lateness_ms = at - max(feed.until for feed in part)
            started = max(started, old.calm - lateness_ms)
        incident = Incident(
            id=old.id if old else incident_id(place.service, place.region, at),
            names=old.names if old else part[0].names,
            sequence=old.sequence if old else 0,
            episode=old.episode + 1 if old else 1,
            started=started,
            detected=at,
            sources=tuple(feed.source for feed in part),
            severity=Severity.INFO,
            evidence=place.evidence(at),
            sent=at,
            excess=0.0,
        )
        feeds = tuple(replace(feed, before=Sums()) for feed in place.feeds)
        place = replace(place, feeds=feeds, incident=incident, refused=False)
        self._open[Severity.INFO] += 1
        self._say(key, place, incident, State.UPDATE if old else State.OPEN, _sums(place, incident), at, changes)

    # A place with an open incident

    def _follow(self, key: Key, place: Place, incident: Incident, at: int, changes: dict[Key, Alert]) -> None:
        """Is there news of an open incident?"""
        evidence = place.evidence(at)
        joined = {feed.source for feed in place.feeds if feed.now(at) >= self.rule.close_at}
        calm = None
        if evidence < self.rule.close_at:
            calm = at if incident.calm is None else incident.calm
        incident = replace(
            incident,
            sources=tuple(sorted({*incident.sources, *joined})),
            evidence=max(incident.evidence, evidence),
            calm=calm,
        )
        sums = _sums(place, incident)
        if calm is not None and at >= calm + self._close_after_ms:
            self._say(key, place, replace(incident, resolved=at), State.RESOLVED, sums, at, changes)
        elif (
            at >= incident.sent + self._update_ms
            or sums.observed - sums.expected >= 2 * max(incident.excess, DOUBLES_FROM)
            or _RANK[self._severity(place, incident, sums)] > _RANK[incident.severity]
        ):
            self._say(key, place, incident, State.UPDATE, sums, at, changes)
        else:
            self._settle(key, replace(place, incident=incident), at)

    def _severity(self, place: Place, incident: Incident, sums: Sums) -> Severity:
        """It never drops within an episode."""
        seconds = (_counted_until(place, incident) - incident.started) / 1000
        now = severity(self.rule, observed=sums.observed, expected=sums.expected, seconds=seconds)
        return max(now, incident.severity, key=_RANK.__getitem__)

    def _say(
        self, key: Key, place: Place, incident: Incident, state: State, sums: Sums, at: int, changes: dict[Key, Alert]
    ) -> None:
        """Send the next record of an incident."""
        severity = self._severity(place, incident, sums)
        self._open[incident.severity] -= 1
        if state is not State.RESOLVED:
            self._open[severity] += 1
            if severity in PAGING and incident.severity not in PAGING:
                self.pages = self.pages.paged(at)
        incident = replace(
            incident,
            sequence=incident.sequence + 1,
            severity=severity,
            sent=at,
            excess=sums.observed - sums.expected,
        )
        changes[key] = _alert(place, incident, state, sums, at)
        feeds = place.feeds
        if state is State.RESOLVED:
            feeds = tuple(_waiting(feed) for feed in feeds if feed.now(at))
        self._settle(key, replace(place, feeds=feeds, incident=incident), at)

    # Deadlines

    def _settle(self, key: Key, place: Place, at: int) -> None:
        """Keep a place, and see to it that it is looked after when it is due."""
        # That a feed's row is outdated matters only while it counts.
        due = [feed.lapses for feed in place.feeds if feed.now(at)]
        incident = place.incident
        if incident is not None and incident.resolved is not None:
            due.append(incident.resolved + self._reopen_ms)
        elif incident is not None:
            due.append(incident.sent + self._update_ms)
            if incident.calm is not None:
                due.append(incident.calm + self._close_after_ms)
        self._places[key] = replace(place, due=min(due))
        self._wake(key)

    def _wake(self, key: Key) -> None:
        due = self._places[key].due
        alarm = self._alarm.get(key)
        if alarm is None or due < alarm:
            self._schedule(due)
            self._alarms.setdefault(due, set()).add(key)
            self._alarm[key] = due

    @property
    def _close_after_ms(self) -> int:
        return round(self.rule.close_after_seconds * 1000)

    @property
    def _reopen_ms(self) -> int:
        return round(self.rule.reopen_seconds * 1000)

    @property
    def _update_ms(self) -> int:
        return round(self.rule.update_seconds * 1000)

    # Snapshots

    def to_state(self) -> bytes:
        """Everything that the judge knows: `from_state` goes on from there as if nothing had happened."""
        return _encode_state(
            JudgeState(
                version=STATE_VERSION,
                reached=self._reached,
                places=[self._places[key] for key in sorted(self._places)],
                held=[(at, sorted(self._held[at], key=_by_series)) for at in sorted(self._held)],
                not_opened=self.not_opened,
                pages=self.pages,
            )
        )

    @classmethod
    def from_state(cls, rule: IncidentRule, partitions: int, state: bytes) -> Self:
        """The judge that `to_state` described. ValueError where the data is no such state.

        Mismatch where it has another version or number of partitions.
        """
        try:
            check_version(_decode_version(state).version, STATE_VERSION)
            saved = _decode_state(state)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no state of a judge: {error}") from error
        if len(saved.reached) != partitions:
            raise Mismatch(
                f"the state was made for {len(saved.reached)} partitions of report-counts, "
                f"the settings say {partitions}"
            )
        judge = cls(rule, partitions)
        judge.not_opened, judge.pages = saved.not_opened, saved.pages
        judge._reached = saved.reached
        for at, rows in saved.held:
            judge._schedule(at)
            judge._held[at] = rows
        for place in saved.places:
            key = (place.service, place.region)
            judge._places[key] = place
            judge._wake(key)
            if place.open is not None:
                judge._open[place.open.severity] += 1
        return judge


def _by_series(row: SurgeRow) -> tuple[object, ...]:
    return (row.series, row.start, row.closed)


def _strongest(feeds: Iterable[Feed], at: int) -> Feed:
    """The feed with most evidence, the first by name of equal ones."""
    return max(feeds, key=lambda feed: feed.now(at))


def _part(place: Place, incident: Incident) -> list[Feed]:
    return [feed for feed in place.feeds if feed.source in incident.sources]


def _sums(place: Place, incident: Incident) -> Sums:
    sums = Sums()
    for feed in _part(place, incident):
        sums = sums.also(feed.sums(incident.started))
    return sums


def _counted_until(place: Place, incident: Incident) -> int:
    """Event time up to which the incident's reports are counted, ms."""
    return max(feed.until for feed in _part(place, incident))


def _alert(place: Place, incident: Incident, state: State, sums: Sums, at: int) -> Alert:
    """The record that tells of an incident at event time `at`."""
    part = _part(place, incident)
    names = incident.names
    return Alert(
        id=incident.id,
        sequence=incident.sequence,
        episode=incident.episode,
        state=state,
        sources=list(incident.sources),
        service=names.service,
        region=names.region,
        severity=incident.severity,
        started_at=utc(incident.started),
        detected_at=utc(incident.detected),
        updated_at=utc(at),
        resolved_at=None if incident.resolved is None else utc(incident.resolved),
        summary=summary(
            service=names.service,
            region=names.region,
            observed=sums.observed,
            expected=sums.expected,
            started_ms=incident.started,
            until_ms=_counted_until(place, incident),
            resolved_ms=incident.resolved,
            again=incident.episode > 1,
        ),
        observed=sums.observed,
        expected=six_digits(sums.expected),
        expected_low=six_digits(max(0.0, sums.expected - math.sqrt(sums.down))),
        expected_high=six_digits(sums.expected + math.sqrt(sums.up)),
        ratio=six_digits(sums.observed / sums.expected) if sums.expected > 0 else None,
        evidence=six_digits(incident.evidence),
        warming=any(feed.warming for feed in part),
        course=_strongest(part, at).course(),
    )

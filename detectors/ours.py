"""Ours: while somebody else's service is in trouble, are our extra contacts about it, and what do they cost?

The case behind it: on 25 October 2022 WhatsApp was down, and the contact centre of TIM, which had nothing to do with
that, took 65,000 calls more than usual in three hours, for about 40,000 euro.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Annotated, Final, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta

from detectors import sentences
from detectors.alert import FEED, Contacts, ShownBy, six_digits, utc
from detectors.arrays import Floats
from detectors.ledger import Ledger
from detectors.local_time import local_ms, zone
from detectors.report import fold
from detectors.rollup import ALL
from detectors.series import Series
from detectors.surges import SurgeRow

#: Courses are compared in steps of so long at least, ms.
STEP_MS: Final = 300_000
#: Contacts come so long after the reports at most, ms.
MOST_LAG_MS: Final = 3_600_000
#: Contacts surge when they are beyond the usual by so many standard deviations and by this share.
SURGE_Z: Final = 2.0
SURGE_SHARE: Final = 0.1
#: An own service that surges is an echo of the other where its excess is less than this part of the other's ...
ECHO_SIZE: Final = 0.5
#: ... of which at most so much does not follow the other's course. Else it may be broken itself.
ECHO_REST: Final = 0.4
#: It was broken before, if it surged so long before the other, ms.
BEFORE_MS: Final = 1_800_000
#: Contacts that speak of a service less than this have nothing to do with it.
LEAST_SHARE: Final = 0.05
#: The peak has passed where contacts have come down to this part of it.
PAST_PEAK: Final = 0.85
#: The rate now is that of so long, ms.
NOW_MS: Final = 900_000


class OursRule(msgspec.Struct, frozen=True, kw_only=True):
    """Which services and contact centres are our own, and what a contact costs. ValueError for a broken template."""

    services: Annotated[tuple[str, ...], Meta(description="our own services, by name")] = ()
    sources: Annotated[
        tuple[str, ...], Meta(description="the sources that are our contact centres; none: nothing is worked out")
    ] = ()
    total: (
        Annotated[
            str,
            Meta(
                max_length=200,
                description="the service under which contact centres send all contacts, if they send those about a"
                " service once more under its name; default: each contact is one report, under the service that it is"
                " about",
            ),
        ]
        | None
    ) = None
    cost_per_contact: Annotated[float, Meta(ge=0, le=1_000_000, description="what a contact costs; 0: not told")] = 0.0
    currency: Annotated[str, Meta(min_length=1, max_length=10, description="of cost_per_contact")] = "EUR"
    time_zone: Annotated[str, Meta(description="of the times in sentences, such as Europe/Rome")] = "UTC"
    voice_menu: Annotated[
        dict[str, str],
        Meta(
            description="sentence for the voice menu by language; it may name"
            f" {', '.join('{' + name + '}' for name in sentences.FIELDS)}"
        ),
    ] = msgspec.field(default_factory=sentences.VOICE_MENU.copy)
    agents: Annotated[dict[str, str], Meta(description="sentence for agents by language, from the same names")] = (
        msgspec.field(default_factory=sentences.AGENTS.copy)
    )

    def __post_init__(self) -> None:
        zone(self.time_zone)
        sentences.check(self.voice_menu, "voice_menu")
        sentences.check(self.agents, "agents")


class Own(NamedTuple):
    """What of a feed is our own, folded. total: service that counts all contacts, `*` where each is one report."""

    services: frozenset[str]
    sources: tuple[str, ...]
    total: str

    @classmethod
    def of(cls, rule: OursRule, services: Collection[str] = ()) -> Own:
        """services: further ones that are our own, folded."""
        return cls(
            frozenset({*map(fold, rule.services), *services}),
            tuple(sorted({fold(source) for source in rule.sources})),
            ALL if rule.total is None else fold(rule.total),
        )

    def has(self, service: str) -> bool:
        """Whether a service (folded) is our own."""
        return service in self.services or service == self.total != ALL


class Other(NamedTuple):
    """Somebody else's incident. service: folded; names: what contacts may call it, folded; started: ms."""

    id: str
    service: str
    title: str
    names: Sequence[str]
    started: int
    ratio: float | None


class Ours:
    """What a judge knows of contacts. ledger: what feeds told; empty as long as no source is our contact centre."""

    def __init__(self, rule: OursRule, services: Collection[str] = ()) -> None:
        """services: further ones that are our own, folded."""
        self._rule = rule
        self.own = Own.of(rule, services)
        self.ledger = Ledger()
        #: Whether contacts were told of since this was set to False.
        self.news = False

    def hear(self, row: SurgeRow) -> None:
        """Take in a row of `surges`."""
        if self.own.sources:
            self.ledger.hear(row)
            self.news |= row.closed and row.series.source in self.own.sources

    def leaves_out(self, series: Series) -> bool:
        """Whether a series says nothing of what is broken: contacts count twice in sums over services, also by name."""
        return series.service == ALL != self.own.total and series.source in self.own.sources

    def concerns(self, service: str) -> bool:
        """Whether an incident of this service (folded) may be somebody else's that brings us contacts."""
        return bool(self.own.sources) and service not in (ALL, FEED) and not self.own.has(service)

    def is_contacts(self, service: str) -> bool:
        """Whether a service (folded) is what contact centres count all contacts under."""
        return bool(self.own.sources) and service == self.own.total != ALL

    def about(self, other: Other) -> Contacts | None:
        """What contacts have to do with somebody else's incident; None where they do not surge."""
        return assess(self._rule, self.own, self.ledger, other)


class _Extra(NamedTuple):
    """Contacts beyond the usual: sums, and their course in steps."""

    observed: int
    expected: float
    sd: float
    until: int
    course: Floats


def assess(rule: OursRule, own: Own, ledger: Ledger, other: Other) -> Contacts | None:
    """What the contacts since somebody else's incident began have to do with it; None where contacts do not surge."""
    step_ms = max([STEP_MS, *(ledger.courses[key].bucket_ms for key in _total_keys(own, ledger))])
    begin = other.started - other.started % step_ms
    extra = _extra(own, ledger, begin, step_ms)
    if extra is None:
        return None
    beyond = extra.observed - extra.expected
    if beyond < max(SURGE_Z * extra.sd, SURGE_SHARE * extra.expected, 1.0):
        return None
    broken = _broken(own, ledger, other, begin, extra.until, step_ms)
    mentions = _mentioned(own, ledger, other, begin)
    if mentions is not None:
        share, by = mentions / beyond, ShownBy.MENTIONS
        if share < LEAST_SHARE:
            return None
    else:
        reports = _reports(own, ledger, other.service, begin, extra.until, step_ms)
        share, by = follows(extra.course, reports, MOST_LAG_MS // step_ms), ShownBy.COURSE
    share = min(max(share, 0.0), 1.0)
    pace = forecast(extra.course, step_ms)
    values = {
        "service": other.title,
        "since": _clock(other.started, rule.time_zone),
        "times": "many" if other.ratio is None else f"{other.ratio:,.0f}" if other.ratio >= 2 else f"{other.ratio:.1f}",
        "share": f"{100 * share:.0f} %",
        "extra": f"{beyond:,.0f}",
    }
    told = not broken
    cost = rule.cost_per_contact
    return Contacts(
        cause=other.id,
        about=other.title,
        explained=six_digits(share) if told else None,
        shown_by=by if told else None,
        broken=broken,
        observed=extra.observed,
        expected=six_digits(extra.expected),
        extra=six_digits(beyond),
        extra_explained=six_digits(share * beyond) if told else None,
        an_hour=six_digits(pace.now),
        peak_at=None if pace.peak is None else utc(begin + pace.peak * step_ms),
        forecast=six_digits(beyond + pace.to_come),
        cost=six_digits(beyond * cost) if cost else None,
        forecast_cost=six_digits((beyond + pace.to_come) * cost) if cost else None,
        currency=rule.currency if cost else None,
        until=utc(extra.until),
        voice_menu=sentences.fill(rule.voice_menu, values) if told else {},
        agents=sentences.fill(rule.agents, values) if told else {},
    )


def _total_keys(own: Own, ledger: Ledger) -> list[tuple[str, str]]:
    return [(source, own.total) for source in own.sources if (source, own.total) in ledger.courses]


def _extra(own: Own, ledger: Ledger, begin: int, step_ms: int) -> _Extra | None:
    observed, expected, variance, until = 0, 0.0, 0.0, begin
    keys = _total_keys(own, ledger)
    for key in keys:
        course = ledger.courses[key]
        for start, bucket in sorted(course.buckets.items()):
            if start >= begin and bucket.observed >= 0:
                observed += bucket.observed
                expected += bucket.expected
                variance += bucket.variance
                until = max(until, start + course.bucket_ms)
    if until == begin:
        return None
    end = until - (until - begin) % step_ms
    courses = [ledger.excess(key, begin, end, step_ms) for key in keys]
    return _Extra(observed, expected, math.sqrt(variance), until, sum(courses, np.zeros((end - begin) // step_ms)))


def _mentioned(own: Own, ledger: Ledger, other: Other, begin: int) -> float | None:
    """Contacts beyond the usual that speak of the other's service; None where contacts do not say what they are about.

    They say it by their `service`, or by a `problem` that has its name.
    """
    said, beyond = False, 0.0
    for source, service in sorted(ledger.courses):
        if source not in own.sources or service == ALL:
            continue
        said |= not own.has(service)
        if service == other.service:
            buckets = ledger.courses[source, service].buckets.items()
            beyond += sum(b.observed - b.expected for start, b in sorted(buckets) if start >= begin and b.observed >= 0)
        elif own.has(service):
            for start, bucket in sorted(ledger.courses[source, service].buckets.items()):
                if start < begin or bucket.named is None or bucket.observed <= 0:
                    continue
                for problem, count, usual in bucket.named.top:
                    if _speaks_of(problem, other.names):
                        said = True
                        beyond += count - usual * bucket.expected * bucket.named.total / bucket.observed
    return beyond if said else None


def _speaks_of(problem: str, names: Sequence[str]) -> bool:
    """Whether a problem has one of these names in it, as words: both folded.

    >>> _speaks_of("whatsapp does not work", ["whatsapp"]), _speaks_of("xmail", ["x"])
    (True, False)
    """
    words = f" {' '.join(''.join(c if c.isalnum() else ' ' for c in problem).split())} "
    return any(f" {name} " in words for name in names)


def _reports(own: Own, ledger: Ledger, service: str, begin: int, end: int, step_ms: int) -> Floats:
    """Reports on a service beyond the usual, from all sources but the contact centres, in steps."""
    end -= (end - begin) % step_ms
    sources = ledger.sources_of(service, without=own.sources)
    courses = [ledger.excess((source, service), begin, end, step_ms) for source in sources]
    return sum(courses, np.zeros((end - begin) // step_ms))


def _broken(own: Own, ledger: Ledger, other: Other, begin: int, end: int, step_ms: int) -> list[str]:
    """Our own services that may be broken themselves, by what others than our contact centres report on them."""
    found = []
    reports = _reports(own, ledger, other.service, begin, end, step_ms)
    for service in sorted(own.services - {own.total}):
        sources = ledger.sources_of(service, without=own.sources)
        keys = [(source, service) for source in sources]
        before = _surge(ledger, keys, begin - BEFORE_MS, begin)
        since = _surge(ledger, keys, begin, end)
        if before > SURGE_Z:
            found.append(service)
        elif since > SURGE_Z:
            course = _reports(own, ledger, service, begin, end, step_ms)
            beyond, others = float(course.clip(0).sum()), float(reports.clip(0).sum())
            if beyond > ECHO_SIZE * others or 1.0 - follows(course, reports, 1) > ECHO_REST:
                found.append(service)
    return found


def _surge(ledger: Ledger, keys: Sequence[tuple[str, str]], begin: int, end: int) -> float:
    """How many standard deviations the reports of [begin, end) are beyond the usual."""
    buckets = [
        bucket
        for key in keys
        for start, bucket in sorted(ledger.courses[key].buckets.items())
        if begin <= start < end and bucket.observed >= 0
    ]
    beyond = sum(bucket.observed - bucket.expected for bucket in buckets)
    sd = math.sqrt(sum(bucket.variance for bucket in buckets))
    return beyond / sd if sd else 0.0


def follows(course: Floats, reports: Floats, most_lag: int) -> float:
    """Share of a course that has the shape of another, at most `most_lag` steps later, 0 to 1.

    The other is scaled by least squares; what it gives counts as far as there is something.

    >>> x = np.array([0.0, 4.0, 2.0, 0.0])
    >>> follows(np.array([0.0, 0.0, 8.0, 4.0]), x, 2), follows(x, x * 0.0, 2)
    (1.0, 0.0)
    """
    course, reports = course.clip(0), reports.clip(0)
    whole, best = float(course.sum()), 0.0
    for lag in range(min(most_lag + 1, len(course))):
        shifted = np.concatenate([np.zeros(lag), reports[: len(reports) - lag]])
        square = float(shifted @ shifted)
        if square and whole:
            scaled = float(course @ shifted) / square * shifted
            best = max(best, float(np.minimum(course, scaled).sum()) / whole)
    return best


class Pace(NamedTuple):
    """How a surge of contacts goes on. now: contacts an hour beyond the usual. peak: step of the peak, None before it.

    to_come: contacts beyond the usual until the peak has passed; after it, until they are back at the usual.
    """

    now: float
    peak: int | None
    to_come: float


def forecast(course: Floats, step_ms: int) -> Pace:
    """How a surge goes on. course: contacts beyond the usual, in steps of `step_ms`.

    Before its peak: at today's rate for as long again as it has lasted (that one half of all things last longer and one
    half shorter is all that is known; Gott, Nature 363, 1993). After it: down on a straight line as so far.

    >>> forecast(np.array([0.0, 60.0, 120.0, 120.0]), 300_000)
    Pace(now=1200.0, peak=None, to_come=300.0)
    >>> forecast(np.array([0.0, 120.0, 120.0, 120.0, 60.0, 60.0, 60.0]), 300_000).peak
    2
    """
    if not len(course):
        return Pace(0.0, None, 0.0)
    window = max(1, NOW_MS // step_ms)
    smooth = np.convolve(course, np.ones(window) / window, "valid") if len(course) >= window else course
    now, top = max(0.0, float(smooth[-1])), float(smooth.max())
    an_hour = now * 3_600_000 / step_ms
    peak = int(np.argmax(smooth))
    if top > 0 and now < PAST_PEAK * top:
        steps = len(smooth) - 1 - peak
        return Pace(an_hour, peak + window // 2, now * (now / (top - now)) * steps / 2)
    begun = int(np.argmax(course > 0.1 * top)) if top > 0 else len(course)
    return Pace(an_hour, None, now * (len(course) - begun))


def _clock(ms: int, time_zone: str) -> str:
    """Hour and minute by the clocks of a time zone."""
    return utc(local_ms(time_zone, ms))[11:16]

"""Wording: an incident's figures, names and times in the words of one language.

Ages are told by the data's own clock (the mark up to which everything is known), not by the wall clock: while history
is replayed, an outage that began ten minutes of event time ago is ten minutes old.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from detectors.alert import Alert, Kind
from streams.console import shortened
from streams.web import chart
from streams.web.texts import Texts

NAME_SHOWN = 200
SUMMARY_SHOWN = 400


class Moment(msgspec.Struct, frozen=True):
    """A time for people and, in `iso`, for machines; '' where it could not be read."""

    text: str
    iso: str
    seconds: float


class Row(msgspec.Struct, frozen=True):
    """One incident in words. title: of a part of another incident, by which it goes there. parts: that it explains.

    service_url: '' where it is of no service alone.
    """

    id: str
    url: str
    service: str
    service_url: str
    region: str
    title: str
    is_open: bool
    is_part: bool
    parts: int
    severity: str
    ratio: str
    observed: str
    expected: str
    chance: str
    measure: str
    warming: bool
    summary: str
    since: Moment
    age: str
    resolved: Moment | None
    bar: Markup


def row(alert: Alert, clock: Moment | None, texts: Texts, *, largest: float | None = None, parts: int = 0) -> Row:
    """largest: ratio that has the longest bar. parts: incidents that it explains."""
    since = moment(alert.started_at, clock, texts)
    # The date of the end only where it is not the day of the beginning.
    resolved = moment(alert.resolved_at, since, texts) if alert.resolved_at else None
    until = resolved or clock
    what, where = what_and_where(alert, texts)
    return Row(
        id=alert.id,
        url=incident_url(alert.id),
        service=what,
        service_url=service_url(alert.service) if alert.service is not None and alert.kind is not Kind.FEED else "",
        region=where,
        title=title(alert, texts),
        is_open=alert.resolved_at is None,
        is_part=alert.parent is not None,
        parts=parts,
        severity=alert.severity.value,
        ratio=ratio(alert, texts),
        observed=texts.count(alert.observed),
        expected=interval(alert, texts),
        chance=chance(alert.evidence, texts),
        measure=measure(alert, texts),
        warming=alert.warming,
        summary=shortened(alert.summary, SUMMARY_SHOWN),
        since=since,
        age=texts.age(until.seconds - since.seconds) if until and until.iso and since.iso else "",
        resolved=resolved,
        bar=chart.bar(1.0 if not alert.ratio or not largest else alert.ratio / largest),
    )


def incident_url(id: str) -> str:
    """Where the page of an incident is."""
    return f"/incidents/{quote(id, safe='')}"


def service_url(name: str) -> str:
    """Where the page of a service is. A browser would take the names `.` and `..` for steps in the path."""
    return f"/services/{quote(name, safe='')}" if name.strip(".") else f"/services/?name={quote(name, safe='')}"


def what_and_where(alert: Alert, texts: Texts) -> tuple[str, str]:
    """What is in trouble and where, as two texts; of a silent feed where is the same as everywhere: ''."""
    if alert.kind is Kind.FEED:
        return shortened(texts("feed_named", name="".join(alert.sources)), NAME_SHOWN), ""
    what = texts("all_services") if alert.service is None else alert.service
    return shortened(what, NAME_SHOWN), shortened(_where(alert, texts), NAME_SHOWN)


def _where(alert: Alert, texts: Texts) -> str:
    if alert.region is None:
        return texts("everywhere")
    if alert.region == "":
        return texts("no_region")
    inside = alert.region.endswith("/*")
    # A name may have a slash of its own: Trentino-Alto Adige/Südtirol.
    where = alert.region_name or " › ".join((alert.region[:-2] if inside else alert.region).split("/"))
    return texts("all_of", where=where) if inside else where


def title(alert: Alert, texts: Texts) -> str:
    """What an incident is about: WhatsApp in all of it, WhatsApp everywhere, Feed outage-site."""
    if alert.kind is Kind.GLOBAL:
        return texts("everything")
    if alert.kind is Kind.FEED or alert.region == "":
        return what_and_where(alert, texts)[0]
    what = texts("all_services") if alert.service is None else alert.service
    if alert.region is None:
        return shortened(f"{what} {texts('everywhere')}", NAME_SHOWN)
    inside = alert.region.endswith("/*")
    where = alert.region_name or (alert.region[:-2] if inside else alert.region)
    where = texts("all_of", where=where) if inside else where
    return shortened(texts("what_in", what=what, where=where), NAME_SHOWN)


def ratio(alert: Alert, texts: Texts) -> str:
    """Reports against the usual."""
    if alert.kind is Kind.FEED:
        return texts("silent")
    if alert.ratio is None:
        return texts("none_usual")
    # With next to nothing expected the figure says no more than that.
    return texts("far_over", n=9_999) if alert.ratio > 9_999 else texts("times_usual", n=texts.number(alert.ratio))


def measure(alert: Alert, texts: Texts) -> str:
    """Reports against the usual, and how many."""
    if alert.kind is Kind.FEED:
        return texts("missed", n=texts.number(alert.expected))
    return texts("measured", ratio=ratio(alert, texts), n=texts.count(alert.observed))


def interval(alert: Alert, texts: Texts) -> str:
    """How many were expected, with the interval."""
    if alert.kind is Kind.FEED:
        return texts.number(alert.expected)  # a sum of means: nothing was counted that could scatter
    low, high = texts.number(alert.expected_low), texts.number(alert.expected_high)
    return f"{texts.number(alert.expected)} ({low}–{high})"


def chance(evidence: float, texts: Texts) -> str:
    """How often chance alone does this to a series, of evidence in log10 series-weeks.

    >>> from streams.web.texts import TEXTS, Language
    >>> [chance(evidence, TEXTS[Language.ENGLISH]) for evidence in (1.0, 3.0, 23.0)]
    ['once in 10 weeks', 'once in 19 years', 'practically never']
    """
    if evidence <= 0:
        return texts("every_week")
    if evidence >= 8:
        return texts("never")
    weeks = 10**evidence
    if weeks < 104:
        return texts("once_weeks", n=round(weeks))
    return texts("once_years", n=round(weeks / 52.18))


def per_bucket(bucket_seconds: int, texts: Texts) -> str:
    """What a chart counts."""
    return texts("per_minute") if bucket_seconds == 60 else texts("per_span", age=texts.age(bucket_seconds))


def parsed(text: str) -> datetime | None:
    """A time as records have it; None where it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def moment(text: str, clock: Moment | None, texts: Texts) -> Moment:
    """An alert's time, with as much of its date as differs from `clock`'s. What is no time is shown as it is."""
    time = parsed(text)
    return moment_at(time.timestamp(), clock, texts) if time else Moment(shortened(text, 40), "", 0.0)


def moment_at(seconds: float, clock: Moment | None, texts: Texts) -> Moment:
    """The same of seconds since 1970."""
    time = datetime.fromtimestamp(seconds, UTC)
    same_day = clock is not None and clock.iso[:10] == f"{time:%Y-%m-%d}"
    same_year = clock is not None and clock.iso[:4] == f"{time:%Y}"
    day = f"{time.day} {texts.month(time.month)}{'' if same_year else f' {time:%Y}'}"
    return Moment(f"{time:%H:%M}" if same_day else f"{day}, {time:%H:%M}", f"{time:%Y-%m-%dT%H:%M:%SZ}", seconds)

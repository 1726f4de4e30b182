"""The status page as HTML: incidents and health put into words and figures, then into the templates.

Ages are told by the data's own clock (the mark up to which everything is known), not by the wall clock: while history
is replayed, an outage that began ten minutes of event time ago is ten minutes old.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from markupsafe import Markup

from detectors.alert import Alert, Course, Kind, title, words
from streams.console import shortened
from streams.health import Verdict
from streams.html import templates
from streams.web import chart
from streams.web.freshness import Flow
from streams.web.incidents import Group, IncidentView

GROUPS_SHOWN = 100
ROWS_SHOWN = 100
PAST_SHOWN = 50
#: Charts of the worst groups; further ones would cost more bytes than they tell.
CHARTS_SHOWN = 12

_NAME_SHOWN = 200
_SUMMARY_SHOWN = 400

_TEMPLATES = templates(Path(__file__).parent / "templates")


class Situation(msgspec.Struct, frozen=True):
    """All that the page depends on besides the incidents. data_until: seconds since 1970, 0 unknown."""

    alive: Verdict
    ready: Verdict
    flow: Flow
    data_until: float


class Moment(msgspec.Struct, frozen=True):
    """A time for people and, in `iso`, for machines; '' where it could not be read."""

    text: str
    iso: str
    seconds: float


class Row(msgspec.Struct, frozen=True):
    """One incident in words. title: of a part of another incident, by which it goes there. parts: that it explains."""

    id: str
    service: str
    region: str
    title: str
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


class Picture(msgspec.Struct, frozen=True):
    """A chart with the labels of its edges."""

    svg: Markup
    top: str
    unit: str
    onset: bool
    first: Moment
    last: Moment


class Card(msgspec.Struct, frozen=True):
    """What is in trouble, a service mostly, and its worst incident.

    regions: how many incidents. rows: all of them where there are several, each with its parts below it, else only the
    parts. hidden: rows left out.
    """

    name: str
    severity: str
    worst: Row
    regions: int
    rows: list[Row]
    hidden: int
    picture: Picture | None


def page(view: IncidentView, situation: Situation, *, version: str, assets: dict[str, str]) -> str:
    """The whole page. version: the state's, for the browser to know when it is out of date; assets: names to URLs."""
    return _TEMPLATES.get_template("page.html").render(_state(view, situation), version=version, assets=assets)


def fragment(view: IncidentView, situation: Situation) -> str:
    """The part of the page that changes."""
    return _TEMPLATES.get_template("state.html").render(_state(view, situation))


def _state(view: IncidentView, situation: Situation) -> dict[str, object]:
    clock = _clock(view, situation)
    groups = view.groups()
    cards = [_card(each, clock, with_chart=place < CHARTS_SHOWN) for place, each in enumerate(groups[:GROUPS_SHOWN])]
    return {
        "cards": cards,
        "hidden_groups": len(groups) - len(cards),
        "past": _past(view, clock),
        "headline": _headline(groups, situation),
        "mood": _mood(cards, situation),
        "notice": _notice(situation, clock),
        "clock": clock,
        "situation": situation,
        "behind": situation.flow in (Flow.BEHIND, Flow.SILENT),
    }


def _clock(view: IncidentView, situation: Situation) -> Moment | None:
    if situation.data_until > 0:
        return _moment_at(situation.data_until, None)
    # A worker that just started has no mark yet, but the incidents are back.
    latest = max((a.updated_at for a in (*view.open, *view.recent)), default=None)
    return _moment(latest, None) if latest else None


def _headline(groups: list[Group], situation: Situation) -> str:
    if groups:
        return _trouble([group.worst.kind for group in groups])
    if not (situation.alive.ok and situation.ready.ok):
        return "State unknown"
    if situation.flow is Flow.NONE:
        return "Waiting for the first report"
    if situation.flow is Flow.SILENT:
        return "No service was in trouble"
    return "No service in trouble"


def _trouble(kinds: list[Kind]) -> str:
    """What is in trouble, by the kinds of the worst incident of each group."""
    feeds = kinds.count(Kind.FEED)
    services = len(kinds) - feeds
    silent = f"{feeds:,} feed{'s' if feeds > 1 else ''} silent"
    if Kind.GLOBAL in kinds:
        said = "Everything in trouble"
    elif Kind.REGION in kinds:
        said = "All services of a region in trouble"
    elif services:
        said = f"{services:,} service{'s' if services > 1 else ''} in trouble"
    else:
        return silent
    return f"{said}, {silent}" if feeds else said


def _past(view: IncidentView, clock: Moment | None) -> list[Row]:
    """The resolved incidents; those that another explained are with that, as far as it is among them or open."""
    known = {alert.id for alert in (*view.open, *view.recent)}
    parts = Counter(alert.parent for alert in view.recent)
    past = [alert for alert in view.recent if alert.parent not in known]
    return [_row(alert, clock, parts=parts[alert.id]) for alert in past[:PAST_SHOWN]]


def _mood(cards: list[Card], situation: Situation) -> str:
    if cards:
        return cards[0].severity
    calm = situation.alive.ok and situation.ready.ok and situation.flow in (Flow.LIVE, Flow.BEHIND)
    return "calm" if calm else "unknown"


def _notice(situation: Situation, clock: Moment | None) -> tuple[str, str] | None:
    """What is wrong with ourselves: a title and a sentence."""
    doubt = "What is shown here may be out of date."
    if not situation.alive.ok:
        return "Detection is stalled:", f"{situation.alive.reason}. {doubt}"
    if not situation.ready.ok:
        return "Detection is not ready:", f"{situation.ready.reason}. {doubt}"
    if situation.flow is Flow.SILENT and clock:
        return "No data comes in.", f"Nothing is known after {clock.text} UTC; trouble since then would not show here."
    return None


def _card(group: Group, clock: Moment | None, *, with_chart: bool) -> Card:
    worst = group.worst
    several = len(group.incidents) > 1
    listed = [
        alert
        for incident in group.incidents
        for alert in ((incident,) if several else ()) + group.parts.get(incident.id, ())
    ]
    # A bar is as long as the ratio against that of the worst; a part may have the larger one.
    largest = max((alert.ratio or 0.0 for alert in listed), default=None)
    rows = [
        _row(alert, clock, largest=largest, parts=len(group.parts.get(alert.id, ()))) for alert in listed[:ROWS_SHOWN]
    ]
    return Card(
        name=shortened(group.name, _NAME_SHOWN),
        severity=worst.severity.value,
        worst=_row(worst, clock, parts=len(group.parts.get(worst.id, ()))),
        regions=len(group.incidents),
        rows=rows,
        hidden=len(listed) - len(rows),
        picture=_picture(worst, worst.course) if with_chart and worst.course else None,
    )


def _row(alert: Alert, clock: Moment | None, *, largest: float | None = None, parts: int = 0) -> Row:
    """parts: incidents that it explains."""
    since = _moment(alert.started_at, clock)
    # The date of the end only where it is not the day of the beginning.
    resolved = _moment(alert.resolved_at, since) if alert.resolved_at else None
    until = resolved or clock
    return Row(
        id=alert.id,
        service=shortened(words(alert)[0], _NAME_SHOWN),
        region=_region(alert),
        title=shortened(title(alert), _NAME_SHOWN),
        is_part=alert.parent is not None,
        parts=parts,
        severity=alert.severity.value,
        ratio=_ratio(alert),
        observed=f"{alert.observed:,}",
        expected=_interval(alert),
        chance=_chance(alert.evidence),
        measure=_measure(alert),
        warming=alert.warming,
        summary=shortened(alert.summary, _SUMMARY_SHOWN),
        since=since,
        age=age(until.seconds - since.seconds) if until and until.iso and since.iso else "",
        resolved=resolved,
        bar=chart.bar(1.0 if not alert.ratio or not largest else alert.ratio / largest),
    )


def _picture(alert: Alert, course: Course) -> Picture | None:
    end = _parse(course.end)
    buckets = chart.shown_buckets(course)
    if end is None or buckets < 2 or course.bucket_seconds <= 0:
        return None
    first = end.timestamp() - buckets * course.bucket_seconds
    started = _parse(alert.started_at)
    onset = (started.timestamp() - first) / course.bucket_seconds if started else None
    if onset is not None and not 0 <= onset <= buckets - 1:
        onset = None  # it began before what the chart shows
    unit = _unit(course.bucket_seconds)
    label = (
        f"{shortened(words(alert)[0], _NAME_SHOWN)}: {unit} over the last {age(buckets * course.bucket_seconds)}, "
        f"the last {course.observed[-1]:,} against {_number(course.expected[-1])} expected"
    )
    edge = _moment_at(end.timestamp(), None)
    return Picture(
        svg=chart.sparkline(course, label=label, onset=onset),
        top=f"{chart.top(course):,}",
        unit=unit,
        onset=onset is not None,
        first=_moment_at(first, edge),
        last=_moment_at(end.timestamp(), edge),
    )


def _unit(bucket_seconds: int) -> str:
    return "reports per minute" if bucket_seconds == 60 else f"reports per {age(bucket_seconds)}"


def _region(alert: Alert) -> str:
    if alert.kind is not Kind.FEED and alert.region == "":
        return "region not reported"
    where = words(alert)[1]
    # A name may have a slash of its own: Trentino-Alto Adige/Südtirol.
    return shortened(where if alert.region_name else " › ".join(where.split("/")), _NAME_SHOWN)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def _ratio(alert: Alert) -> str:
    if alert.kind is Kind.FEED:
        return "silent"
    if alert.ratio is None:
        return "none usual"
    # With next to nothing expected the figure says no more than that.
    return "over 9,999× usual" if alert.ratio > 9_999 else f"{_number(alert.ratio)}× usual"


def _measure(alert: Alert) -> str:
    if alert.kind is Kind.FEED:
        return f"{_number(alert.expected)} reports missed"
    return f"{_ratio(alert)}, {alert.observed:,} reports"


def _interval(alert: Alert) -> str:
    if alert.kind is Kind.FEED:
        return _number(alert.expected)  # a sum of means: nothing was counted that could scatter
    return f"{_number(alert.expected)} ({_number(alert.expected_low)}–{_number(alert.expected_high)})"


def _chance(evidence: float) -> str:
    """How often chance alone does this to a series, of evidence in log10 series-weeks.

    >>> _chance(1.0), _chance(3.0), _chance(23.0)
    ('once in 10 weeks', 'once in 19 years', 'practically never')
    """
    if evidence <= 0:
        return "every week"
    if evidence >= 8:
        return "practically never"
    weeks = 10**evidence
    if weeks < 104:
        return f"once in {weeks:.0f} week{'s' if round(weeks) != 1 else ''}"
    return f"once in {weeks / 52.18:,.0f} years"


def age(seconds: float) -> str:
    """A span of time in its two largest units; live.js has the same.

    >>> age(42), age(125), age(3 * 3600 + 12 * 60), age(400 * 86400)
    ('42 s', '2 min', '3 h 12 min', '1 y 35 d')
    """
    whole = max(int(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        minutes = whole % 3600 // 60
        return f"{whole // 3600} h" + (f" {minutes} min" if minutes else "")
    if whole < 365 * 86_400:
        hours = whole % 86_400 // 3600
        return f"{whole // 86_400} d" + (f" {hours} h" if hours else "")
    days = whole // 86_400 % 365
    return f"{whole // 86_400 // 365} y" + (f" {days} d" if days else "")


def _parse(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _moment(text: str, clock: Moment | None) -> Moment:
    """An alert's time, with as much of its date as differs from `clock`'s. What is no time is shown as it is."""
    time = _parse(text)
    return _moment_at(time.timestamp(), clock) if time else Moment(shortened(text, 40), "", 0.0)


def _moment_at(seconds: float, clock: Moment | None) -> Moment:
    time = datetime.fromtimestamp(seconds, UTC)
    same_day = clock is not None and clock.iso[:10] == f"{time:%Y-%m-%d}"
    same_year = clock is not None and clock.iso[:4] == f"{time:%Y}"
    text = f"{time:%H:%M}" if same_day else f"{time.day} {time:%b}{'' if same_year else f' {time:%Y}'}, {time:%H:%M}"
    return Moment(text, f"{time:%Y-%m-%dT%H:%M:%SZ}", seconds)

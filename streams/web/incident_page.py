"""The page of one incident: what broke, where, since when, how sure, whose fault, what to do, and how it went."""

from __future__ import annotations

import re

import msgspec
from markupsafe import Markup

from detectors.alert import Alert, Contacts, Part, State
from streams.console import shortened
from streams.web import chart
from streams.web.incidents import IncidentView
from streams.web.live import Situation
from streams.web.overview import clock_of, notice
from streams.web.pictures import chart_of
from streams.web.texts import Texts
from streams.web.trail import Change, Step
from streams.web.verdicts import not_taking_part, sentence, sureness, tags, until
from streams.web.wording import (
    NAME_SHOWN,
    Moment,
    Row,
    incident_url,
    measure,
    moment,
    row,
    title,
)

PARTS_SHOWN = 100
#: For how long the page offers to mute, s; the last way is without an end.
MUTE_SECONDS = (1_800, 7_200, 28_800)
#: Sentences and reasons are cut to so many characters.
SENTENCE_SHOWN = 1_000
#: What may be a link in a record; all else is shown as text.
_WEB_ADDRESS = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)


class Share(msgspec.Struct, frozen=True):
    """A part of the reports, with its share on a usual day."""

    name: str
    share: str
    usual: str
    bar: Markup


class Told(msgspec.Struct, frozen=True):
    """A step of the timeline in words. other: the incident that it is about."""

    at: Moment
    text: str
    detail: str
    who: str
    reason: str
    other: Row | None
    other_id: str


class Said(msgspec.Struct, frozen=True):
    """What somebody said of it. when: at which time, or until when."""

    by: str
    when: str
    reason: str


class Before(msgspec.Struct, frozen=True):
    """An incident of the same place before. url: '' where it is kept no more."""

    url: str
    since: Moment
    until: Moment
    severity: str
    excess: str


class Ours(msgspec.Struct, frozen=True):
    """What our contact centres have to do with it."""

    answer: str
    cause: Row | None
    facts: list[tuple[str, str, str]]
    sentences: list[tuple[str, str, str]]
    counted: str


class Link(msgspec.Struct, frozen=True):
    """A link of the catalogue. url: '' where it is none to follow."""

    name: str
    url: str
    text: str


def content(view: IncidentView, alert: Alert, situation: Situation, texts: Texts) -> dict[str, object]:
    """What the template shows of an incident that is kept."""
    clock = clock_of(view, situation, texts)
    trail = view.trail(alert.id)
    parent = view.get(alert.parent) if alert.parent else None
    parts = view.parts(alert.id)
    told = row(alert, clock, texts, parts=len(parts))
    return {
        "headline": title(alert, texts),
        "mood": alert.severity.value if alert.state is not State.RESOLVED else "calm",
        "notice": notice(situation, clock, texts),
        "incident": told,
        "state": _state(alert, texts),
        "again": texts("came_back", n=alert.episode) if alert.episode > 1 else "",
        "tags": tags(alert, texts, clock),
        "nobody": alert.state is not State.RESOLVED and alert.acknowledged is None and alert.muted is None,
        "verdict": sentence(alert, texts),
        "sure": sureness(alert, texts),
        "not_part": not_taking_part(alert),
        "stale": alert.stale,
        "planned": shortened(alert.maintenance, NAME_SHOWN) if alert.maintenance is not None else "",
        "measure": measure(alert, texts),
        "acknowledged": _acknowledged(alert, clock, texts),
        "muted": _muted(alert, clock, texts),
        "parent": row(parent, clock, texts) if parent is not None else None,
        "parent_gone": alert.parent is not None and parent is None,
        "team": shortened(alert.team or "", NAME_SHOWN),
        "owner": shortened(alert.owner or "", NAME_SHOWN),
        "minor": alert.minor,
        "links": [link(name, url) for name, url in alert.links.items()],
        "picture_of": chart_of(alert, trail.counts, texts),
        "ours": _ours(view, alert.contacts, clock, texts) if alert.contacts is not None else None,
        "reasons": [shortened(reason, SENTENCE_SHOWN) for reason in alert.reasons],
        "shares": _shares(alert, texts),
        "steps": [_told(view, step, clock, texts) for step in trail.steps],
        "forgotten": trail.forgotten,
        "parts": [row(part, clock, texts) for part in parts[:PARTS_SHOWN]],
        "hidden": max(len(parts) - PARTS_SHOWN, 0),
        "earlier": [
            Before(
                incident_url(each.id) if view.get(each.id) is not None else "",
                moment(each.started_at, clock, texts),
                moment(each.resolved_at, moment(each.started_at, None, texts), texts),
                each.severity.value,
                texts("excess", n=texts.number(max(each.excess, 0.0))),
            )
            for each in alert.earlier
        ],
        "situation": situation,
    }


def _state(alert: Alert, texts: Texts) -> str:
    if alert.state is not State.RESOLVED:
        return texts("still_open")
    how = alert.resolution
    return texts("change.resolved") + (f": {texts.word('how', how.value)}" if how is not None else "")


def _acknowledged(alert: Alert, clock: Moment | None, texts: Texts) -> Said | None:
    taken = alert.acknowledged
    if taken is None:
        return None
    at = moment(taken.at, clock, texts).text
    return Said(shortened(taken.by, NAME_SHOWN), at, shortened(taken.reason, SENTENCE_SHOWN))


def _muted(alert: Alert, clock: Moment | None, texts: Texts) -> Said | None:
    muted = alert.muted
    if muted is None:
        return None
    lasts = until(muted.until, texts, clock)
    return Said(shortened(muted.by, NAME_SHOWN), lasts, shortened(muted.reason, SENTENCE_SHOWN))


def link(name: str, url: str) -> Link:
    """A link of a record, to follow if it is of the web."""
    followed = url if _WEB_ADDRESS.fullmatch(url) else ""
    return Link(shortened(name, NAME_SHOWN), followed, shortened(url, NAME_SHOWN))


def _shares(alert: Alert, texts: Texts) -> list[tuple[str, list[Share]]]:
    """What reports came from and say, by what it is a share of."""
    found: list[tuple[str, list[Part]]] = [
        (texts("top_regions"), alert.top_regions),
        (texts("top_services"), alert.top_services),
        (texts("top_problems"), alert.top_problems),
        (texts("top_sources"), alert.top_sources),
    ]
    return [
        (
            heading,
            [
                Share(
                    shortened(part.name, NAME_SHOWN) or texts("no_region"),
                    texts.percent(part.share),
                    texts.percent(part.usual),
                    chart.bar(part.share),
                )
                for part in parts[:PARTS_SHOWN]
            ],
        )
        for heading, parts in found
        if parts
    ]


def _told(view: IncidentView, step: Step, clock: Moment | None, texts: Texts) -> Told:
    to, other = step.to, None
    match step.what:
        case Change.OPENED | Change.REOPENED | Change.SEVERITY:
            to = texts.word("severity", to)
        case Change.SPAN:
            to = texts.word("kind", to)
        case Change.MUTED:
            to = until(to or None, texts, clock)
        case Change.EXPLAINED:
            parent = view.get(to)
            other = row(parent, clock, texts) if parent is not None else None
    how = texts.word("how", to) if step.what is Change.RESOLVED and to else ""
    return Told(
        at=moment(step.at, clock, texts),
        text=texts(f"change.{step.what.value}", to=to),
        detail=how,
        who=step.by,
        reason=step.reason,
        other=other,
        other_id=to if step.what is Change.EXPLAINED else "",
    )


def _ours(view: IncidentView, contacts: Contacts, clock: Moment | None, texts: Texts) -> Ours:
    about = shortened(contacts.about, NAME_SHOWN)
    if contacts.broken:
        answer = texts("ours_broken", names=shortened(", ".join(contacts.broken), NAME_SHOWN))
    elif contacts.explained is None:
        answer = texts("ours_unknown")
    else:
        answer = texts("ours_no", about=about)
    cause = view.get(contacts.cause)
    return Ours(
        answer=answer,
        cause=row(cause, clock, texts) if cause is not None else None,
        facts=_contact_facts(contacts, clock, texts),
        sentences=[
            (texts(use), language, shortened(sentence, SENTENCE_SHOWN))
            for use, said in (("voice_menu", contacts.voice_menu), ("for_agents", contacts.agents))
            for language, sentence in sorted(said.items(), key=lambda item: (item[0] != texts.language, item[0]))
        ],
        counted=texts("counted_until", time=moment(contacts.until, clock, texts).text),
    )


def _contact_facts(contacts: Contacts, clock: Moment | None, texts: Texts) -> list[tuple[str, str, str]]:
    """Figures: what, how much, and what more is to say of it."""
    usual = texts("of_usual", observed=texts.count(contacts.observed), expected=texts.number(contacts.expected))
    facts = [(texts("extra"), texts.number(contacts.extra), usual)]
    if contacts.explained is not None:
        by = texts.word("shown", contacts.shown_by.value) if contacts.shown_by is not None else ""
        facts.append((texts("about_it"), texts.percent(contacts.explained), by))
    facts.append((texts("an_hour"), texts.number(contacts.an_hour), ""))
    peak = moment(contacts.peak_at, clock, texts).text if contacts.peak_at else texts("not_yet")
    facts.append((texts("peak"), peak, ""))
    facts.append((texts("forecast"), texts.number(contacts.forecast), texts("in_the_end")))
    if contacts.cost is not None:
        in_the_end = contacts.forecast_cost
        more = "" if in_the_end is None else texts("cost_in_the_end", cost=_money(in_the_end, contacts, texts))
        facts.append((texts("cost"), _money(contacts.cost, contacts, texts), more))
    return facts


def _money(amount: float, contacts: Contacts, texts: Texts) -> str:
    return f"{texts.number(amount)} {shortened(contacts.currency or '', 10)}".strip()


def mute_spans(texts: Texts) -> list[tuple[int, str]]:
    """For how long people may mute: seconds, and in words."""
    return [(seconds, texts.age(seconds)) for seconds in MUTE_SECONDS]

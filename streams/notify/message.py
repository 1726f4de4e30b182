"""What a notification says beyond the summary, for people: figures with a name each, and one sentence a line.

Texts are as they stand in the alert: whoever shows them gives a `tamed` one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from detectors.alert import Alert, Contacts, Kind, Part, State, words
from streams.notify.text import MOST_URL
from streams.web.texts import TEXTS, Language
from streams.web.wording import chance

_ENGLISH = TEXTS[Language.ENGLISH]


class Figure(NamedTuple):
    """What one figure or word is called, and what it is."""

    name: str
    text: str


def link(page_url: str | None, alert: Alert) -> str | None:
    """The incident's own page. None where there are no pages, and for an id that no judge gives."""
    if page_url is None:
        return None
    url = f"{page_url.rstrip('/')}/incidents/{quote(alert.id, safe='', errors='replace')}"
    return url if len(url) <= MOST_URL else None


def headline(alert: Alert) -> str:
    """How it is, in a word: its severity while it is open."""
    return "Resolved" if alert.state is State.RESOLVED else alert.severity.value.capitalize()


def figures(alert: Alert) -> Iterator[Figure]:
    """How much it is against what is usual, since when, and who has to do with it."""
    if alert.kind is Kind.FEED:
        yield Figure("Missed", f"{_number(alert.expected)} reports")
    else:
        yield Figure("Seen", f"{alert.observed:,} reports")
        low, high = _number(alert.expected_low), _number(alert.expected_high)
        yield Figure("Usual", f"{_number(alert.expected)} ({low}–{high})")
        if alert.ratio is not None:
            yield Figure("Times the usual", _number(alert.ratio))
    yield Figure("By chance", chance(alert.evidence, _ENGLISH))
    yield Figure("Since", moment(alert.started_at))
    if alert.resolved_at is not None:
        ended = "" if alert.resolution is None else f", {alert.resolution.value}"
        yield Figure("Until", f"{moment(alert.resolved_at)}{ended}")
    if alert.episode > 1:
        yield Figure("Episode", str(alert.episode))
    for name, text in (("Owner", alert.owner), ("Team", alert.team), ("Seen by", ", ".join(alert.sources))):
        if text:
            yield Figure(name, text)


def sentences(alert: Alert) -> Iterator[str]:
    """Why it is as bad as it is, whose fault it looks like, what people say is wrong, what it costs."""
    if alert.reasons:
        yield f"{alert.severity.value.capitalize()}: {'; '.join(alert.reasons)}."
    yield from fault(alert)
    if alert.top_problems:
        yield f"Reports name: {', '.join(map(_part, alert.top_problems[:3]))}."
    for what, parts in (("regions", alert.top_regions), ("services", alert.top_services)):
        if len(parts) > 1:
            yield f"Most reports, by {what}: {', '.join(map(_part, parts[:3]))}."
    if alert.contacts is not None:
        yield cost(alert.contacts)
        yield from alert.contacts.agents.values()
    if alert.acknowledged is not None:
        yield f"{alert.acknowledged.by} looks after it: {alert.acknowledged.reason}."
    if alert.muted is not None:
        yield f"Muted by {alert.muted.by}: {alert.muted.reason}."
    if alert.maintenance is not None:
        yield f"Planned: {alert.maintenance}."
    if alert.stale:
        yield "The feeds that show it are silent: nobody knows whether it goes on."
    if alert.warming:
        yield "The baseline is young: what is usual is known roughly."
    if alert.earlier:
        yield f"It was there before, last until {moment(alert.earlier[0].resolved_at)}."


def fault(alert: Alert) -> Iterator[str]:
    """Whose fault it looks like, and what speaks for that."""
    what, where = words(alert)
    match alert.kind:
        case Kind.FEED:
            yield "The feed is silent, not the services: look for its connection first."
        case Kind.REGION:
            yield f"All services {f'in {where} ' if where else ''}have it: suspect what they share there, the network."
        case Kind.GLOBAL:
            yield "Everything has it at once: suspect what all share, or the feeds themselves."
        case Kind.SERVICE:
            yield f"It looks like {what} itself, not one region."
    if (verdict := alert.verdict) is not None:
        told = (
            f"That explains {100 * verdict.explained:.0f} % of all reports beyond the usual;"
            f" {verdict.taking_part} of {verdict.looked_at} series show it"
        )
        spared = ", ".join(verdict.not_taking_part[:3])
        yield f"{told}, {spared} not." if spared else f"{told}."


def cost(contacts: Contacts) -> str:
    """What it does to our contact centres: contacts beyond the usual, whose fault they are, what they cost."""
    told = f"{_number(contacts.extra)} contacts beyond the usual"
    if contacts.explained is None:
        told += ", whose fault cannot be told"
    else:
        told += f", {100 * contacts.explained:.0f} % of them about {contacts.about}"
    if contacts.cost is not None:
        told += f", {_number(contacts.cost)} {contacts.currency or ''}".rstrip()
    told += f"; {_number(contacts.forecast)} expected in the end"
    if contacts.forecast_cost is not None:
        told += f", {_number(contacts.forecast_cost)} {contacts.currency or ''}".rstrip()
    return f"{told}."


def moment(text: str) -> str:
    """An alert's time for people; what is no time is shown as it is.

    >>> moment("2022-10-25T11:48:00Z")
    '25 Oct 2022, 11:48 UTC'
    """
    try:
        time = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return text
    return f"{time.day} {time:%b %Y, %H:%M} UTC"


def _part(part: Part) -> str:
    return f"{part.name} {100 * part.share:.0f} % (usually {100 * part.usual:.0f} %)"


def _number(value: float) -> str:
    """Two digits below 10, whole numbers from it on."""
    return f"{value:.2g}" if abs(value) < 9.95 else f"{value:,.0f}"

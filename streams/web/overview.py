"""The overview: how things stand, verdicts first, then what else is in trouble, then what is quiet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from detectors.alert import Kind
from detectors.catalogue import Service
from streams.console import shortened
from streams.web.freshness import Flow
from streams.web.incidents import Group, IncidentView
from streams.web.live import Situation
from streams.web.pictures import Picture, sparkline
from streams.web.services import services
from streams.web.texts import Texts
from streams.web.verdicts import Tag, sentence, sureness, tags
from streams.web.wording import NAME_SHOWN, Moment, Row, moment, moment_at, row, service_url

GROUPS_SHOWN = 100
ROWS_SHOWN = 100
#: Parts of a lone incident; its own page has all of them.
PARTS_SHOWN = 5
PAST_SHOWN = 50
QUIET_SHOWN = 60
#: Charts of the worst groups; further ones would cost more bytes than they tell.
CHARTS_SHOWN = 12

#: What a verdict was found for: more than a service in a region.
_WIDE = frozenset({Kind.SERVICE, Kind.REGION, Kind.GLOBAL})


class Card(msgspec.Struct, frozen=True):
    """What is in trouble, a service mostly, and its worst incident.

    verdict, sure: in words, of a wide incident. regions: how many incidents. rows: all of them where there are several,
    each with its parts below it, else only the parts. hidden: rows left out.
    """

    name: str
    severity: str
    worst: Row
    is_wide: bool
    verdict: str
    sure: list[str]
    tags: list[Tag]
    regions: int
    rows: list[Row]
    hidden: int
    picture: Picture | None


class Quiet(msgspec.Struct, frozen=True):
    """A service without trouble, and when it last was in some."""

    name: str
    url: str
    since: Moment | None


def content(
    view: IncidentView, situation: Situation, texts: Texts, catalogued: Sequence[Service] = ()
) -> dict[str, object]:
    """What the template shows."""
    clock = clock_of(view, situation, texts)
    # The wide ones first, each part in the order of the view: worst first.
    groups = sorted(view.groups(), key=lambda group: group.worst.kind not in _WIDE)
    cards = [
        _card(view, each, clock, texts, with_chart=place < CHARTS_SHOWN)
        for place, each in enumerate(groups[:GROUPS_SHOWN])
    ]
    worst = next(
        (card for card in cards if view.open and card.worst.id == view.open[0].id), cards[0] if cards else None
    )
    quiet = [each for each in services(view, catalogued) if not each.in_trouble]
    return {
        "headline": _headline(groups, situation, texts),
        "mood": _mood(worst, situation),
        "notice": notice(situation, clock, texts),
        "worst": worst,
        "verdicts": [card for card in cards if card.is_wide],
        "troubles": [card for card in cards if not card.is_wide],
        "hidden_groups": len(groups) - len(cards),
        "quiet": [
            Quiet(
                shortened(each.name, NAME_SHOWN),
                service_url(each.name),
                moment(each.past[0].resolved_at or "", clock, texts) if each.past else None,
            )
            for each in quiet[:QUIET_SHOWN]
        ],
        "hidden_quiet": max(len(quiet) - QUIET_SHOWN, 0),
        "past": _past(view, clock, texts),
        "situation": situation,
    }


def clock_of(view: IncidentView, situation: Situation, texts: Texts) -> Moment | None:
    """The data's clock."""
    if situation.data_until > 0:
        return moment_at(situation.data_until, None, texts)
    # A worker that just started has no mark yet, but the incidents are back.
    latest = max((alert.updated_at for alert in (*view.open, *view.recent)), default=None)
    return moment(latest, None, texts) if latest else None


def notice(situation: Situation, clock: Moment | None, texts: Texts) -> tuple[str, str] | None:
    """What is wrong with ourselves: a title and a sentence."""
    doubt = texts("doubt")
    if not situation.alive.ok:
        return texts("stalled"), f"{situation.alive.reason}. {doubt}"
    if not situation.ready.ok:
        return texts("not_ready"), f"{situation.ready.reason}. {doubt}"
    if situation.flow is Flow.SILENT and clock:
        return texts("no_data_in"), texts("nothing_known", time=clock.text)
    return None


def _headline(groups: list[Group], situation: Situation, texts: Texts) -> str:
    if groups:
        return _trouble([group.worst.kind for group in groups], texts)
    if not (situation.alive.ok and situation.ready.ok):
        return texts("state_unknown")
    if situation.flow is Flow.NONE:
        return texts("waiting")
    return texts("was_calm") if situation.flow is Flow.SILENT else texts("calm")


def _trouble(kinds: list[Kind], texts: Texts) -> str:
    """What is in trouble, by the kinds of the worst incident of each group."""
    feeds = kinds.count(Kind.FEED)
    services = len(kinds) - feeds
    silent = texts("feeds_silent", n=feeds)
    if Kind.GLOBAL in kinds:
        said = texts("everything_in_trouble")
    elif Kind.REGION in kinds:
        said = texts("region_in_trouble")
    elif services:
        said = texts("in_trouble", n=services)
    else:
        return silent
    return f"{said}, {silent}" if feeds else said


def _past(view: IncidentView, clock: Moment | None, texts: Texts) -> list[Row]:
    """The resolved incidents; those that another explained are with that, as far as it is among them or open."""
    known = {alert.id for alert in (*view.open, *view.recent)}
    parts = Counter(alert.parent for alert in view.recent)
    past = [alert for alert in view.recent if alert.parent not in known]
    return [row(alert, clock, texts, parts=parts[alert.id]) for alert in past[:PAST_SHOWN]]


def _mood(worst: Card | None, situation: Situation) -> str:
    if worst is not None:
        return worst.severity
    calm = situation.alive.ok and situation.ready.ok and situation.flow in (Flow.LIVE, Flow.BEHIND)
    return "calm" if calm else "unknown"


def _card(view: IncidentView, group: Group, clock: Moment | None, texts: Texts, *, with_chart: bool) -> Card:
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
        row(alert, clock, texts, largest=largest, parts=len(group.parts.get(alert.id, ())))
        for alert in listed[: ROWS_SHOWN if several else PARTS_SHOWN]
    ]
    told = row(worst, clock, texts, parts=len(group.parts.get(worst.id, ())))
    is_wide = worst.kind in _WIDE
    return Card(
        name=told.service,
        severity=worst.severity.value,
        worst=told,
        is_wide=is_wide,
        verdict=sentence(worst, texts) if is_wide else "",
        sure=sureness(worst, texts)[:2] if is_wide and worst.verdict is not None else [],
        tags=tags(worst, texts, clock),
        regions=len(group.incidents),
        rows=rows,
        hidden=len(listed) - len(rows),
        picture=sparkline(worst, view.trail(worst.id).counts, texts) if with_chart else None,
    )

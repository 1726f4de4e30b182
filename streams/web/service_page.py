"""The page of one service: what it has open, its regions, and what it had before."""

from __future__ import annotations

from collections import Counter
from urllib.parse import urlencode

import msgspec

from detectors.alert import Alert
from streams.console import shortened
from streams.web.incident_page import Link, link
from streams.web.incidents import IncidentView
from streams.web.live import Situation
from streams.web.overview import clock_of, notice
from streams.web.pictures import sparkline
from streams.web.services import ServiceState
from streams.web.texts import Texts
from streams.web.verdicts import sentence
from streams.web.wording import NAME_SHOWN, Row, row

REGIONS_SHOWN = 200
PAST_SHOWN = 50


class RegionState(msgspec.Struct, frozen=True):
    """A region of the service: its worst open incident, else the last one that is over."""

    name: str
    in_trouble: bool
    incident: Row


def content(view: IncidentView, service: ServiceState, situation: Situation, texts: Texts) -> dict[str, object]:
    """What the template shows of a service."""
    clock = clock_of(view, situation, texts)
    parts = Counter(alert.parent for alert in view.all())
    worst = service.open[0] if service.open else None
    regions = _regions(service)
    return {
        "headline": shortened(service.name, NAME_SHOWN),
        "mood": worst.severity.value if worst is not None else "calm",
        "notice": notice(situation, clock, texts),
        "state": texts("service_trouble", n=len(service.open)) if worst is not None else texts("service_calm"),
        "verdict": sentence(worst, texts) if worst is not None else "",
        "open": [row(alert, clock, texts, parts=parts[alert.id]) for alert in service.open[:PAST_SHOWN]],
        "hidden": max(len(service.open) - PAST_SHOWN, 0),
        "picture_of": sparkline(worst, view.trail(worst.id).counts, texts) if worst is not None else None,
        "regions": [
            RegionState(told.region, told.is_open, told)
            for told in (row(alert, clock, texts) for alert in regions[:REGIONS_SHOWN])
        ],
        "hidden_regions": max(len(regions) - REGIONS_SHOWN, 0),
        "past": [row(alert, clock, texts) for alert in service.past[:PAST_SHOWN]],
        "history_url": f"/history?{urlencode({'service': service.name})}",
        **_known(service),
        "situation": situation,
    }


def _regions(service: ServiceState) -> list[Alert]:
    """One incident for each of its regions: those in trouble first."""
    found: dict[str, Alert] = {}
    for alert in (*service.open, *service.past):
        if alert.region and not alert.region.endswith("/*"):
            found.setdefault(alert.region.casefold(), alert)
    return list(found.values())


def _known(service: ServiceState) -> dict[str, object]:
    """Who answers for it: as the catalogue says now, else as its last incident says."""
    last = next(iter((*service.open, *service.past)), None)
    source = service.known or last
    links: dict[str, str] = dict(source.links) if source is not None else {}
    shown: list[Link] = [link(name, url) for name, url in links.items()]
    return {
        "team": shortened((source.team if source is not None else "") or "", NAME_SHOWN),
        "owner": shortened((source.owner if source is not None else "") or "", NAME_SHOWN),
        "minor": source is not None and source.minor,
        "links": shown,
    }

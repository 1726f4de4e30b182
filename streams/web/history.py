"""History: the incidents that are kept, open and over, by service, region, severity, kind and time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import msgspec

from detectors.alert import Alert, Kind, Severity, words
from detectors.report import fold
from streams.console import shortened
from streams.web.incidents import PAST_KEPT, IncidentView
from streams.web.live import Situation
from streams.web.overview import clock_of, notice
from streams.web.texts import Texts
from streams.web.wording import parsed, row

PAGE_ROWS = 50
#: What is asked for is read up to so many characters.
MOST_ASKED = 300

_RANK = {severity: rank for rank, severity in enumerate(Severity)}
_FIELDS = ("service", "region", "severity", "kind", "from", "to")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which incidents. service: part of its name, folded. region: it and all within. severity: at least.

    begin, end: incidents that were open within, UTC. asked: as asked for, by field. bad: fields that say nothing.
    """

    service: str = ""
    region: str = ""
    severity: Severity | None = None
    kind: Kind | None = None
    begin: datetime | None = None
    end: datetime | None = None
    page: int = 1
    asked: dict[str, str] = {}
    bad: tuple[str, ...] = ()

    def fits(self, alert: Alert) -> bool:
        """Whether an incident is one of them."""
        if self.service and self.service not in fold(words(alert)[0]):
            return False
        if self.region and not _within(alert, self.region):
            return False
        if self.severity is not None and _RANK[alert.severity] < _RANK[self.severity]:
            return False
        if self.kind is not None and alert.kind is not self.kind:
            return False
        if self.end is not None and not _before(alert.started_at, self.end):
            return False
        return self.begin is None or alert.resolved_at is None or not _before(alert.resolved_at, self.begin)


def wanted(query: Mapping[str, str]) -> Wanted:
    """What the fields of a form ask for. What cannot be understood filters nothing, and is told of in `bad`."""
    asked = {name: query.get(name, "").strip()[:MOST_ASKED] for name in _FIELDS}
    bad: list[str] = []

    def read(name: str, kind: type[Severity] | type[Kind]) -> Severity | Kind | None:
        try:
            return kind(asked[name]) if asked[name] else None
        except ValueError:
            bad.append(name)
            return None

    severity, kind = read("severity", Severity), read("kind", Kind)
    times = {name: parsed(asked[name]) if asked[name] else None for name in ("from", "to")}
    bad += [name for name, time in times.items() if asked[name] and time is None]
    page = query.get("page", "1")
    return Wanted(
        service=fold(asked["service"]),
        region=fold(asked["region"]).strip("/").removesuffix("/*"),
        severity=severity if isinstance(severity, Severity) else None,
        kind=kind if isinstance(kind, Kind) else None,
        begin=times["from"],
        end=times["to"],
        page=int(page) if page.isascii() and page.isdigit() and len(page) <= 6 and int(page) else 1,
        asked=asked,
        bad=tuple(bad),
    )


def content(view: IncidentView, asked: Wanted, situation: Situation, texts: Texts) -> dict[str, object]:
    """What the template shows."""
    clock = clock_of(view, situation, texts)
    found = sorted((alert for alert in view.all() if asked.fits(alert)), key=lambda a: a.started_at, reverse=True)
    pages = max(-(-len(found) // PAGE_ROWS), 1)
    page = min(asked.page, pages)
    given = {name: value for name, value in asked.asked.items() if value}
    return {
        "headline": texts("history"),
        "mood": "plain",
        "notice": notice(situation, clock, texts),
        "asked": {name: shortened(value, MOST_ASKED) for name, value in asked.asked.items()},
        "bad": [texts(name) for name in asked.bad],
        "severities": [(each.value, texts.word("severity", each.value)) for each in reversed(Severity)],
        "kinds": [(each.value, texts.word("kind", each.value)) for each in Kind],
        "found": len(found),
        "rows": [row(alert, clock, texts) for alert in found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]],
        "page": page,
        "pages": pages,
        "newer": f"/history?{urlencode({**given, 'page': page - 1})}" if page > 1 else "",
        "older": f"/history?{urlencode({**given, 'page': page + 1})}" if page < pages else "",
        "kept": PAST_KEPT,
        "situation": situation,
    }


def _within(alert: Alert, region: str) -> bool:
    path = fold(alert.region or "").removesuffix("/*")
    named = alert.region_name is not None and fold(alert.region_name) == region
    return named or path == region or path.startswith(f"{region}/")


def _before(time: str, end: datetime) -> bool:
    """Whether a record's time lies before; one that is none does not."""
    at = parsed(time)
    return at is not None and at < end.astimezone(UTC)

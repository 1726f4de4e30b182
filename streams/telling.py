"""What the demo tells of the alerts: the changes worth a line, and in the end what came of it all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from rich.table import Table

from detectors.alert import Alert, Severity, State, millis, words
from streams import story
from streams.console import safe, table

#: An open incident grew, and gets a line, when it has so many times the reports of its last line.
GROWN = 4

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Telling:
    """The alerts of one run, in their order. Those decided before `told_from` (ms) are counted, no more."""

    def __init__(self, told_from: int) -> None:
        self._told_from = told_from
        self._shown: dict[str, Alert] = {}
        # The last of each episode: what was observed and expected belongs to an episode.
        self._last: dict[tuple[str, int], Alert] = {}
        self.before: set[str] = set()
        self.records = 0

    def apply(self, alert: Alert) -> bool:
        """Take the next alert; true where it is worth a line: opened, worse, grown or resolved.

        What another incident explains gets none, unless it had one before that was known: its end is told.
        """
        self.records += 1
        if millis(alert.detected_at) < self._told_from:
            self.before.add(alert.id)
            return False
        self._last[alert.id, alert.episode] = alert
        before = self._shown.get(alert.id)
        if alert.parent is not None and (before is None or before.state is State.RESOLVED):
            return False
        if (
            alert.state is State.UPDATE
            and before is not None
            and _RANK[alert.severity] <= _RANK[before.severity]
            and alert.observed < GROWN * before.observed
        ):
            return False
        self._shown[alert.id] = alert
        return True

    @property
    def open(self) -> int:
        """Incidents that are open now."""
        return sum(alert.state is not State.RESOLVED for alert in self._last.values())

    @property
    def incidents(self) -> list[Alert]:
        """The last alert of each incident's episode, in the order in which they opened."""
        return list(self._last.values())

    def first(self, service: str | None = None) -> Alert | None:
        """Of the incident (on the service) that was decided on first, the last alert; None where there is none."""
        found = [alert for alert in self._last.values() if service is None or alert.service == service]
        return min(found, key=lambda alert: alert.detected_at, default=None)


def _counted_once(alerts: Sequence[Alert]) -> list[Alert]:
    """Those whose reports no other of them counts as well, because it explains them."""
    ids = {alert.id for alert in alerts}
    return [alert for alert in alerts if alert.parent not in ids]


def by_service(incidents: Iterable[Alert]) -> Table:
    """Episodes of incidents, a line for what is in trouble, a service mostly, in the order in which they opened."""
    services: dict[str, list[Alert]] = {}
    for alert in incidents:
        services.setdefault(words(alert)[0], []).append(alert)
    found = table("service", "worst", "episodes", "first alert", "observed", "expected", "seen by")
    for service, alerts in services.items():
        whole = _counted_once(alerts)
        worst = max(alerts, key=lambda alert: _RANK[alert.severity]).severity
        found.add_row(
            safe(service),
            worst.value,
            f"{len(alerts)}",
            clock(min(millis(alert.detected_at) for alert in alerts)),
            f"{sum(alert.observed for alert in whole):,}",
            f"{sum(alert.expected for alert in whole):,.0f}",
            safe(", ".join(sorted({source for alert in alerts for source in alert.sources}))),
        )
    return found


class Cost(msgspec.Struct, frozen=True):
    """What the contact centre's incidents came to. contacts: those beyond the usual."""

    contacts: int
    euro: float


def cost(incidents: Iterable[Alert]) -> Cost:
    """The contacts that an outage of somebody else brought, as its alerts counted them, and what they cost."""
    alerts = _counted_once([alert for alert in incidents if alert.service == story.CONTACTS])
    contacts = sum(alert.observed for alert in alerts) - sum(alert.expected for alert in alerts)
    return Cost(max(0, round(contacts)), max(0.0, contacts) * story.EURO_A_CONTACT)


def outage_sentences(telling: Telling) -> Iterator[str]:
    """What the outage's alerts were good for."""
    broken, contacts = telling.first(story.BROKEN), telling.first(story.CONTACTS)
    if broken is None:
        return
    after = (millis(broken.detected_at) - story.ms(story.OUTAGE_START)) / 1000
    yield f"{story.BROKEN} broke at 07:00 UTC; the first alert says so {span(after)} later."
    if contacts is not None:
        ahead = (millis(contacts.detected_at) - millis(broken.detected_at)) / 1000
        if ahead > 0:
            yield f"The {story.CONTACTS} was hit as well: its own alert came {span(ahead)} after that."
        paid = cost(telling.incidents)
        euro = f"{paid.euro:,.0f} euro at {story.EURO_A_CONTACT} each"
        yield f"It took {paid.contacts:,} contacts more than usual, {euro}, for an outage that was not its own."
        yield f"Published were {story.EXTRA_CONTACTS:,} contacts and about {story.EXTRA_COST_EURO:,} euro."


def clock(ms: int) -> str:
    """Event time for people.

    >>> clock(1_666_681_333_000)
    '25 Oct 07:02:13'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%d %b %H:%M:%S").lstrip("0")


def span(seconds: float) -> str:
    """
    >>> span(133), span(40), span(3600)
    ('2 min 13 s', '40 s', '60 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    return (
        " ".join(part for part in (f"{minutes} min" if minutes else "", f"{rest} s" if rest else "") if part) or "0 s"
    )

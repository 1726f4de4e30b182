"""Services: what each has open and had before, made of the incidents that are kept and of the catalogue's names."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from detectors.alert import Alert, Kind
from detectors.catalogue import Service
from detectors.report import fold
from streams.web.incidents import IncidentView, badness

#: Services that are listed; the quiet ones beyond are left out.
SERVICES_SHOWN = 1_000


class ServiceState(msgspec.Struct, frozen=True):
    """A service. open: its open incidents, worst first; past: those that are over, the last resolved first.

    known: what the catalogue says of it.
    """

    name: str
    open: tuple[Alert, ...]
    past: tuple[Alert, ...]
    known: Service | None = None

    @property
    def in_trouble(self) -> bool:
        """Whether an incident of it is open."""
        return bool(self.open)


def services(view: IncidentView, catalogued: Sequence[Service]) -> list[ServiceState]:
    """All services of which something is known: those in trouble first, worst first, then the quiet ones by name."""
    known = {fold(each.name): each for each in catalogued}
    open_ones: dict[str, list[Alert]] = {}
    past: dict[str, list[Alert]] = {}
    for alert in view.all():
        if alert.service is not None and alert.kind is not Kind.FEED:
            (past if alert.resolved_at else open_ones).setdefault(fold(alert.service), []).append(alert)
    found = [
        ServiceState(_name(key, open_ones, known=known), tuple(alerts), tuple(past.get(key, ())), known.get(key))
        for key, alerts in sorted(open_ones.items(), key=lambda item: badness(item[1][0]), reverse=True)
    ]
    for key in sorted((past.keys() | known.keys()) - open_ones.keys()):
        found.append(ServiceState(_name(key, past, known=known), (), tuple(past.get(key, ())), known.get(key)))
    return found[:SERVICES_SHOWN]


def service(view: IncidentView, catalogued: Sequence[Service], name: str) -> ServiceState | None:
    """The service of this name, by any spelling; None where nothing is known of it."""
    key = fold(name)
    known = next((each for each in catalogued if key in {fold(one) for one in (each.name, *each.aliases)}), None)
    if known is not None:
        key = fold(known.name)
    of_it = [
        alert
        for alert in view.all()
        if alert.service is not None and alert.kind is not Kind.FEED and fold(alert.service) == key
    ]
    if not of_it and known is None:
        return None
    return ServiceState(
        known.name if known is not None else of_it[0].service or "",
        tuple(alert for alert in of_it if not alert.resolved_at),
        tuple(alert for alert in of_it if alert.resolved_at),
        known,
    )


def _name(key: str, *found: dict[str, list[Alert]], known: dict[str, Service]) -> str:
    """Its name as the catalogue spells it, else as its last incident does."""
    if key in known:
        return known[key].name
    return next(alerts[key][0].service or "" for alerts in found if key in alerts)

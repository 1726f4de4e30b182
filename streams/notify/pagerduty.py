"""PagerDuty's Events API v2: https://developer.pagerduty.com/docs/events-api-v2-overview."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
import msgspec

from detectors.alert import Alert, title, words
from detectors.delivery import Action, Delivery, Manner
from streams.notify import http
from streams.notify.answer import Answer, Failed
from streams.notify.destinations import PagerDuty
from streams.notify.message import figures, link, sentences
from streams.notify.text import cut, plain, tamed, token

MOST_SUMMARY = 1024
MOST_KEY = 255
#: The whole request. What is in it is cut so that it never gets there.
MOST_BYTES = 512 * 1024
_MOST_FIELD = 500
_MOST_SENTENCES = 2000

#: None of a repetition: it is told once.
_EVENTS = {
    Action.OPEN: "trigger",
    Action.UPDATE: "trigger",
    Action.REPEAT: "trigger",
    Action.ACKNOWLEDGE: "acknowledge",
    Action.RESOLVE: "resolve",
}


class PagerDutyReceiver:
    """An alert there for each incident: opened, made worse, acknowledged, resolved."""

    def __init__(self, settings: PagerDuty, *, timeout_seconds: float, page_url: str | None) -> None:
        """timeout_seconds: how long an event may take. page_url: address of the status page as people reach it."""
        self.manner = Manner(acknowledges=True)
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._page_url = page_url
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, deliveries: Sequence[Delivery], now: float) -> Sequence[Answer]:
        """As `Receiver`."""
        return [await self._deliver(each) for each in deliveries]

    async def _deliver(self, delivery: Delivery) -> Answer:
        key = await http.secret(self._settings.routing_key_file)
        if isinstance(key, Failed):
            return key
        if self._session is None:
            self._session = http.open_session(self._timeout_seconds)
        body = msgspec.json.encode(event(delivery, key, self._page_url))
        headers = {"Content-Type": "application/json"}
        return await http.post(self._session, self._settings.url, body, headers, secrets=[key])

    async def close(self) -> None:
        """As `Receiver`."""
        if self._session is not None:
            await self._session.close()


def event(delivery: Delivery, routing_key: str, page_url: str | None) -> dict[str, object]:
    """The event that says it. Of an end, and of an acknowledgement, PagerDuty reads no more than which alert."""
    head: dict[str, object] = {
        "routing_key": routing_key,
        "event_action": _EVENTS[delivery.action],
        "dedup_key": token(delivery.alert.id),
    }
    if head["event_action"] != "trigger":
        return head
    alert = tamed(delivery.alert)
    page = link(page_url, alert)
    links = [{"href": page, "text": "Incident in Groundswell"}] if page else []
    links += [{"href": url, "text": name} for name, url in alert.links.items()]
    return (
        head
        | {"payload": _payload(alert), "client": "Groundswell"}
        | ({"client_url": page} if page else {})
        | ({"links": links} if links else {})
    )


def _payload(alert: Alert) -> dict[str, object]:
    what, where = words(alert)
    found: dict[str, object] = {
        "summary": cut(alert.summary, MOST_SUMMARY),
        # Where the trouble is; who reports it stands in the details.
        "source": cut(title(alert), _MOST_FIELD),
        "severity": alert.severity.value,
        "timestamp": alert.updated_at,
        "component": cut(what, _MOST_FIELD),
        "class": alert.kind.value,
        "custom_details": _details(alert),
    }
    return found | {"group": cut(where, _MOST_FIELD)} if where else found


def _details(alert: Alert) -> dict[str, object]:
    """What it is first, in words; then figures for rules and dashboards."""
    found: dict[str, object] = {name: cut(text, _MOST_FIELD) for name, text in figures(alert)}
    found |= {
        "Why": cut("\n".join(sentences(alert)), _MOST_SENTENCES),
        "observed": alert.observed,
        "expected": alert.expected,
        "expected_low": alert.expected_low,
        "expected_high": alert.expected_high,
        "ratio": alert.ratio,
        "evidence": alert.evidence,
        "verdict": alert.verdict,
        "reasons": alert.reasons,
        "top_regions": alert.top_regions,
        "top_services": alert.top_services,
        "top_problems": alert.top_problems,
        "contacts": alert.contacts,
        "owner": alert.owner,
        "team": alert.team,
        "incident": cut(plain(alert.id), MOST_KEY),
        "sequence": alert.sequence,
        "episode": alert.episode,
        "kind": alert.kind,
        "sources": alert.sources,
        "maintenance": alert.maintenance,
    }
    return {name: value for name, value in found.items() if value not in (None, "", [])}

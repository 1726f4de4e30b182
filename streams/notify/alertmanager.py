"""Alertmanager's v2 API: https://github.com/prometheus/alertmanager, api/v2/openapi.yaml, docs/alerts_api.md."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec
import structlog

from detectors.alert import FEED, Alert, Kind, title, utc
from detectors.delivery import Delivery, DeliveryRule, Manner, Standing
from detectors.rollup import ALL
from streams.notify import http
from streams.notify.answer import Answer, Failed, Refused, Taken
from streams.notify.destinations import Alertmanager
from streams.notify.message import link, sentences

ALERTNAME = "GroundswellIncident"
#: An alert that nobody repeats ends after so many times of the interval, as Prometheus has it.
_MISSED_REPEATS = 4
#: Alertmanager shows annotations as they are; longer ones help nobody.
_MOST_TEXT = 2000

log = structlog.get_logger(__name__)


class Posted(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An alert as the API takes it."""

    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: str
    ends_at: str
    generator_url: str = msgspec.field(name="generatorURL", default="")


class AlertmanagerReceiver:
    """All peers of a cluster: each is told all of it, as a load balancer between must not do."""

    def __init__(self, settings: Alertmanager, rule: DeliveryRule, *, page_url: str | None) -> None:
        self.manner = Manner(parts=True, inhibits=True, changes=True, repeats=True, most=64)
        self._settings = settings
        self._rule = rule
        self._page_url = page_url
        self._session: aiohttp.ClientSession | None = None
        self._failing: dict[str, str] = {}

    async def deliver(self, deliveries: Sequence[Delivery], now: float) -> Sequence[Answer]:
        """As `Receiver`. One peer that took it is enough: the others are told with the next repetition."""
        headers = await self._headers()
        if isinstance(headers, Failed):
            return [headers] * len(deliveries)
        each_peer = await asyncio.gather(
            *(self._tell(url, headers, deliveries, round(now * 1000)) for url in self._settings.urls)
        )
        return [_best(answers) for answers in zip(*each_peer, strict=True)]

    async def _tell(
        self, url: str, headers: dict[str, str], deliveries: Sequence[Delivery], now: int
    ) -> Sequence[Answer]:
        bodies = [posted(each, self._settings.labels, self._rule, now, self._page_url) for each in deliveries]
        # Parts end before what inhibits them does.
        ends = [
            body for each, body in zip(deliveries, bodies, strict=True) if each.standing.explained and not each.open
        ]
        others = [
            body for each, body in zip(deliveries, bodies, strict=True) if not each.standing.explained or each.open
        ]
        answer = await self._post(url, headers, [alert for body in ends + others for alert in body])
        if isinstance(answer, Refused) and answer.status == 400 and len(deliveries) > 1:
            # It may have stored the valid ones: one by one it is known which it did not, and to repeat one is no harm.
            answers = [await self._post(url, headers, body) for body in bodies]
        else:
            answers = [answer] * len(deliveries)
        self._note(url, next((each for each in answers if not isinstance(each, Taken)), None))
        return answers

    async def _post(self, url: str, headers: dict[str, str], alerts: list[Posted]) -> Answer:
        secrets = headers.get("Authorization", "").split()[1:]
        return await http.post(
            self._ready(), f"{url.rstrip('/')}/api/v2/alerts", msgspec.json.encode(alerts), headers, secrets=secrets
        )

    def _note(self, url: str, trouble: Answer | None) -> None:
        """A peer's trouble shows in the log once, as its destination does well as long as another one answers."""
        if len(self._settings.urls) < 2:
            return
        if trouble is None:
            if self._failing.pop(url, None):
                log.info("Alertmanager's peer takes alerts again", url=url)
        elif url not in self._failing:
            self._failing[url] = repr(trouble)
            log.warning("an Alertmanager of the cluster takes no alerts", url=url, answer=repr(trouble))

    async def _headers(self) -> dict[str, str] | Failed:
        headers = {"Content-Type": "application/json"}
        path = self._settings.token_file or self._settings.password_file
        if path is None:
            return headers
        secret = await http.secret(path)
        if isinstance(secret, Failed):
            return secret
        if self._settings.token_file is not None:
            headers["Authorization"] = f"Bearer {secret}"
        else:
            headers["Authorization"] = aiohttp.BasicAuth(self._settings.username or "", secret, "utf-8").encode()
        return headers

    def _ready(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = http.open_session(self._rule.timeout_seconds, ca_file=self._settings.ca_file)
        return self._session

    async def close(self) -> None:
        """As `Receiver`."""
        if self._session is not None:
            await self._session.close()


def _best(answers: Sequence[Answer]) -> Answer:
    """Of all peers' answers: one that took it is enough; one that may take it later is better than one that won't."""
    for kind in (Taken, Failed, Refused):
        for answer in answers:
            if isinstance(answer, kind):
                return answer
    raise ValueError("no peers")


def posted(
    delivery: Delivery, labels: dict[str, str], rule: DeliveryRule, now: int, page_url: str | None
) -> list[Posted]:
    """The alert, and where it turned out to span something else, or to have another cause, the end of what it was.

    now: ms by the clock.
    """
    alert, before = delivery.alert, delivery.before
    if not delivery.open:
        # A repetition tells the same end.
        end = before.at if before is not None and not before.open else now
    else:
        end = now + round(1000 * _MISSED_REPEATS * rule.repeat_seconds)
    given = Posted(
        labels=_labels(alert, delivery.standing, labels),
        annotations=_annotations(alert, page_url),
        # Not the onset: Alertmanager does not wait for a group whose alert is older than group_wait, and would page for
        # parts before it has seen what inhibits them. Of what it has already it keeps the earliest start.
        starts_at=utc(min(now, end)),
        ends_at=utc(end),
        generator_url=link(page_url, alert) or "",
    )
    if before is None or not before.open or before.standing == delivery.standing:
        return [given]
    return [msgspec.structs.replace(given, labels=_labels(alert, before.standing, labels), ends_at=utc(now)), given]


def _labels(alert: Alert, standing: Standing, own: dict[str, str]) -> dict[str, str]:
    """What an alert is known by: nothing that changes while it gets worse. Empty ones would be dropped."""
    service, region = standing.service, standing.region
    if standing.kind is Kind.FEED:
        service, region = FEED, "".join(alert.sources)
    return {
        **own,
        "alertname": ALERTNAME,
        "service": service or ALL,
        "region": ALL if region is None else region or "-",
        "kind": standing.kind.value,
        "incident": alert.id,
        "cause": standing.cause,
        "explained": str(standing.explained).lower(),
    }


def _annotations(alert: Alert, page_url: str | None) -> dict[str, str]:
    """What changes, or is only for reading."""
    said = {
        "summary": alert.summary,
        "title": title(alert),
        "since": alert.started_at,
        "description": "\n".join(sentences(alert)),
        "severity": alert.severity.value,
        "observed": str(alert.observed),
        "expected": f"{alert.expected:g}",
        "evidence": f"{alert.evidence:g}",
        "episode": str(alert.episode),
        "sequence": str(alert.sequence),
        "owner": alert.owner or "",
        "team": alert.team or "",
        "page": link(page_url, alert) or "",
        "runbook_url": alert.links.get("runbook", ""),
    }
    return {name: text[:_MOST_TEXT] for name, text in said.items() if text}

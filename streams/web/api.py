"""The API: incidents and services as JSON, and commands of programs. What is on `alerts` is here as it is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from detectors.alert import Alert, Course, Kind, Severity, State
from detectors.catalogue import Service
from streams.web import requests
from streams.web.access import Access, Way
from streams.web.actions import STATUS, Actions, CommandRequest, Outcome, Problem, Refused
from streams.web.incidents import IncidentView
from streams.web.services import ServiceState, services
from streams.web.texts import TEXTS, Language
from streams.web.trail import Step
from streams.web.wording import incident_url, service_url

SCHEMA_VERSION = 1
PARTS_SHOWN = 200
REGIONS_SHOWN = 200

_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(CommandRequest).decode
_ENGLISH = TEXTS[Language.ENGLISH]


class IncidentList(msgspec.Struct, frozen=True, kw_only=True):
    """Open incidents, worst first, and resolved ones, the last first."""

    schema_version: int = SCHEMA_VERSION
    open_count: Annotated[int, Meta(ge=0, description="incidents open now, also those that are not listed")]
    open: Annotated[Sequence[Alert], Meta(description="their last records on `alerts`, without course, at most 1000")]
    recent: Annotated[Sequence[Alert], Meta(description="those that are over, without course, at most 200")]


class IncidentBrief(msgspec.Struct, frozen=True, kw_only=True):
    """An incident in short. url: of its page."""

    id: str
    url: str
    kind: Kind
    service: str | None
    region: str | None
    severity: Severity
    state: State
    started_at: str
    resolved_at: str | None
    summary: str


class IncidentDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One incident with what passed by of it."""

    schema_version: int = SCHEMA_VERSION
    url: Annotated[str, Meta(description="its page on the status page")]
    incident: Annotated[Alert, Meta(description="its last record on `alerts`, without course")]
    course: Annotated[
        Course | None,
        Meta(description="counts from an hour before the onset on, coarser the longer it lasts; null: not kept"),
    ]
    timeline: Annotated[Sequence[Step], Meta(description="what happened to it, the oldest first, at most 40")]
    timeline_forgotten: Annotated[int, Meta(ge=0, description="steps after the first one that are not kept")]
    parent: Annotated[IncidentBrief | None, Meta(description="the incident that explains it, if it is kept")]
    parts: Annotated[Sequence[IncidentBrief], Meta(description="the incidents that it explains, at most 200")]
    parts_count: Annotated[int, Meta(ge=0, description="how many it explains, also those that are not listed")]


class RegionBrief(msgspec.Struct, frozen=True, kw_only=True):
    """An open incident of a service, by region."""

    region: Annotated[str | None, Meta(description="null: everywhere; it/*: all within it")]
    region_name: str | None
    severity: Severity
    incident: Annotated[str, Meta(description="its id")]
    parent: Annotated[str | None, Meta(description="id of the incident that explains it")]
    started_at: str


class ServiceBrief(msgspec.Struct, frozen=True, kw_only=True):
    """A service as it stands."""

    name: str
    url: Annotated[str, Meta(description="its page on the status page")]
    in_trouble: bool
    severity: Annotated[Severity | None, Meta(description="of its worst open incident; null where there is none")]
    open_count: Annotated[int, Meta(ge=0)]
    open: Annotated[Sequence[RegionBrief], Meta(description="its open incidents, worst first, at most 200")]
    last_resolved_at: Annotated[str | None, Meta(description="when it was in trouble last; null: not kept")]
    owner: str | None
    team: str | None


class ServiceList(msgspec.Struct, frozen=True, kw_only=True):
    """The services of which something is known: those in trouble first, worst first, then the quiet ones by name."""

    schema_version: int = SCHEMA_VERSION
    services: Annotated[Sequence[ServiceBrief], Meta(description="at most 1000")]


class CommandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A command that is on `incident-commands`."""

    schema_version: int = SCHEMA_VERSION
    id: Annotated[str, Meta(description="of the command")]
    outcome: Annotated[
        Outcome,
        Meta(description="done: a record answered it; sent: none did yet, it counts as soon as a worker heeds it"),
    ]
    incident: Annotated[Alert | None, Meta(description="the incident as it stands, without course")]


class ApiError(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a request, and what to do."""

    schema_version: int = SCHEMA_VERSION
    error: str
    hint: str
    path: Annotated[str | None, Meta(description="JSON path of the bad field; null where it is none")] = None


class Api:
    """The handlers below /api/."""

    def __init__(
        self, view: IncidentView, access: Access, actions: Actions | None, catalogued: Sequence[Service]
    ) -> None:
        self._view = view
        self._access = access
        self._actions = actions
        self._catalogued = catalogued

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/incidents", self.incidents),
            web.get("/api/incidents/{id}", self.incident),
            web.post("/api/incidents/{id}/commands", self.command),
            web.get("/api/services", self.services),
        ]

    async def incidents(self, _request: web.Request) -> web.Response:
        """What is open and what was of late."""
        view = self._view
        return answer(IncidentList(open_count=view.open_count, open=view.open, recent=view.recent))

    async def incident(self, request: web.Request) -> web.Response:
        """One incident, with its trail."""
        alert = self._view.get(request.match_info["id"])
        if alert is None:
            return refusal(Refused(Problem.NO_INCIDENT))
        trail, parts = self._view.trail(alert.id), self._view.parts(alert.id)
        parent = self._view.get(alert.parent) if alert.parent else None
        return answer(
            IncidentDetail(
                url=incident_url(alert.id),
                incident=alert,
                course=trail.counts.course() if trail.counts is not None else None,
                timeline=trail.steps,
                timeline_forgotten=trail.forgotten,
                parent=_brief(parent) if parent is not None else None,
                parts=[_brief(part) for part in parts[:PARTS_SHOWN]],
                parts_count=len(parts),
            )
        )

    async def services(self, _request: web.Request) -> web.Response:
        """All services of which something is known."""
        return answer(ServiceList(services=[_service(each) for each in services(self._view, self._catalogued)]))

    async def command(self, request: web.Request) -> web.Response:
        """Say something of an incident."""
        if self._actions is None or not self._access.is_open:
            return refusal(Refused(Problem.READ_ONLY))
        user = self._access.user(request)
        if user is None:
            return refusal(Refused(Problem.WHO_ARE_YOU))
        # A browser sends cookies, and a proxy its header, for other sites, too; a bearer token only who knows it.
        if user.way is not Way.BEARER and not self._access.is_own(request):
            return refusal(Refused(Problem.CROSS_SITE))
        # Another site cannot send this type without asking first, and gets no answer to that.
        if request.content_type != "application/json":
            return error(415, "The body is not application/json.", "Send Content-Type: application/json.")
        try:
            asked = _decode_request(await requests.body(request))
        except requests.TooLarge:
            return error(413, f"The body is longer than {requests.MOST_BYTES} bytes.", "Give a shorter reason.")
        except requests.TooSlow:
            return error(408, f"The body did not come within {requests.BODY_SECONDS:g} s.", "Send it at once.")
        except requests.BrokenOff:
            return error(400, "The body broke off.", "Send it again, whole.")
        except msgspec.ValidationError as wrong:
            text, _, path = str(wrong).partition(" - at `")
            return refusal(Refused(Problem.BAD_COMMAND, path.rstrip("`") or "$", text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return refusal(Refused(Problem.BAD_COMMAND, "$", "the body is not JSON"))
        said = await self._actions.say(request.match_info["id"], asked, user.name)
        if isinstance(said, Refused):
            return refusal(said)
        answered = CommandAnswer(
            id=said.command.id, outcome=said.outcome, incident=self._view.get(said.command.incident)
        )
        return answer(answered, status=200 if said.outcome is Outcome.DONE else 202)


def answer(body: msgspec.Struct, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """A struct as JSON that nobody keeps."""
    response = web.Response(
        status=status,
        body=_encode(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
    response.enable_compression()
    return response


def error(status: int, fact: str, hint: str, *, path: str | None = None, **headers: Any) -> web.Response:
    """What is wrong, and what to do."""
    return answer(ApiError(error=fact, hint=hint, path=path), status=status, headers=headers)


_HINTS = {
    Problem.READ_ONLY: "Set web.tokens_file, or web.user_header and web.trusted_proxies: docs/settings.md.",
    Problem.WHO_ARE_YOU: "Send Authorization: Bearer TOKEN, with a token of web.tokens_file.",
    Problem.CROSS_SITE: "Send it from a page of this host, or with a bearer token.",
    Problem.NO_INCIDENT: "What is kept: /api/incidents",
    Problem.IS_RESOLVED: "What is open: /api/incidents",
    Problem.BAD_COMMAND: 'Send {"action": "ack", "reason": "why"}; actions: ack, mute, unmute, resolve, false-alarm.',
    Problem.KAFKA_AWAY: "Run: groundswell check",
}


def refusal(refused: Refused) -> web.Response:
    """Why a command was not sent, or an incident not found."""
    problem = refused.problem
    said = {"detail": refused.detail} if problem is Problem.BAD_COMMAND else {}
    headers = {"WWW-Authenticate": "Bearer"} if problem is Problem.WHO_ARE_YOU else {}
    fact = _API_FACTS.get(problem) or _ENGLISH(problem.value, **said)
    return error(STATUS[problem], fact, _HINTS[problem], path=refused.path or None, **headers)


_API_FACTS = {
    Problem.WHO_ARE_YOU: "The request names nobody who may say something of an incident.",
    Problem.CROSS_SITE: "The request comes from another site.",
}


def _brief(alert: Alert) -> IncidentBrief:
    return IncidentBrief(
        id=alert.id,
        url=incident_url(alert.id),
        kind=alert.kind,
        service=alert.service,
        region=alert.region,
        severity=alert.severity,
        state=alert.state,
        started_at=alert.started_at,
        resolved_at=alert.resolved_at,
        summary=alert.summary,
    )


def _service(service: ServiceState) -> ServiceBrief:
    last = next(iter((*service.open, *service.past)), None)
    about = service.known or last
    return ServiceBrief(
        name=service.name,
        url=service_url(service.name),
        in_trouble=service.in_trouble,
        severity=service.open[0].severity if service.open else None,
        open_count=len(service.open),
        open=[
            RegionBrief(
                region=alert.region,
                region_name=alert.region_name,
                severity=alert.severity,
                incident=alert.id,
                parent=alert.parent,
                started_at=alert.started_at,
            )
            for alert in service.open[:REGIONS_SHOWN]
        ],
        last_resolved_at=service.past[0].resolved_at if service.past else None,
        owner=about.owner if about is not None else None,
        team=about.team if about is not None else None,
    )

"""The pages: each asked for as a whole or as the part that changes, in the reader's language, and what they send."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from markupsafe import Markup

from detectors.alert import State
from detectors.catalogue import Service
from detectors.command import MAX_REASON, Action
from streams.console import shortened
from streams.html import templates
from streams.web import atom, history, incident_page, overview, requests, service_page
from streams.web.access import (
    FORM_COOKIE,
    LOGIN_SECONDS,
    TOKEN_COOKIE,
    Access,
    User,
    Way,
    form_secret,
    form_token,
    is_signed,
    keep,
)
from streams.web.actions import STATUS, Actions, CommandRequest, Outcome, Problem, Refused
from streams.web.incidents import IncidentView
from streams.web.live import Live, Situation
from streams.web.services import service
from streams.web.texts import TEXTS, Language, Texts, chosen
from streams.web.wording import incident_url

LANGUAGE_COOKIE = "groundswell_language"
LANGUAGE_SECONDS = 365 * 86_400
#: Rendered pages that many browsers share: a thousand open incidents take 80 ms.
PAGES_KEPT = 32
_MOST = 8_000_000  # characters of them

_TEMPLATES = templates(Path(__file__).parent / "templates")
#: What a log-in without a name is signed for.
_NOBODY = ""
#: What the forms of an answer may do, as its policy says it.
FORM_POLICY = web.ResponseKey("form_policy", str)
NO_FORMS = "form-action 'none'"
OWN_FORMS = "form-action 'self'"

Make = Callable[[Situation, Texts], Mapping[str, object]]


class Visit(msgspec.Struct, frozen=True):
    """Who asks for a page, how. form: the secret of the browser's forms. part: only what changes is asked for."""

    texts: Texts
    user: User | None
    form: str
    part: bool

    @property
    def form_token(self) -> str:
        """What its forms have to bear."""
        return form_token(self.form, self.user.name if self.user is not None else _NOBODY)


class Rendered(msgspec.Struct, frozen=True):
    """The rendered part of a page that changes. headline: what it says at its top."""

    html: str
    headline: str


class Pages:
    """The handlers of all that people look at."""

    def __init__(
        self,
        view: IncidentView,
        live: Live,
        access: Access,
        actions: Actions | None,
        catalogued: Sequence[Service],
        assets: Mapping[str, str],
    ) -> None:
        """assets: names to URLs. actions: None where nothing can be sent."""
        self._view = view
        self._live = live
        self._access = access
        self._actions = actions
        self._catalogued = catalogued
        self._assets = assets
        self._rendered: dict[tuple[object, ...], Rendered] = {}  # the longest unused first

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.overview),
            web.get("/history", self.history),
            web.get("/incidents/{id}", self.incident),
            web.post("/incidents/{id}/commands", self.command),
            web.get("/services/{name:.*}", self.service),
            web.get("/login", self.login),
            web.post("/login", self.log_in),
            web.post("/logout", self.log_out),
            web.get("/feed.atom", self.feed),
        ]

    async def overview(self, request: web.Request) -> web.Response:
        """How things stand."""
        return self._page(
            request, "overview.html", lambda situation, t: overview.content(self._view, situation, t, self._catalogued)
        )

    async def incident(self, request: web.Request) -> web.Response:
        """All of one incident."""
        alert = self._view.get(request.match_info["id"])
        if alert is None:
            return self._message(request, "not_found", "no_incident", status=404)
        told = request.query.get("told", "")
        outcome = Outcome.SENT if told == Outcome.SENT.value else None
        if told and self._view.answered(told) == alert.id:
            outcome = Outcome.DONE
        user = self._user(request)

        def make(situation: Situation, texts: Texts) -> Mapping[str, object]:
            return {
                **incident_page.content(self._view, alert, situation, texts),
                "told": texts(f"told.{outcome.value}") if outcome is not None else "",
                "can_act": user is not None and alert.state is not State.RESOLVED,
                "mutes": incident_page.mute_spans(texts),
                "longest": MAX_REASON,
            }

        return self._page(request, "incident.html", make, key=(alert.id, outcome))

    async def service(self, request: web.Request) -> web.Response:
        """All of one service."""
        name = request.match_info["name"] or request.query.get("name", "")
        found = service(self._view, self._catalogued, name)
        if found is None:
            return self._message(request, "not_found", "no_service", status=404)
        return self._page(
            request, "service.html", lambda situation, t: service_page.content(self._view, found, situation, t), (name,)
        )

    async def history(self, request: web.Request) -> web.Response:
        """What was, by what is asked for."""
        wanted = history.wanted(request.query)
        return self._page(
            request,
            "history.html",
            lambda situation, t: history.content(self._view, wanted, situation, t),
            (*wanted.asked.values(), wanted.page),
            policy=OWN_FORMS,
        )

    async def feed(self, request: web.Request) -> web.Response:
        """The incidents as Atom."""
        response = web.Response(
            body=atom.feed(self._view, self._access.base(request), self._texts(request)),
            headers={"Content-Type": f"{atom.CONTENT_TYPE}; charset=utf-8", "Cache-Control": "no-cache"},
        )
        response.enable_compression()
        return response

    async def command(self, request: web.Request) -> web.Response:
        """Say something of an incident, by the form of its page."""
        id, user = request.match_info["id"], self._user(request)
        if self._actions is None or not self._access.is_open:
            return self._refusal(request, id, Refused(Problem.READ_ONLY))
        if user is None:
            return self._refusal(request, id, Refused(Problem.WHO_ARE_YOU))
        fields = await requests.form(request)
        if not self._access.is_own(request) or not is_signed(request, user.name, fields.get("form", "")):
            return self._refusal(request, id, Refused(Problem.CROSS_SITE))
        asked = _asked(fields)
        if isinstance(asked, Refused):
            return self._refusal(request, id, asked)
        said = await self._actions.say(id, asked, user.name)
        if isinstance(said, Refused):
            return self._refusal(request, id, said)
        told = said.command.id if said.outcome is Outcome.DONE else said.outcome.value
        return _see_other(f"{incident_url(id)}?{urlencode({'told': told})}")

    async def login(self, request: web.Request) -> web.Response:
        """The form for a token."""
        return self._login(request, request.query.get("next", ""), status=200)

    async def log_in(self, request: web.Request) -> web.Response:
        """Keep a token in the browser's cookie, if it is one."""
        fields = await requests.form(request)
        if not self._access.is_own(request) or not is_signed(request, _NOBODY, fields.get("form", "")):
            return self._message(request, "refused", "cross_site", status=403)
        token = fields.get("token", "").strip()
        if self._access.named(token) is None:
            return self._login(request, fields.get("next", ""), status=403, wrong=True)
        response = _see_other(_own_path(fields.get("next", "")))
        https = self._access.is_https(request)
        keep(response, TOKEN_COOKIE, token, https=https, seconds=LOGIN_SECONDS)
        return response

    async def log_out(self, request: web.Request) -> web.Response:
        """Forget the token."""
        user = self._user(request)
        fields = await requests.form(request)
        name = user.name if user is not None else _NOBODY
        if not self._access.is_own(request) or not is_signed(request, name, fields.get("form", "")):
            return self._message(request, "refused", "cross_site", status=403)
        response = _see_other("/")
        keep(response, TOKEN_COOKIE, "", https=self._access.is_https(request), seconds=0)
        return response

    def not_found(self, request: web.Request) -> web.Response:
        """For a path where nothing is."""
        return self._message(request, "not_found", "no_page", status=404)

    def _login(self, request: web.Request, back: str, *, status: int, wrong: bool = False) -> web.Response:
        if not self._access.has_login:
            return self.not_found(request)

        def make(situation: Situation, texts: Texts) -> Mapping[str, object]:
            return {
                "headline": texts("login_title"),
                "mood": "plain",
                "wrong": wrong,
                "next": _own_path(back),
                "situation": situation,
            }

        return self._page(request, "login.html", make, status=status, policy=OWN_FORMS, is_live=False)

    def _refusal(self, request: web.Request, id: str, refused: Refused) -> web.Response:
        problem = refused.problem
        said = {"detail": shortened(refused.detail, 200)} if problem is Problem.BAD_COMMAND else {}
        title = "not_found" if problem is Problem.NO_INCIDENT else "failed"
        back = incident_url(id) if self._view.get(id) is not None else ""
        return self._message(request, title, problem.value, status=STATUS[problem], back=back, **said)

    def _message(
        self, request: web.Request, title: str, text: str, *, status: int, back: str = "", **said: object
    ) -> web.Response:
        def make(situation: Situation, texts: Texts) -> Mapping[str, object]:
            return {
                "headline": texts(title),
                "mood": "plain",
                "message": texts(text, **said),
                "back": back,
                "situation": situation,
            }

        return self._page(request, "message.html", make, status=status, is_live=False)

    def _page(
        self,
        request: web.Request,
        template: str,
        make: Make,
        key: tuple[object, ...] = (),
        *,
        status: int = 200,
        policy: str = NO_FORMS,
        is_live: bool = True,
    ) -> web.Response:
        """A page, or of one that is kept true by live.js the part that changes.

        key: what the content depends on besides the state and the language. policy: what forms may do.
        """
        visit, situation = self._visit(request), self._live.situation()
        version = self._live.version(situation)
        tag = f'"{version}.{_variant(request, visit, status)}"'
        if visit.part and status == 200 and request.headers.get("If-None-Match") == tag:
            response = web.Response(status=304)
        else:
            full = (template, *key, visit.texts.language, version, situation.data_until)
            shared = is_live and status == 200 and visit.user is None
            state = self._state(template, make, visit, situation, full if shared else None)
            if visit.part:
                response = _html(state.html, status)
            else:
                # Without JavaScript a page comes anew from time to time, unless somebody may be writing in it.
                reloads = visit.user is None and policy == NO_FORMS
                kind = {"is_live": is_live, "is_found": status == 200, "reloads": reloads}
                response = _html(self._whole(request, visit, state, situation, version, **kind), status)
        if visit.part:
            response.headers["ETag"] = tag
            response.headers["State-Version"] = version
            response.headers["Data-Until"] = str(situation.data_until)
            response.headers["Cache-Control"] = "no-cache"
        self._keep_cookies(request, response, visit)
        response[FORM_POLICY] = OWN_FORMS if visit.user is not None else policy
        return response

    def _state(
        self, template: str, make: Make, visit: Visit, situation: Situation, key: tuple[object, ...] | None
    ) -> Rendered:
        """The part of a page that changes. key: of what many readers share; None: it is for this one alone."""
        if key is not None and (kept := self._rendered.pop(key, None)) is not None:
            self._rendered[key] = kept
            return kept
        content = make(situation, visit.texts)
        html = _TEMPLATES.get_template(template).render(content, t=visit.texts, form_token=visit.form_token)
        state = Rendered(html, str(content["headline"]))
        if key is not None:
            self._rendered[key] = state
            while len(self._rendered) > PAGES_KEPT or sum(len(each.html) for each in self._rendered.values()) > _MOST:
                del self._rendered[next(iter(self._rendered))]
        return state

    def _whole(
        self,
        request: web.Request,
        visit: Visit,
        state: Rendered,
        situation: Situation,
        version: str,
        *,
        is_live: bool,
        is_found: bool,
        reloads: bool,
    ) -> str:
        texts = visit.texts
        # What is not there is not repeated.
        is_there = is_found and request.method == "GET"
        path = request.rel_url.raw_path if is_there else "/"
        given = request.query.items() if is_there else ()
        here = {name: value for name, value in given if name not in ("lang", "part", "told")}
        return _TEMPLATES.get_template("page.html").render(
            t=texts,
            assets=self._assets,
            state=Markup(state.html),
            headline=state.headline,
            version=version,
            situation=situation,
            clock=overview.clock_of(self._view, situation, texts),
            is_live=is_live,
            reloads=reloads,
            path=path,
            languages=[
                (each.value, each.own_name, f"{path}?{urlencode({**here, 'lang': each.value})}") for each in Language
            ],
            user=visit.user,
            can_log_in=self._access.has_login and visit.user is None and request.path != "/login",
            can_log_out=visit.user is not None and visit.user.way is Way.COOKIE,
            login_url=f"/login?{urlencode({'next': f'{path}?{urlencode(here)}' if here else path})}",
            form_token=visit.form_token,
        )

    def _visit(self, request: web.Request) -> Visit:
        return Visit(
            self._texts(request), self._user(request), form_secret(request), request.query.get("part") == "state"
        )

    def _texts(self, request: web.Request) -> Texts:
        return TEXTS[
            chosen(
                request.query.get("lang"),
                request.cookies.get(LANGUAGE_COOKIE),
                request.headers.get("Accept-Language", ""),
            )
        ]

    def _user(self, request: web.Request) -> User | None:
        return self._access.user(request) if self._actions is not None else None

    def _keep_cookies(self, request: web.Request, response: web.Response, visit: Visit) -> None:
        https = self._access.is_https(request)
        if request.query.get("lang") == visit.texts.language.value:
            keep(response, LANGUAGE_COOKIE, visit.texts.language.value, https=https, seconds=LANGUAGE_SECONDS)
        if self._access.is_open and request.cookies.get(FORM_COOKIE) != visit.form:
            keep(response, FORM_COOKIE, visit.form, https=https)


def _asked(fields: Mapping[str, str]) -> CommandRequest | Refused:
    """What the buttons of the form say: an action, of a mute with its seconds, `mute:1800`."""
    action, _, seconds = fields.get("say", "").partition(":")
    if action not in set(Action) or (seconds and not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 8)):
        return Refused(Problem.BAD_COMMAND, "$.action", action)
    return CommandRequest(
        action=Action(action), reason=fields.get("reason", ""), for_seconds=float(seconds) if seconds else None
    )


def _own_path(path: str) -> str:
    """Where to go on after a log-in: a path of ours, never another site's."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and path.isascii()
    return path if is_ours and len(path) <= 1_000 else "/"


def _variant(request: web.Request, visit: Visit, status: int) -> str:
    user = visit.user.name if visit.user is not None else None
    parts = (request.path_qs, visit.texts.language, user, visit.form if user is not None else "", status)
    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:8]


def _html(text: str, status: int) -> web.Response:
    response = web.Response(
        text=text,
        status=status,
        content_type="text/html",
        headers={"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"},
    )
    response.enable_compression()
    return response


def _see_other(url: str) -> web.Response:
    return web.Response(status=303, headers={"Location": url, "Cache-Control": "no-store"})

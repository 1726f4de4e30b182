"""The worker's web server: pages, their live updates, the API, metrics, health, put together."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest

from detectors.catalogue import Service
from streams.fault import Fault
from streams.health import Health, Verdict
from streams.listener import Bounds, listen
from streams.web import requests
from streams.web.access import Access
from streams.web.actions import Actions, Send
from streams.web.api import Api, error
from streams.web.incidents import IncidentView
from streams.web.live import Live
from streams.web.pages import FORM_POLICY, NO_FORMS, Pages
from streams.web_settings import WebSettings

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # No other site learns from where somebody came. With `no-referrer` our own forms would come from the origin `null`.
    "Referrer-Policy": "same-origin",
    "Server": "groundswell",  # and not the versions of what we run on
}
#: A browser has a connection for the live updates, and one or two more. All together must not eat up the file
#: descriptors that the worker talks to Kafka with. A proxy keeps connections for a minute and expects us to.
BOUNDS = Bounds(connections=512, idle_seconds=75.0, linger_seconds=2.0, head_line_bytes=8190, head_lines=128)
#: They last, or are cheap and asked by what must not wait.
_AT_ONCE = frozenset({"/events", "/healthz", "/readyz", "/metrics"})
_STATIC = Path(__file__).parent / "static"
_CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_encode = msgspec.json.Encoder().encode

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Any  # aiohttp's own type of it is generic over its versions


class Served(msgspec.Struct, frozen=True):
    """A server that runs. url: where a browser on this machine finds it."""

    url: str
    close: Callable[[], Awaitable[None]]


class _Asset(msgspec.Struct, frozen=True):
    """A file of the page. tag: a digest of its content."""

    body: bytes
    content_type: str
    tag: str


class _Site:
    """The handlers of what programs ask for: assets, metrics, health."""

    def __init__(self, registry: CollectorRegistry, health: Health, now: Callable[[], float]) -> None:
        self._registry = registry
        self._health = health
        self._now = now
        self._assets = {path.name: _asset(path) for path in sorted(_STATIC.iterdir()) if path.suffix in _CONTENT_TYPES}

    @property
    def asset_urls(self) -> dict[str, str]:
        """URLs of the assets by name. They name the content's digest."""
        return {name: f"/static/{name}?v={asset.tag}" for name, asset in self._assets.items()}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/static/{name}", self.static),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
        ]

    async def static(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        # The page names the content's digest in the URL: what is behind it never changes.
        cache = "public, max-age=31536000, immutable" if request.query.get("v") == asset.tag else "no-cache"
        return web.Response(
            body=asset.body, content_type=asset.content_type, charset="utf-8", headers={"Cache-Control": cache}
        )

    async def metrics(self, request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except (ValueError, TypeError):  # a version that is none trips the client library
            encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        response = web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
        response.enable_compression()
        return response

    async def healthz(self, _request: web.Request) -> web.Response:
        return _verdict(self._health.alive(self._now()))

    async def readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._health.ready())


def make_app(
    *,
    view: IncidentView,
    registry: CollectorRegistry,
    health: Health,
    now: Callable[[], float],
    access: Access | None = None,
    send: Send | None = None,
    catalogued: Sequence[Service] = (),
) -> web.Application:
    """The web application on what the worker knows.

    now: the wall clock, seconds since 1970; the one that `health` is told times of, too.
    access: who may say something of incidents; send: puts what they say on `incident-commands`; without them the page
    is read-only. catalogued: the services of the catalogue.
    """
    access = access or Access(WebSettings(), {})
    actions = None if send is None else Actions(view, send)
    site, live = _Site(registry, health, now), Live(view, registry, health, now)
    pages = Pages(view, live, access, actions, catalogued, site.asset_urls)
    app = web.Application(middlewares=[_in_turn(), _errors(pages)])
    app.add_routes([*pages.routes(), *Api(view, access, actions, catalogued).routes(), *site.routes()])
    app.add_routes([web.get("/events", live.events, allow_head=False)])
    app.on_response_prepare.append(_secure)
    app.cleanup_ctx.append(live.watch)
    app.on_shutdown.append(live.close_streams)
    return app


async def serve(app: web.Application, host: str, port: int) -> Served:
    """Serve `app` until closed. port: 0 for a free one. Fault where the address cannot be bound."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        listener = await listen(runner, host, port, BOUNDS, _no_http, title="the status page", section="web")
    except Fault:
        await runner.cleanup()
        raise

    async def close() -> None:
        listener.close()
        await runner.cleanup()

    bound = listener.sockets[0].getsockname()
    return Served(f"http://{_reachable(bound[0])}:{bound[1]}", close)


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # all interfaces: no address that a browser can go to
        return "localhost"
    return f"[{host}]" if ":" in host else host


def _in_turn() -> Middleware:
    """What is read is made one after the other: between any two, whatever else is on the worker's loop has its turn."""
    turn = asyncio.Lock()

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        if request.method not in ("GET", "HEAD") or (resource is not None and resource.canonical in _AT_ONCE):
            return await handler(request)
        async with turn:
            await asyncio.sleep(0)  # a handler that waits for nothing would hand the turn on within the same round
            return await handler(request)

    return answered


def _errors(pages: Pages) -> Middleware:
    """Answers for what is not there or not allowed: JSON below /api/, a page elsewhere. They repeat nothing."""

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        below_api = request.path.startswith("/api/")
        try:
            return await handler(request)
        except web.HTTPNotFound:
            if below_api:
                return error(404, "There is nothing at this path.", "There are /api/incidents and /api/services.")
            if request.path.startswith("/static/"):
                return web.Response(status=404, text="Not found. The status page is at /\n")
            return pages.not_found(request)
        except web.HTTPMethodNotAllowed as wrong:
            if not below_api:
                raise
            allowed = ", ".join(sorted(wrong.allowed_methods))
            return error(405, f"{request.method[:20]} is not allowed here.", f"Allowed: {allowed}.", Allow=allowed)
        except requests.TooLarge:
            return web.Response(status=413, text="The form is too long.\n")
        except requests.TooSlow:
            return web.Response(status=408, text="The form did not come in time.\n")
        except requests.BrokenOff:
            return web.Response(status=400, text="The form broke off.\n")

    return answered


def _no_http(why: str) -> web.Response:
    answer = web.Response(status=400, text=f"It is not HTTP: {why}.\n")
    _bear(answer)
    return answer


async def _secure(_request: web.Request, response: web.StreamResponse) -> None:
    _bear(response)


def _bear(response: web.StreamResponse) -> None:
    """The headers that every answer bears. Only a page that has forms may send any."""
    response.headers.update(_SECURITY_HEADERS)
    response.headers["Content-Security-Policy"] = f"{_POLICY}; {response.get(FORM_POLICY, NO_FORMS)}"


def _verdict(verdict: Verdict) -> web.Response:
    return web.Response(
        status=200 if verdict.ok else 503,
        body=_encode(verdict),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _asset(path: Path) -> _Asset:
    body = path.read_bytes()
    return _Asset(body, _CONTENT_TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:12])

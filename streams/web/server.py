"""The worker's web server: status page, its live updates, metrics, health, incidents as JSON. It only reads."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder, generate_latest

from detectors import alert
from streams.health import Health, Verdict
from streams.web import page
from streams.web.freshness import Freshness, watch
from streams.web.incidents import IncidentView

#: How often a change is looked for and told to the browsers, seconds: bursts of alerts come as one.
EVENT_SECONDS = 0.5
#: How often the data's clock is looked at, seconds, be anybody there or not.
WATCH_SECONDS = 5.0
#: A connection is silent no longer than this, seconds; live.js takes one that is for lost.
HEARTBEAT_SECONDS = 5.0
#: A browser that does not take an event for so long is dropped, seconds.
WRITE_SECONDS = 10.0
#: Browsers that get live updates at a time; further ones poll.
MAX_STREAMS = 200
#: Bytes that may wait for one browser. An event has about 100: whoever is this far behind does not read.
STREAM_BUFFER_BYTES = 16_384

_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "groundswell",  # and not the versions of what we run on
}
_WATERMARK = "groundswell_watermark_timestamp_seconds"
_STATIC = Path(__file__).parent / "static"
_CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_encode = msgspec.json.Encoder().encode


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
    """The handlers and what they read from."""

    def __init__(
        self, view: IncidentView, registry: CollectorRegistry, health: Health, now: Callable[[], float]
    ) -> None:
        self._view = view
        self._registry = registry
        self._health = health
        self._now = now
        self._freshness = Freshness()
        # Versions of two runs never meet: a browser that stays through a restart loads the new state.
        self._run = secrets.token_hex(4)
        # The last rendered ones: a thousand open incidents take 80 ms, which many browsers share.
        self._page: tuple[tuple[str, float], str] = (("", 0.0), "")
        self._fragment: tuple[str, str] = ("", "")
        self._assets = {path.name: _asset(path) for path in sorted(_STATIC.iterdir()) if path.suffix in _CONTENT_TYPES}
        self._asset_urls = {name: f"/static/{name}?v={asset.tag}" for name, asset in self._assets.items()}
        self._streams = 0
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.index),
            web.get("/state", self.state),
            web.get("/events", self.events, allow_head=False),
            web.get("/static/{name}", self.static),
            web.get("/api/incidents", self.incidents),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.healthz),
            web.get("/readyz", self.readyz),
        ]

    async def watch(self, _app: web.Application) -> AsyncIterator[None]:
        """Look at the data's clock while nobody else does, so that the first to ask is told if it stands still."""

        async def look() -> None:
            while True:
                self._situation()
                await asyncio.sleep(WATCH_SECONDS)

        task = asyncio.create_task(look())
        yield
        task.cancel()

    async def close_streams(self, _app: web.Application) -> None:
        self._closing.set()

    async def index(self, _request: web.Request) -> web.Response:
        situation = self._situation()
        version = self._version(situation)
        if self._page[0] != (key := (version, situation.data_until)):
            self._page = (key, page.page(self._view, situation, version=version, assets=self._asset_urls))
        return _html(self._page[1])

    async def state(self, request: web.Request) -> web.Response:
        """The part of the page that changes; many browsers ask for the same one."""
        situation = self._situation()
        version = self._version(situation)
        if request.headers.get("If-None-Match") == f'"{version}"':
            response = web.Response(status=304)
        else:
            if self._fragment[0] != version:
                self._fragment = (version, page.fragment(self._view, situation))
            response = _html(self._fragment[1])
        response.headers["ETag"] = f'"{version}"'
        response.headers["Data-Until"] = str(situation.data_until)
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events with the version of the state and the data's clock; the browser fetches what changed.

        Nothing queues up for a browser: a slow one skips to the latest, one that does not read at all is dropped.
        """
        if self._streams >= MAX_STREAMS:
            raise web.HTTPServiceUnavailable(
                text="Too many browsers get live updates; this one has to ask from time to time.\n",
                headers={"Retry-After": "15"},
            )
        self._streams += 1
        try:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            )
            await response.prepare(request)
            _limit_buffers(request)
            await self._follow(response)
        except (TimeoutError, ConnectionError):
            # Gone, or it does not read. What still waits for it is thrown away.
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams -= 1
        return response

    async def _follow(self, response: web.StreamResponse) -> None:
        last, silent_seconds = b"retry: 2000\n\n", 0.0
        await response.write(last)
        while not self._closing.is_set():
            event = self._event()
            if event != last or silent_seconds >= HEARTBEAT_SECONDS:
                async with asyncio.timeout(WRITE_SECONDS):
                    await response.write(event)
                last, silent_seconds = event, 0.0
            silent_seconds += EVENT_SECONDS
            try:
                async with asyncio.timeout(EVENT_SECONDS):
                    await self._closing.wait()
            except TimeoutError:
                continue

    def _event(self) -> bytes:
        situation = self._situation()
        data = {"version": self._version(situation), "data_until": situation.data_until}
        return b"data: " + _encode(data) + b"\n\n"

    async def static(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        # The page names the content's digest in the URL: what is behind it never changes.
        cache = "public, max-age=31536000, immutable" if request.query.get("v") == asset.tag else "no-cache"
        return web.Response(
            body=asset.body, content_type=asset.content_type, charset="utf-8", headers={"Cache-Control": cache}
        )

    async def incidents(self, _request: web.Request) -> web.Response:
        """Open incidents, worst first, and resolved ones, the last first; each the last record of `alerts`."""
        view = self._view
        body = {
            "schema_version": alert.SCHEMA_VERSION,
            "open_count": view.open_count,
            "open": view.open,
            "recent": view.recent,
        }
        return web.Response(body=_encode(body), content_type="application/json", headers={"Cache-Control": "no-store"})

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

    def _situation(self) -> page.Situation:
        now = self._now()
        # Of this one metric alone: get_sample_value() would collect all of them, twice a second for each browser.
        family = next(iter(self._registry.restricted_registry([_WATERMARK]).collect()), None)
        mark = family.samples[0].value if family else 0.0
        self._freshness = watch(self._freshness, mark, now=now)
        return page.Situation(self._health.alive(now), self._health.ready(), self._freshness.flow(now), mark)

    def _version(self, situation: page.Situation) -> str:
        """Changes whenever the page has to look different, the data's clock aside, which live.js moves."""
        parts = (self._run, self._view.version, situation.alive, situation.ready, situation.flow)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def make_app(
    *, view: IncidentView, registry: CollectorRegistry, health: Health, now: Callable[[], float]
) -> web.Application:
    """The web application on what the worker knows.

    now: the wall clock, seconds since 1970; the one that `health` is told times of, too.
    """
    site = _Site(view, registry, health, now)
    app = web.Application(middlewares=[_plain_errors])
    app.add_routes(site.routes())
    app.on_response_prepare.append(_secure)
    app.cleanup_ctx.append(site.watch)
    app.on_shutdown.append(site.close_streams)
    return app


async def serve(app: web.Application, host: str, port: int) -> Served:
    """Serve `app` until closed. port: 0 for a free one. OSError where the address cannot be bound."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    bound = runner.addresses[0]
    return Served(f"http://{_reachable(bound[0])}:{bound[1]}", runner.cleanup)


def _reachable(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # all interfaces: no address that a browser can go to
        return "localhost"
    return f"[{host}]" if ":" in host else host


@web.middleware
async def _plain_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return web.Response(status=404, text="Not found. The status page is at /\n")


async def _secure(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_SECURITY_HEADERS)


def _html(text: str) -> web.Response:
    response = web.Response(text=text, content_type="text/html", headers={"Cache-Control": "no-store"})
    response.enable_compression()
    return response


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


def _limit_buffers(request: web.Request) -> None:
    """Bound what waits for one browser, in our memory and in the kernel's, and notice soon when its machine is gone."""
    if request.transport is None:
        raise ConnectionResetError
    request.transport.set_write_buffer_limits(high=STREAM_BUFFER_BYTES)
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # not on macOS and Windows
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))

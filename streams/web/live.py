"""Live: what pages depend on besides the incidents, its versions, and the stream that tells browsers of new ones."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from streams.health import Health, Verdict
from streams.web.freshness import Flow, Freshness, watch
from streams.web.incidents import IncidentView

#: How often a change is looked for and told to the browsers, seconds: bursts of alerts come as one.
EVENT_SECONDS = 0.5
#: How often the data's clock is looked at, seconds, be anybody there or not.
WATCH_SECONDS = 5.0
#: A connection is silent no longer than this, seconds; live.js takes one that is for lost.
HEARTBEAT_SECONDS = 5.0
#: A browser that does not take an event for so long is dropped, seconds.
WRITE_SECONDS = 10.0
#: What is wrong with the worker is told anew so often, seconds. The reason counts the seconds: with each of them all
#: browsers would load the page, of a worker that is in trouble.
STALL_TOLD_SECONDS = 15.0
#: Browsers that get live updates at a time; further ones poll.
MAX_STREAMS = 200
#: Bytes that may wait for one browser. An event has about 100: whoever is this far behind does not read.
STREAM_BUFFER_BYTES = 16_384

_WATERMARK = "groundswell_watermark_timestamp_seconds"
_encode = msgspec.json.Encoder().encode


class Situation(msgspec.Struct, frozen=True):
    """All that the pages depend on besides the incidents. data_until: seconds since 1970, 0 unknown."""

    alive: Verdict
    ready: Verdict
    flow: Flow
    data_until: float


class Live:
    """The state of the page as it is now."""

    def __init__(
        self, view: IncidentView, registry: CollectorRegistry, health: Health, now: Callable[[], float]
    ) -> None:
        self._view = view
        self._registry = registry
        self._health = health
        self._now = now
        self._freshness = Freshness()
        self._alive = Verdict(True, "")
        self._alive_told_at = 0.0
        # Versions of two runs never meet: a browser that stays through a restart loads the new state.
        self._run = secrets.token_hex(4)
        self._streams = 0
        self._closing = asyncio.Event()

    def situation(self) -> Situation:
        """How things stand now."""
        now = self._now()
        # Of this one metric alone: get_sample_value() would collect all of them, twice a second for each browser.
        family = next(iter(self._registry.restricted_registry([_WATERMARK]).collect()), None)
        mark = family.samples[0].value if family else 0.0
        self._freshness = watch(self._freshness, mark, now=now)
        return Situation(self._told_alive(now), self._health.ready(), self._freshness.flow(now), mark)

    def _told_alive(self, now: float) -> Verdict:
        verdict = self._health.alive(now)
        if verdict.ok != self._alive.ok or not 0 <= now - self._alive_told_at < STALL_TOLD_SECONDS:
            self._alive, self._alive_told_at = verdict, now
        return self._alive

    def version(self, situation: Situation) -> str:
        """Changes whenever a page has to look different, the data's clock aside, which live.js moves."""
        parts = (self._run, self._view.version, situation.alive, situation.ready, situation.flow)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    async def watch(self, _app: web.Application) -> AsyncIterator[None]:
        """Look at the data's clock while nobody else does, so that the first to ask is told if it stands still."""

        async def look() -> None:
            while True:
                self.situation()
                await asyncio.sleep(WATCH_SECONDS)

        task = asyncio.create_task(look())
        yield
        task.cancel()

    async def close_streams(self, _app: web.Application) -> None:
        """Let go of all browsers."""
        self._closing.set()

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
        situation = self.situation()
        data = {"version": self.version(situation), "data_until": situation.data_until}
        return b"data: " + _encode(data) + b"\n\n"


def _limit_buffers(request: web.Request) -> None:
    """Bound what waits for one browser, in our memory and in the kernel's, and notice soon when its machine is gone."""
    if request.transport is None:
        raise ConnectionResetError
    request.transport.set_write_buffer_limits(high=STREAM_BUFFER_BYTES)
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, STREAM_BUFFER_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # not on macOS and Windows
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(WRITE_SECONDS * 1000))

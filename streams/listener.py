"""Listener: connections from outside, bounded in number, in idle time and in what a request's head may be.

What is no HTTP is refused without being repeated or logged: anybody can send it, and a token may stand in it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streams.fault import Fault

#: What aiohttp says of requests: what anybody can send does not belong into the log.
_quiet = logging.getLogger("aiohttp.listener")
_quiet.setLevel(logging.CRITICAL)

log = structlog.get_logger(__name__)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener lets happen to it.

    connections: at a time; one more takes the place of the one that has been there longest with nothing in work, so
    that whoever only sits there keeps nobody out. idle_seconds: how long one may be without a request, or take for the
    head of one. linger_seconds: how long what is left of a refused body is read and thrown away, so that the answer
    arrives. head_line_bytes, head_lines: of a request's head.
    """

    connections: int
    idle_seconds: float
    linger_seconds: float
    head_line_bytes: int
    head_lines: int


async def listen(
    runner: web.AppRunner,
    host: str,
    port: int,
    bounds: Bounds,
    refusal: Callable[[str], web.Response],
    *,
    title: str,
    section: str,
) -> asyncio.Server:
    """Serve the application of `runner`, which is set up. Fault where the address cannot be bound.

    refusal: the answer to what is no HTTP, of why that is so, in words that quote nothing of it. title, section: what
    it is to people, and where its address stands in the settings.
    """
    server = runner.server
    assert server is not None
    loop = asyncio.get_running_loop()

    def connection() -> asyncio.Protocol:
        if len(server.connections) >= bounds.connections:
            idle = next((each for each in server.connections if isinstance(each, _Connection) and each.is_idle), None)
            if idle is None:
                return _HangUp()
            idle.force_close()
        return _Connection(
            refusal,
            server,
            loop=loop,
            access_log=_quiet,
            logger=_quiet,
            keepalive_timeout=bounds.idle_seconds,
            lingering_time=bounds.linger_seconds,
            max_line_size=bounds.head_line_bytes,
            max_field_size=bounds.head_line_bytes,
            max_headers=bounds.head_lines,
            auto_decompress=False,  # who reads a packed body knows when to stop
        )

    try:
        return await loop.create_server(connection, host, port)
    except OSError as error:
        raise Fault(
            f"{title} cannot listen on {host}:{port}",
            error.strerror or str(error),
            f"Give another {section}.host or {section}.port.",
        ) from None


class _Connection(RequestHandler):
    """A connection of a listener."""

    def __init__(self, refusal: Callable[[str], web.Response], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusal = refusal

    @property
    def is_idle(self) -> bool:
        """Whether it is open with no whole request in it."""
        return self.transport is not None and self._waiter is not None and not self._messages

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp's."""
        if status != 400:
            log.error("a request failed", error=repr(exc), exc_info=exc)
            return super().handle_error(request, status, exc, message)
        # What follows the colon is what came, a token maybe.
        answer = self._refusal((message or "").partition(":")[0].strip())
        answer.force_close()
        return answer


class _HangUp(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()

"""The HTTP servers of a worker without the worker: on real sockets, in a thread, for clients that block."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from prometheus_client import CollectorRegistry

from detectors.alert import Severity
from detectors.command import Command
from streams.health import Health
from streams.http_ingest.problem import Refused
from streams.http_ingest.server import HttpIngest
from streams.metrics import Metrics
from streams.settings import HttpIngestSettings, Settings
from streams.tokens import digest
from streams.web.access import Access
from streams.web.incidents import IncidentView
from streams.web.server import make_app, serve
from streams.web_settings import WebSettings
from tests.made_alerts import NOON, answer, course, outage, resolved

T = TypeVar("T")

TOKEN = "0123456789abcdef0123"
OTHER_TOKEN = "fedcba9876543210fedc"
SOURCE, OTHER_SOURCE = "Call centre", "outage-site"
PERSONS_TOKEN = "a9c1d2e4b5a69788796a5b4f"
INCIDENT = "f65d2ce31003f158"


class Kept:
    """A sink that keeps what it gets. failing: raised instead. gate: awaited before."""

    def __init__(self) -> None:
        self.requests: list[list[bytes]] = []
        self.failing: Refused | None = None
        self.gate: asyncio.Event | None = None

    @property
    def reports(self) -> list[object]:
        """The reports of all requests, decoded."""
        return [msgspec.json.decode(value) for values in self.requests for value in values]

    async def put(self, values: list[bytes]) -> None:
        """As Delivery's."""
        if self.gate is not None:
            await self.gate.wait()
        if self.failing is not None:
            raise self.failing
        self.requests.append(values)

    async def close(self) -> None:
        """Nothing to close."""


class Ingest(msgspec.Struct, frozen=True):
    """A listener for reports that runs."""

    url: str
    port: int
    sink: Kept
    metrics: Metrics
    tokens_file: Path


@contextlib.asynccontextmanager
async def ingest(folder: Path, **changes: object) -> AsyncIterator[Ingest]:
    """A listener for reports of two sources on a free port. changes: settings of http_ingest."""
    tokens_file = folder / "tokens"
    tokens_file.write_text(f"# who may send\n{SOURCE} {TOKEN}\n{OTHER_SOURCE} {OTHER_TOKEN}\n")
    rule = HttpIngestSettings(tokens_file=tokens_file, **({"port": 0} | changes))
    sink, metrics = Kept(), Metrics(CollectorRegistry())
    server = HttpIngest(Settings(http_ingest=rule), metrics, sink=sink)
    await server.start()
    try:
        host, port = server.address
        yield Ingest(f"http://{host}:{port}", port, sink, metrics, tokens_file)
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def status() -> AsyncIterator[str]:
    """The status page's server on a free port, with incidents that are open and one that is over; gives its URL.

    Whoever has PERSONS_TOKEN may say something of them, and is answered.
    """
    view, health = IncidentView(), Health()
    health.assigned(True)
    health.recovered(True)
    view.apply(outage("1", severity=Severity.CRITICAL))
    view.apply(resolved("2"))
    view.apply(outage(INCIDENT, course=course([9, 10, 400])))

    async def send(command: Command) -> None:
        before = view.get(command.incident)
        assert before is not None
        view.apply(answer(before, command))

    app = make_app(
        view=view,
        registry=Metrics(CollectorRegistry()).registry,
        health=health,
        now=lambda: NOON + 4.0,
        access=Access(WebSettings(), {digest(PERSONS_TOKEN): "maria"}),
        send=send,
    )
    served = await serve(app, "127.0.0.1", 0)
    try:
        yield served.url
    finally:
        await served.close()


@contextlib.contextmanager
def in_thread(make: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[T]:
    """What the asynchronous context gives, while a loop in another thread runs it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    try:
        context = make()
        yield wait(context.__aenter__())
        wait(context.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

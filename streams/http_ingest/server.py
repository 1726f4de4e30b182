"""The listener for reports over HTTP: who may, how much, in which form; then the reports go to Kafka, and 202."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from time import monotonic, time
from typing import Protocol

import msgspec
import structlog
from aiohttp import web

from detectors import report
from streams.fault import Fault
from streams.health import Verdict
from streams.http_ingest import body, problem, reports
from streams.http_ingest.delivery import Delivery
from streams.http_ingest.problem import Refusal, Refused
from streams.http_ingest.rate import Rates
from streams.http_ingest.reports import Grant
from streams.listener import Bounds, listen
from streams.metrics import Metrics
from streams.settings import Settings
from streams.tokens import Tokens, TokensFile, holder, watch

PATH = "/v1/reports"
HEALTH = "/healthz"
#: Connections at a time, those that say nothing among them. They must not eat up the file descriptors that the worker
#: talks to Kafka with.
MOST_CONNECTIONS = 256
#: A connection may be idle, or take for the head of a request, so long, seconds.
IDLE_SECONDS = 20.0
#: What is left of the body of a refused request is read and thrown away for so long, so that the answer arrives.
LINGER_SECONDS = 2.0
#: Bytes of a line of the head; tokens have a tenth of it.
HEAD_LINE_BYTES = 4096
HEAD_LINES = 64

_HEADERS = {"Server": "groundswell", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
_CHALLENGE = 'Bearer realm="groundswell"'
_encode = msgspec.json.Encoder().encode
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)


class Accepted(msgspec.Struct, frozen=True):
    """The answer to reports that Kafka has confirmed. accepted: how many; source: what they were counted under."""

    accepted: int
    source: str


class Sink(Protocol):
    """Where reports go."""

    async def put(self, values: list[bytes]) -> None:
        """Returns when they are safe; Refused where they are not."""

    async def close(self) -> None:
        """No more will come."""


class HttpIngest:
    """The listener with what it needs. TokensError where the tokens file cannot be used.

    address: host and port it listens on once it was started.
    """

    def __init__(self, settings: Settings, metrics: Metrics, *, sink: Sink | None = None) -> None:
        """sink: where reports go; default: the reports topic. The settings name a tokens file."""
        rule = settings.http_ingest
        assert rule.tokens_file is not None
        self.address = ("", 0)
        self._rule = rule
        self._metrics = metrics
        self._tokens = TokensFile(rule.tokens_file, "http_ingest.tokens_file")
        self._rates = Rates(per_second=rule.reports_per_second, burst=rule.burst_reports)
        self._sink: Sink = sink or Delivery(settings)
        self._limits = reports.Limits(
            rule.max_reports, settings.reports.max_record_bytes, round(settings.reports.clock_skew_seconds * 1000)
        )
        self._in_flight: Counter[str] = Counter()
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._heed(self._tokens.tokens)

    async def start(self) -> None:
        """Listen. Fault where the address is taken or none of ours."""
        app = web.Application(middlewares=[self._answer])
        app.router.add_post(PATH, self._reports)
        app.router.add_get(HEALTH, self._healthz)
        app.on_response_prepare.append(_secure)
        app.cleanup_ctx.append(self._watch_tokens)
        runner = web.AppRunner(app, shutdown_timeout=self._rule.kafka_seconds)
        await runner.setup()
        self._runner = runner
        bounds = Bounds(
            connections=MOST_CONNECTIONS,
            idle_seconds=IDLE_SECONDS,
            linger_seconds=LINGER_SECONDS,
            head_line_bytes=HEAD_LINE_BYTES,
            head_lines=HEAD_LINES,
        )
        try:
            self._listener = await listen(
                runner,
                self._rule.host,
                self._rule.port,
                bounds,
                self._no_http,
                title="HTTP ingest",
                section="http_ingest",
            )
        except Fault:
            await self.close()
            raise
        self.address = self._listener.sockets[0].getsockname()[:2]
        log.info(
            "reports over HTTP",
            host=self.address[0],
            port=self.address[1],
            sources=self._tokens.names,
        )

    async def close(self) -> None:
        """Take no more connections, answer the requests that are in work, let go of Kafka."""
        if self._listener is not None:
            self._listener.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._sink.close()

    async def _watch_tokens(self, _app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(watch(self._tokens, self._heed))
        yield
        task.cancel()

    def _heed(self, tokens: Tokens) -> None:
        sources = set(tokens.values())
        self._rates.keep({report.fold(source) for source in sources})
        for source in sorted(sources):
            self._metrics.http_reports.labels(source)  # there at 0, so that its first reports count in a rate

    @web.middleware
    async def _answer(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Whatever happens becomes an answer in our words, and is counted."""
        began = monotonic()
        refused: Refused | None = None
        try:
            answer = await handler(request)
        except Refused as error:
            refused = error
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            refused = Refused(
                Refusal.WRONG_METHOD,
                "this path does not take the method of the request",
                f"Use {allowed}.",
                headers={"Allow": allowed},
            )
        except web.HTTPException:
            refused = Refused(Refusal.NOT_FOUND, "this path is none of ours", f"Send reports by POST to {PATH}.")
        except Exception as error:
            log.exception("a request with reports failed", error=repr(error))
            refused = Refused(Refusal.FAULT, "it is in our log", "Send the same again once; then tell who runs this.")
        if refused is not None:
            answer = _refusal(refused)
        if request.path != HEALTH:
            self._count(answer.status, refused)
            self._metrics.http_seconds.observe(monotonic() - began)
        return answer

    def _count(self, status: int, refused: Refused | None) -> None:
        self._metrics.http_requests.labels(f"{status // 100}xx").inc()
        if refused is not None:
            self._metrics.http_refused.labels(refused.refusal.value).inc()

    def _no_http(self, why: str) -> web.Response:
        refused = Refused(Refusal.BAD_REQUEST, f"it is not HTTP: {why}", "Send HTTP/1.1, its head in short lines.")
        answer = _refusal(refused)
        self._count(answer.status, refused)
        answer.headers.update(_HEADERS)
        return answer

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(body=_encode(Verdict(True, "alive")), content_type="application/json")

    async def _reports(self, request: web.Request) -> web.Response:
        grant = self._granted(request)
        media_type = _media_type(request)
        self._check_rate(grant)
        with self._place(grant):
            raw = await body.read(request, most_bytes=self._rule.max_body_bytes)
            records = await reports.read(raw, media_type, grant, self._limits, now_ms=int(time() * 1000))
            del raw
            self._check_rate(grant)  # other requests of the source may have come first
            self._rates.take(grant.identity, len(records), now=monotonic())
            await self._sink.put(records)
        self._metrics.http_reports.labels(grant.source).inc(len(records))
        answer = Accepted(len(records), grant.source)
        return web.Response(status=202, body=_encode(answer), content_type="application/json")

    def _granted(self, request: web.Request) -> Grant:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Refused(
                Refusal.NO_TOKEN,
                "there is no bearer token in it",
                "Send the header Authorization: Bearer TOKEN, with the token that you were given.",
                headers={"WWW-Authenticate": _CHALLENGE},
            )
        source = holder(token.strip(), self._tokens.tokens)
        if source is None:
            raise Refused(
                Refusal.NO_TOKEN,
                "the token is not known here",
                "Ask who runs this for a new one; they stand in http_ingest.tokens_file.",
                headers={"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
            )
        return Grant(source, report.fold(source))

    def _check_rate(self, grant: Grant) -> None:
        seconds = self._rates.wait_seconds(grant.identity, now=monotonic())
        if seconds > 0:
            wait = math.ceil(seconds)
            raise Refused(
                Refusal.TOO_FAST,
                f"source {grant.source} may send {self._rule.reports_per_second:g} reports a second"
                " (setting http_ingest.reports_per_second)",
                f"Send the same again in {wait} s.",
                headers={"Retry-After": str(wait)},
            )

    @contextlib.contextmanager
    def _place(self, grant: Grant) -> Iterator[None]:
        """One of the places for requests in work. No source gets more than half: a slow one keeps no other out."""
        most = self._rule.max_in_flight
        if self._in_flight.total() >= most:
            raise _busy(f"{most} requests are in work (setting http_ingest.max_in_flight)")
        if self._in_flight[grant.identity] >= most // 2:
            raise _busy(f"{most // 2} requests of source {grant.source} are in work, half of http_ingest.max_in_flight")
        self._in_flight[grant.identity] += 1
        try:
            yield
        finally:
            self._in_flight[grant.identity] -= 1
            if not self._in_flight[grant.identity]:
                del self._in_flight[grant.identity]


async def _secure(_request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.update(_HEADERS)


def _media_type(request: web.Request) -> str:
    kind = request.content_type
    charset = (request.charset or "utf-8").lower()
    if "Content-Type" not in request.headers or kind not in (reports.JSON, reports.NDJSON) or charset != "utf-8":
        raise Refused(
            Refusal.UNSUPPORTED,
            "its Content-Type is not read here",
            f"Send {reports.JSON} (a report, or an array of them) or {reports.NDJSON} (one a line), in UTF-8.",
            headers={"Accept-Post": f"{reports.JSON}, {reports.NDJSON}"},
        )
    return kind


def _busy(detail: str) -> Refused:
    return Refused(Refusal.BUSY, detail, "Send the same again in 1 s.", headers={"Retry-After": "1"})


def _refusal(refused: Refused) -> web.Response:
    return web.Response(
        status=refused.problem.status,
        body=_encode(refused.problem),
        content_type=problem.MEDIA_TYPE,
        headers=refused.headers,
    )

import asyncio
import json
import re
import socket
from html.parser import HTMLParser
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from detectors.alert import Kind, Severity, State
from detectors.alert import decode as decode_alert
from detectors.catalogue import Service
from streams.fault import Fault
from streams.health import Health
from streams.metrics import Metrics
from streams.tokens import digest
from streams.web import live, server
from streams.web.access import Access
from streams.web.incidents import IncidentView
from streams.web.server import make_app, serve
from streams.web_settings import WebSettings
from tests.made_alerts import NOON, course, outage, resolved, silence

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    "\"'><img src=x onerror=alert(1)>",
    "</title></svg><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "[bold red]x[/bold red]",
    "\x1b[31mred\x07",
    "‮gnp.exe",
    "W" * 5000,
]


class Worker:
    """What the web server reads from, with a clock that the test sets."""

    def __init__(self) -> None:
        self.view = IncidentView()
        self.metrics = Metrics(CollectorRegistry())
        self.health = Health()
        self.now = NOON + 4.0
        self.catalogued: tuple[Service, ...] = ()

    def app(self, **more: Any) -> web.Application:
        return make_app(
            view=self.view,
            registry=self.metrics.registry,
            health=self.health,
            now=lambda: self.now,
            catalogued=self.catalogued,
            **more,
        )


@pytest.fixture
def worker() -> Worker:
    worker = Worker()
    worker.health.assigned(True)
    worker.health.recovered(True)
    worker.metrics.watermark.set(NOON)
    return worker


@pytest.fixture
async def client(worker):
    async with TestClient(TestServer(worker.app())) as client:
        yield client


class Page(HTMLParser):
    """Text, tags and attributes of a page, as a browser takes them. past: resolved incidents in its list."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.past = html.count('<p class="span">')
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        if tag in ("dt", "dd"):  # these stand apart without a blank between them
            self.text += " "

    def handle_data(self, data):
        self.text += data


async def read_page(client) -> Page:
    answer = await client.get("/")
    assert answer.status == 200
    return Page(await answer.text())


def words(page: Page) -> str:
    return re.sub(r"\s+", " ", page.text)


# The page


async def test_calm_state_says_so_and_how_fresh_the_data_is(client):
    text = words(await read_page(client))

    assert "No service in trouble" in text
    assert "Data until 25 Oct 2022, 12:00 UTC" in text


async def test_service_in_trouble_is_told_with_all_that_is_known(client, worker):
    worker.view.apply(outage())

    text = words(await read_page(client))

    assert "1 service in trouble" in text
    assert "Worst: WhatsApp, 44× usual, for 12 min" in text
    assert "critical it" in text
    assert "Since 11:48 12 min" in text
    assert "Seen 8,214 reports" in text
    assert "Expected 187 (150–224)" in text
    assert "By chance practically never" in text
    assert "WhatsApp in it: 8,214 reports in 12 min where 187 are usual" in text


async def test_services_are_shown_worst_first(client, worker):
    worker.view.apply(outage("1", service="Mild", severity=Severity.WARNING))
    worker.view.apply(outage("2", service="Worst", severity=Severity.CRITICAL))

    text = words(await read_page(client))

    assert "2 services in trouble" in text
    assert text.index("Worst critical") < text.index("Mild warning")


async def test_regions_of_a_service_are_in_one_card(client, worker):
    worker.view.apply(outage("1", region="it/lazio/roma", ratio=9.0))
    worker.view.apply(outage("2", region="it/lombardia", ratio=4.0))

    page = await read_page(client)

    assert page.tags.count("article") == 1
    assert "2 regions" in words(page)
    assert "it › lazio › roma" in page.text
    assert "it › lombardia" in page.text


async def test_incident_over_all_services_has_a_card_of_its_own(client, worker):
    worker.view.apply(outage("1", kind=Kind.REGION, service=None, region="it/lazio"))

    text = words(await read_page(client))

    assert "All services of a region in trouble" in text
    assert "Worst: All services, 44× usual" in text
    assert "All services critical it › lazio" in text


async def test_parts_are_listed_with_what_explains_them_and_are_not_in_the_headline(client, worker):
    worker.view.apply(outage("wide", kind=Kind.SERVICE, region=None))
    worker.view.apply(outage("1", region="it/lazio", parent="wide", ratio=90.0))
    worker.view.apply(outage("2", region="it/sicilia", parent="wide"))

    page = await read_page(client)
    text = words(page)

    assert "1 service in trouble" in text
    assert page.tags.count("article") == 1
    assert "critical everywhere explains 2 more" in text
    assert "Seen 8,214 reports" in text
    assert text.index("What the incident of WhatsApp explains") < text.index("WhatsApp in it/lazio critical")


async def test_parts_of_one_of_several_regions_are_marked(client, worker):
    worker.view.apply(outage("wide", kind=Kind.SERVICE, region="it/*"))
    worker.view.apply(outage("1", region="it/lazio", parent="wide"))
    worker.view.apply(outage("2", region="fr"))

    text = words(await read_page(client))

    assert "2 regions" in text
    assert "all of it critical" in text
    assert "part of it WhatsApp in it/lazio critical" in text


async def test_silent_feed_is_told_as_silence(client, worker):
    worker.view.apply(silence())
    worker.view.apply(silence("2", sources=["calls"], state=State.RESOLVED, resolved_at="2022-10-25T12:00:00Z"))

    text = words(await read_page(client))

    assert "1 feed silent" in text
    assert "Worst: Feed outage-site, silent, for 12 min" in text
    assert "Expected 812 By chance" in text
    assert "Feed calls error 812 reports missed" in text


async def test_service_in_trouble_beside_a_silent_feed_tells_of_both(client, worker):
    worker.view.apply(outage())
    worker.view.apply(silence())

    assert "1 service in trouble, 1 feed silent" in words(await read_page(client))


async def test_resolved_parts_are_counted_with_what_explained_them(client, worker):
    worker.view.apply(resolved("wide", kind=Kind.SERVICE, region=None))
    worker.view.apply(resolved("1", parent="wide"))
    worker.view.apply(resolved("2", parent="forgotten"))

    page = await read_page(client)

    assert page.past == 2
    assert "44× usual, 8,214 reports, 1 more explained" in words(page)
    assert "44× usual, 8,214 reports, part of a wider one" in words(page)


async def test_nothing_usual_has_no_ratio(client, worker):
    worker.view.apply(outage(ratio=None, expected=0.0, expected_low=0.0, expected_high=0.0, region="", warming=True))

    text = words(await read_page(client))

    assert "none usual" in text
    assert "Expected 0 (0–0)" in text
    assert "region not reported" in text
    assert "young baseline" in text


async def test_resolved_incident_is_listed_with_its_span(client, worker):
    worker.view.apply(resolved())

    text = words(await read_page(client))

    assert "No service in trouble" in text
    assert "11:48 – 12:00 12 min" in text


async def test_no_more_than_fifty_resolved_incidents_are_listed(client, worker):
    for i in range(80):
        worker.view.apply(resolved(f"{i}"))

    page = await read_page(client)

    assert page.past == 50


async def test_chart_shows_counts_over_the_expected_band(client, worker):
    worker.view.apply(outage(course=course([9, 10, -1, 11, 200, 400])))

    html = await (await client.get("/")).text()

    assert html.count('class="band"') == 1
    assert html.count('class="observed"') == 2  # a gap where the count is missing
    assert "WhatsApp in it: reports per minute over the last 6 min, the last 400 against 10 expected" in html


@pytest.mark.parametrize(
    "odd",
    [
        course([]),
        course([5]),
        course([-1, -1, -1]),
        course([0] * 10),
        course([10**18, 1, 2]),
        course([1] * 5000),
    ],
)
async def test_odd_course_does_not_break_the_page(client, worker, odd):
    worker.view.apply(outage(course=odd))

    text = words(await read_page(client))

    assert "1 service in trouble" in text


async def test_time_that_is_none_is_shown_as_it_is(client, worker):
    worker.view.apply(outage(started_at="<b>soon</b>"))

    page = await read_page(client)

    assert "<b>soon</b>" in page.text
    assert "b" not in page.tags


async def test_ages_are_told_by_the_data_not_by_the_clock(client, worker):
    worker.now = NOON + 4 * 365 * 86_400
    worker.view.apply(outage())

    text = words(await read_page(client))

    assert "for 12 min" in text


# What is wrong with ourselves


async def test_worker_that_is_not_ready_does_not_say_that_all_is_well(client, worker):
    worker.health.recovered(False)

    text = words(await read_page(client))

    assert "State unknown" in text
    assert "Detection is not ready: the state of the assigned partitions is being recovered." in text
    assert "No service in trouble" not in text


async def test_stalled_worker_still_shows_what_it_knows(client, worker):
    worker.view.apply(outage())
    worker.health.lag("detect", 12, now=NOON - 100)

    text = words(await read_page(client))

    assert "1 service in trouble" in text
    assert "Detection is stalled: detect stalled: 12 records wait" in text


async def test_silent_feed_does_not_say_that_all_is_well(client, worker):
    await read_page(client)
    worker.now = NOON + 600

    text = words(await read_page(client))

    assert "No data comes in. Nothing is known after 25 Oct 2022, 12:00 UTC" in text
    assert "No service was in trouble" in text


async def test_replayed_history_that_moves_on_is_no_silent_feed(client, worker):
    worker.now = NOON + 4 * 365 * 86_400
    await read_page(client)
    worker.now += 60
    worker.metrics.watermark.set(NOON + 3_600)

    text = words(await read_page(client))

    assert "No service in trouble" in text
    assert "No data comes in" not in text


async def test_before_the_first_report_the_page_says_that_it_waits(client, worker):
    worker.metrics.watermark.set(0)

    assert "Waiting for the first report" in words(await read_page(client))


# Hostile fields


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_text_stays_text(client, worker, text):
    def tell(words: str, sequence: int) -> None:
        said = {"sequence": sequence, "summary": words}
        worker.view.apply(outage("1", **said, service=words, region=words, course=course([10, 400])))
        worker.view.apply(outage("2", **said, service=words, region=f"it/{words}"))
        worker.view.apply(outage("3", **said, service=f"other {words}", region=words))
        worker.view.apply(outage("5", **said, service=words, region=words, parent="1"))
        worker.view.apply(silence("6", **said, sources=[words]))
        worker.view.apply(resolved("4", **said, service=words, region=words))

    tell("plain", 1)
    plain = await read_page(client)
    tell(text, 2)
    page = await read_page(client)

    assert page.tags == plain.tags
    assert page.attributes == plain.attributes
    assert text[:150] in page.text


async def test_very_long_text_is_cut(client, worker):
    worker.view.apply(outage(service="W" * 5000, region="W" * 5000, summary="W" * 5000))

    page = await read_page(client)

    assert "W" * 399 + "…" in page.text
    assert "W" * 400 not in page.text


async def test_hostile_id_and_evidence_do_not_break_the_page(client, worker):
    worker.view.apply(outage(SCRIPT, evidence=1e300, ratio=1e300, observed=10**15, expected=1e-300))

    page = await read_page(client)

    assert "over 9,999× usual" in page.text
    assert page.tags.count("script") == 1


# Headers


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?part=state",
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/incidents",
        "/static/style.css",
        "/nowhere",
        "/static/no",
    ],
)
async def test_every_answer_bears_the_security_headers(client, path):
    answer = await client.get(path)

    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Server"] == "groundswell"


async def test_page_has_no_inline_script_or_style_and_no_outside_asset(client, worker):
    worker.view.apply(outage(course=course([10, 400])))

    html = await (await client.get("/")).text()

    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", html) == [""]
    assert all(url.startswith(("/", "#")) for url in re.findall(r'(?:src|href)="([^"]+)"', html))


async def test_page_without_script_reloads_itself(client):
    html = await (await client.get("/")).text()

    assert '<noscript><meta http-equiv="refresh" content="15"></noscript>' in html


async def test_assets_of_the_page_are_there_and_cached_for_ever(client):
    html = await (await client.get("/")).text()

    for url, kind in zip(
        re.findall(r'(?:src|href)="(/static/[^"]+)"', html),
        ["image/svg+xml", "text/css", "text/javascript", "image/svg+xml"],
        strict=True,
    ):
        answer = await client.get(url)
        assert answer.status == 200
        assert answer.content_type == kind
        assert "immutable" in answer.headers["Cache-Control"]


async def test_unknown_path_is_a_small_404_that_repeats_nothing(client):
    answer = await client.get("/%3Cscript%3Ealert(1)%3C/script%3E")

    assert answer.status == 404
    assert "alert(1)" not in await answer.text()
    assert "There is no such page." in await answer.text()


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e%2fserver.py", "/static/page.html"])
async def test_nothing_but_the_assets_is_served(client, path):
    assert (await client.get(path)).status == 404


async def test_server_only_reads(client):
    assert (await client.post("/api/incidents", json={})).status == 405


async def test_fault_of_ours_is_a_500_without_a_trace(worker):
    worker.view = None
    async with TestClient(TestServer(worker.app())) as client:
        answer = await client.get("/api/incidents")
        text = await answer.text()

    assert answer.status == 500
    assert "Traceback" not in text
    assert answer.headers["Content-Security-Policy"] == POLICY


# State and events


async def test_state_is_asked_for_again_only_when_it_changed(client, worker):
    first = await client.get("/?part=state")
    again = await client.get("/?part=state", headers={"If-None-Match": first.headers["ETag"]})
    worker.view.apply(outage())
    changed = await client.get("/?part=state", headers={"If-None-Match": first.headers["ETag"]})

    assert (first.status, again.status, changed.status) == (200, 304, 200)
    assert "WhatsApp" in await changed.text()
    assert first.headers["Data-Until"] == "1666699200.0"


async def test_stall_is_told_anew_every_quarter_of_a_minute_not_every_second(client, worker):
    """Its reason counts the seconds: all browsers would load the page each second, of a worker that is in trouble."""
    worker.health.lag("detect", 12, now=worker.now)
    texts = []
    for seconds in (61, 62, 75, 77):
        worker.now = NOON + 4 + seconds
        texts.append(re.findall(r"handled for (\d+) s", await (await client.get("/?part=state")).text()))

    assert texts == [["61"], ["61"], ["61"], ["77"]]


async def test_version_of_the_page_is_that_of_its_state(client):
    html = await (await client.get("/")).text()
    state = await client.get("/?part=state")

    assert f'data-version="{state.headers["State-Version"]}"' in html


async def until_status(client, path: str, status: int) -> int:
    """Ask until the answer has `status`, for at most 5 seconds."""
    async with asyncio.timeout(5):
        while True:
            async with client.get(path) as answer:
                if answer.status == status:
                    answer.close()
                    return answer.status
            await asyncio.sleep(0.01)


async def next_event(answer) -> dict:
    while True:
        line = await asyncio.wait_for(answer.content.readline(), 5)
        if line.startswith(b"data: "):
            return json.loads(line[6:])


async def test_event_tells_of_a_new_state(client, worker, monkeypatch):
    monkeypatch.setattr(live, "EVENT_SECONDS", 0.01)
    answer = await client.get("/events")
    first = await next_event(answer)

    worker.view.apply(outage())
    second = await next_event(answer)

    assert answer.content_type == "text/event-stream"
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert first["data_until"] == NOON
    assert second["version"] != first["version"]
    assert (await client.get("/?part=state")).headers["State-Version"] == second["version"]


async def test_event_tells_that_the_data_moved_on(client, worker, monkeypatch):
    monkeypatch.setattr(live, "EVENT_SECONDS", 0.01)
    answer = await client.get("/events")
    first = await next_event(answer)

    worker.metrics.watermark.set(NOON + 10)
    second = await next_event(answer)

    assert second == {"version": first["version"], "data_until": NOON + 10}


async def test_quiet_stream_has_a_heartbeat(client, monkeypatch):
    monkeypatch.setattr(live, "EVENT_SECONDS", 0.01)
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.02)
    answer = await client.get("/events")

    assert await next_event(answer) == await next_event(answer)


async def test_one_browser_too_many_is_told_to_come_back(client, monkeypatch):
    monkeypatch.setattr(live, "MAX_STREAMS", 2)
    monkeypatch.setattr(live, "EVENT_SECONDS", 0.01)
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.01)
    streams = [await client.get("/events") for _ in range(2)]

    refused = await client.get("/events")

    assert refused.status == 503
    assert refused.headers["Retry-After"] == "15"

    streams[0].close()

    assert (await until_status(client, "/events", 200)) == 200


async def test_browser_that_does_not_read_is_dropped(worker, monkeypatch):
    monkeypatch.setattr(live, "EVENT_SECONDS", 0.0)
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(live, "WRITE_SECONDS", 0.2)
    monkeypatch.setattr(live, "MAX_STREAMS", 1)
    # Long events, so that the kernel's buffers are full soon.
    monkeypatch.setattr(live.Live, "_event", lambda self: b"data: " + b"x" * 50_000 + b"\n\n")
    async with TestServer(worker.app()) as own_server, TestClient(own_server) as client:
        with socket.create_connection((own_server.host, own_server.port)) as deaf:
            deaf.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await until_status(client, "/events", 503)) == 503

            assert (await until_status(client, "/events", 200)) == 200


async def test_server_closes_at_once_with_browsers_connected(worker):
    served = await serve(worker.app(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"data: ")

    await asyncio.wait_for(served.close(), 1.5)

    await asyncio.wait_for(reader.read(), 5)
    writer.close()


async def test_port_in_use_is_an_error_and_leaves_nothing_behind(worker):
    served = await serve(worker.app(), "127.0.0.1", 0)
    try:
        with pytest.raises(Fault, match=r"the status page cannot listen on 127\.0\.0\.1:\d+.*web\.port"):
            await serve(Worker().app(), "127.0.0.1", int(served.url.rpartition(":")[2]))
    finally:
        await served.close()


TOKEN = b"3f9c1d2e4b5a69788796a5b4"


async def sent(served, data: bytes) -> bytes:
    """What a server answers to these bytes, until it hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN + b"\x00\r\n\r\n",
        b"GET /" + TOKEN + b"\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nCookie: groundswell_token=" + TOKEN * 500 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_neither_repeated_nor_logged_it_may_be_a_token(worker, head, capfd, caplog):
    served = await serve(worker.app(), "127.0.0.1", 0)
    answer = await sent(served, head)
    await served.close()

    assert answer.split(b" ", 2)[1] == b"400"
    assert TOKEN[:16] not in answer
    assert b"Server: groundswell\r\n" in answer
    assert f"Content-Security-Policy: {POLICY}\r\n".encode() in answer
    assert TOKEN[:16].decode() not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("path", ["/login", "/api/incidents/1/commands"])
@pytest.mark.parametrize("coding", [b"", b"Content-Encoding: gzip\r\n"])
async def test_body_that_is_not_what_its_head_says_is_no_fault_of_ours(worker, path, coding, capfd, caplog):
    access = Access(WebSettings(), {digest(TOKEN.decode()): "maria"})

    async def send(command: object) -> None:
        raise AssertionError("there is no command in it")

    served = await serve(worker.app(access=access, send=send), "127.0.0.1", 0)
    kind = b"application/json" if "api" in path else b"application/x-www-form-urlencoded"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n".encode() + (
        b"Authorization: Bearer " + TOKEN + b"\r\nContent-Type: " + kind + b"\r\n" + coding + b"\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(head + b"abc")
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 5)
    writer.close()
    answer = await sent(served, head + b"no gzip {")
    await served.close()

    assert answer.split(b" ", 2)[1] in (b"400", b"403")
    assert "Traceback" not in caplog.text + "".join(capfd.readouterr())


async def test_connections_that_only_sit_there_keep_nobody_out(worker, monkeypatch):
    monkeypatch.setattr(server, "BOUNDS", replace(server.BOUNDS, connections=3))
    served = await serve(worker.app(), "127.0.0.1", 0)
    port = int(served.url.rpartition(":")[2])
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
    ends = [asyncio.create_task(reader.read()) for reader, _ in idle]

    answer = await sent(served, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert b"200 OK" in answer
    await asyncio.wait_for(asyncio.gather(*ends[:8]), 5)
    for _, writer in idle:
        writer.close()
    await served.close()
    await asyncio.gather(*ends)


@pytest.mark.parametrize("path", ["/", "/history?service=x", "/feed.atom", "/api/incidents", "/nowhere"])
async def test_flood_of_requests_lets_the_worker_go_on_between_any_two(worker, path):
    """As a feed a thousand incidents take 50 ms: three hundred requests at once kept all stages still for 15 s."""
    turn, turns = 0, []

    @web.middleware
    async def noting(request, handler):
        turns.append(turn)
        return await handler(request)

    async def work():
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    app = worker.app()
    app.middlewares.append(noting)
    served = await serve(app, "127.0.0.1", 0)
    working = asyncio.create_task(work())
    await asyncio.gather(
        *(sent(served, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()) for _ in range(50))
    )
    working.cancel()
    await served.close()

    assert len(turns) == len(set(turns)) == 50


async def test_live_browsers_are_not_hung_up_on_for_others(worker, monkeypatch):
    monkeypatch.setattr(server, "BOUNDS", replace(server.BOUNDS, connections=1))
    monkeypatch.setattr(live, "HEARTBEAT_SECONDS", 0.0)
    monkeypatch.setattr(live, "EVENT_SECONDS", 0.01)
    served = await serve(worker.app(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
    writer.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"data: ")

    assert await sent(served, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") == b""

    await asyncio.wait_for(reader.readuntil(b"data: "), 5)
    writer.close()
    await served.close()


async def test_url_of_all_interfaces_is_one_that_a_browser_can_go_to(worker):
    served = await serve(worker.app(), "0.0.0.0", 0)
    await served.close()

    assert re.fullmatch(r"http://localhost:\d+", served.url)


# For machines


async def test_incidents_are_alert_records(client, worker):
    worker.view.apply(outage("open", service=SCRIPT))
    worker.view.apply(resolved("over"))

    answer = await client.get("/api/incidents")
    body = await answer.json()

    assert answer.content_type == "application/json"
    assert body["open_count"] == 1
    assert [decode_alert(json.dumps(a)) for a in body["open"]] == [outage("open", service=SCRIPT)]
    assert [decode_alert(json.dumps(a)) for a in body["recent"]] == [resolved("over")]


async def test_health_is_a_status_and_a_reason(client, worker):
    worker.health.lag("detect", 12, now=NOON - 100)
    healthy = await client.get("/readyz")
    stalled = await client.get("/healthz")
    worker.health.moved("detect", now=NOON)
    moving = await client.get("/healthz")
    worker.health.assigned(False)
    unassigned = await client.get("/readyz")

    assert (healthy.status, await healthy.json()) == (200, {"ok": True, "reason": "ready"})
    assert stalled.status == 503
    assert await stalled.json() == {
        "ok": False,
        "reason": "detect stalled: 12 records wait and none was handled for 104 s",
    }
    assert (moving.status, await moving.json()) == (200, {"ok": True, "reason": "alive"})
    assert unassigned.status == 503


async def test_metrics_are_told_in_prometheus_own_format(client, worker):
    worker.metrics.reports_read.inc(5)

    answer = await client.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert "groundswell_reports_read_total 5.0" in await answer.text()


async def test_metrics_are_told_as_open_metrics_where_asked_for(client):
    answer = await client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (await answer.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    ["application/openmetrics-text; version=x", "text/plain; version=; escaping=?", ";,;;", "text/plain;version=1.0.0"],
)
async def test_odd_accept_header_still_gets_metrics(client, accept):
    answer = await client.get("/metrics", headers={"Accept": accept})

    assert answer.status == 200
    assert "groundswell_reports_read_total" in await answer.text()


async def test_large_answers_are_compressed(client):
    answer = await client.get("/metrics", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["Content-Encoding"] == "gzip"

"""What people say of an incident from the page and by the API: who may, what is sent, and what they are told."""

import asyncio
import json
import re
from html import unescape

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiokafka.errors import KafkaConnectionError

from detectors.command import Action, Command
from streams.tokens import digest
from streams.web import actions, requests
from streams.web.access import Access
from streams.web_settings import WebSettings
from tests.made_alerts import answer, outage, resolved
from tests.unit.test_web_server import Worker

TOKEN = "3f9c1d2e4b5a69788796a5b4"
OWN = {"Sec-Fetch-Site": "same-origin"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PROXY = WebSettings(user_header="X-Forwarded-User", trusted_proxies=("127.0.0.1",))
COMMANDS = "/api/incidents/incident-1/commands"


class Kafka:
    """What a test's broker and worker do with a command."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.sent: list[Command] = []
        self.fault: Exception | None = None
        self.answers = True

    async def send(self, command: Command) -> None:
        if self.fault is not None:
            raise self.fault
        self.sent.append(command)
        if self.answers:
            self.answer(command)

    def answer(self, command: Command) -> None:
        """The record of a worker that heeds it."""
        before = self.worker.view.get(command.incident)
        assert before is not None
        self.worker.view.apply(answer(before, command))


@pytest.fixture
def worker(monkeypatch) -> Worker:
    monkeypatch.setattr(actions, "ANSWER_SECONDS", 0.05)
    worker = Worker()
    worker.view.apply(outage())
    return worker


@pytest.fixture
def kafka(worker) -> Kafka:
    return Kafka(worker)


def access(settings: WebSettings = PROXY) -> Access:
    return Access(settings, {digest(TOKEN): "maria"})


@pytest.fixture
async def client(worker, kafka):
    app = worker.app(access=access(), send=kafka.send)
    async with TestClient(TestServer(app)) as client:
        yield client


async def log_in(client) -> None:
    html = await (await client.get("/login")).text()
    answer = await client.post(
        "/login", data={"form": form_of(html), "token": TOKEN}, headers=OWN, allow_redirects=False
    )
    assert answer.status == 303


def form_of(html: str) -> str:
    found = re.findall(r'name="form" value="([0-9a-f]{64})"', html)
    assert found
    return found[0]


async def say(client, says: str, reason: str = "", headers=OWN, **fields: str):
    html = await (await client.get("/incidents/incident-1")).text()
    data = {"form": form_of(html), "say": says, "reason": reason, **fields}
    return await client.post("/incidents/incident-1/commands", data=data, headers=headers, allow_redirects=False)


# The page


async def test_page_of_who_is_not_logged_in_has_no_buttons(client):
    html = await (await client.get("/incidents/incident-1")).text()

    assert "<button" not in html
    assert "/commands" not in html
    assert "Log in" in html


async def test_page_is_read_only_without_tokens_and_header(worker, kafka):
    app = worker.app(access=Access(WebSettings(), {}), send=kafka.send)
    async with TestClient(TestServer(app)) as client:
        html = await (await client.get("/incidents/incident-1", headers={"X-Forwarded-User": "joe", **BEARER})).text()
        form = await client.post("/incidents/incident-1/commands", data={"say": "ack"}, headers=OWN)
        api = await client.post(COMMANDS, json={"action": "ack"}, headers=BEARER)
        login = await client.get("/login")

    assert "<button" not in html
    assert "Log in" not in html
    assert (form.status, api.status, login.status) == (403, 403, 404)
    assert kafka.sent == []


@pytest.mark.parametrize(
    ("says", "action", "seconds"),
    [
        ("ack", Action.ACK, None),
        ("mute:1800", Action.MUTE, 1800.0),
        ("mute:28800", Action.MUTE, 28_800.0),
        ("mute", Action.MUTE, None),
        ("unmute", Action.UNMUTE, None),
        ("resolve", Action.RESOLVE, None),
        ("false-alarm", Action.FALSE_ALARM, None),
    ],
)
async def test_button_sends_its_command_with_name_and_reason(client, kafka, says, action, seconds):
    await log_in(client)

    answer = await say(client, says, "calling  them ")

    (command,) = kafka.sent
    assert answer.status == 303
    assert (command.incident, command.action, command.for_seconds) == ("incident-1", action, seconds)
    assert (command.by, command.reason) == ("maria", "calling them")


async def test_page_says_that_it_is_done_once_a_record_answers(client, kafka):
    await log_in(client)

    answer = await say(client, "ack")
    html = await (await client.get(answer.headers["Location"])).text()

    assert answer.headers["Location"] == f"/incidents/incident-1?told={kafka.sent[0].id}"
    assert "Done: the incident shows it." in html


async def test_page_says_that_it_was_sent_where_no_record_answers_in_time(client, kafka):
    kafka.answers = False
    await log_in(client)

    answer = await say(client, "ack")
    html = await (await client.get(answer.headers["Location"])).text()

    assert "no worker answered yet" in html


async def test_made_up_answer_in_the_address_is_not_believed(client):
    html = await (await client.get("/incidents/incident-1?told=anything")).text()

    assert "Done:" not in html


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
async def test_form_of_another_site_is_refused(client, kafka, headers):
    await log_in(client)

    answer = await say(client, "ack", headers=headers)

    assert answer.status == 403
    assert kafka.sent == []


async def test_form_without_its_token_or_with_another_browsers_is_refused(client, kafka):
    await log_in(client)

    for form in ("", "0" * 64):
        data = {"say": "ack", "form": form}
        assert (await client.post("/incidents/incident-1/commands", data=data, headers=OWN)).status == 403
    assert kafka.sent == []


async def test_form_of_who_is_not_logged_in_is_refused(client, kafka):
    answer = await client.post("/incidents/incident-1/commands", data={"say": "ack"}, headers=OWN)

    assert answer.status == 401
    assert "Log in first" in await answer.text()
    assert kafka.sent == []


@pytest.mark.parametrize("says", ["", "delete", "mute:-1", "mute:x", "mute:999999999", "ack:5", "mute:0"])
async def test_button_that_is_none_of_ours_is_refused(client, kafka, says):
    await log_in(client)

    assert (await say(client, says)).status == 400
    assert kafka.sent == []


async def test_reason_that_no_worker_would_take_is_told(client, kafka):
    await log_in(client)

    answer = await say(client, "ack", "x" * 501)

    assert answer.status == 400
    assert "This cannot be said of an incident" in await answer.text()
    assert kafka.sent == []


async def test_kafka_that_is_away_is_told(client, kafka):
    kafka.fault = KafkaConnectionError("no broker")
    await log_in(client)

    answer = await say(client, "ack")

    assert answer.status == 503
    assert "Kafka did not take the command" in await answer.text()


async def test_kafka_that_hangs_is_told(client, kafka, worker, monkeypatch):
    monkeypatch.setattr(actions, "SEND_SECONDS", 0.05)

    async def hang(command: Command) -> None:
        await asyncio.Event().wait()

    app = worker.app(access=access(), send=hang)
    async with TestClient(TestServer(app)) as client:
        answer = await client.post(COMMANDS, json={"action": "ack"}, headers=BEARER)

    assert answer.status == 503


async def test_two_say_something_at_once_and_each_gets_the_own_answer(client, kafka):
    both = [client.post(COMMANDS, json={"action": "ack", "reason": f"{i}"}, headers=BEARER) for i in range(2)]

    answers = [await answer.json() for answer in await asyncio.gather(*both)]

    assert {answer["outcome"] for answer in answers} == {"done"}
    assert {answer["id"] for answer in answers} == {command.id for command in kafka.sent}


# Log-in


async def test_token_goes_into_a_cookie_that_no_script_reads_and_no_form_of_another_site_sends(client):
    html = await (await client.get("/login")).text()
    data = {"form": form_of(html), "token": TOKEN, "next": "/incidents/incident-1"}

    answer = await client.post("/login", data=data, headers=OWN, allow_redirects=False)

    cookie = answer.headers["Set-Cookie"]
    assert answer.headers["Location"] == "/incidents/incident-1"
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    assert TOKEN not in await answer.text()


async def test_cookie_is_for_tls_alone_where_the_proxy_speaks_it(client):
    html = await (await client.get("/login")).text()
    headers = {**OWN, "X-Forwarded-Proto": "https"}

    answer = await client.post(
        "/login", data={"form": form_of(html), "token": TOKEN}, headers=headers, allow_redirects=False
    )

    assert "Secure" in answer.headers["Set-Cookie"]


async def test_wrong_token_is_refused_and_not_repeated(client):
    html = await (await client.get("/login")).text()

    answer = await client.post("/login", data={"form": form_of(html), "token": "not-my-token"}, headers=OWN)
    text = await answer.text()

    assert answer.status == 403
    assert "No such token." in text
    assert "not-my-token" not in text


async def test_log_in_leads_back_to_what_was_read_also_after_a_wrong_token(client):
    html = await (await client.get("/history?service=whats&severity=error&lang=en")).text()
    [way] = re.findall(r'href="(/login[^"]*)"', html)
    html = await (await client.get(unescape(way))).text()

    for token in ("not-my-token", TOKEN):
        [back] = re.findall(r'name="next" value="([^"]*)"', html)
        assert ">Log in</a>" not in html
        data = {"form": form_of(html), "token": token, "next": unescape(back)}
        answer = await client.post("/login", data=data, headers=OWN, allow_redirects=False)
        html = await answer.text()

    assert answer.headers["Location"] == "/history?service=whats&severity=error"


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\r\nSet-Cookie: x=1", ""]
)
async def test_log_in_leads_to_no_other_site(client, path):
    html = await (await client.get("/login")).text()
    data = {"form": form_of(html), "token": TOKEN, "next": path}

    answer = await client.post("/login", data=data, headers=OWN, allow_redirects=False)

    assert answer.headers["Location"] == "/"


async def test_log_in_from_another_site_is_refused(client):
    html = await (await client.get("/login")).text()
    data = {"form": form_of(html), "token": TOKEN}

    assert (await client.post("/login", data=data, headers={"Sec-Fetch-Site": "cross-site"})).status == 403


async def test_log_out_forgets_the_token(client):
    await log_in(client)
    html = await (await client.get("/")).text()
    assert "Logged in as" in html

    await client.post("/logout", data={"form": form_of(html)}, headers=OWN)

    assert "Logged in as" not in await (await client.get("/")).text()


async def test_token_is_nowhere_on_a_page_and_in_no_log_line(client, caplog):
    await log_in(client)
    await say(client, "ack")

    for path in ("/", "/login", "/incidents/incident-1", "/metrics", "/api/incidents/incident-1"):
        answer = await client.get(path)
        assert TOKEN not in await answer.text()
        assert TOKEN not in str(answer.headers)
    assert TOKEN not in caplog.text


async def test_proxys_user_acts_by_the_form_without_a_token(client, kafka):
    headers = {**OWN, "X-Forwarded-User": "joe"}
    html = await (await client.get("/incidents/incident-1", headers=headers)).text()

    answer = await client.post(
        "/incidents/incident-1/commands",
        data={"form": form_of(html), "say": "ack"},
        headers=headers,
        allow_redirects=False,
    )

    assert answer.status == 303
    assert [command.by for command in kafka.sent] == ["joe"]


async def test_forms_may_only_go_to_ourselves(client):
    await log_in(client)

    policies = {
        path: (await client.get(path)).headers["Content-Security-Policy"].rpartition("; ")[2]
        for path in ("/incidents/incident-1", "/login", "/history", "/api/incidents")
    }

    assert policies == {
        "/incidents/incident-1": "form-action 'self'",
        "/login": "form-action 'self'",
        "/history": "form-action 'self'",
        "/api/incidents": "form-action 'none'",
    }


async def test_page_of_one_user_is_not_shown_to_another(client):
    await log_in(client)
    assert "Acknowledge</button>" in await (await client.get("/incidents/incident-1")).text()

    client.session.cookie_jar.clear()

    assert "Acknowledge</button>" not in await (await client.get("/incidents/incident-1")).text()


# The API


async def test_program_says_it_with_its_token_and_gets_the_incident(client, kafka):
    body = {"action": "mute", "reason": "known", "for_seconds": 1800}

    answer = await client.post(COMMANDS, json=body, headers=BEARER)
    told = await answer.json()

    (command,) = kafka.sent
    assert answer.status == 200
    assert (told["schema_version"], told["outcome"], told["id"]) == (1, "done", command.id)
    assert told["incident"]["muted"]["by"] == "maria"
    assert (command.action, command.for_seconds, command.by) == (Action.MUTE, 1800.0, "maria")


async def test_program_is_told_that_it_was_sent(client, kafka):
    kafka.answers = False

    answer = await client.post(COMMANDS, json={"action": "ack"}, headers=BEARER)

    assert answer.status == 202
    assert (await answer.json())["outcome"] == "sent"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ("{}", "$"),
        ("[]", "$"),
        ("nonsense", "$"),
        ('{"action": "delete"}', "$.action"),
        ('{"action": "ack", "by": "eve"}', "$"),
        ('{"action": "ack", "for_seconds": 5}', "$.action"),
        ('{"action": "mute", "for_seconds": -5}', "$.for_seconds"),
        ('{"action": "mute", "until": "soon"}', "$.until"),
        (json.dumps({"action": "ack", "reason": "x" * 501}), "$.reason"),
        (json.dumps({"action": "ack", "reason": "a\x1bb"}), "$.reason"),
        (b"\xff\xfe", "$"),
    ],
)
async def test_body_that_is_no_command_is_refused_with_the_path_to_the_bad_field(client, kafka, body, path):
    answer = await client.post(COMMANDS, data=body, headers={**BEARER, "Content-Type": "application/json"})
    told = await answer.json()

    assert answer.status == 400
    assert told["path"] == path
    assert told["error"]
    assert told["hint"]
    assert kafka.sent == []


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}])
async def test_program_without_a_good_token_is_asked_for_one(client, kafka, headers):
    answer = await client.post(COMMANDS, json={"action": "ack"}, headers=headers)

    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "hint" in await answer.json()
    assert kafka.sent == []


async def test_cookie_of_another_sites_making_is_refused(client, kafka):
    await log_in(client)

    answer = await client.post(COMMANDS, json={"action": "ack"}, headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status == 403
    assert kafka.sent == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_body_of_a_type_that_other_sites_may_send_is_refused(client, kafka, kind):
    answer = await client.post(COMMANDS, data='{"action": "ack"}', headers={**BEARER, "Content-Type": kind})

    assert answer.status == 415
    assert kafka.sent == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_long_body_is_refused_before_it_is_read(client, kafka, chunked):
    async def body():
        for _ in range(100):
            yield b" " * 1000

    sent = aiohttp.AsyncIterablePayload(body()) if chunked else b" " * 100_000
    answer = await client.post(COMMANDS, data=sent, headers={**BEARER, "Content-Type": "application/json"})

    assert answer.status == 413
    assert (await answer.json())["hint"]
    assert kafka.sent == []


@pytest.mark.parametrize("path", [COMMANDS, "/login"])
async def test_body_that_does_not_come_is_not_waited_for(client, kafka, monkeypatch, path):
    monkeypatch.setattr(requests, "BODY_SECONDS", 0.05)

    async def body():
        yield b"{"
        await asyncio.Event().wait()

    kind = "application/json" if path == COMMANDS else "application/x-www-form-urlencoded"
    answer = await client.post(path, data=body(), headers={**BEARER, "Content-Type": kind})

    assert answer.status == 408
    assert kafka.sent == []


async def test_unknown_and_resolved_incidents_are_told_apart(client, worker, kafka):
    worker.view.apply(resolved("over"))

    unknown = await client.post("/api/incidents/nope/commands", json={"action": "ack"}, headers=BEARER)
    over = await client.post("/api/incidents/over/commands", json={"action": "ack"}, headers=BEARER)

    assert (unknown.status, over.status) == (404, 409)
    assert kafka.sent == []

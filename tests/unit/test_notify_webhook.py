import asyncio
import base64
import json
import re
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import standardwebhooks
from aiohttp.abc import AbstractResolver
from msgspec.structs import replace

from detectors.alert import State, decode
from detectors.delivery import Action
from streams.notify import http
from streams.notify.answer import Failed, Refused, Taken
from streams.notify.destinations import Webhook
from streams.notify.webhook import WebhookReceiver, body, key, message_id, signed
from tests import certificates
from tests.made_alerts import outage, resolved
from tests.made_deliveries import full, opened, over, then
from tests.misbehaving import answer, serving

OLD = "whsec_" + base64.b64encode(b"o" * 24).decode()
NEW = "whsec_" + base64.b64encode(b"n" * 64).decode()
DOCS = Path(__file__).parents[2] / "docs" / "webhooks.md"


def files(tmp_path, *secrets):
    found = []
    for number, secret in enumerate(secrets):
        found.append(tmp_path / f"secret-{number}")
        found[-1].write_text(f"{secret}\n")
    return tuple(found)


async def deliver(url, tmp_path, *deliveries, secrets=(OLD,), now=None, allow_private=True, **settings):
    """Its answers."""
    receiver = WebhookReceiver(
        Webhook(url=url, secret_files=files(tmp_path, *secrets), allow_private=allow_private, **settings),
        timeout_seconds=5.0,
        page_url=None,
    )
    try:
        return list(await receiver.deliver(deliveries, time.time() if now is None else now))
    finally:
        await receiver.close()


# --- what arrives ---


async def test_record_arrives_as_it_is_in_its_envelope(tmp_path):
    async with serving(answer(200)) as server:
        assert await deliver(f"{server.url}/hook?a=b", tmp_path, opened(full())) == [Taken()]

    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/hook?a=b")
    assert request.headers["content-type"] == "application/json"
    assert request.json["type"] == "incident.open"
    assert request.json["timestamp"] == "2022-10-25T12:00:00Z"
    assert decode(msgspec.json.encode(request.json["data"])) == full()


@pytest.mark.parametrize(
    ("state", "type_"),
    [(State.OPEN, "incident.open"), (State.UPDATE, "incident.update"), (State.RESOLVED, "incident.resolved")],
)
def test_type_says_what_the_record_says_of_its_incident(state, type_):
    assert json.loads(body(outage(state=state)))["type"] == type_


async def test_each_secret_signs_so_that_one_can_be_changed(tmp_path):
    async with serving(answer(200)) as server:
        await deliver(server.url, tmp_path, opened(full()), secrets=(OLD, NEW))

    (request,) = server.requests
    for secret in (OLD, NEW):
        standardwebhooks.Webhook(secret).verify(request.body, request.headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(base64.b64encode(b"x" * 32).decode()).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split(" ")) == 2


def test_signature_is_the_oracles():
    now = datetime(2022, 10, 25, 12, 0, tzinfo=UTC)
    headers = signed(b'{"a":"\xc3\xa9"}', "id_1", now.timestamp() + 0.9, [key(OLD)])

    assert headers["webhook-signature"] == standardwebhooks.Webhook(OLD).sign("id_1", now, '{"a":"é"}')
    assert headers["webhook-timestamp"] == "1666699200"


async def test_id_and_body_stay_over_retries_and_the_timestamp_is_the_attempts(tmp_path):
    async with serving(answer(500), answer(200)) as server:
        await deliver(server.url, tmp_path, opened(), now=1000.0)
        await deliver(server.url, tmp_path, opened(), now=2000.0)

    first, second = server.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "incident-1_1"
    assert (first.headers["webhook-timestamp"], second.headers["webhook-timestamp"]) == ("1000", "2000")
    assert first.body == second.body


def test_ids_tell_records_apart_and_have_no_dot():
    alerts = [outage("a", sequence=1), outage("a", sequence=11), outage("a_1", sequence=1), outage("a.b\r\nx: y")]

    ids = [message_id(each) for each in alerts]

    assert len(set(ids)) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", each) for each in ids)


async def test_all_of_an_incident_goes_out_whoever_explains_it(tmp_path):
    child = replace(outage(), parent="other")
    story = [opened(child), then(Action.UPDATE, replace(child, sequence=2, state=State.UPDATE)), over(resolved())]
    async with serving(answer(200)) as server:
        await deliver(server.url, tmp_path, *story)

    assert [request.headers["webhook-id"] for request in server.requests] == [
        "incident-1_1",
        "incident-1_2",
        "incident-1_9",
    ]


async def test_further_headers_go_along(tmp_path):
    async with serving(answer(200)) as server:
        await deliver(server.url, tmp_path, opened(), headers={"X-Tenant": "ops"})

    assert server.requests[0].headers["x-tenant"] == "ops"


async def test_disabled_hook_is_refused_for_good(tmp_path):
    async with serving(answer(410, b"gone")) as server:
        assert await deliver(server.url, tmp_path, opened()) == [Refused(410, "gone")]


# --- secrets ---


@pytest.mark.parametrize(
    "secret", ["hunter2hunter2", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"x" * 23).decode(), "whsec_é" * 9]
)
async def test_secret_that_is_none_is_a_failure_without_it(secret, tmp_path):
    async with serving(answer(200)) as server:
        (found,) = await deliver(server.url, tmp_path, opened(), secrets=(secret,))

    assert isinstance(found, Failed)
    assert "secret-0" in found.why
    assert "hunter2" not in found.why
    assert server.connections == 0


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_of_24_to_64_bytes_are_keys(size):
    assert key("whsec_" + base64.b64encode(b"x" * size).decode()) == b"x" * size


# --- where it goes ---


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0177.1/",
        "https://user:password@hooks.example/",
        "https://",
    ],
)
def test_address_that_is_not_allowed_is_refused_with_the_settings(url):
    with pytest.raises(ValueError, match="url"):
        Webhook(url=url, secret_files=(Path("s"),))


@pytest.mark.parametrize(
    "headers", [{"webhook-id": "x"}, {"Webhook-Anything": "x"}, {"Host": "x"}, {"X-A": "a\r\nX-B: b"}, {"X-A": "é"}]
)
def test_header_that_is_not_allowed_is_refused_with_the_settings(headers):
    with pytest.raises(ValueError, match="headers"):
        Webhook(url="https://hooks.example/", secret_files=(Path("s"),), headers=headers)


@pytest.mark.parametrize("url", ["http://10.0.0.1:8080/hook", "https://127.0.0.1/", "http://hooks/"])
def test_server_of_ones_own_is_allowed_by_the_settings(url):
    assert Webhook(url=url, secret_files=(Path("s"),), allow_private=True).url == url


class Names(AbstractResolver):
    """Answers to each question what comes next; the last one from then on."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    async def resolve(self, host, port=0, family=socket.AF_INET):
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {
                "hostname": host,
                "host": each,
                "port": port,
                "family": socket.AF_INET6 if ":" in each else socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
            for each in addresses
        ]

    async def close(self):
        pass


@pytest.fixture
def names(monkeypatch):
    """Lets `hooks.example` be where the test says; what is looked up, and how, stays as it is."""

    def lead_to(*answers):
        resolver = Names(*answers)
        monkeypatch.setattr("aiohttp.connector.DefaultResolver", lambda **_: resolver)

    return lead_to


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["10.0.0.1", "192.168.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]]
)
async def test_name_that_leads_to_a_private_address_is_not_connected_to(addresses, names, tmp_path):
    async with serving(answer(200)) as server:
        port = server.url.rpartition(":")[2]
        names(addresses)
        (found,) = await deliver(f"https://hooks.example:{port}/", tmp_path, opened(), allow_private=False)

    assert isinstance(found, Failed)
    assert "no public address" in found.why
    assert any(f"at {address}," in found.why for address in addresses)
    assert server.connections == 0


async def test_name_that_leads_elsewhere_the_second_time_is_not_followed(names, tmp_path, monkeypatch):
    async with serving(answer(200)) as server:
        port = server.url.rpartition(":")[2]
        names(["127.0.0.2"], ["127.0.0.1"])
        # Whoever changes a name's address first shows a public one: here 127.0.0.2 passes for that.
        monkeypatch.setattr("streams.notify.addresses.is_public", lambda address: address == "127.0.0.2")
        first = await deliver(f"https://hooks.example:{port}/", tmp_path, opened(), allow_private=False)
        second = await deliver(f"https://hooks.example:{port}/", tmp_path, opened(), allow_private=False)

    assert "no public address" not in first[0].why
    assert "127.0.0.1, which is no public address" in second[0].why
    assert server.connections == 0


async def test_decimal_address_is_not_connected_to_even_past_the_settings(tmp_path):
    async with serving(answer(200)) as server:
        port = server.url.rpartition(":")[2]
        session = http.open_session(5.0)
        found = await http.post(session, f"http://2130706433:{port}/", b"{}", {})
        await session.close()

    assert isinstance(found, Failed)
    assert server.connections == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("tls"))


async def test_certificate_that_nobody_vouches_for_is_a_failure(certificate, tmp_path):
    came = []

    async def serve(reader, writer):
        came.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificates.context(*certificate))
    async with server:
        port = server.sockets[0].getsockname()[1]
        (found,) = await deliver(f"https://127.0.0.1:{port}/", tmp_path, opened())

    assert isinstance(found, Failed)
    assert "certificate" in found.why.lower()
    assert came == []


# --- the verifier of the documentation ---


def verifier():
    """What the code in docs/webhooks.md defines."""
    found = {}
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL):
        exec(block, found)
    return found


async def test_verifier_of_the_documentation_takes_what_is_sent(tmp_path):
    async with serving(answer(200)) as server:
        await deliver(server.url, tmp_path, opened(full()), secrets=(OLD, NEW))

    (request,) = server.requests
    verify = verifier()["verify"]
    for secret in (OLD, NEW):
        assert verify(request.headers, request.body, secret) == request.json


@pytest.mark.parametrize("change", ["body", "id", "timestamp", "signature", "missing", "old", "secret"])
async def test_verifier_of_the_documentation_refuses_what_is_not(change, tmp_path):
    async with serving(answer(200)) as server:
        await deliver(server.url, tmp_path, opened(full()), now=time.time() - 3600 if change == "old" else None)
    (request,) = server.requests
    found = verifier()
    headers, sent, secret = dict(request.headers), request.body, OLD
    match change:
        case "body":
            sent = sent.replace(b"WhatsApp", b"Whatsapp")
        case "id":
            headers["webhook-id"] += "0"
        case "timestamp":
            headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
        case "signature":
            headers["webhook-signature"] = "v1,"
        case "missing":
            del headers["webhook-signature"]
        case "secret":
            secret = NEW

    with pytest.raises(found["WrongSignature"]):
        found["verify"](headers, sent, secret)

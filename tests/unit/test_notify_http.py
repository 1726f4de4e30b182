"""What the receivers that speak HTTP make of servers that do not behave."""

import asyncio
import base64
import gzip
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from streams.notify.answer import MOST_TEXT, Failed, Refused, Taken
from streams.notify.destinations import PagerDuty, Slack, Webhook
from streams.notify.http import classify
from streams.notify.pagerduty import PagerDutyReceiver
from streams.notify.slack import SlackReceiver
from streams.notify.webhook import WebhookReceiver
from tests.made_deliveries import full, opened
from tests.misbehaving import CUT, HALF_A_LINE, HANG, NO_HTTP, answer, serving

KINDS = ["pagerduty", "slack", "webhook"]
#: Beyond what any answer here takes; a hang is told by a shorter one.
PATIENCE = 10.0


def make(kind, url, folder, *, timeout_seconds=PATIENCE):
    secret = folder / "secret"
    match kind:
        case "pagerduty":
            secret.write_text("k" * 32)
            settings, receiver = PagerDuty(routing_key_file=secret, url=url), PagerDutyReceiver
        case "slack":
            secret.write_text(url)
            settings, receiver = Slack(url_file=secret), SlackReceiver
        case _:
            secret.write_text("whsec_" + base64.b64encode(b"k" * 32).decode())
            settings, receiver = Webhook(url=url, secret_files=(secret,), allow_private=True), WebhookReceiver
    return receiver(settings, timeout_seconds=timeout_seconds, page_url=None)


async def deliver(receiver, *, times=1):
    """Its answers to the same delivery."""
    try:
        return [(await receiver.deliver([opened(full())], 1_666_699_200.0))[0] for _ in range(times)]
    finally:
        await receiver.close()


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_2xx_is_taken(status, kind, tmp_path):
    async with serving(answer(status)) as server:
        assert await deliver(make(kind, server.url, tmp_path)) == [Taken()]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_what_may_pass_is_a_failure(status, kind, tmp_path):
    async with serving(answer(status, b"not now")) as server:
        assert await deliver(make(kind, server.url, tmp_path)) == [Failed(f"HTTP {status}")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 422])
async def test_what_will_not_pass_is_refused_with_its_text(status, kind, tmp_path):
    async with serving(answer(status, "non c'è".encode())) as server:
        assert await deliver(make(kind, server.url, tmp_path)) == [Refused(status, "non c'è")]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_refused_and_not_followed(status, kind, tmp_path):
    async with serving(answer(200)) as other, serving(answer(status, Location=other.url)) as server:
        (found,) = await deliver(make(kind, server.url, tmp_path))

    assert found == Refused(status, "")
    assert other.connections == 0


async def test_retry_after_in_seconds_is_obeyed(kind, tmp_path):
    async with serving(answer(429, Retry_After="120")) as server:
        assert await deliver(make(kind, server.url, tmp_path)) == [Failed("HTTP 429", 120.0)]


async def test_retry_after_as_a_date_is_obeyed(kind, tmp_path):
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    async with serving(answer(503, Retry_After=at)) as server:
        (found,) = await deliver(make(kind, server.url, tmp_path))

    assert 60 < found.asked_seconds <= 90


@pytest.mark.parametrize("said", ["soon", "-5", "1e400", "Mon, 99 Foo 2022", "9" * 400, "9" * 5000, "inf", "nan"])
def test_retry_after_that_is_none_asks_for_nothing(said):
    assert classify(503, "", said, now=0.0).asked_seconds in (None, 0.0)


async def test_hang_is_a_failure_in_time(kind, tmp_path):
    async with serving(HANG) as server, asyncio.timeout(PATIENCE):
        assert await deliver(make(kind, server.url, tmp_path, timeout_seconds=0.2)) == [Failed("no answer in time")]


@pytest.mark.parametrize("said", [CUT, HALF_A_LINE, NO_HTTP, b"HTTP/1.1 twohundred OK\r\n\r\n", b"\x00" * 100])
async def test_answer_that_is_none_is_a_failure(said, kind, tmp_path):
    async with serving(said) as server:
        (found,) = await deliver(make(kind, server.url, tmp_path))

    assert isinstance(found, Failed)


async def test_answer_that_breaks_off_behind_a_success_is_taken_once(kind, tmp_path):
    async with serving(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") as server:
        assert await deliver(make(kind, server.url, tmp_path)) == [Taken()]


async def test_answer_that_breaks_off_behind_a_refusal_is_one(kind, tmp_path):
    async with serving(b"HTTP/1.1 400 No\r\nContent-Length: 100\r\n\r\nhalf") as server:
        assert await deliver(make(kind, server.url, tmp_path)) == [Refused(400, "half")]


async def test_of_a_huge_answer_the_beginning_is_kept(kind, tmp_path):
    async with serving(answer(400, b"x" * 20_000_000)) as server:
        assert await deliver(make(kind, server.url, tmp_path)) == [Refused(400, "x" * MOST_TEXT)]


async def test_packed_answer_is_not_unpacked(kind, tmp_path):
    bomb = gzip.compress(b"x" * 50_000_000)
    async with serving(answer(400, bomb, Content_Encoding="gzip")) as server:
        (found,) = await deliver(make(kind, server.url, tmp_path))

    assert isinstance(found, Refused)
    assert len(found.text) <= MOST_TEXT
    assert found.text.startswith("\x1f")


async def test_nobody_there_is_a_failure(kind, tmp_path):
    (found,) = await deliver(make(kind, "http://127.0.0.1:1", tmp_path))

    assert isinstance(found, Failed)


async def test_no_cookie_is_kept_and_no_connection_used_twice(kind, tmp_path):
    async with serving(answer(200, Set_Cookie="id=1")) as server:
        await deliver(make(kind, server.url, tmp_path), times=2)

    assert server.connections == 2
    assert "cookie" not in server.requests[1].headers


async def test_proxy_of_the_environment_is_not_asked(kind, tmp_path, monkeypatch):
    async with serving(answer(200)) as proxy, serving(answer(200)) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await deliver(make(kind, server.url, tmp_path))

    assert (proxy.connections, server.connections) == (0, 1)


async def test_recovers_after_failures(kind, tmp_path):
    async with serving(answer(500), CUT, answer(200)) as server:
        found = await deliver(make(kind, server.url, tmp_path), times=3)

    assert [type(each) for each in found] == [Failed, Failed, Taken]
    assert server.requests[0].body == server.requests[2].body


async def test_secrets_file_that_is_gone_is_a_failure_that_names_it(kind, tmp_path):
    async with serving(answer(200)) as server:
        receiver = make(kind, server.url, tmp_path)
        (tmp_path / "secret").unlink()
        (found,) = await deliver(receiver)

    assert found == Failed(f"file {tmp_path / 'secret'} cannot be read: No such file or directory")
    assert server.connections == 0

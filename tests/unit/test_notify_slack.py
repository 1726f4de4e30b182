import json
import re

import pytest

from detectors.alert import Severity
from streams.notify.answer import Failed, Refused, Taken
from streams.notify.destinations import Slack
from streams.notify.slack import SlackReceiver, fallback, message
from tests.contracts import check_message, interpreted
from tests.made_alerts import outage
from tests.made_deliveries import full, full_end, opened, over
from tests.misbehaving import Request, answer, serving

PATH = "/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
PAGE = "https://status.example"


def webhook(request: Request) -> bytes:
    """As Slack does: `ok` for what holds to the contract, 400 for what does not."""
    try:
        assert (request.method, request.path) == ("POST", PATH)
        assert request.headers["content-type"].startswith("application/json")
        check_message(request.body)
    except (AssertionError, KeyError, ValueError):
        return answer(400, b"invalid_blocks")
    return answer(200, b"ok")


def url_file(tmp_path, url):
    file = tmp_path / "slack-url"
    file.write_text(f"{url}\n")
    return file


async def deliver(server, tmp_path, *deliveries, **settings):
    """Its answers."""
    receiver = SlackReceiver(
        Slack(url_file=url_file(tmp_path, server.url + PATH), **settings), timeout_seconds=5.0, page_url=PAGE
    )
    try:
        return list(await receiver.deliver(deliveries, 1_666_699_200.0))
    finally:
        await receiver.close()


async def test_page_and_its_end_are_a_message_each(tmp_path):
    async with serving(webhook) as server:
        answers = await deliver(server, tmp_path, opened(full()), over(full_end()))

    assert answers == [Taken(), Taken()]
    headers = [request.json["blocks"][0]["text"]["text"] for request in server.requests]
    assert headers == ["\U0001f534 Critical: WhatsApp in all of Italy", "✅ Resolved: WhatsApp in all of Italy"]


async def test_end_is_taken_without_a_word_where_nobody_wants_it(tmp_path):
    async with serving(webhook) as server:
        answers = await deliver(server, tmp_path, over(), resolved=False)

    assert answers == [Taken()]
    assert server.requests == []


def test_page_says_what_is_wrong_where_and_why_within_a_phones_screen():
    found = message(full(acknowledged=None, muted=None, stale=False), PAGE)

    header, summary, figures, said, links = found["blocks"]
    assert len(header["text"]["text"]) < 60
    assert summary["text"]["text"].startswith("WhatsApp in all of Italy: 8,214 reports in 12 minutes, 187 usual")
    assert [field["text"] for field in figures["fields"]][:5] == [
        "Seen\n8,214 reports",
        "Usual\n187 (150–224)",
        "Times the usual\n44",
        "By chance\npractically never",
        "Since\n25 Oct 2022, 11:48 UTC",
    ]
    assert said["text"]["text"].splitlines()[:4] == [
        "Critical: 1,000 reports beyond the usual; 8 series surge.",
        "It looks like WhatsApp itself, not one region.",
        "That explains 93 % of all reports beyond the usual; 19 of 20 series show it, it/molise not.",
        "Reports name: sending 69 % (usually 20 %).",
    ]
    (section,) = links["elements"]
    assert [(each["text"], each["url"]) for each in section["elements"] if each["type"] == "link"] == [
        ("Open incident", "https://status.example/incidents/5f3c9a2b7d10"),
        ("runbook", "https://wiki.example/whatsapp"),
        ("dashboard", "https://grafana.example/d/wa"),
    ]


def test_end_is_short():
    found = message(full_end(), PAGE)

    assert [block["type"] for block in found["blocks"]] == ["header", "section", "rich_text"]


def test_text_beside_the_blocks_says_it_in_a_line():
    found = message(outage(), None)

    assert found["text"] == "\U0001f534 Critical: WhatsApp in it: 8,214 reports in 12 min where 187 are usual"


@pytest.mark.parametrize(
    ("severity", "sign"),
    [("info", "\U0001f535"), ("warning", "\U0001f7e1"), ("error", "\U0001f7e0"), ("critical", "\U0001f534")],
)
def test_each_severity_has_its_sign(severity, sign):
    assert message(outage(severity=Severity(severity)), None)["text"].startswith(f"{sign} {severity.capitalize()}: ")


def test_nothing_is_left_for_slack_to_interpret_but_the_text_for_notifications():
    assert list(interpreted(message(full(), PAGE))) == [message(full(), PAGE)["text"]]


@pytest.mark.parametrize(
    "text",
    [
        "*bold*",
        "_italic_",
        "~struck~",
        "`code`",
        "```block```",
        ":tada:",
        "a:+1::skin-tone-2:",
        "1:100:",
        "<!channel>",
        "<!here|here>",
        "<@U012AB3CD>",
        "<#C012AB3CD>",
        "<https://evil.example|your bank>",
        "https://evil.example",
        "@channel",
        "ceo@evil.example",
        "> quoted",
        "&lt;!channel&gt;",
    ],
)
def test_markup_is_text_in_the_text_for_notifications(text):
    shown = fallback(text)

    assert not set("*_~`<>@") & set(shown)
    assert "&" not in shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
    assert not re.search(r":[^\s:]+:", shown)
    assert "evil.example" not in shown


def test_clock_and_colon_behind_a_word_stay_in_the_text_for_notifications():
    assert fallback("WhatsApp: down since 11:48.") == "WhatsApp: down since 11:48."


def test_longest_message_is_within_the_limits_and_keeps_what_matters():
    found = message(full(text='"' * 10_000), PAGE)

    check_message(json.dumps(found, ensure_ascii=False).encode())
    assert [block["type"] for block in found["blocks"]][:3] == ["header", "section", "section"]
    assert found["blocks"][-1]["type"] == "rich_text"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"invalid_payload"),
        (403, b"action_prohibited"),
        (404, b"channel_not_found"),
        (404, b"no_service"),
        (410, b"channel_is_archived"),
    ],
)
async def test_what_slack_refuses_is_refused_with_its_word(status, body, tmp_path):
    async with serving(answer(status, body)) as server:
        (found,) = await deliver(server, tmp_path, opened())

    assert found == Refused(status, body.decode())


async def test_no_answer_quotes_the_address(tmp_path):
    async with serving(answer(404, f"no {PATH} here, {PATH[1:]}, XXXXXXXXXXXXXXXXXXXXXXXX".encode())) as server:
        (found,) = await deliver(server, tmp_path, opened())

    assert found == Refused(404, "no /*** here, ***, ***")


@pytest.mark.parametrize("url", ["hooks.slack.example/services/SECRETSECRET", "https://", "https://[SECRETSECRET", ""])
async def test_address_that_is_none_is_a_failure_without_it(url, tmp_path):
    receiver = SlackReceiver(Slack(url_file=url_file(tmp_path, url)), timeout_seconds=5.0, page_url=None)
    (found,) = await receiver.deliver([opened()], 0.0)
    await receiver.close()

    assert isinstance(found, Failed)
    assert "SECRET" not in found.why


async def test_no_failure_to_connect_quotes_the_address(tmp_path):
    url = "http://127.0.0.1:1/services/SECRETSECRET"
    receiver = SlackReceiver(Slack(url_file=url_file(tmp_path, url)), timeout_seconds=5.0, page_url=None)
    (found,) = await receiver.deliver([opened()], 0.0)
    await receiver.close()

    assert found == Failed("ClientConnectorError")

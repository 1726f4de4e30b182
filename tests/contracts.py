"""The published contracts of PagerDuty and Slack, as strictly as they are told: what breaks them is an AssertionError.

PagerDuty: https://developer.pagerduty.com/docs/events-api-v2-overview and .../send-alert-event.
Slack: https://docs.slack.dev/reference/block-kit, and github.com/slackapi/bolt-js/issues/2509 for the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

# --- PagerDuty ---

_EVENT = {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"}
_PAYLOAD = {"summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details"}


def check_event(body: bytes) -> dict[str, Any]:
    """The event in a request to PagerDuty's /v2/enqueue."""
    assert len(body) <= 512 * 1024
    event = json.loads(body.decode("utf-8"))
    assert set(event) <= _EVENT
    assert len(event["routing_key"]) == 32
    assert event["event_action"] in ("trigger", "acknowledge", "resolve")
    assert 1 <= units(event["dedup_key"]) <= 255
    if event["event_action"] != "trigger":
        assert set(event) == {"routing_key", "event_action", "dedup_key"}
        return event
    payload = event["payload"]
    assert set(payload) <= _PAYLOAD
    assert 1 <= units(payload["summary"]) <= 1024
    assert payload["severity"] in ("critical", "error", "warning", "info")
    for name in ("source", "component", "group", "class"):
        assert name not in payload or (isinstance(payload[name], str) and payload[name])
    assert payload["source"]
    assert datetime.fromisoformat(payload["timestamp"]).tzinfo is not None
    assert isinstance(payload["custom_details"], dict)
    for link in event.get("links", []):
        assert set(link) <= {"href", "text"}
        assert_web(link["href"])
    for image in event.get("images", []):
        assert image["src"].startswith("https://")
    return event


# --- Slack ---


def check_message(body: bytes) -> dict[str, Any]:
    """The message in a request to an incoming webhook."""
    text = body.decode("utf-8")
    assert units(text) <= 13_000
    message = json.loads(text)
    assert set(message) <= {"text", "blocks", "mrkdwn", "link_names", "unfurl_links", "unfurl_media"}
    assert 1 <= units(message["text"]) <= 4000
    assert 1 <= len(message["blocks"]) <= 50
    for block in message["blocks"]:
        _BLOCKS[block["type"]](block)
    return message


def _header(block: dict[str, Any]) -> None:
    assert set(block) == {"type", "text"}
    assert block["text"]["type"] == "plain_text"
    _text(block["text"], 150)


def _section(block: dict[str, Any]) -> None:
    assert set(block) <= {"type", "text", "fields"}
    assert "text" in block or "fields" in block
    if "text" in block:
        _text(block["text"], 3000)
    assert len(block.get("fields", [])) <= 10
    for field in block.get("fields", []):
        _text(field, 2000)


def _text(text: dict[str, Any], most: int) -> None:
    assert text["type"] in ("plain_text", "mrkdwn")
    assert set(text) <= {"type", "text", "emoji" if text["type"] == "plain_text" else "verbatim"}
    assert 1 <= units(text["text"]) <= most


def _rich(block: dict[str, Any]) -> None:
    assert set(block) == {"type", "elements"}
    for section in block["elements"]:
        assert section["type"] == "rich_text_section"
        for element in section["elements"]:
            assert element["type"] in ("text", "link")
            assert units(element["text"]) >= 1
            if element["type"] == "link":
                assert set(element) == {"type", "url", "text"}
                assert_web(element["url"])
                assert units(element["url"]) <= 3000


_BLOCKS = {"header": _header, "section": _section, "rich_text": _rich}


def interpreted(message: dict[str, Any]) -> Iterator[str]:
    """Each text of a message in which Slack looks for markup, mentions, emoji or links."""
    yield message["text"]
    for found in _objects(message["blocks"]):
        if found.get("type") == "mrkdwn" or (found.get("type") == "plain_text" and found.get("emoji") is not False):
            yield found["text"]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(each)


# --- both ---


def units(text: str) -> int:
    """UTF-16 units: nobody who counts characters counts more."""
    return len(text.encode("utf-16-le")) // 2


def assert_web(url: str) -> None:
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname

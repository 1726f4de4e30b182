"""HTTP: a request to a destination, and its answer as a delivery's."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp

from streams.notify.answer import MOST_TEXT, Answer, Failed, Refused, Taken

#: They say: not now. All other 4xx say: never.
_RETRIED = frozenset({408, 425, 429})


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str], *, secret_url: bool = False
) -> Answer:
    """POST it; redirects are not followed. secret_url: the address stays out of what is said of failures."""
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            text = (await _beginning(answer)).decode("utf-8", "replace")
            return classify(answer.status, text, answer.headers.get("Retry-After"), now=time.time())
    except TimeoutError:
        return Failed("no answer in time")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Failed(type(error).__name__ if secret_url else f"{type(error).__name__}: {error}"[:MOST_TEXT])


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """As much of the body as is kept. A part that does not come is not waited for beyond the request's own time."""
    found = b""
    async for part in answer.content.iter_any():
        found += part
        if len(found) >= MOST_TEXT:
            break
    return found[:MOST_TEXT]


def classify(status: int, text: str, retry_after: str | None, *, now: float) -> Answer:
    """What an answer means for a delivery.

    >>> classify(202, "", None, now=0.0)
    Taken()
    >>> classify(503, "", "120", now=0.0)
    Failed(why='HTTP 503', asked_seconds=120.0)
    >>> classify(400, "no routing_key", None, now=0.0)
    Refused(status=400, text='no routing_key')
    """
    if 200 <= status < 300:
        return Taken()
    if 300 <= status < 500 and status not in _RETRIED:
        return Refused(status, text[:MOST_TEXT])
    return Failed(f"HTTP {status}", asked_seconds=_asked(retry_after, now))


def _asked(retry_after: str | None, now: float) -> float | None:
    """Seconds of a Retry-After, which is a number of them or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(int(retry_after)))
    except ValueError:
        try:
            return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
        except (ValueError, TypeError, OverflowError):
            return None


def tls(ca_file: Path | None) -> ssl.SSLContext:
    """Always checks the certificate and its name. OSError, ssl.SSLError where the file holds none."""
    return ssl.create_default_context(cafile=ca_file)


async def read_secret(path: Path) -> str:
    """A secret's file, read at each use: it may be changed while we run. OSError, UnicodeDecodeError."""
    return (await asyncio.to_thread(path.read_text, "utf-8")).strip()

"""HTTP: a request to a destination, and its answer as a delivery's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
from aiohttp import SocketFactoryType

from streams.notify.answer import MOST_TEXT, Answer, Failed, Refused, Taken, masked

#: They say: not now. All other 4xx say: never.
_RETRIED = frozenset({408, 425, 429})


def open_session(
    timeout_seconds: float, *, ca_file: Path | None = None, socket_factory: SocketFactoryType | None = None
) -> aiohttp.ClientSession:
    """A session for `post`. timeout_seconds: for a request as a whole. OSError, ssl.SSLError where ca_file is none.

    A connection serves one request: hours lie between two, and one that was closed meanwhile would be a failure. No
    cookies, no proxy of the environment, and what an answer unpacks to stays unknown.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls(ca_file), force_close=True, socket_factory=socket_factory),
        timeout=aiohttp.ClientTimeout(total=timeout_seconds),
        headers={"User-Agent": "Groundswell", "Accept-Encoding": "identity"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
    )


async def post(
    session: aiohttp.ClientSession,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    secrets: Sequence[str] = (),
    secret_url: bool = False,
) -> Answer:
    """POST it; redirects are not followed. secrets: what no answer may quote. secret_url: the address is one, too."""
    try:
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            # Its first line has said all of it: a body that does not come in whole would only send it twice.
            text = "" if answer.status < 300 else (await _beginning(answer)).decode("utf-8", "replace")
            said = classify(answer.status, text, answer.headers.get("Retry-After"), now=time.time())
    except TimeoutError:
        said = Failed("no answer in time")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        said = Failed(type(error).__name__ if secret_url else f"{type(error).__name__}: {error}"[:MOST_TEXT])
    return masked(said, secrets)


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """As much of the body as is kept, or as comes."""
    found = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
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
    except (ValueError, OverflowError):
        try:
            return max(0.0, parsedate_to_datetime(retry_after).timestamp() - now)
        except (ValueError, TypeError, OverflowError):
            return None


def tls(ca_file: Path | None) -> ssl.SSLContext:
    """Always checks the certificate and its name. OSError, ssl.SSLError where the file holds none."""
    return ssl.create_default_context(cafile=ca_file)


async def secret(path: Path) -> str | Failed:
    """A secret, or why there is none."""
    try:
        found = await read_secret(path)
    except OSError as error:
        return Failed(f"file {path} cannot be read: {error.strerror or type(error).__name__}")
    except UnicodeDecodeError:
        return Failed(f"file {path} is not UTF-8")
    return found or Failed(f"file {path} is empty; put the value alone into it")


async def read_secret(path: Path) -> str:
    """A secret's file, read at each use: it may be changed while we run. OSError, UnicodeDecodeError."""
    return (await asyncio.to_thread(path.read_text, "utf-8")).strip()

"""Requests: bodies and forms from outside, read up to a bound."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from aiohttp import web

#: A command or a form with the longest texts in escaped letters.
MOST_BYTES = 16_384
#: How long a body may take, s.
BODY_SECONDS = 10.0
_MOST_FIELDS = 20


class TooLarge(ValueError):
    """A body is longer than is read."""


class TooSlow(ValueError):
    """A body does not come."""


class BrokenOff(ValueError):
    """A body ends before its end, or is not what its head says."""


async def body(request: web.Request) -> bytes:
    """A request's body, as it came. Raises TooLarge, TooSlow, BrokenOff."""
    if (request.content_length or 0) > MOST_BYTES:
        raise TooLarge
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.content.iter_chunked(MOST_BYTES):
                read += part
                if len(read) > MOST_BYTES:
                    raise TooLarge
    except TimeoutError:
        raise TooSlow from None
    except (web.RequestPayloadError, ConnectionError):
        raise BrokenOff from None
    return bytes(read)


async def form(request: web.Request) -> dict[str, str]:
    """The fields of a form, the last of each name; none where it is no form. Raises as `body`."""
    if request.content_type != "application/x-www-form-urlencoded":
        return {}
    text = (await body(request)).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return {}

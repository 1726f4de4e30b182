"""The body of a request, in bounded memory and time, unpacked where it comes compressed."""

from __future__ import annotations

import asyncio
import zlib

from aiohttp import web

from streams.http_ingest.problem import Refusal, Refused

#: How long a body may take to come, seconds. A client that dribbles keeps nobody out for longer.
BODY_SECONDS = 15.0
_GZIP = 16 + zlib.MAX_WBITS


async def read(request: web.Request, *, most_bytes: int) -> bytes:
    """The body, unpacked; Refused where it is too long (packed or not), comes too slowly, or is not what it says."""
    packing = request.headers.get("Content-Encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip"):
        raise Refused(
            Refusal.UNSUPPORTED,
            "its Content-Encoding is not read here",
            "Send the body as it is, or with Content-Encoding: gzip.",
            headers={"Accept-Encoding": "gzip"},
        )
    if (request.content_length or 0) > most_bytes:
        raise _too_large(most_bytes)
    unpacked = _Unpacked(most_bytes) if packing != "identity" else None
    body, came = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                came += len(chunk)
                body += unpacked.feed(chunk) if unpacked else chunk
                if max(came, len(body)) > most_bytes:
                    raise _too_large(most_bytes)
    except TimeoutError:
        raise Refused(
            Refusal.TOO_SLOW,
            f"after {BODY_SECONDS:.0f} s the body was not there",
            "Send it again, less at once or over a better line.",
        ) from None
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Refused(Refusal.BAD_REQUEST, f"the body broke off: {error}", "Send it again, whole.") from None
    except zlib.error as error:
        raise _not_gzip(str(error)) from None
    if unpacked is not None:
        unpacked.end()
    return bytes(body)


class _Unpacked:
    """A gzip stream that is unpacked as it comes, no further than wanted. Several members are one stream."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._member = zlib.decompressobj(_GZIP)
        self._begun = False

    def feed(self, chunk: bytes) -> bytes:
        """What comes out of the next piece: one byte more than `most_bytes` in all at the most."""
        out = bytearray()
        while chunk:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP)
            # One more than allowed is enough to see that it is too long; a bomb goes no further than that.
            out += self._member.decompress(chunk, self._left + 1 - len(out))
            if len(out) > self._left:
                break
            chunk = self._member.unused_data
        self._begun = True
        self._left -= len(out)
        return bytes(out)

    def end(self) -> None:
        """Refused where something is missing at the end."""
        if not self._begun or not self._member.eof:
            raise _not_gzip("its end is missing")


def _not_gzip(why: str) -> Refused:
    return Refused(
        Refusal.BAD_REQUEST,
        f"the body is not gzip: {why}",
        "Pack it with gzip, or send it as it is, without Content-Encoding.",
    )


def _too_large(most_bytes: int) -> Refused:
    return Refused(
        Refusal.TOO_LARGE,
        f"at most {most_bytes} bytes are read, unpacked",
        "Split the reports over several requests (setting http_ingest.max_body_bytes).",
    )

"""An HTTP server that answers whatever it is told to, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What came in. headers: by their names in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


#: Nothing is answered, and the connection stays.
HANG = None
#: The connection ends without a word.
CUT = b""
HALF_A_LINE = b"HTTP/1.1 2"
NO_HTTP = b"220 mail.example ESMTP\r\n" * 10

#: Bytes, or what gives them for a request.
Said = bytes | None | Callable[[Request], bytes]


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer of HTTP; a header's `_` is a `-`."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """answers: in their order; the last one from then on."""

    def __init__(self, *answers: Said) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self._tasks: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.split("\r\n")
            method, path, _ = first.split(" ")
            headers = {
                name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append(Request(method, path, headers, body))
            said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if said is HANG:
                await asyncio.Event().wait()
            assert said is not None
            writer.write(said if isinstance(said, bytes) else said(self.requests[-1]))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def serving(*answers: Said) -> AsyncIterator[Server]:
    """A server at its `url`."""
    it = Server(*answers)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield it
    finally:
        it.stop()
        server.close()

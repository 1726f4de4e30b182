"""The command `groundswell` as a test runs it: to its end, or `send` with a file or a feed that comes bit by bit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import msgspec

from streams.send import Outcome
from tests.pipeline import harness


async def groundswell(scene: harness.Scene, *arguments: str) -> bytes:
    """What a command with the scene's settings prints. AssertionError with what it complains of if it fails."""
    return await _end(await _begin(scene, *arguments))


class Sending:
    """`groundswell send -`, which waits for what there is to send."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def go_on(self, rows: bytes) -> None:
        """Give it more of its file. It sends that at once, but nobody says when that is done."""
        assert self._process.stdin is not None
        self._process.stdin.write(rows)
        await self._process.stdin.drain()

    async def end(self) -> None:
        """Its file is over: wait until all of it is sent. AssertionError with what it complains of if it fails."""
        await _end(self._process)


@contextlib.asynccontextmanager
async def sending(scene: harness.Scene) -> AsyncIterator[Sending]:
    """A file on its way to the scene's `reports`. Who leaves before its end leaves the rest unsent."""
    process = await _begin(scene, "send", "-")
    try:
        yield Sending(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class Feeding:
    """`groundswell feed | groundswell send -`, which does not end by itself."""

    def __init__(self, feed: asyncio.subprocess.Process, send: asyncio.subprocess.Process) -> None:
        self._feed = feed
        self._send = send

    async def end(self) -> Outcome:
        """End the feed, and wait until all that came of it is sent. AssertionError if either failed before."""
        assert self._feed.returncode is None, "the feed ended by itself"
        self._feed.terminate()
        await self._feed.wait()
        return msgspec.json.decode(await _end(self._send), type=Outcome)


@contextlib.asynccontextmanager
async def feeding(scene: harness.Scene, *options: str) -> AsyncIterator[Feeding]:
    """The story at the real clock on its way to the scene's `reports`. options: of the feed."""
    reading, writing = os.pipe()
    processes = []
    try:
        processes.append(await _begin(scene, "feed", *options, stdout=writing))
        processes.append(await _begin(scene, "send", "-", "--json", stdin=reading))
    finally:
        os.close(writing)
        os.close(reading)
    try:
        yield Feeding(*processes)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _begin(
    scene: harness.Scene, *arguments: str, stdin: int = PIPE, stdout: int = PIPE
) -> asyncio.subprocess.Process:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
    settings = () if arguments[0] == "feed" else ("--settings", str(scene.folder / "groundswell.toml"))
    command = (sys.executable, "-m", "streams", *settings, *arguments)
    return await asyncio.create_subprocess_exec(*command, env=env, stdin=stdin, stdout=stdout, stderr=PIPE)


async def _end(process: asyncio.subprocess.Process) -> bytes:
    said, complained = await process.communicate(b"" if process.stdin is not None else None)
    assert process.returncode == 0, complained.decode()
    return said

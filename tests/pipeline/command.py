"""The command `groundswell` as a test runs it: to its end, or `send` with a file that comes piece by piece."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

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


async def _begin(scene: harness.Scene, *arguments: str) -> asyncio.subprocess.Process:
    env = {key: value for key, value in os.environ.items() if not key.startswith("GROUNDSWELL_")}
    command = (sys.executable, "-m", "streams", "--settings", str(scene.folder / "groundswell.toml"), *arguments)
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, env=env, stdin=pipe, stdout=pipe, stderr=pipe)


async def _end(process: asyncio.subprocess.Process) -> bytes:
    said, complained = await process.communicate(b"")
    assert process.returncode == 0, complained.decode()
    return said

"""A process of our own beside this one: started so that it cannot outlive us, its output kept in a file."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Run between fork and exec by a Python of its own: `preexec_fn` would run our locks' copies in a forked process, which
# can hang once there are threads. PR_SET_PDEATHSIG (1) lasts through exec. A parent that died before the call would
# never be noticed, hence the check.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""


def start(command: Sequence[str], *, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start `command` (its first word a path), standard output and error going to the file `log`.

    It gets a session of its own, so that Ctrl-C on the terminal reaches us alone and we stop it in order. On Linux the
    kernel kills it when the thread that started it ends in any way; elsewhere a kill -9 of ours leaves it running.
    OSError where it cannot be started; on Linux that shows as its exit with the reason in `log`.
    """
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            command, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def cancel_on_signals() -> None:
    """Ctrl-C and SIGTERM cancel the current task from now on, so that it ends its children on the way out."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    if task is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: asyncio.run() does the same for Ctrl-C
                loop.add_signal_handler(number, task.cancel)


async def ended(process: subprocess.Popen[bytes]) -> int:
    """Wait until it has ended; its exit code, negative for a signal."""
    # Not asyncio's own processes: those belong to one event loop, and a test's fixture is left in another.
    while process.poll() is None:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return int(process.returncode)


async def stop(process: subprocess.Popen[bytes], *, grace_seconds: float = 5.0) -> None:
    """Ask it to end, and after `grace_seconds` end it with all that it started."""
    try:
        if process.poll() is None:
            process.terminate()
            async with asyncio.timeout(grace_seconds):
                await ended(process)
    except TimeoutError:
        pass
    finally:
        if sys.platform == "win32":
            process.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a process's output, without terminal control characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(
        "".join(c if c.isprintable() or c == "\t" else "?" for c in line) for line in text.splitlines()[-lines:]
    )

"""A real Prometheus and a real Alertmanager, Debian's, started from their commands on a free port."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from streams import child
from tests.kafka.server import free_port

START_SECONDS = 60.0


class Server(msgspec.Struct):
    """A server that runs: where it listens, and what it writes."""

    url: str
    port: int
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes]

    def restart(self, *, kill: bool = False) -> None:
        """End it, by kill -9 if that is said, and start it again on the same port and the same data."""
        self.stop(kill=kill)
        self.start()

    def stop(self, *, kill: bool = False) -> None:
        (self.process.kill if kill else self.process.terminate)()
        self.process.wait(30)

    def start(self) -> None:
        self.process = child.start(self.command, env=os.environ, log=self.log)
        self.wait()

    def wait(self) -> None:
        """Until it says that it is ready; AssertionError if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{self.command[0]} did not start:\n{child.tail(self.log, 40)}")


def tool(name: str, package: str) -> str:
    """The path of a command; AssertionError where its package is missing: nothing is skipped here."""
    path = shutil.which(name)
    assert path is not None, f"the tests of consumers need `{name}`: apt-get install {package}"
    return path


@contextlib.contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[Server]:
    """Start a server whose command makes it listen on `port` of the loopback address; it is ended with the block."""
    process = child.start(list(command), env=os.environ, log=log)
    server = Server(f"http://127.0.0.1:{port}", port, list(command), log, process)
    try:
        server.wait()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.wait()


@contextlib.contextmanager
def prometheus(folder: Path, config: Path) -> Iterator[Server]:
    """A Prometheus with the configuration file `config`; its data goes below `folder`."""
    port = free_port()
    command = [
        tool("prometheus", "prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-lifecycle",
    ]
    with running(command, port, folder / "prometheus.log") as server:
        yield server


@contextlib.contextmanager
def alertmanager(folder: Path, config: Path, *, peers: Sequence[int] = (), cluster_port: int = 0) -> Iterator[Server]:
    """An Alertmanager with the configuration file `config`; its data goes below `folder`.

    cluster_port: it is part of a cluster, and talks to those at the ports `peers`; 0: it is alone.
    """
    port = free_port()
    listen = f"127.0.0.1:{cluster_port}" if cluster_port else ""
    command = [
        tool("prometheus-alertmanager", "prometheus-alertmanager"),
        f"--config.file={config}",
        f"--storage.path={folder / f'alertmanager-{port}'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--cluster.listen-address={listen}",
        *(f"--cluster.peer=127.0.0.1:{peer}" for peer in peers),
    ]
    with running(command, port, folder / f"alertmanager-{port}.log") as server:
        yield server

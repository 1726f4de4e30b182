"""`groundswell demo`, as one types it: broker, worker and feed as processes of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streams import story

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for the demo's processes in /proc"),
]


def _demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    # What it is told of a real cluster must not matter: nothing listens there.
    env = os.environ | {"GROUNDSWELL_KAFKA_ADDRESS": "127.0.0.1:1", "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "streams", "demo", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _children(pid: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.timeout(520)
def test_demo_once_tells_of_the_outage_and_ends_with_0(tmp_path):
    process = _demo(tmp_path, "--once", "--speed", "1000x")

    said, _ = process.communicate(timeout=480)

    assert process.returncode == 0, said
    lines = said.splitlines()
    assert any(" open " in line and " WhatsApp " in line for line in lines), said
    # WhatsApp explains what surges in the regions, too.
    assert not any(" open " in line and " All services " in line for line in lines), said
    [over] = [line for line in lines if " resolved " in line and " WhatsApp everywhere" in line]
    contacts = re.search(r"([\d,]+) extra contacts, (\d+) % of them about WhatsApp, ([\d,]+) EUR", over)
    assert contacts, over
    extra, share, euro = (int(figure.replace(",", "")) for figure in contacts.groups())
    assert extra == pytest.approx(story.EXTRA_CONTACTS, rel=0.1)
    assert euro == pytest.approx(story.EXTRA_COST_EURO, rel=0.1)
    assert share == pytest.approx(100 * story.EXTRA_MENTIONS_SHARE, abs=10)
    assert "status page  http://" in said
    assert "First alert " in said
    told = re.search(r"It took ([\d,]+) contacts more than usual", said)
    assert told, said
    assert int(told[1].replace(",", "")) == pytest.approx(story.EXTRA_CONTACTS, rel=0.1), said
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_demo_cleanly_with_all_its_processes(tmp_path):
    process = _demo(tmp_path, "--feed", "tweets", "--speed", "1x")
    assert process.stdout is not None
    said = ""
    while "metrics " not in said:
        line = process.stdout.readline()
        assert line, f"it ended: {said}"
        said += line
    children = _children(process.pid)

    process.send_signal(signal.SIGINT)

    # A second or two where nothing else runs; beside all other tests' workers it took more than twenty once.
    assert process.wait(60) == 0
    assert len(children) == 2, "broker and worker"
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []
    process.stdout.close()

"""The image: what it is made from, that it runs without rights, and that its health check tells the truth."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from streams.settings import load
from tests.kafka.server import free_port

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "Dockerfile").read_text()
#: (instruction, its words) with lines that go on joined.
STEPS = [
    tuple(line.split(None, 1))
    for line in re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", TEXT, flags=re.M)).splitlines()
    if line.strip()
]
LAST_STAGE = STEPS[max(index for index, step in enumerate(STEPS) if step[0] == "FROM") :]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _words(instruction: str) -> str:
    [words] = [words for name, words in LAST_STAGE if name == instruction]
    return words


def test_python_is_pinned_to_the_patch_and_is_one_that_the_package_runs_on():
    assert {words.split()[0] for name, words in STEPS if name == "FROM"} == {"python:${PYTHON}"}
    [pinned] = [words.removeprefix("PYTHON=") for name, words in STEPS if name == "ARG"]

    assert re.fullmatch(r"3\.11\.\d+-slim-\w+", pinned)


def test_all_that_is_installed_is_in_the_lock_with_hashes():
    lock = (ROOT / "requirements.lock").read_text()
    pinned = {name.lower(): rest for name, rest in re.findall(r"^([\w.-]+)==\S+ (.*(?:\n    .*)*)", lock, re.M)}

    assert all("--hash=sha256:" in rest for rest in pinned.values())
    needed = {re.split(r"[\[<>=!~ ;]", dependency)[0].lower() for dependency in PROJECT["dependencies"]}
    assert needed | {"hatchling"} <= pinned.keys()
    installs = re.findall(r"pip(?: --python \S+)? install ([^&]*)", " ".join(words for _, words in STEPS))
    assert len(installs) == 4
    assert all("--require-hashes" in install or install.split() == ["--no-deps", "dist/*.whl"] for install in installs)


def test_what_is_copied_is_there_and_passes_dockerignore():
    copied = [
        source
        for name, words in STEPS
        if name == "COPY" and not words.startswith("--from")
        for source in words.split()[:-1]
    ]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert sorted(copied) == sorted(allowed)
    assert all((ROOT / source).exists() for source in copied)
    # The package's metadata names them, too.
    assert {PROJECT["readme"], *PROJECT["license-files"]} <= set(copied)


@pytest.mark.parametrize("secret", [".env", "groundswell.toml", "secrets/kafka", ".git/config", "deploy/compose.yaml"])
def test_what_lies_about_in_a_checkout_does_not_get_in(secret):
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    # What a later line lets in again is only what is copied: see above.
    assert any(fnmatch.fnmatch(secret, line) for line in lines if line == "*")
    assert not any(secret.startswith(line[1:]) for line in lines if line.startswith("!"))


def test_it_runs_as_nobody_special():
    user = _words("USER")

    assert re.fullmatch(r"\d+:\d+", user)
    assert user != "0:0"
    assert json.loads(_words("ENTRYPOINT")) == ["groundswell"]
    assert json.loads(_words("CMD")) == ["worker"]


def test_its_variables_are_settings_and_its_ports_are_those_of_the_page_and_of_http_ingest():
    env = dict(re.findall(r"(GROUNDSWELL_\w+)=(\S+)", _words("ENV")))

    settings = load(env=env).settings

    assert settings.web.host == settings.http_ingest.host == "0.0.0.0"
    assert _words("EXPOSE") == f"{settings.web.port} {settings.http_ingest.port}"


def test_its_version_is_the_package_s():
    assert f'image.version="{PROJECT["version"]}"' in _words("LABEL")
    assert f"groundswell:{PROJECT['version']} ." in TEXT


# --- the health check, as the image runs it ---


@pytest.fixture
def answering() -> Iterator[HTTPServer]:
    """A server that answers /healthz with its attribute `status`, everything else with 404."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(server.status if self.path == "/healthz" else 404)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _health(port: int, **env: str) -> int:
    _, command = _words("HEALTHCHECK").split(" CMD ", 1)
    python, *arguments = json.loads(command)
    assert python == "python"
    variables = os.environ | {"GROUNDSWELL_WEB_PORT": str(port)} | env
    return subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, timeout=30).returncode


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_health_check_says_what_the_worker_says(answering, status, exit_code):
    answering.status = status

    assert _health(answering.server_port) == exit_code


def test_health_check_fails_where_nobody_listens():
    assert _health(free_port()) == 1


def test_health_check_asks_no_proxy(answering):
    answering.status = 200

    assert _health(answering.server_port, http_proxy="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1") == 0

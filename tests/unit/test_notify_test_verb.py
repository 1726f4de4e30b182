"""`groundswell notify-test`: what a destination gets, and what is said of its answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams import cli
from tests.misbehaving import answer, serving


def settings(folder: Path, url: str) -> Path:
    (folder / "key").write_text("k" * 32)
    file = folder / "groundswell.toml"
    file.write_text(f'[destination.oncall]\ntype = "pagerduty"\nrouting_key_file = "key"\nurl = "{url}"\n')
    return file


async def run(file: Path, *arguments: str) -> int:
    return await asyncio.to_thread(cli.main, ["notify-test", "--settings", str(file), *arguments])


async def test_it_opens_a_marked_incident_and_resolves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with serving(answer(202)) as server:
        code = await run(settings(tmp_path, server.url), "oncall", "--service", "WhatsApp", "--severity", "error")

    assert code == 0
    assert [request.json["event_action"] for request in server.requests] == ["trigger", "resolve"]
    assert len({request.json["dedup_key"] for request in server.requests}) == 1
    payload = server.requests[0].json["payload"]
    assert "TEST" in payload["summary"]
    assert payload["severity"] == "error"
    assert capsys.readouterr().out.count("taken") == 2


async def test_it_can_stay_open(tmp_path: Path):
    async with serving(answer(202)) as server:
        await run(settings(tmp_path, server.url), "oncall", "--keep-open")

    assert [request.json["event_action"] for request in server.requests] == ["trigger"]


async def test_a_refusal_is_told_with_its_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    async with serving(answer(400, b"Invalid routing key")) as server:
        code = await run(settings(tmp_path, server.url), "oncall")

    assert code == 1
    said = capsys.readouterr().err
    assert "refuses it for good: 400" in said
    assert "Invalid routing key" in said


async def test_a_destination_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    code = await run(settings(tmp_path, "http://127.0.0.1:9"), "nobody")

    assert code == 1
    assert "There are: oncall." in capsys.readouterr().err

"""Numbered reports over HTTP while Kafka comes and goes, and what was told of each beside what is in the topic."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry

from streams.http_ingest.server import HttpIngest
from streams.metrics import Metrics
from streams.settings import HttpIngestSettings
from tests.pipeline import harness

SOURCE, TOKEN = "Call centre", "0123456789abcdef0123"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
#: Reports of a request.
TOGETHER = 3
POSTERS = 4


def tokens(folder: Path) -> Path:
    """A tokens file for the one source."""
    file = folder / "tokens"
    file.write_text(f"{SOURCE} {TOKEN}\n")
    return file


class Poster:
    """Clients that post one request after the other. told: ids of the reports by what was answered."""

    def __init__(self, url: str) -> None:
        self.told: dict[str, list[str]] = {"in": [], "none": [], "unknown": []}
        self.url = url
        self._number = 0

    async def post(self) -> str:
        """Post the next reports; what was told: in, none or unknown."""
        self._number += 1
        ids = [f"{self._number}-{each}" for each in range(TOGETHER)]
        lines = b"\n".join(msgspec.json.encode({"service": "WhatsApp", "id": each}) for each in ids)
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(self.url, data=lines, headers=HEADERS) as answer,
        ):
            body = await answer.json(content_type=None)
            assert answer.status in (202, 503), body
            told: str = "in" if answer.status == 202 else body["taken"]
            assert answer.status == 202 or int(answer.headers["Retry-After"]) > 0
        self.told[told] += ids
        return told

    @contextlib.asynccontextmanager
    async def posting(self) -> AsyncIterator[None]:
        """Post from several clients while the block lasts."""

        async def go_on() -> None:
            while True:
                await self.post()

        clients = [asyncio.create_task(go_on()) for _ in range(POSTERS)]
        try:
            yield
        finally:
            for client in clients:
                client.cancel()
            for result in await asyncio.gather(*clients, return_exceptions=True):
                if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                    raise result


@contextlib.asynccontextmanager
async def listening(scene: harness.Scene, **changes: object) -> AsyncIterator[Poster]:
    """A listener of the scene's own, without a worker, and who posts to it. changes: settings of http_ingest."""
    fast = {"port": 0, "reports_per_second": 1_000_000.0, "burst_reports": 10_000_000}
    rule = HttpIngestSettings(tokens_file=tokens(scene.folder), **(fast | changes))  # type: ignore[arg-type]
    settings = msgspec.structs.replace(scene.settings, http_ingest=rule)
    listener = HttpIngest(settings, Metrics(CollectorRegistry()))
    await listener.start()
    try:
        yield Poster("http://{}:{}/v1/reports".format(*listener.address))
    finally:
        await listener.close()


async def check(scene: harness.Scene, poster: Poster) -> None:
    """AssertionError where what was told is not true of the topic."""
    records = await harness.read(scene, scene.topics.reports)
    found = Counter(msgspec.json.decode(record.value)["id"] for record in records)
    assert {found[each] for each in poster.told["in"]} <= {1}, "what was taken is there once"
    assert {found[each] for each in poster.told["none"]} <= {0}, "what was not taken is not there"
    assert {found[each] for each in poster.told["unknown"]} <= {0, 1}
    # All of a request or nothing, and they stand together.
    requests: dict[str, list[int]] = {}
    for record in records:
        number = msgspec.json.decode(record.value)["id"].partition("-")[0]
        requests.setdefault(number, []).append(record.offset)
    for offsets in requests.values():
        assert offsets == list(range(offsets[0], offsets[0] + TOGETHER))

"""A status page on made-up state, and a Chromium that looks at it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from prometheus_client import CollectorRegistry

from detectors.command import Command
from streams.health import Health
from streams.metrics import Metrics
from streams.tokens import digest
from streams.web.access import Access
from streams.web.incidents import IncidentView
from streams.web.server import Served, make_app, serve
from streams.web_settings import WebSettings
from tests.browser.chromium import executable, launched
from tests.made_alerts import NOON, answer

#: Logs maria in.
TOKEN = "3f9c1d2e4b5a69788796a5b4"


class Site:
    """A status page that runs, what it reads from, and what was said on it."""

    def __init__(self) -> None:
        self.view = IncidentView()
        self.metrics = Metrics(CollectorRegistry())
        self.metrics.watermark.set(NOON)
        self.health = Health()
        self.health.assigned(True)
        self.health.recovered(True)
        self.served: Served | None = None
        self.said: list[Command] = []

    @property
    def url(self) -> str:
        assert self.served is not None
        return self.served.url

    async def start(self, port: int = 0) -> None:
        app = make_app(
            view=self.view,
            registry=self.metrics.registry,
            health=self.health,
            now=lambda: NOON + 4,
            access=Access(WebSettings(), {digest(TOKEN): "maria"}),
            send=self.heed,
        )
        self.served = await serve(app, "127.0.0.1", port)

    async def heed(self, command: Command) -> None:
        """What a worker does with a command: the incident's next record answers it."""
        self.said.append(command)
        before = self.view.get(command.incident)
        assert before is not None
        self.view.apply(answer(before, command))

    async def stop(self) -> None:
        if self.served:
            await self.served.close()


@pytest_asyncio.fixture(loop_scope="module")
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """One for all tests of a file: to start it takes longer than most of them."""
    path = executable()
    if path is None:
        pytest.skip("no Chromium found; on Debian: apt-get install chromium")
    async with launched(path) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Without a page, a cookie or a connection of the tests before."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complains of: console messages (broken policies among them) and errors of scripts."""
    return []


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, complaints: list[str]) -> AsyncIterator[Page]:
    """A page whose complaints are listened to."""
    page = await browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await page.close()

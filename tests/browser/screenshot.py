"""A picture of a status page or a backtest's page, for the README: python -m tests.browser.screenshot URL FILE"""

from __future__ import annotations

import asyncio
import sys

from tests.browser.chromium import executable, launched


async def take(url: str, file: str) -> None:
    """Write a PNG of the top of the page at `url` to `file`, sharp on a dense display."""
    path = executable()
    if path is None:
        sys.exit("no Chromium found; on Debian: apt-get install chromium")
    async with launched(path) as browser:
        page = await browser.new_page(viewport={"width": 960, "height": 860}, device_scale_factor=2)
        await page.goto(url)
        # A status page is whole once it is connected; a backtest's page has no such thing.
        link = page.locator("#link")
        if await link.count():
            await link.wait_for(state="visible")
        await page.screenshot(path=file)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m tests.browser.screenshot URL FILE")
    asyncio.run(take(*sys.argv[1:]))

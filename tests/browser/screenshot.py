"""Pictures for the README and docs/images.

python -m tests.browser.screenshot URL FILE     of a page that is served, or of a backtest's page
python -m tests.browser.screenshot docs/images  the status page's, of a night made by hand
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Literal

from tests.browser.chromium import executable, launched

DESKTOP = (960, 860)
PHONE = (390, 844)


async def take(
    url: str,
    file: str,
    *,
    size: tuple[int, int] = DESKTOP,
    scheme: Literal["light", "dark"] = "light",
    token: str | None = None,
) -> None:
    """Write a PNG of the top of the page at `url` to `file`, sharp on a dense display. token: of who is logged in."""
    path = executable()
    if path is None:
        sys.exit("no Chromium found; on Debian: apt-get install chromium")
    width, height = size
    async with launched(path) as browser:
        context = await browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=1.5, color_scheme=scheme, locale="en-GB"
        )
        if token is not None:
            await context.add_cookies([{"name": "groundswell_token", "value": token, "url": url}])
        page = await context.new_page()
        await page.goto(url)
        # A status page is whole once it is connected; a backtest's page has no such thing.
        link = page.locator("#link")
        if await link.count():
            await link.wait_for(state="visible")
        await page.screenshot(path=file)


async def take_all(folder: Path) -> None:
    """Pictures of the overview and of an incident's page, on a desk and on a phone at night."""
    from tests.browser.conftest import TOKEN, Site
    from tests.made_scene import ID, night

    site = Site()
    night(site.view)
    await site.start()
    try:
        incident = f"{site.url}/incidents/{ID}"
        await take(site.url, str(folder / "status.png"))
        await take(incident, str(folder / "incident.png"), size=(960, 1080))
        await take(incident, str(folder / "phone.png"), size=PHONE, scheme="dark", token=TOKEN)
    finally:
        await site.stop()


if __name__ == "__main__":
    match sys.argv[1:]:
        case [url, file]:
            asyncio.run(take(url, file))
        case [folder]:
            asyncio.run(take_all(Path(folder)))
        case _:
            sys.exit(__doc__)

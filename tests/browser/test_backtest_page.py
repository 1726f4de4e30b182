"""A backtest's page in a real browser, opened from disk."""

from __future__ import annotations

import msgspec
import pytest
from playwright.async_api import expect

from streams import backtest
from streams.settings import IncidentRule, Settings
from tests.browser.test_status_page import IMAGE, POOR_CONTRASTS, SCRIPT

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

#: 25 October 2022, 00:00 UTC, in seconds.
DAY = 1_666_656_000


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A service breaks, its name a script; an outage that nobody reported of is known, too."""
    folder = tmp_path_factory.mktemp("page")
    times = [DAY + 30 * number for number in range(720)] + [DAY + 21_600 + number for number in range(1200)]
    times += [DAY + 22_800 + 30 * number for number in range(240)]
    rows = [msgspec.json.encode({"service": SCRIPT, "region": IMAGE, "time": time}) for time in times]
    feed, known, out = folder / "reports.ndjson", folder / "known.csv", folder / "out.html"
    feed.write_bytes(b"\n".join(rows))
    known.write_text(
        "service,region,start,end\n"
        f"{SCRIPT},,2022-10-25T06:00:00Z,2022-10-25T06:20:00Z\n"
        f"{SCRIPT},,2022-10-25T03:00:00Z,2022-10-25T03:20:00Z\n"
    )
    late = backtest.Variant("late.toml", Settings(incidents=IncidentRule(open_at=3.5)))
    backtest.run(Settings(), feed, json_output=True, report=out, labels_file=known, other=late)
    return out


async def test_pictures_are_seen_from_disk_and_nothing_is_loaded_or_run(browser, page_file):
    page = await browser.new_page(viewport={"width": 1000, "height": 900})
    complaints: list[str] = []
    loaded: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: loaded.append(request.url))

    await page.goto(page_file.as_uri())

    await expect(page.get_by_role("heading", level=1)).to_have_text("Backtest of reports.ndjson")
    pictures = page.locator("figure.picture")
    await expect(pictures).to_have_count(2)
    incident = page.locator("#incidents figure")
    await expect(incident.get_by_role("heading")).to_contain_text(SCRIPT)
    for drawing in (incident.locator("svg.counts"), incident.locator("svg.proof"), page.locator("#weeks svg")):
        box = await drawing.bounding_box()
        assert box is not None
        assert box["width"] > 600
        assert box["height"] > 40
    for flag in ("onset", "detected", "B detects", "resolved"):
        await expect(incident.locator(".flag", has_text=flag).first).to_be_visible()
    assert loaded == [page_file.as_uri()]
    assert complaints == []
    assert await page.evaluate("window.ran") is None


async def test_flag_stands_at_its_line(browser, page_file):
    page = await browser.new_page(viewport={"width": 1000, "height": 900})
    await page.goto(page_file.as_uri())

    flag = await page.locator("#incidents .flag.detected").bounding_box()
    line = await page.locator("#incidents svg.counts line.detected").bounding_box()

    assert flag is not None
    assert line is not None
    assert abs(flag["x"] - line["x"]) < 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_phone_needs_no_horizontal_scroll_and_flags_do_not_overlap(browser, page_file, scheme):
    page = await browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)

    await page.goto(page_file.as_uri())

    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    boxes = [await flag.bounding_box() for flag in await page.locator("#incidents .flag").all()]
    assert len(boxes) == 4
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            apart_x = one["x"] + one["width"] <= other["x"] + 1 or other["x"] + other["width"] <= one["x"] + 1
            apart_y = one["y"] + one["height"] <= other["y"] + 1 or other["y"] + other["height"] <= one["y"] + 1
            assert apart_x or apart_y


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_contrast_of_text_is_enough(browser, page_file, scheme):
    page = await browser.new_page(color_scheme=scheme)

    await page.goto(page_file.as_uri())

    assert await page.evaluate(POOR_CONTRASTS) == []


async def test_link_of_a_table_leads_to_its_picture(browser, page_file):
    page = await browser.new_page(viewport={"width": 1000, "height": 700})
    await page.goto(page_file.as_uri())

    await page.locator("#labels a", has_text="found").first.click()

    await expect(page.locator("#incidents figure:target")).to_be_in_viewport()

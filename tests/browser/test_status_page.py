"""The status page in a real browser."""

import asyncio

import pytest
from playwright.async_api import expect

from detectors.alert import Severity
from tests.browser.screenshot import take
from tests.made_alerts import NOON, course, outage, resolved

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SCRIPT = "<script>window.ran = true</script>"
IMAGE = "\"'><img src=x onerror='window.ran = true'>"


async def test_incident_appears_and_goes_without_a_reload(page, site, complaints):
    await page.goto(site.url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("No service in trouble")
    await expect(page.get_by_text("Connected")).to_be_visible()
    await page.evaluate("window.loaded = 'once'")

    site.view.apply(outage(course=course([9, 11, 10, 200, 400])))

    await expect(page.get_by_role("heading", level=1)).to_have_text("1 service in trouble")
    await expect(page.get_by_role("heading", name="WhatsApp")).to_be_visible()
    await expect(page.get_by_role("img", name="WhatsApp in it: reports per minute")).to_be_visible()
    await expect(page).to_have_title("1 service in trouble · Groundswell")
    await expect(page.get_by_role("status")).to_have_text("1 service in trouble")

    site.view.apply(resolved())

    await expect(page.get_by_role("heading", level=1)).to_have_text("No service in trouble")
    await expect(page.locator(".past").get_by_text("WhatsApp")).to_be_visible()
    assert await page.evaluate("window.loaded") == "once"
    assert complaints == []


async def test_script_in_a_report_does_not_run_and_is_shown_as_text(page, site, complaints):
    site.view.apply(outage("1", service=SCRIPT, region=IMAGE, summary=SCRIPT + IMAGE, course=course([10, 400])))
    site.view.apply(resolved("2", service=IMAGE, region=SCRIPT))
    await page.goto(site.url)
    await expect(page.get_by_role("heading", name=SCRIPT)).to_be_visible()

    site.view.apply(outage("3", service=IMAGE, region=SCRIPT, summary=IMAGE, course=course([10, 400])))

    await expect(page.get_by_role("heading", name=IMAGE)).to_be_visible()
    assert await page.locator("main script, main img").count() == 0
    assert await page.evaluate("window.ran") is None
    assert complaints == []


async def test_policy_stops_a_script_that_would_get_in_all_the_same(page, site, complaints):
    await page.goto(site.url)

    await page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = true\">')")

    await expect(page.locator("body > img")).to_have_count(1)
    await page.wait_for_function("performance.now() > 0 && document.images[document.images.length - 1].complete")
    assert await page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_phone_needs_no_horizontal_scroll(browser, site, scheme):
    long = "Wi-Fi" + "W" * 195
    site.view.apply(outage("1", course=course([10] * 60 + [400])))
    site.view.apply(outage("2", service=long, region="it/" + "x" * 290, summary="y" * 390, ratio=1e12))
    for i in range(3):
        site.view.apply(outage(f"r{i}", service="TIM", region=f"it/lazio/{'roma' * 20}/{i}", severity=Severity.ERROR))
    site.view.apply(resolved("4", service=long, region="z" * 300))
    page = await browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)

    await page.goto(site.url)

    await expect(page.get_by_role("heading", level=1)).to_have_text("3 services in trouble")
    assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_contrast_of_text_is_enough_in_light_and_dark(browser, site):
    """WCAG 2 AA: 4.5 between a text and what is behind it."""
    for i, severity in enumerate(Severity):
        site.view.apply(outage(f"{i}", service=f"service {i}", severity=severity, warming=True))
        site.view.apply(outage(f"r{i}", service=f"service {i}", region="it/lazio", severity=severity))
    site.view.apply(resolved("over"))
    site.health.recovered(False)

    for scheme in ("light", "dark"):
        page = await browser.new_page(color_scheme=scheme)
        await page.goto(site.url)
        assert await page.evaluate(POOR_CONTRASTS) == []


async def test_lost_connection_is_shown_and_mends_itself(page, site):
    await page.goto(site.url)
    await expect(page.get_by_text("Connected")).to_be_visible()
    port = int(site.url.rpartition(":")[2])

    await site.stop()

    await expect(page.get_by_role("alert")).to_contain_text("Connection lost.")
    await expect(page.get_by_text("Connected")).to_be_hidden()

    site.view.apply(outage())
    await site.start(port)

    await expect(page.get_by_role("heading", level=1)).to_have_text("1 service in trouble", timeout=20_000)
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_stall_of_the_worker_shows_without_a_reload(page, site):
    await page.goto(site.url)
    await expect(page.get_by_role("heading", level=1)).to_have_text("No service in trouble")

    site.health.lag("detect", 12, now=NOON - 100)

    await expect(page.get_by_role("heading", level=1)).to_have_text("State unknown")
    await expect(page.get_by_text("Detection is stalled:")).to_be_visible()


async def test_ages_go_on_with_the_data(page, site):
    site.view.apply(outage())
    await page.goto(site.url)
    await expect(page.locator(".facts small").first).to_have_text("12 min")

    site.metrics.watermark.set(NOON + 3 * 60)

    await expect(page.locator(".facts small").first).to_have_text("15 min")
    await expect(page.locator("#clock")).to_contain_text("12:03:00")


async def test_times_tell_the_readers_own_in_their_title(browser, site):
    site.view.apply(outage())
    page = await browser.new_page(timezone_id="Europe/Rome", locale="en-GB")

    await page.goto(site.url)

    await expect(page.locator(".facts time")).to_have_text("11:48")
    await expect(page.locator(".facts time")).to_have_attribute("title", "25/10/2022, 13:48:00 your time")


async def test_one_browser_too_many_still_follows(page, site, monkeypatch):
    monkeypatch.setattr("streams.web.live.MAX_STREAMS", 0)

    await page.goto(site.url)

    await expect(page.get_by_text("Every 15 s")).to_be_visible()
    await expect(page.get_by_role("alert")).to_be_hidden()


async def test_page_without_script_shows_the_state(browser, site):
    site.view.apply(outage())
    page = await browser.new_page(java_script_enabled=False)

    await page.goto(site.url)

    await expect(page.get_by_role("heading", name="WhatsApp")).to_be_visible()
    await expect(page.get_by_text("Data until 25 Oct 2022, 12:00")).to_be_visible()
    await expect(page.get_by_text("Connection lost.")).to_be_hidden()


async def test_screenshot_is_a_picture_of_the_page(browser, site, tmp_path):
    site.view.apply(outage(course=course([9, 11, 10, 200, 400])))
    file = tmp_path / "page.png"

    await asyncio.wait_for(take(site.url, str(file)), 30)

    assert file.read_bytes().startswith(b"\x89PNG")


POOR_CONTRASTS = """() => {
  // Colours by painting them, since color-mix() computes to notations of many kinds: red, green, blue, 0 to 255.
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const paint = (layers) => {
    for (const layer of layers) {
      canvas.fillStyle = layer;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    if (!text || element.closest("svg, noscript, .unseen, [hidden]")) continue;
    const layers = [];
    for (let e = element; e; e = e.parentElement) layers.unshift(getComputedStyle(e).backgroundColor);
    const behind = paint(layers);
    const ink = paint([...layers, getComputedStyle(element).color]);
    const [light, dark] = [luminance(behind), luminance(ink)].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) poor.push(`${text}: ${contrast.toFixed(2)} (${element.className})`);
  }
  return poor;
}"""

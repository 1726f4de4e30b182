"""The pages of incidents, services and the history in a real browser: live, safe, for all readers."""

from __future__ import annotations

import pytest
from axe_playwright_python.async_playwright import Axe
from msgspec.structs import replace
from playwright.async_api import Page, expect

from detectors.alert import Severity, State
from detectors.command import Action
from tests.browser.conftest import TOKEN
from tests.browser.test_status_page import POOR_CONTRASTS
from tests.made_alerts import course, outage, resolved
from tests.made_scene import ID, night, whatsapp
from tests.unit.test_web_hostile import hostile, incident

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PATHS = (
    "/",
    f"/incidents/{ID}",
    "/incidents/part-0",
    "/incidents/vodafone",
    "/services/WhatsApp",
    "/history",
    "/login",
)
#: Elements of a page by name, and whether a script of ours did not write.
COUNTED = """() => {
  const found = {};
  for (const element of document.querySelectorAll("*")) {
    const key = [element.localName, ...element.getAttributeNames().sort()].join(" ");
    found[key] = (found[key] || 0) + 1;
  }
  return found;
}"""


async def log_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/login")
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_text("Logged in as")).to_be_visible()


# Live


async def test_overview_leads_to_the_incident_which_draws_what_happened(page, site, complaints):
    night(site.view)
    await page.goto(site.url)

    await page.get_by_role("link", name="WhatsApp", exact=True).first.click()

    await expect(page).to_have_url(f"{site.url}/incidents/{ID}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("WhatsApp in all of Italy")
    drawing = page.get_by_role("img", name="WhatsApp in all of Italy: reports per minute from 11:00")
    box = await drawing.bounding_box()
    assert box is not None
    assert box["width"] > 500
    assert box["height"] > 100
    points = await drawing.locator(".observed").get_attribute("points")
    assert len((points or "").split()) == 60
    for mark in ("onset", "detected"):
        await expect(drawing.locator(f"line.{mark}")).to_have_count(1)
    assert complaints == []


async def test_incident_page_goes_on_without_a_reload(page, site, complaints):
    site.view.apply(outage(course=course([9, 11, 10, 200, 400])))
    await page.goto(f"{site.url}/incidents/incident-1")
    await expect(page.get_by_text("Connected")).to_be_visible()
    await page.evaluate("window.loaded = 'once'")

    site.view.apply(outage(sequence=2, observed=9_999, severity=Severity.ERROR, state=State.UPDATE))

    await expect(page.locator(".facts").first).to_contain_text("9,999 reports")
    await expect(page.locator(".timeline")).to_contain_text("Now error")

    site.view.apply(resolved())

    await expect(page.locator(".timeline")).to_contain_text("Resolved")
    await expect(page.locator(".headline .open")).to_have_text("Resolved")
    assert await page.evaluate("window.loaded") == "once"
    assert complaints == []


async def test_service_and_history_go_on_without_a_reload(browser, site):
    site.view.apply(resolved("before"))
    service, past = await browser.new_page(), await browser.new_page()
    await service.goto(f"{site.url}/services/WhatsApp")
    await past.goto(f"{site.url}/history?severity=critical")
    for page in (service, past):
        await expect(page.get_by_text("Connected")).to_be_visible()

    site.view.apply(outage("now"))
    site.view.apply(outage("mild", service="TIM", severity=Severity.INFO))

    await expect(service.locator(".headline")).to_contain_text("In trouble: 1 incident")
    await expect(past.get_by_role("heading", name="2 incidents")).to_be_visible()


async def test_what_is_being_written_and_has_the_focus_stays_while_the_page_goes_on(page, site):
    site.view.apply(outage())
    await log_in(page, site.url)
    await page.goto(f"{site.url}/incidents/incident-1")
    await expect(page.get_by_text("Connected")).to_be_visible()
    reason = page.get_by_label("Reason")
    await reason.fill("calling the")

    site.view.apply(outage(sequence=2, observed=9_999, state=State.UPDATE, reasons=["9,812 reports beyond the usual"]))
    await expect(page.locator(".facts").first).to_contain_text("9,999 reports")
    await reason.press_sequentially("m")

    await expect(reason).to_be_focused()
    await expect(reason).to_have_value("calling them")


async def test_focus_stays_on_a_card_that_another_one_moves_down(page, site):
    site.view.apply(outage("1", service="TIM", severity=Severity.WARNING))
    await page.goto(site.url)
    await expect(page.get_by_text("Connected")).to_be_visible()
    link = page.get_by_role("heading", name="TIM").get_by_role("link")
    await link.focus()

    site.view.apply(outage("2", service="WhatsApp"))

    await expect(page.get_by_role("heading", name="WhatsApp")).to_be_visible()
    await expect(link).to_be_focused()


# Said on the page


async def test_acknowledged_with_the_keyboard_alone(page, site, complaints):
    site.view.apply(outage())
    await log_in(page, site.url)
    await page.goto(f"{site.url}/incidents/incident-1")
    await page.get_by_label("Reason").focus()

    await page.keyboard.type("calling them")
    await page.keyboard.press("Enter")

    await expect(page.get_by_text("Done: the incident shows it.")).to_be_visible()
    await expect(page.locator(".timeline")).to_contain_text("Acknowledged by maria: calling them")
    assert [(command.action, command.by, command.reason) for command in site.said] == [
        (Action.ACK, "maria", "calling them")
    ]
    assert complaints == []


async def test_muted_then_resolved_by_buttons(page, site):
    site.view.apply(outage())
    await log_in(page, site.url)
    await page.goto(f"{site.url}/incidents/incident-1")

    await page.get_by_role("button", name="Mute for 30 min").click()
    await expect(page.get_by_role("button", name="Unmute", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Resolve").click()
    await expect(page.locator(".headline .open")).to_have_text("Resolved: by hand")

    assert [(command.action, command.for_seconds) for command in site.said] == [
        (Action.MUTE, 1800.0),
        (Action.RESOLVE, None),
    ]
    await expect(page.get_by_role("button", name="Resolve")).to_have_count(0)


async def test_link_in_a_chat_leads_to_a_page_on_which_its_reader_may_act(page, site):
    site.view.apply(outage())
    await log_in(page, site.url)
    chat = site.url.replace("127.0.0.1", "localhost")
    html = f'<a href="{site.url}/incidents/incident-1">WhatsApp in it</a>'
    await page.route(f"{chat}/chat", lambda route: route.fulfill(body=html, content_type="text/html"))
    await page.goto(f"{chat}/chat")

    await page.get_by_role("link", name="WhatsApp in it").click()
    await page.get_by_role("button", name="Acknowledge").click()

    await expect(page.get_by_text("Done: the incident shows it.")).to_be_visible()
    assert [command.by for command in site.said] == ["maria"]


async def test_another_site_cannot_say_anything_in_a_readers_name(page, site):
    site.view.apply(outage())
    await log_in(page, site.url)
    foreign = site.url.replace("127.0.0.1", "localhost")
    action = f"{site.url}/incidents/incident-1/commands"
    html = f'<form method="post" action="{action}"><input name="say" value="resolve"></form>'
    await page.route(f"{foreign}/evil", lambda route: route.fulfill(body=html, content_type="text/html"))
    await page.goto(f"{foreign}/evil")

    async with page.expect_navigation() as navigation:
        await page.evaluate("document.forms[0].submit()")

    answer = await navigation.value
    assert answer is not None
    assert answer.status in (401, 403)
    assert site.said == []


# Hostile names


async def test_hostile_values_are_text_in_the_document_of_every_page(page, site, complaints):
    await page.add_init_script("window.alert = () => { window.ran = true; }")

    async def documents() -> list[tuple[str, dict[str, int]]]:
        found = []
        for path in ("/", "/history", *(f"/incidents/id{number}" for number in range(0, 40, 4))):
            await page.goto(site.url + path)
            await expect(page.get_by_text("Connected")).to_be_visible()
            found.append((path, await page.evaluate(COUNTED)))
        return found

    for number in range(40):
        site.view.apply(incident(f"id{number}", f"number {number} of many"))
    plain = await documents()
    for number in range(40):
        site.view.apply(replace(incident(f"id{number}", hostile(number)), sequence=2, parent=None))
    # Once by the server's page, and once by what live.js put into the one that was open.
    await expect(page.locator("#headline")).not_to_contain_text("of many")
    attacked = await documents()

    for (path, found), (_, expected) in zip(attacked, plain, strict=True):
        assert found.keys() <= expected.keys() | {"div"}, path
    assert await page.evaluate("window.ran") is None
    assert [text for text in complaints if "Content Security Policy" in text] == []


# For all readers


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1000, 360])
async def test_axe_finds_no_serious_problem_on_any_page(browser, site, scheme, width):
    night(site.view)
    context = await browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    page = await context.new_page()
    problems = []
    for path in PATHS:
        await page.goto(site.url + path)
        problems += await axed(page, path)
    await log_in(page, site.url)
    for path in ("/", f"/incidents/{ID}"):
        await page.goto(site.url + path)
        problems += await axed(page, f"{path} of maria")
    await context.close()

    assert problems == []


async def axed(page: Page, path: str) -> list[str]:
    """Serious and critical problems of a page, by axe-core."""
    results = await Axe().run(page)
    return [
        f"{path}: {each['id']} ({each['impact']}): {[node['html'][:120] for node in each['nodes'][:3]]}"
        for each in results.response["violations"]
        if each["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_phone_needs_no_horizontal_scroll_and_contrast_is_enough(browser, site, scheme):
    night(site.view)
    long = "Wi-Fi" + "W" * 195
    site.view.apply(replace(incident("long", long), sequence=2))
    context = await browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = await context.new_page()
    await log_in(page, site.url)

    for path in (*PATHS, "/incidents/long", f"/services/{long}", "/history?service=Wi-Fi"):
        await page.goto(site.url + path)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == 360, path
        assert await page.evaluate(POOR_CONTRASTS) == [], path
    await context.close()


async def test_everything_is_read_and_filtered_without_javascript(browser, site):
    night(site.view)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()

    await page.goto(site.url)
    await page.get_by_role("link", name="History", exact=True).click()
    await page.get_by_label("Service").fill("whats")
    await page.get_by_label("Kind").select_option("service")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_role("heading", name="1 incident")).to_be_visible()
    await page.get_by_role("link", name="WhatsApp in all of Italy").click()

    await expect(page.get_by_text("Looks like WhatsApp itself")).to_be_visible()
    await expect(page.locator("svg .observed")).to_be_visible()
    await expect(page.locator(".timeline")).to_contain_text("Acknowledged by maria")
    await context.close()


async def test_incident_is_acknowledged_without_javascript(browser, site):
    site.view.apply(outage())
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await log_in(page, site.url)
    await page.goto(f"{site.url}/incidents/incident-1")

    await page.get_by_role("button", name="Acknowledge").click()

    await expect(page.get_by_text("Done: the incident shows it.")).to_be_visible()
    await context.close()


async def test_keyboard_reaches_everything_that_can_be_used(page, site):
    night(site.view)
    await log_in(page, site.url)
    for path in ("/", f"/incidents/{ID}", "/history"):
        await page.goto(site.url + path)
        await expect(page.get_by_text("Connected")).to_be_visible()
        wanted = await page.evaluate(
            "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select')].length"
        )
        reached = await page.evaluate("0")
        seen: set[str] = set()
        first = ""
        for _ in range(8 * wanted):
            await page.keyboard.press("Tab")
            where = await page.evaluate(
                "(() => { const all = [...document.querySelectorAll('*')]; const it = document.activeElement;"
                " return it === document.body ? '' : String(all.indexOf(it)); })()"
            )
            if where and where == first and len(seen) >= wanted:
                break
            first = first or where
            if where:
                seen.add(where)
        reached = len(seen)
        assert reached >= wanted, path


async def test_first_tab_offers_to_skip_to_the_content(page, site):
    night(site.view)
    await page.goto(site.url)

    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    await page.keyboard.press("Enter")

    await expect(page.locator("main")).to_be_focused()


async def test_italian_reader_gets_italian_and_may_switch(browser, site):
    night(site.view)
    context = await browser.new_context(locale="it-IT")
    page = await context.new_page()
    await page.goto(f"{site.url}/incidents/{ID}")
    await expect(page.get_by_text("Di chi è")).to_be_visible()
    await expect(page.locator("#clock")).to_contain_text("Ultimi dati: 25 ott 2022, 12:00:00 UTC")

    site.view.apply(whatsapp(99, observed=30_000))
    await expect(page.locator(".facts").first).to_contain_text("30.000 segnalazioni")
    await page.get_by_role("link", name="English").click()

    await expect(page.get_by_text("Whose fault")).to_be_visible()
    await page.goto(site.url)
    await expect(page.get_by_role("heading", name="Verdicts")).to_be_visible()
    await context.close()

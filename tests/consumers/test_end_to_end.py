"""From reports in Kafka to what people look at: one outage of twenty regions is one alert, and then none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
import yaml
from playwright.async_api import expect

from tests.browser import chromium
from tests.consumers import live, monitoring, servers
from tests.pipeline import harness
from tests.pipeline.harness import wait_until

pytestmark = pytest.mark.timeout(300)

SHIPPED = monitoring.DEPLOY / "alertmanager" / "alertmanager.yml"
#: Time for a page to show what it was told of.
BROWSER_MS = 30_000


class Site(msgspec.Struct, frozen=True):
    """What runs: a worker on a live feed, and who listens to it."""

    feed: live.Feed
    alertmanager: live.Alerts
    prometheus: str
    page: str


@pytest.fixture
async def site(tmp_path: Path, stage: harness.Stage) -> AsyncIterator[Site]:
    with servers.alertmanager(tmp_path, SHIPPED) as manager:
        scene = await stage.set_scene(
            destination__pages__type="alertmanager", destination__pages__urls=[manager.url], **live.SHORT
        )
        async with harness.workers(scene) as start, aiohttp.ClientSession() as session:
            worker = start()
            await worker.ready()
            with servers.prometheus(tmp_path, monitoring.configured(tmp_path, worker.port)) as prometheus:
                async with live.running(scene, worker) as feed:
                    yield Site(
                        feed, live.Alerts(manager.url, session), prometheus.url, f"http://127.0.0.1:{worker.port}"
                    )


async def test_an_outage_of_twenty_regions_is_one_alert_on_screens_and_pagers_and_then_none(site: Site):
    executable = chromium.executable()
    assert executable, "the tests of consumers need `chromium`: apt-get install chromium"
    async with chromium.launched(executable) as browser:
        page = await browser.new_page()
        await page.goto(site.page)
        heading = page.get_by_role("heading", level=1)
        await expect(heading).to_have_text("No service in trouble", timeout=BROWSER_MS)

        site.feed.break_down()
        await wait_until(site.alertmanager.active, 60, "Alertmanager had an alert", every_seconds=0.05)
        first = await site.alertmanager.active()

        async def parts_are_there() -> bool:
            return len((await site.alertmanager.by_state()).get("suppressed", [])) == len(live.REGIONS)

        await wait_until(parts_are_there, 60, "all regions were told as parts")
        settled = await site.alertmanager.active()
        await expect(heading).to_have_text("1 service in trouble", timeout=BROWSER_MS)
        await expect(page.get_by_role("heading", name=live.SERVICE)).to_be_visible(timeout=BROWSER_MS)

        async def is_scraped() -> object:
            return monitoring.now(
                site.prometheus, 'groundswell_incident_open{service="WhatsApp", kind="service", status="pages"} == 1'
            )

        await wait_until(is_scraped, 30, "Prometheus had the incident")

        site.feed.mend()

        async def is_over() -> bool:
            return not await site.alertmanager.by_state()

        await wait_until(is_over, 120, "Alertmanager had none any more")
        await expect(heading).to_have_text("No service in trouble", timeout=BROWSER_MS)

    assert [(labels["kind"], labels["service"], labels["region"]) for labels in first] == [("service", "WhatsApp", "*")]
    assert settled == first


def test_the_configuration_that_is_shipped_groups_what_one_incident_explains():
    assert yaml.safe_load(SHIPPED.read_text())["route"]["group_by"] == ["alertname", "cause"]

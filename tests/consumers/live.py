"""A feed at the pace of the clock: twenty regions with a day of quiet behind them, which break on command."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import aiohttp

from tests.pipeline import feeds, harness

SERVICE = "WhatsApp"
REGIONS = tuple(f"it/region-{number:02}" for number in range(20))
BUCKET_SECONDS = 10
QUIET_HOURS = 24
#: Reports of a region: in a quiet bucket, and a second while it is broken.
USUAL = 5
BROKEN = 10
TICK_SECONDS = 0.5

#: Settings under which one outage can follow the other within a minute.
SHORT = {
    "source__default__bucket_seconds": BUCKET_SECONDS,
    "source__default__lateness_seconds": 1,
    "incidents__close_after_seconds": 10.0,
    "incidents__reopen_seconds": 1.0,
}


class Feed:
    """What is sent. broken: whether the service is."""

    def __init__(self, scene: harness.Scene) -> None:
        self._scene = scene
        self.broken = False
        self.first_excess = 0.0

    async def send_history(self) -> float:
        """A day of quiet, up to now; when it ended, seconds since 1970."""
        first = int(time.time()) // BUCKET_SECONDS - QUIET_HOURS * 3600 // BUCKET_SECONDS
        beat = feeds.report(first * BUCKET_SECONDS, "heartbeat", count=0)
        await harness.send(self._scene, [(number, beat) for number in range(self._scene.partitions)])
        # What passes while it is sent belongs to it, too: a gap would be a silent feed.
        while first < (end := int(time.time()) // BUCKET_SECONDS):
            await harness.send(self._scene, self._quiet(first, end))
            first = end
        return float(end * BUCKET_SECONDS)

    def _quiet(self, first: int, end: int) -> list[harness.Sent]:
        """A report for each region and bucket, with its count."""
        return [
            (
                bucket % self._scene.partitions,
                feeds.report(bucket * BUCKET_SECONDS, SERVICE, region, count=(3, 6, 5, 4, 7)[(bucket + place) * 7 % 5]),
            )
            for bucket in range(first, end)
            for place, region in enumerate(REGIONS)
        ]

    async def run(self) -> None:
        """Until cancelled."""
        number = 0
        async with harness.producer(self._scene) as sender:
            while True:
                now = time.time()
                # One region after the other in quiet: each has its usual count over a bucket.
                every = round(BUCKET_SECONDS / USUAL / TICK_SECONDS)
                due = [region for place, region in enumerate(REGIONS) if (place + number) % every == 0]
                if self.broken:
                    due += [region for region in REGIONS for _ in range(round(BROKEN * TICK_SECONDS))]
                    self.first_excess = self.first_excess or now
                waiting = [
                    await sender.send(
                        self._scene.topics.reports,
                        feeds.report(now, SERVICE, region),
                        partition=place % self._scene.partitions,
                    )
                    for place, region in enumerate(due)
                ]
                await asyncio.gather(*waiting)
                number += 1
                await asyncio.sleep(max(0.0, now + TICK_SECONDS - time.time()))

    def break_down(self) -> None:
        """From the next tick on."""
        self.first_excess = 0.0
        self.broken = True

    def mend(self) -> None:
        """From the next tick on."""
        self.broken = False


@contextlib.asynccontextmanager
async def running(scene: harness.Scene, worker: harness.Worker) -> AsyncIterator[Feed]:
    """The feed runs within the block, which begins when its history has been read."""
    feed = Feed(scene)
    ended = await feed.send_history()
    task = asyncio.create_task(feed.run())
    try:

        async def read() -> bool:
            worker.check_alive()
            mark = (await worker.metrics()).total("groundswell_watermark_timestamp_seconds")
            return mark >= ended - BUCKET_SECONDS

        await harness.wait_until(read, 120, "history was read")
        yield feed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Alerts:
    """What an Alertmanager shows."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = f"{url}/api/v2/alerts"
        self._session = session

    async def by_state(self) -> dict[str, list[dict[str, str]]]:
        """The labels of the alerts by state: active, suppressed, unprocessed."""
        found: dict[str, list[dict[str, str]]] = {}
        async with self._session.get(self._url) as answer:
            for alert in await answer.json():
                found.setdefault(alert["status"]["state"], []).append(alert["labels"])
        return found

    async def active(self) -> list[dict[str, str]]:
        """Those that fire, and that nothing suppresses."""
        return (await self.by_state()).get("active", [])

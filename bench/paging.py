"""How long from the first excess report to a real Alertmanager: python -m bench.paging [--outages 20].

A worker on the embedded broker, twenty regions, buckets of ten seconds; one outage after the other, begun at different
places in their buckets. Needs Debian's package prometheus-alertmanager.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from streams import broker
from tests.consumers import live, servers
from tests.pipeline import harness

CONFIG = Path(__file__).parents[1] / "deploy" / "alertmanager" / "alertmanager.yml"
#: How long an outage lasts, and how long Alertmanager is asked for it.
LASTS_SECONDS = 12.0
WAIT_SECONDS = 60.0
#: Steps by which outages begin later in their bucket.
SHIFT_SECONDS = 0.7


class Outage(msgspec.Struct, frozen=True):
    """to_alert: seconds from the first excess report until Alertmanager had it. most: alerts that fired at a time.

    to_end: seconds from the last excess report until none fired.
    """

    to_alert: float
    most: int
    to_end: float


async def measure(outages: int, console: Console) -> list[Outage]:
    """One after the other."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with broker.running() as address:
            with servers.alertmanager(folder, CONFIG) as manager:
                scene = await harness.Stage(folder, address, True).set_scene(
                    destination__pages__type="alertmanager", destination__pages__urls=[manager.url], **live.SHORT
                )
                async with harness.workers(scene) as start, aiohttp.ClientSession() as session:
                    worker = start()
                    await worker.ready()
                    alerts = live.Alerts(manager.url, session)
                    async with live.running(scene, worker) as feed:
                        with Progress(console=console) as progress:
                            for number in progress.track(range(outages), description="outages"):
                                await asyncio.sleep(
                                    2 * live.BUCKET_SECONDS + number * SHIFT_SECONDS % live.BUCKET_SECONDS
                                )
                                found.append(await outage(feed, alerts))
    return found


async def outage(feed: live.Feed, alerts: live.Alerts) -> Outage:
    """Break, watch Alertmanager, mend, watch on."""
    feed.break_down()
    began, seen, most = time.time(), 0.0, 0
    while time.time() < began + LASTS_SECONDS or (not seen and time.time() < began + WAIT_SECONDS):
        fire = len(await alerts.active())
        most = max(most, fire)
        if fire and not seen:
            seen = time.time()
        await asyncio.sleep(0.05)
    first = feed.first_excess
    feed.mend()
    mended = time.time()
    while await alerts.active():
        if time.time() > mended + 300:
            raise AssertionError("it never ended")
        await asyncio.sleep(0.2)
    return Outage(seen - first if seen else float("nan"), most, time.time() - mended)


def show(found: list[Outage], console: Console) -> None:
    """The table."""
    told = sorted(each.to_alert for each in found if each.to_alert == each.to_alert)
    table = Table(title=f"{len(found)} outages of {len(live.REGIONS)} regions, buckets of {live.BUCKET_SECONDS} s")
    for column in ("", "p50", "p95", "most"):
        table.add_column(column, justify="left" if not column else "right")
    ends = sorted(each.to_end for each in found)
    for name, values in (("seconds to Alertmanager", told), ("seconds to its end", ends)):
        table.add_row(name, f"{statistics.median(values):.1f}", f"{_quantile(values, 0.95):.1f}", f"{values[-1]:.1f}")
    console.print(table)
    console.print(
        f"told: {len(told)} of {len(found)}; most alerts that fired at a time: {max(each.most for each in found)}"
    )


def _quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, round(share * (len(values) - 1)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outages", type=int, default=20)
    console = Console()
    show(asyncio.run(measure(parser.parse_args().outages, console)), console)


if __name__ == "__main__":
    main()

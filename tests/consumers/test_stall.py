"""A worker that is gone, and one that stands still while reports wait: a real Prometheus says so until it is over."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from streams import broker
from tests.consumers import monitoring, servers
from tests.consumers.monitoring import firing, now
from tests.pipeline import harness

#: Records that are no reports: each goes to the dead letters by itself, which takes a worker seconds.
BACKLOG = 100_000
#: It is the stall that fires, not the absence. At one time: a single scrape may fail.
STANDS_STILL = (
    'ALERTS{alertname="GroundswellStalled", alertstate="firing"}'
    ' and on (instance) up{job="groundswell"} == 1'
    " and on (instance) sum by (instance) (groundswell_input_lag_records) > 0"
)


@pytest.mark.timeout(240)
async def test_worker_that_is_gone_and_worker_that_stands_still_fire_their_alerts_until_it_is_over(tmp_path: Path):
    # A broker of its own: it is stopped, and others would wait with us.
    async with broker._process(None, "127.0.0.1") as (address, kafka):
        scene = await harness.Stage(tmp_path, address, True).set_scene(topics__partitions=1)
        async with harness.workers(scene) as start:
            worker = start()
            await worker.ready()
            config = monitoring.configured(tmp_path, worker.port, hold_seconds=1)
            with servers.prometheus(tmp_path, config) as server:
                await until(server, 'up{job="groundswell"} == 1')
                await rest(server, "GroundswellAllWorkersDown", "GroundswellWorkerDown", "GroundswellStalled")

                os.kill(worker.process.pid, signal.SIGSTOP)
                await fires(server, "GroundswellWorkerDown", "GroundswellAllWorkersDown")

                await harness.send(scene, [(n % scene.partitions, b"x") for n in range(BACKLOG)])
                os.kill(worker.process.pid, signal.SIGCONT)
                await harness.wait_until(lambda: waits(worker), 60, "reports waited", every_seconds=0.05)
                os.kill(kafka.pid, signal.SIGSTOP)
                await fires(server, "GroundswellStalled")
                await until(server, STANDS_STILL)

                os.kill(kafka.pid, signal.SIGCONT)
                await until(server, "sum(groundswell_input_lag_records) == 0")
                await until(server, f"sum(groundswell_reports_rejected_total) >= {BACKLOG}")
                await rest(server, "GroundswellStalled", "GroundswellWorkerDown", "GroundswellAllWorkersDown")


async def waits(worker: harness.Worker) -> bool:
    """Whether it has its partitions, and reports wait for it in them."""
    worker.check_alive()
    metrics = await worker.metrics()
    return metrics.total("groundswell_ready") == 1 and metrics.total("groundswell_input_lag_records") > 0


async def until(server: servers.Server, expr: str) -> None:
    async def there() -> bool:
        return bool(now(server.url, expr))

    await harness.wait_until(there, 60, f"{expr} had data")


async def fires(server: servers.Server, *names: str) -> None:
    async def fire() -> bool:
        return set(names) <= firing(server.url)

    await harness.wait_until(fire, 60, f"{names} fired")


async def rest(server: servers.Server, *names: str) -> None:
    async def none_fires() -> bool:
        return not set(names) & firing(server.url)

    await harness.wait_until(none_fires, 60, f"none of {names} fired")

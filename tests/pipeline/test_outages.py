"""A feed with outages, in one of which a worker is killed: the alerts are those of the backtest, to the byte."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from detectors import alert
from streams.kafka import end_offsets
from tests.pipeline import harness, kept, outages
from tests.pipeline.command import groundswell, sending
from tests.pipeline.runs import shared_by

pytestmark = pytest.mark.timeout(300)  # the first test waits for the runs
SEED = 1


class Told(msgspec.Struct, frozen=True):
    """The alerts of each way that the feed went, or what went wrong on it."""

    backtest: list[bytes]
    alone: list[bytes] | BaseException
    in_two: list[bytes] | BaseException


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(tmp_path_factory: pytest.TempPathFactory, broker: str, embedded: bool) -> Told:
    """The feed from its file and, at the same time, through workers of whom one is killed."""
    stage = harness.Stage(tmp_path_factory.mktemp("outages"), broker, embedded)
    # Two partitions of counts: two workers share them, and more take longer.
    alone, in_two = [await stage.set_scene(name, topics__partitions=2) for name in ("alone", "in_two")]
    file = stage.folder / "feed.csv"
    outages.write(file, SEED)
    backtest = asyncio.create_task(groundswell(alone, "backtest", "--json", str(file)))
    ways = await asyncio.gather(
        with_a_kill(alone, 1, outages.SERVICE_DOWN, alert.Kind.SERVICE, backtest),
        with_a_kill(in_two, 2, outages.REGION_DOWN, alert.Kind.REGION, backtest),
        return_exceptions=True,
    )
    return Told((await backtest).splitlines(), *ways)


async def with_a_kill(
    scene: harness.Scene, number: int, outage: outages.Outage, kind: alert.Kind, backtest: asyncio.Task[bytes]
) -> list[bytes]:
    """The alerts on the topic after so many workers read the feed, the one that judges killed in this outage.

    kind: of the outage's incident. It is open on the topic and in the judge's snapshot, there are surges after that
    snapshot, and the outage goes on, as the worker is killed.
    """
    rows = outages.rows(SEED)
    middle, later = (outage.begin + outage.end) // 2, outage.end - 5
    surges = TopicPartition(scene.topics.surges, 0)

    async def is_open() -> bool:
        judge = await kept.judge(scene)
        in_snapshot = judge is not None and sum(judge.open_by_severity().values()) > 0
        return in_snapshot and kind in open_kinds((await harness.alerts(scene)).values())

    async def has_more(than: int) -> bool:
        return (await end_offsets(scene.settings, [surges]))[surges] > than

    async with harness.workers(scene) as start, sending(scene) as sender:
        workers = [start() for _ in range(number)]
        await shared_by(*workers)
        await sender.go_on(outages.HEADER + b"".join(rows[:middle]))
        await harness.wait_until(is_open, 90, f"an incident of kind {kind} was open")

        seen = (await end_offsets(scene.settings, [surges]))[surges]
        await sender.go_on(b"".join(rows[middle:later]))
        await harness.wait_until(lambda: has_more(seen), 60, "the outage went on", every_seconds=0.05)
        killed = await judging(workers)
        killed.kill()
        workers.remove(killed)
        assert kind in open_kinds((await harness.alerts(scene)).values())

        workers.append(start())
        await sender.go_on(b"".join(rows[later:]))
        await sender.end()
        await shared_by(*workers)
        await kept.settled(scene, (await backtest).splitlines())
        assert [await worker.stop() for worker in workers] == [0] * number
    return list((await harness.alerts(scene)).values())


def open_kinds(values: Iterable[bytes]) -> set[alert.Kind]:
    """The kinds of the incidents of which the last record is not that they are resolved."""
    last = {said.id: said for said in map(alert.decode, values)}
    return {said.kind for said in last.values() if said.state is not alert.State.RESOLVED}


async def judging(workers: Sequence[harness.Worker]) -> harness.Worker:
    """The worker that has the judge."""
    for worker in workers:
        topic = worker.scene.topics.surges
        if (await worker.metrics()).by("groundswell_input_lag_records", "partition", topic=topic):
            return worker
    raise AssertionError("no worker has the judge")


def test_backtest_tells_of_outages_of_every_kind(told: Told) -> None:
    alerts = [alert.decode(value) for value in told.backtest]

    assert {said.state for said in alerts} == set(alert.State)
    assert {said.kind for said in alerts} == set(alert.Kind) - {alert.Kind.GLOBAL}
    assert any(said.parent for said in alerts)
    assert any(said.episode > 1 for said in alerts)


def test_worker_killed_in_an_outage_of_a_service_leaves_the_alerts_of_the_backtest(told: Told) -> None:
    assert given(told.alone) == told.backtest


def test_worker_of_two_killed_in_an_outage_of_a_region_leaves_the_alerts_of_the_backtest(told: Told) -> None:
    assert given(told.in_two) == told.backtest


def given(result: list[bytes] | BaseException) -> list[bytes]:
    """The alerts, or what went wrong instead."""
    if isinstance(result, BaseException):
        raise result
    return result

"""What all tests share: the broker they run on, and that a missing part fails where nothing may be skipped."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from streams import broker as embedded_broker
from tests.kafka import server

#: Tests that need servers which not every machine has: `make test-consumers` runs them, and skips nothing.
CONSUMERS = Path(__file__).parent / "consumers"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--broker",
        choices=("embedded", "kafka"),
        default="embedded",
        help="what the pipeline tests run on: the embedded broker, or a real Apache Kafka started from its jars",
    )
    parser.addoption(
        "--consumers",
        action="store_true",
        help="also what needs a real Prometheus, Alertmanager or Chromium as the consumer: tests/consumers",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    others = {"kafka" if config.getoption("--broker") == "embedded" else "embedded"}
    if not config.getoption("--consumers"):
        others.add("consumers")
    for item in items:
        if CONSUMERS in item.path.parents:
            item.add_marker("consumers")
    unwanted = [item for item in items if any(map(item.get_closest_marker, others))]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        left_out = set(unwanted)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that skips for want of a browser or a server proves nothing: in CI and on real Kafka that is a failure."""
    report = yield
    config = item.config
    strict = (
        os.environ.get("CI_REQUIRE_ALL") == "1"
        or config.getoption("--broker") == "kafka"
        or config.getoption("--consumers")
    )
    if strict and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but nothing may be skipped here: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """A real Apache Kafka for the whole session."""
    with server.running(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def broker(embedded: bool, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Address of the broker that all tests share; each takes a topic prefix and a group of its own."""
    if embedded:
        async with embedded_broker.running() as address:
            yield address
    else:
        yield request.getfixturevalue("kafka_server").plaintext


@pytest.fixture(scope="session")
def embedded(pytestconfig: pytest.Config) -> bool:
    """Whether `broker` is the embedded one."""
    return pytestconfig.getoption("--broker") == "embedded"

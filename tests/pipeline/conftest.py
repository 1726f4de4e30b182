"""A scene for each test: topics of its own on the broker that all share."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio

from tests.pipeline import harness
from tests.pipeline.runs import Runs, run_all


@pytest.fixture
def stage(tmp_path: Path, broker: str, embedded: bool) -> harness.Stage:
    """Sets scenes for the test."""
    return harness.Stage(tmp_path, broker, embedded)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def runs(tmp_path_factory: pytest.TempPathFactory, broker: str, embedded: bool) -> Runs:
    """The same feed through workers left in peace, killed, and regrouped."""
    return await run_all(harness.Stage(tmp_path_factory.mktemp("runs"), broker, embedded))

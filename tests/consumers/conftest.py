"""A scene for each test, as the pipeline's have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline import harness


@pytest.fixture
def stage(tmp_path: Path, broker: str, embedded: bool) -> harness.Stage:
    """Sets scenes for the test."""
    return harness.Stage(tmp_path, broker, embedded)

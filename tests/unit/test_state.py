"""The state of a stage: of its snapshots the newest that can be used, and what is told of the others."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from detectors import snapshot
from detectors.snapshot import BLOCK_BYTES, Mismatch
from streams import app as apps
from streams.metrics import Metrics
from streams.settings import Settings
from streams.state import Kept, StateTable, records

ANEW = "all is learned anew"


@pytest.fixture(autouse=True)
def structlog_as_it_comes():
    structlog.reset_defaults()


class Bench:
    """A state table that no broker is behind, and the metrics it counts in."""

    def __init__(self) -> None:
        self.metrics = Metrics(CollectorRegistry())
        app = apps.App(Settings())
        app.tables.clear()
        self.table = StateTable(app, "detect", 4, seconds=60, anew=ANEW, metrics=self.metrics)

    def hold(self, partition: int, version: int, data: bytes, blocks: int | None = None) -> list[bytes]:
        """As if a snapshot had been written, or its first blocks; its keys. The offset is ten times the version."""
        written = records(partition, version, Kept(version * 10, data))[:blocks]
        for key, block in written:
            self.table.table.data[key] = block
        return [key for key, _ in written]

    def load(self, partition: int = 0, restore: Any = bytes) -> tuple[Any, list[dict[str, Any]]]:
        """What it loads, and what it logs."""
        with capture_logs() as logged:
            return self.table.load(partition, restore), logged

    def next_version(self, partition: int = 0) -> int:
        [(key, _)] = self.table.snapshot(partition, 1, b"x")
        for version in range(1, 100):
            if [(key, _)] == records(partition, version, Kept(1, b"x")):
                return version
        raise AssertionError

    @property
    def refused(self) -> float | None:
        return self.metrics.registry.get_sample_value("groundswell_snapshots_refused_total", {"stage": "detect"})


@pytest.fixture
def bench() -> Bench:
    return Bench()


# --- nothing is wrong ---


def test_without_a_snapshot_there_is_no_state_and_nothing_to_tell(bench):
    assert bench.load() == (None, [])
    assert bench.next_version() == 1


def test_newest_snapshot_of_the_partition_is_taken(bench):
    bench.hold(0, 1, b"old")
    bench.hold(0, 2, b"new")
    bench.hold(1, 3, b"of another partition")

    assert bench.load() == ((b"new", 20), [])
    assert bench.next_version() == 3
    assert bench.load(1) == ((b"of another partition", 30), [])


def test_what_is_loaded_is_not_held_twice(bench):
    bench.hold(0, 1, b"state")

    bench.load()

    assert dict(bench.table.table.data) == {}


def test_half_written_snapshot_after_a_crash_is_no_error(bench):
    bench.hold(0, 3, b"x" * 3 * BLOCK_BYTES)
    bench.hold(0, 4, b"last good one")
    bench.hold(0, 5, b"y" * 3 * BLOCK_BYTES, blocks=2)

    found, logged = bench.load()

    assert found == (b"last good one", 40)
    assert [(each["log_level"], each["version"], each["taken"]) for each in logged] == [("info", 5, 4)]
    assert bench.refused == 0
    assert bench.next_version() == 5


def test_first_snapshot_half_written_is_no_error(bench):
    bench.hold(0, 1, b"y" * 3 * BLOCK_BYTES, blocks=2)

    found, logged = bench.load()

    assert found is None
    assert [each["log_level"] for each in logged] == ["info"]
    assert bench.next_version() == 1


# --- damage ---


def test_damaged_newest_is_refused_and_the_one_before_is_taken(bench):
    bench.hold(2, 6, b"before")
    [key] = bench.hold(2, 7, b"newest")
    bench.table.table.data[key] = b"garbage"

    found, logged = bench.load(2)

    assert found == (b"before", 60)
    [error] = logged
    assert error == {
        "event": "a snapshot was refused",
        "log_level": "error",
        "table": "detect-state",
        "partition": 2,
        "version": None,
        "wrong": "block 1 cannot be decoded: Expected `array`, got `int`",
        "then": "snapshot 6 is taken, which is whole",
    }
    assert bench.refused == 1
    assert bench.next_version(2) == 7


def test_both_damaged_are_refused_and_the_state_is_made_anew(bench):
    for version in (6, 7):
        [key] = bench.hold(0, version, b"state")
        bench.table.table.data[key] = bench.table.table.data[key][:-1]

    found, logged = bench.load()

    assert found is None
    assert [(each["log_level"], each["then"]) for each in logged] == [("error", ANEW)] * 2
    assert bench.refused == 2
    assert bench.next_version() == 1


def test_missing_block_is_damage(bench):
    keys = bench.hold(0, 3, b"x" * 3 * BLOCK_BYTES)
    del bench.table.table.data[keys[1]]

    found, [error] = bench.load()

    assert found is None
    assert error["wrong"] == "block 2 of 4 is missing"


def test_unfinished_snapshot_whose_predecessor_is_gone_is_an_error(bench):
    bench.hold(0, 5, b"y" * 3 * BLOCK_BYTES, blocks=2)

    found, [error] = bench.load()

    assert found is None
    assert (error["log_level"], error["version"], error["then"]) == ("error", 5, ANEW)
    assert bench.refused == 1


def test_snapshot_under_the_keys_of_the_other_slot_is_damage(bench):
    [(_, block)] = records(0, 4, Kept(40, b"state"))
    bench.table.table.data[b"0:1:0"] = block

    found, [error] = bench.load()

    assert found is None
    assert error["wrong"] == "its blocks stand under another snapshot's keys"


def refuse(word: bytes):
    def restore(data: bytes) -> bytes:
        if word in data:
            raise ValueError("arrays do not fit")
        return data

    return restore


def test_state_that_the_stage_refuses_is_refused_and_the_one_before_is_taken(bench):
    bench.hold(0, 6, b"good")
    bench.hold(0, 7, b"bad")

    found, [error] = bench.load(restore=refuse(b"bad"))

    assert found == (b"good", 60)
    assert (error["version"], error["wrong"]) == (7, "it is whole, but arrays do not fit")
    # It goes over the refused one, and is the newest.
    assert bench.next_version() == 9


def test_whole_snapshot_without_an_offset_is_refused(bench):
    [(key, _)] = records(0, 2, Kept(0, b""))
    [block] = snapshot.split(b"no struct", 2)
    bench.table.table.data[key] = block

    found, [error] = bench.load()

    assert found is None
    assert error["wrong"].startswith("it is whole, but Expected `array`")


def test_mismatch_of_the_newest_stops_and_nothing_older_is_taken(bench):
    bench.hold(0, 6, b"good")
    bench.hold(0, 7, b"of other partitions")

    def restore(data: bytes) -> bytes:
        if data != b"good":
            raise Mismatch("made for other partitions")
        return data

    with pytest.raises(Mismatch, match="made for other partitions"):
        bench.load(restore=restore)


@pytest.mark.parametrize("key", [b"", b"0", b"0:2:0", b"0:1", b"a:b:c", b"0:1:0:0", b"-1:0:0", b"\xff\x1b[31m" * 100])
def test_foreign_record_in_the_changelog_is_told_and_left_out(bench, key):
    bench.hold(0, 2, b"state")
    bench.table.table.data[key] = b"theirs"

    found, [error] = bench.load()

    assert found == (b"state", 20)
    assert error["log_level"] == "error"
    assert len(error["key"]) <= 200
    assert error["key"].isascii()


# --- any damage ---


BENCH = Bench()
BIG = b"z" * (2 * BLOCK_BYTES)


@settings(deadline=None)
@given(block=st.integers(0, 2), place=st.integers(0, 120) | st.integers(0), flip=st.integers(1, 255))
def test_a_flipped_byte_in_any_block_never_passes_and_the_one_before_is_taken(block, place, flip):
    BENCH.table.table.data.clear()
    BENCH.hold(0, 6, b"before")
    keys = BENCH.hold(0, 7, BIG)
    data = bytearray(BENCH.table.table.data[keys[block]])
    data[place % len(data)] ^= flip
    BENCH.table.table.data[keys[block]] = bytes(data)

    found, logged = BENCH.load()

    assert found == (b"before", 60)
    assert [each["log_level"] for each in logged] == ["error"]


@settings(deadline=None)
@given(
    kept=st.sets(st.integers(0, 2)),
    older=st.sets(st.integers(0, 2)),
)
def test_whatever_blocks_are_there_a_state_is_taken_whole_or_not_at_all(kept, older):
    BENCH.table.table.data.clear()
    BENCH.hold(0, 6, b"before")
    for key in [key for index, key in enumerate(BENCH.hold(0, 5, BIG[::-1])) if index not in older]:
        del BENCH.table.table.data[key]
    for index, (key, block) in enumerate(records(0, 7, Kept(70, BIG))):
        if index in kept:
            BENCH.table.table.data[key] = block

    found, _ = BENCH.load()

    assert found == ((BIG, 70) if kept == {0, 1, 2} else (b"before", 60))

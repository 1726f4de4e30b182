"""Snapshot: whole or not at all."""

from __future__ import annotations

import pytest

from detectors.snapshot import BLOCK_BYTES, join, split

DATA = bytes(range(256)) * 6_000


def test_snapshot_of_several_blocks_comes_back():
    blocks = split(DATA, version=3)

    assert len(blocks) == -(-len(DATA) // BLOCK_BYTES)
    assert join(blocks) == (3, DATA)


def test_empty_state_comes_back():
    assert join(split(b"", version=1)) == (1, b"")


def test_missing_trailer_makes_it_none():
    assert join(split(DATA, version=3)[:-1]) is None


def test_no_blocks_are_none():
    assert join([]) is None


def test_blocks_of_two_snapshots_are_none():
    old, new = split(DATA, version=3), split(DATA[:-1] + b"x", version=5)

    assert join([*new[:1], *old[1:]]) is None


def test_blocks_left_over_from_a_longer_snapshot_are_ignored():
    assert join([*split(b"short", version=5), *split(DATA, version=3)[1:]]) == (5, b"short")


@pytest.mark.parametrize("damage", [b"", b"\x00", b"garbage"])
def test_damaged_block_makes_it_none(damage):
    blocks = split(DATA, version=3)

    assert join([blocks[0], damage, *blocks[2:]]) is None

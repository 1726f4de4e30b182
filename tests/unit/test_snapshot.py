"""Snapshot: whole or not at all, and what is not whole is told apart: stopped half way, or damaged."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import snapshot
from detectors.snapshot import BLOCK_BYTES, Damaged, Unfinished, Whole, join, split

DATA = bytes(range(256)) * 7_000
BLOCKS = -(-len(DATA) // BLOCK_BYTES)


def slot(*writes: Iterable[bytes]) -> dict[int, bytes]:
    """The blocks of a slot after these were written, each from the first block on."""
    blocks: dict[int, bytes] = {}
    for write in writes:
        blocks |= dict(enumerate(write))
    return blocks


def test_snapshot_of_several_blocks_comes_back():
    blocks = slot(split(DATA, version=3))

    assert len(blocks) == BLOCKS == 4
    assert join(blocks) == Whole(3, DATA)


def test_empty_state_comes_back():
    assert join(slot(split(b"", version=1))) == Whole(1, b"")


def test_no_blocks_are_no_snapshot():
    assert join({}) is None


def test_blocks_left_over_from_a_longer_snapshot_are_ignored():
    assert join(slot(split(DATA, version=3), split(b"short", version=5))) == Whole(5, b"short")


@pytest.mark.parametrize("written", [1, 2, 3])
def test_snapshot_without_its_last_blocks_is_unfinished(written):
    assert join(slot(split(DATA, version=3)[:written])) == Unfinished(3)


@pytest.mark.parametrize("written", [1, 2, 3])
def test_snapshot_begun_over_an_older_one_is_unfinished(written):
    assert join(slot(split(DATA, version=3), split(DATA[::-1], version=5)[:written])) == Unfinished(5)


def test_snapshot_begun_anew_after_a_crash_is_unfinished():
    # The version is the same, the state is not: the worker after the crash read a little more.
    assert join(slot(split(DATA, version=5)[:3], split(DATA[::-1], version=5)[:2])) == Unfinished(5)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_missing_block_before_the_last_is_damage(lost):
    blocks = slot(split(DATA, version=3))
    del blocks[lost]

    assert join(blocks) == Damaged(f"block {lost + 1}{' of 4' * bool(lost)} is missing")


def test_older_block_before_the_last_is_damage():
    blocks = slot(split(DATA, version=5)) | {2: split(DATA[::-1], version=3)[2]}

    assert join(blocks) == Damaged("block 3 of 4 is another snapshot's")


def test_newer_block_after_older_ones_is_damage():
    blocks = slot(split(DATA, version=3)) | {3: split(DATA, version=5)[3]}

    assert join(blocks) == Damaged("block 4 of 4 is another snapshot's")


@pytest.mark.parametrize(("at", "of"), [(0, 2), (2, 0), (1, 3)])
def test_block_under_the_key_of_another_is_damage(at, of):
    blocks = slot(split(DATA, version=3))
    blocks[at] = blocks[of]

    assert isinstance(found := join(blocks), Damaged)
    assert f"bears the number {of + 1}" in found.wrong


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"garbage", b"\xc0", snapshot.encode([1, 2]), b"\x96" * 40])
@pytest.mark.parametrize("at", range(BLOCKS))
def test_garbage_in_place_of_any_block_is_damage(at, garbage):
    found = join(slot(split(DATA, version=3)) | {at: garbage})

    assert isinstance(found, Damaged)
    assert f"block {at + 1}" in found.wrong


@given(at=st.integers(0, BLOCKS - 1), place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_in_any_block_is_damage(at, place, flip):
    blocks = slot(split(DATA, version=3))
    block = bytearray(blocks[at])
    block[int(place * len(block))] ^= flip

    assert isinstance(join(blocks | {at: bytes(block)}), Damaged)


@given(at=st.integers(0, BLOCKS - 1), place=st.integers(0, 80), flip=st.integers(1, 255))
def test_a_flipped_byte_in_the_head_of_any_block_is_damage(at, place, flip):
    blocks = slot(split(DATA, version=3))
    block = bytearray(blocks[at])
    block[place] ^= flip

    assert isinstance(join(blocks | {at: bytes(block)}), Damaged)


@given(data=st.binary(max_size=200), place=st.integers(0), flip=st.integers(1, 255))
def test_a_flipped_byte_in_a_snapshot_of_one_block_is_damage(data, place, flip):
    [block] = map(bytearray, split(data, version=300))
    block[place % len(block)] ^= flip

    assert isinstance(join({0: bytes(block)}), Damaged)


@given(data=st.binary(max_size=200), cut=st.integers(0))
def test_a_cut_off_block_is_damage(data, cut):
    [block] = split(data, version=2)

    assert isinstance(join({0: block[: cut % len(block)]}), Damaged)

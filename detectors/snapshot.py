"""Snapshot: a state as blocks that a changelog can hold, and back, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec

#: Well below Kafka's 1 MB for a record.
BLOCK_BYTES = 512_000

_DIGEST_BYTES = 16
_LARGEST = 2**63 - 1


class Mismatch(ValueError):
    """A state that is whole, but made by another version, or under settings that it cannot go on under."""


def check_version(found: int, wanted: int) -> None:
    """Mismatch unless a state is of the version that this program writes."""
    if found != wanted:
        raise Mismatch(f"the state is of version {found}, this program goes on from version {wanted}")


class Block(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a snapshot.

    version: number of the snapshot, the larger the newer. index, total: which block of how many.
    digest: of the whole snapshot, so that pieces of two never pass for one. check: of this block, all of the above in
    it: blocks that are as written and bear the same digest are the snapshot.
    """

    version: int
    index: int
    total: int
    digest: bytes
    check: bytes
    data: bytes


class Whole(msgspec.Struct, frozen=True):
    """A snapshot of which every block is there and as it was written."""

    version: int
    data: bytes


class Unfinished(msgspec.Struct, frozen=True):
    """A snapshot whose writer was stopped before its last block was out: nothing is wrong with what is there."""

    version: int


class Damaged(msgspec.Struct, frozen=True):
    """What was a snapshot, or should have been one. wrong: with which block, and what."""

    wrong: str


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Block).decode


def split(data: bytes, version: int) -> list[bytes]:
    """The blocks of a snapshot, encoded. version: >= 0. The last one is its trailer: send it once the others are safe.

    >>> join(dict(enumerate(split(b"state", version=7))))
    Whole(version=7, data=b'state')
    """
    pieces = [data[begin : begin + BLOCK_BYTES] for begin in range(0, len(data), BLOCK_BYTES)] or [b""]
    sums = [_hash(piece) for piece in pieces]
    digest, total = _digest(version, sums), len(pieces)
    return [
        encode(Block(version, index, total, digest, _check(version, index, total, digest, sums[index]), piece))
        for index, piece in enumerate(pieces)
    ]


def join(blocks: Mapping[int, bytes]) -> Whole | Unfinished | Damaged | None:
    """The snapshot in these blocks, by index; None if there are none.

    Blocks are written in the order of their index over those of older snapshots. So an unfinished one is a run from the
    first block on, followed by nothing or by older ones; anything else is damage. Blocks after the snapshot's last one,
    left from a longer one, are ignored.
    """
    if not blocks:
        return None
    first = _read(blocks, 0)
    if isinstance(first, str):
        return Damaged(f"block 1 {first}")
    stamp = (first.version, first.total, first.digest)
    parts: list[bytes] = []
    for index in range(first.total):
        block = first if index == 0 else _read(blocks, index)
        if isinstance(block, Block) and (block.version, block.total, block.digest) == stamp:
            parts.append(block.data)
            continue
        others = (_read(blocks, after) for after in blocks if index < after < first.total)
        if any(isinstance(each, Block) and each.digest == first.digest for each in others):
            return Damaged(f"block {index + 1} of {first.total} {block if isinstance(block, str) else _OTHER}")
        if block == _MISSING or (isinstance(block, Block) and block.version <= first.version):
            return Unfinished(first.version)
        return Damaged(f"block {index + 1} of {first.total} {block if isinstance(block, str) else _OTHER}")
    return Whole(first.version, b"".join(parts))


_MISSING = "is missing"
_OTHER = "is another snapshot's"


def _read(blocks: Mapping[int, bytes], index: int) -> Block | str:
    """The block, or what is wrong with it."""
    raw = blocks.get(index)
    if raw is None:
        return _MISSING
    try:
        block = _decode(raw)
    except msgspec.MsgspecError as error:
        return f"cannot be decoded: {error}"
    # Beyond these no number was written by `split`, nor can be hashed.
    if not 0 <= block.version <= _LARGEST or not 0 <= block.index < block.total <= _LARGEST:
        return "is none of ours"
    if block.check != _check(block.version, block.index, block.total, block.digest, _hash(block.data)):
        return "does not fit its checksum"
    return block if block.index == index else f"bears the number {block.index + 1}"


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _digest(version: int, sums: Sequence[bytes]) -> bytes:
    return _hash(b"".join((version.to_bytes(8, "big"), len(sums).to_bytes(8, "big"), *sums)))


def _check(version: int, index: int, total: int, digest: bytes, data_sum: bytes) -> bytes:
    numbers = (number.to_bytes(8, "big") for number in (version, index, total))
    return _hash(b"".join((*numbers, digest, data_sum)))

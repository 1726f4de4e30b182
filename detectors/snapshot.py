"""Snapshot: a state as blocks that a changelog can hold, and back, whole or not at all."""

from __future__ import annotations

from hashlib import blake2b

import msgspec

#: Well below Kafka's 1 MB for a record.
BLOCK_BYTES = 512_000


class Block(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a snapshot. digest: of the whole snapshot, so that pieces of two never pass for one."""

    version: int
    index: int
    total: int
    digest: bytes
    data: bytes


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Block).decode


def split(data: bytes, version: int) -> list[bytes]:
    """The blocks of a snapshot, encoded. The last one is its trailer: send it once the others are safe.

    >>> join(split(b"state", version=7))
    (7, b'state')
    """
    digest = blake2b(data, digest_size=16).digest()
    pieces = [data[begin : begin + BLOCK_BYTES] for begin in range(0, len(data), BLOCK_BYTES)] or [b""]
    return [encode(Block(version, index, len(pieces), digest, piece)) for index, piece in enumerate(pieces)]


def join(blocks: list[bytes]) -> tuple[int, bytes] | None:
    """(version, data) of a whole snapshot; None if a block is missing, of another snapshot, or damaged.

    blocks: in order of their index; blocks after the snapshot's last one, left from a longer one, are ignored.
    """
    parts: list[bytes] = []
    first: Block | None = None
    for raw in blocks:
        try:
            block = _decode(raw)
        except (msgspec.DecodeError, msgspec.ValidationError):
            return None
        first = first or block
        if (block.version, block.digest, block.index) != (first.version, first.digest, len(parts)):
            return None
        parts.append(block.data)
        if len(parts) == block.total:
            data = b"".join(parts)
            ok = blake2b(data, digest_size=16).digest() == first.digest
            return (first.version, data) if ok else None
    return None

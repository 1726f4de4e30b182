"""State of a stage in a Faust table: snapshots in blocks, kept in its changelog, given back after a recovery."""

from __future__ import annotations

from time import monotonic

import faust
import msgspec

from detectors import snapshot
from streams.outbox import Outbox

#: Two sets of keys take turns: a snapshot that is only half written never replaces the last good one.
SLOTS = 2
#: A large state is written more seldom, so that writing takes at most a twentieth of the time.
SHARE = 20


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot holds: the state, and the offset of the first input record that is not in it."""

    offset: int
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


class StateTable:
    """The snapshots of a stage, one for each partition of its input.

    The table is read back by Faust's recovery. Snapshots go straight to the partition of its changelog: Faust would
    take that from the event in hand, and flushes for 0.1 s at most before a commit.
    """

    def __init__(self, app: faust.App, name: str, partitions: int, seconds: float) -> None:
        """seconds: between two snapshots of a partition, at least."""
        self.table = app.Table(name, partitions=partitions, key_type=bytes, value_type=bytes)
        self._topic = f"{app.conf.id}-{name}-changelog"
        self._outbox = Outbox(app)
        self._seconds = seconds
        self._versions: dict[int, int] = {}
        self._due: dict[int, float] = {}

    def load(self, partition: int) -> Kept | None:
        """The newest whole snapshot of a partition whose recovery is over; None if there is none."""
        blocks: dict[int, dict[int, bytes]] = {slot: {} for slot in range(SLOTS)}
        for key in list(self.table.data):
            of, slot, index = map(int, key.split(b":"))
            if of == partition:
                # From here on the state itself is in memory: no need to hold it twice.
                blocks[slot][index] = self.table.data.pop(key)
        whole = [each for slot in blocks.values() if (each := snapshot.join(_in_order(slot)))]
        version, data = max(whole, default=(0, b""))
        self._versions[partition] = version
        self._due[partition] = monotonic() + self._seconds
        return _decode(data) if whole else None

    def due(self, partition: int) -> bool:
        """Time for the next snapshot."""
        return monotonic() >= self._due[partition]

    async def save(self, partition: int, offset: int, data: bytes) -> int:
        """Write a snapshot and wait until the broker has it. Returns its size in bytes."""
        begun = monotonic()
        version = self._versions[partition] = self._versions[partition] + 1
        blocks = snapshot.split(_encode(Kept(offset, data)), version)
        for index, block in enumerate(blocks):
            if index == len(blocks) - 1:
                await self._outbox.flush()
            key = b"%d:%d:%d" % (partition, version % SLOTS, index)
            await self._outbox.put(self._topic, partition, block, key=key)
        await self._outbox.flush()
        now = monotonic()
        self._due[partition] = now + max(self._seconds, SHARE * (now - begun))
        return sum(map(len, blocks))


def _in_order(blocks: dict[int, bytes]) -> list[bytes]:
    return [blocks[index] for index in sorted(blocks)]

"""State of a stage in a Faust table: snapshots in blocks, kept in its changelog, given back after a recovery."""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import faust
import msgspec
import structlog

from detectors import snapshot
from detectors.snapshot import Damaged, Mismatch, Unfinished, Whole
from streams.metrics import Metrics
from streams.outbox import Outbox

#: Two sets of keys take turns: a snapshot that is only half written never replaces the last good one.
SLOTS = 2
#: A large state is written more seldom, so that writing takes at most a twentieth of the time.
SHARE = 20
FIRST_VERSION = 1

# Partition, slot, index of the block.
_KEY = re.compile(rb"(\d{1,9}):([01]):(\d{1,9})")

log = structlog.get_logger(__name__)

State = TypeVar("State")


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """What a snapshot holds: the state, and the offset of the first input record that is not in it."""

    offset: int
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Kept).decode


def records(partition: int, version: int, kept: Kept) -> list[tuple[bytes, bytes]]:
    """Key and value of the records of a snapshot. The last makes it whole: send it once the others are safe."""
    blocks = snapshot.split(_encode(kept), version)
    return [(b"%d:%d:%d" % (partition, version % SLOTS, index), block) for index, block in enumerate(blocks)]


class StateTable:
    """The snapshots of a stage, one for each partition of its input.

    The table is read back by Faust's recovery. Snapshots go straight to the partition of its changelog: Faust would
    take that from the event in hand, and flushes for 0.1 s at most before a commit.
    """

    def __init__(
        self, app: faust.App, stage: str, partitions: int, *, seconds: float, anew: str, metrics: Metrics
    ) -> None:
        """seconds: between two snapshots of a partition, at least. anew: what happens without any, for the log."""
        self.name = f"{stage}-state"
        self.table = app.Table(self.name, partitions=partitions, key_type=bytes, value_type=bytes)
        self.topic = f"{app.conf.id}-{self.name}-changelog"
        self._outbox = Outbox(app)
        self._anew = anew
        self._seconds = seconds
        self._refused = metrics.snapshots_refused.labels(stage)
        self._versions: dict[int, int] = {}
        self._due: dict[int, float] = {}

    def load(self, partition: int, restore: Callable[[bytes], State]) -> tuple[State, int] | None:
        """The newest whole state of a partition whose recovery is over, and the offset to go on from in its input.

        None if there is none: the stage begins with the earliest record of its input. What is damaged, or what
        `restore` has a ValueError for, is refused and logged, and the snapshot before it is tried; Mismatch is raised.
        """
        self._due[partition] = monotonic() + self._seconds
        found = self._take(partition)
        wholes = [each for each in found.values() if isinstance(each, Whole)]
        wholes.sort(key=lambda each: each.version, reverse=True)
        state: tuple[State, int] | None = None
        taken, wrong = 0, []
        for each in wholes:
            try:
                kept = _decode(each.data)
                state, taken = (restore(kept.data), kept.offset), each.version
                break
            except Mismatch:
                raise
            except ValueError as error:
                wrong.append((each.version, str(error)))
        # The next one goes over what was refused, not over what was taken, and is the newest.
        newest = max((each.version for each in wholes), default=FIRST_VERSION - 1)
        self._versions[partition] = newest if newest == taken or not taken else newest + 1
        self._tell(partition, found, wrong, taken)
        return state

    def _take(self, partition: int) -> dict[int, Whole | Unfinished | Damaged | None]:
        """What each slot holds. From here on the state itself is in memory: no need to hold it twice."""
        blocks: dict[int, dict[int, bytes]] = {slot: {} for slot in range(SLOTS)}
        for key in list(self.table.data):
            place = _KEY.fullmatch(key or b"")
            if place is None:
                log.error(
                    "a record in a state topic is not ours; keep others from writing there",
                    table=self.name,
                    key=repr(key)[:200],
                )
                del self.table.data[key]
            elif int(place[1]) == partition:
                blocks[int(place[2])][int(place[3])] = self.table.data.pop(key)
        found: dict[int, Whole | Unfinished | Damaged | None] = {}
        for slot, each in blocks.items():
            joined = snapshot.join(each)
            if isinstance(joined, Whole | Unfinished) and joined.version % SLOTS != slot:
                joined = Damaged("its blocks stand under another snapshot's keys")
            found[slot] = joined
        return found

    def _tell(
        self,
        partition: int,
        found: dict[int, Whole | Unfinished | Damaged | None],
        wrong: list[tuple[int, str]],
        taken: int,
    ) -> None:
        """Log what was refused, and what happens now."""
        then = f"snapshot {taken} is taken, which is whole" if taken else self._anew
        for version, why in wrong:
            self._refuse(partition, version, f"it is whole, but {why}", then)
        for each in found.values():
            match each:
                case Damaged(wrong=why):
                    self._refuse(partition, None, why, then)
                case Unfinished(version=version) if taken == version - 1:
                    # Also the very first one: nothing is taken then, and nothing is lost.
                    log.info(
                        "the last snapshot was not finished, as in a crash; that is made good from the input",
                        table=self.name,
                        partition=partition,
                        version=version,
                        taken=taken,
                    )
                case Unfinished(version=version) if version > taken:
                    self._refuse(partition, version, "it was not finished, and the one before it is not there", then)

    def _refuse(self, partition: int, version: int | None, wrong: str, then: str) -> None:
        self._refused.inc()
        log.error(
            "a snapshot was refused", table=self.name, partition=partition, version=version, wrong=wrong, then=then
        )

    def due(self, partition: int) -> bool:
        """Time for the next snapshot."""
        return monotonic() >= self._due[partition]

    def snapshot(self, partition: int, offset: int, data: bytes) -> list[tuple[bytes, bytes]]:
        """`records` of the next snapshot of a partition, for who sends them to `topic` along with what is its own."""
        version = self._versions[partition] = self._versions[partition] + 1
        return records(partition, version, Kept(offset, data))

    async def save(self, partition: int, offset: int, data: bytes) -> int:
        """Write a snapshot and wait until the broker has it. Returns its size in bytes."""
        begun = monotonic()
        *blocks, trailer = self.snapshot(partition, offset, data)
        for key, block in blocks:
            await self._outbox.put(self.topic, partition, block, key=key)
        await self._outbox.flush()
        key, block = trailer
        await self._outbox.put(self.topic, partition, block, key=key)
        await self._outbox.flush()
        now = monotonic()
        self._due[partition] = now + max(self._seconds, SHARE * (now - begun))
        return sum(len(block) for _, block in (*blocks, trailer))

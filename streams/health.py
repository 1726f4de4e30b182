"""Health: is the worker alive, and is it ready for work?

Alive means that the event loop beats (else nobody would answer) and that no stage is stalled. Whether Kafka can be
reached is no part of it: to restart a worker does not bring a broker back.
"""

from __future__ import annotations

import msgspec

STALL_SECONDS = 60.0


class Verdict(msgspec.Struct, frozen=True):
    """The answer to a health question, with the reason in words."""

    ok: bool
    reason: str


class _Stage(msgspec.Struct):
    """What is known of a stage. waiting: records not yet handled; still_since: s, None where it may rest."""

    waiting: int = 0
    still_since: float | None = None


class Health:
    """What the stages tell of themselves, and the two verdicts on it.

    All times are seconds of one clock, the caller's. The stall watch rests while partitions are being assigned or state
    is recovered: input waits then, and rightly so, and a restart would only begin the recovery anew.

    >>> health = Health(stall_seconds=60)
    >>> health.assigned(True); health.recovered(True)
    >>> health.lag("detect", 12, now=100.0)
    >>> health.alive(now=161.0)
    Verdict(ok=False, reason='detect stalled: 12 records wait and none was handled for 61 s')
    >>> health.moved("detect", now=162.0)
    >>> health.alive(now=163.0)
    Verdict(ok=True, reason='alive')
    """

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        """stall_seconds: how long a stage may leave its input waiting, > 0."""
        self._stall_seconds = stall_seconds
        self._stages: dict[str, _Stage] = {}
        self._assigned = False
        self._recovered = False

    def moved(self, stage: str, now: float) -> None:
        """`stage` has handled input."""
        state = self._stages.setdefault(stage, _Stage())
        if state.still_since is not None:
            state.still_since = now

    def lag(self, stage: str, waiting: int, now: float) -> None:
        """`waiting` records, >= 0, are in front of `stage`, all its partitions together."""
        state = self._stages.setdefault(stage, _Stage())
        state.waiting = waiting
        if waiting <= 0 or not self.ready().ok:
            state.still_since = None
        elif state.still_since is None:
            # From here on it counts: a stage that had nothing to do for an hour is not stalled by the first record.
            state.still_since = now

    def assigned(self, yes: bool) -> None:
        """Whether this worker has got its partitions from the group."""
        self._assigned = yes
        self._rest_unless_ready()

    def recovered(self, yes: bool) -> None:
        """Whether the state of the assigned partitions is back."""
        self._recovered = yes
        self._rest_unless_ready()

    def alive(self, now: float) -> Verdict:
        """Red when a stage has input waiting and has not moved for `stall_seconds`."""
        stalled = [
            f"{name} stalled: {state.waiting} records wait and none was handled for {now - state.still_since:.0f} s"
            for name, state in sorted(self._stages.items())
            if state.still_since is not None and now - state.still_since >= self._stall_seconds
        ]
        return Verdict(False, "; ".join(stalled)) if stalled else Verdict(True, "alive")

    def still(self, now: float) -> dict[str, float]:
        """By stage, for how long its input has been waiting with none of it handled, s; 0 where nothing waits."""
        return {
            name: 0.0 if state.still_since is None else max(0.0, now - state.still_since)
            for name, state in sorted(self._stages.items())
        }

    def ready(self) -> Verdict:
        """Green once partitions are assigned and their state is recovered."""
        if not self._assigned:
            return Verdict(False, "no partitions assigned yet")
        if not self._recovered:
            return Verdict(False, "the state of the assigned partitions is being recovered")
        return Verdict(True, "ready")

    def _rest_unless_ready(self) -> None:
        if not self.ready().ok:
            for state in self._stages.values():
                state.still_since = None

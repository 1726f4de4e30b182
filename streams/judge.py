"""Judge: surges → alerts. One partition, one judge: it sees all series in step, and says what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from time import time
from typing import Any

import faust
import msgspec
import structlog

from detectors.alert import Alert, Kind, Severity, State, encode, headers, millis
from detectors.command import Command, decode_logged
from detectors.judge import Judge
from detectors.rules import Rules
from streams.health import Health
from streams.metrics import Metrics
from streams.outbox import Outbox
from streams.state import StateTable
from streams.topics import Topics

STAGE = "judge"
#: An alert whose decision is older was made from history or from a backlog: its delay says nothing about us.
LIVE_SECONDS = 600.0

log = structlog.get_logger(__name__)


class JudgeStage:
    """The stage behind `surges`."""

    def __init__(
        self, app: faust.App, rules: Rules, topics: Topics, state: StateTable, metrics: Metrics, health: Health
    ) -> None:
        self._app = app
        self._rules = rules
        self._topics = topics
        self._state = state
        self._metrics = metrics
        self._health = health
        self._outbox = Outbox(app)
        self._judge: Judge | None = None
        self._upto = 0
        self._kept = 0
        self._refused = 0
        self._lock = asyncio.Lock()
        metrics.alert_budget.set(rules.incidents.alert_budget)

    async def resume(self, assigned: frozenset[int]) -> Mapping[int, int]:
        """Take up the judge from its snapshot if it is newly ours, let go of it if it is no longer."""
        async with self._lock:
            self.release(assigned)
            if not assigned:
                return {}
            if self._judge is None:
                incidents, partitions, around = (
                    self._rules.incidents,
                    self._rules.partitions,
                    self._rules.surroundings(),
                )
                kept = self._state.load(0, partial(Judge.from_state, incidents, partitions, around=around))
                self._judge, self._upto = kept or (Judge(incidents, partitions, around), 0)
                self._kept, self._refused = self._upto, self._judge.not_opened
                log.info("partition taken up", stage=STAGE, partition=0, offset=self._upto)
                self._tell(self._judge)
            return self.positions()

    def positions(self) -> Mapping[int, int]:
        """The offset to read next, if the judge is in hand."""
        return {} if self._judge is None else {0: self._upto}

    def release(self, assigned: frozenset[int]) -> None:
        """Let go of the judge if it is another worker's now."""
        if not assigned and self._judge is not None:
            self._judge = None
            self._metrics.forget_lag(self._topics.surges, 0)
            for severity in Severity:
                self._metrics.open_incidents.labels(severity.value).set(0)
            self._metrics.alert_achieved.set(0)
            self._metrics.alert_false.set(0)

    def open_now(self, most: int) -> list[Alert]:
        """The worst open incidents as they are now; none where another worker judges. See `Judge.open_now`."""
        return [] if self._judge is None else self._judge.open_now(most)

    def silent(self, most: int) -> Mapping[str, float]:
        """How long sources have been silent, seconds; none where another worker judges. See `Judge.silent`."""
        return {} if self._judge is None else self._judge.silent(most)

    async def handle(self, _partition: int, records: Sequence[Any]) -> None:
        """Judge the surges of a fetch; returns when the alerts are with the broker."""
        async with self._lock:
            judge = self._judge
            if judge is None:
                return  # taken away meanwhile: its next owner reads them
            sent: list[Alert] = []
            for record in records:
                if record.offset < self._upto:
                    continue
                try:
                    said = decode_logged(record.value)
                except msgspec.MsgspecError as error:
                    log.error(
                        "a record on surges is not ours; keep others from writing there",
                        offset=record.offset,
                        error=str(error),
                    )
                    self._upto = record.offset + 1
                    continue
                for alert in _heed(judge, said) if isinstance(said, Command) else judge.apply(said):
                    await self._outbox.put(
                        self._topics.alerts, 0, encode(alert), key=alert.id.encode(), headers=headers(alert)
                    )
                    sent.append(alert)
                self._upto = record.offset + 1
            await self._outbox.flush()
            for alert in sent:
                self._report(alert)
            self._tell(judge)
            if self._state.due(0):
                await self._save(judge)

    def _report(self, alert: Alert) -> None:
        self._metrics.alerts.labels(alert.state.value).inc()
        delay = time() - datetime.fromisoformat(alert.updated_at).timestamp()
        if 0 <= delay < LIVE_SECONDS:
            self._metrics.alert_latency.observe(delay)
        if alert.state is State.OPEN and alert.kind is not Kind.FEED:
            self._metrics.detection_delay.observe((millis(alert.detected_at) - millis(alert.started_at)) / 1000)
        if alert.state is not State.UPDATE:
            log.info(
                f"incident {alert.state.value}",
                incident=alert.id,
                kind=alert.kind.value,
                parent=alert.parent,
                sources=alert.sources,
                service=alert.service,
                region=alert.region,
                severity=alert.severity.value,
                observed=alert.observed,
                expected=alert.expected,
                evidence=alert.evidence,
            )

    def _tell(self, judge: Judge) -> None:
        self._health.moved(STAGE, time())
        self._metrics.incidents_refused.inc(max(0, judge.not_opened - self._refused))
        self._refused = judge.not_opened
        if self._judge is not judge:
            return  # taken away meanwhile: its next owner tells
        for severity, count in judge.open_by_severity().items():
            self._metrics.open_incidents.labels(severity.value).set(count)
        self._metrics.alert_achieved.set(judge.pages_per_week())
        self._metrics.alert_false.set(judge.false_per_week())

    def _tell_lag(self) -> None:
        lag = 0
        if self._judge is not None:
            lag = self._app.consumer.lag(self._topics.surges, 0, self._upto) or 0
            self._metrics.input_lag.labels(self._topics.surges, 0).set(lag)
        self._health.lag(STAGE, lag, time())

    async def _save(self, judge: Judge) -> None:
        if self._kept == self._upto or self._judge is not judge:
            return
        size = await self._state.save(0, self._upto, judge.to_state())
        self._kept = self._upto
        self._metrics.snapshots.labels(STAGE).inc()
        self._metrics.snapshot_bytes.labels(STAGE).set(size)

    async def run(self) -> None:
        """Write the snapshot that is due after the last record came, and tell the lag, until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            # Before the lock is waited for: whoever holds it may be what stands still.
            self._tell_lag()
            async with self._lock:
                judge = self._judge
                if judge and self._state.due(0):
                    await self._save(judge)
                kept = {0: self._kept} if judge else {}
            await self._app.consumer.commit_positions(self._topics.surges, kept)


def _heed(judge: Judge, command: Command) -> list[Alert]:
    """The alerts that a command leads to; the log has it either way."""
    fields = {
        "command": command.id,
        "action": command.action.value,
        "incident": command.incident,
        "by": command.by,
        "reason": command.reason,
    }
    known = judge.is_open(command.incident)
    alerts = judge.heed(command)
    if alerts:
        log.info("command heeded", **fields)
    elif known:
        log.info("command repeated", **fields)
    else:
        log.warning("a command changed nothing: no such incident is open", **fields)
    return alerts

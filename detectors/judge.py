"""Judge: from what the partitions of detect saw to incidents: what broke, where, since when, and what explains it."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from detectors.alert import PAGING, Alert, Severity, State
from detectors.budget import PageLog
from detectors.cells import Cell, Sums
from detectors.incident import Incident, IncidentRule, incident_id, severity, tell
from detectors.rollup import is_rollup
from detectors.silence import Silent
from detectors.surges import SurgeRecord, SurgeRow
from detectors.verdict import CANDIDATES, LEAST, Atom, Scope, Table, overlap, within

#: Incidents open at once: more than anybody reads, and little enough to keep in memory with their last hour.
MAX_OPEN = 10_000
#: Cells that are kept with their last hour; more are kept with their last bucket.
MAX_CELLS = 20_000
#: Explained incidents of one parent at most: those with most evidence.
CHILDREN = 100
#: An excess that doubled from less than so many reports is no news.
DOUBLES_FROM = 10.0
#: The verdict looks back to where the latest surge began, but at least and at most so far, ms.
LOOK_BACK = 15 * 60_000, 60 * 60_000
#: Cells that nobody told of for so long are forgotten, ms.
FORGET_MS = 600_000

STATE_VERSION = 3
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class JudgeState(msgspec.Struct, frozen=True):
    """A judge in a snapshot."""

    version: int
    reached: list[int]
    cells: list[Cell]
    incidents: list[Incident]
    silent: list[Silent]
    explained: list[Scope]
    held: list[tuple[int, list[SurgeRow], list[Silent]]]
    times: list[int]
    swept: int
    not_opened: int
    pages: PageLog


class _Version(msgspec.Struct, frozen=True):
    """What any version of JudgeState has."""

    version: int


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(JudgeState).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


class _Held(NamedTuple):
    """What came for a tick that is not judged yet."""

    rows: list[SurgeRow]
    silent: list[Silent]


class Judge:
    """Turns what the partitions of detect saw into alerts, in step: a tick is judged when all partitions are past it.

    At an event time all rows of its ticks are taken in first, then the causes are found that explain what surges, and
    each incident is looked after once. Nothing depends on how the records of partitions interleave or on how ticks are
    put together into records.

    not_opened: incidents that were not opened because MAX_OPEN others were.
    pages: the records of the last weeks that page, by the definition of `Pager`.
    """

    def __init__(self, rule: IncidentRule, partitions: int) -> None:
        self.rule = rule
        self.not_opened = 0
        self.pages = PageLog()
        self._reached = [0] * partitions
        self._cells: dict[Scope, Cell] = {}
        self._hot: set[Scope] = set()
        # Incidents that are open, or were not long ago: by scope.
        self._incidents: dict[Scope, Incident] = {}
        self._silent: dict[str, Silent] = {}
        self._explained: set[Scope] = set()
        self._open = dict.fromkeys(Severity, 0)
        # The calendar: event times at which something is to do, and the rows that belong to them.
        self._times: list[int] = []
        self._scheduled: set[int] = set()
        self._held: dict[int, _Held] = {}
        self._swept = 0

    @property
    def through(self) -> int:
        """Event time up to which everything is judged, ms; 0 as long as a partition was not heard of."""
        return min(self._reached)

    def open_by_severity(self) -> Mapping[Severity, int]:
        """How many incidents of each severity are open."""
        counts = dict.fromkeys(Severity, 0)
        for incident in self._incidents.values():
            if incident.resolved is None:
                counts[incident.severity] += 1
        return counts

    def pages_per_week(self) -> float:
        """Pages a week of event time lately; see `PageLog.per_week`."""
        return self.pages.per_week(self.through)

    def apply(self, record: SurgeRecord) -> list[Alert]:
        """The alerts that this record makes due, in order. A record that was applied before is a replay: none.

        ValueError where the record comes from another number of partitions than the judge was made for.
        """
        reached = self._reached
        partition = record.partition
        if record.partitions != len(reached) or not 0 <= partition < len(reached):
            raise ValueError(
                f"partition {partition} of {record.partitions} reached a judge of {len(reached)}: the number of"
                " partitions of `report-counts` was changed; set it back, or follow `groundswell topics` to migrate"
            )
        before = reached[partition]
        if record.through <= before:
            return []
        for tick in record.ticks:
            if tick.at > before:  # a replay may be cut into other records than the first time
                held = self._held.get(tick.at)
                if held is None:
                    self._schedule(tick.at)
                    held = self._held[tick.at] = _Held([], [])
                held.rows.extend(tick.rows)
                held.silent.extend(tick.silent)
        reached[partition] = record.through
        through = min(reached)
        alerts: list[Alert] = []
        while self._times and self._times[0] <= through:
            at = heappop(self._times)
            self._scheduled.discard(at)
            alerts.extend(self._judge(at))
        return alerts

    def _schedule(self, at: int) -> None:
        if at not in self._scheduled:
            self._scheduled.add(at)
            heappush(self._times, at)

    # ---- one event time

    def _judge(self, at: int) -> list[Alert]:
        """Everything that happens at event time `at`."""
        if not self.pages.began:
            self.pages = PageLog(began=at)
        held = self._held.pop(at, _Held([], []))
        self._hear(held, at)
        evidence = self._evidence(at)
        said: list[tuple[Incident, State]] = []
        surging = sorted(scope for scope, nats in evidence.items() if nats >= self.rule.open_at)
        if surging:
            self._explain(surging, evidence, at, said)
        else:
            self._explained = set()
        for scope in sorted(self._incidents):
            incident = self._incidents[scope]
            if incident.resolved is None:
                self._follow(incident, evidence, at, said)
            elif at >= incident.resolved + self._reopen_ms:
                del self._incidents[scope]
        self._sweep(at)
        return [self._told(incident, state, at) for incident, state in said]

    def _hear(self, held: _Held, at: int) -> None:
        """Take in the rows of a tick."""
        for silent in sorted(held.silent, key=lambda each: each.source):
            if silent.over:
                self._silent.pop(silent.source, None)
            else:
                self._silent[silent.source] = silent
        for row in sorted(held.rows, key=_by_series):
            scope = row.series.service, row.series.region
            cell = self._cells.get(scope) or Cell(*scope)
            incident = self._incidents.get(scope)
            part = incident is not None and incident.resolved is None and row.series.source in incident.sources
            started = incident.started if incident is not None and part else None
            kept = 60 if len(self._cells) < MAX_CELLS or incident is not None else 1
            cell = self._cells[scope] = cell.saw(row, at, started, kept)
            if row.evidence >= self.rule.close_at:
                self._hot.add(scope)
                self._schedule(cell.told)

    def _evidence(self, at: int) -> dict[Scope, float]:
        """The evidence of all scopes that show some."""
        found = {scope: self._cells[scope].evidence(at, self._silent) for scope in self._hot}
        self._hot = {scope for scope, nats in found.items() if nats >= self.rule.close_at}
        return {scope: nats for scope, nats in found.items() if scope in self._hot}

    def _sweep(self, at: int) -> None:
        """Forget cells that nobody told of lately."""
        if at < self._swept + FORGET_MS:
            return
        self._swept = at
        for scope in [scope for scope, cell in self._cells.items() if cell.told + FORGET_MS < at]:
            incident = self._incidents.get(scope)
            if incident is None or incident.resolved is not None:
                del self._cells[scope]
                self._hot.discard(scope)

    # ---- what explains what surges

    def _explain(
        self, surging: list[Scope], evidence: dict[Scope, float], at: int, said: list[tuple[Incident, State]]
    ) -> None:
        """Find the causes of all that surges; open incidents, or change what is open."""
        roots = {scope for scope, each in self._incidents.items() if each.resolved is None and each.parent is None}
        table = self._table(surging, evidence, at)
        kept = roots | self._explained
        chosen = table.choose(kept=kept)
        for scope in sorted(surging, key=lambda each: (-evidence[each], each)):
            if not any(overlap(scope, cause) for cause in chosen):
                near = [cause for cause in table.candidates if overlap(cause, scope)]
                best = max(near, key=lambda cause: (table.alone(cause), not is_rollup(*cause), cause), default=None)
                if best is not None and table.alone(best) >= LEAST:
                    chosen[best] = table.alone(best)
        self._explained = set(chosen)
        # The widest first, so that parents are there.
        for cause in sorted(chosen, key=lambda each: (not is_rollup(*each), -evidence[each], each)):
            own = self._incidents.get(cause)
            if own is not None and own.resolved is None:
                continue
            if max(evidence[scope] for scope in evidence if within(scope, cause) or scope == cause) < self.rule.open_at:
                if not any(overlap(scope, cause) for scope in surging):
                    continue
            grown = [roots_ for roots_ in roots if within(roots_, cause) and roots_ != cause and roots_ not in chosen]
            if grown:
                self._grow(min(grown, key=lambda each: (self._incidents[each].detected, each)), cause, at, said)
            else:
                self._begin(cause, evidence, at, None, said)
            roots.add(cause)
        self._adopt(chosen, surging, evidence, at, said)

    def _table(self, surging: list[Scope], evidence: dict[Scope, float], at: int) -> Table:
        latest = max(self._cells[scope].onset(at, self._silent) for scope in surging)
        begin = at - min(max(at - latest, LOOK_BACK[0]), LOOK_BACK[1])
        candidates = sorted(evidence, key=lambda each: (-evidence[each], each))[:CANDIDATES]
        atoms: list[Atom] = []
        sums: dict[tuple[str | None, str | None], Sums] = {}
        wholes: list[tuple[Scope, Sums]] = []
        for scope in sorted(self._cells):
            cell = self._cells[scope]
            if cell.told < at:
                continue
            if is_rollup(*scope):
                if scope[0] == "*" or scope[1] == "*":
                    wholes.append((scope, cell.over(begin)))
                continue
            told = cell.over(begin)
            atoms.append(Atom(*scope, told.observed, told.expected, told.variance))
            for key in ((scope[0], None), (None, scope[1]), (None, None)):
                sums[key] = sums.get(key, Sums()).also(told)
        for (service, region), whole in wholes:
            key = (None if service == "*" else service, None if region == "*" else region)
            part = sums.get(key, Sums())
            expected = whole.expected - part.expected
            if expected < 0.05 * whole.expected or (region.endswith("/*")):
                continue
            variance = max(whole.variance - part.variance, expected) + (0.1 * whole.expected) ** 2
            atoms.append(Atom(*key, max(0.0, whole.observed - part.observed), expected, variance))
        return Table(atoms, candidates)

    def _grow(self, scope: Scope, cause: Scope, at: int, said: list[tuple[Incident, State]]) -> None:
        """An incident turned out to be wider: it keeps its id."""
        incident = self._incidents.pop(scope)
        cell = self._cells[cause] = self._cells[cause].begin()
        incident = replace(
            incident,
            scope=cause,
            started=min(incident.started, cell.onset(at, self._silent)),
            sources=tuple(feed.source for feed in cell.feeds if feed.now(at, self._silent)) or incident.sources,
            names=cell.names,
            calm=None,
        )
        self._say(incident, State.UPDATE, at, said)

    def _adopt(
        self,
        chosen: dict[Scope, float],
        surging: list[Scope],
        evidence: dict[Scope, float],
        at: int,
        said: list[tuple[Incident, State]],
    ) -> None:
        """What is explained by a wider cause is its child: shown, but nobody is called for it."""
        open_now = {scope: each for scope, each in self._incidents.items() if each.resolved is None}
        wide = [cause for cause in chosen if is_rollup(*cause) and cause in open_now]
        for scope in sorted(surging):
            parents = [cause for cause in wide if cause != scope and within(scope, cause)]
            own = open_now.get(scope)
            if scope in chosen:
                if own is not None and own.parent is not None:
                    self._say(replace(own, parent=None), State.UPDATE, at, said)
                continue
            if not parents or (is_rollup(*scope) and own is None):
                continue
            parent = open_now[max(parents, key=lambda cause: (chosen[cause], cause))].id
            if own is None:
                self._begin(scope, evidence, at, parent, said)
            elif own.parent is None:
                self._say(replace(own, parent=parent), State.UPDATE, at, said)
        for scope, each in open_now.items():
            if each.parent is None and scope not in chosen and scope not in surging:
                pass

    # ---- the life of an incident

    def _begin(
        self,
        scope: Scope,
        evidence: dict[Scope, float],
        at: int,
        parent: str | None,
        said: list[tuple[Incident, State]],
    ) -> None:
        """A new incident, or the next episode of one that was resolved not long ago."""
        if sum(self.open_by_severity().values()) >= MAX_OPEN:
            self.not_opened += 1
            return
        cell = self._cells[scope]
        part = [feed for feed in cell.feeds if feed.now(at, self._silent) >= self.rule.close_at] or list(cell.feeds)
        started = min(feed.since() for feed in part)
        old = self._incidents.get(scope)
        if old is not None and old.calm is not None:
            # What came before the calm is the last episode's. Decisions come the lateness after what they are about.
            lateness_ms = at - max(feed.until for feed in part)
            started = max(started, old.calm - lateness_ms)
        self._cells[scope] = cell.begin()
        incident = Incident(
            id=old.id if old else incident_id(*scope, at),
            scope=scope,
            names=old.names if old else cell.names,
            sequence=old.sequence if old else 0,
            episode=old.episode + 1 if old else 1,
            started=started,
            detected=at,
            sources=tuple(feed.source for feed in part),
            severity=Severity.INFO,
            evidence=evidence.get(scope, 0.0),
            sent=at,
            excess=0.0,
            parent=parent,
        )
        self._say(incident, State.UPDATE if old else State.OPEN, at, said)

    def _follow(
        self, incident: Incident, evidence: dict[Scope, float], at: int, said: list[tuple[Incident, State]]
    ) -> None:
        """Is there news of an open incident?"""
        if incident.sent == at and any(each.id == incident.id for each, _ in said):
            return
        now = evidence.get(incident.scope, 0.0)
        cell = self._cells[incident.scope]
        joined = {feed.source for feed in cell.feeds if feed.now(at, self._silent) >= self.rule.close_at}
        calm = None
        if now < self.rule.close_at:
            calm = at if incident.calm is None else incident.calm
        incident = replace(
            incident,
            sources=tuple(sorted({*incident.sources, *joined})),
            evidence=max(incident.evidence, now),
            calm=calm,
        )
        sums = self._sums(incident)
        if calm is not None and at >= calm + self._close_after_ms:
            self._say(replace(incident, resolved=at), State.RESOLVED, at, said)
        elif (
            at >= incident.sent + self._update_ms
            or sums.observed - sums.expected >= 2 * max(incident.excess, DOUBLES_FROM)
            or _RANK[self._severity(incident, sums)] > _RANK[incident.severity]
        ):
            self._say(incident, State.UPDATE, at, said)
        else:
            self._keep(incident)

    def _sums(self, incident: Incident) -> Sums:
        sums = Sums()
        for feed in self._cells[incident.scope].feeds:
            if feed.source in incident.sources:
                sums = sums.also(feed.sums(incident.started))
        return sums

    def _severity(self, incident: Incident, sums: Sums) -> Severity:
        """It never drops within an episode."""
        until = max((f.until for f in self._cells[incident.scope].feeds if f.source in incident.sources), default=0)
        seconds = (until - incident.started) / 1000
        now = severity(self.rule, observed=sums.observed, expected=sums.expected, seconds=seconds)
        return max(now, incident.severity, key=_RANK.__getitem__)

    def _say(self, incident: Incident, state: State, at: int, said: list[tuple[Incident, State]]) -> None:
        """Send the next record of an incident."""
        sums = self._sums(incident)
        worse = self._severity(incident, sums)
        if (
            state is not State.RESOLVED
            and incident.parent is None
            and worse in PAGING
            and not (incident.paged == incident.episode)
        ):
            self.pages = self.pages.paged(at)
            incident = replace(incident, paged=incident.episode)
        incident = replace(
            incident,
            sequence=incident.sequence + 1,
            severity=worse,
            sent=at,
            excess=sums.observed - sums.expected,
        )
        self._keep(incident)
        said.append((incident, state))

    def _keep(self, incident: Incident) -> None:
        self._incidents[incident.scope] = incident
        if incident.resolved is not None:
            self._schedule(incident.resolved + self._reopen_ms)
            return
        self._schedule(incident.sent + self._update_ms)
        if incident.calm is not None:
            self._schedule(incident.calm + self._close_after_ms)

    def _told(self, incident: Incident, state: State, at: int) -> Alert:
        return tell(incident, self._cells[incident.scope], state, self._sums(incident), at)

    @property
    def _close_after_ms(self) -> int:
        return round(self.rule.close_after_seconds * 1000)

    @property
    def _reopen_ms(self) -> int:
        return round(self.rule.reopen_seconds * 1000)

    @property
    def _update_ms(self) -> int:
        return round(self.rule.update_seconds * 1000)


def _by_series(row: SurgeRow) -> tuple[object, ...]:
    return (row.series, row.start, row.closed)

"""Judge: from what the partitions of detect saw to incidents: what broke, where, since when, and what explains it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from heapq import heappop, heappush, nsmallest
from typing import NamedTuple, Self

import msgspec
from msgspec.structs import replace

from detectors import word as words
from detectors.alert import (
    FEED,
    PAGING,
    Alert,
    Contacts,
    Earlier,
    Muted,
    Part,
    Resolution,
    Severity,
    State,
    Word,
    asks,
    millis,
)
from detectors.budget import PageLog
from detectors.cells import BUCKETS, Cell, Sums
from detectors.command import Command
from detectors.explanation import Beside, top_regions, top_services
from detectors.incident import Incident, IncidentRule, Weight, incident_id, kind_of, tell, weigh
from detectors.ledger import Course, Key, Ledger
from detectors.ours import Other, Ours
from detectors.rollup import ALL, is_rollup
from detectors.series import Names
from detectors.silence import Silent
from detectors.snapshot import Mismatch, check_version
from detectors.surges import SurgeRecord, SurgeRow
from detectors.surroundings import NOTHING_AROUND, Surroundings
from detectors.verdict import CANDIDATES, LEAST, PENALTY, Atom, Scope, Table, overlap, within

#: Incidents open at once: more than anybody reads, and little enough to keep in memory with their last hour.
MAX_OPEN = 10_000
#: Cells that are kept with their last hour; more are kept with their last bucket.
MAX_CELLS = 20_000
#: Explained incidents of one parent at most: those with most evidence.
CHILDREN = 100
#: An incident may turn out to be narrower within so long, ms.
SHRINKS_MS = 30 * 60_000
#: One series that an incident explains may go on so much longer before it counts by itself, ms.
OUTLIVE_MS = 15 * 60_000
#: ... and what goes on for so long without the incident that explained it is something else, ms.
LINGERS_MS = 45 * 60_000
#: A cause that explains what surges needs so much less evidence itself.
HALF = 0.5
#: An excess that doubled from less than so many reports is no news.
DOUBLES_FROM = 10.0
#: The verdict looks back to where the latest surge began, but at least so far, ms.
LOOK_BACK_MS = 15 * 60_000
#: When that is longer ago than this, it looks back no further than LOOK_BACK_MS.
LATEST_MS = 60 * 60_000
#: Incidents remembered of a scope, and scopes that are remembered.
EARLIER = 5
MAX_REMEMBERED = 10_000
#: Cells that nobody told of for so long are forgotten, ms.
FORGET_MS = 600_000

STATE_VERSION = 4
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class JudgeState(msgspec.Struct, frozen=True):
    """A judge in a snapshot."""

    version: int
    reached: list[int]
    cells: list[Cell]
    hot: list[Scope]
    incidents: list[Incident]
    silent: list[Silent]
    explained: list[Scope]
    refused: list[Scope]
    loud: list[Scope]
    held: list[tuple[int, list[SurgeRow], list[Silent]]]
    history: list[tuple[Scope, tuple[Earlier, ...]]]
    ledger: list[tuple[Key, Course]]
    times: list[int]
    at: int
    swept: int
    not_opened: int
    pages: PageLog
    quelled: list[tuple[Scope, float]]
    heeded: list[str]


class _Version(msgspec.Struct, frozen=True):
    """What any version of JudgeState has."""

    version: int


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(JudgeState).decode
_decode_version = msgspec.msgpack.Decoder(_Version).decode


#: What is said at an event time: incidents as they were told, and their records.
_Said = list[tuple[Incident, Alert]]


class _Held(NamedTuple):
    """What came for a tick that is not judged yet."""

    rows: list[SurgeRow]
    silent: list[Silent]


class Judge:
    """Turns what the partitions of detect saw into alerts, in step: a tick is judged when all partitions are past it.

    At an event time all rows of its ticks are taken in first, then the causes are found that explain what surges, and
    each incident is looked after once. Nothing depends on how the records of partitions interleave or on how ticks are
    put together into records.

    around: what people know of services; another one is no other state.
    not_opened: incidents that were not opened because MAX_OPEN others were.
    pages: the records of the last weeks that page, by the definition of `Pager`.
    """

    def __init__(self, rule: IncidentRule, partitions: int, around: Surroundings = NOTHING_AROUND) -> None:
        self.rule = rule
        self._catalogue = around.catalogue
        self._ours = Ours(around.ours, around.catalogue.own())
        self._maintenance = around.maintenance
        self.not_opened = 0
        self.pages = PageLog()
        self._reached = [0] * partitions
        self._cells: dict[Scope, Cell] = {}
        self._hot: set[Scope] = set()
        # Incidents that are open, or were not long ago: by scope.
        self._incidents: dict[Scope, Incident] = {}
        self._silent: dict[str, Silent] = {}
        self._explained: set[Scope] = set()
        self._refused: set[Scope] = set()
        self._loud: set[Scope] = set()  # what stands out of the table, whatever its evidence
        # What goes on after people ended its incident: it opens nothing. With the peak that it has to double.
        self._quelled: dict[Scope, float] = {}
        self._heeded: dict[str, None] = {}  # ids of the last commands, in their order
        # The calendar: event times at which something is to do, and the rows that belong to them.
        self._times: list[int] = []
        self._scheduled: set[int] = set()
        self._held: dict[int, _Held] = {}
        # What was there before, the latest first; scopes in the order in which they were added to.
        self._history: dict[Scope, tuple[Earlier, ...]] = {}
        self._swept = 0
        self._looked_at: tuple[Table, set[Scope]] | None = None  # at this event time
        self._at = 0  # event time that is judged, or was last

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

    def open_now(self, most: int) -> list[Alert]:
        """What the next record of each open incident would say now, for people to look at; nothing changes by it.

        At most so many: those first that no other incident explains, then the most severe, then the biggest.
        """
        worst = nsmallest(most, (each for each in self._incidents.values() if each.resolved is None), key=_worst_first)
        return [self._look(incident) for incident in worst]

    def _look(self, incident: Incident) -> Alert:
        sums, at = self._sums(incident), self.through
        cell = self._cells.get(incident.scope, Cell(*incident.scope))
        beside = self._beside(incident, self._contacts(incident, sums), None, at)
        return tell(incident, cell, State.UPDATE, sums, at, beside)

    def silent(self, most: int) -> Mapping[str, float]:
        """For how long the silent sources have been, seconds of event time; at most so many, those that miss most."""
        missing = nsmallest(most, self._silent.values(), key=lambda each: (-each.missed, each.source))
        return {each.source: max(0.0, (self.through - each.since) / 1000) for each in missing}

    def pages_per_week(self) -> float:
        """Pages a week of event time lately; see `PageLog.per_week`."""
        return self.pages.per_week(self.through)

    def false_per_week(self) -> float:
        """Of these, those that people called false alarms; see `PageLog.false_per_week`."""
        return self.pages.false_per_week(self.through)

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
            self._at = at
            alerts.extend(self._judge(at))
        return alerts

    def is_open(self, incident: str) -> bool:
        """Whether an incident of this id is open."""
        return self._named(incident) is not None

    def heed(self, command: Command) -> list[Alert]:
        """The records that a checked command leads to, in order: of the incident, and of what ends along with it.

        It takes effect at the event time up to which everything is judged, so its place in the log decides. None where
        no such incident is open, and where the command was heeded before.
        """
        if command.id in self._heeded:
            return []
        self._heeded[command.id] = None
        if len(self._heeded) > words.REMEMBERED:
            del self._heeded[next(iter(self._heeded))]
        incident = self._named(command.incident)
        if incident is None:
            return []
        at = self._at = self.through
        self._looked_at = None
        said: _Said = []
        if (resolution := words.ENDS.get(command.action)) is None:
            self._say(words.heed(incident, command, at), State.UPDATE, at, said, command.word)
        else:
            for each in words.family(incident, self._incidents.values()):
                self._end(each, resolution, at, said, command.word)
        return [alert for _, alert in said]

    def _named(self, incident: str) -> Incident | None:
        return next((each for each in self._incidents.values() if each.id == incident and each.resolved is None), None)

    def _end(self, incident: Incident, resolution: Resolution, at: int, said: _Said, word: Word | None = None) -> None:
        """People, or how long it lasts, put an end to an incident. What is left of its evidence opens nothing."""
        if incident.scope[0] == FEED:
            self._quelled[incident.scope] = 0.0
        else:
            self._quelled |= words.quelled(incident.scope, self._hot, self._cells)
            incident = replace(incident, calm=at)  # what comes from now on has to surge anew
        if resolution is Resolution.FALSE_ALARM and incident.paged == incident.episode:
            self.pages = self.pages.false_alarm(at)
        self._say(replace(incident, resolved=at, resolution=resolution), State.RESOLVED, at, said, word)

    def _schedule(self, at: int) -> None:
        if at > self._at and at not in self._scheduled:
            self._scheduled.add(at)
            heappush(self._times, at)

    # ---- one event time

    def _judge(self, at: int) -> list[Alert]:
        """Everything that happens at event time `at`."""
        if not self.pages.began:
            self.pages = PageLog(began=at)
        held = self._held.pop(at, _Held([], []))
        self._ours.news = False
        self._hear(held, at)
        self._looked_at = None
        evidence = self._evidence(at)
        self._quelled = words.still_quelled(self._quelled, self._quelled_causes, self._hot, self._cells)
        self._forget_incidents(at)
        unmuted = self._unmute_lapsed(at)
        said: _Said = []
        self._look_at_feeds(held.silent, at, said)
        surging = sorted(scope for scope, nats in evidence.items() if nats >= self.rule.open_at)
        self._refused &= set(surging)
        if not surging:
            self._explained = self._loud = set()
        elif any(row.closed for row in held.rows):
            self._explain(surging, evidence, at, said)
        elif early := self._early(surging):
            # What began in the open bucket shows in that bucket alone; the rest in those before it.
            new = [scope for scope in early if self._cells[scope].is_new(at, self._silent)]
            if new:
                self._explain_early(new, evidence, at, said)
            else:
                self._explain(surging, evidence, at, said, opened=self._opened(early))
        told = {incident.id for incident, _ in said}
        # The widest last: it goes on while those that it explains do.
        for scope in sorted(self._incidents, key=lambda each: (is_rollup(*each), each)):
            incident = self._incidents[scope]
            if incident.resolved is not None or incident.id in told:
                continue
            if incident.id in unmuted:
                self._say(incident, State.UPDATE, at, said)
            elif scope[0] != FEED:
                self._follow(incident, evidence, at, said)
        # Parents first; otherwise in order of what they span.
        said.sort(key=lambda each: (each[0].parent is not None, each[0].scope, each[0].sequence))
        self._sweep(at)
        return [alert for _, alert in said]

    def _hear(self, held: _Held, at: int) -> None:
        """Take in the rows of a tick."""
        for silent in sorted(held.silent, key=_by_source):
            if silent.over:
                self._silent.pop(silent.source, None)
            else:
                self._silent[silent.source] = silent
        for row in sorted(held.rows, key=_by_series):
            scope = row.series.service, row.series.region
            self._ours.hear(row)
            if self._ours.leaves_out(row.series):
                continue
            cell = self._cells.get(scope) or Cell(*scope)
            incident = self._incidents.get(scope)
            part = incident is not None and incident.resolved is None and row.series.source in incident.sources
            started = incident.started if incident is not None and part else None
            kept = BUCKETS if len(self._cells) < MAX_CELLS or incident is not None else 1
            cell = self._cells[scope] = cell.saw(row, at, started, kept)
            if row.evidence >= self.rule.close_at:
                self._hot.add(scope)
                self._schedule(cell.told)

    def _evidence(self, at: int) -> dict[Scope, float]:
        """The evidence of all scopes that show some."""
        found = {scope: self._cells[scope].evidence(at, self._silent) for scope in self._hot}
        self._hot = {scope for scope, nats in found.items() if nats >= self.rule.close_at}
        return {scope: nats for scope, nats in found.items() if scope in self._hot}

    def _forget_incidents(self, at: int) -> None:
        """Those that are over for good, also in what they surged with: what is left of that is no new surge."""
        for scope, incident in sorted(self._incidents.items(), key=lambda each: each[0]):
            if self._is_past(incident, at) and not self._leaves_evidence(incident, at):
                del self._incidents[scope]
                self._remember(incident)

    def _is_past(self, incident: Incident, at: int) -> bool:
        """Whether a surge is no episode of an incident any more."""
        return incident.resolved is not None and at >= incident.resolved + self._reopen_ms

    def _leaves_evidence(self, incident: Incident, at: int) -> bool:
        """Whether something that surged with it has evidence left from then: a CUSUM of a sparse series for hours."""
        calm = incident.calm or incident.resolved or 0
        return any(overlap(incident.scope, each) for each in self._hot) or any(
            0 < feed.onset < calm and feed.now(at, self._silent) > 0
            for scope, cell in self._cells.items()
            if overlap(incident.scope, scope)
            for feed in cell.feeds
        )

    def _remember(self, incident: Incident) -> None:
        """Keep in mind that there was an incident."""
        before = self._history.pop(incident.scope, ())
        if len(self._history) >= MAX_REMEMBERED:
            del self._history[next(iter(self._history))]  # the one that nothing was added to for longest
        self._history[incident.scope] = (incident.earlier(), *before)[:EARLIER]

    def _unmute_lapsed(self, at: int) -> set[str]:
        """Take back the mutes that are over; the ids of their incidents."""
        over = {scope: each for scope, each in self._incidents.items() if words.lapsed(each.muted, at)}
        self._incidents |= {scope: replace(each, muted=None) for scope, each in over.items()}
        return {each.id for each in over.values()}

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

    @property
    def _roots(self) -> set[Scope]:
        """What is open and not explained by another incident."""
        return {
            scope
            for scope, each in self._incidents.items()
            if each.resolved is None and each.parent is None and scope[0] != FEED
        }

    @property
    def _quelled_causes(self) -> set[Scope]:
        """What people ended and goes on."""
        return {scope for scope in self._quelled if scope in self._incidents and scope[0] != FEED}

    def _explain(
        self,
        surging: list[Scope],
        evidence: dict[Scope, float],
        at: int,
        said: _Said,
        *,
        opened: int | None = None,
    ) -> None:
        """Find the causes of all that surges; open incidents, or change what is open.

        opened: begin of the open bucket, ms, where it counts as well: what began at the end of a bucket hardly shows in
        that one.
        """
        roots = self._roots
        latest = max(self._cells[scope].onset(at, self._silent) for scope in surging)
        begin = min(latest, at - LOOK_BACK_MS) if latest > at - LATEST_MS else at - LOOK_BACK_MS
        candidates = self._candidates(evidence) | {scope for scope in roots if scope in self._cells}
        table = self._table(begin, candidates, at, opened)
        chosen = self._chosen(table, surging, evidence, roots | self._explained, at)
        self._explained = set(chosen)
        self._loud = {scope for scope in table.candidates if table.alone(scope) >= PENALTY}
        self._conclude(table, chosen, surging, evidence, at, said)

    def _conclude(
        self,
        table: Table,
        chosen: dict[Scope, float],
        surging: list[Scope],
        evidence: dict[Scope, float],
        at: int,
        said: _Said,
    ) -> None:
        """What follows for the incidents from the causes that were chosen."""
        self._looked_at = table, set(chosen) & set(table.candidates)
        self._open_causes(chosen, surging, evidence, at, said)
        self._adopt(chosen, surging, evidence, at, said)

    def _candidates(self, evidence: dict[Scope, float]) -> set[Scope]:
        return set(sorted(evidence, key=lambda each: (-evidence[each], each))[:CANDIDATES])

    def _chosen(
        self, table: Table, surging: list[Scope], evidence: dict[Scope, float], kept: set[Scope], at: int
    ) -> dict[Scope, float]:
        chosen = table.choose(kept=kept)
        roots = self._roots
        for scope in sorted(surging, key=lambda each: (-evidence[each], each)):
            if any(overlap(scope, cause) for cause in chosen):
                continue
            # An open wide incident's excess speaks for no other; that of one series may be a wide one's that grows.
            near = table.near(scope, [cause for cause in chosen if cause in roots and is_rollup(*cause)])
            # What was explained by an incident that ended, or is about to, has to surge anew.
            ended = any(each.calm is not None and overlap(scope, each.scope) for each in self._incidents.values())
            # Where one is open or was, others have to explain what the causes chosen so far leave over.
            before = chosen if ended or scope in roots else ()
            best, nats, price = table.likeliest(near, before) if near else (scope, 0.0, PENALTY)
            if nats >= (price if before else PENALTY if ended else LEAST):
                chosen[best] = nats
            elif scope in roots:
                chosen[scope] = table.alone(scope) if scope in table.candidates else 0.0
            elif not ended and not is_rollup(*scope):
                # The table sees less than the detector of a series does; it decides between causes only.
                chosen[scope] = 0.0
        # Of one within another the one that explains less is not needed.
        return {
            cause: nats
            for cause, nats in chosen.items()
            if not any(
                (within(cause, other) and nats <= more) or (within(other, cause) and nats < more)
                for other, more in chosen.items()
                if other != cause
            )
        }

    def _open_causes(
        self,
        chosen: dict[Scope, float],
        surging: list[Scope],
        evidence: dict[Scope, float],
        at: int,
        said: _Said,
    ) -> None:
        roots = self._roots
        # The widest first, so that parents are there.
        for cause in sorted(chosen, key=lambda each: (not is_rollup(*each), -evidence.get(each, 0.0), each)):
            own = self._incidents.get(cause)
            if cause in self._quelled or (own is not None and own.resolved is None):
                continue
            needed = self.rule.open_at
            if any(overlap(scope, cause) for scope in surging):
                needed *= HALF
            if sum(within(scope, cause) and not is_rollup(*scope) for scope in surging) > 1:
                needed = 0.0
            if evidence.get(cause, 0.0) < needed:
                continue
            over = [root for root in roots if within(cause, root) and root != cause]
            grown = [root for root in roots if within(root, cause) and root not in chosen]
            if any(self._incidents[root].calm is not None for root in grown):
                continue  # it is what is left of them
            if len(over) == 1 and self._shrinks(over[0], cause, chosen, at):
                self._move(over[0], cause, at, said)
            elif over:
                # Somebody was called for all of it already.
                self._begin(cause, evidence, at, self._incidents[min(over)].id, said)
            elif grown:
                self._move(min(grown, key=lambda each: (self._incidents[each].detected, each)), cause, at, said)
            else:
                self._begin(cause, evidence, at, None, said)

    def _early(self, surging: list[Scope]) -> list[Scope]:
        """What surges in a bucket that is open, and is in no incident yet."""
        open_now = [each.scope for each in self._incidents.values() if each.resolved is None]
        open_now += self._quelled_causes
        return [
            scope
            for scope in surging
            if any(feed.part is not None for feed in self._cells[scope].feeds)
            and not any(within(scope, each) for each in open_now)
        ]

    def _opened(self, early: list[Scope]) -> int:
        """Begin of the bucket that is open, ms."""
        return max(
            part.start for scope in early for feed in self._cells[scope].feeds if (part := feed.part) is not None
        )

    def _explain_early(self, early: list[Scope], evidence: dict[Scope, float], at: int, said: _Said) -> None:
        """As `_explain`, of what began in the open bucket, from that bucket alone."""
        begin = self._opened(early)
        atoms = []
        for scope in sorted(self._cells):
            if not is_rollup(*scope):
                told = self._cells[scope].early(begin)
                if told.expected > 0.0:
                    atoms.append(Atom(*scope, told.observed, told.expected, told.variance))
        if not atoms:
            return
        known = [scope for scope, cell in self._cells.items() if cell.early(begin).expected > 0.0]
        table = Table(atoms, self._candidates(evidence), known)
        chosen = self._chosen(table, early, evidence, self._roots, at)
        chosen = {cause: nats for cause, nats in chosen.items() if any(overlap(cause, scope) for scope in early)}
        self._conclude(table, chosen, early, evidence, at, said)

    def _table(self, begin: int, candidates: set[Scope], at: int, opened: int | None) -> Table:
        """Observed and expected since `begin`, of series, and of what is left of roll-ups without them.

        opened: see `_explain`.
        """
        ended = [each for each in self._incidents.values() if each.resolved is not None and each.calm is not None]
        atoms: list[Atom] = []
        sums: dict[tuple[str | None, str | None], Sums] = {}
        wholes: list[tuple[Scope, Sums]] = []
        for scope in sorted(self._cells):
            cell = self._cells[scope]
            if cell.told < at:
                continue
            told = cell.over(begin)
            if opened is not None:
                told = told.also(cell.early(opened))
            if is_rollup(*scope):
                if scope[0] == ALL or scope[1] == ALL:
                    wholes.append((scope, told))
                continue
            keys: tuple[tuple[str | None, str | None], ...] = ((scope[0], None), (None, scope[1]), (None, None))
            for key in keys:
                sums[key] = sums.get(key, Sums()).also(told)
            # What came before the end of an incident was that incident's.
            over = max((each.calm or 0 for each in ended if within(scope, each.scope)), default=0)
            if over > begin:
                told = cell.since(over)
                if opened is not None:
                    told = told.also(cell.early(opened))
            atoms.append(Atom(*scope, told.observed, told.expected, told.variance))
        for (service, region), whole in wholes:
            if any(within((service, region), each.scope) and (each.calm or 0) > begin for each in ended):
                continue
            rest = (None if service == ALL else service, None if region == ALL else region)
            part = sums.get(rest, Sums())
            expected = whole.expected - part.expected
            observed = whole.observed - part.observed
            # Nothing is left where all of its series are told: what the baselines differ by is no series.
            if expected < 0.05 * whole.expected or observed <= 0 or region.endswith("/*"):
                continue
            variance = max(whole.variance - part.variance, expected) + (0.1 * whole.expected) ** 2
            atoms.append(Atom(*rest, observed, expected, variance))
        return Table(atoms, candidates, [scope for scope, cell in self._cells.items() if cell.told >= at])

    def _shrinks(self, scope: Scope, cause: Scope, chosen: Collection[Scope], at: int) -> bool:
        """Whether an incident turns out to be one narrower cause, soon after it opened. Later, parts of it just end."""
        incident = self._incidents[scope]
        if at > incident.detected + SHRINKS_MS or scope in chosen:
            return False
        return [each for each in chosen if within(each, scope)] == [cause]

    def _move(self, scope: Scope, cause: Scope, at: int, said: _Said) -> None:
        """An incident turned out to be wider or narrower than it was told: it keeps its id."""
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
        said: _Said,
    ) -> None:
        """What is explained by a wider cause is its child: shown, but nobody is called for it."""
        open_now = {scope: each for scope, each in self._incidents.items() if each.resolved is None}
        ids = {each.id for each in open_now.values()}
        # What is calm is about to end: it explains what it did, and nothing that begins now.
        calm = {each.id for each in open_now.values() if each.calm is not None}
        wide = [
            scope
            for scope, each in open_now.items()
            if is_rollup(*scope) and (each.parent is None or self._ours.is_contacts(scope[0]))
        ]
        for scope in sorted(surging):
            own = open_now.get(scope)
            parents = [cause for cause in wide if cause != scope and within(scope, cause)]
            if parents and (own is not None or not is_rollup(*scope)):
                parent = open_now[max(parents, key=lambda cause: (chosen.get(cause, 0.0), cause))].id
                if own is None and (scope in self._quelled or parent in calm):
                    continue
                if own is None and sum(each.parent == parent for each in open_now.values()) >= CHILDREN:
                    continue
                if own is None:
                    self._begin(scope, evidence, at, parent, said)
                elif own.parent not in ids:
                    self._say(replace(own, parent=parent), State.UPDATE, at, said)
            elif own is not None and own.parent is not None and own.parent not in ids and self._outlives(own, at):
                # It outlives what explained it.
                self._say(replace(own, parent=None), State.UPDATE, at, said)

    def _outlives(self, incident: Incident, at: int) -> bool:
        """Whether an incident whose parent is over goes on by itself: it stands out, or has gone on for long."""
        parent = next((each for each in self._incidents.values() if each.id == incident.parent), None)
        if parent is not None and self._explains_contacts(parent, incident.scope):
            return False
        ended = parent.resolved if parent is not None else None
        late = ended is None or at >= ended + LINGERS_MS
        return incident.scope in self._loud or (late and incident.calm is None)

    # ---- silent feeds

    def _look_at_feeds(self, told: list[Silent], at: int, said: _Said) -> None:
        """A silent source is an incident of its own."""
        for silent in sorted(told, key=_by_source):
            scope = FEED, silent.source
            old = self._incidents.get(scope)
            if old is None or old.resolved is not None:
                if silent.over:
                    self._quelled.pop(scope, None)
                elif scope not in self._quelled:
                    names = Names(FEED, silent.source)
                    incident, state = self._episode(scope, names, silent.since, (silent.source,), at)
                    self._say(replace(incident, evidence=silent.evidence, excess=silent.missed), state, at, said)
                continue
            incident = replace(old, excess=silent.missed, evidence=max(old.evidence, silent.evidence))
            if silent.over:
                ended = replace(incident, excess=old.excess, resolved=at, resolution=Resolution.OVER)
                self._say(ended, State.RESOLVED, at, said)
            elif (
                at >= old.sent + self._update_ms
                or self._feed_severity(incident) != old.severity
                or self._calls(incident, self._feed_severity(incident), at)
            ):
                self._say(incident, State.UPDATE, at, said)
            else:
                self._keep(incident)

    def _feed_severity(self, incident: Incident) -> Severity:
        return Severity.ERROR if incident.evidence >= self.rule.open_at else Severity.INFO

    # ---- the life of an incident

    def _begin(
        self,
        scope: Scope,
        evidence: dict[Scope, float],
        at: int,
        parent: str | None,
        said: _Said,
    ) -> None:
        """A new incident, or the next episode of one that was resolved not long ago."""
        if sum(each.resolved is None for each in self._incidents.values()) >= MAX_OPEN:
            self.not_opened += scope not in self._refused
            self._refused.add(scope)
            return
        parent = parent or self._cause_of_contacts(scope)
        cell = self._cells[scope]
        part = [feed for feed in cell.feeds if feed.now(at, self._silent) >= self.rule.close_at] or list(cell.feeds)
        started = min(feed.since() for feed in part)
        calm = max(
            (
                each.calm or 0
                for each in self._incidents.values()
                if each.resolved is not None and within(scope, each.scope)
            ),
            default=0,
        )
        # What came before the calm is that incident's. Decisions come the lateness after what they are about.
        lateness_ms = at - max(feed.until for feed in part)
        started = max(started, calm - lateness_ms)
        self._cells[scope] = cell.begin()
        incident, state = self._episode(scope, cell.names, started, tuple(feed.source for feed in part), at)
        self._say(replace(incident, evidence=evidence.get(scope, 0.0), parent=parent), state, at, said)

    def _episode(
        self, scope: Scope, names: Names, started: int, sources: tuple[str, ...], at: int
    ) -> tuple[Incident, State]:
        """A new incident, or the next episode of one that was resolved there not long ago; and how to tell of it."""
        old = self._returns(scope, at)
        incident = Incident(
            id=old.id if old else incident_id(*scope, at),
            scope=scope,
            names=old.names if old else names,
            sequence=old.sequence if old else 0,
            episode=old.episode + 1 if old else 1,
            started=started,
            detected=at,
            sources=sources,
            severity=Severity.INFO,
            evidence=0.0,
            sent=at,
            excess=0.0,
            muted=old.muted if old else None,
        )
        return incident, State.UPDATE if old else State.OPEN

    def _returns(self, scope: Scope, at: int) -> Incident | None:
        """The incident of which a surge is the next episode now."""
        old = self._incidents.get(scope)
        return old if old is not None and at < (old.resolved or 0) + self._reopen_ms else None

    def _follow(self, incident: Incident, evidence: dict[Scope, float], at: int, said: _Said) -> None:
        """Is there news of an open incident?"""
        now = evidence.get(incident.scope, 0.0)
        cell = self._cells[incident.scope]
        joined = {feed.source for feed in cell.feeds if feed.now(at, self._silent) >= self.rule.close_at}
        calm = None
        stale = self._is_stale(incident)
        sums = self._sums(incident)
        over = now < self.rule.close_at or self._is_back(incident) or _is_within(incident, sums, at)
        if over and not stale:
            calm = at if incident.calm is None else incident.calm
        more = joined - set(incident.sources)
        incident = replace(
            incident,
            sources=tuple(sorted({*incident.sources, *joined})),
            evidence=max(incident.evidence, now),
            calm=calm,
        )
        if more:
            sums = self._sums(incident)
        weight = self._weight(incident, sums)
        if calm is not None and at >= calm + self._close_after_ms and not self._waits(incident, calm, at):
            self._say(replace(incident, resolved=at, resolution=Resolution.OVER), State.RESOLVED, at, said)
        elif calm is None and not stale and incident.parent is None and at >= incident.detected + self._accept_after_ms:
            for each in words.family(incident, self._incidents.values()):
                self._end(each, Resolution.ACCEPTED, at, said)
        elif (
            at >= incident.sent + self._update_ms
            or sums.observed - sums.expected >= 2 * max(incident.excess, DOUBLES_FROM)
            or _RANK[weight.severity] > _RANK[incident.severity]
            or stale != incident.stale
            or self._planned(incident, at) != incident.maintenance
            or (self._ours.news and self._contacts_changed(incident, sums))
            or (calm is None and self._calls(incident, weight.severity, at))
        ):
            self._say(incident, State.UPDATE, at, said)
        else:
            self._keep(incident)

    def _waits(self, incident: Incident, calm: int, at: int) -> bool:
        """Whether a calm incident goes on because what it explains does."""
        restless = sum(
            each.parent == incident.id
            and each.resolved is None
            and each.calm is None
            and scope in self._loud
            and within(scope, incident.scope)
            for scope, each in self._incidents.items()
        )
        return restless > 1 or (restless == 1 and at < calm + OUTLIVE_MS)

    def _is_stale(self, incident: Incident) -> bool:
        """Whether all sources that show it are silent: nobody knows whether it goes on."""
        return all(source in self._silent for source in incident.sources)

    def _is_back(self, incident: Incident) -> bool:
        """Whether all sources that show it show that it is over, though their detectors are not sure yet."""
        feeds = [feed for feed in self._cells[incident.scope].feeds if feed.source in incident.sources]
        return all(feed.is_back for feed in feeds)

    def _sums(self, incident: Incident) -> Sums:
        sums = Sums()
        if incident.scope[0] == FEED:
            return Sums(0, incident.excess)
        for feed in self._cells[incident.scope].feeds:
            if feed.source in incident.sources:
                sums = sums.also(feed.sums(incident.started))
        return sums

    def _weight(self, incident: Incident, sums: Sums) -> Weight:
        """How bad it is: that never drops within an episode, nor does it rise while the incident is silenced."""
        if incident.scope[0] == FEED:
            return Weight(self._feed_severity(incident), (f"no report, where {incident.excess:.0f} were expected",))
        if incident.maintenance is not None:
            return Weight(incident.severity, incident.reasons or ("it was planned",))
        until = max((f.until for f in self._cells[incident.scope].feeds if f.source in incident.sources), default=0)
        seconds = (until - incident.started) / 1000
        now = weigh(
            self.rule,
            observed=sums.observed,
            expected=sums.expected,
            seconds=seconds,
            breadth=incident.breadth,
        )
        if incident.reasons and _RANK[now.severity] < _RANK[incident.severity]:
            now = Weight(incident.severity, incident.reasons)
        if now.severity in PAGING and self._catalogue.is_minor(incident.scope):
            return Weight(Severity.WARNING, ("the service is minor", *now.reasons))
        return now

    def _muted(self, incident: Incident, at: int) -> Muted | None:
        return self._catalogue.muted(incident.scope, kind_of(incident.scope), since=incident.detected, at=at)

    def _planned(self, incident: Incident, at: int) -> str | None:
        """Title of the maintenance that silences an incident: its last bucket lies within, and nobody was called.

        When the maintenance is over it is silenced until what came since shows a surge by itself.
        """
        if not self._maintenance or incident.scope[0] == FEED or incident.paged == incident.episode:
            return None
        feeds = [feed for feed in self._cells[incident.scope].feeds if feed.source in incident.sources]
        if not feeds:
            return incident.maintenance
        last = max(feeds, key=lambda feed: (feed.until, feed.source))
        parts = (scope for scope in self._cells if not is_rollup(*scope) and within(scope, incident.scope))
        title = self._maintenance.title(*incident.scope, last.start, last.until, parts)
        if title is None and incident.maintenance is not None:
            inside = [self._cells[scope] for scope in self._hot if within(scope, incident.scope)]
            since = max((cell.evidence(at, self._silent) for cell in inside), default=0.0)
            return None if since >= self.rule.open_at else incident.maintenance
        return title

    def _calls(self, incident: Incident, worse: Severity, at: int) -> bool:
        """Whether a record of an open incident is the episode's page now."""
        return (
            asks(incident)
            and worse in PAGING
            and incident.paged != incident.episode
            and self._muted(incident, at) is None
        )

    def _say(self, incident: Incident, state: State, at: int, said: _Said, word: Word | None = None) -> None:
        """Send the next record of an incident. word: what somebody said that leads to it."""
        sums = self._sums(incident)
        incident = replace(incident, maintenance=self._planned(incident, at))
        if self._looked_at is not None and incident.scope in self._looked_at[1]:
            table, chosen = self._looked_at
            incident = replace(incident, verdict=table.verdict(incident.scope, chosen))
        weight = self._weight(incident, sums)
        if state is not State.RESOLVED and self._calls(incident, weight.severity, at):
            self.pages = self.pages.paged(at)
            incident = replace(incident, paged=incident.episode)
        incident = replace(
            incident,
            sequence=incident.sequence + 1,
            severity=weight.severity,
            reasons=weight.reasons,
            stale=self._is_stale(incident),
            sent=at,
            excess=incident.excess if incident.scope[0] == FEED else sums.observed - sums.expected,
        )
        contacts = self._contacts(incident, sums)
        if contacts is not None:
            incident = replace(incident, contacts=(contacts.extra, contacts.explained is not None))
        self._keep(incident)
        cell = self._cells.get(incident.scope, Cell(*incident.scope))
        said.append((incident, tell(incident, cell, state, sums, at, self._beside(incident, contacts, word, at))))

    def _contacts(self, incident: Incident, sums: Sums) -> Contacts | None:
        """What our contact centres have to do with an incident."""
        service = incident.scope[0]
        if self._ours.is_contacts(service):
            return self._most_explained(self._incidents.values())
        return self._contacts_about(incident, sums)

    def _contacts_about(self, incident: Incident, sums: Sums | None = None) -> Contacts | None:
        """What they have to do with somebody else's incident; None for any other."""
        if incident.parent is not None or not self._ours.concerns(incident.scope[0]):
            return None
        sums = sums or self._sums(incident)
        ratio = sums.observed / sums.expected if sums.expected > 0 else None
        service = incident.scope[0]
        called = self._catalogue.called(service)
        return self._ours.about(Other(incident.id, service, incident.names.service, called, incident.started, ratio))

    def _most_explained(self, incidents: Iterable[Incident]) -> Contacts | None:
        """Of these incidents, what contacts have to do with the one that explains most of the extra ones."""
        found = [contacts for each in incidents if (contacts := self._contacts_about(each)) is not None]
        return max(found, key=lambda each: (each.explained or 0.0, each.cause), default=None)

    def _cause_of_contacts(self, scope: Scope) -> str | None:
        """The open incident of somebody else that most of what surges in `scope` is about, if that are our contacts."""
        if not self._ours.is_contacts(scope[0]):
            return None
        contacts = self._most_explained(each for each in self._incidents.values() if each.resolved is None)
        return contacts.cause if contacts is not None and _explains_most(contacts) else None

    def _explains_contacts(self, incident: Incident, scope: Scope) -> bool:
        """Whether what surges in `scope` are our contacts, and most of the extra ones are about this incident."""
        return self._ours.is_contacts(scope[0]) and _explains_most(self._contacts_about(incident))

    def _contacts_changed(self, incident: Incident, sums: Sums) -> bool:
        """Whether there is news of contacts that somebody would act on."""
        contacts = self._contacts_about(incident, sums)
        if contacts is None:
            return False
        extra, told = incident.contacts or (0.0, True)
        return contacts.extra >= 2 * max(extra, DOUBLES_FROM) or (contacts.explained is not None) != told

    def _beside(self, incident: Incident, contacts: Contacts | None, word: Word | None, at: int) -> Beside:
        """What else explains an incident to people."""
        scope, started = incident.scope, incident.started
        regions: list[Part] = []
        services: list[Part] = []
        if scope[0] == ALL:
            services = top_services(scope, self._cells.values(), started)
        elif is_rollup(*scope):
            regions = top_regions(scope, self._cells.values(), started)
        return Beside(
            regions=regions,
            services=services,
            earlier=list(self._history.get(scope, ())),
            contacts=contacts,
            about=self._catalogue.about(scope),
            muted=self._muted(incident, at),
            word=word,
        )

    def _keep(self, incident: Incident) -> None:
        self._incidents[incident.scope] = incident
        if incident.resolved is not None:
            self._schedule(incident.resolved + self._reopen_ms)
            return
        self._schedule(incident.sent + self._update_ms)
        self._schedule(incident.detected + self._accept_after_ms)
        for until in self._catalogue.mute_ends(incident.scope, kind_of(incident.scope)):
            self._schedule(until)
        if incident.muted is not None and incident.muted.until is not None:
            self._schedule(millis(incident.muted.until))
        if incident.calm is not None:
            self._schedule(incident.calm + self._close_after_ms)
            self._schedule(incident.calm + OUTLIVE_MS)

    @property
    def _close_after_ms(self) -> int:
        return round(self.rule.close_after_seconds * 1000)

    @property
    def _accept_after_ms(self) -> int:
        return round(self.rule.accept_after_seconds * 1000)

    @property
    def _reopen_ms(self) -> int:
        return round(self.rule.reopen_seconds * 1000)

    @property
    def _update_ms(self) -> int:
        return round(self.rule.update_seconds * 1000)

    # ---- snapshots

    def to_state(self) -> bytes:
        """Everything that the judge knows: `from_state` goes on from there as if nothing had happened."""
        return _encode_state(
            JudgeState(
                version=STATE_VERSION,
                reached=self._reached,
                cells=[self._cells[scope] for scope in sorted(self._cells)],
                hot=sorted(self._hot),
                incidents=[self._incidents[scope] for scope in sorted(self._incidents)],
                silent=[self._silent[source] for source in sorted(self._silent)],
                explained=sorted(self._explained),
                refused=sorted(self._refused),
                loud=sorted(self._loud),
                held=[
                    (at, sorted(held.rows, key=_by_series), sorted(held.silent, key=_by_source))
                    for at, held in sorted(self._held.items())
                ],
                history=list(self._history.items()),
                ledger=list(self._ours.ledger.courses.items()),
                times=sorted(self._scheduled),
                at=self._at,
                swept=self._swept,
                not_opened=self.not_opened,
                pages=self.pages,
                quelled=sorted(self._quelled.items()),
                heeded=list(self._heeded),
            )
        )

    @classmethod
    def from_state(
        cls, rule: IncidentRule, partitions: int, state: bytes, around: Surroundings = NOTHING_AROUND
    ) -> Self:
        """The judge that `to_state` described. ValueError where the data is no such state.

        Mismatch where it has another version or number of partitions.
        """
        try:
            check_version(_decode_version(state).version, STATE_VERSION)
            saved = _decode_state(state)
        except msgspec.MsgspecError as error:
            raise ValueError(f"no state of a judge: {error}") from error
        if len(saved.reached) != partitions:
            raise Mismatch(
                f"the state was made for {len(saved.reached)} partitions of report-counts, "
                f"the settings say {partitions}"
            )
        judge = cls(rule, partitions, around)
        judge._ours.ledger = Ledger(dict(saved.ledger))
        judge.not_opened, judge.pages = saved.not_opened, saved.pages
        judge._reached = saved.reached
        judge._cells = {cell.scope: cell for cell in saved.cells}
        judge._hot = set(saved.hot)
        judge._incidents = {incident.scope: incident for incident in saved.incidents}
        judge._silent = {silent.source: silent for silent in saved.silent}
        judge._explained, judge._refused = set(saved.explained), set(saved.refused)
        judge._loud = set(saved.loud)
        judge._held = {at: _Held(rows, silent) for at, rows, silent in saved.held}
        judge._history = dict(saved.history)
        judge._scheduled = set(saved.times)
        judge._times = list(saved.times)
        judge._at, judge._swept = saved.at, saved.swept
        judge._quelled = dict(saved.quelled)
        judge._heeded = dict.fromkeys(saved.heeded)
        return judge


def _explains_most(contacts: Contacts | None) -> bool:
    """Whether an incident explains most of our extra contacts."""
    return contacts is not None and (contacts.explained or 0.0) >= HALF


def _is_within(incident: Incident, sums: Sums, at: int) -> bool:
    """Whether an episode of some length brought no more than usual: its evidence is what an older one left."""
    return at >= incident.started + LOOK_BACK_MS and sums.observed <= sums.expected + math.sqrt(sums.up)


def _worst_first(incident: Incident) -> tuple[object, ...]:
    return incident.parent is not None, -_RANK[incident.severity], -incident.excess, incident.scope


def _by_source(silent: Silent) -> str:
    return silent.source


def _by_series(row: SurgeRow) -> tuple[object, ...]:
    return (row.series, row.start, row.closed)

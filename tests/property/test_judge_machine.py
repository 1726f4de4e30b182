"""What holds for a judge whatever it is told, minute by minute, and wherever it is stopped and started again."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from detectors import alert as alerts_topic
from detectors.alert import Alert, Pager, State, place
from detectors.command import Action, Command
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.series import Names, Series
from detectors.silence import Silent
from detectors.surges import Recent, SurgeRecord, SurgeRow, Tick
from detectors.verdict import Scope

BEGIN = 1_666_681_440_000
BUCKET = 60_000
TICK = 10_000
LATENESS = 3_000
SOURCES = ("calls", "site")
SERVICES = ("signal", "whatsapp")
REGIONS = ("it/lazio", "it/veneto", "us/ny")
CELLS = [(service, region) for service in SERVICES for region in REGIONS]
ROLLUPS = [
    *[(service, region) for service in SERVICES for region in ("it/*", "us/*", "*")],
    *[("*", region) for region in (*REGIONS, "it/*", "us/*", "*")],
]
#: Reports that are usual in a minute, of a series and of a roll-up.
USUAL, USUAL_WIDE = 5.0, 15.0
# Short times, so that incidents open, end, outlive each other and come back within few ticks.
RULE = IncidentRule(close_after_seconds=60, reopen_seconds=600, update_seconds=120)

#: What changes an incident and ends none.
SPOKEN_FOR = (Action.ACK, Action.MUTE, Action.UNMUTE)

evidences = st.sampled_from([-1.0, 0.3, 0.7, 1.5, 2.5, 9.0, 40.0])
counts = st.sampled_from([0, 3, 5, 9, 30, 200])
sources = st.sampled_from(SOURCES)
scopes = st.sampled_from(CELLS + ROLLUPS)
surges = st.dictionaries(scopes, st.tuples(evidences, counts), max_size=5)


class Judged(RuleBasedStateMachine):
    """Two judges that are told the same; the second is saved and restored now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.judge, self.restored = Judge(RULE, 1), Judge(RULE, 1)
        self.pager, self.paged = Pager(), 0
        self.tick = 0
        self.onsets: dict[tuple[str, Scope], int] = {}
        self.silent: dict[str, int] = {}
        self.last: dict[str, Alert] = {}
        self.commands: list[Command] = []
        self.false_alarms = 0

    # What is seen

    @initialize(source=sources)
    def all_is_calm(self, source: str) -> None:
        self._minute({source: {}})

    @rule(source=sources, seen=surges)
    def minute(self, source: str, seen: dict[Scope, tuple[float, int]]) -> None:
        self._minute({source: seen})

    @rule(source=sources, seen=surges, number=st.integers(2, 6))
    def lasting(self, source: str, seen: dict[Scope, tuple[float, int]], number: int) -> None:
        for _ in range(number):
            self._minute({source: seen})

    @rule(seen=surges, also_seen=surges)
    def minute_of_both_sources(
        self, seen: dict[Scope, tuple[float, int]], also_seen: dict[Scope, tuple[float, int]]
    ) -> None:
        self._minute({"calls": seen, "site": also_seen})

    @rule(source=sources, service=st.sampled_from(SERVICES), number=st.integers(1, 20))
    def service_down(self, source: str, service: str, number: int) -> None:
        down = {cell: (4.0, 30) for cell in CELLS if cell[0] == service} | {(service, "*"): (9.0, 90)}
        for _ in range(number):
            self._minute({source: down})

    @rule(source=sources, region=st.sampled_from(REGIONS), number=st.integers(1, 20))
    def region_dark(self, source: str, region: str, number: int) -> None:
        dark = {cell: (4.0, 30) for cell in CELLS if cell[1] == region} | {("*", region): (9.0, 60)}
        for _ in range(number):
            self._minute({source: dark})

    @rule(source=sources, scope=st.sampled_from(CELLS), number=st.integers(1, 20))
    def one_series_down(self, source: str, scope: Scope, number: int) -> None:
        for _ in range(number):
            self._minute({source: {scope: (9.0, 60)}})

    @rule(source=sources, seen=surges.filter(bool))
    def early_fire(self, source: str, seen: dict[Scope, tuple[float, int]]) -> None:
        """A tick in the middle of the bucket, which is not closed before its end."""
        start = BEGIN + self.tick * TICK
        early, late = self.tick + 2, self.tick + 6
        rows = [self._row(source, scope, *values, start, closed=False) for scope, values in sorted(seen.items())]
        self._tell([Tick(BEGIN + early * TICK + LATENESS, rows, [])], early)
        rows = [self._row(source, scope, *values, start, closed=True) for scope, values in sorted(seen.items())]
        self._tell([Tick(BEGIN + late * TICK + LATENESS, rows, [])], late)

    @rule(source=sources, number=st.integers(1, 8), evidence=st.sampled_from([0.5, 2.0, 9.0]))
    def source_is_silent(self, source: str, number: int, evidence: float) -> None:
        for _ in range(number):
            since = self.silent.setdefault(source, BEGIN + self.tick * TICK)
            start = BEGIN + self.tick * TICK
            missed = (start + BUCKET - since) / BUCKET * 10
            self._close([], [Silent(source, since, start, 60, missed, evidence, False)])

    @precondition(lambda self: bool(self.silent))
    @rule()
    def silent_source_is_back(self) -> None:
        start = BEGIN + self.tick * TICK
        back = [Silent(source, start, start, 60, 0.0, 0.0, True) for source in sorted(self.silent)]
        self.silent.clear()
        self._close([], back)

    @rule(minutes=st.sampled_from([1, 3, 15, 30]))
    def gap(self, minutes: int) -> None:
        """Nothing is told for a while, though time goes on."""
        self._tell([], self.tick + 6 * minutes)

    # What people say

    @rule(action=st.sampled_from(list(Action)), number=st.integers(0, 50), minutes=st.sampled_from([None, 1, 4, 30]))
    def somebody_says(self, action: Action, number: int, minutes: int | None) -> None:
        """Of some incident, open or not, the latest most likely."""
        ids = [*self.last, "nobody"]
        command = Command(
            id=f"c-{len(self.commands)}",
            action=action,
            incident=ids[-1 - min(number, len(ids) - 1)],
            by="maria",
            at=BEGIN,
            for_seconds=minutes * 60 if minutes is not None and action is Action.MUTE else None,
        )
        self.commands.append(command)
        before = self.last.get(command.incident)
        is_open = before is not None and before.state is not State.RESOLVED
        paged = {id for id, alert in self.last.items() if self.pager._paged.get(id) == alert.episode}
        told = self._heed(command)
        assert bool(told) == is_open
        if is_open:
            first, *parts = told
            assert first.id == command.incident
            assert {each.word for each in told} == {command.word}
            assert {each.state for each in told} == {State.UPDATE if action in SPOKEN_FOR else State.RESOLVED}
            assert (first.acknowledged is not None) >= (action is Action.ACK)
            assert (first.muted is not None) >= (action is Action.MUTE)
            assert not (first.muted is not None and action is Action.UNMUTE)
            assert all(each.parent is not None for each in parts)
        if action is Action.FALSE_ALARM:
            self.false_alarms += sum(each.id in paged for each in told)

    @precondition(lambda self: bool(self.commands))
    @rule(back=st.integers(0, 20))
    def worker_forwards_a_command_again(self, back: int) -> None:
        before = self.judge.to_state()
        assert self._heed(self.commands[-1 - min(back, len(self.commands) - 1)]) == []
        assert self.judge.to_state() == before

    @rule()
    def restart(self) -> None:
        self.restored = Judge.from_state(RULE, 1, self.restored.to_state())

    # What holds

    @invariant()
    def judges_are_in_the_same_state(self) -> None:
        assert self.judge.to_state() == self.restored.to_state()

    @invariant()
    def open_incidents_are_those_told_of(self) -> None:
        open_now = [alert for alert in self.last.values() if alert.state is not State.RESOLVED]
        assert sum(self.judge.open_by_severity().values()) == len(open_now)
        assert len({(alert.kind, *place(alert)) for alert in open_now}) == len(open_now)

    @invariant()
    def judge_keeps_count_of_the_pages(self) -> None:
        assert sum(pages for _, pages in self.judge.pages.hours) == self.paged
        assert sum(pages for _, pages in self.judge.pages.false) == self.false_alarms

    def _told(self, alert: Alert) -> None:
        before = self.last.get(alert.id)
        assert alert.sequence == (before.sequence if before else 0) + 1
        assert (alert.state is State.OPEN) == (before is None)
        if before is not None:
            # A resolved incident goes on with its next episode only; an open one stays in its own.
            assert alert.episode == before.episode + (before.state is State.RESOLVED)
            assert alert.updated_at >= before.updated_at
            assert alert.state is not State.RESOLVED or before.state is not State.RESOLVED
        if alert.parent is not None:
            assert alert.parent in self.last
            assert alert.parent != alert.id
        assert alert.started_at <= alert.detected_at <= alert.updated_at
        pages = self.pager.pages(alert)
        assert not (pages and (alert.parent or alert.acknowledged or alert.muted))
        assert (alert.resolution is not None) == (alert.state is State.RESOLVED)
        self._holds_what_was_said(before, alert)
        self.paged += pages
        self.last[alert.id] = alert

    def _holds_what_was_said(self, before: Alert | None, alert: Alert) -> None:
        """Only a new episode ends an acknowledgement; only its time, and a command, ends a mute."""
        if before is None or alert.word is not None:
            return
        same = alert.episode == before.episode
        assert alert.acknowledged == (before.acknowledged if same else None)
        if before.muted is None or before.muted.until is None or before.muted.until > alert.updated_at:
            assert alert.muted == before.muted
        else:
            assert alert.muted is None

    # How it is told

    def _minute(self, seen: dict[str, dict[Scope, tuple[float, int]]]) -> None:
        """A bucket of some sources: all series and roll-ups, as usual but for what is seen. Silent ones say nothing."""
        start = BEGIN + self.tick * TICK
        rows = []
        for source in sorted(seen.keys() - self.silent.keys()):
            calm = dict.fromkeys(CELLS, (-1.0, 5)) | dict.fromkeys(ROLLUPS, (-1.0, 15))
            for scope, values in sorted((calm | seen[source]).items()):
                rows.append(self._row(source, scope, *values, start, closed=True))
        self._close(rows, [])

    def _close(self, rows: list[SurgeRow], silent: list[Silent]) -> None:
        until = self.tick + 6
        self._tell([Tick(BEGIN + until * TICK + LATENESS, rows, silent)], until)

    def _tell(self, ticks: list[Tick], until: int) -> None:
        record = SurgeRecord(0, 1, BEGIN + until * TICK + LATENESS, ticks)
        self.tick = until
        alerts = self.judge.apply(record)
        assert [alerts_topic.encode(alert) for alert in self.restored.apply(record)] == [
            alerts_topic.encode(alert) for alert in alerts
        ]
        for alert in alerts:
            self._told(alert)

    def _heed(self, command: Command) -> list[Alert]:
        alerts = self.judge.heed(command)
        assert self.restored.heed(command) == alerts
        for alert in alerts:
            self._told(alert)
        return alerts

    def _row(self, source: str, scope: Scope, evidence: float, observed: int, start: int, *, closed: bool) -> SurgeRow:
        if evidence <= 0:
            self.onsets.pop((source, scope), None)
            onset = 0
        else:
            onset = self.onsets.setdefault((source, scope), start)
        expected = (USUAL if scope in CELLS else USUAL_WIDE) / (1 if closed else 3)
        first = Recent(60, start, [5] * 20, [5.0] * 20, [1.0] * 20, [9.0] * 20)
        return SurgeRow(
            series=Series(source, *scope),
            names=Names(*scope),
            evidence=evidence,
            onset=onset,
            start=start,
            closed=closed,
            observed=observed,
            expected=expected,
            low=max(0.0, expected - 4.0),
            high=expected + 4.0,
            recent=first if start == BEGIN else None,
        )


TestJudge = Judged.TestCase
TestJudge.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)

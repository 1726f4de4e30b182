"""Trial: judges with different thresholds side by side, to see what each would have paged for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from detectors.alert import FEED, Alert, Pager, State, millis, place
from detectors.budget import WEEK_MS, Choice, choose
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.local_time import HOUR_MS
from detectors.rules import Rules
from detectors.surges import SurgeRecord
from detectors.verdict import Scope, overlap

#: Thresholds that are tried: evidence is on a logarithmic scale, and a tenth more or less is no difference that one
#: could measure; far up there is little to tell apart.
# fmt: off
LADDER = (
    1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, 3.2, 3.4,
    3.6, 3.8, 4.0, 4.2, 4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6, 5.8, 6.0, 6.2, 6.4, 6.6, 6.8, 7.0, 7.2, 7.4, 7.6, 7.8, 8.0,
    8.2, 8.4, 8.6, 8.8, 9.0, 9.5, 10.0, 10.5, 11.0, 12.0, 13.0, 15.0,
)
# fmt: on


def thresholds(rule: IncidentRule) -> tuple[float, ...]:
    """The thresholds to try under a rule, rising: the ladder and the rule's own.

    All lie above close_at, so that open_at is all there is to change.

    >>> thresholds(IncidentRule(open_at=1.35))[:6]
    (1.0, 1.1, 1.2, 1.3, 1.35, 1.4)
    """
    return tuple(sorted({rule.open_at, *(each for each in LADDER if each > rule.close_at)}))


class Lost(msgspec.Struct, frozen=True):
    """An episode that a threshold does not page for. excess: reports beyond the usual. started_at: RFC 3339."""

    excess: float
    started_at: str
    summary: str


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """What a threshold gives, and what it costs against the lowest one.

    pages, incidents: how many, of which pages are those that wake somebody. lost: episodes that the lowest threshold
    pages for and this one does not; biggest: of these. late: that both page for, this one later.
    delay, worst: how much later, seconds; the median of all that both page for, and the most.
    """

    threshold: float
    pages: int
    incidents: int
    lost: int
    biggest: Lost | None
    late: int
    delay: float
    worst: float


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a trial came to. weeks: of event time that counts. marks: see `Trial`. trades: by rising threshold."""

    weeks: float
    marks: list[float]
    trades: list[Trade]

    def trade(self, threshold: float) -> Trade:
        """What one of the thresholds gave."""
        return next(trade for trade in self.trades if trade.threshold == threshold)

    def choose(self, budget: float) -> Choice:
        """The threshold for a budget of pages a week."""
        return choose(
            budget=budget,
            weeks=self.weeks,
            thresholds=[trade.threshold for trade in self.trades],
            pages=[trade.pages for trade in self.trades],
            marks=self.marks,
        )


class _Tally:
    """What one judge said."""

    def __init__(self) -> None:
        self.pager = Pager()
        self.pages = 0
        self.incidents = 0
        self.lost = 0
        self.biggest: Lost | None = None
        # Seconds after the lowest threshold's page: a few thousand numbers at most, however long the history.
        self.delays: Counter[int] = Counter()


class _Episode:
    """An episode of the judge with the lowest threshold. Every other judge's overlaps one of these."""

    def __init__(self, alert: Alert) -> None:
        self.last = alert
        # Event time of each judge's page.
        self.paged: dict[int, int] = {}

    def was_open(self, at: int) -> bool:
        """Whether it was open at an event time, ms, or was resolved then."""
        resolved = self.last.resolved_at
        return millis(self.last.detected_at) <= at and (resolved is None or at <= millis(resolved))


class Trial:
    """A judge for each threshold, all of which are told exactly what the workers would tell it.

    Detection has to run with `rules` of this object: its news are those of all thresholds. Pages in the first
    warming_hours are not counted, for baselines are young then.
    marks: the most evidence of each episode that the lowest threshold pages for.
    """

    def __init__(self, rules: Rules, tried: Sequence[float]) -> None:
        """tried: thresholds, rising, all above close_at; one at least."""
        self.rules = replace(rules, incidents=replace(rules.incidents, open_at=tried[0]))
        self.thresholds = tuple(tried)
        # That an incident goes on is no page, and to say so is most of a judge's work.
        rule = replace(rules.incidents, update_seconds=86_400.0)
        around = rules.surroundings()
        self._judges = [Judge(replace(rule, open_at=each), rules.partitions, around) for each in tried]
        self._tallies = [_Tally() for _ in tried]
        # Those that are open, by id and number: one may be resolved and back within a record.
        self._episodes: dict[tuple[str, int], _Episode] = {}
        self._over: list[tuple[str, int]] = []
        self._marks: list[float] = []
        # Where each partition began. Before each of them did, nothing is judged.
        self._began: dict[int, int] = {}
        self._counts_from = 0

    @property
    def through(self) -> int:
        """Event time up to which everything is judged, ms."""
        return self._judges[0].through

    @property
    def weeks(self) -> float:
        """Of event time that counts."""
        return max(0.0, (self.through - self._counts_from) / WEEK_MS) if self._counts_from else 0.0

    def apply(self, record: SurgeRecord) -> list[list[Alert]]:
        """The alerts of each judge that this record makes due, by rising threshold, regular updates left out."""
        self._began.setdefault(record.partition, record.through)
        said = [judge.apply(record) for judge in self._judges]
        if not self._counts_from and self.through > 0:
            self._counts_from = min(self._began.values()) + round(self.rules.surge.warming_hours * HOUR_MS)
        for number, alerts in enumerate(said):
            for alert in alerts:
                self._note(number, alert)
        self._settle()
        return said

    def _note(self, number: int, alert: Alert) -> None:
        """The lowest threshold's alerts of a record come first: its episodes are there before what overlaps them."""
        tally, at = self._tallies[number], millis(alert.updated_at)
        pages, begins = tally.pager.pages(alert), alert.detected_at == alert.updated_at
        if at >= self._counts_from:
            tally.pages += pages
            tally.incidents += begins
        if number == 0:
            key = alert.id, alert.episode
            episode = self._episodes.setdefault(key, _Episode(alert))
            episode.last = alert
            if alert.state is State.RESOLVED:
                self._over.append(key)
            if pages:
                episode.paged[0] = at
        elif pages:
            # What is one incident to this judge may be several to the lowest threshold's, or a part of one.
            for episode in self._episodes.values():
                if episode.was_open(at) and _meet(place(alert), place(episode.last)):
                    episode.paged.setdefault(number, at)

    def _settle(self) -> None:
        """Put the episodes that are over to the account of each threshold, and forget them."""
        for each in self._over:
            self._account(self._episodes.pop(each), self._tallies, self._marks)
        self._over.clear()

    def _account(self, episode: _Episode, tallies: Sequence[_Tally], marks: list[float]) -> None:
        first, last = episode.paged.get(0), episode.last
        if first is None or first < self._counts_from:
            return
        marks.append(last.evidence)
        for number, tally in enumerate(tallies):
            paged = episode.paged.get(number)
            if paged is not None:
                tally.delays[max(0, paged - first) // 1000] += 1
                continue
            tally.lost += 1
            excess = last.observed - last.expected
            if tally.biggest is None or excess > tally.biggest.excess:
                tally.biggest = Lost(excess, last.started_at, last.summary)

    def found(self) -> Found:
        """What it came to so far; episodes that go on are taken as they are."""
        marks, tallies = list(self._marks), [_Tally() for _ in self._tallies]
        for now, tally in zip(tallies, self._tallies, strict=True):
            now.pages, now.incidents, now.lost, now.biggest = tally.pages, tally.incidents, tally.lost, tally.biggest
            now.delays = Counter(tally.delays)
        for episode in self._episodes.values():
            self._account(episode, tallies, marks)
        trades = [_trade(each, tally) for each, tally in zip(self.thresholds, tallies, strict=True)]
        return Found(weeks=self.weeks, marks=marks, trades=trades)


def _meet(one: Scope, other: Scope) -> bool:
    """Whether two incidents may be of one outage. A silent source is none of the services."""
    return one == other if FEED in (one[0], other[0]) else overlap(one, other)


def _trade(threshold: float, tally: _Tally) -> Trade:
    return Trade(
        threshold=threshold,
        pages=tally.pages,
        incidents=tally.incidents,
        lost=tally.lost,
        biggest=tally.biggest,
        late=sum(number for delay, number in tally.delays.items() if delay > 0),
        delay=_median(tally.delays),
        worst=float(max(tally.delays, default=0)),
    )


def _median(values: Counter[int]) -> float:
    """The lower median of counted values; 0 of none."""
    half, seen = (values.total() + 1) // 2, 0
    for value in sorted(values):
        seen += values[value]
        if seen >= half:
            return float(value)
    return 0.0

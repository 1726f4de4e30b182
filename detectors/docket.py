"""Docket: the incidents that have to do with one place around one time, put together from all alerts of a run."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from detectors.alert import Alert, Kind, Pager, Severity, State, millis, place, title
from detectors.episodes import Place
from detectors.verdict import overlap, within
from detectors.witness import Question

#: Records that are kept to show what was said when.
MOST_SAID = 5_000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An episode as its records up to the end of the question tell of it.

    first, last: its first and latest record; then: its latest at the time that is asked about, None before the first.
    paged: the record that was a page. raised: when it got which severity, ms. spanned: since when it was said to span
    which place, ms, with the title: one that turned out to be wider or narrower has several.
    """

    first: Alert
    last: Alert
    then: Alert | None
    paged: Alert | None
    raised: tuple[tuple[int, Severity], ...]
    spanned: tuple[tuple[int, Place, str], ...]

    @property
    def id(self) -> str:
        return self.last.id

    @property
    def place(self) -> Place:
        return self.spanned[-1][1]

    @property
    def kind(self) -> Kind:
        return self.last.kind

    @property
    def started(self) -> int:
        """Its onset, as it was estimated last, ms."""
        return millis(self.last.started_at)

    @property
    def detected(self) -> int:
        return millis(self.first.updated_at)

    @property
    def resolved(self) -> int | None:
        return None if self.last.resolved_at is None else millis(self.last.resolved_at)

    def open_between(self, begin: int, end: int) -> bool:
        """Whether it went on at some time in [begin, end], ms, its onset counted in."""
        return self.started <= end and (self.resolved is None or self.resolved >= begin)

    def is_of(self, asked: Place) -> bool:
        """Whether it was said to span just this place at some time."""
        return any(each == asked for _, each, _ in self.spanned)

    def is_wider(self, asked: Place) -> bool:
        return any(within(asked, each) and each != asked for _, each, _ in self.spanned)


class Docket:
    """Takes all alerts of a run in their order. Grows with what is open at once, and with what `entries` gives.

    until: records after it are not heard, event time in ms. reopen_ms: what ended so long before the question's begin
    is forgotten.
    """

    def __init__(self, question: Question, *, until: int, reopen_ms: int) -> None:
        self._question = question
        self._until = until
        self._forget_ms = reopen_ms
        self._pager = Pager()
        self._entries: dict[tuple[str, int], Entry] = {}
        self.said: list[Alert] = []

    def apply(self, alert: Alert) -> None:
        """Take the next alert."""
        at = millis(alert.updated_at)
        if at > self._until:
            return
        paged = self._pager.pages(alert)
        key = alert.id, alert.episode
        entry = self._entries[key] = _with(self._entries.get(key), alert, at, paged, self._question.at)
        if alert.state is State.RESOLVED and (not self._matters(entry) or at < self._question.begin - self._forget_ms):
            del self._entries[key]
        elif at >= self._question.begin and self._matters(entry) and len(self.said) < MOST_SAID:
            self.said.append(alert)

    def entries(self) -> list[Entry]:
        """The episodes that span something of the place, or a silent feed, in the order of their first records."""
        return [entry for entry in self._entries.values() if self._matters(entry)]

    def _matters(self, entry: Entry) -> bool:
        if entry.kind is Kind.FEED:
            return True
        return any(overlap(self._question.place, each) for _, each, _ in entry.spanned)


def _with(entry: Entry | None, alert: Alert, at: int, paged: bool, asked: int) -> Entry:
    """The episode after its next record."""
    spans = (at, place(alert), title(alert))
    then = alert if at <= asked else None
    if entry is None:
        return Entry(
            first=alert,
            last=alert,
            then=then,
            paged=alert if paged else None,
            raised=((at, alert.severity),),
            spanned=(spans,),
        )
    return replace(
        entry,
        last=alert,
        then=then or entry.then,
        paged=alert if paged else entry.paged,
        raised=entry.raised if entry.raised[-1][1] is alert.severity else (*entry.raised, (at, alert.severity)),
        spanned=entry.spanned if entry.spanned[-1][1] == spans[1] else (*entry.spanned, spans),
    )

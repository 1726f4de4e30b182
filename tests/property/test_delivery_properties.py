"""Delivery under any course of failures, refusals, crashes and repeated records."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alert import Alert, Muted, State, utc
from detectors.delivery import Delivery, DeliveryRule, Dispatch, Manner, Standing, Told
from tests.made_alerts import NOON, outage

NOW = round(NOON * 1000)
MUTED = Muted(by="ada", reason="known", since="2022-10-25T12:00:00Z")
INHIBITS = Manner(parts=True, inhibits=True, changes=True, repeats=True, most=2)
MANNERS = st.sampled_from([Manner(), Manner(acknowledges=True), Manner(parts=True, quiet=True, changes=True), INHIBITS])
#: Incident and the one that explains it, which is one of those before it; itself: none does.
PLACES = [(number, parent) for number in range(4) for parent in range(number + 1)]
#: A record of an incident: its place, whether it ends, whether it is muted.
RECORDS = st.tuples(st.sampled_from(PLACES), st.sampled_from("ooe"), st.sampled_from("....m"))
#: What the destination does with what is due; between `begin` and that, more records may come.
DEEDS = st.sampled_from(["take", "take", "take", "begin", "lose", "fail", "cut", "crash", "wait"])
STEPS = st.lists(st.one_of(RECORDS, RECORDS, DEEDS), max_size=50)
Step = str | tuple[tuple[int, int], str, str]


class Destination:
    """What arrived: by incident and sequence the content, and what it says last of each incident.

    unanswered: incidents of which nobody knows what arrived last.
    """

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.contents: dict[tuple[str, int], Alert] = {}
        self.last: dict[str, Alert] = {}
        self.open: dict[str, Standing] = {}
        self.unanswered: set[str] = set()

    def receive(self, due: list[Delivery], *, answered: bool) -> None:
        for each in due:
            alert = each.alert
            (self.unanswered.discard if answered else self.unanswered.add)(alert.id)
            assert self.contents.setdefault((alert.id, alert.sequence), alert) == alert
            assert alert.sequence >= self.last.get(alert.id, alert).sequence, "it was told the past"
            self.last[alert.id] = alert
            if each.open:
                self.open[alert.id] = each.standing
            else:
                self.open.pop(alert.id, None)
        for id, standing in self.open.items() if self.manner.inhibits else ():
            if not self.unanswered.isdisjoint({id, standing.cause}):
                continue
            cause = self.open.get(standing.cause)
            assert cause is not None, f"nothing keeps {id} from calling somebody"
            assert not cause.explained, f"{id} is kept from nothing by what is explained itself"


class Course:
    """The log, the journal, and what carries one to the destination."""

    def __init__(self, manner: Manner) -> None:
        self.manner = manner
        self.now = NOW
        self.log: list[Alert] = []
        self.last: dict[str, Alert] = {}
        self.journal: dict[str, Told] = {}
        self.destination = Destination(manner)
        self.under_way: list[Delivery] = []
        self.desk = self.start()

    def start(self) -> Dispatch:
        self.under_way = []
        rule = DeliveryRule(page_within_seconds=0)
        self.desk = Dispatch("x", self.manner, rule, (), named=("x",), open_within_seconds=86_400, told=self.journal)
        for alert in self.log:
            self.desk.take(alert, self.now)
        self.desk.resume(self.now)
        return self.desk

    def record(self, number: int, ends: bool, parent: int, muted: bool) -> None:
        id = f"i{number}"
        before = self.last.get(id)
        if before is None and ends:
            return
        again = before is not None and before.state is State.RESOLVED
        alert = outage(
            id,
            sequence=1 if before is None else before.sequence + 1,
            episode=1 if before is None else before.episode + again,
            state=State.RESOLVED if ends and not again else State.UPDATE,
            parent=f"i{parent}" if parent < number and f"i{parent}" in self.last else None,
            muted=MUTED if muted else None,
            updated_at=utc(self.now),
        )
        self.last[id] = alert
        self.log.append(alert)
        self.desk.take(alert, self.now)

    def begin(self) -> bool:
        """What is due is on its way; whether anything is."""
        if not self.under_way:
            self.under_way = self.desk.due(self.now)
            self.journal |= {told.incident: told for told in self.desk.begin(self.under_way, self.now)}
        return bool(self.under_way)

    def finish(self, *, arrives: bool, answered: bool) -> None:
        due, self.under_way = self.under_way, []
        if arrives:
            self.destination.receive(due, answered=answered)
        if answered:
            self.journal |= {told.incident: told for told in (self.desk.taken(each, self.now) for each in due)}
        elif due:
            self.desk.failed(due, self.now, luck=0.5)

    def step(self, what: Step) -> None:
        self.now += 1_000
        match what:
            case (number, parent), course, muted:
                self.record(number, course == "e", parent, muted == "m")
            case "wait":
                self.now += 120_000
            case "begin":
                self.begin()
            case "crash":
                self.start()
            case "cut":
                self.begin()
                self.destination.receive(self.under_way, answered=False)
                self.start()
            case _:
                self.begin()
                self.finish(arrives=what != "fail", answered=what == "take")

    def end(self) -> None:
        """All that is due arrives, until nothing is."""
        self.finish(arrives=True, answered=True)
        self.now += 4_000_000
        for _ in range(200):
            if not self.begin():
                return
            self.finish(arrives=True, answered=True)
        raise AssertionError("it never ends")

    def cause(self, alert: Alert) -> Alert:
        while alert.parent is not None:
            alert = self.last[alert.parent]
        return alert


def played(manner: Manner, steps: list[Step]) -> Course:
    course = Course(manner)
    for each in steps:
        course.step(each)
    return course


@given(MANNERS, STEPS)
@settings(max_examples=400, deadline=None)
def test_the_last_state_of_each_incident_arrives_and_nothing_with_another_content(manner: Manner, steps: list[Step]):
    course = played(manner, steps)

    course.end()

    destination = course.destination
    for id, alert in course.last.items():
        told = destination.last.get(id)
        if alert.state is State.RESOLVED:
            assert id not in destination.open
        elif told is None:
            # Nobody shall be called for it, or for what explains it.
            assert not manner.quiet
            assert alert.muted or alert.parent is not None
        elif manner.inhibits and id in destination.open and id not in destination.unanswered:
            cause = course.cause(alert)
            assert destination.open[id].cause == cause.id
            assert cause.state is not State.RESOLVED
        if alert.state is not State.RESOLVED and alert.parent is None and not alert.muted:
            assert told is not None
            assert told.episode == alert.episode
            assert told == alert or not manner.changes
    assert course.desk.pending == 0


@given(MANNERS, STEPS)
@settings(max_examples=200, deadline=None)
def test_what_is_over_leaves_nothing_behind_but_what_was_told(manner: Manner, steps: list[Step]):
    course = played(manner, steps)
    course.finish(arrives=True, answered=True)

    for number, id in enumerate(sorted(course.last)):
        if course.last[id].state is not State.RESOLVED:
            course.record(int(id[1:]), True, number, False)
    course.end()
    course.end()  # the end of what is over was repeated for a while

    left = vars(course.desk)
    assert {name: left[name] for name in ("_last", "_parts", "_pending", "_repeat_at")} == {
        "_last": {},
        "_parts": {},
        "_pending": {},
        "_repeat_at": {},
    }

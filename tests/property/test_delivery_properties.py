"""Delivery under any course of failures, refusals, crashes and repeated records."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.alert import Alert, State, utc
from detectors.delivery import Action, DeliveryRule, Dispatch, Manner, Told
from tests.made_alerts import NOON, outage

NOW = round(NOON * 1000)
MANNERS = st.sampled_from(
    [
        Manner(),
        Manner(acknowledges=True),
        Manner(parts=True, quiet=True, changes=True),
        Manner(parts=True, inhibits=True, changes=True, repeats=True, most=3),
    ]
)
#: A step: a record of incident 0 to 2, open or resolved; or what the destination does with what is due.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(0, 2), st.booleans()),
        st.tuples(st.sampled_from(["take", "fail", "cut", "crash", "wait"]), st.just(0), st.just(False)),
    ),
    max_size=40,
)


def dispatch(manner: Manner, told: Mapping[str, Told]) -> Dispatch:
    rule = DeliveryRule(page_within_seconds=86_400)
    return Dispatch("x", manner, rule, (), named=("x",), open_within_seconds=86_400, told=told)


class Destination:
    """What arrived: by incident and sequence the content, and what it says last of each incident."""

    def __init__(self) -> None:
        self.contents: dict[tuple[str, int], Alert] = {}
        self.last: dict[str, Alert] = {}

    def receive(self, alert: Alert) -> None:
        assert self.contents.setdefault((alert.id, alert.sequence), alert) == alert
        assert alert.sequence >= self.last.get(alert.id, alert).sequence, "it was told the past"
        self.last[alert.id] = alert


@given(MANNERS, STEPS)
@settings(max_examples=300, deadline=None)
def test_the_last_state_of_each_incident_arrives_and_nothing_with_another_content(
    manner: Manner, steps: list[tuple[str, int, bool]]
):
    journal: dict[str, Told] = {}
    log: list[Alert] = []
    last: dict[str, Alert] = {}
    destination, desk, now = Destination(), dispatch(manner, journal), NOW

    def deliver(outcome: str) -> bool:
        due = desk.due(now)
        journal.update({each.alert.id: each.told(now, sure=False) for each in due if each.action is Action.OPEN})
        if outcome == "fail":
            if due:
                desk.failed(due, now, luck=0.5)
            return False
        for each in due:
            destination.receive(each.alert)
            if outcome == "take":
                journal[each.alert.id] = desk.taken(each, now)
        return bool(due)

    for what, number, ends in steps:
        now += 1_000
        match what:
            case "record":
                before = last.get(f"i{number}")
                if before is None and ends:
                    continue
                again = before is not None and before.state is State.RESOLVED
                alert = outage(
                    f"i{number}",
                    sequence=1 if before is None else before.sequence + 1,
                    episode=1 if before is None else before.episode + again,
                    state=State.RESOLVED if ends and not again else State.UPDATE,
                    detected_at=utc(now),
                    updated_at=utc(now),
                )
                last[alert.id] = alert
                log.append(alert)
                desk.take(alert, now)
            case "wait":
                now += 120_000
            case "crash" | "cut":
                if what == "cut":
                    deliver("cut")
                desk = dispatch(manner, dict(journal))
                for alert in log:
                    desk.take(alert, now)
                desk.resume(now)
            case _:
                deliver(what)

    now += 4_000_000
    for _ in range(100):
        if not deliver("take"):
            break
    else:
        raise AssertionError("it never ends")

    for id, alert in last.items():
        if alert.state is State.RESOLVED and id not in destination.last:
            continue  # it was over before it could be told
        told = destination.last[id]
        assert told.state is State.RESOLVED or alert.state is not State.RESOLVED
        assert told.episode == alert.episode
        if manner.changes:
            assert told == alert
    assert desk.pending == 0

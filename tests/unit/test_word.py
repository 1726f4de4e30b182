"""People's word: what becomes of incidents that are acknowledged, muted, resolved by hand or called false alarms."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest

from detectors.alert import FEED, Alert, Kind, Resolution, Severity, State
from detectors.cells import Cell
from detectors.command import Action, Command
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.series import Names, Series
from detectors.surges import Recent, SurgeRecord, SurgeRow, Tick
from detectors.verdict import Scope
from detectors.word import quelled, still_quelled
from tests.unit.test_judge import (
    BEGIN,
    LATENESS,
    LAZIO_DARK,
    LAZIO_WHATSAPP,
    MINUTE,
    REGIONS,
    USUAL,
    WHATSAPP_DOWN,
    Story,
    of,
    who,
)

SAID = 1_666_681_800_000
#: Reports a minute that are a warning at first and an error after some minutes.
FEW = 12

WIDE, LAZIO, VENETO, ALL_OF_LAZIO = ("whatsapp", "*"), ("whatsapp", "lazio"), ("whatsapp", "veneto"), ("*", "lazio")


class Told(Story):
    """A story in which people have a say."""

    commands = 0

    def say(self, action: Action, incident: str, by: str = "maria", again: bool = False, **more: float) -> list[Alert]:
        """What follows a command. again: it is a repeat of the last one."""
        self.commands += not again
        command = Command(
            id=f"c-{self.commands}", action=action, incident=incident, by=by, reason="why not", at=SAID, **more
        )
        told = self.judge.heed(command)
        self.alerts += told
        self.pages += [alert for alert in told if self.pager.pages(alert)]
        return told

    def early_minute(self, surging: Mapping[Scope, float], observed: int) -> list[Alert]:
        """What is said in the middle of a minute, of what began to surge in it."""
        start = BEGIN + self.next_minute * MINUTE
        self.onset = self.next_minute
        rows = [self._row(scope, nats, observed, USUAL / 3) for scope, nats in surging.items()]
        early = [msgspec.structs.replace(row, closed=False, recent=None) for row in rows]
        at = start + MINUTE // 3 + LATENESS
        return self.judge.apply(SurgeRecord(0, 1, at, [Tick(at, early, [])]))

    def restart(self) -> None:
        self.judge = Judge.from_state(IncidentRule(), 1, self.judge.to_state())


def a_row(scope: Scope, end: int, beyond: int) -> SurgeRow:
    """Five minutes up to `end` with so many reports a minute beyond the usual."""
    return SurgeRow(
        series=Series("site", *scope),
        names=Names(*scope),
        evidence=9.0,
        onset=end - 300_000,
        start=end - 60_000,
        closed=True,
        observed=10 + beyond,
        expected=10.0,
        low=4.0,
        high=16.0,
        recent=Recent(60, end, [10 + beyond] * 5, [10.0] * 5, [4.0] * 5, [16.0] * 5),
    )


def a_cell(scope: Scope, beyond: int) -> Cell:
    """A place after five such minutes."""
    return Cell(*scope).saw(a_row(scope, SAID, beyond), SAID, None)


# Acknowledged


def test_acknowledged_incident_says_by_whom_when_and_why_and_which_command_did_it() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP)

    [told] = story.say(Action.ACK, first.id)

    assert (told.id, told.state, told.sequence, told.updated_at) == (first.id, State.UPDATE, 2, first.updated_at)
    assert told.acknowledged is not None
    assert (told.acknowledged.by, told.acknowledged.reason) == ("maria", "why not")
    assert told.acknowledged.at == "2022-10-25T07:10:00Z"
    assert told.word is not None
    assert (told.word.id, told.word.action) == ("c-1", "ack")


def test_acknowledged_incident_keeps_updating_and_asks_for_no_page_as_it_grows() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP, observed=FEW)
    story.say(Action.ACK, first.id)

    updates = story.minutes(30, LAZIO_WHATSAPP, observed=FEW)

    assert first.severity is Severity.WARNING
    assert updates[-1].severity is Severity.ERROR
    assert {alert.acknowledged.by for alert in updates if alert.acknowledged} == {"maria"}
    assert [alert.word for alert in updates if alert.word] == []
    assert story.pages == []
    assert story.judge.pages.hours == ()


def test_acknowledged_incident_that_comes_back_pages_anew() -> None:
    story = Told()
    [first, *_] = story.minutes(5, WHATSAPP_DOWN)
    story.say(Action.ACK, first.id)
    story.minutes(20, {})
    story.onset = story.next_minute

    [again, *_] = story.minutes(1, WHATSAPP_DOWN)

    assert (again.id, again.episode, again.acknowledged) == (first.id, 2, None)
    assert [(page.id, page.episode) for page in story.pages] == [(first.id, 1), (first.id, 2)]


def test_acknowledged_part_that_outlives_what_explained_it_asks_for_no_page() -> None:
    def rest(acknowledge: bool) -> list[Alert]:
        story = Told()
        story.minutes(5, WHATSAPP_DOWN)
        [part] = [alert for alert in story.alerts if alert.region == "lazio" and alert.state is State.OPEN]
        if acknowledge:
            story.say(Action.ACK, part.id)
        story.minutes(100, LAZIO_WHATSAPP, observed=60)
        assert of(story.alerts, part.id)[-1].parent is None
        return of(story.pages, part.id)

    assert len(rest(acknowledge=False)) == 1
    assert rest(acknowledge=True) == []


# Muted


def test_muted_incident_asks_for_no_page_also_when_it_comes_back_until_somebody_takes_it_back() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP, observed=FEW)
    story.say(Action.MUTE, first.id)
    story.minutes(10, LAZIO_WHATSAPP, observed=FEW)
    story.minutes(20, {})
    story.onset = story.next_minute
    [again, *_] = story.minutes(10, LAZIO_WHATSAPP)
    before = list(story.pages)

    [told] = story.say(Action.UNMUTE, first.id, by="joe")

    assert again.episode == 2
    assert again.muted is not None
    assert (again.muted.by, again.muted.since, again.muted.until) == ("maria", first.updated_at, None)
    assert before == []
    assert told.muted is None
    assert told.word is not None
    assert told.word.by == "joe"
    assert story.pages == [told]


def test_mute_for_some_time_ends_by_event_time_and_what_is_still_bad_pages_then() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP, observed=FEW)
    [muted] = story.say(Action.MUTE, first.id, for_seconds=1200)

    story.minutes(30, LAZIO_WHATSAPP, observed=FEW)

    assert muted.muted is not None
    assert muted.muted.until == "2022-10-25T07:25:03Z"
    [page] = story.pages
    assert (page.updated_at, page.muted) == ("2022-10-25T07:25:03Z", None)


def test_mute_that_ends_while_all_is_quiet_is_told_at_its_end() -> None:
    story = Told()
    story.silent_minutes(1, evidence=1.0)
    [feed] = story.alerts
    story.say(Action.MUTE, feed.id, for_seconds=90)

    told = story.nothing(3)

    assert [(alert.id, alert.muted) for alert in told] == [(feed.id, None)]


def test_muted_and_acknowledged_incident_that_is_unmuted_stays_acknowledged() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP, observed=FEW)
    story.say(Action.ACK, first.id)
    story.say(Action.MUTE, first.id)
    story.minutes(10, LAZIO_WHATSAPP, observed=FEW)

    [told] = story.say(Action.UNMUTE, first.id)

    assert told.severity is Severity.ERROR
    assert told.acknowledged is not None
    assert story.pages == []


def test_mute_that_was_over_before_it_began_is_none() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP)

    [told] = story.say(Action.MUTE, first.id, until=SAID - 86_400_000)

    assert told.muted is None


# Resolved by hand


def test_outage_that_goes_on_after_it_was_resolved_by_hand_opens_nothing() -> None:
    story = Told()
    [first, *_] = story.minutes(5, WHATSAPP_DOWN)

    told = story.say(Action.RESOLVE, first.id)
    after = story.minutes(240, WHATSAPP_DOWN)

    assert who(told[:1]) == [(Kind.SERVICE, "whatsapp", None)]
    assert len(told) == 7
    assert {(alert.state, alert.resolution) for alert in told} == {(State.RESOLVED, Resolution.BY_HAND)}
    assert told[0].summary.startswith("whatsapp everywhere: resolved by hand at 07:09 UTC after 900 reports")
    assert {alert.word.id for alert in told if alert.word} == {"c-1"}
    assert after == []
    assert sum(story.judge.open_by_severity().values()) == 0


@pytest.mark.parametrize("down", [LAZIO_WHATSAPP, WHATSAPP_DOWN, LAZIO_DARK], ids=["series", "service", "region"])
def test_outage_that_doubles_after_it_was_resolved_by_hand_is_its_next_episode(
    down: dict[tuple[str, str], float],
) -> None:
    story = Told()
    [first, *_] = story.minutes(5, down)
    story.say(Action.RESOLVE, first.id)
    before = story.minutes(10, down)

    [again, *parts] = story.minutes(10, down, observed=80)

    assert before == []
    assert (again.id, again.episode, again.resolution, again.word) == (first.id, 2, None, None)
    assert again.started_at == "2022-10-25T07:09:00Z"
    assert {part.parent for part in parts if part.id != first.id} <= {first.id}
    assert [page.episode for page in story.pages] == [1, 2]


def test_outage_that_came_back_after_a_quiet_time_is_the_next_episode_of_what_was_resolved_by_hand() -> None:
    story = Told()
    [first, *_] = story.minutes(5, WHATSAPP_DOWN)
    story.say(Action.RESOLVE, first.id)
    story.minutes(10, WHATSAPP_DOWN)
    story.minutes(10, {})
    story.onset = story.next_minute

    [again, *_] = story.minutes(1, WHATSAPP_DOWN)

    assert (again.id, again.episode) == (first.id, 2)


def test_region_that_joins_late_what_was_resolved_by_hand_opens_nothing() -> None:
    story = Told()
    few_more = {("whatsapp", region): 0.0 for region in REGIONS}
    story.minutes(3, few_more, observed=9)
    [first] = story.minutes(1, few_more | {WIDE: 4.0}, observed=9)
    story.say(Action.RESOLVE, first.id)

    after = story.minutes(60, few_more | {WIDE: 4.0, LAZIO: 2.5}, observed=9)

    assert first.kind is Kind.SERVICE
    assert after == []


def test_region_that_joins_within_a_bucket_what_was_resolved_by_hand_opens_nothing() -> None:
    story = Told()
    down = {scope: nats for scope, nats in WHATSAPP_DOWN.items() if scope != VENETO}
    [first, *_] = story.minutes(5, down)
    story.say(Action.RESOLVE, first.id)
    story.minutes(5, down)

    assert story.early_minute({VENETO: 9.0}, observed=30) == []


def test_another_outage_is_told_while_what_was_resolved_by_hand_goes_on() -> None:
    story = Told()
    [first, *_] = story.minutes(5, LAZIO_DARK)
    story.say(Action.RESOLVE, first.id)
    story.minutes(10, LAZIO_DARK)
    story.onset = story.next_minute

    story.minutes(3, LAZIO_DARK | WHATSAPP_DOWN)

    assert who(story.pages) == [(Kind.REGION, None, "lazio"), (Kind.SERVICE, "whatsapp", None)]


def test_series_that_was_resolved_by_hand_does_not_keep_its_service_from_being_down() -> None:
    story = Told()
    [first] = story.minutes(5, LAZIO_WHATSAPP)[:1]
    story.say(Action.RESOLVE, first.id)
    story.minutes(5, LAZIO_WHATSAPP)

    story.minutes(2, WHATSAPP_DOWN)

    assert who(story.pages) == [(Kind.SERIES, "whatsapp", "lazio"), (Kind.SERVICE, "whatsapp", None)]


def test_part_that_was_resolved_by_hand_is_not_told_again_while_the_rest_goes_on() -> None:
    story = Told()
    story.minutes(5, WHATSAPP_DOWN)
    [part] = [alert for alert in story.alerts if alert.region == "lazio" and alert.state is State.OPEN]

    told = story.say(Action.RESOLVE, part.id)
    story.minutes(60, WHATSAPP_DOWN)

    assert [alert.id for alert in told] == [part.id]
    assert of(story.alerts, part.id)[-1].state is State.RESOLVED


def test_silence_that_was_resolved_by_hand_is_told_anew_only_after_the_feed_was_back() -> None:
    story = Told()
    story.minutes(1, {})
    [feed, *_] = story.silent_minutes(3)
    [told] = story.say(Action.RESOLVE, feed.id)
    after = story.silent_minutes(120)
    story.return_minute()
    story.minutes(1, {})

    [again, *_] = story.silent_minutes(3)

    assert told.summary == "Feed site: resolved by hand at 07:08 UTC after 3 minutes of silence"
    assert after == []
    assert again.kind is Kind.FEED


def test_incident_that_ended_by_itself_is_over() -> None:
    story = Told()
    story.minutes(5, LAZIO_WHATSAPP)

    alerts = story.minutes(20, {})

    assert (alerts[-1].state, alerts[-1].resolution) == (State.RESOLVED, Resolution.OVER)


PEAKS = {WIDE: 1.5, LAZIO: 1.0, ALL_OF_LAZIO: 40.0, VENETO: 0.5}


def test_what_was_ended_opens_nothing_while_it_surges_on() -> None:
    assert still_quelled(PEAKS, {WIDE}, PEAKS.keys(), {}) == PEAKS
    assert still_quelled(PEAKS, {WIDE}, {("signal", "lazio")}, {}) == {}


def test_silent_feed_that_was_ended_is_part_of_no_surge() -> None:
    feed, everything = (FEED, "site"), ("*", "*")
    ended = {feed: 0.0, everything: 1.0}

    assert still_quelled(ended, {everything}, set(), {}) == {feed: 0.0}
    assert still_quelled(ended, {everything}, {everything}, {everything: a_cell(everything, beyond=9)}) == {feed: 0.0}


def test_what_was_an_incident_opens_nothing_while_a_part_of_it_surges_on() -> None:
    assert still_quelled(PEAKS, {WIDE}, {LAZIO}, {}) == {WIDE: 1.5, LAZIO: 1.0}
    assert still_quelled(PEAKS, {WIDE}, {ALL_OF_LAZIO}, {}) == {ALL_OF_LAZIO: 40.0}


def test_what_doubled_takes_with_it_what_lies_within_it() -> None:
    # Two a minute are the least that has to double.
    grown, same = a_cell(WIDE, beyond=4), a_cell(LAZIO, beyond=3)

    assert still_quelled(PEAKS, {WIDE}, PEAKS.keys(), {WIDE: grown}) == {ALL_OF_LAZIO: 40.0}
    assert still_quelled(PEAKS, {WIDE}, PEAKS.keys(), {LAZIO: same}) == PEAKS


def test_outage_has_to_double_its_peak_since_what_it_brings_right_now_scatters() -> None:
    now = a_cell(LAZIO, beyond=12)
    lull = now.saw(a_row(LAZIO, SAID + 300_000, beyond=1), SAID + 300_000, None)

    assert quelled(LAZIO, {LAZIO}, {LAZIO: now})[LAZIO] == 12.0
    assert quelled(LAZIO, {LAZIO}, {LAZIO: lull})[LAZIO] == 12.0


# False alarms


def test_false_alarm_is_counted_once_where_it_paged() -> None:
    story = Told()
    [first, *_] = story.minutes(5, WHATSAPP_DOWN)

    told = story.say(Action.FALSE_ALARM, first.id)

    assert {alert.resolution for alert in told} == {Resolution.FALSE_ALARM}
    assert told[0].summary.startswith("whatsapp everywhere: called a false alarm at 07:09 UTC after 900 reports")
    assert story.judge.pages_per_week() == 1.0
    assert story.judge.false_per_week() == 1.0


def test_false_alarm_that_woke_nobody_costs_nothing() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP, observed=FEW)

    story.say(Action.FALSE_ALARM, first.id)

    assert story.judge.false_per_week() == 0.0


# What changes nothing


def test_repeat_of_a_command_changes_nothing_also_after_a_restart() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP)
    story.say(Action.MUTE, first.id)
    state = story.judge.to_state()

    assert story.say(Action.MUTE, first.id, again=True) == []
    assert story.judge.to_state() == state
    story.restart()
    assert story.say(Action.MUTE, first.id, again=True) == []


def test_command_for_what_is_not_open_changes_no_incident() -> None:
    story = Told()
    [first] = story.minutes(1, LAZIO_WHATSAPP)
    story.say(Action.RESOLVE, first.id)

    assert not story.judge.is_open(first.id)
    assert story.say(Action.ACK, first.id) == []
    assert story.say(Action.ACK, "nobody") == []


def test_judge_that_heard_of_nothing_yet_knows_no_incident() -> None:
    assert Told().say(Action.ACK, "00ff") == []


def test_no_more_commands_are_remembered_than_are_bearable() -> None:
    story = Told()
    for _ in range(1500):
        story.say(Action.ACK, "nobody")

    assert len(story.judge._heeded) == 1000


@pytest.mark.parametrize("action", list(Action))
def test_judge_restored_after_a_command_goes_on_as_the_other(action: Action) -> None:
    one, other = Told(), Told()
    for story in (one, other):
        [first, *_] = story.minutes(5, WHATSAPP_DOWN)
        story.say(action, first.id)
    other.restart()

    for story in (one, other):
        story.minutes(30, WHATSAPP_DOWN)
        story.minutes(5, WHATSAPP_DOWN, observed=90)
        story.minutes(20, {})

    assert one.alerts == other.alerts
    one.restart()  # the story gives whole numbers where a state has floats
    other.restart()
    assert one.judge.to_state() == other.judge.to_state()

"""Judge: stories of outages, told by what every series and every roll-up shows, minute by minute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt

import pytest
from msgspec.structs import replace

from detectors.alert import Alert, Kind, Pager, Resolution, Severity, State
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.maintenance import NOTHING, CalendarText, Maintenance
from detectors.series import Names, Series
from detectors.silence import Silent
from detectors.surges import Recent, SurgeRecord, SurgeRow, Tick
from detectors.surroundings import Surroundings
from detectors.verdict import Scope

MINUTE = 60_000
#: 2022-10-25T07:04:00Z
BEGIN = 1_666_681_440_000
LATENESS = 3_000
SERVICES = ("netflix", "signal", "telegram", "tim", "whatsapp")
REGIONS = ("lazio", "liguria", "marche", "molise", "puglia", "veneto")
#: Reports that are usual in a minute.
USUAL = 5

#: Evidence of what shows a surge by itself, and what a series that surges has a minute: 30 reports unless told.
LAZIO_WHATSAPP = {("whatsapp", "lazio"): 9.0}
WHATSAPP_DOWN = {
    ("whatsapp", "*"): 9.0,
    ("whatsapp", "lazio"): 4.0,
    ("whatsapp", "liguria"): 4.0,
    ("whatsapp", "marche"): 4.0,
    ("whatsapp", "molise"): 4.0,
    ("whatsapp", "puglia"): 4.0,
    ("whatsapp", "veneto"): 4.0,
}
LAZIO_DARK = {
    ("*", "lazio"): 9.0,
    ("netflix", "lazio"): 4.0,
    ("signal", "lazio"): 4.0,
    ("telegram", "lazio"): 4.0,
    ("tim", "lazio"): 4.0,
    ("whatsapp", "lazio"): 4.0,
}


class Story:
    """A judge that is told of all series in five services and six regions, and of their roll-ups, at every minute.

    onset: the minute in which what surges began to.
    """

    def __init__(self, source: str = "site", planned: Maintenance = NOTHING, rule: IncidentRule | None = None) -> None:
        self.planned = planned
        self.rule = rule or IncidentRule()
        self.judge = Judge(self.rule, 1, Surroundings(maintenance=planned))
        self.pager = Pager()
        self.source = source
        self.next_minute = 0
        self.onset = 0
        #: What was told, and of it what called somebody.
        self.alerts: list[Alert] = []
        self.pages: list[Alert] = []

    def minutes(self, number: int, surging: Mapping[Scope, float], observed: int = 30) -> list[Alert]:
        """So many minutes in which these have evidence and its series `observed` reports; what is said in them."""
        return [alert for _ in range(number) for alert in self._minute(self._rows(surging, observed), [])]

    def early(self, surging: Mapping[Scope, float], observed: int) -> list[Alert]:
        """Half of a minute has passed, in which these have evidence and its series `observed` reports; it goes on."""
        rows = [
            replace(row, closed=False, expected=row.expected / 2, low=row.low / 2, high=row.high / 2)
            for row in self._rows(surging, observed)
        ]
        at = BEGIN + self.next_minute * MINUTE + MINUTE // 2 + LATENESS
        return self._told(SurgeRecord(0, 1, at, [Tick(at, rows, [])]))

    def silent_minutes(self, number: int, missed: float = 50.0, evidence: float = 9.0) -> list[Alert]:
        """So many minutes in which the source is told of as silent, since the first of them."""
        since = BEGIN + self.next_minute * MINUTE
        return [
            alert
            for minute in range(self.next_minute, self.next_minute + number)
            for alert in self._minute([], [self._silent(since, minute, missed, evidence, over=False)])
        ]

    def return_minute(self) -> list[Alert]:
        """The minute in which the source is back, and whose counts are missing."""
        return self._minute([], [self._silent(0, self.next_minute, 0.0, 0.0, over=True)])

    def nothing(self, minutes: int) -> list[Alert]:
        """So many minutes in which nothing is worth a look."""
        return [alert for _ in range(minutes) for alert in self._minute([], [])]

    def restart(self) -> None:
        """The judge goes on from its state."""
        self.judge = Judge.from_state(self.rule, 1, self.judge.to_state(), Surroundings(maintenance=self.planned))

    def _minute(self, rows: list[SurgeRow], silent: list[Silent]) -> list[Alert]:
        at = BEGIN + (self.next_minute + 1) * MINUTE + LATENESS
        self.next_minute += 1
        return self._told(SurgeRecord(0, 1, at, [Tick(at, rows, silent)]))

    def _told(self, record: SurgeRecord) -> list[Alert]:
        told = self.judge.apply(record)
        self.alerts += told
        self.pages += [alert for alert in told if self.pager.pages(alert)]
        return told

    def _silent(self, since: int, minute: int, missed: float, evidence: float, *, over: bool) -> Silent:
        return Silent(self.source, since, BEGIN + minute * MINUTE, 60, missed, evidence, over)

    def _rows(self, surging: Mapping[Scope, float], observed: int) -> list[SurgeRow]:
        """Roll-ups have the sums over their series."""
        cells = {(service, region): USUAL for service in SERVICES for region in REGIONS}
        cells |= {scope: observed for scope in surging if "*" not in scope}
        sums = dict.fromkeys([(service, "*") for service in SERVICES], 0)
        sums |= dict.fromkeys([("*", region) for region in REGIONS], 0)
        sums |= {("*", "*"): 0}
        for (service, region), count in cells.items():
            for wide in ((service, "*"), ("*", region), ("*", "*")):
                sums[wide] += count
        usual = dict.fromkeys(cells, USUAL)
        usual |= {scope: 30 if scope[1] == "*" else 25 for scope in sums} | {("*", "*"): 150}
        return [
            self._row(scope, surging.get(scope, -1.0), count, usual[scope])
            for scope, count in sorted((cells | sums).items())
        ]

    def _row(self, scope: Scope, evidence: float, observed: int, expected: float) -> SurgeRow:
        start = BEGIN + self.next_minute * MINUTE
        low, high = expected - 2 * sqrt(expected), expected + 2 * sqrt(expected)
        first = Recent(60, start, [round(expected)] * 20, [expected] * 20, [low] * 20, [high] * 20)
        return SurgeRow(
            series=Series(self.source, *scope),
            names=Names(*scope),
            evidence=evidence,
            onset=BEGIN + self.onset * MINUTE if evidence > 0 else 0,
            start=start,
            closed=True,
            observed=observed,
            expected=expected,
            low=low,
            high=high,
            recent=first if self.next_minute == 0 else None,
        )


def who(alerts: Iterable[Alert]) -> list[tuple[Kind, str | None, str | None]]:
    return [(alert.kind, alert.service, alert.region) for alert in alerts]


def of(alerts: Sequence[Alert], incident: str) -> list[Alert]:
    return [alert for alert in alerts if alert.id == incident]


def children(alerts: Sequence[Alert], parent: str) -> list[tuple[str | None, str | None]]:
    return [(alert.service, alert.region) for alert in alerts if alert.parent == parent]


# One cause


def test_service_down_everywhere_is_one_page_and_its_regions_are_its_parts() -> None:
    story = Story()

    alerts = story.minutes(1, WHATSAPP_DOWN)

    assert who(alerts)[0] == (Kind.SERVICE, "whatsapp", None)
    assert children(alerts, alerts[0].id) == [
        ("whatsapp", "lazio"),
        ("whatsapp", "liguria"),
        ("whatsapp", "marche"),
        ("whatsapp", "molise"),
        ("whatsapp", "puglia"),
        ("whatsapp", "veneto"),
    ]
    assert story.pages == [alerts[0]]


def test_service_down_everywhere_is_told_with_its_verdict() -> None:
    story = Story()

    verdict = story.minutes(1, WHATSAPP_DOWN)[0].verdict

    assert verdict is not None
    assert (verdict.explained, verdict.taking_part, verdict.looked_at, verdict.not_taking_part) == (1.0, 6, 6, [])
    assert verdict.likelier > 0


def test_every_service_down_in_a_region_is_the_region_and_one_page() -> None:
    story = Story()

    alerts = story.minutes(1, LAZIO_DARK)

    assert who(alerts)[0] == (Kind.REGION, None, "lazio")
    assert children(alerts, alerts[0].id) == [
        ("netflix", "lazio"),
        ("signal", "lazio"),
        ("telegram", "lazio"),
        ("tim", "lazio"),
        ("whatsapp", "lazio"),
    ]
    assert story.pages == [alerts[0]]


def test_one_series_down_is_a_series_though_its_rollups_show_it_too() -> None:
    story = Story()

    alerts = story.minutes(1, {("whatsapp", "lazio"): 9.0, ("whatsapp", "*"): 3.0, ("*", "lazio"): 3.0}, observed=60)

    assert who(alerts) == [(Kind.SERIES, "whatsapp", "lazio")]


def test_service_that_only_its_rollup_shows_is_a_service_without_parts() -> None:
    story = Story()
    few_more = {("whatsapp", region): 0.0 for region in REGIONS}
    story.minutes(3, few_more, observed=9)

    alerts = story.minutes(1, few_more | {("whatsapp", "*"): 4.0}, observed=9)

    assert who(alerts) == [(Kind.SERVICE, "whatsapp", None)]


# Growing


def test_series_that_grows_into_its_service_keeps_its_id_changes_its_kind_and_pages_once() -> None:
    story = Story()
    [first] = story.minutes(1, LAZIO_WHATSAPP)
    story.onset = 1

    alerts = story.minutes(1, WHATSAPP_DOWN)

    grown = alerts[0]
    assert (first.kind, grown.kind) == (Kind.SERIES, Kind.SERVICE)
    assert (grown.id, grown.sequence, grown.state, grown.episode) == (first.id, 2, State.UPDATE, 1)
    assert (grown.service, grown.region) == ("whatsapp", None)
    assert story.pages == [first]


def test_incident_that_grew_goes_on_from_where_it_began_and_its_parts_are_told() -> None:
    story = Story()
    [first] = story.minutes(1, LAZIO_WHATSAPP)
    story.onset = 1

    alerts = story.minutes(1, WHATSAPP_DOWN)

    assert (alerts[0].started_at, alerts[0].detected_at) == (first.started_at, first.detected_at)
    assert len(children(alerts, first.id)) == 6
    assert len({alert.id for alert in alerts}) == 7


def test_incident_that_grew_resolves_as_what_it_grew_to() -> None:
    story = Story()
    [first] = story.minutes(1, LAZIO_WHATSAPP)
    story.onset = 1
    story.minutes(3, WHATSAPP_DOWN)

    alerts = story.minutes(20, {})

    assert who(of(alerts, first.id)[-1:]) == [(Kind.SERVICE, "whatsapp", None)]
    assert of(alerts, first.id)[-1].state is State.RESOLVED
    assert sum(story.judge.open_by_severity().values()) == 0
    assert story.pages == [first]


# Two causes


def test_service_down_while_a_region_is_dark_are_two_incidents_and_two_pages() -> None:
    story = Story()

    alerts = story.minutes(1, WHATSAPP_DOWN | LAZIO_DARK)

    assert who(story.pages) == [(Kind.REGION, None, "lazio"), (Kind.SERVICE, "whatsapp", None)]
    assert ("signal", "lazio") in children(alerts, story.pages[0].id)
    assert ("whatsapp", "veneto") in children(alerts, story.pages[1].id)


def test_service_that_goes_down_while_a_region_is_dark_is_another_incident() -> None:
    story = Story()
    [dark, *_] = story.minutes(5, LAZIO_DARK)
    story.onset = 5

    story.minutes(3, WHATSAPP_DOWN | LAZIO_DARK)

    assert who(story.pages) == [(Kind.REGION, None, "lazio"), (Kind.SERVICE, "whatsapp", None)]
    assert story.pages[0] == dark
    assert story.pages[1].id != dark.id


def test_two_series_of_two_services_in_two_regions_are_two_incidents() -> None:
    story = Story()

    alerts = story.minutes(1, {("netflix", "veneto"): 9.0, ("whatsapp", "lazio"): 9.0}, observed=60)

    assert who(alerts) == [(Kind.SERIES, "netflix", "veneto"), (Kind.SERIES, "whatsapp", "lazio")]
    assert story.pages == alerts


# Parents and children


def test_parents_come_before_their_children_in_every_tick() -> None:
    story = Story()

    opened = story.minutes(1, WHATSAPP_DOWN | LAZIO_DARK)

    assert [alert.parent is None for alert in opened] == [True] * 2 + [False] * 10


def test_parts_never_page_while_what_explains_them_is_open() -> None:
    story = Story()

    alerts = story.minutes(60, WHATSAPP_DOWN, observed=500)

    parts = [alert for alert in alerts if alert.parent is not None]
    assert {alert.severity for alert in parts} == {Severity.ERROR, Severity.CRITICAL}
    assert story.pages == alerts[:1]


def test_part_that_ends_before_what_explains_it_resolves_for_itself() -> None:
    story = Story()
    [parent, *_] = story.minutes(5, WHATSAPP_DOWN)
    five_regions = {scope: nats for scope, nats in WHATSAPP_DOWN.items() if scope != ("whatsapp", "molise")}

    alerts = story.minutes(10, five_regions)

    resolved = [alert for alert in alerts if alert.state is State.RESOLVED]
    assert who(resolved) == [(Kind.SERIES, "whatsapp", "molise")]
    assert resolved[0].parent == parent.id


def test_part_that_goes_on_alone_keeps_its_parent_open_for_a_quarter_of_an_hour() -> None:
    story = Story()
    [parent, *_] = story.minutes(5, WHATSAPP_DOWN)

    alerts = story.minutes(30, LAZIO_WHATSAPP)

    [resolved] = [alert for alert in of(alerts, parent.id) if alert.state is State.RESOLVED]
    # Calm since 07:10.
    assert resolved.resolved_at == "2022-10-25T07:25:03Z"


def test_part_that_outlives_its_parent_and_still_surges_pages_then() -> None:
    story = Story()
    [parent, *_] = story.minutes(5, WHATSAPP_DOWN)

    alerts = story.minutes(30, LAZIO_WHATSAPP)

    [first, page] = story.pages
    assert first == parent
    assert (page.kind, page.service, page.region, page.parent) == (Kind.SERIES, "whatsapp", "lazio", None)
    assert (page.state, page.episode, page.updated_at) == (State.UPDATE, 1, "2022-10-25T07:26:03Z")
    assert [alert.parent for alert in of(alerts, page.id)[-2:]] == [None, None]


def test_part_that_ends_with_its_parent_pages_nobody() -> None:
    story = Story()
    [parent, *_] = story.minutes(10, WHATSAPP_DOWN)

    story.minutes(60, {})

    assert story.pages == [parent]
    assert sum(story.judge.open_by_severity().values()) == 0


def test_parent_is_told_as_resolved_before_its_parts_are() -> None:
    story = Story()
    [parent, *_] = story.minutes(5, WHATSAPP_DOWN)

    resolved = [alert for alert in story.minutes(20, {}) if alert.state is State.RESOLVED]

    assert resolved[0].id == parent.id
    assert {alert.parent for alert in resolved[1:]} == {parent.id}
    assert {alert.resolved_at for alert in resolved} == {"2022-10-25T07:15:03Z"}


def test_outage_that_begins_at_the_end_of_a_bucket_is_one_cause_within_the_next() -> None:
    story = Story()
    story.minutes(5, {})
    story.onset = 5
    hardly = story.minutes(1, {("whatsapp", "*"): 2.5}, observed=6)

    alerts = story.early(dict.fromkeys(WHATSAPP_DOWN, 2.5), observed=40)

    assert hardly == []
    assert who(alert for alert in alerts if alert.parent is None) == [(Kind.SERVICE, "whatsapp", None)]


def test_what_begins_while_an_incident_is_calm_is_no_part_of_it() -> None:
    story = Story()
    [parent, *_] = story.minutes(10, {scope: told for scope, told in WHATSAPP_DOWN.items() if scope[1] != "veneto"})
    story.minutes(3, {})

    alerts = story.minutes(10, {("whatsapp", "veneto"): 4.0})

    assert [alert.parent for alert in alerts if alert.region == "veneto" and alert.state is State.OPEN] == [None]
    assert parent.id not in {alert.parent for alert in alerts if alert.state is State.OPEN}


def test_part_that_outlives_its_parent_is_part_of_the_next_outage() -> None:
    story = Story(rule=IncidentRule(reopen_seconds=0.0))
    [first, *_] = story.minutes(5, WHATSAPP_DOWN)
    story.minutes(16, {("whatsapp", "lazio"): 4.0}, observed=8)

    alerts = story.minutes(2, WHATSAPP_DOWN)

    [second] = [alert for alert in alerts if alert.kind is Kind.SERVICE and alert.state is State.OPEN]
    assert second.id != first.id
    assert {alert.parent for alert in alerts if alert.region == "lazio"} == {second.id}


# Silence


def test_silent_source_is_an_incident_of_its_own() -> None:
    story = Story()
    story.minutes(2, {})

    [alert] = story.silent_minutes(1, missed=12.0, evidence=9.0)

    assert (alert.kind, alert.state, alert.sources) == (Kind.FEED, State.OPEN, ["site"])
    assert (alert.service, alert.region, alert.observed, alert.expected) == (None, None, 0, 12.0)
    assert (alert.started_at, alert.detected_at) == ("2022-10-25T07:06:00Z", "2022-10-25T07:07:03Z")
    assert alert.summary == "Feed site is silent: no report since 07:06 UTC, 12 expected since then"


def test_silence_is_an_info_until_its_evidence_is_that_of_an_incident_and_then_an_error_that_pages() -> None:
    story = Story()

    [info] = story.silent_minutes(1, missed=8.0, evidence=1.9)
    nothing_new = story.silent_minutes(1, missed=8.5, evidence=1.99)
    [error] = story.silent_minutes(1, missed=9.0, evidence=2.0)

    assert (info.severity, nothing_new, error.severity) == (Severity.INFO, [], Severity.ERROR)
    assert (error.state, error.sequence) == (State.UPDATE, 2)
    assert story.pages == [error]


def test_silent_source_is_told_of_every_five_minutes() -> None:
    story = Story()

    alerts = story.silent_minutes(12)

    assert [alert.updated_at[11:16] for alert in alerts] == ["07:05", "07:10", "07:15"]


def test_silence_resolves_when_the_source_is_back_and_says_what_was_missed() -> None:
    story = Story()
    story.silent_minutes(10, missed=60.0)

    [alert] = story.return_minute()

    assert (alert.kind, alert.state, alert.resolved_at) == (Kind.FEED, State.RESOLVED, "2022-10-25T07:15:03Z")
    assert alert.summary == (
        "Feed site is back at 07:15 UTC after 11 minutes of silence, 60 reports expected in that time"
    )


def test_source_that_is_silent_again_within_the_hour_is_the_next_episode() -> None:
    story = Story()
    [first, *_] = story.silent_minutes(10)
    story.return_minute()
    story.nothing(20)

    [again] = story.silent_minutes(1)

    assert (again.id, again.sequence, again.episode, again.state) == (first.id, 4, 2, State.UPDATE)
    assert again.started_at == "2022-10-25T07:35:00Z"


def test_return_of_a_source_that_was_not_told_of_says_nothing() -> None:
    story = Story()

    assert story.return_minute() == []


def test_incident_that_only_a_silent_source_shows_does_not_resolve_while_it_is_silent() -> None:
    story = Story()
    story.minutes(3, LAZIO_WHATSAPP)

    alerts = story.silent_minutes(120)

    assert {alert.state for alert in alerts if alert.kind is Kind.SERIES} == {State.UPDATE}
    assert [alert.kind for alert in alerts if alert.state is State.OPEN] == [Kind.FEED]


def test_incident_that_is_over_when_its_source_is_back_resolves_then() -> None:
    story = Story()
    story.minutes(3, LAZIO_WHATSAPP)
    story.silent_minutes(27)
    story.return_minute()

    alerts = story.minutes(10, {})

    [resolved] = [alert for alert in alerts if alert.state is State.RESOLVED]
    # Calm since the source was back at 07:35.
    assert (resolved.kind, resolved.resolved_at) == (Kind.SERIES, "2022-10-25T07:40:03Z")


def test_calm_before_a_silence_counts_for_nothing_after_it() -> None:
    story = Story()
    story.minutes(3, LAZIO_WHATSAPP)
    story.minutes(3, {})
    story.silent_minutes(20)
    story.return_minute()

    alerts = story.minutes(3, {})

    assert State.RESOLVED not in {alert.state for alert in alerts}


def test_nothing_opens_for_what_a_silent_source_said_before() -> None:
    story = Story()
    story.minutes(1, {("whatsapp", "lazio"): 1.9})

    alerts = story.silent_minutes(30)

    assert {alert.kind for alert in alerts} == {Kind.FEED}


def test_silence_neither_explains_surges_nor_is_explained_by_them() -> None:
    story = Story()
    story.minutes(1, WHATSAPP_DOWN)

    [alert] = [alert for alert in story.silent_minutes(1) if alert.kind is Kind.FEED]

    assert alert.parent is None
    service = [alert for alert in story.alerts if alert.id == story.pages[0].id]
    assert [(alert.parent, alert.stale) for alert in service] == [(None, False), (None, True)]


# Coming back


@pytest.mark.parametrize(("calm_minutes", "same"), [(10, True), (64, True), (66, False)])
def test_service_that_is_back_within_an_hour_of_its_end_is_the_next_episode(calm_minutes: int, same: bool) -> None:
    story = Story()
    [first, *_] = story.minutes(5, WHATSAPP_DOWN)
    story.minutes(calm_minutes, {})
    story.onset = story.next_minute

    [again, *parts] = story.minutes(1, WHATSAPP_DOWN)

    assert who([again]) == [(Kind.SERVICE, "whatsapp", None)]
    assert (again.id == first.id, again.episode) == (same, 2 if same else 1)
    assert {part.parent for part in parts} == {again.id}


def test_next_episode_pages_once_more() -> None:
    story = Story()
    [first, *_] = story.minutes(5, WHATSAPP_DOWN)
    story.minutes(20, {})
    story.onset = story.next_minute

    story.minutes(20, WHATSAPP_DOWN)

    assert [(page.id, page.episode) for page in story.pages] == [(first.id, 1), (first.id, 2)]


def test_next_episode_counts_its_own_reports_only() -> None:
    story = Story()
    story.minutes(5, WHATSAPP_DOWN)
    story.minutes(20, {})
    story.onset = story.next_minute

    [again, *_] = story.minutes(1, WHATSAPP_DOWN)

    assert (again.started_at, again.observed, again.expected) == ("2022-10-25T07:29:00Z", 180, 30.0)


def test_what_is_left_of_an_outage_s_evidence_opens_nothing_hours_after_it_either() -> None:
    story = Story()
    story.minutes(20, LAZIO_WHATSAPP)

    # Its CUSUM drains slowly, the counts are usual.
    alerts = story.minutes(150, {("whatsapp", "lazio"): 2.5}, observed=USUAL)

    assert State.RESOLVED in {alert.state for alert in alerts}
    assert State.OPEN not in {alert.state for alert in alerts}
    assert len(story.pages) == 1


# A level that lasts


def test_service_that_stays_down_is_accepted_as_the_new_level_and_ends_as_that() -> None:
    story = Story(rule=IncidentRule(accept_after_seconds=3600))
    story.minutes(59, WHATSAPP_DOWN)
    assert {alert.state for alert in story.alerts if alert.kind is Kind.SERVICE} == {State.OPEN, State.UPDATE}

    ended = [alert for alert in story.minutes(4, WHATSAPP_DOWN) if alert.state is State.RESOLVED]

    assert (ended[0].kind, ended[0].service) == (Kind.SERVICE, "whatsapp")
    assert {alert.resolution for alert in ended} == {Resolution.ACCEPTED}
    assert ": accepted as the new level at " in ended[0].summary


def test_level_that_was_accepted_pages_nobody_while_it_goes_on_and_pages_once_it_doubles() -> None:
    story = Story(rule=IncidentRule(accept_after_seconds=3600))
    story.minutes(200, WHATSAPP_DOWN)
    assert len(story.pages) == 1

    story.minutes(10, WHATSAPP_DOWN, observed=90)

    assert len(story.pages) == 2


# --- planned maintenance ---


def works(begin: int, end: int, *lines: str) -> Maintenance:
    """Works from minute `begin` to minute `end` of a story."""
    times = [f"{key}:20221025T07{4 + minute:02}00Z" for key, minute in (("DTSTART", begin), ("DTEND", end))]
    event = ["BEGIN:VEVENT", "UID:1", "SUMMARY:Router swap", *times, *lines, "END:VEVENT"]
    text = "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:tests", *event, "END:VCALENDAR", ""])
    return Maintenance([CalendarText("works.ics", text)])


def test_incident_within_a_window_is_info_and_silenced_however_long_and_resolves():
    story = Story(planned=works(0, 30, "CATEGORIES:whatsapp", "LOCATION:lazio"))

    story.minutes(20, LAZIO_WHATSAPP)
    story.minutes(10, {}, observed=USUAL)

    assert story.pages == []
    told = {(each.severity, each.silenced, each.maintenance) for each in story.alerts}
    assert told == {(Severity.INFO, True, "Router swap")}
    assert story.alerts[0].state is State.OPEN
    assert story.alerts[-1].state is State.RESOLVED
    assert story.judge.pages_per_week() == 0


def test_incident_that_goes_on_after_the_window_pages_then():
    story = Story(planned=works(0, 10, "CATEGORIES:whatsapp"))

    story.minutes(10, LAZIO_WHATSAPP)
    assert story.pages == []
    story.restart()
    after = story.minutes(1, LAZIO_WHATSAPP)

    assert [(each.state, each.silenced, each.maintenance) for each in after] == [(State.UPDATE, False, None)]
    assert story.pages == after
    assert story.pages[0].id == story.alerts[0].id


def test_incident_whose_evidence_fell_with_the_window_stays_silenced_and_resolves():
    story = Story(planned=works(0, 10, "CATEGORIES:whatsapp"))

    story.minutes(10, LAZIO_WHATSAPP)
    story.minutes(3, {("whatsapp", "lazio"): 1.0})
    story.minutes(10, {}, observed=USUAL)

    assert story.pages == []
    assert story.alerts[-1].state is State.RESOLVED
    assert {each.silenced for each in story.alerts} == {True}


def test_window_that_begins_later_silences_nothing_that_paged_already():
    story = Story(planned=works(10, 40, "CATEGORIES:whatsapp"))

    story.minutes(30, LAZIO_WHATSAPP)

    assert len(story.pages) == 1
    assert not any(each.silenced for each in story.alerts)
    assert story.alerts[-1].severity in (Severity.ERROR, Severity.CRITICAL)


def test_window_that_begins_before_somebody_was_called_silences_and_severity_stays():
    story = Story(planned=works(2, 40, "CATEGORIES:whatsapp"))

    story.minutes(2, {("whatsapp", "lazio"): 9.0}, observed=8)
    first = story.alerts[0]
    story.minutes(20, LAZIO_WHATSAPP)

    assert not first.silenced
    assert story.pages == []
    assert story.alerts[-1].silenced
    assert {each.severity for each in story.alerts} == {first.severity}


def test_outage_that_is_wider_than_the_window_pages():
    story = Story(planned=works(0, 40, "LOCATION:lazio"))

    story.minutes(2, LAZIO_WHATSAPP)
    story.minutes(10, WHATSAPP_DOWN)

    assert [(each.service, each.region) for each in story.pages] == [("whatsapp", None)]


def test_service_down_in_regions_that_are_all_maintained_is_silenced():
    story = Story(planned=works(0, 40, *(f"CATEGORIES:{each}" for each in SERVICES)))

    story.minutes(10, WHATSAPP_DOWN)

    assert story.pages == []
    assert who(story.alerts[:1]) == [(Kind.SERVICE, "whatsapp", None)]


def test_silent_feed_pages_within_maintenance_too():
    story = Story(planned=works(0, 50))
    story.minutes(5, {}, observed=USUAL)

    story.silent_minutes(10)

    assert [each.kind for each in story.pages] == [Kind.FEED]


# For people to look at


def test_what_is_open_now_is_as_the_next_record_would_tell_it_and_looking_changes_nothing() -> None:
    story = Story()
    story.minutes(1, WHATSAPP_DOWN)
    story.minutes(2, WHATSAPP_DOWN)
    before = story.judge.to_state()

    shown = story.judge.open_now(50)

    assert story.judge.to_state() == before
    assert who(shown)[0] == (Kind.SERVICE, "whatsapp", None)
    assert len(shown) == 7
    # Three minutes of six regions, though the last record told of the first minute alone.
    assert shown[0].observed == 3 * 6 * 30
    assert shown[0].course is not None
    assert shown[0].course.observed[-1] == 6 * 30


def test_of_many_open_incidents_those_that_nothing_explains_are_shown_and_the_worst_first() -> None:
    story = Story()
    story.minutes(6, WHATSAPP_DOWN | {("netflix", "lazio"): 9.0})

    shown = story.judge.open_now(2)

    assert who(shown) == [(Kind.SERVICE, "whatsapp", None), (Kind.SERIES, "netflix", "lazio")]
    assert story.judge.open_now(0) == []


def test_resolved_incident_is_open_no_longer() -> None:
    story = Story()
    story.minutes(1, LAZIO_WHATSAPP)
    assert len(story.judge.open_now(50)) == 1

    story.minutes(10, {})

    assert story.judge.open_now(50) == []


def test_silent_sources_are_told_with_how_long_until_they_are_back() -> None:
    story = Story()
    story.silent_minutes(3)
    assert story.judge.silent(50) == {"site": 183.0}
    assert story.judge.silent(0) == {}

    story.return_minute()

    assert story.judge.silent(50) == {}

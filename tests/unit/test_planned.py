"""Planned maintenance from reports to alerts: what happens in it is told, wakes nobody and teaches nothing."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors import alert
from detectors.alert import Alert, Pager, Severity, State
from detectors.counts import NameCache, PartitionCounter
from detectors.detection import Detection
from detectors.judge import Judge
from detectors.maintenance import CalendarText
from detectors.pipeline import Here, Learned, Pipeline, PlainRecord
from detectors.river_bank import Bank
from detectors.rules import Rules
from detectors.series import Series
from detectors.surge import Scores

MINUTE = 60_000
#: 2022-10-25T00:00:00Z
BEGIN = 1_666_656_000_000
HOURS = 4
SERVICES = ("WhatsApp", "TIM", "Netflix")
REGIONS = ("it/lazio", "it/puglia", "it/veneto")


def works(categories: str = "", location: str = "") -> tuple[CalendarText, ...]:
    """Works from 02:00 to 02:30."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//tests//EN",
        "BEGIN:VEVENT",
        "UID:1",
        "DTSTART:20221025T020000Z",
        "DTEND:20221025T023000Z",
        "SUMMARY:Router swap",
        *([f"CATEGORIES:{categories}"] if categories else []),
        *([f"LOCATION:{location}"] if location else []),
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]
    return (CalendarText("works.ics", "\r\n".join(lines)),)


class Last:
    """Keeps what the bank of the last closed bucket knows."""

    bank: Bank

    def closing(self, bank: Bank, start: int, counts: NDArray[np.int64]) -> None:
        pass

    def closed(
        self, bank: Bank, start: int, counts: NDArray[np.int64], scores: Scores, told: NDArray[np.int64]
    ) -> None:
        self.bank = bank

    def skipped(self, bank: Bank) -> None:
        raise AssertionError("the feed has no gaps")


@cache
def feed(surge: range, region: str | None) -> list[tuple[list[bytes], list[int]]]:
    """Values and timestamps by minute, see `run`."""
    chance = random.Random(3)
    minutes = []
    for minute in range(HOURS * 60):
        reports = []
        for name in SERVICES:
            for place in REGIONS:
                more = 10 if minute in surge and name == "WhatsApp" and region in (None, place) else 0
                for part in range(6):
                    at = BEGIN + minute * MINUTE + part * 10_000
                    told = {"service": name, "region": place, "time": at, "count": more + (chance.random() < 0.5)}
                    reports.append((at, json.dumps(told).encode()))
        reports.sort(key=lambda each: each[0])
        minutes.append(([value for _, value in reports], [at for at, _ in reports]))
    return minutes


@cache
def run(calendars: tuple[CalendarText, ...], surge: range, region: str | None = None) -> tuple[tuple[Alert, ...], Bank]:
    """Alerts of a quiet feed in which WhatsApp has 60 reports a minute more in these minutes; the bank at its end.

    region: where alone; None: everywhere.
    """
    last = Last()
    rules = Rules(calendars=calendars, partitions=1, reports_partitions=1)
    pipeline = Pipeline(rules, Here(rules, observer=last))
    told = [alert.decode(each) for minute in feed(surge, region) for each in pipeline.read(0, *minute)]
    return tuple(told), last.bank


def go_on(learned: Learned, rules: Rules, minutes: Sequence[tuple[list[bytes], list[int]]]) -> list[Alert]:
    """The alerts of stages that start from what was learned."""
    counter = PartitionCounter(NameCache(rules), 0, learned.ingest[0])
    detection = Detection.restore(rules, 0, learned.detect[0])
    judge = Judge.from_state(rules.incidents, 1, learned.judge, rules.surroundings())
    told: list[Alert] = []
    for values, stamps in minutes:
        pairs = zip(values, stamps, strict=True)
        records = [PlainRecord(counter.upto + place, at, value) for place, (value, at) in enumerate(pairs)]
        done = 0
        while done < len(records):
            done, _ = counter.read(records, done)
            for record in detection.take(counter.messages()[0]):
                told += judge.apply(record)
            if counter.full:
                counter.seal()
    return told


def pages(alerts: Sequence[Alert]) -> list[Alert]:
    pager = Pager()
    return [each for each in alerts if pager.pages(each)]


#: Minutes of the day: 02:05 to 02:25, and to 02:50.
WITHIN = range(125, 145)
LONGER = range(125, 170)
NEVER = range(0)


def test_without_a_calendar_the_same_outage_pages():
    alerts, _ = run((), WITHIN)

    assert [each.service for each in pages(alerts)] == ["WhatsApp"]
    assert {(each.silenced, each.maintenance) for each in alerts} == {(False, None)}


@pytest.mark.parametrize("calendars", [works(), works("Whats*"), works("TIM,whatsapp", "it")])
def test_outage_within_maintenance_is_info_silenced_and_resolves(calendars):
    alerts, _ = run(calendars, WITHIN)

    assert pages(alerts) == []
    mine = [each for each in alerts if each.service == "WhatsApp" and each.parent is None]
    assert len({each.id for each in mine}) == 1
    assert {(each.severity, each.silenced, each.maintenance) for each in mine} == {(Severity.INFO, True, "Router swap")}
    assert mine[-1].state is State.RESOLVED
    assert mine[-1].summary.endswith("; planned: Router swap")
    assert mine[-1].resolved_at < "2022-10-25T02:45"


def test_outage_that_outlasts_maintenance_pages_soon_after_it():
    alerts, _ = run(works("whatsapp"), LONGER)

    paged = pages(alerts)
    assert [(each.service, each.silenced) for each in paged] == [("WhatsApp", False)]
    assert "2022-10-25T02:30" < paged[0].updated_at < "2022-10-25T02:35"
    assert paged[0].id == alerts[0].id
    assert alerts[0].silenced


@pytest.mark.parametrize("calendars", [works("tim"), works("", "it/lazio"), works("whatsapp", "it/lazio")])
def test_maintenance_elsewhere_silences_nothing(calendars):
    alerts, _ = run(calendars, WITHIN, region=None if calendars == works("tim") else "it/puglia")

    assert [each.service for each in pages(alerts)] == ["WhatsApp"]


def test_alerts_after_a_restart_within_maintenance_are_those_without_one():
    whole, _ = run(works("whatsapp"), LONGER)
    rules = Rules(calendars=works("whatsapp"), partitions=1, reports_partitions=1)
    pipeline = Pipeline(rules)
    minutes = feed(LONGER, None)
    first = [alert.decode(each) for minute in minutes[:130] for each in pipeline.read(0, *minute)]

    rest = go_on(pipeline.learned([0]), rules, minutes[130:])

    assert 0 < len(first) < len(whole)
    assert (*first, *rest) == whole


def test_whatever_happens_in_maintenance_of_everything_the_bank_knows_the_same_afterwards():
    _, disturbed = run(works(), WITHIN)
    _, quiet = run(works(), NEVER)

    mine, other = disturbed.arrays(), quiet.arrays()
    assert [name for name in other if not np.array_equal(mine[name], other[name])] == []


def test_baseline_of_what_was_maintained_is_the_same_afterwards_and_would_not_be_otherwise():
    _, disturbed = run(works("whatsapp"), WITHIN)
    _, quiet = run(works("whatsapp"), NEVER)
    _, unplanned = run((), WITHIN)
    _, unplanned_quiet = run((), NEVER)

    assert np.array_equal(of_whatsapp(disturbed), of_whatsapp(quiet))
    assert not np.array_equal(of_whatsapp(unplanned), of_whatsapp(unplanned_quiet))


def of_whatsapp(bank: Bank) -> NDArray[np.float64]:
    """What its baseline knows of the series and roll-ups of the service, in order of name."""
    rows = sorted((one, row) for row, one in enumerate(bank.series) if one.service == "whatsapp")
    assert len(rows) == 5
    assert rows[0][0] == Series("reports", "whatsapp", "*")
    return bank.arrays()["rows"][:, [row for _, row in rows]]

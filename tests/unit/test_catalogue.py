"""Catalogue: whose names are whose, what is told of services and regions, what is muted, and what cannot be meant."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from detectors.alert import PAGING, Alert, Kind, Muted, Severity, State, decode, millis
from detectors.catalogue import About, Catalogue, Mute, Region, Service, Wrong
from detectors.counts import BEGIN, NameCache, PartitionCounter, Position
from detectors.detection import Detection
from detectors.judge import Judge
from detectors.local_time import DAY_MS
from detectors.pipeline import Pipeline, PlainRecord
from detectors.report import Rejected, identify
from detectors.rules import Rules
from detectors.series import Names, Series
from detectors.surges import SurgeRecord
from detectors.surroundings import Surroundings

#: 2022-10-25T07:00:00Z
T0 = 1_666_681_200_000
WHATSAPP = Service(
    name="WhatsApp",
    aliases=("WA", "Whats App"),
    owner="Ada Rossi",
    team="messaging",
    links={"runbook": "https://wiki.example.org/whatsapp"},
)
ITALY = Region(path="it", name="Italy", aliases=("Italia",), time_zone="Europe/Rome")
LAZIO = Region(path="IT/Lazio", name="Lazio", aliases=("lazio", "it/latium"))
BOTH = Catalogue(services=(WHATSAPP,), regions=(ITALY, LAZIO))


def settled(service: str, region: str = "", catalogue: Catalogue = BOTH) -> tuple[str, str, str, str]:
    named = identify("site", service, region)
    assert not isinstance(named, Rejected)
    series, names = catalogue.settle(*named)
    assert catalogue.settle(series, names) == (series, names)
    return series.service, series.region, names.service, names.region


# --- names ---


@pytest.mark.parametrize("spelled", ["WA", " wa ", "WHATS  APP", "whatsapp", "WhatsApp"])
def test_service_by_any_of_its_names_is_the_one_that_the_catalogue_spells(spelled):
    assert settled(spelled)[::2] == ("whatsapp", "WhatsApp")


def test_names_that_are_not_in_the_catalogue_stay_as_they_are():
    assert settled("Wave", "FR/Paris") == ("wave", "fr/paris", "Wave", "FR/Paris")
    assert settled("WA", "FR", Catalogue()) == ("wa", "fr", "WA", "FR")


@pytest.mark.parametrize(
    ("written", "path", "shown"),
    [
        ("Lazio", "it/lazio", "IT/Lazio"),
        ("it/lazio", "it/lazio", "IT/Lazio"),
        ("LAZIO/Roma", "it/lazio/roma", "IT/Lazio/Roma"),
        ("Italia/Puglia", "it/puglia", "it/Puglia"),
        ("Italia / Latium / Roma", "it/lazio/roma", "IT/Lazio/Roma"),
        ("lazioland", "lazioland", "lazioland"),
        ("", "", ""),
    ],
)
def test_region_is_known_by_its_aliases_and_what_lies_within_moves_along(written, path, shown):
    assert settled("TIM", written)[1::2] == (path, shown)


def test_path_within_its_own_alias_comes_to_an_end():
    nested = Catalogue(regions=(Region(path="eu/it", aliases=("it", "eu/italy")), Region(path="it/x", aliases=("eu",))))

    assert settled("TIM", "it/a/a/a", nested)[1] == "eu/it/a/a/a"
    assert settled("TIM", "eu/a", nested)[1] == "it/x/a"


def test_roll_ups_are_settled_like_what_they_sum_up():
    within = BOTH.settle(Series("s", "*", "italia/*"), Names("*", "Italia/*"))
    everywhere = BOTH.settle(Series("s", "wa", "*"), Names("WA", "*"))

    assert within == (Series("s", "*", "it/*"), Names("*", "it/*"))
    assert everywhere == (Series("s", "whatsapp", "*"), Names("WhatsApp", "*"))


def test_own_services_are_told_by_their_folded_names():
    catalogue = Catalogue(services=(Service(name="TIM", own=True), WHATSAPP))

    assert catalogue.own() == {"tim"}


def test_time_zones_are_told_by_folded_paths():
    assert BOTH.time_zones() == {"it": "Europe/Rome"}


def test_catalogue_reaches_another_process_as_it_is():
    found = pickle.loads(pickle.dumps(BOTH))

    assert found == BOTH
    assert settled("WA", "lazio", found) == settled("WA", "lazio")


# --- what is told ---


def test_alert_of_a_series_has_what_is_known_of_service_and_region():
    assert BOTH.about(("whatsapp", "it/lazio")) == About("Lazio", "Ada Rossi", "messaging", False, WHATSAPP.links)


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        (("*", "it/lazio"), "Lazio"),
        (("*", "it/*"), "Italy"),
        (("*", "*"), None),
        (("tim", "it/puglia"), None),
        (("tim", ""), None),
        (("*feed", "it"), None),
    ],
)
def test_what_spans_services_has_the_name_of_its_region_alone(scope, name):
    assert BOTH.about(scope) == About(name)


def test_minor_is_what_a_service_is_and_never_what_spans_several():
    catalogue = Catalogue(services=(Service(name="Games", aliases=("Play",), minor=True), WHATSAPP))

    assert catalogue.is_minor(("games", "it"))
    assert not catalogue.is_minor(("whatsapp", "it"))
    assert not catalogue.is_minor(("*", "it"))


# --- mutes ---


@pytest.mark.parametrize(
    ("scope", "kind", "mute", "fits"),
    [
        (("testing", "it"), Kind.SERIES, {"service": "Test*"}, True),
        (("contest", "it"), Kind.SERIES, {"service": "Test*"}, False),
        (("testing", "it/lazio"), Kind.SERIES, {"service": "TEST*", "region": "IT / Laz*"}, True),
        (("testing", "it"), Kind.SERIES, {"service": "Test*", "region": "it/*"}, False),
        (("testing", "*"), Kind.SERVICE, {"service": "Test*"}, True),
        (("testing", "*"), Kind.SERVICE, {"service": "Test*", "region": "?"}, False),
        (("testing", "it/*"), Kind.SERVICE, {"region": "it/*"}, True),
        (("*", "it"), Kind.REGION, {"service": "?"}, False),
        (("*", "it"), Kind.REGION, {"service": "*", "region": "it"}, True),
        (("*", "*"), Kind.GLOBAL, {}, True),
        (("testing", "it"), Kind.SERIES, {"kind": Kind.SERVICE}, False),
        (("testing", "it"), Kind.SERIES, {"kind": Kind.SERIES}, True),
        (("*feed", "site"), Kind.FEED, {"kind": Kind.FEED}, True),
        (("*feed", "site"), Kind.FEED, {"service": "*feed"}, False),
        (("whatsapp", "it"), Kind.SERIES, {"service": "WA"}, True),
        (("tim", "it/lazio"), Kind.SERIES, {"region": "lazio"}, True),
    ],
)
def test_mute_fits_what_its_patterns_say(scope, kind, mute, fits):
    catalogue = Catalogue(services=(WHATSAPP,), regions=(LAZIO,), mutes=(Mute(reason="load tests", **mute),))

    assert (catalogue.muted(scope, kind, since=T0, at=T0) is not None) is fits


def test_mute_is_told_with_its_reason_until_it_ends():
    until = datetime(2022, 10, 25, 8, tzinfo=UTC)
    catalogue = Catalogue(mutes=(Mute(reason="load tests", until=until),))
    ends = T0 + 3_600_000

    told = catalogue.muted(("tim", ""), Kind.SERIES, since=T0, at=ends - 1)

    assert told == Muted(by="settings", reason="load tests", since="2022-10-25T07:00:00Z", until="2022-10-25T08:00:00Z")
    assert catalogue.muted(("tim", ""), Kind.SERIES, since=T0, at=ends) is None
    assert catalogue.mute_ends(("tim", ""), Kind.SERIES) == [ends]


def test_of_several_mutes_the_one_that_lasts_longest_is_told():
    until = datetime(2022, 10, 25, 8, tzinfo=UTC)
    catalogue = Catalogue(mutes=(Mute(reason="short", until=until), Mute(reason="for ever")))

    told = catalogue.muted(("tim", ""), Kind.SERIES, since=T0, at=T0)

    assert told is not None
    assert (told.reason, told.until) == ("for ever", None)


# --- what cannot be meant ---


@pytest.mark.parametrize(
    ("given", "entry", "problem"),
    [
        (
            {"services": (WHATSAPP, Service(name="whatsapp"))},
            "[[service]] number 2 (whatsapp)",
            "it is [[service]] number 1 (WhatsApp) once more",
        ),
        (
            {"services": (WHATSAPP, Service(name="Wave", aliases=("wa",)))},
            "[[service]] number 2 (Wave)",
            'alias "wa" belongs to [[service]] number 1 (WhatsApp)',
        ),
        (
            {"services": (Service(name="Wave", aliases=("WhatsApp",)), WHATSAPP)},
            "[[service]] number 1 (Wave)",
            'alias "WhatsApp" belongs to [[service]] number 2 (WhatsApp)',
        ),
        (
            {"services": (Service(name="*all"),)},
            "[[service]] number 1 (*all)",
            'no report can name "*all": names that begin with * are Groundswell\'s own',
        ),
        (
            {"services": (Service(name="TIM", links={"runbook": "ftp://x"}),)},
            "[[service]] number 1 (TIM)",
            'link runbook "ftp://x" is not http(s)',
        ),
        (
            {"services": (Service(name="TIM", links={"runbook": "javascript:alert(1)//https://x"}),)},
            "[[service]] number 1 (TIM)",
            'link runbook "javascript:alert(1)//https://x" is not http(s)',
        ),
        ({"services": (Service(name="TIM", team="\x1b"),)}, "[[service]] number 1 (TIM)", 'team "\\u001b" is no name'),
        (
            {"regions": (LAZIO, Region(path="it/LAZIO"))},
            "[[region]] number 2 (it/LAZIO)",
            "it is [[region]] number 1 (IT/Lazio) once more",
        ),
        (
            {"regions": (LAZIO, Region(path="fr", aliases=("Lazio",)))},
            "[[region]] number 2 (fr)",
            'alias "Lazio" belongs to [[region]] number 1 (IT/Lazio)',
        ),
        ({"regions": (Region(path=" / "),)}, '[[region]] number 1 (/)', 'no report can name " / ": it is empty'),
        (
            {"regions": (Region(path="it", time_zone="Europe/Roma"),)},
            "[[region]] number 1 (it)",
            "time zone 'Europe/Roma' is unknown",
        ),
        ({"mutes": (Mute(service="T[", reason="r"),)}, "[[mute]] number 1 (T[)", 'service "T[" has [ without ]'),
        ({"mutes": (Mute(region=" \x00", reason="r"),)}, "[[mute]] number 1 (*)", 'region " \\u0000" is no pattern'),
        ({"mutes": (Mute(reason=" "),)}, "[[mute]] number 1 (*)", 'reason " " is no line of text'),
    ],
)  # fmt: skip
def test_contradiction_names_the_entry_and_what_is_wrong(given, entry, problem):
    with pytest.raises(Wrong) as caught:
        Catalogue(**given)

    assert (caught.value.entry, caught.value.problem) == (entry, problem)
    assert caught.value.hint


# --- in the stages ---


def report(minute: float, service: str, region: str = "it/lazio", count: int = 1) -> bytes:
    time = T0 / 1000 + 60 * minute
    return f'{{"service":"{service}","region":"{region}","time":{time},"count":{count}}}'.encode()


def day(minutes: range, outage: range, names: tuple[str, ...]) -> list[bytes]:
    """Two reports a minute of TIM and of WhatsApp, by its names in turn; in the outage thirty more."""
    reports = []
    for minute in minutes:
        name = names[minute % len(names)]
        reports.append(report(minute, "TIM", count=2))
        reports.append(report(minute + 0.3, name, count=30 if minute in outage else 2))
    return reports


RULES = Rules(partitions=1, reports_partitions=1, catalogue=BOTH)
NAMES = ("WhatsApp", "WA", "Whats App")


def test_reports_under_any_name_count_for_one_series():
    counter = PartitionCounter(NameCache(RULES), 0, BEGIN)
    values = [report(0, "WA", "lazio"), report(0, "whats app"), report(0, "WhatsApp", "it/Latium")]

    counter.read([PlainRecord(number, T0, value) for number, value in enumerate(values)])

    (message,) = counter.messages()
    assert message.series == [Series("reports", "whatsapp", "it/lazio"), Series("reports", "*", "it/lazio")]
    assert message.names == [Names("WhatsApp", "IT/Lazio"), Names("*", "IT/Lazio")]
    assert message.counts == [3, 3]


def said(values: list[bytes], rules: Rules = RULES) -> list[Alert]:
    pipeline = Pipeline(rules)
    return [decode(each) for each in pipeline.read(0, values, [T0 + 10 * DAY_MS] * len(values))]


HISTORY, OUTAGE = range(600), range(540, 570)


def test_reports_under_three_names_make_one_incident_of_the_name_in_the_catalogue():
    alerts = said(day(HISTORY, OUTAGE, NAMES))

    assert {(alert.service, alert.region) for alert in alerts} == {("WhatsApp", "IT/Lazio")}
    assert len({alert.id for alert in alerts}) == 1
    assert (alerts[0].owner, alerts[0].team, alerts[0].region_name) == ("Ada Rossi", "messaging", "Lazio")
    assert alerts[0].links == WHATSAPP.links
    assert alerts[0].summary.startswith("WhatsApp in Lazio: ")
    assert {alert.severity for alert in alerts} >= {Severity.CRITICAL}


def test_minor_service_is_a_warning_at_most():
    minor = Catalogue(services=(replace(WHATSAPP, minor=True),))

    alerts = said(day(HISTORY, OUTAGE, NAMES), replace(RULES, catalogue=minor))

    assert alerts[-1].state is State.RESOLVED
    assert all(alert.minor for alert in alerts)
    assert {alert.severity for alert in alerts} == {Severity.WARNING}


def go_on(
    detection: Detection, rules: Rules, values: list[bytes], start: Position
) -> tuple[list[SurgeRecord], Position]:
    """What detection tells of further reports, and where their partition goes on."""
    counter = PartitionCounter(NameCache(rules), 0, start)
    records = [PlainRecord(start.offset + number, T0 + 10 * DAY_MS, value) for number, value in enumerate(values)]
    told: list[SurgeRecord] = []
    done = 0
    while done < len(records):
        done, _ = counter.read(records, done)
        told += detection.take(counter.messages()[0])
        if counter.full:
            counter.seal()
    return told, counter.seal()


def test_what_was_a_series_before_the_catalogue_named_it_an_alias_does_no_harm():
    before = replace(RULES, catalogue=Catalogue())
    detection = Detection(before, 0)
    first, position = go_on(detection, before, day(range(600), range(0), ("whatsapp", "WhatsApp", "WA")), BEGIN)
    judge = Judge(before.incidents, 1)
    assert [alert for record in first for alert in judge.apply(record)] == []

    detection = Detection.restore(RULES, 0, detection.save())
    judge = Judge.from_state(RULES.incidents, 1, judge.to_state(), Surroundings(catalogue=BOTH))
    later, _ = go_on(detection, RULES, day(range(600, 1200), range(1140, 1170), NAMES), position)

    alerts = [alert for record in later for alert in judge.apply(record)]
    assert {(alert.kind, alert.service) for alert in alerts} == {(Kind.SERIES, "WhatsApp")}
    assert min(millis(alert.started_at) for alert in alerts) >= T0 + 1139 * 60_000
    assert any(alert.severity in PAGING for alert in alerts)

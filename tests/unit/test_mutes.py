"""Mutes: what a mute of the settings fits is told of and calls nobody, until it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from detectors.alert import Alert, Kind, State, utc
from detectors.catalogue import Catalogue, Mute, Service
from detectors.incident import IncidentRule
from detectors.judge import Judge
from detectors.surroundings import Surroundings
from tests.unit.test_judge import BEGIN, LAZIO_WHATSAPP, MINUTE, WHATSAPP_DOWN, Story, of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Half a minute after the tenth minute was judged: at a time at which nothing else is to do.
END = BEGIN + 10 * MINUTE + 33_000


class Restarted(Story):
    """A story in which the judge is restored after every minute."""

    def minutes(self, number, surging, observed=30) -> list[Alert]:
        alerts = []
        for _ in range(number):
            alerts += super().minutes(1, surging, observed)
            self.judge = Judge.from_state(IncidentRule(), 1, self.judge.to_state(), self.around)
        return alerts


def told(mute: Mute, kind: type[Story] = Story) -> Story:
    """A story judged with a mute."""
    story = kind()
    story.around = Surroundings(catalogue=Catalogue(services=(Service(name="WhatsApp"),), mutes=(mute,)))
    story.judge = Judge(IncidentRule(), 1, story.around)
    return story


def until(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


def test_muted_incident_is_told_with_the_reason_and_calls_nobody() -> None:
    story = told(Mute(service="What*", reason="load tests"))

    story.minutes(20, LAZIO_WHATSAPP)
    story.nothing(30)

    assert [alert.state for alert in story.alerts][:: len(story.alerts) - 1] == [State.OPEN, State.RESOLVED]
    assert {(alert.muted.by, alert.muted.reason) for alert in story.alerts if alert.muted} == {
        ("settings", "load tests")
    }
    assert all(alert.muted is not None for alert in story.alerts)
    assert story.pages == []
    assert story.judge.pages.hours == ()


def test_mute_of_another_service_changes_nothing() -> None:
    story = told(Mute(service="Tele*", reason="load tests"))

    story.minutes(20, LAZIO_WHATSAPP)

    assert len(story.pages) == 1
    assert all(alert.muted is None for alert in story.alerts)


def test_incident_that_is_still_bad_when_its_mute_ends_pages_then() -> None:
    story = told(Mute(service="What*", reason="load tests", until=until(END)))

    story.minutes(20, LAZIO_WHATSAPP)

    assert [page.updated_at for page in story.pages] == [utc(END)]
    before = of(story.alerts, story.pages[0].id)[: story.pages[0].sequence - 1]
    assert [alert.muted.until for alert in before if alert.muted] == [utc(END)] * len(before)
    assert sum(pages for _, pages in story.judge.pages.hours) == 1


def test_restarted_judge_pages_at_the_same_time() -> None:
    mute = Mute(service="What*", reason="load tests", until=until(END))
    story, restarted = told(mute), told(mute, Restarted)

    story.minutes(20, LAZIO_WHATSAPP)
    restarted.minutes(20, LAZIO_WHATSAPP)

    assert restarted.alerts == story.alerts
    assert len(story.pages) == len(restarted.pages) == 1


def test_incident_that_is_over_when_its_mute_ends_pages_nobody() -> None:
    story = told(Mute(service="What*", reason="load tests", until=until(END)))

    story.minutes(3, LAZIO_WHATSAPP)
    story.nothing(30)

    assert story.alerts[-1].state is State.RESOLVED
    assert story.pages == []


def test_next_episode_after_the_mute_pages() -> None:
    story = told(Mute(service="What*", reason="load tests", until=until(END)))

    story.minutes(3, LAZIO_WHATSAPP)
    story.nothing(20)
    story.onset = story.next_minute
    story.minutes(5, LAZIO_WHATSAPP)

    assert [page.episode for page in story.pages] == [2]


def test_mute_of_one_region_leaves_the_service_that_is_down_everywhere_alone() -> None:
    story = told(Mute(service="WhatsApp", region="la*", reason="works in Lazio"))

    story.minutes(5, WHATSAPP_DOWN)

    assert [(page.kind, page.muted) for page in story.pages] == [(Kind.SERVICE, None)]
    assert {alert.region for alert in story.alerts if alert.muted is not None} == {"lazio"}


def test_silent_feed_that_is_muted_pages_once_the_mute_ends() -> None:
    story = told(Mute(kind=Kind.FEED, reason="works at the call centre", until=until(END)))

    story.silent_minutes(20)

    assert [page.updated_at for page in story.pages] == [utc(BEGIN + 11 * MINUTE + 3_000)]
    assert story.alerts[0].muted is not None

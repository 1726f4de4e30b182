"""Episodes: what is kept of the alerts of a run."""

from __future__ import annotations

from detectors.alert import Kind, Severity
from detectors.episodes import History
from tests.made_alerts import outage, resolved, silence


def test_episode_is_as_its_last_alert_tells():
    history = History()
    history.apply(outage(sequence=1, observed=10))
    history.apply(resolved(sequence=2, observed=20))

    (only,) = history.episodes()
    assert (only.observed, only.resolved, only.kind, only.parent) == (20, True, Kind.SERIES, None)
    assert history.records == 2


def test_incident_that_turned_out_to_be_wider_is_found_at_its_new_place():
    history = History()
    history.apply(outage(sequence=1, region="it/lazio"))
    history.apply(outage(sequence=2, region=None, kind=Kind.SERVICE))

    assert history.at(("whatsapp", "it/lazio")) == []
    assert [each.region for each in history.at(("whatsapp", "*"))] == [None]


def test_silent_feed_has_a_place_of_its_own():
    history = History()
    history.apply(silence())

    assert [each.id for each in history.at(("*feed", "outage-site"))] == ["silence-1"]


def test_what_paged_is_remembered_and_what_another_explains_did_not():
    history = History()
    history.apply(outage("before", sequence=1))
    history.apply(outage("before", sequence=2, parent="wide"))
    history.apply(outage("child", parent="wide"))
    history.apply(outage("mild", severity=Severity.WARNING))

    assert {each.id: each.paged for each in history.episodes()} == {"before": True, "child": False, "mild": False}

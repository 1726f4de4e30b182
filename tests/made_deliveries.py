"""Deliveries made by hand, and all that an alert can say, for the tests of receivers."""

from __future__ import annotations

from detectors.alert import (
    Acknowledged,
    Alert,
    Contacts,
    Earlier,
    Kind,
    Muted,
    Part,
    Resolution,
    Severity,
    ShownBy,
    State,
    Verdict,
    Word,
)
from detectors.delivery import Action, Delivery, Told, standing
from tests.made_alerts import outage, resolved

AT = "2022-10-25T11:00:00Z"


def opened(alert: Alert | None = None) -> Delivery:
    """The first that a destination hears of it."""
    alert = alert or outage()
    return Delivery(alert=alert, action=Action.OPEN, standing=standing(alert, alert.id), before=None)


def then(action: Action, alert: Alert, *, sequence: int = 1) -> Delivery:
    """What comes after it was told of the record `sequence`."""
    before = Told(
        incident=alert.id,
        sequence=sequence,
        episode=alert.episode,
        action=Action.OPEN,
        severity=Severity.ERROR,
        standing=standing(alert, alert.id),
        quiet=False,
        at=0,
    )
    return Delivery(alert=alert, action=action, standing=before.standing, before=before)


def over(alert: Alert | None = None) -> Delivery:
    """Its end, after its first record was told."""
    return then(Action.RESOLVE, alert or resolved())


def full(id: str = "5f3c9a2b7d10", text: str | None = None, **changed: object) -> Alert:
    """An alert that says all that one can; `text` in each place that holds text from outside."""

    def said(usual: str) -> str:
        return usual if text is None else text

    fields: dict[str, object] = {
        "kind": Kind.SERVICE,
        "sources": [said("outage-site"), "contact-centre"],
        "service": said("WhatsApp"),
        "region": said("it/*"),
        "region_name": said("Italy"),
        "owner": said("Messaging"),
        "team": said("messaging-oncall"),
        "links": {said("runbook"): "https://wiki.example/whatsapp", "dashboard": "https://grafana.example/d/wa"},
        "summary": said(
            "WhatsApp in all of Italy: 8,214 reports in 12 minutes, 187 usual (44 times), since 11:48 UTC;"
            " 41,200 extra contacts, 85 % of them about WhatsApp, 25,300 EUR"
        ),
        "reasons": [said("1,000 reports beyond the usual"), "8 series surge"],
        "verdict": Verdict(
            explained=0.93,
            taking_part=19,
            looked_at=20,
            not_taking_part=[said("it/molise")],
            likelier=12.0,
            instead=[said("TIM in it/lazio")],
        ),
        "top_regions": [
            Part(name=said("it/lazio"), share=0.31, usual=0.2),
            Part(name="it/sicilia", share=0.2, usual=0.1),
        ],
        "top_services": [Part(name=said("WhatsApp"), share=1.0, usual=0.4)],
        "top_sources": [Part(name=said("outage-site"), share=1.0, usual=1.0)],
        "top_problems": [Part(name=said("sending"), share=0.69, usual=0.2)],
        "earlier": [Earlier(id="e1", started_at=AT, resolved_at=AT, severity=Severity.ERROR, excess=12.0)],
        "contacts": Contacts(
            cause=id,
            about=said("WhatsApp"),
            explained=0.85,
            shown_by=ShownBy.MENTIONS,
            broken=[said("TIM")],
            observed=48_000,
            expected=6_800.0,
            extra=41_200.0,
            extra_explained=35_020.0,
            an_hour=21_000.0,
            peak_at=None,
            forecast=65_000.0,
            cost=25_300.0,
            forecast_cost=40_000.0,
            currency="EUR",
            until=AT,
            voice_menu={"en": said("Since 11:48 many people have had trouble with WhatsApp.")},
            agents={"en": said("WhatsApp has been in trouble since 11:48: tell callers so, and open no ticket.")},
        ),
        "acknowledged": Acknowledged(by=said("Ada"), reason=said("on it"), at=AT),
        "muted": Muted(by=said("Ada"), reason=said("known"), since=AT),
        "word": Word(id="w1", action="ack", by=said("Ada"), reason=said("on it"), at=AT),
        "silenced": True,
        "maintenance": said("Upgrade of the gateway"),
        "stale": True,
        "warming": True,
        "episode": 2,
    }
    return outage(id, **{**fields, **changed})


def full_end(text: str | None = None) -> Alert:
    """The end of it."""
    return full(
        text=text, sequence=9, state=State.RESOLVED, resolved_at="2022-10-25T12:30:00Z", resolution=Resolution.OVER
    )

"""A night on the status page, made by hand: WhatsApp is out in all of Italy, people call TIM, and what was before."""

from __future__ import annotations

import math

from detectors.alert import (
    Acknowledged,
    Alert,
    Contacts,
    Course,
    Earlier,
    Kind,
    Part,
    Severity,
    ShownBy,
    State,
    Verdict,
    Word,
    utc,
)
from streams.web.incidents import IncidentView
from tests.made_alerts import NOON, outage, resolved, silence

ID = "f65d2ce31003f158"
_MINUTE_MS = 60_000
_NOON_MS = int(NOON * 1000)
#: The outage began 35 minutes before noon.
ONSET_MS = _NOON_MS - 35 * _MINUTE_MS


def counts(end_ms: int, minutes: int, usual: float, height: float, onset_ms: int = ONSET_MS) -> Course:
    """Counts a minute that rise to `height` times the usual within ten minutes of the onset, with some scatter."""
    begin = end_ms - minutes * _MINUTE_MS
    times = [begin + i * _MINUTE_MS for i in range(minutes)]
    expected = [usual * (1 + 0.15 * math.sin(time / 3.6e6)) for time in times]
    observed = []
    for i, (time, mean) in enumerate(zip(times, expected, strict=True)):
        grown = 1 + (height - 1) * min(max(time - onset_ms, 0) / (10 * _MINUTE_MS), 1.0)
        observed.append(round(mean * grown * (1 + 0.12 * math.sin(i * 2.3) + 0.07 * math.sin(i * 5.1))))
    return Course(
        bucket_seconds=60,
        end=utc(end_ms),
        observed=observed,
        expected=[round(mean, 3) for mean in expected],
        low=[round(max(mean - 2 * math.sqrt(mean), 0.0), 3) for mean in expected],
        high=[round(mean + 2.2 * math.sqrt(mean), 3) for mean in expected],
    )


REGIONS = ("it/lombardia", "it/lazio", "it/campania", "it/piemonte", "it/veneto", "it/sicilia", "it/puglia")


def whatsapp(sequence: int = 12, **changed: object) -> Alert:
    """The outage as of noon."""
    fields: dict[str, object] = {
        "sequence": sequence,
        "state": State.UPDATE,
        "kind": Kind.SERVICE,
        "sources": ["contact-centre", "outage-site"],
        "region": "it/*",
        "region_name": "Italy",
        "team": "messaging",
        "owner": "Ada Rossi",
        "links": {
            "runbook": "https://wiki.example.org/whatsapp",
            "dashboard": "https://grafana.example.org/d/whatsapp",
        },
        "started_at": utc(ONSET_MS),
        "detected_at": utc(ONSET_MS + 83_000),
        "updated_at": utc(_NOON_MS),
        "summary": "WhatsApp in all of Italy: 25,274 reports in 35 minutes, 731 usual (35 times), since 11:25 UTC;"
        " 41,200 extra contacts, 85 % of them about WhatsApp, 25,300 EUR",
        "observed": 25_274,
        "expected": 731.4,
        "expected_low": 678.0,
        "expected_high": 786.2,
        "ratio": 34.6,
        "evidence": 41.7,
        "verdict": Verdict(
            explained=0.97,
            taking_part=18,
            looked_at=20,
            not_taking_part=["it/valle-d-aosta", "it/molise"],
            likelier=24.0,
            instead=["All services in it"],
        ),
        "course": counts(_NOON_MS, 60, 20.9, 44.0),
        "reasons": ["24,543 reports beyond the usual", "18 of 20 regions show it"],
        "top_regions": [Part(name=name, share=0.31 / (i + 1), usual=0.2 / (i + 1)) for i, name in enumerate(REGIONS)],
        "top_problems": [
            Part(name="sending", share=0.69, usual=0.2),
            Part(name="connection", share=0.22, usual=0.34),
        ],
        "top_sources": [
            Part(name="outage-site", share=0.71, usual=0.66),
            Part(name="contact-centre", share=0.29, usual=0.34),
        ],
        "earlier": [
            Earlier(
                id="0123456789abcdef",
                started_at="2022-09-11T18:05:00Z",
                resolved_at="2022-09-11T19:20:00Z",
                severity=Severity.ERROR,
                excess=812.0,
            )
        ],
        "contacts": Contacts(
            cause=ID,
            about="WhatsApp",
            explained=0.85,
            shown_by=ShownBy.MENTIONS,
            broken=[],
            observed=54_480,
            expected=13_280.0,
            extra=41_200.0,
            extra_explained=35_020.0,
            an_hour=70_600.0,
            peak_at=None,
            forecast=82_400.0,
            cost=25_338.0,
            forecast_cost=50_676.0,
            currency="EUR",
            until=utc(_NOON_MS),
            voice_menu={
                "en": "WhatsApp does not work at the moment. It is not your line. They are working on it.",
                "it": "In questo momento WhatsApp non funziona. Non dipende dalla tua linea.",
            },
            agents={
                "en": "WhatsApp is down in Italy since 13:25. It is not us. Do not open tickets.",
                "it": "WhatsApp non funziona in Italia dalle 13:25. Non dipende da noi. Non aprire ticket.",
            },
        ),
    }
    return outage(ID, **{**fields, **changed})


def night(view: IncidentView) -> None:
    """Let the night pass by."""
    lombardia = {"kind": Kind.SERIES, "region": "it/lombardia", "region_name": None, "contacts": None, "verdict": None}
    view.apply(
        whatsapp(
            1,
            **lombardia,
            state=State.OPEN,
            severity=Severity.WARNING,
            updated_at=utc(ONSET_MS + 83_000),
            course=counts(ONSET_MS + _MINUTE_MS, 60, 4.0, 44.0),
        )
    )
    view.apply(whatsapp(2, severity=Severity.ERROR, updated_at=utc(ONSET_MS + 4 * _MINUTE_MS)))
    ack = Word(id="a1", action="ack", by="maria", reason="calling their hotline", at=utc(ONSET_MS + 6 * _MINUTE_MS))
    looked_after = Acknowledged(by=ack.by, reason=ack.reason, at=ack.at)
    view.apply(whatsapp(3, updated_at=utc(ONSET_MS + 5 * _MINUTE_MS)))
    view.apply(whatsapp(4, updated_at=ack.at, acknowledged=looked_after, word=ack))
    view.apply(
        whatsapp(
            5,
            acknowledged=looked_after,
            updated_at=utc(_NOON_MS - 25 * _MINUTE_MS),
            course=counts(_NOON_MS - 25 * _MINUTE_MS, 60, 20.9, 44.0),
        )
    )
    view.apply(whatsapp(12, acknowledged=looked_after))
    for i, region in enumerate(REGIONS):
        view.apply(
            outage(
                f"part-{i}",
                region=region,
                parent=ID,
                severity=Severity.ERROR,
                ratio=38.0 - 3 * i,
                observed=7_100 // (i + 1),
                expected=220.0 / (i + 1),
                expected_low=190.0 / (i + 1),
                expected_high=251.0 / (i + 1),
                started_at=utc(ONSET_MS + i * 20_000),
                course=counts(_NOON_MS, 60, 6.0 / (i + 1), 38.0 - 3 * i),
            )
        )
    view.apply(
        outage(
            "poste",
            service="Poste Italiane",
            region="it/lazio/roma",
            severity=Severity.WARNING,
            ratio=4.1,
            observed=37,
            expected=9.1,
            expected_low=4.0,
            expected_high=15.0,
            evidence=3.1,
            warming=True,
            started_at=utc(_NOON_MS - 12 * _MINUTE_MS),
            summary="Poste Italiane in it/lazio/roma: 37 reports in 12 minutes, 9.1 usual (4.1 times), since 11:48 UTC",
            course=counts(_NOON_MS, 60, 0.8, 5.0, _NOON_MS - 12 * _MINUTE_MS),
        )
    )
    view.apply(silence("calls", sources=["social"], severity=Severity.INFO))
    before = {"started_at": "2022-10-24T09:12:00Z", "detected_at": "2022-10-24T09:13:00Z", "severity": Severity.ERROR}
    view.apply(
        resolved("vodafone", **before, service="Vodafone", region="it/toscana", resolved_at="2022-10-24T10:40:00Z")
    )
    view.apply(resolved("0123456789abcdef", started_at="2022-09-11T18:05:00Z", resolved_at="2022-09-11T19:20:00Z"))
    view.apply(resolved("tim", service="TIM", region="it/lazio", severity=Severity.WARNING, ratio=3.2, observed=412))

"""The two dashboards: `python deploy/grafana/dashboards.py` writes dashboards/*.json; a test keeps those true.

Written in Python: most of a dashboard's JSON is repetition (matchers, data source, layout), and hides mistakes.
With a few helpers of our own: grafana-foundation-sdk would say the same at greater length, and is one more dependency,
tied to Grafana's versions. The JSON is that of Grafana 10 and later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "dashboards"
RUNBOOK = "https://github.com/groundswell/groundswell/blob/main/docs/runbook.md#"

Json = dict[str, Any]

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
#: A panel is a third, a half or all of the dashboard wide.
THIRD, HALF, FULL = 8, 12, 24
GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "#8e8e8e"
SEVERITIES = {"critical": RED, "error": ORANGE, "warning": YELLOW, "info": "blue"}


# --- how a dashboard is put together ---


def of(metric: str, *matchers: str) -> str:
    """The selector of a metric of the workers that are chosen above the panels."""
    return metric + "{" + ", ".join(('job=~"$job"', 'instance=~"$instance"', *matchers)) + "}"


def rate(metric: str, *matchers: str) -> str:
    """How fast a counter of the chosen workers grows, a second."""
    return f"rate({of(metric, *matchers)}[$__rate_interval])"


def quantile(q: float, metric: str, by: str = "", over: str = "$__rate_interval") -> str:
    """A quantile of a histogram of the chosen workers."""
    return f"histogram_quantile({q}, sum by (le{by}) (increase({of(metric + '_bucket')}[{over}])))"


def query(expr: str, legend: str = "", *, instant: bool = False) -> Json:
    """legend: with {{label}} in it. instant: only the latest value, as a row of a table."""
    how: Json = {"instant": True, "range": False, "format": "table"} if instant else {"instant": False, "range": True}
    return {"datasource": SOURCE, "expr": expr, "legendFormat": legend or "__auto", **how}


def steps(*bounds: tuple[float | None, str]) -> Json:
    """Colours from these values on."""
    return {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in bounds]}


def panel(
    number: int,
    kind: str,
    title: str,
    description: str,
    queries: Sequence[Json],
    *,
    unit: str,
    width: int = HALF,
    height: int = 8,
    thresholds: Json | None = None,
    runbook: str = "",
    overrides: Sequence[Json] = (),
    custom: Json | None = None,
    **more: Any,
) -> Json:
    """A panel. number: its id, by which alerts link to it, so it stays. runbook: the alert that is about it."""
    defaults: Json = {"unit": unit, "custom": custom or {}, "thresholds": thresholds or steps((None, GREEN))}
    return {
        "id": number,
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "targets": [{"refId": chr(ord("A") + n), **each} for n, each in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "links": [{"title": f"Runbook: {runbook}", "url": RUNBOOK + runbook.lower(), "targetBlank": True}]
        if runbook
        else [],
        "gridPos": {"w": width, "h": height},
        **more,
    }


def lines(number: int, title: str, description: str, queries: Sequence[Json], *, unit: str, **more: Any) -> Json:
    """Lines over time. more: as of `panel`."""
    custom = {"lineWidth": 1, "fillOpacity": 0, "showPoints": "never", "spanNulls": False, **more.pop("custom", {})}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel(
        number, "timeseries", title, description, queries, unit=unit, custom=custom, options=options, **more
    )  # fmt: skip


def figures(number: int, title: str, description: str, queries: Sequence[Json], *, unit: str, **more: Any) -> Json:
    """Large figures, the latest of each line. more: as of `panel`."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "area",
        "textMode": "auto",
        "orientation": "auto",
        "justifyMode": "auto",
    }
    return panel(number, "stat", title, description, queries, unit=unit, options=options, **more)


def table(number: int, title: str, description: str, queries: Sequence[Json], *, unit: str, **more: Any) -> Json:
    """Rows of labels and values; what several queries say of the same labels is one row. more: as of `panel`."""
    values = more.pop("values")
    return panel(
        number,
        "table",
        title,
        description,
        queries,
        unit=unit,
        options={"showHeader": True, "cellHeight": "sm"},
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "renameByName": {f"Value #{chr(ord('A') + n)}": value for n, value in enumerate(values)},
                },
            },
        ],
        **more,
    )


def shown_as(name: str, **properties: Any) -> Json:
    """What is special about the field of that name."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def colored(colors: dict[str, str]) -> list[Json]:
    """Fields in colours that mean something."""
    return [shown_as(name, color={"mode": "fixed", "fixedColor": color}) for name, color in colors.items()]


def variable(name: str, label: str, expr: str, *, regex: str = "", description: str = "") -> Json:
    """A choice above the panels: values of a label, several or all."""
    return {
        "name": name,
        "label": label,
        "description": description,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": expr, "refId": f"variable-{name}"},
        "definition": expr,
        "regex": regex,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,  # with the time range: what was open then is not open now
        "sort": 1,
    }


VARIABLES: list[Json] = [
    {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "multi": False,
        "includeAll": False,
        "current": {},
        "refresh": 1,
    },
    variable("job", "Job", "label_values(groundswell_build_info, job)"),
    variable("instance", "Worker", 'label_values(groundswell_build_info{job=~"$job"}, instance)'),
]

ANNOTATIONS: list[Json] = [
    {
        "name": "Incidents",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": RED,
        "expr": "max by (kind, service, region, severity, incident) ("
        + of("groundswell_incident_open", 'status!="explained"')
        + ")",
        "step": "30s",
        "titleFormat": "{{service}} in {{region}}",
        "textFormat": "{{severity}}, {{kind}}: groundswell incident ack {{incident}}",
        "tagKeys": "severity,kind",
    },
    {
        "name": "Alerts on Groundswell",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": ORANGE,
        "expr": 'ALERTS{alertname=~"Groundswell.+", alertname!="GroundswellWatchdog", alertstate="firing"}',
        "step": "30s",
        "titleFormat": "{{alertname}}",
        "textFormat": "{{instance}} {{stage}} {{topic}} {{source}} {{destination}}",
        "tagKeys": "severity",
    },
]


def dashboard(uid: str, title: str, description: str, rows: Sequence[tuple[str, list[Json]]], more: list[Json]) -> Json:
    """A dashboard of rows of panels, laid out from left to right. more: variables besides those that all have."""
    panels: list[Json] = []
    y = 0
    for number, (name, members) in enumerate(rows):
        place = {"x": 0, "y": y, "w": FULL, "h": 1}
        panels.append(
            {"id": 1000 + number, "type": "row", "title": name, "collapsed": False, "panels": [], "gridPos": place}
        )
        x, y, tallest = 0, y + 1, 0
        for member in members:
            size = member["gridPos"]
            if x + size["w"] > FULL:
                x, y, tallest = 0, y + tallest, 0
            panels.append({**member, "gridPos": {"x": x, "y": y, **size}})
            x, tallest = x + size["w"], max(tallest, size["h"])
        y += tallest
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["groundswell"],
        "editable": False,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "timezone": "",
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "links": [
            {
                "title": "Groundswell",
                "type": "dashboards",
                "tags": ["groundswell"],
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
            }
        ],
        "annotations": {"list": ANNOTATIONS},
        "templating": {"list": [*VARIABLES, *more]},
        "panels": panels,
    }


# --- Incidents ---

PLACE = "kind, service, region"
CONTACTS = "Contacts that reach our own centres while somebody else's service is down"
#: The one incident, or those, that a repeated panel is about.
CHOSEN = of("groundswell_incident_open", 'incident=~"$incident"')


def place(metric: str) -> str:
    """A gauge of incidents by place: whoever judges, it is one line."""
    return f"max by ({PLACE}) ({of(metric)})"


def chosen(metric: str) -> str:
    """A gauge of the chosen incident alone, also if it grew from a series to its service."""
    return f"max ({of(metric)} and on ({PLACE}) {CHOSEN})"


def now() -> list[Json]:
    """What is open, and why it is taken for that."""
    return [
        figures(
            1,
            "Open incidents",
            "How many incidents of each severity are open; critical and error call somebody, unless another "
            "incident explains them. The figures below name the worst of them (setting metrics.incidents).",
            [query(f"max by (severity) ({of('groundswell_open_incidents')})", "{{severity}}")],
            unit="short",
            width=THIRD,
            overrides=colored(SEVERITIES),
            runbook="GroundswellIncidentsRefused",
        ),
        table(
            2,
            "What is wrong now",
            "Each open incident: reports since its onset against what was to be expected, and how rare that is "
            "by chance (evidence 2: once in a hundred weeks of one series). status says why one calls nobody.",
            [
                query(
                    f"max by ({PLACE}, severity, status, incident) ({of('groundswell_incident_open')})",
                    instant=True,
                ),
                query(place("groundswell_incident_reports"), instant=True),
                query(place("groundswell_incident_expected_reports"), instant=True),
                query(place("groundswell_incident_evidence"), instant=True),
                query(f"time() - {place('groundswell_incident_started_timestamp_seconds')}", instant=True),
            ],
            unit="short",
            width=2 * THIRD,
            values=["open", "reports", "expected", "evidence", "since"],
            overrides=[
                shown_as("open", custom__hidden=True),
                shown_as("since", unit="s"),
                shown_as(
                    "incident",
                    links=[{"title": "Its picture", "url": "/d/groundswell-incidents?var-incident=${__value.raw}"}],
                ),
                shown_as(
                    "severity",
                    mappings=[
                        {
                            "type": "value",
                            "options": {name: {"color": color} for name, color in SEVERITIES.items()},
                        }
                    ],
                    custom__cellOptions={"type": "color-text"},
                ),
            ],
        ),
        table(
            3,
            "Verdicts",
            "What speaks for each incident being one cause: its share of all reports beyond the usual, and the "
            "share of the series within it that take part.",
            [
                query(place("groundswell_incident_verdict_explained_ratio"), instant=True),
                query(place("groundswell_incident_verdict_taking_part_ratio"), instant=True),
            ],
            unit="percentunit",
            values=["explains", "take part"],
        ),
        silent_sources(4),
    ]


def silent_sources(width: int) -> Json:
    """On both dashboards."""
    return figures(
        width,
        "Silent sources",
        "For how long a source has said nothing though reports were to be expected: outages that only it "
        "would show are not seen.",
        [
            query(
                f"max by (source) ({of('groundswell_source_silent_seconds')})",
                "{{source}}",
            )
        ],
        unit="s",
        thresholds=steps((None, YELLOW), (600, RED)),
        runbook="GroundswellSourceSilent",
    )


def by_place() -> list[Json]:
    """What is in trouble, and beside it what is usual."""
    return [
        lines(
            5,
            "Reports a minute, in trouble",
            "What came in the last bucket of the feed that shows each incident most. `*` stands for all.",
            [query(place("groundswell_incident_reports_per_minute"), "{{service}} in {{region}}")],
            unit="reports/min",
        ),
        lines(
            6,
            "Times the usual, in trouble",
            "Reports in the last bucket, divided by what was expected of it.",
            [
                query(
                    f"{place('groundswell_incident_reports_per_minute')} / "
                    f"({place('groundswell_incident_expected_reports_per_minute')} > 0)",
                    "{{service}} in {{region}}",
                )
            ],
            unit="none",
            custom={"scaleDistribution": {"type": "log", "log": 10}},
        ),
        lines(
            7,
            "Reports a minute, busiest series",
            "Observed of the series of which most reports are expected (setting metrics.busiest_series).",
            [
                query(
                    f"max by (source, service, region) ({of('groundswell_series_reports_per_minute')})",
                    "{{service}} in {{region}}, {{source}}",
                )
            ],
            unit="reports/min",
        ),
        lines(
            8,
            "Expected a minute, busiest series",
            "What the baseline expected of the same buckets: the usual course of the day and the week.",
            [
                query(
                    f"max by (source, service, region) ({of('groundswell_series_expected_reports_per_minute')})",
                    "{{service}} in {{region}}, {{source}}",
                )
            ],
            unit="reports/min",
        ),
    ]


def alerting() -> list[Json]:
    """How fast and how often people are told."""
    return [
        figures(
            9,
            "Time to alert",
            "From the estimated onset to the decision that opens an incident, and from there to its alert being "
            "with Kafka (live reports only): half of them are faster, and 95 % are. Over the time shown.",
            [
                query(quantile(0.5, "groundswell_detection_delay_seconds", over="$__range"), "decided, half"),
                query(quantile(0.95, "groundswell_detection_delay_seconds", over="$__range"), "decided, 95 %"),
                query(quantile(0.95, "groundswell_alert_latency_seconds", over="$__range"), "sent, 95 %"),
            ],
            unit="s",
            width=THIRD,
        ),
        lines(
            10,
            "Pages a week, and the budget",
            "Pages in the last four weeks of event time, those of them that people called false alarms, and how "
            "many are bearable (setting incidents.alert_budget).",
            [
                query(f"max ({of('groundswell_alert_achieved_pages_per_week')})", "pages"),
                query(f"max ({of('groundswell_alert_false_pages_per_week')})", "false alarms"),
                query(f"max ({of('groundswell_alert_budget_pages_per_week')})", "budget"),
            ],
            unit="none",
            width=THIRD,
            overrides=colored({"pages": ORANGE, "false alarms": RED, "budget": GREEN}),
            runbook="GroundswellBudgetExceeded",
        ),
        lines(
            11,
            "Alerts sent",
            "Records on the topic alerts, a minute, by what they say of their incident.",
            [query(f"60 * sum by (state) ({rate('groundswell_alerts_total')})", "{{state}}")],
            unit="alerts/min",
            width=THIRD,
            overrides=colored({"open": RED, "update": GREY, "resolved": GREEN}),
        ),
    ]


def ours() -> list[Json]:
    """Contacts that reach our own centres while somebody else's service is down."""
    return [
        lines(
            12,
            "Extra contacts",
            f"{CONTACTS}: those beyond the usual since it began, and how many there will be in the end.",
            [
                query(place("groundswell_incident_contacts_extra"), "{{service}} so far"),
                query(place("groundswell_incident_contacts_forecast"), "{{service}} in the end"),
            ],
            unit="short",
            width=THIRD,
        ),
        lines(
            13,
            "Share that is about it",
            f"{CONTACTS}: the share of the extra ones that is about that incident. Nothing is drawn while a "
            "service of ours looks broken, too.",
            [query(place("groundswell_incident_contacts_explained_ratio"), "{{service}}")],
            unit="percentunit",
            width=THIRD,
        ),
        figures(
            14,
            "Cost",
            f"{CONTACTS}: what they cost so far and in the end (setting ours.cost_per_contact).",
            [
                query(
                    f"max by ({PLACE}, currency) ({of('groundswell_incident_contacts_cost')})",
                    "{{service}} so far, {{currency}}",
                ),
                query(
                    f"max by ({PLACE}, currency) ({of('groundswell_incident_contacts_forecast_cost')})",
                    "{{service}} in the end, {{currency}}",
                ),
            ],
            unit="short",
            width=THIRD,
            thresholds=steps((None, ORANGE)),
        ),
    ]


def bands() -> list[Json]:
    """A picture for each incident."""
    return [
        lines(
            15,
            "$incident",
            "Reports a minute against the band that holds 95 of 100 usual buckets, for each open incident that "
            "no other one explains.",
            [
                query(chosen("groundswell_incident_expected_low_reports_per_minute"), "low"),
                query(chosen("groundswell_incident_expected_high_reports_per_minute"), "high"),
                query(chosen("groundswell_incident_expected_reports_per_minute"), "expected"),
                query(chosen("groundswell_incident_reports_per_minute"), "observed"),
            ],
            unit="reports/min",
            width=THIRD,
            repeat="incident",
            repeatDirection="h",
            maxPerRow=3,
            overrides=[
                shown_as(
                    "high",
                    custom__fillBelowTo="low",
                    custom__fillOpacity=20,
                    custom__lineWidth=0,
                    color={"mode": "fixed", "fixedColor": GREEN},
                ),
                shown_as("low", custom__lineWidth=0, color={"mode": "fixed", "fixedColor": GREEN}),
                *colored({"expected": GREEN, "observed": RED}),
            ],
        ),
    ]


def incidents() -> Json:
    """What is wrong, for those who are called."""
    return dashboard(
        "groundswell-incidents",
        "Groundswell / Incidents",
        "What is wrong now, how sure that is, since when, and what it costs.",
        [
            ("Now", now()),
            ("By service and region", by_place()),
            ("How well it alerts", alerting()),
            ("Is it ours?", ours()),
            ("Observed against the expected band", bands()),
        ],
        [
            variable(
                "incident",
                "Incident",
                "query_result(max by (incident, place) (label_join(last_over_time("
                + of("groundswell_incident_open", 'status!="explained"')
                + '[$__range]), "place", " in ", "service", "region")))',
                regex='/incident="(?<value>[^"]*)",place="(?<text>.*)"}/',
                description="Those that were open in the time shown and that no other incident explains.",
            )
        ],
    )


# --- Operations ---


def glance() -> list[Json]:
    """Is it there, and does it complain?"""
    return [
        figures(
            1,
            "Workers that answer",
            "How many workers Prometheus reaches. Each takes over the partitions of one that is gone.",
            [query(f"sum ({of('up')})", "workers")],
            unit="short",
            width=THIRD,
            height=6,
            thresholds=steps((None, RED), (1, GREEN)),
            runbook="GroundswellAllWorkersDown",
        ),
        figures(
            19,
            "Alerts firing on Groundswell itself",
            "By name. GroundswellWatchdog always fires: it shows that rules are evaluated.",
            [
                query(
                    'count by (alertname) (ALERTS{alertname=~"Groundswell.+", alertstate="firing"})',
                    "{{alertname}}",
                )
            ],
            unit="short",
            width=2 * THIRD,
            height=6,
            thresholds=steps((None, ORANGE)),
            overrides=colored({"GroundswellWatchdog": GREEN}),
            runbook="GroundswellWatchdog",
        ),
    ]


def input_() -> list[Json]:
    """What comes in."""
    return [
        lines(
            2,
            "Throughput",
            "Records read from the topic reports, those counted, and those rejected. Read is always counted "
            "plus rejected.",
            [
                query(f"sum ({rate('groundswell_reports_read_total')})", "read"),
                query(f"sum ({rate('groundswell_reports_counted_total')})", "counted"),
                query(f"sum ({rate('groundswell_reports_rejected_total')})", "rejected"),
            ],
            unit="reports/s",
            overrides=colored({"read": "blue", "counted": GREEN, "rejected": RED}),
        ),
        lines(
            3,
            "Reports that the records stand for",
            "A record with a count stands for as many reports.",
            [query(f"sum ({rate('groundswell_report_volume_total')})", "reports")],
            unit="reports/s",
        ),
        lines(
            4,
            "Input lag",
            "Records that wait in each topic that Groundswell reads. A backlog after a restart shrinks again; one "
            "that grows needs another worker.",
            [
                query(
                    f"sum by (topic) (max by (topic, partition) ({of('groundswell_input_lag_records')}))",
                    "{{topic}}",
                )
            ],
            unit="short",
            runbook="GroundswellInputLagGrows",
        ),
        lines(
            5,
            "Stalled",
            "For how long a stage's input has been waiting with none of it handled. Seconds are no stall.",
            [
                query(
                    f"max by (instance, stage) ({of('groundswell_stage_stalled_seconds')})",
                    "{{stage}} {{instance}}",
                )
            ],
            unit="s",
            thresholds=steps((None, GREEN), (15, RED)),
            custom={"thresholdsStyle": {"mode": "line"}},
            runbook="GroundswellStalled",
        ),
        lines(
            8,
            "Rejected, by reason",
            "Reports that went to reports-dead-letter instead of being counted, as a share of all.",
            [
                query(
                    f"sum by (reason) ({rate('groundswell_reports_rejected_total')}) "
                    f"/ on () group_left sum ({rate('groundswell_reports_read_total')})",
                    "{{reason}}",
                )
            ],
            unit="percentunit",
            runbook="GroundswellDeadLettersUnusual",
        ),
        silent_sources(7),
    ]


def deciding() -> list[Json]:
    """How far it is, and how fast."""
    return [
        lines(
            6,
            "Watermark age",
            "How old what is waited for is, of each source that has settings of its own. A few seconds more than "
            "its lateness are usual; a replay of history is as old as the history.",
            [query(f"max by (source) ({of('groundswell_watermark_age_seconds')})", "{{source}}")],
            unit="s",
            runbook="GroundswellWatermarkStands",
        ),
        lines(
            12,
            "Alert latency",
            "From the event time of a decision to its alert being with Kafka, live reports only.",
            [
                query(quantile(0.5, "groundswell_alert_latency_seconds"), "half are faster"),
                query(quantile(0.95, "groundswell_alert_latency_seconds"), "95 % are faster"),
            ],
            unit="s",
            runbook="GroundswellAlertsSlow",
        ),
        lines(
            9,
            "Series",
            "Series that are watched, and reports of further names that went into the overflow series, a minute "
            "(setting series.limit).",
            [
                query(f"sum ({of('groundswell_series_tracked')})", "watched"),
                query(f"60 * sum ({rate('groundswell_series_overflow_total')})", "overflow, reports/min"),
            ],
            unit="short",
            runbook="GroundswellSeriesOverflow",
        ),
        lines(
            20,
            "Buckets closed",
            "Buckets that were closed and scored, each for all series of a source and partition.",
            [query(f"sum ({rate('groundswell_buckets_closed_total')})", "buckets")],
            unit="buckets/s",
        ),
    ]


def state() -> list[Json]:
    """What is remembered, and how long it takes to have it back."""
    return [
        lines(
            10,
            "Recovery",
            "Whether each worker has its partitions and their state (1), and how long it last took until it had.",
            [
                query(f"min by (instance) ({of('groundswell_ready')})", "ready {{instance}}"),
                query(f"max by (instance) ({of('groundswell_recovery_seconds')})", "seconds {{instance}}"),
            ],
            unit="short",
            width=THIRD,
            runbook="GroundswellRecoveryLong",
        ),
        lines(
            11,
            "Snapshots",
            "Snapshots of state that Kafka confirmed, a minute, and those that were refused as damaged.",
            [
                query(f"60 * sum by (stage) ({rate('groundswell_snapshots_total')})", "{{stage}}"),
                query(
                    f"60 * sum by (stage) ({rate('groundswell_snapshots_refused_total')})",
                    "{{stage}} refused",
                ),
            ],
            unit="snapshots/min",
            width=THIRD,
            runbook="GroundswellSnapshotRefused",
        ),
        lines(
            21,
            "Size of snapshots",
            "Bytes of the last snapshot of each stage: what a recovery has to read.",
            [query(f"max by (stage) ({of('groundswell_snapshot_bytes')})", "{{stage}}")],
            unit="bytes",
            width=THIRD,
        ),
    ]


def deliveries() -> list[Json]:
    """How alerts get to people."""
    return [
        lines(
            13,
            "Deliveries, by outcome",
            "Alerts on their way to each destination, a minute: delivered, tried again, refused for good, or "
            "superseded by a later state of their incident.",
            [
                query(
                    f"60 * sum by (destination, outcome) ({rate('groundswell_deliveries_total')})",
                    "{{destination}} {{outcome}}",
                )
            ],
            unit="alerts/min",
            runbook="GroundswellDeliveriesRefused",
        ),
        figures(
            14,
            "Destinations",
            "1 while a destination takes alerts, 0 while it fails so often that it is only asked now and then.",
            [query(f"min by (destination) ({of('groundswell_destination_up')})", "{{destination}}")],
            unit="short",
            thresholds=steps((None, RED), (1, GREEN)),
            runbook="GroundswellDestinationDown",
        ),
        lines(
            15,
            "Alerts that wait",
            "Alerts that a destination has not taken yet.",
            [query(f"sum by (destination) ({of('groundswell_destination_pending')})", "{{destination}}")],
            unit="short",
            runbook="GroundswellDeliveriesPending",
        ),
        lines(
            16,
            "Delivery time",
            "From an alert being read to its destination having taken it.",
            [
                query(
                    quantile(0.5, "groundswell_delivery_seconds", ", destination"),
                    "{{destination}}, half are faster",
                ),
                query(
                    quantile(0.95, "groundswell_delivery_seconds", ", destination"),
                    "{{destination}}, 95 % are faster",
                ),
            ],
            unit="s",
        ),
    ]


def process() -> list[Json]:
    """What it takes of the machine."""
    return [
        lines(
            17,
            "Processor",
            "Processors that each worker uses: it has use for one and a little more.",
            [query(f"sum by (instance) ({rate('process_cpu_seconds_total')})", "{{instance}}")],
            unit="short",
        ),
        lines(
            18,
            "Memory",
            "Resident memory of each worker.",
            [query(f"max by (instance) ({of('process_resident_memory_bytes')})", "{{instance}}")],
            unit="bytes",
        ),
    ]


def operations() -> Json:
    """How Groundswell itself is, for those who run it."""
    return dashboard(
        "groundswell-operations",
        "Groundswell / Operations",
        "Whether Groundswell keeps up, decides, remembers and delivers.",
        [
            ("At a glance", glance()),
            ("Input", input_()),
            ("Deciding", deciding()),
            ("State", state()),
            ("Deliveries", deliveries()),
            ("Process", process()),
        ],
        [],
    )


#: By the name of their file.
DASHBOARDS = {"incidents.json": incidents, "operations.json": operations}


def text(made: Json) -> str:
    """A dashboard as its file has it."""
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    for file, make in DASHBOARDS.items():
        (HERE / file).write_text(text(make()), encoding="utf-8")

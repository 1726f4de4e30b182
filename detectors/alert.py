"""The record on `alerts`: our contract with its readers."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

from detectors.report import fold
from detectors.rollup import ALL

SCHEMA_VERSION = 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class State(enum.StrEnum):
    """What the record says of its incident."""

    OPEN = "open"
    UPDATE = "update"
    RESOLVED = "resolved"


class Severity(enum.StrEnum):
    """How bad, in PagerDuty's words; critical and error page."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Kind(enum.StrEnum):
    """What an incident spans: where to look for what broke."""

    SERIES = "series"
    SERVICE = "service"
    REGION = "region"
    GLOBAL = "global"
    FEED = "feed"


#: Service of what a silent source has instead.
FEED = "*feed"

#: What wakes somebody. The others are for the screen.
PAGING = frozenset({Severity.ERROR, Severity.CRITICAL})


Time = Annotated[
    str, Meta(description="RFC 3339, UTC: 2022-10-25T07:04:00Z", extra_json_schema={"format": "date-time"})
]


class Resolution(enum.StrEnum):
    """How an incident came to its end."""

    OVER = "over"
    BY_HAND = "by hand"
    ACCEPTED = "accepted as the new level"
    FALSE_ALARM = "false alarm"


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody looks after it: no page for the rest of the episode. at: when that was said, by their clock."""

    by: str
    reason: str
    at: Time


class Muted(msgspec.Struct, frozen=True, kw_only=True):
    """No page until then, or until it is taken back. by: a person, or `settings`. since, until: event times."""

    by: str
    reason: str
    since: Time
    until: Time | None = None


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said that led to a record: their command. at: when, by their clock."""

    id: str
    action: str
    by: str
    reason: str
    at: Time


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """The last buckets of the series in trouble, oldest first, for a sparkline. -1 observed: missing."""

    bucket_seconds: int
    end: Time
    observed: list[int]
    expected: list[float]
    low: list[float]
    high: list[float]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Why an incident is taken for what it is: what the table of services and regions shows since it began to surge."""

    explained: Annotated[
        float, Meta(description="share of all reports beyond the usual, in all that surges, that this cause explains")
    ]
    taking_part: Annotated[int, Meta(description="series within it that show it, of those that were looked at")]
    looked_at: Annotated[int, Meta(description="series within it that were looked at")]
    not_taking_part: Annotated[
        list[str], Meta(description="regions (of a service) or services (of a region) that do not, at most ten")
    ]
    likelier: Annotated[
        float, Meta(description="log10 of how much likelier it is than what else would explain the same")
    ]
    instead: Annotated[list[str], Meta(description="what else would: service in region, at most three; none: chance")]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A region, service, source or problem within an incident, and its share of the reports."""

    name: str
    share: Annotated[float, Meta(ge=0, le=1, description="of the incident's reports since started_at, at most an hour")]
    usual: Annotated[float, Meta(ge=0, le=1, description="its share on a usual day at that time")]


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that was there before."""

    id: str
    started_at: Time
    resolved_at: Time
    severity: Severity
    excess: Annotated[float, Meta(description="reports beyond the usual of its last episode")]


class ShownBy(enum.StrEnum):
    """What shows that contacts are about an incident."""

    MENTIONS = "mentions"
    COURSE = "course"


class Contacts(msgspec.Struct, frozen=True, kw_only=True):
    """What our contact centres have to do with somebody else's incident: contacts since it began, and their cost."""

    cause: Annotated[str, Meta(description="id of that incident")]
    about: Annotated[str, Meta(description="its service")]
    explained: Annotated[
        float | None, Meta(description="share of the extra contacts that are about it; null: it cannot be told")
    ]
    shown_by: Annotated[
        ShownBy | None,
        Meta(description="mentions: by what the contacts say they are about; course: they come as its reports do"),
    ]
    broken: Annotated[
        list[str], Meta(description="own services that look broken themselves, so that it cannot be told whose it is")
    ]
    observed: Annotated[int, Meta(ge=0, description="contacts since the incident began")]
    expected: Annotated[float, Meta(description="contacts usual in that time")]
    extra: Annotated[float, Meta(description="contacts beyond the usual")]
    extra_explained: Annotated[float | None, Meta(description="of these, those that are about the incident")]
    an_hour: Annotated[float, Meta(description="contacts an hour beyond the usual, now")]
    peak_at: Annotated[Time | None, Meta(description="when most came; null: the peak has not passed")]
    forecast: Annotated[
        float,
        Meta(
            description="extra contacts in the end: at this rate for as long again as it has lasted, until the peak has"
            " passed; then down as so far"
        ),
    ]
    cost: Annotated[float | None, Meta(description="of the extra contacts")]
    forecast_cost: Annotated[float | None, Meta(description="of `forecast`")]
    currency: str | None
    until: Annotated[Time, Meta(description="contacts are counted up to here")]
    voice_menu: Annotated[dict[str, str], Meta(description="sentence for the voice menu by language")]
    agents: Annotated[dict[str, str], Meta(description="sentence for agents by language")]


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One change of an incident."""

    schema_version: int = SCHEMA_VERSION
    id: Annotated[str, Meta(description="the incident: the same from open to resolved, also the record's key")]
    sequence: Annotated[int, Meta(ge=1, description="1, 2, 3 … within the incident; a repeat has the same bytes")]
    episode: Annotated[int, Meta(ge=1, description="counts how often the incident came back")]
    state: State
    kind: Annotated[Kind, Meta(description="what the incident spans")]
    sources: Annotated[list[str], Meta(description="the feeds that show it, sorted")]
    service: Annotated[str | None, Meta(description="null where it spans all services")]
    region: Annotated[
        str | None,
        Meta(description="null: all regions; it/*: all within it; '' where the reports do not say"),
    ]
    severity: Severity
    parent: Annotated[str | None, Meta(description="id of the incident that explains this one")] = None
    region_name: Annotated[
        str | None, Meta(description="the region's name in the service catalogue; of it/* that of it")
    ] = None
    owner: Annotated[str | None, Meta(description="who answers for the service")] = None
    team: Annotated[str | None, Meta(description="the team that is called for the service")] = None
    minor: Annotated[bool, Meta(description="the service is marked as minor: never more than a warning")] = False
    links: Annotated[dict[str, str], Meta(description="the service's addresses, by name: runbook, dashboard")] = {}
    muted: Annotated[Muted | None, Meta(description="it calls nobody, and why; null: it is not muted")] = None
    started_at: Annotated[Time, Meta(description="estimated onset")]
    detected_at: Time
    updated_at: Time
    resolved_at: Time | None
    summary: Annotated[str, Meta(description="one line for 3 a.m.")]
    observed: Annotated[int, Meta(ge=0, description="reports since started_at")]
    expected: Annotated[float, Meta(ge=0, description="reports usual in that time")]
    expected_low: Annotated[float, Meta(description="lower end of the 95 % interval of expected")]
    expected_high: Annotated[float, Meta(description="upper end of the 95 % interval of expected")]
    ratio: Annotated[float | None, Meta(description="observed / expected; null where nothing was expected")]
    evidence: Annotated[float, Meta(description="log10 of the return period in series-weeks of what was seen")]
    verdict: Annotated[
        Verdict | None, Meta(description="why it is taken for what it is; null where nothing was asked")
    ] = None
    warming: Annotated[bool, Meta(description="the baseline is young: its interval is wide")]
    course: Annotated[Course | None, Meta(description="the last hour or so of the series")]
    reasons: Annotated[list[str], Meta(description="why it is as severe as it is")] = []
    stale: Annotated[bool, Meta(description="the feeds that show it are silent: nobody knows whether it goes on")] = (
        False
    )
    top_regions: Annotated[list[Part], Meta(description="regions within it, those with most reports first")] = []
    top_services: Annotated[list[Part], Meta(description="services within it, those with most reports first")] = []
    top_sources: Annotated[list[Part], Meta(description="feeds that show it, those with most reports first")] = []
    top_problems: Annotated[
        list[Part], Meta(description="what reports name as wrong; shares are of those reports that name something")
    ] = []
    earlier: Annotated[list[Earlier], Meta(description="incidents of the same place before, the latest first")] = []
    contacts: Annotated[
        Contacts | None, Meta(description="what our contact centres have to do with it; null where they do not surge")
    ] = None
    acknowledged: Annotated[
        Acknowledged | None, Meta(description="who looks after it: it asks for no page in this episode")
    ] = None
    resolution: Annotated[Resolution | None, Meta(description="how it came to its end; null while it is open")] = None
    word: Annotated[Word | None, Meta(description="the command that this record answers; null in all others")] = None
    silenced: Annotated[
        bool, Meta(description="it lies within planned maintenance: it pages nobody, however bad it is")
    ] = False
    maintenance: Annotated[str | None, Meta(description="title of that maintenance; null where it is not silenced")] = (
        None
    )


class Spanning(Protocol):
    """What says what an incident spans: an alert, an episode."""

    @property
    def kind(self) -> Kind: ...
    @property
    def sources(self) -> Sequence[str]: ...
    @property
    def service(self) -> str | None: ...
    @property
    def region(self) -> str | None: ...
    @property
    def region_name(self) -> str | None: ...


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Alert).decode


#: A record is no longer than this, encoded: what can do without goes first.
MOST_BYTES = 16_384
_DISPENSABLE: tuple[dict[str, object], ...] = (
    {"earlier": []},
    {"top_services": [], "top_regions": []},
    {"top_problems": [], "top_sources": []},
    {"verdict": None},
    {"course": None},
    {"links": {}},
    {"reasons": []},
    {"sources": []},
)


def bounded(alert: Alert) -> Alert:
    """The alert, without what does not fit into MOST_BYTES: long names come from the internet."""
    for without in _DISPENSABLE:
        if len(encode(alert)) <= MOST_BYTES:
            break
        alert = msgspec.structs.replace(alert, **without)
    return alert


def place(told: Spanning) -> tuple[str, str]:
    """Service and region that the incident spans, folded as those of series and roll-ups are.

    Of a silent source it is `*feed` and the source.
    """
    if told.kind is Kind.FEED:
        return FEED, "".join(told.sources)
    return ALL if told.service is None else fold(told.service), ALL if told.region is None else fold(told.region)


def words(told: Spanning) -> tuple[str, str]:
    """What is in trouble and where, for people; where is '' for a silent feed and a region that nobody named."""
    if told.kind is Kind.FEED:
        return f"Feed {''.join(told.sources)}", ""
    what = "All services" if told.service is None else told.service
    if told.region is None:
        return what, "everywhere"
    inside = told.region.endswith("/*")
    where = told.region_name or (told.region[:-2] if inside else told.region)
    return what, f"all of {where}" if inside else where


def title(told: Spanning) -> str:
    """What an incident is about, for people: "WhatsApp in all of it", "WhatsApp everywhere", "Feed outage-site"."""
    if told.kind is Kind.GLOBAL:
        return "Everything"
    what, where = words(told)
    if not where:
        return what
    return f"{what} {where}" if told.region is None else f"{what} in {where}"


class Asking(Protocol):
    """What may ask for a page: an alert, an incident."""

    @property
    def parent(self) -> str | None: ...
    @property
    def acknowledged(self) -> Acknowledged | None: ...
    @property
    def muted(self) -> Muted | None: ...
    @property
    def maintenance(self) -> str | None: ...


def asks(told: Asking) -> bool:
    """Whether it asks for a page if it is bad: no other incident explains it, nobody said that it shall not, and it was
    not planned."""
    return told.parent is None and told.acknowledged is None and told.muted is None and told.maintenance is None


class Pager:
    """Which records of `alerts` are a page: what the alert budget counts.

    An episode pages once: at its first record that is an error or critical while it is open, unless another incident
    explains it, or it is muted, acknowledged or silenced. An info or a warning wakes nobody; one that grows to an error
    pages then, and so does one that is muted no longer. An incident that was resolved and comes back pages anew.
    """

    def __init__(self) -> None:
        self._paged: dict[str, int] = {}

    def pages(self, alert: Alert) -> bool:
        """Whether this record, the next one of its incident, is a page."""
        if alert.state is State.RESOLVED:
            self._paged.pop(alert.id, None)
            return False
        if not asks(alert) or alert.severity not in PAGING or self._paged.get(alert.id) == alert.episode:
            return False
        self._paged[alert.id] = alert.episode
        return True


def six_digits(value: float) -> float:
    """`value` with six significant digits, as all floats in alerts are.

    >>> six_digits(4.23456789), six_digits(12345678.9)
    (4.23457, 12345700.0)
    """
    return float(f"{value:.6g}")


def utc(ms: int) -> str:
    """RFC 3339 text of a time in milliseconds since 1970, with milliseconds only where it has some.

    >>> utc(1_666_681_440_000), utc(1_666_681_440_250)
    ('2022-10-25T07:04:00Z', '2022-10-25T07:04:00.250Z')
    """
    text = (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds" if ms % 1000 else "seconds")
    return text.removesuffix("+00:00") + "Z"


def millis(time: str) -> int:
    """Milliseconds since 1970 of an alert's time. ValueError where it is none.

    >>> millis("2022-10-25T07:04:00.250Z")
    1666681440250
    """
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(milliseconds=1)


def headers(alert: Alert) -> list[tuple[str, bytes]]:
    """The headers of its record on `alerts`: CloudEvents 1.0 in binary mode, so the value stays plain JSON.

    Source: https://github.com/cloudevents/spec, bindings/kafka-protocol-binding.md.
    """
    texts = {
        "ce_specversion": "1.0",
        "ce_id": f"{alert.id}.{alert.sequence}",
        "ce_source": "/groundswell",
        "ce_type": f"io.github.groundswell.incident.{alert.state.value}.v{alert.schema_version}",
        "ce_subject": _subject(alert),
        "ce_time": alert.updated_at,
        "content-type": "application/json",
    }
    return [(name, text.encode()) for name, text in texts.items()]


def summary(alert: Alert, until_ms: int) -> str:
    """One line that a person understands at 3 a.m., of the alert's other fields.

    until_ms: event time up to which its reports were counted.
    """
    name, started_ms = _one_line(title(alert)), millis(alert.started_at)
    resolved_ms = None if alert.resolved_at is None else millis(alert.resolved_at)
    again = " again" if alert.episode > 1 else ""
    since = f"since {_clock(started_ms, until_ms if resolved_ms is None else resolved_ms)} UTC"
    if alert.kind is Kind.FEED:
        missed = _figure(alert.expected)
        if resolved_ms is None:
            return f"{name} is silent{again}: no report {since}, {missed} expected since then"
        silence = _span(resolved_ms - started_ms)
        back = _clock(resolved_ms, resolved_ms)
        if alert.resolution in _ENDS:
            return f"{name}: {_ENDS[alert.resolution]} at {back} UTC after {silence} of silence"
        return f"{name} is back at {back} UTC after {silence} of silence, {missed} reports expected in that time"
    counted = f"{_units(alert.observed, 'report')} in {_span(until_ms - started_ms)}, {_usual(alert.expected)}"
    if alert.expected >= _HARDLY_ANY:
        counted += f" ({_figure(alert.observed / alert.expected)} times)"
    since += _of_contacts(alert.contacts)
    planned = "" if alert.maintenance is None else f"; planned: {_one_line(alert.maintenance)}"
    if resolved_ms is not None:
        resolved = "resolved" if alert.resolution is None else _ENDS.get(alert.resolution, "resolved")
        return f"{name}: {resolved} at {_clock(resolved_ms, resolved_ms)} UTC after {counted}, {since}{planned}"
    return f"{name}{again}: {counted}, {since}{planned}"


def _of_contacts(contacts: Contacts | None) -> str:
    """What contact centres have to do with it: ", 41,200 extra contacts, 85 % of them about WhatsApp, 25,300 EUR"."""
    if contacts is None:
        return ""
    if contacts.explained is None:
        told = f"; {_figure(contacts.extra)} extra contacts, but whose fault that is cannot be told"
    else:
        share = f"{100 * contacts.explained:.0f} % of them about {_one_line(contacts.about)}"
        told = f"; {_figure(contacts.extra)} extra contacts, {share}"
    return told if contacts.cost is None else f"{told}, {_figure(contacts.cost)} {contacts.currency}"


#: How an incident ended that had not calmed down, in its last line.
_ENDS = {
    Resolution.BY_HAND: "resolved by hand",
    Resolution.FALSE_ALARM: "called a false alarm",
    Resolution.ACCEPTED: "accepted as the new level",
}

#: Below it an expected count is put in words: a ratio of thousands would say nothing.
_HARDLY_ANY = 0.05


def _subject(alert: Alert) -> str:
    if alert.kind is Kind.FEED:
        return "".join(alert.sources)
    return "/".join(filter(None, (alert.service, alert.region))) or ALL


def _one_line(name: str) -> str:
    """A name without line breaks. report.py refuses them; the log of surges has other writers in theory."""
    return " ".join(name.split())


def _usual(expected: float) -> str:
    if expected <= 0:
        return "none usual"
    return "hardly any usual" if expected < _HARDLY_ANY else f"{_figure(expected)} usual"


def _figure(value: float) -> str:
    """Two digits below 10, whole numbers from it on."""
    return f"{value:.2g}" if value < 9.95 else f"{value:,.0f}"


def _span(ms: int) -> str:
    """How long, in the two largest units that matter.

    >>> _span(40_000), _span(60_000), _span(7_500_000), _span(180_000_000)
    ('40 seconds', '1 minute', '2 hours 5 minutes', '2 days 2 hours')
    """
    seconds = max(0, round(ms / 1000))
    if seconds < 60:
        return _units(seconds, "second")
    minutes = round(seconds / 60)
    if minutes < 120:
        return _units(minutes, "minute")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return _units(hours, "hour") + (f" {_units(minutes, 'minute')}" if minutes else "")
    days, hours = divmod(hours, 24)
    return _units(days, "day") + (f" {_units(hours, 'hour')}" if hours else "")


def _units(number: int, unit: str) -> str:
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"


def _clock(ms: int, seen_from_ms: int) -> str:
    """Hour and minute in UTC, with the date where it is another day than the one it is seen from."""
    text = utc(ms)
    return text[11:16] if text[:10] == utc(seen_from_ms)[:10] else f"{text[:10]} {text[11:16]}"

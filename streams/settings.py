"""All settings: groundswell.toml, then GROUNDSWELL_* variables, then flags; each declared once, in a struct."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from detectors import maintenance, report
from detectors.catalogue import Catalogue
from detectors.delivery import DeliveryRule
from detectors.incident import IncidentRule
from detectors.maintenance import CalendarText
from detectors.ours import OursRule
from detectors.river_models import DetectorChoice
from detectors.routing import Route
from detectors.source import SourceRule
from detectors.surge import SurgeRule
from streams.catalogue_file import CatalogueError
from streams.catalogue_file import read as read_catalogue
from streams.fault import Fault
from streams.fields import PREFIX, Field, Secret, convert, fields_of, shown
from streams.notify.destinations import Destination
from streams.notify.settings import DestinationError, read_destinations, read_routes
from streams.web_settings import WebSettings

if TYPE_CHECKING:
    from detectors.rules import Rules

DEFAULT_FILE = Path("groundswell.toml")
#: Names the settings file itself.
FILE_VARIABLE = PREFIX + "SETTINGS"

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_KAFKA_NAME = r"^[a-zA-Z0-9._-]*$"


class SettingsError(Fault):
    """A setting is wrong: what the caller wrote, what the setting is for, what to write instead."""


def brokers(address: str) -> list[tuple[str, int]]:
    """Host and port of each broker of an address; ValueError where one is not host:port.

    >>> brokers("kafka-1:9092, [::1]:9093")
    [('kafka-1', 9092), ('::1', 9093)]
    """
    found = []
    for part in address.split(","):
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([\w.-]+))(?::(\d{1,5}))?", part.strip(), re.ASCII)
        if not match or not 1 <= int(match[3] or 9092) <= 65_535:
            raise ValueError(
                f"address={part.strip()!r} is not host:port; write kafka-1:9092,kafka-2:9092, without a scheme"
            )
        found.append((match[1] or match[2], int(match[3] or 9092)))
    return found


class KafkaSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Kafka is and how to get in. ValueError where the address names no broker."""

    address: Annotated[
        str,
        Meta(min_length=1, max_length=2000, description="brokers to ask first: host:port, with commas between them"),
    ] = "127.0.0.1:9092"
    security: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"],
        Meta(description="how to talk to the brokers: in the clear or by TLS, with a password or without"),
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="how the password is proved, with SASL_*")
    ] = "PLAIN"
    username: Annotated[str, Meta(max_length=500, description="user name, with SASL_*")] | None = None
    password: Annotated[Secret, Meta(description="password, with SASL_*")] | None = None
    ca_file: (
        Annotated[Path, Meta(description="certificates that sign the brokers' ones, PEM; default: the system's")] | None
    ) = None
    cert_file: Annotated[Path, Meta(description="our own certificate, PEM, where brokers ask for one")] | None = None
    key_file: Annotated[Path, Meta(description="private key of our own certificate, PEM, not encrypted")] | None = None
    group: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=100,
            pattern=_KAFKA_NAME,
            description="consumer group of the workers and start of their state topics' names, after the topic prefix",
        ),
    ] = "groundswell"
    embedded: Annotated[
        bool,
        Meta(
            description="the broker is the embedded one of `groundswell broker`: other time-outs, end offsets put right"
        ),
    ] = False

    def __post_init__(self) -> None:
        brokers(self.address)


class TopicSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The topics Groundswell reads and writes."""

    prefix: Annotated[
        str,
        Meta(
            max_length=100,
            pattern=_KAFKA_NAME,
            description="begins the names of all topics and the group, on a shared cluster",
        ),
    ] = ""
    partitions: Annotated[
        int,
        Meta(
            ge=1, le=256, description="partitions of report-counts: workers that can share detection; fixed once in use"
        ),
    ] = 4
    reports_partitions: Annotated[
        int, Meta(ge=1, le=256, description="partitions of reports: workers that can share reading; fixed once in use")
    ] = 4
    replication: Annotated[
        int, Meta(ge=1, le=10, description="copies of each partition on different brokers; 3 on a cluster")
    ] = 1
    create: Annotated[bool, Meta(description="a starting worker creates the topics that are missing")] = True
    reports_days: Annotated[float, Meta(gt=0, le=3650, description="how long reports are kept, days")] = 7.0
    dead_letter_days: Annotated[
        float,
        Meta(
            gt=0,
            le=3650,
            description="how long what was rejected is kept in reports-dead-letter and alerts-undelivered, days",
        ),
    ] = 30.0
    counts_days: Annotated[
        float,
        Meta(gt=0, le=3650, description="how long report-counts and surges, read by the workers alone, are kept, days"),
    ] = 7.0
    alerts_days: Annotated[
        float, Meta(gt=0, le=3650, description="how long alerts, commands and what was delivered are kept, days")
    ] = 30.0


class ReportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which reports are taken."""

    clock_skew_seconds: Annotated[
        float,
        Meta(ge=0, le=86_400, description="how far a report's time may lie ahead of its record's timestamp, seconds"),
    ] = 300.0
    max_record_bytes: Annotated[int, Meta(ge=256, le=1_000_000, description="longest record that is read, bytes")] = (
        65_536
    )


class SeriesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How many series there may be."""

    limit: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000_000,
            description="series (source, service, region) over all partitions; further names share one overflow series",
        ),
    ] = 100_000


class CatalogueSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of services and regions, and what is muted: a file of its own."""

    file: (
        Annotated[Path, Meta(description="the service catalogue, TOML: other names, owners, links, time zones, mutes")]
        | None
    ) = None


class PlannedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beforehand: maintenance, and public holidays.

    ValueError for a country that does not exist.
    """

    maintenance: Annotated[
        tuple[Path, ...],
        Meta(
            max_length=100,
            description="iCalendar files with maintenance: CATEGORIES are its services (names or patterns, none: all),"
            " LOCATION its region (none: everywhere); incidents within are told, but silenced",
        ),
    ] = ()
    holidays: Annotated[
        dict[str, str],
        Meta(
            max_length=10_000,
            description="country or subdivision (ISO 3166) by region, for all within it too, whose public holidays are"
            ' heeded: `{ it = "IT", "de/by" = "DE-BY" }`; "" is for all other regions',
        ),
    ] = {}

    def __post_init__(self) -> None:
        if self.holidays:
            from detectors.public_holidays import check

            for code in sorted(set(self.holidays.values())):
                check(code)


class StateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the workers keep what they learned."""

    snapshot_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="time between two snapshots of a partition: what is read again after a crash, seconds",
        ),
    ] = 10.0


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What /metrics tells of incidents and series by name: each is a time series or more in Prometheus."""

    incidents: Annotated[
        int,
        Meta(ge=0, le=1000, description="open incidents, and silent sources, told of by name at most, the worst first"),
    ] = 50
    busiest_series: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="series that each worker tells of by name besides: those of which it expects most reports",
        ),
    ] = 20


class HttpIngestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Reports over HTTP (docs/http.md). Off unless tokens_file is given."""

    tokens_file: (
        Annotated[Path, Meta(description="who may send: a line `source token` each; read again when it changes")] | None
    ) = None
    host: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="address to listen on; 0.0.0.0 to be seen from other machines"),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port to listen on; 0 takes a free one")] = 8601
    max_body_bytes: Annotated[
        int, Meta(ge=1_000, le=10_000_000, description="longest body of a request, unpacked, bytes")
    ] = 1_000_000
    max_reports: Annotated[int, Meta(ge=1, le=100_000, description="most reports in a request")] = 10_000
    reports_per_second: Annotated[
        float, Meta(gt=0, le=1_000_000, description="reports that a source may send on average, a second")
    ] = 1_000.0
    burst_reports: Annotated[
        int, Meta(ge=1, le=10_000_000, description="reports that a source may send at once after a pause")
    ] = 20_000
    max_in_flight: Annotated[
        int,
        Meta(
            ge=2,
            le=1_000,
            description="requests in work at a time; a source gets half of them. Each takes up to ten"
            " times max_body_bytes of memory",
        ),
    ] = 16
    kafka_seconds: Annotated[
        float, Meta(ge=0.1, le=300, description="how long Kafka may take to confirm a request, seconds; then 503")
    ] = 10.0


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker logs, on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="the least important lines that are written")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "text"], Meta(description="JSON lines, or text for people; auto: text on a terminal")
    ] = "auto"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting. Sources are named by their folded names; a source that is not named follows `source_default`.

    catalogued: what the catalogue's file says.
    calendars: what the files of planned.maintenance hold.
    """

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    reports: ReportSettings = ReportSettings()
    source_default: SourceRule = SourceRule()
    sources: dict[str, SourceRule] = {}
    series: SeriesSettings = SeriesSettings()
    surge: SurgeRule = SurgeRule()
    incidents: IncidentRule = IncidentRule()
    ours: OursRule = OursRule()
    detectors: tuple[DetectorChoice, ...] = ()
    notify: DeliveryRule = DeliveryRule()
    destinations: dict[str, Destination] = {}
    routes: tuple[Route, ...] = ()
    catalogue: CatalogueSettings = CatalogueSettings()
    catalogued: Catalogue = Catalogue()
    planned: PlannedSettings = PlannedSettings()
    calendars: tuple[CalendarText, ...] = ()
    state: StateSettings = StateSettings()
    web: WebSettings = WebSettings()
    metrics: MetricsSettings = MetricsSettings()
    http_ingest: HttpIngestSettings = HttpIngestSettings()
    log: LogSettings = LogSettings()

    def rules(self) -> Rules:
        """What decides, for detectors/."""
        from detectors.rules import Rules

        return Rules(
            sources=self.sources,
            source_default=self.source_default,
            clock_skew_seconds=self.reports.clock_skew_seconds,
            max_record_bytes=self.reports.max_record_bytes,
            series_limit=self.series.limit,
            surge=_with_zones(self.surge, self.catalogued),
            incidents=self.incidents,
            ours=self.ours,
            detectors=self.detectors,
            catalogue=self.catalogued,
            calendars=self.calendars,
            holidays=self.planned.holidays,
            partitions=self.topics.partitions,
            reports_partitions=self.topics.reports_partitions,
        )


#: Sections of groundswell.toml; a section's values make the attribute of the same name, `.` as `_`.
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "kafka": KafkaSettings,
    "topics": TopicSettings,
    "reports": ReportSettings,
    "source.default": SourceRule,
    "series": SeriesSettings,
    "surge": SurgeRule,
    "incidents": IncidentRule,
    "ours": OursRule,
    "catalogue": CatalogueSettings,
    "planned": PlannedSettings,
    "state": StateSettings,
    "web": WebSettings,
    "notify": DeliveryRule,
    "metrics": MetricsSettings,
    "http_ingest": HttpIngestSettings,
    "log": LogSettings,
}
#: Every setting by its name; [source.<name>] and [[detectors]] come on top, in the file alone.
FIELDS: dict[str, Field] = {
    field.name: field for section, struct in SECTIONS.items() for field in fields_of(section, struct)
}
#: These can be read from a file that a variable names: GROUNDSWELL_KAFKA_PASSWORD_FILE.
FILE_VARIANTS = ("kafka.username", "kafka.password")
#: Settings that are flags of every command.
FLAGS = {"kafka.address": "--kafka"}

_DETECTOR_FIELDS = {field.name.removeprefix("detectors."): field for field in fields_of("detectors", DetectorChoice)}
_VARIABLES = {field.variable: field for field in FIELDS.values()}
_FILE_VARIABLES = {FIELDS[name].variable + "_FILE": FIELDS[name] for name in FILE_VARIANTS}

# Kubernetes sets these in every container for a Service named groundswell; they are not meant for us.
_SERVICE_LINK = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?$"
)
_SERVICE_ADDRESS = re.compile(r"^(tcp|udp|sctp)://")


class Loaded(msgspec.Struct, frozen=True):
    """The settings, where each comes from (by name: `default`, file, variable or flag), and the file that was read."""

    settings: Settings
    origins: dict[str, str]
    path: Path | None


class _Written(msgspec.Struct, frozen=True):
    """A value as its author wrote it: title="value" place. text: of a variable or flag, so without a type."""

    value: Any
    title: str
    place: str
    origin: str
    text: bool

    def quote(self, *, secret: bool = False) -> str:
        """`GROUNDSWELL_WEB_PORT="x"`; `web.port="x" in groundswell.toml`."""
        return f"{self.title}={'***' if secret else shown(self.value)}{self.place}"


def load(path: Path | None = None, *, env: Mapping[str, str], flags: Mapping[str, str] = {}) -> Loaded:
    """The settings of the file, overridden by variables, overridden by flags.

    path: the file; default GROUNDSWELL_SETTINGS in env, else ./groundswell.toml if it is there.
    flags: by setting name, as text: {"kafka.address": "kafka:9092"}. An empty variable counts as not set.
    Raises SettingsError.
    """
    file = _file(path, env)
    written = _from_file(file) if file else {}
    written |= _from_variables(env)
    written |= {
        name: _Written(text, FLAGS.get(name, name), "", FLAGS.get(name, "flag"), True) for name, text in flags.items()
    }

    origins: dict[str, str] = {}
    sections: dict[str, Any] = {}
    for section in SECTIONS:
        sections[section.replace(".", "_")] = _section(section, written, origins)
    settings = Settings(
        **sections,
        sources=_sources(written, sections["source_default"], origins),
        detectors=_detectors(written.get("detectors"), origins),
        **_notified(written, origins),
        catalogued=_catalogued(sections["catalogue"], written),
        calendars=tuple(_calendar(path, written) for path in sections["planned"].maintenance),
    )
    _check_together(settings, written)
    return Loaded(settings, origins, file)


def _file(path: Path | None, env: Mapping[str, str]) -> Path | None:
    if path is None and env.get(FILE_VARIABLE):
        path = Path(env[FILE_VARIABLE])
    if path is None:
        return DEFAULT_FILE if DEFAULT_FILE.is_file() else None
    return path


def _from_file(path: Path) -> dict[str, _Written]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"settings file {path} cannot be read", error.strerror or str(error), "Give its path with --settings FILE."
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"settings file {path} is not UTF-8", str(error), "Save it as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"settings file {path} is not TOML",
            str(error),
            "A line reads: name = value, texts in quotes, under [section].",
        ) from None

    written: dict[str, _Written] = {}

    def note(name: str, value: Any, title: str = "") -> None:
        written[name] = _Written(value, title or name, f" in {path}", str(path), False)

    for section, table in tables.items():
        if section in ("detectors", "destination", "routes"):
            note(section, table)
        elif section == "source" and isinstance(table, dict):
            for source, fields in table.items():
                if not isinstance(fields, dict):
                    raise _unknown(path, f"source.{source}", ["source.default"], "A source is a table: [source.calls].")
                title = source if _BARE_KEY.fullmatch(source) else shown(source)
                for name, value in fields.items():
                    if f"source.default.{name}" not in FIELDS:
                        known = [
                            field.removeprefix("source.default.") for field in FIELDS if field.startswith("source.")
                        ]
                        raise _unknown(path, f"source.{title}.{name}", [f"source.{title}.{field}" for field in known])
                    note(f"source.{source}.{name}", value, f"source.{title}.{name}")
        elif section not in SECTIONS:
            raise _unknown(path, section, [*SECTIONS, "detectors", "destination", "routes", *FIELDS])
        elif not isinstance(table, dict):
            raise _unknown(path, section, [], f"{section} is a table: [{section}], with its settings below it.")
        else:
            for name, value in table.items():
                if f"{section}.{name}" not in FIELDS:
                    raise _unknown(path, f"{section}.{name}", list(FIELDS))
                note(f"{section}.{name}", _beside(path, value) if FIELDS[f"{section}.{name}"].is_file else value)
    return written


def _beside(file: Path, value: Any) -> Any:
    """A path in the settings file is relative to that file."""
    if isinstance(value, list):
        return [_beside(file, each) for each in value]
    return str(file.parent / value) if isinstance(value, str) and value else value


def _unknown(path: Path, name: str, known: Iterable[str], hint: str = "") -> SettingsError:
    name = name if len(name) <= 200 else name[:200] + "…"
    return SettingsError(f"unknown setting {shown(name)} in {path}", hint=hint or _nearest(name, known))


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    section = name.rpartition(".")[0]
    there = [field for field in names if section and field.startswith(section + ".")]
    return f"There are: {', '.join(there)}." if there else "docs/settings.md lists all settings."


def _from_variables(env: Mapping[str, str]) -> dict[str, _Written]:
    written: dict[str, _Written] = {}
    for variable in sorted(name for name in env if name.startswith(PREFIX)):
        text = env[variable]
        if variable == FILE_VARIABLE or not text or _SERVICE_ADDRESS.match(text):
            continue
        if variable in _VARIABLES:
            written[_VARIABLES[variable].name] = _Written(text, variable, "", variable, True)
        elif variable in _FILE_VARIABLES:
            field = _FILE_VARIABLES[variable]
            if env.get(field.variable):
                raise SettingsError(f"{field.variable} and {variable} are both set", hint="Keep one of the two.")
            written[field.name] = _Written(_read_secret(variable, Path(text)), variable, "", variable, True)
        elif not _SERVICE_LINK.search(variable):
            raise SettingsError(f"unknown variable {variable[:200]}", hint=_nearest_variable(variable))
    return written


def _nearest_variable(variable: str) -> str:
    if variable.startswith(PREFIX + "SOURCE_"):
        return 'Variables set the default source alone; give others in groundswell.toml: [source."my feed"].'
    if variable.startswith(PREFIX + "DETECTORS"):
        return "Detectors are chosen in groundswell.toml: [[detectors]]."
    if variable.startswith((PREFIX + "DESTINATION", PREFIX + "ROUTES")):
        return "Destinations and routes stand in groundswell.toml: [destination.oncall], [[routes]]."
    return _nearest(variable, [*_VARIABLES, *_FILE_VARIABLES, FILE_VARIABLE])


def _read_secret(variable: str, path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not UTF-8"
        raise SettingsError(f"file {path} of {variable} cannot be read", reason) from None
    if not text:
        raise SettingsError(f"file {path} of {variable} is empty", hint="Put the value alone into the file.")
    return text


def _section(section: str, written: Mapping[str, _Written], origins: dict[str, str]) -> Any:
    values = {}
    for field in fields_of(section, SECTIONS[section]):
        given = written.get(field.name)
        origins[field.name] = given.origin if given else "default"
        if given:
            values[field.name.rpartition(".")[2]] = _value(field, given)
    return _build(section, SECTIONS[section], values, written)


def _value(field: Field, given: _Written) -> Any:
    try:
        return convert(given.value, field.annotation, text=given.text)
    except msgspec.ValidationError as error:
        wrong = f"is not {field.kind}"
        if re.search(r"Expected `(int|float)` [<>]|out of range", str(error)):
            wrong = "is out of range"
        elif re.search(r"Expected `str` (of length|matching)", str(error)):
            wrong = "is not allowed"
        raise SettingsError(
            f"setting {given.quote(secret=field.secret)} {wrong}", _as_sentence(field.sentence), field.advice
        ) from None


def _build(section: str, struct: type[msgspec.Struct], values: dict[str, Any], written: Mapping[str, _Written]) -> Any:
    """The section's struct. Where it says that values do not fit, the one that it names first is told of."""
    try:
        return struct(**values)
    except ValueError as error:
        name, _, rest = str(error).partition("=")
        given = written.get(f"{section}.{name}")
        if given is None:
            raise SettingsError(f"section [{section}]: {error}") from None
        problem, _, hint = rest.partition("; ")
        _, _, problem = problem.partition(" ")
        field = FIELDS.get(f"{section}.{name}") or FIELDS[f"source.default.{name}"]
        raise SettingsError(
            f"setting {given.quote()} {problem}", _as_sentence(field.sentence), _as_sentence(hint) or field.advice
        ) from None


def _as_sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "." if text else ""


def _sources(written: Mapping[str, _Written], default: SourceRule, origins: dict[str, str]) -> dict[str, SourceRule]:
    """The sources that have a table of their own; what a table leaves out is as in [source.default]."""
    tables: dict[str, dict[str, Field]] = {}
    for name in written:
        if name.startswith("source.") and not name.startswith("source.default."):
            source, _, field = name.removeprefix("source.").rpartition(".")
            tables.setdefault(source, {})[field] = FIELDS[f"source.default.{field}"]
    rules: dict[str, SourceRule] = {}
    for source, fields in tables.items():
        cleaned = report.clean(source)
        given = written[f"source.{source}.{next(iter(fields))}"]
        if not cleaned or cleaned.startswith("*") or len(source) > report.MAX_NAME:
            raise SettingsError(
                f"{given.title}{given.place}: no report can name this source",
                hint=f"Give 1 to {report.MAX_NAME} characters, none of them a control character, the first no '*'.",
            )
        folded = report.fold(cleaned)
        if folded in rules:
            raise SettingsError(
                f"{given.title}{given.place}: source {shown(folded)} has two tables",
                "Names are compared without case.",
                "Keep one.",
            )
        values = {name: _value(field, written[f"source.{source}.{name}"]) for name, field in fields.items()}
        inherited = msgspec.structs.asdict(default)
        rules[folded] = _build(f"source.{source}", SourceRule, inherited | values, written)
        for name in inherited:
            origins[f"source.{folded}.{name}"] = given.origin if name in values else "source.default"
    return rules


def _detectors(given: _Written | None, origins: dict[str, str]) -> tuple[DetectorChoice, ...]:
    origins["detectors"] = given.origin if given else "default"
    if given is None:
        return ()
    if not isinstance(given.value, list) or not all(isinstance(table, dict) for table in given.value):
        raise SettingsError(
            f"{given.title}{given.place} is not a list of tables", hint="Begin each choice with [[detectors]]."
        )
    choices = []
    for number, table in enumerate(given.value, 1):
        for name in table:
            if name not in _DETECTOR_FIELDS:
                raise SettingsError(
                    f"unknown setting {shown(name)} in [[detectors]] number {number} in {given.origin}",
                    hint=_nearest(name, _DETECTOR_FIELDS),
                )
        try:
            choices.append(msgspec.convert(table, DetectorChoice))
        except msgspec.ValidationError as error:
            raise SettingsError(f"[[detectors]] number {number} in {given.origin}: {error}") from None
    return tuple(choices)


def _notified(written: Mapping[str, _Written], origins: dict[str, str]) -> dict[str, Any]:
    """Destinations and routes."""
    destinations, routes = written.get("destination"), written.get("routes")
    origins["destination"] = destinations.origin if destinations else "default"
    origins["routes"] = routes.origin if routes else "default"
    try:
        found = (
            read_destinations(destinations.value, destinations.origin, Path(destinations.origin).parent)
            if destinations
            else {}
        )
        return {
            "destinations": found,
            "routes": read_routes(routes.value, routes.origin, found) if routes else (),
        }
    except DestinationError as error:
        raise SettingsError(error.fact, error.detail, error.hint) from None


def _catalogued(settings: CatalogueSettings, written: Mapping[str, _Written]) -> Catalogue:
    if settings.file is None:
        return Catalogue()
    if not settings.file.is_file():
        raise SettingsError(
            f"setting {written['catalogue.file'].quote()} is not a file",
            _as_sentence(FIELDS["catalogue.file"].sentence),
        )
    try:
        return read_catalogue(settings.file)
    except CatalogueError as error:
        raise SettingsError(error.fact, error.detail, error.hint) from None


def _with_zones(rule: SurgeRule, catalogue: Catalogue) -> SurgeRule:
    """The rule with the time zones of the catalogue's regions; SettingsError where a region has two."""
    if not catalogue.regions:
        return rule
    zones = catalogue.time_zones()
    for region, name in rule.time_zones.items():
        other = zones.setdefault(catalogue.settle_region(region), name)
        if other != name:
            raise SettingsError(
                f"surge.time_zones gives region {shown(region)} {name}, the catalogue {other}",
                hint="Keep one of the two.",
            )
    return msgspec.structs.replace(rule, time_zones=zones)


def _calendar(path: Path, written: Mapping[str, _Written]) -> CalendarText:
    """What an iCalendar file of planned.maintenance holds."""
    given = written["planned.maintenance"]
    try:
        with path.open("rb") as file:
            raw = file.read(maintenance.MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
        maintenance.check(text)
    except OSError as error:
        raise SettingsError(
            f"calendar {path} of {given.title}{given.place} cannot be read",
            _as_sentence(error.strerror or str(error)),
            "Give the path of an iCalendar file.",
        ) from None
    except ValueError as error:
        raise SettingsError(
            f"calendar {path} of {given.title}{given.place} cannot be used",
            _as_sentence(str(error)),
            "Put it right, or drop it from the list.",
        ) from None
    return CalendarText(str(path), text)


def _check_together(settings: Settings, written: Mapping[str, _Written]) -> None:
    """What no field can know alone."""
    kafka = settings.kafka

    def said(name: str) -> str:
        field = FIELDS[f"kafka.{name}"]
        given = written.get(field.name)
        return given.quote(secret=field.secret) if given else f"{field.name}={shown(field.default)}"

    def how(*names: str) -> str:
        return " and ".join(f"kafka.{name} ({FIELDS[f'kafka.{name}'].variable})" for name in names)

    sasl, tls = kafka.security.startswith("SASL_"), kafka.security.endswith("SSL")
    for name in ("username", "password"):
        if sasl and getattr(kafka, name) is None:
            raise SettingsError(
                f"setting {said('security')} needs a {name}",
                hint=f"Give {how(name)}, or {FIELDS[f'kafka.{name}'].variable}_FILE with the file that holds it.",
            )
        if not sasl and getattr(kafka, name) is not None:
            raise SettingsError(
                f"setting {said(name)} is not used with {said('security')}",
                hint="Give kafka.security SASL_SSL (or SASL_PLAINTEXT, without TLS), or drop it.",
            )
    for name in ("ca_file", "cert_file", "key_file"):
        path: Path | None = getattr(kafka, name)
        if path is None:
            continue
        if not tls:
            raise SettingsError(
                f"setting {said(name)} is not used with {said('security')}", hint="Give kafka.security SSL or SASL_SSL."
            )
        if not path.is_file():
            raise SettingsError(f"setting {said(name)} is not a file", _as_sentence(FIELDS[f"kafka.{name}"].sentence))
    if (kafka.cert_file is None) != (kafka.key_file is None):
        given, missing = ("cert_file", "key_file") if kafka.cert_file else ("key_file", "cert_file")
        raise SettingsError(f"setting {said(given)} needs its partner", hint=f"Give {how(missing)}, too.")
    _with_zones(settings.surge, settings.catalogued)
    if settings.series.limit < settings.topics.partitions:
        raise SettingsError(
            f"series.limit={settings.series.limit} is less than topics.partitions={settings.topics.partitions}",
            "The limit is shared out evenly among the partitions.",
            f"Give series.limit {settings.topics.partitions} or more.",
        )


def from_environment() -> Loaded:
    """The settings of a process that takes no flags, such as `faust -A streams.app worker`."""
    return load(env=os.environ)

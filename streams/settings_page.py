"""The page on settings, made from their structs: `python -m streams.settings_page > docs/settings.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import msgspec

from detectors.catalogue import Mute, Region, Service
from detectors.river_models import MODELS, DetectorChoice
from detectors.routing import Route
from streams.fields import Field, fields_of, shown
from streams.notify.destinations import KINDS
from streams.settings import FIELDS, FILE_VARIANTS, FLAGS, SECTIONS

_HEAD = """\
# Settings

<!-- Made by `python -m streams.settings_page > docs/settings.md`; a test keeps it true. -->

A setting is taken from `groundswell.toml`, overridden by its `GROUNDSWELL_*` variable, overridden by its flag.
The file is `./groundswell.toml` if it is there, or the one that `--settings FILE` or `GROUNDSWELL_SETTINGS` names.
A name that is not below is an error, which says the nearest right one. `groundswell check` prints every effective value
and where it comes from.

```toml
[kafka]
address = "kafka-1:9092,kafka-2:9092"
security = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
username = "groundswell"              # the password: GROUNDSWELL_KAFKA_PASSWORD_FILE=/run/secrets/kafka

[topics]
prefix = "ops-"
replication = 3

[source."contact centre"]             # a feed with its own pace
bucket_seconds = 300
lateness_seconds = 60
```

Variables are the name in capitals with `_` for `.`: `kafka.address` is `GROUNDSWELL_KAFKA_ADDRESS`. One that is empty
counts as not set. Paths in the file are relative to the file. Lists and tables are given to a variable as JSON.
"""

_SOURCES = """\
Other feeds follow it unless they have a table of their own, in the file alone: `[source."contact centre"]` is for the
reports with `"source": "contact centre"`, compared without case. What such a table leaves out is as in
`[source.default]`.
"""

_CATALOGUE = """\
The file has a table for each service, region and mute, all of them optional:

```toml
[[service]]
name = "WhatsApp"
aliases = ["WA", "Whats App"]
owner = "Ada Rossi"
team = "messaging"
links = { runbook = "https://wiki.example.org/whatsapp", dashboard = "https://grafana.example.org/d/whatsapp" }

[[region]]
path = "it/lazio"
name = "Lazio"
aliases = ["lazio"]                   # lazio/roma is it/lazio/roma, too
time_zone = "Europe/Rome"

[[mute]]
service = "Test*"
reason = "load tests"
until = 2026-12-01T00:00:00Z
```

Workers read it when they start: give all of them the same. Reports follow an alias from then on; what was learned under
it stays behind, so name aliases early. A time zone may stand here or in `surge.time_zones`. Patterns are those of
shells (`*`, `?`, `[ab]`), compared without case with the names that alerts have. Of a silent feed only `*` fits.
"""

_DETECTORS = """\
## [[detectors]]

In the file alone: which detector watches which services. The first choice whose pattern fits counts; where none does,
the default detector watches.

```toml
[[detectors]]
services = "whats*"
name = "GaussianScorer"
parameters = { window_size = 10080 }
```

"""

_RIVER = """\
River's detectors look at closed buckets alone, at each series for itself. Their scores of the last five minutes are
added up, and evidence is how rarely the series' own scores reach such a sum. `surge`, the default, is a hundred times
faster, learns the course of day and week, and grows surer for as long as a surge lasts. Parameters that count, count
buckets.

"""


_DESTINATIONS = """\
## [destination.NAME]

In the file alone: who is told of incidents, one table each. What arrives there: [notifications.md](notifications.md).
Secrets stand in files, read at each delivery. `groundswell notify-test NAME` tries one out.

```toml
[destination.oncall]
type = "pagerduty"
routing_key_file = "/run/secrets/pagerduty"

[destination.chat]
type = "slack"
url_file = "/run/secrets/slack"
```
"""

_ROUTES = """\
## [[routes]]

In the file alone: which incidents go where. The first route that matches counts, unless it says `continue`; without any
route each destination is told of what pages (error, critical). What a destination was told is told there to its end.

```toml
[[routes]]
severity = ["critical"]
to = ["oncall"]
continue = true                       # ... and in the chat, too

[[routes]]
service = ["WhatsApp", "Insta*"]
region = ["it", "it/*"]
to = ["chat"]
```

Patterns are those of shells (`*`, `?`, `[ab]`), compared without case; `*` alone is also what spans all services or
regions.
"""

_ENTRIES: dict[str, type[msgspec.Struct]] = {"service": Service, "region": Region, "mute": Mute}


def page() -> str:
    """The whole page, Markdown."""
    parts = [_HEAD]
    for section, struct in SECTIONS.items():
        fields = [field for name, field in FIELDS.items() if name.rpartition(".")[0] == section]
        parts.append(f"## [{section}]\n\n{_purpose(struct)}\n")
        if section == "source.default":
            parts.append(_SOURCES)
        parts.append(_rows(fields, with_variable=True))
        if section == "catalogue":
            parts.append(_CATALOGUE)
            parts.extend(_entries(table, struct) for table, struct in _ENTRIES.items())
        if files := [FIELDS[name] for name in FILE_VARIANTS if name.startswith(f"{section}.")]:
            names = " and ".join(f"`{field.variable}_FILE`" for field in files)
            parts.append(f"{names} name a file that holds the value alone, as secrets are mounted.\n")
        for name, flag in FLAGS.items():
            if name.startswith(f"{section}."):
                parts.append(f"`{name}` is also the flag `{flag}` of every command that needs Kafka.\n")
    parts.append(_DESTINATIONS)
    for name, kind in KINDS.items():
        parts.append(f'### type = "{name}"\n\n{_purpose(kind)}\n')
        parts.append(_rows(fields_of(name, kind), with_variable=False))
    parts.append(_ROUTES + "\n" + _rows(fields_of("routes", Route), with_variable=False))
    parts.append(_DETECTORS + _rows(fields_of("detectors", DetectorChoice), with_variable=False))
    parts.append(_RIVER + _models())
    return "\n".join(parts)


def _purpose(struct: type[msgspec.Struct]) -> str:
    """Its docstring without what is for programmers."""
    text = " ".join(inspect.cleandoc(struct.__doc__ or "").split("\n\n")[0].split())
    return text.partition(" ValueError")[0]


def _rows(fields: Iterable[Field], *, with_variable: bool) -> str:
    head = ["setting", "what it is", "allowed", "default", *(["variable"] if with_variable else [])]
    lines = [_row(head), _row(["---"] * len(head))]
    for field in fields:
        default = "required" if field.default is msgspec.NODEFAULT else shown(field.default)
        # A variable gives lists and tables as JSON, the file as TOML.
        allowed = field.kind if field.allowed == "JSON" and not with_variable else field.allowed or field.kind
        cells = [f"`{field.name.rpartition('.')[2]}`", field.sentence, allowed, f"`{default}`"]
        lines.append(_row([*cells, f"`{field.variable}`"] if with_variable else cells))
    return "\n".join(lines) + "\n"


def _entries(table: str, struct: type[msgspec.Struct]) -> str:
    """What an entry of the catalogue may have."""
    lines = [_row([f"`[[{table}]]`", "what it is", "default"]), _row(["---"] * 3)]
    for field in fields_of(table, struct):
        default = "required" if field.default is msgspec.NODEFAULT else shown(field.default)
        lines.append(_row([f"`{field.name.rpartition('.')[2]}`", field.sentence, f"`{default}`"]))
    return "\n".join(lines) + "\n"


def _models() -> str:
    lines = [_row(["name", "what it makes of counts", "parameters: allowed (default)"]), _row(["---"] * 3)]
    for name, kind in MODELS.items():
        parameters = [
            f"`{each}`: {shown(of.least)} to {shown(of.most)} ({shown(of.default)})"
            for each, of in kind.parameters.items()
        ]
        lines.append(_row([f"`{name}`", kind.sentence, "; ".join(parameters) or "none"]))
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(page(), end="")

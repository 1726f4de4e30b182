"""The topics: their names, what each has to be like, and that they are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from streams import cluster, reach
from streams.fault import Fault
from streams.kafka import client_options, heed, records_of
from streams.settings import FIELDS, Settings

#: How long a cluster may take until a new topic can be used.
CREATE_SECONDS = 30.0
#: A rejected record of any size that Kafka takes by default fits into it together with the reason.
DEAD_LETTER_BYTES = 2 * 1024 * 1024
#: A tick in which thousands of series surge at once (detectors/surges.py: MOST_BYTES, and what we may be wrong about).
SURGES_BYTES = 16 * 1024 * 1024

_LAYOUT_KEY = b"layout"
_TOPIC_EXISTS = 36
_BAD_REPLICATION = 38
_FORBIDDEN = (29, 31)

# Snapshots overwrite each other every few seconds: without these Kafka keeps up to 1 GB of old ones a partition, for up
# to a week, and a starting worker reads them all.
_COMPACTED_SOON = {
    "cleanup.policy": "compact",
    "segment.bytes": str(64 * 1024 * 1024),
    "segment.ms": str(60 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.1",
}


class TopicsError(Fault):
    """The topics are not as the settings say."""


class Topics(msgspec.Struct, frozen=True):
    """The names of all topics."""

    reports: str
    dead_letter: str
    counts: str
    surges: str
    alerts: str
    commands: str
    delivered: str
    undelivered: str
    ingest_state: str
    detect_state: str
    judge_state: str
    layout: str


class Spec(msgspec.Struct, frozen=True):
    """What a topic has to be like. setting: that fixes its partitions, '' if they are always 1."""

    name: str
    partitions: int
    setting: str
    config: dict[str, str]


class Layout(msgspec.Struct, frozen=True):
    """What the state in the topics was made with; it cannot change. Kept in the layout topic.

    bucket_seconds: by source, folded; '' for all others.
    """

    partitions: int
    reports_partitions: int
    bucket_seconds: dict[str, int]
    schema_version: int = 1


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as it was found, or created just now. cleanup_policy: '' if the broker does not tell."""

    name: str
    state: Literal["there", "created", "missing", "forbidden"]
    partitions: int
    replication: int
    cleanup_policy: str


class Review(msgspec.Struct, frozen=True):
    """All topics, in the order of the data, and what is wrong with them."""

    topics: list[Found]
    problems: list[TopicsError]


def app_id(settings: Settings) -> str:
    """Consumer group of the workers, which also begins the names of their state topics."""
    return settings.topics.prefix + settings.kafka.group


def names(settings: Settings) -> Topics:
    """
    >>> names(Settings()).counts, names(Settings()).detect_state
    ('report-counts', 'groundswell-detect-state-changelog')
    """
    prefix, app = settings.topics.prefix, app_id(settings)
    return Topics(
        reports=f"{prefix}reports",
        dead_letter=f"{prefix}reports-dead-letter",
        counts=f"{prefix}report-counts",
        surges=f"{prefix}surges",
        alerts=f"{prefix}alerts",
        commands=f"{prefix}incident-commands",
        delivered=f"{prefix}alerts-delivered",
        undelivered=f"{prefix}alerts-undelivered",
        # Faust names a table's changelog so.
        ingest_state=f"{app}-ingest-state-changelog",
        detect_state=f"{app}-detect-state-changelog",
        judge_state=f"{app}-judge-state-changelog",
        layout=f"{prefix}groundswell-layout",
    )


def specs(settings: Settings) -> list[Spec]:
    """What each topic has to be like, in the order of the data."""
    name, topics = names(settings), settings.topics
    per_report, per_count = "topics.reports_partitions", "topics.partitions"
    reports, counts = topics.reports_partitions, topics.partitions
    dead_letter = _kept(topics.dead_letter_days) | {"max.message.bytes": str(DEAD_LETTER_BYTES)}
    alerts = _kept(topics.alerts_days) | {"cleanup.policy": "compact,delete"}
    return [
        Spec(name.reports, reports, per_report, _kept(topics.reports_days)),
        Spec(name.dead_letter, reports, per_report, dead_letter),
        Spec(name.ingest_state, reports, per_report, _COMPACTED_SOON),
        Spec(name.counts, counts, per_count, _kept(topics.counts_days)),
        Spec(name.detect_state, counts, per_count, _COMPACTED_SOON),
        Spec(name.surges, 1, "", _kept(topics.counts_days) | {"max.message.bytes": str(SURGES_BYTES)}),
        Spec(name.judge_state, 1, "", _COMPACTED_SOON),
        Spec(name.alerts, 1, "", alerts),
        # One partition: what people say one after the other is heeded in this order.
        Spec(name.commands, 1, "", _kept(topics.alerts_days)),
        Spec(name.delivered, 1, "", alerts),
        Spec(name.undelivered, 1, "", _kept(topics.dead_letter_days)),
        Spec(name.layout, 1, "", {"cleanup.policy": "compact"}),
    ]


def _kept(days: float) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(round(days * 86_400_000))}


def layout(settings: Settings) -> Layout:
    """What the settings make the state with."""
    buckets = {"": settings.source_default.bucket_seconds}
    buckets |= {source: rule.bucket_seconds for source, rule in sorted(settings.sources.items())}
    return Layout(settings.topics.partitions, settings.topics.reports_partitions, buckets)


async def review(settings: Settings) -> Review:
    """Look at all topics and the layout; change nothing. Raises Unreachable and aiokafka's errors."""
    seen = await _look(settings)
    async with _admin(settings) as admin:
        found = await _found(admin, settings, seen, created=frozenset())
    problems = [*_missing(found), *await _problems(settings, found)]
    return Review(found, problems)


async def ensure(settings: Settings) -> list[Found]:
    """All topics are there and as they have to be, and the layout is ours.

    What is missing is created if topics.create says so. TopicsError where anything is wrong.
    """
    return await create_missing(settings) if settings.topics.create else await existing(settings)


async def existing(settings: Settings) -> list[Found]:
    """`ensure`, creating nothing whatever topics.create says."""
    seen = await review(settings)
    _raise_first(seen.problems)
    await _keep_layout(settings)
    return seen.topics


async def create_missing(settings: Settings) -> list[Found]:
    """`ensure`, creating what is missing whatever topics.create says."""
    seen = await _look(settings)
    missing = [spec for spec in specs(settings) if spec.name not in seen.topics and spec.name not in seen.forbidden]
    async with _admin(settings) as admin:
        # First, lest new topics of the wrong size stand beside old state.
        if names(settings).layout in seen.topics:
            _raise_first(_changes(settings, await _kept_layout(settings)))
        if missing:
            await _create(admin, settings, missing)
            seen = await _until_there(settings)
        found = await _found(admin, settings, seen, created=frozenset(spec.name for spec in missing))
    _raise_first([*_missing(found), *await _problems(settings, found)])
    await _keep_layout(settings)
    return found


def _raise_first(problems: list[TopicsError]) -> None:
    if len(problems) > 1:
        more = f"{len(problems) - 1} more: `groundswell check` lists them all."
        raise TopicsError(problems[0].fact, f"{problems[0].detail}\n{more}".strip(), problems[0].hint)
    if problems:
        raise problems[0]


async def _look(settings: Settings) -> cluster.Cluster:
    seen = await cluster.look(settings, [spec.name for spec in specs(settings)])
    await reach.advertised(settings, seen.addresses)
    return seen


@contextlib.asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**client_options(settings))
    try:
        await admin.start()
        yield admin
    finally:
        await heed(admin.close())


async def _create(admin: AIOKafkaAdminClient, settings: Settings, missing: list[Spec]) -> None:
    copies = settings.topics.replication
    new = [NewTopic(spec.name, spec.partitions, copies, topic_configs=spec.config) for spec in missing]
    answer = await admin.create_topics(new)
    for name, code, message in answer.topic_errors:
        # Another worker that starts at the same time may have been faster.
        if code in (0, _TOPIC_EXISTS):
            continue
        reason = message or for_code(code).description
        if code == _BAD_REPLICATION:
            raise TopicsError(f"topic {name} cannot be created", reason, f"Setting: {_title('topics.replication')}.")
        if code in _FORBIDDEN:
            raise TopicsError(
                f"we may not create topic {name}",
                reason,
                "Ask for the right to create it, or let somebody who has it run:\n" + _create_command(settings, name),
            )
        raise TopicsError(f"topic {name} cannot be created", reason)


async def _until_there(settings: Settings) -> cluster.Cluster:
    """New topics show up, and get a leader for each partition, a moment after the answer that they are created."""
    wanted = [spec.name for spec in specs(settings)]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CREATE_SECONDS):
            while True:
                seen = await cluster.look(settings, wanted)
                if seen.forbidden or all(name in seen.topics and not seen.topics[name].leaderless for name in wanted):
                    return seen
                await asyncio.sleep(0.1)
    raise TopicsError(
        f"the topics just created cannot be used after {CREATE_SECONDS:.0f} s", hint="Look at the brokers' health."
    )


async def _found(
    admin: AIOKafkaAdminClient, settings: Settings, seen: cluster.Cluster, *, created: frozenset[str]
) -> list[Found]:
    policies = await _policies(admin, list(seen.topics))
    found = []
    for spec in specs(settings):
        topic = seen.topics.get(spec.name)
        if topic is None:
            absent: Literal["forbidden", "missing"] = "forbidden" if spec.name in seen.forbidden else "missing"
            found.append(Found(name=spec.name, state=absent, partitions=0, replication=0, cleanup_policy=""))
            continue
        found.append(
            Found(
                name=spec.name,
                state="created" if spec.name in created else "there",
                partitions=topic.partitions,
                replication=topic.replication,
                cleanup_policy=policies.get(spec.name, ""),
            )
        )
    return found


async def _policies(admin: AIOKafkaAdminClient, existing: list[str]) -> dict[str, str]:
    """cleanup.policy of each topic that lets us see it."""
    if not existing:
        return {}
    # All their settings: the embedded broker hangs up when asked for a single one.
    wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in existing]
    policies = {}
    for answer in await admin.describe_configs(wanted):
        for code, _, _, name, entries in answer.resources:
            for key, value, *_ in entries if code == 0 else ():
                if key == "cleanup.policy":
                    policies[name] = value or ""
    return policies


def _missing(found: list[Found]) -> Iterator[TopicsError]:
    missing = [topic.name for topic in found if topic.state == "missing"]
    if missing:
        yield TopicsError(
            f"{'topic' if len(missing) == 1 else 'topics'} {', '.join(missing)} missing", hint="Run: groundswell topics"
        )
    for topic in found:
        if topic.state == "forbidden":
            yield TopicsError(
                f"we may not see topic {topic.name}", hint="Ask for the rights to describe, read and write it."
            )


async def _problems(settings: Settings, found: list[Found]) -> list[TopicsError]:
    there = {topic.name: topic for topic in found if topic.partitions}
    problems: list[TopicsError] = []
    if names(settings).layout in there:
        problems += _changes(settings, await _kept_layout(settings))
    for spec in specs(settings):
        topic = there.get(spec.name)
        if topic is None:
            continue
        # A changed layout says the same of all topics at once, with the way out.
        if topic.partitions != spec.partitions and not problems:
            problems.append(_wrong_partitions(settings, spec, topic))
        if topic.cleanup_policy and (wrong := _wrong_policy(settings, spec, topic)):
            problems.append(wrong)
    return problems


def _wrong_partitions(settings: Settings, spec: Spec, topic: Found) -> TopicsError:
    fact = f"topic {spec.name} has {topic.partitions} partitions, not {spec.partitions}"
    name = names(settings)
    if spec.name == name.reports:
        return TopicsError(
            fact, f"{_title(spec.setting)} is {spec.partitions}.", f"Give {spec.setting} {topic.partitions}."
        )
    if spec.name == name.dead_letter and topic.partitions < spec.partitions:
        return TopicsError(
            fact, f"{_title(spec.setting)} is {spec.partitions}.", f"Run: {_grow_command(settings, spec.name)}"
        )
    detail = f"{_title(spec.setting)} is {spec.partitions}." if spec.setting else ""
    hint = (
        f"Stop the workers, delete it, and let `groundswell topics` create it:\n{_delete_command(settings, spec.name)}"
    )
    if spec.setting:
        hint = f"Give {spec.setting} {topic.partitions}, or start anew with {spec.partitions}:\n{migration(settings)}"
    return TopicsError(fact, detail, hint)


def _wrong_policy(settings: Settings, spec: Spec, topic: Found) -> TopicsError | None:
    wanted = {word.strip() for word in spec.config["cleanup.policy"].split(",")}
    there = {word.strip() for word in topic.cleanup_policy.split(",")}
    if there == wanted:
        return None
    why = {
        frozenset({"compact"}): "Deleting by age would lose what the workers learned.",
        frozenset({"delete"}): "Compaction would lose records that share a key.",
    }.get(frozenset(wanted), "Records would be kept for ever, or lost while an incident is open.")
    policy = spec.config["cleanup.policy"]
    value = f"[{policy}]" if "," in policy else policy
    command = (
        f"{_tool(settings, 'configs')} --alter --entity-type topics --entity-name {spec.name} "
        f"--add-config cleanup.policy={value}"
    )
    return TopicsError(
        f"topic {spec.name} has cleanup.policy={topic.cleanup_policy}, not {policy}", why, f"Run: {command}"
    )


def _changes(settings: Settings, kept: Layout | None) -> list[TopicsError]:
    """What the settings have changed that the state in the topics cannot follow."""
    ours = layout(settings)
    if kept is None:
        return []
    changes = []
    if kept.partitions != ours.partitions:
        changes.append(_change(settings, "topics.partitions", kept.partitions, ours.partitions))
    if kept.reports_partitions != ours.reports_partitions:
        changes.append(_change(settings, "topics.reports_partitions", kept.reports_partitions, ours.reports_partitions))
    for source in sorted(kept.bucket_seconds.keys() | ours.bucket_seconds.keys()):
        before, now = _bucket(kept, source), _bucket(ours, source)
        if before != now:
            changes.append(_change(settings, f"source.{source or 'default'}.bucket_seconds", before, now))
    return changes


def _change(settings: Settings, setting: str, before: int, now: int) -> TopicsError:
    fact = f"{setting} changed from {before} to {now}"
    detail = f"The state in the topics was made with {before}."
    if setting == "topics.reports_partitions" and now < before:
        return TopicsError(fact, detail, f"Give {setting} {before} again: Kafka takes no partitions from a topic.")
    way = migration(settings, more_reports=setting == "topics.reports_partitions")
    return TopicsError(fact, detail, f"Give {setting} {before} again, or start anew:\n{way}")


def _bucket(kept: Layout, source: str) -> int:
    return kept.bucket_seconds.get(source, kept.bucket_seconds.get("", 60))


def migration(settings: Settings, *, more_reports: bool = False) -> str:
    """How to give up the state and go on: exact commands, one a line. more_reports: with more partitions of reports."""
    name = names(settings)
    lines = ["Stop all workers. What they learned is lost; reports, dead letters and alerts stay. Then run:"]
    lines += [
        _delete_command(settings, topic)
        for topic in (name.ingest_state, name.counts, name.detect_state, name.surges, name.judge_state, name.layout)
    ]
    if more_reports:
        lines += [_grow_command(settings, topic) for topic in (name.reports, name.dead_letter)]
    lines += [
        "groundswell topics",
        "and start them again. To keep the old state instead, take new topics beside the old ones:",
        f"{FIELDS['topics.prefix'].variable}=new-{settings.topics.prefix} groundswell topics",
    ]
    return "\n".join(lines)


def _tool(settings: Settings, tool: str) -> str:
    """Of Kafka's own distribution; a protected cluster needs --command-config, too."""
    secured = "" if settings.kafka.security == "PLAINTEXT" else " --command-config client.properties"
    return f"kafka-{tool}.sh --bootstrap-server {settings.kafka.address}{secured}"


def _delete_command(settings: Settings, topic: str) -> str:
    return f"{_tool(settings, 'topics')} --delete --topic {topic}"


def _grow_command(settings: Settings, topic: str) -> str:
    return f"{_tool(settings, 'topics')} --alter --topic {topic} --partitions {settings.topics.reports_partitions}"


def _create_command(settings: Settings, topic: str) -> str:
    spec = next(spec for spec in specs(settings) if spec.name == topic)
    config = " ".join(f"--config {key}={value}" for key, value in spec.config.items())
    copies = settings.topics.replication
    return (
        f"{_tool(settings, 'topics')} --create --topic {topic} --partitions {spec.partitions} "
        f"--replication-factor {copies} {config}"
    )


def _title(setting: str) -> str:
    return f"{setting} ({FIELDS[setting].variable})"


_encode_layout = msgspec.json.Encoder(order="sorted").encode
_decode_layout = msgspec.json.Decoder(Layout).decode


async def _kept_layout(settings: Settings) -> Layout | None:
    """The layout under which our state was begun; None if it was not."""
    partition = TopicPartition(names(settings).layout, 0)
    layouts = [record.value async for record in records_of(settings, [partition]) if record.key == _LAYOUT_KEY]
    if not layouts or layouts[-1] is None:
        return None
    try:
        return _decode_layout(layouts[-1])
    except msgspec.DecodeError as error:
        raise TopicsError(
            f"topic {partition.topic} holds no layout of ours",
            str(error),
            f"Somebody else writes there. Give another prefix: {_title('topics.prefix')}.",
        ) from None


async def _keep_layout(settings: Settings) -> None:
    """Write down what our state is made with. A new source with the bucket it had so far is noted, too."""
    ours = layout(settings)
    if await _kept_layout(settings) == ours:
        return
    producer = AIOKafkaProducer(**client_options(settings), acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(names(settings).layout, _encode_layout(ours), key=_LAYOUT_KEY, partition=0)
    finally:
        await heed(producer.stop())


def run(settings: Settings, *, json_output: bool) -> int:
    """`groundswell topics`: create what is missing, check the rest, print all. TopicsError where anything is wrong."""
    from streams import console

    found = asyncio.run(create_missing(settings))
    if json_output:
        console.out.print(msgspec.json.encode({"topics": found}).decode())
        return 0
    show(found)
    return 0


def show(found: list[Found]) -> None:
    """The topics as a table on stdout."""
    from streams import console

    rows = console.table("topic", "partitions", "copies", "cleanup", "state")
    for topic in found:
        rows.add_row(
            console.safe(topic.name),
            str(topic.partitions),
            str(topic.replication),
            console.safe(topic.cleanup_policy),
            topic.state,
        )
    console.out.print(rows)

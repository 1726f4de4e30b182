"""Topics: their names and settings, creation, and what is refused, on a real broker."""

from __future__ import annotations

import asyncio
import json
import uuid

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from detectors.source import SourceRule
from streams import cluster, topics
from streams.settings import KafkaSettings, Settings, TopicSettings
from streams.topics import TopicsError


@pytest.fixture
def settings(broker, embedded) -> Settings:
    """On a prefix of this test's own."""
    return Settings(
        kafka=KafkaSettings(address=broker, embedded=embedded),
        topics=TopicSettings(prefix=f"t-{uuid.uuid4().hex[:12]}-", partitions=3, reports_partitions=2),
    )


def changed(settings: Settings, **changes: object) -> Settings:
    """With other fields in [topics], or `source_default` and `sources`."""
    whole = {name: changes.pop(name) for name in ("source_default", "sources") if name in changes}
    return msgspec.structs.replace(settings, topics=msgspec.structs.replace(settings.topics, **changes), **whole)


async def make(settings: Settings, *new: NewTopic) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.address)
    await admin.start()
    try:
        await admin.create_topics(list(new))
    finally:
        await admin.close()


async def refused(settings: Settings) -> TopicsError:
    with pytest.raises(TopicsError) as caught:
        await topics.ensure(settings)
    return caught.value


# --- names ---


def test_names_bear_the_prefix_and_state_the_group():
    named = topics.names(Settings(topics=TopicSettings(prefix="ops-"), kafka=KafkaSettings(group="g")))

    assert msgspec.structs.asdict(named) == {
        "reports": "ops-reports",
        "dead_letter": "ops-reports-dead-letter",
        "counts": "ops-report-counts",
        "surges": "ops-surges",
        "alerts": "ops-alerts",
        "commands": "ops-incident-commands",
        "delivered": "ops-alerts-delivered",
        "undelivered": "ops-alerts-undelivered",
        "ingest_state": "ops-g-ingest-state-changelog",
        "detect_state": "ops-g-detect-state-changelog",
        "judge_state": "ops-g-judge-state-changelog",
        "layout": "ops-groundswell-layout",
    }


def test_longest_names_fit_kafka():
    longest = Settings(topics=TopicSettings(prefix="p" * 100), kafka=KafkaSettings(group="g" * 100))

    assert max(len(spec.name) for spec in topics.specs(longest)) <= 249


# --- creation ---


async def test_missing_topics_are_created_with_their_partitions_and_cleanup(settings):
    found = await topics.ensure(settings)

    prefix = settings.topics.prefix
    assert [(topic.name.removeprefix(prefix), topic.partitions, topic.cleanup_policy) for topic in found] == [
        ("reports", 2, "delete"),
        ("reports-dead-letter", 2, "delete"),
        ("groundswell-ingest-state-changelog", 2, "compact"),
        ("report-counts", 3, "delete"),
        ("groundswell-detect-state-changelog", 3, "compact"),
        ("surges", 1, "delete"),
        ("groundswell-judge-state-changelog", 1, "compact"),
        ("alerts", 1, "compact,delete"),
        ("incident-commands", 1, "delete"),
        ("alerts-delivered", 1, "compact,delete"),
        ("alerts-undelivered", 1, "delete"),
        ("groundswell-layout", 1, "compact"),
    ]
    assert {topic.state for topic in found} == {"created"}


async def test_existing_topics_are_left_as_they_are(settings):
    await topics.ensure(settings)

    again = await topics.ensure(settings)

    assert {topic.state for topic in again} == {"there"}


async def test_workers_that_start_together_all_get_through(settings):
    await asyncio.gather(*(topics.ensure(settings) for _ in range(3)))

    assert (await topics.review(settings)).problems == []


async def test_without_the_right_to_create_the_missing_are_named(settings):
    fault = await refused(changed(settings, create=False))

    assert settings.topics.prefix + "reports" in fault.fact
    assert fault.hint == "Run: groundswell topics"


async def test_verb_creates_whatever_topics_create_says(settings, capsys):
    code = await asyncio.to_thread(topics.run, changed(settings, create=False), json_output=True)

    shown = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [topic["state"] for topic in shown["topics"]] == ["created"] * 12


async def test_review_creates_nothing(settings):
    reviewed = await topics.review(settings)

    assert {topic.state for topic in reviewed.topics} == {"missing"}
    assert (await cluster.look(settings, [spec.name for spec in topics.specs(settings)])).topics == {}


# --- what is refused ---


async def test_reports_of_another_size_name_the_setting_to_change(settings):
    name = topics.names(settings).reports
    await make(settings, NewTopic(name, num_partitions=5, replication_factor=1))

    fault = await refused(settings)

    assert fault.fact == f"topic {name} has 5 partitions, not 2"
    assert fault.hint == "Give topics.reports_partitions 5."


async def test_state_that_would_be_deleted_by_age_is_refused(settings):
    name = topics.names(settings).detect_state
    await make(settings, NewTopic(name, 3, 1, topic_configs={"cleanup.policy": "delete"}))

    fault = await refused(settings)

    assert fault.fact == f"topic {name} has cleanup.policy=delete, not compact"
    assert fault.hint.endswith(f"--entity-name {name} --add-config cleanup.policy=compact")


async def test_changed_partitions_are_refused_with_the_way_to_migrate(settings):
    await topics.ensure(settings)

    fault = await refused(changed(settings, partitions=6))

    assert fault.fact == "topics.partitions changed from 3 to 6"
    assert fault.hint.startswith("Give topics.partitions 3 again, or start anew:\nStop all workers.")
    named = topics.names(settings)
    for topic in (named.ingest_state, named.counts, named.detect_state, named.surges, named.judge_state, named.layout):
        assert f"kafka-topics.sh --bootstrap-server {settings.kafka.address} --delete --topic {topic}\n" in fault.hint
    for topic in (named.reports, named.dead_letter, named.alerts):
        assert f"--topic {topic}\n" not in fault.hint


async def test_more_partitions_of_reports_are_added_on_the_way(settings):
    await topics.ensure(settings)

    fault = await refused(changed(settings, reports_partitions=4))

    assert f"--alter --topic {topics.names(settings).reports} --partitions 4\n" in fault.hint


async def test_fewer_partitions_of_reports_are_not_to_be_had(settings):
    await topics.ensure(settings)

    assert (await refused(changed(settings, reports_partitions=1))).hint.startswith("Give topics.reports_partitions 2")


async def test_changed_bucket_length_is_refused_for_default_and_named_source(settings):
    await topics.ensure(changed(settings, sources={"calls": SourceRule(bucket_seconds=300)}))

    default = await refused(
        changed(
            settings, source_default=SourceRule(bucket_seconds=120), sources={"calls": SourceRule(bucket_seconds=300)}
        )
    )
    named = await refused(changed(settings, sources={"calls": SourceRule(bucket_seconds=600)}))
    dropped = await refused(settings)

    assert default.fact == "source.default.bucket_seconds changed from 60 to 120"
    assert named.fact == "source.calls.bucket_seconds changed from 300 to 600"
    assert dropped.fact == "source.calls.bucket_seconds changed from 300 to 60"


async def test_source_named_anew_with_the_bucket_it_had_is_fine_and_kept(settings):
    await topics.ensure(settings)

    await topics.ensure(changed(settings, sources={"calls": SourceRule(lateness_seconds=60)}))

    default = changed(settings, source_default=SourceRule(bucket_seconds=120), sources={"calls": SourceRule()})
    assert (await refused(default)).fact == "source.default.bucket_seconds changed from 60 to 120"


async def test_other_group_on_the_same_topics_has_to_keep_the_layout(settings):
    await topics.ensure(settings)
    other = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, group="other"))

    fault = await refused(changed(other, source_default=SourceRule(bucket_seconds=120)))

    assert fault.fact == "source.default.bucket_seconds changed from 60 to 120"


async def test_strange_record_in_the_layout_topic_is_told(settings):
    name = topics.names(settings).layout
    await make(settings, NewTopic(name, 1, 1, topic_configs={"cleanup.policy": "compact"}))
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.address) as producer:
        await producer.send_and_wait(name, b"\xff{}", key=b"layout")

    assert (await refused(settings)).fact == f"topic {name} holds no layout of ours"

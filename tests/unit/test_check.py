"""Check: what it looks at, what it says, and that it writes nothing."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from pathlib import Path

import pytest

from streams import check, cluster, topics
from streams.settings import Loaded, Settings, load

SECRET = "canary-tulip-7"


def environment(broker: str, embedded: bool) -> dict[str, str]:
    return {
        "GROUNDSWELL_KAFKA_ADDRESS": broker,
        "GROUNDSWELL_KAFKA_EMBEDDED": str(embedded).lower(),
        "GROUNDSWELL_TOPICS_PREFIX": f"c-{uuid.uuid4().hex[:12]}-",
    }


def loaded(broker: str, embedded: bool, **env: str) -> Loaded:
    return load(env=environment(broker, embedded) | env)


async def test_fresh_broker_lacks_topics_and_gets_none(broker, embedded):
    given = loaded(broker, embedded)

    checked = await check.check(given)

    assert not checked.ok
    assert [problem.hint for problem in checked.problems] == ["Run: groundswell topics"]
    assert len(checked.brokers) == 1
    names = [spec.name for spec in topics.specs(given.settings)]
    assert (await cluster.look(given.settings, names)).topics == {}


async def test_all_is_well_once_the_topics_are_there(broker, embedded):
    given = loaded(broker, embedded)
    await topics.ensure(given.settings)

    checked = await check.check(given)

    assert checked.problems == []
    assert checked.ok
    assert len(checked.topics) == 12
    rights = checked.rights[topics.names(given.settings).reports]
    assert rights is None if embedded else {"read", "write"} <= set(rights or ())  # the embedded broker does not tell


async def test_all_problems_are_told_at_once(broker, embedded):
    given = loaded(broker, embedded)
    await topics.ensure(given.settings)
    prefix = given.settings.topics.prefix
    changed = {"GROUNDSWELL_TOPICS_PARTITIONS": "5", "GROUNDSWELL_SOURCE_DEFAULT_BUCKET_SECONDS": "120"}

    checked = await check.check(loaded(broker, embedded, GROUNDSWELL_TOPICS_PREFIX=prefix, **changed))

    assert [problem.fact for problem in checked.problems] == [
        "topics.partitions changed from 4 to 5",
        "source.default.bucket_seconds changed from 60 to 120",
    ]


async def test_lacking_rights_are_told_by_topic_and_group(broker, embedded, tmp_path):
    given = with_destination(tmp_path, broker, embedded)
    named = topics.names(given)
    may = {spec.name: frozenset({"read", "write"}) for spec in topics.specs(given)}
    group, telling = f"group {topics.app_id(given)}", f"group {topics.app_id(given)}-notify-am"
    may |= {named.alerts: frozenset({"read"}), named.counts: frozenset(), group: frozenset(), telling: frozenset()}

    problems = check.lacking(given, may)

    assert [problem.fact for problem in problems] == [
        f"we may not read and write topic {named.counts}",
        f"we may not write topic {named.alerts}",
        f"we may not read {group}",
        f"we may not read {telling}",
    ]


async def test_rights_are_asked_for_the_group_of_each_destination_too(broker, embedded, tmp_path):
    given = with_destination(tmp_path, broker, embedded)

    checked = await check.check(Loaded(settings=given, origins=defaultdict(str), path=None))

    assert f"group {topics.app_id(given)}-notify-am" in checked.rights


async def test_secret_of_a_destination_that_cannot_be_read_is_told(broker, embedded, tmp_path):
    given = with_destination(tmp_path, broker, embedded)

    checked = await check.check(Loaded(settings=given, origins=defaultdict(str), path=None))

    assert checked.problems[0].fact == f"[destination.am]: file {tmp_path / 'token'} cannot be read"


def with_destination(folder: Path, broker: str, embedded: bool) -> Settings:
    file = folder / "groundswell.toml"
    file.write_text(
        '[destination.am]\ntype = "alertmanager"\nurls = ["http://am:9093"]\ntoken_file = "token"\n',
    )
    return load(file, env=environment(broker, embedded)).settings


async def test_rights_that_are_not_told_are_no_problem(broker, embedded):
    given = loaded(broker, embedded).settings

    assert check.lacking(given, {topics.names(given).alerts: None}) == []


def test_values_bear_their_origin_and_no_secret():
    env = {
        "GROUNDSWELL_KAFKA_SECURITY": "SASL_SSL",
        "GROUNDSWELL_KAFKA_USERNAME": "u",
        "GROUNDSWELL_KAFKA_PASSWORD": SECRET,
    }

    rows = {row.name: row for row in check.values(load(env=env))}

    assert (rows["kafka.password"].value, rows["kafka.password"].origin) == ("***", "GROUNDSWELL_KAFKA_PASSWORD")
    assert (rows["web.port"].value, rows["web.port"].origin) == ("8600", "default")
    assert SECRET not in repr(rows)


def test_unreachable_broker_fails_with_its_settings_still_shown(capsys):
    given = load(env={"GROUNDSWELL_KAFKA_ADDRESS": "127.0.0.1:1"})

    code = check.run(given, json_output=True)

    shown = json.loads(capsys.readouterr().out)
    assert code == 1
    assert shown["problems"][0]["fact"] == "nothing listens at 127.0.0.1:1"
    assert {"name": "kafka.address", "value": '"127.0.0.1:1"', "origin": "GROUNDSWELL_KAFKA_ADDRESS"} in shown[
        "settings"
    ]


@pytest.mark.parametrize("section", ["WEB", "HTTP_INGEST"])
async def test_tokens_that_cannot_be_used_are_told(broker, embedded, tmp_path, section):
    file = tmp_path / "tokens"
    file.write_text(f"calls {SECRET}\n")
    given = loaded(broker, embedded, **{f"GROUNDSWELL_{section}_TOKENS_FILE": str(file)})
    await topics.ensure(given.settings)

    checked = await check.check(given)

    assert [problem.fact for problem in checked.problems] == [f"the token in line 1 of {file} cannot be one"]
    assert SECRET not in json.dumps([problem.detail for problem in checked.problems])


@pytest.mark.parametrize("variable", ["GROUNDSWELL_HTTP_INGEST_TOKENS_FILE", "GROUNDSWELL_WEB_TOKENS_FILE"])
def test_who_only_sends_or_looks_need_not_be_able_to_read_the_tokens(tmp_path, variable):
    load(env={variable: str(tmp_path / "roots-alone")})

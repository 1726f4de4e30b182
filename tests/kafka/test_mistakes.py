"""The usual mistakes of a first connection, made on the listeners of a real Apache Kafka, are told as what they are."""

from __future__ import annotations

import pytest

from streams import cluster, reach, settings, topics
from tests.kafka.server import PASSWORD, USER, Server

pytestmark = pytest.mark.kafka


def login(server: Server, **changes: str) -> dict[str, str]:
    flags = {"security": "SASL_SSL", "username": USER, "password": PASSWORD, "ca_file": str(server.ca_file)} | changes
    return {f"kafka.{name}": value for name, value in flags.items() if value}


async def refusal(flags: dict[str, str]) -> reach.Unreachable:
    with pytest.raises(reach.Unreachable) as caught:
        await cluster.look(settings.load(env={}, flags=flags).settings, ["reports"])
    assert PASSWORD not in str(caught.value)
    return caught.value


async def test_tls_spoken_to_a_port_in_the_clear(kafka_server):
    address = kafka_server.plaintext

    fault = await refusal({"kafka.address": address, "kafka.security": "SSL"})

    assert fault.fact == f"{address} does not speak TLS"


@pytest.mark.parametrize("listener", ["mutual", "scram"])
async def test_port_with_tls_spoken_to_in_the_clear(kafka_server, listener):
    address = getattr(kafka_server, listener)

    fault = await refusal({"kafka.address": address})

    assert fault.fact == f"{address} speaks TLS"


async def test_no_certificate_where_one_is_asked_for(kafka_server):
    flags = {"kafka.security": "SSL", "kafka.ca_file": str(kafka_server.ca_file)}

    fault = await refusal(flags | {"kafka.address": kafka_server.mutual})

    assert fault.fact == f"{kafka_server.mutual} asks for a certificate of ours"


async def test_no_password_where_one_is_asked_for(kafka_server):
    in_the_clear = await refusal({"kafka.address": kafka_server.sasl})
    with_tls = await refusal(
        {"kafka.address": kafka_server.scram, "kafka.security": "SSL", "kafka.ca_file": str(kafka_server.ca_file)}
    )

    assert in_the_clear.fact == f"{kafka_server.sasl} closes the connection at our first request"
    assert "SASL_PLAINTEXT" in in_the_clear.hint
    assert with_tls.fact == f"{kafka_server.scram} closes the connection at our first request"
    assert "SASL_SSL" in with_tls.hint


async def test_password_where_none_is_asked_for(kafka_server):
    fault = await refusal(login(kafka_server, address=kafka_server.plaintext, security="SASL_PLAINTEXT", ca_file=""))

    assert fault.fact == f"{kafka_server.plaintext} asks for no password"


async def test_mechanism_that_the_broker_does_not_take(kafka_server):
    fault = await refusal(login(kafka_server, address=kafka_server.scram, sasl_mechanism="PLAIN"))

    assert fault.fact == f"{kafka_server.scram} does not take passwords by PLAIN"


async def test_wrong_password(kafka_server):
    flags = login(kafka_server, address=kafka_server.scram, sasl_mechanism="SCRAM-SHA-512")

    fault = await refusal(flags | {"kafka.password": "wrong"})

    assert fault.fact == f"{kafka_server.scram} refuses user '{USER}'"


async def test_more_copies_than_brokers(kafka_server):
    flags = {"kafka.address": kafka_server.plaintext, "topics.prefix": "copies-", "topics.replication": "3"}

    with pytest.raises(topics.TopicsError) as caught:
        await topics.ensure(settings.load(env={}, flags=flags).settings)

    assert caught.value.fact == "topic copies-reports cannot be created"
    assert "GROUNDSWELL_TOPICS_REPLICATION" in caught.value.hint

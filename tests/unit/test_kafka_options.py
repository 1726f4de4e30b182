"""Kafka options: settings as what aiokafka and Faust take, real handshakes, and where a partition ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import faust
import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth, server_list
from faust.types.auth import AuthProtocol

from streams import cluster, kafka, reach
from streams.fields import Secret
from streams.settings import KafkaSettings, Settings

PASSWORD = "canary-tulip-7"


def settings(**changes: object) -> Settings:
    return Settings(kafka=KafkaSettings(**changes))


def sasl(security: str, mechanism: str) -> Settings:
    return settings(security=security, sasl_mechanism=mechanism, username="u", password=Secret(PASSWORD))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate that signs itself, for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    request = "openssl req -x509 -newkey rsa:2048 -noenc -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*request.split(), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


# --- the options ---


def test_address_becomes_one_server_each():
    options = kafka.client_options(settings(address="a:1,[::1]:2,b"))

    assert options["bootstrap_servers"] == ["a:1", "[::1]:2", "b:9092"]


def test_tls_checks_certificate_and_name():
    context = kafka.client_options(settings(security="SSL"))["ssl_context"]

    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_password_goes_to_the_client_with_its_mechanism(mechanism):
    options = kafka.client_options(sasl("SASL_SSL", mechanism))

    assert options["security_protocol"] == "SASL_SSL"
    assert options["sasl_mechanism"] == mechanism
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", PASSWORD)
    assert options["ssl_context"].verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("security", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_faust_speaks_as_the_client_does(security, mechanism):
    given = sasl(security, mechanism) if security.startswith("SASL") else settings(security=security)

    credentials = kafka.faust_options(given)["broker_credentials"]
    client = kafka.client_options(given)

    by_faust = credentials_to_aiokafka_auth(credentials)
    assert by_faust["security_protocol"] == client["security_protocol"] == security
    for name in ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password"):
        assert by_faust.get(name) == client.get(name)
    assert (by_faust.get("ssl_context") is None) == (client.get("ssl_context") is None)


def test_faust_reads_the_servers_as_the_client_does():
    given = settings(address="a:1,[::1]:2")

    app = faust.App("t", **kafka.faust_options(given))

    assert [url.scheme for url in app.conf.broker] == ["groundswell", "groundswell"]
    assert server_list(app.conf.broker, 9092) == kafka.client_options(given)["bootstrap_servers"]


def test_faust_shows_no_password():
    app = faust.App("t", **kafka.faust_options(sasl("SASL_SSL", "SCRAM-SHA-512")))

    assert app.conf.broker_credentials.protocol == AuthProtocol.SASL_SSL
    assert PASSWORD not in repr(app.conf.broker_credentials)


def test_only_the_embedded_broker_gets_short_timeouts():
    assert "broker_rebalance_timeout" not in kafka.faust_options(Settings())

    app = faust.App("t", **kafka.faust_options(settings(embedded=True)))

    assert (app.conf.broker_rebalance_timeout, app.conf.broker_session_timeout) == (3.0, 10.0)


def test_file_without_certificate_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("none\n")

    with pytest.raises(kafka.KafkaError, match="holds no certificates"):
        kafka.client_options(settings(security="SSL", ca_file=tmp_path / "ca.pem"))


def test_encrypted_key_is_refused_instead_of_asking_on_the_terminal(tmp_path, certificate):
    cert, key = certificate
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:x", "-in", str(key), "-out", str(locked)],
        check=True,
        capture_output=True,
    )

    with pytest.raises(kafka.KafkaError) as caught:
        kafka.client_options(settings(security="SSL", cert_file=cert, key_file=locked))

    assert caught.value.detail == "the key is encrypted"


# --- reaching brokers, and why not ---


@contextlib.asynccontextmanager
async def listening(serve: object, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Address of a server that does `serve` with each connection."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def tls_server(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def shake_hands(server: socket.socket, context: ssl.SSLContext) -> None:
    with contextlib.suppress(OSError):
        connection, _ = server.accept()
        with connection, context.wrap_socket(connection, server_side=True):
            pass


async def refusal(given: Settings) -> reach.Unreachable:
    with pytest.raises(reach.Unreachable) as caught:
        await cluster.look(given, ["reports"])
    return caught.value


async def test_closed_port_is_told():
    async with listening(hang_up) as address:
        pass

    assert (await refusal(settings(address=address))).fact == f"nothing listens at {address}"


async def test_unknown_name_is_told():
    assert (
        await refusal(settings(address="kafka.invalid:9092"))
    ).fact == "no machine is known by the name kafka.invalid"


async def test_tls_port_spoken_to_in_the_clear_is_told(certificate):
    async with listening(hang_up, tls_server(certificate)) as address:
        fault = await refusal(settings(address=address))

    assert fault.fact == f"{address} speaks TLS"
    assert "Give SSL." in fault.hint


async def test_certificate_that_nobody_vouches_for_is_told(certificate):
    async with listening(hang_up, tls_server(certificate)) as address:
        fault = await refusal(settings(address=address, security="SSL"))

    assert fault.fact == f"the certificate of {address} is not trusted"
    assert "GROUNDSWELL_KAFKA_CA_FILE" in fault.hint


async def test_server_that_asks_for_our_certificate_is_told(certificate):
    context = tls_server(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate[0])
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        # In threads: asyncio's server hangs up without the alert that Kafka sends.
        for _ in range(3):
            threading.Thread(target=shake_hands, args=(server, context), daemon=True).start()
        fault = await refusal(settings(address=address, security="SSL", ca_file=certificate[0]))

    assert fault.fact == f"{address} asks for a certificate of ours"


async def test_server_that_is_no_kafka_is_told():
    async with listening(hang_up) as address:
        fault = await refusal(settings(address=address))

    assert fault.fact == f"{address} closes the connection at our first request"


async def test_second_broker_is_asked_where_the_first_is_down(broker):
    seen = await cluster.look(settings(address=f"127.0.0.1:1,{broker}"), [])

    assert len(seen.brokers) == 1


async def test_broker_that_calls_itself_by_an_address_out_of_reach_is_told(broker):
    with pytest.raises(reach.Unreachable) as caught:
        await reach.advertised(settings(address=broker), [("kafka.invalid", 9092)])

    assert caught.value.fact == "a broker calls itself kafka.invalid:9092, and there it cannot be reached"
    assert "advertised.listeners" in caught.value.hint


@pytest.mark.embedded
async def test_embedded_broker_takes_no_password(broker):
    given = sasl("SASL_PLAINTEXT", "SCRAM-SHA-256")

    fault = await refusal(msgspec.structs.replace(given, kafka=msgspec.structs.replace(given.kafka, address=broker)))

    assert "SCRAM-SHA-256" in fault.fact
    assert PASSWORD not in str(fault)


# --- where a partition ends ---


async def filled(broker: str, *batches: tuple[int, int]) -> str:
    """A topic of three partitions with batches of records in it: (partition, records)."""
    topic = f"ends-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=3, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=broker) as producer:
        for partition, records in batches:
            batch = producer.create_batch()
            for _ in range(records):
                assert batch.append(key=None, value=b"x", timestamp=None) is not None
            await (await producer.send_batch(batch, topic, partition=partition))
    return topic


async def test_end_of_a_partition_is_behind_its_last_batch(broker, embedded):
    topic = await filled(broker, (0, 100), (1, 1), (1, 50))
    partitions = [TopicPartition(topic, number) for number in range(3)]

    ends = await kafka.end_offsets(settings(address=broker, embedded=embedded), partitions)

    assert [ends[partition] for partition in partitions] == [100, 51, 0]


@pytest.mark.embedded
async def test_embedded_broker_still_needs_its_end_offsets_put_right(broker):
    topic = await filled(broker, (0, 100))

    ends = await kafka.end_offsets(settings(address=broker, embedded=False), [TopicPartition(topic, 0)])

    assert ends == {TopicPartition(topic, 0): 1}, "the broker got better: drop the correction"


async def test_cancellation_while_a_client_closes_is_not_lost():
    client = AIOKafkaClient()
    client._sync_task = asyncio.create_task(asyncio.sleep(60))
    went_on = False

    async def follow() -> None:
        nonlocal went_on
        await kafka.heed(client.close())
        went_on = True

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)  # it waits for the client's own task, which it has cancelled
    following.cancel()

    with pytest.raises(asyncio.CancelledError):
        await following
    assert not went_on

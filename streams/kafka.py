"""Our way into Kafka: the settings as the options of aiokafka and of Faust, and where a partition really ends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Collection
from typing import Any, NoReturn

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.fault import Fault
from streams.settings import KafkaSettings, Settings, brokers

#: How long a broker may take to tell where its partitions end.
END_SECONDS = 30.0


class KafkaError(Fault):
    """Kafka cannot be used as the settings say."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of any aiokafka client: whom to ask, how, and as whom. KafkaError on a bad certificate.

    >>> client_options(Settings())
    {'bootstrap_servers': ['127.0.0.1:9092'], 'security_protocol': 'PLAINTEXT'}
    """
    kafka = settings.kafka
    options: dict[str, Any] = {"bootstrap_servers": _servers(kafka), "security_protocol": kafka.security}
    if kafka.security.endswith("SSL"):
        options["ssl_context"] = _tls(kafka)
    if kafka.security.startswith("SASL_"):
        assert kafka.password is not None  # the settings are checked on load
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.reveal(),
        }
    return options


def faust_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of faust.App for the same. KafkaError on a bad certificate.

    >>> faust_options(Settings())["broker"]
    'groundswell://127.0.0.1:9092'
    """
    # Faust takes seconds to import: not for those who only want a client's options.
    import faust

    kafka = settings.kafka
    tls = _tls(kafka) if kafka.security.endswith("SSL") else None
    credentials: Any = None
    if kafka.security.startswith("SASL_"):
        assert kafka.password is not None  # the settings are checked on load
        credentials = faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password.reveal(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=tls,  # with it Faust speaks SASL_SSL, without it SASL_PLAINTEXT
        )
    elif tls is not None:
        credentials = faust.SSLCredentials(tls)
    options = {
        "broker": ";".join(f"groundswell://{server}" for server in _servers(kafka)),
        "broker_credentials": credentials,
    }
    session, rebalance = _group_seconds(kafka)
    options |= {"broker_session_timeout": session, "broker_heartbeat_interval": _HEARTBEAT_SECONDS}
    if rebalance is not None:
        options |= {"broker_rebalance_timeout": rebalance}
    return options


def group_options(settings: Settings) -> dict[str, int]:
    """Keyword arguments of aiokafka's consumer for a group of its own: the same patience as the workers' group has.

    >>> group_options(Settings())
    {'session_timeout_ms': 20000, 'heartbeat_interval_ms': 3000}
    """
    session, rebalance = _group_seconds(settings.kafka)
    options = {"session_timeout_ms": round(1000 * session), "heartbeat_interval_ms": round(1000 * _HEARTBEAT_SECONDS)}
    if rebalance is not None:
        options["rebalance_timeout_ms"] = round(1000 * rebalance)
    return options


_HEARTBEAT_SECONDS = 3.0


def _group_seconds(kafka: KafkaSettings) -> tuple[float, float | None]:
    """Session and rebalance time-out of a consumer group; None: the client's own."""
    if kafka.embedded:
        # A join waits there for the whole rebalance time-out: 5 s with these instead of 60.
        return 10.0, 3.0
    # A worker that died is missed after so long, its partitions stand still until then; Faust's default is a minute.
    return 20.0, None


async def heed(closing: Awaitable[None]) -> None:
    """Wait until a client of aiokafka's is closed, and heed a cancellation that comes meanwhile.

    While it closes, aiokafka cancels its own tasks and takes whatever cancellation it sees for theirs: ours would be
    lost, and whoever cancelled us would wait for good, as Ctrl-C on the demo did once in a while.
    """
    await closing
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end_offsets(settings: Settings, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The offset that the next record of each partition will get.

    Raises aiokafka's KafkaError where the broker does not say, TimeoutError after END_SECONDS.
    """
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        async with asyncio.timeout(END_SECONDS):
            said = await consumer.end_offsets(list(partitions))
            return await _corrected(consumer, said) if settings.kafka.embedded else said
    finally:
        await heed(consumer.stop())


async def begin_offsets(settings: Settings, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """The offset of the first record that each partition keeps, or will get. Raises as `end_offsets`."""
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        async with asyncio.timeout(END_SECONDS):
            begins: dict[TopicPartition, int] = await consumer.beginning_offsets(list(partitions))
            return begins
    finally:
        await heed(consumer.stop())


async def records_of(settings: Settings, partitions: Collection[TopicPartition]) -> AsyncIterator[ConsumerRecord]:
    """All records that the partitions keep now, those of a partition in their order. Raises as `end_offsets`."""
    ends = await end_offsets(settings, partitions)
    consumer = AIOKafkaConsumer(**client_options(settings), group_id=None, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(partitions))
        await consumer.seek_to_beginning(*partitions)
        unread = set(partitions)
        while unread := {each for each in unread if await consumer.position(each) < ends[each]}:
            for records in (await consumer.getmany(*unread, timeout_ms=1000)).values():
                for record in records:
                    yield record
    finally:
        await heed(consumer.stop())


async def _corrected(consumer: AIOKafkaConsumer, said: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
    """The embedded broker says where the last batch begins, plus one. What comes with the batch itself is right."""
    filled = [partition for partition, end in said.items() if end > 0]
    consumer.assign(filled)
    for partition in filled:
        consumer.seek(partition, said[partition] - 1)
    while waiting := [partition for partition in filled if consumer.highwater(partition) is None]:
        await consumer.getmany(*waiting, timeout_ms=100)
    return said | {partition: consumer.highwater(partition) for partition in filled}


def _servers(kafka: KafkaSettings) -> list[str]:
    return [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in brokers(kafka.address)]


def _tls(kafka: KafkaSettings) -> ssl.SSLContext:
    """Always checks the broker's certificate and its name."""
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise KafkaError(
            f"kafka.ca_file {kafka.ca_file} holds no certificates", str(error), "Give a PEM file."
        ) from None
    if kafka.cert_file and kafka.key_file:
        try:
            # Without a password of ours OpenSSL would ask for one on the terminal, in a worker for ever.
            context.load_cert_chain(kafka.cert_file, kafka.key_file, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise KafkaError(
                f"kafka.cert_file {kafka.cert_file} and kafka.key_file {kafka.key_file} cannot be used",
                str(error),
                "Give a certificate and the private key that belongs to it, both PEM, the key not encrypted.",
            ) from None
    return context


def _no_password() -> NoReturn:
    raise ValueError("the key is encrypted")

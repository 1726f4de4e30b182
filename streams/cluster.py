"""What the brokers tell of themselves, of topics, and of what we may do with them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import ClassVar

import msgspec
from aiokafka.errors import for_code
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from streams.kafka import KafkaError
from streams.reach import connected, greet
from streams.settings import Settings

#: How long the brokers may take to find the group: the first one of a cluster needs a topic made first.
GROUP_SECONDS = 15.0

#: Rights by their bit in Kafka's answers (org.apache.kafka.common.acl.AclOperation).
_RIGHTS = {3: "read", 4: "write", 5: "create", 6: "delete", 7: "alter", 8: "describe", 10: "describe configs"}
#: What a broker answers that does not tell rights.
_UNTOLD = -(2**31)
_UNKNOWN_TOPIC = 3
_TOPIC_FORBIDDEN = 29
_GROUP_FORBIDDEN = 30


class Broker(msgspec.Struct, frozen=True, order=True):
    """A broker as it advertises itself."""

    id: int
    host: str
    port: int


class Topic(msgspec.Struct, frozen=True):
    """A topic as it is. rights: None where the broker does not tell. leaderless: partitions nobody serves just now."""

    name: str
    partitions: int
    replication: int
    leaderless: tuple[int, ...]
    rights: frozenset[str] | None


class Cluster(msgspec.Struct, frozen=True):
    """Brokers, those of the topics asked for that exist, names that we may not see, and our rights on the cluster."""

    brokers: tuple[Broker, ...]
    topics: dict[str, Topic]
    forbidden: frozenset[str]
    rights: frozenset[str] | None

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Host and port of each broker, as it advertises itself."""
        return [(broker.host, broker.port) for broker in self.brokers]


async def look(settings: Settings, topics: Collection[str]) -> Cluster:
    """Ask the first broker that answers; creates nothing. Unreachable, or KafkaError where it refuses to tell."""
    async with connected(settings) as connection:
        answer = await connection.send(_Metadata(sorted(topics)))
    found: dict[str, Topic] = {}
    forbidden = set()
    for code, name, _, partitions, rights in answer.topics:
        if code == _TOPIC_FORBIDDEN:
            forbidden.add(name)
        elif code not in (0, _UNKNOWN_TOPIC) and not partitions:
            raise KafkaError(
                f"topic {name} cannot be described", f"{for_code(code).__name__}: {for_code(code).description}"
            )
        elif partitions:
            found[name] = Topic(
                name=name,
                partitions=len(partitions),
                replication=min(len(replicas) for _, _, _, _, replicas, _, _ in partitions),
                leaderless=tuple(sorted(number for _, number, leader, *_ in partitions if leader < 0)),
                rights=_rights(rights),
            )
    brokers = tuple(sorted(Broker(node, host, port) for node, host, port, _ in answer.brokers))
    return Cluster(brokers, found, frozenset(forbidden), _rights(answer.cluster_rights))


async def group_rights(settings: Settings, group: str) -> frozenset[str] | None:
    """What we may do with a consumer group; None where it is not told. Raises Unreachable and aiokafka's errors."""
    described = await _describe(settings, group)
    if described == _GROUP_FORBIDDEN:
        return frozenset()
    # A young cluster makes the topic that holds the groups only now.
    return None if isinstance(described, int) else described.rights


async def group_members(settings: Settings, group: str) -> int:
    """How many consumers are in a group. One that was killed counts until its session is over.

    KafkaError where the brokers do not tell within GROUP_SECONDS; raises Unreachable and aiokafka's errors.
    """
    try:
        async with asyncio.timeout(GROUP_SECONDS):
            while isinstance(described := await _describe(settings, group), int):
                if described == _GROUP_FORBIDDEN:
                    raise KafkaError(
                        f"we may not see group {group}", hint="Ask for the rights to read and describe it."
                    )
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise KafkaError(
            f"the brokers do not tell who is in group {group}", hint="Look at the brokers' health."
        ) from None
    return described.members


class _Group(msgspec.Struct, frozen=True):
    members: int
    rights: frozenset[str] | None


async def _describe(settings: Settings, group: str) -> _Group | int:
    """The group, or the error code."""
    async with connected(settings) as connection:
        coordinator = await connection.send(FindCoordinatorRequest(group, 0))
    if coordinator.error_code:
        return int(coordinator.error_code)
    connection = await greet(settings, coordinator.host, coordinator.port)
    try:
        if settings.kafka.embedded:
            # It looks for members that are gone only when a member is heard of, be it nobody.
            await connection.send(HeartbeatRequest(group, 0, "nobody"))
        answer = await connection.send(_DescribeGroups([group]))
    finally:
        connection.close()
    [(code, _, _, _, _, members, rights)] = answer.groups
    return int(code) if code else _Group(len(members), _rights(rights))


def _rights(bits: int) -> frozenset[str] | None:
    if bits == _UNTOLD:
        return None
    return frozenset(right for bit, right in _RIGHTS.items() if bits >> bit & 1)


# aiokafka knows the first request up to version 5; from version 8 on, brokers (Kafka 2.3 and later) tell our rights.
# Of the second it knows version 3, which tells them, too, but reads the answer as version 2, without them.


class _MetadataResponse_v8(Response):  # type: ignore[misc]
    API_KEY: ClassVar[int] = 3
    API_VERSION: ClassVar[int] = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8")))),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("rights", Int32),
            ),
        ),
        ("cluster_rights", Int32),
    )


class _MetadataRequest_v8(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse_v8
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _Metadata(Request[_MetadataRequest_v8]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequest_v8]) -> _MetadataRequest_v8:
        return request_struct_class(self._topics, False, True, True)


class _DescribeGroupsRequest_v3(RequestStruct):  # type: ignore[misc]
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class _DescribeGroups(Request[_DescribeGroupsRequest_v3]):  # type: ignore[misc]
    API_KEY = 15

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[_DescribeGroupsRequest_v3]) -> _DescribeGroupsRequest_v3:
        return request_struct_class(self._groups, True)

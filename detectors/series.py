"""Series: what is counted, and where its counts go."""

from __future__ import annotations

from zlib import crc32

import msgspec

#: Service of the series that takes the counts of names beyond the cap. Reports may not use a leading `*`.
OVERFLOW = "*overflow*"


class Series(msgspec.Struct, frozen=True, order=True, array_like=True):
    """What is counted: reports of one source on one service from one region.

    The three are identities (normalised and case-folded, see report.py), not the spellings shown to people.
    region: '/'-separated path, widest first (`it/lazio/roma`); '' where the reports do not say.
    """

    source: str
    service: str
    region: str


class Names(msgspec.Struct, frozen=True, array_like=True):
    """The spellings of a series that people see: those of its first report."""

    service: str
    region: str


def partition_of(service: str, partitions: int) -> int:
    """The partition of `report-counts` that holds all series of a service, 0 <= it < partitions.

    All series of a service meet in one partition, since they share its curve of the day.

    >>> partition_of("whatsapp", 4)
    1
    """
    return crc32(service.encode()) % partitions

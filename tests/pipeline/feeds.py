"""Made-up feeds, the same for the same seed: reports with an outage in them, and records that are no reports."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from detectors.report import Reason

#: 25 October 2022, 00:00 UTC, in seconds.
DAY = 1_666_656_000

#: reports.max_record_bytes of the scenes that take malformed records: 10,000 of them then fit an embedded broker.
MAX_RECORD_BYTES = 4096

SERVICES = ("WhatsApp", "TIM", "Poste Italiane")
REGIONS = ("it/lazio/roma", "it/lombardia/milano", "it/campania/napoli", "")
SOURCES = ("reports", "calls", "social")


def report(time_seconds: float, service: str, region: str = "", source: str = "reports", **more: object) -> bytes:
    """A report as JSON."""
    fields: dict[str, object] = {"service": service, "time": round(time_seconds, 3), **more}
    if region:
        fields["region"] = region
    if source != "reports":
        fields["source"] = source
    return json.dumps(fields).encode()


#: What breaks, from and until which part of a feed's time: service, region, source.
BREAKS = (
    (0.75, 0.80, ("WhatsApp", "it/lazio/roma", "reports")),
    (0.78, 0.84, ("TIM", "it/lombardia/milano", "social")),
)


def outage(
    seed: int, *, partitions: int, hours: float, per_minute: float = 75.0, surge: float = 60.0
) -> list[tuple[int, bytes | None]]:
    """(partition of `reports`, value) of a feed in which two services break, one after the other.

    per_minute: usual reports of all series together. surge: extra reports a minute of a series that is broken.
    Times go up with some jitter, within the usual lateness for most; a few in a hundred are late, and some records are
    no reports. The first record of each partition, and the last half an hour after the others, is a heartbeat: every
    partition has begun before the first is far ahead, and all buckets close.
    """
    chance = random.Random(seed)
    seconds = hours * 3600
    records: list[tuple[int, bytes | None]] = [
        (partition, report(DAY, "heartbeat", count=0)) for partition in range(partitions)
    ]
    passed = 0.0
    while True:
        broken = [series for begin, end, series in BREAKS if begin * seconds <= passed < end * seconds]
        rate = (per_minute + surge * len(broken)) / 60
        passed += chance.expovariate(rate)
        if passed >= seconds:
            break
        partition = chance.randrange(partitions)
        if chance.random() < 0.005:
            records.append((partition, malformed(chance, DAY + passed)[0]))
            continue
        if chance.random() < surge * len(broken) / 60 / rate:
            service, region, source = chance.choice(broken)
        else:
            service, region, source = chance.choice(SERVICES), chance.choice(REGIONS), chance.choice(SOURCES)
        behind = chance.uniform(0, 2.5) if chance.random() < 0.98 else chance.uniform(5, 400)
        records.append((partition, report(DAY + max(0.0, passed - behind), service, region, source)))
    records.extend((partition, report(DAY + seconds + 1800, "heartbeat", count=0)) for partition in range(partitions))
    return records


def malformed(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    """A record that must be rejected at event time `now` (seconds), its kind drawn by `chance`, and the reason.

    Late at `now` presumes reports in its partition before; too large presumes MAX_RECORD_BYTES.
    """
    return chance.choice(_KINDS)(chance, now)


def _empty(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    return chance.choice((None, b"")), Reason.EMPTY


def _truncated(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    whole = report(now, "WhatsApp", "it/lazio/roma")
    return whole[: chance.randrange(1, len(whole) - 1)], Reason.NOT_JSON


def _noise(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    # 0xff begins no JSON and no UTF-8.
    return b"\xff" + chance.randbytes(chance.randrange(1, 300)), Reason.NOT_JSON


def _bad_utf8(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    bad = chance.choice((b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80", b"\xc0\xaf", b"\xff"))
    return b'{"service": "Whats' + bad + b'App"}', Reason.NOT_JSON


def _deep(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    depth = chance.randrange(1_200, 1_900)
    return b'{"service": "WhatsApp", "extra": ' + b"[" * depth + b"]" * depth + b"}", Reason.NOT_JSON


def _not_an_object(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    return chance.choice((b"null", b"17", b"[]", b'"WhatsApp"', b"true", b'[{"service": "WhatsApp"}]')), Reason.INVALID


def _wrong_field(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    wrong: dict[str, object] = chance.choice(
        (
            {"service": 17},
            {"service": None},
            {"service": ""},
            {"service": "x" * 201},
            {"service": ["WhatsApp"]},
            {"region": {"country": "it"}},
            {"region": "x/" * 151},
            {"source": ""},
            {"count": -1},
            {"count": 1_000_001},
            {"count": 1.5},
            {"count": "3"},
            {"count": True},
            {"problem": 1},
            {"id": "x" * 201},
            {"time": "yesterday"},
            {"time": "2022-10-25T07:04:00"},
            {"time": "2022-13-45T07:04:00Z"},
            {"time": [now]},
            {"time": True},
        )
    )
    return json.dumps({"service": "WhatsApp", "time": now} | wrong).encode(), Reason.INVALID


def _no_service(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    return json.dumps({"region": "it", "time": now}).encode(), Reason.INVALID


def _huge(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    return report(
        now, "WhatsApp", note="x" * chance.randrange(MAX_RECORD_BYTES, 2 * MAX_RECORD_BYTES)
    ), Reason.TOO_LARGE


def _bad_name(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    bad = chance.choice(
        ("\x1b[31mred", "bell\x07", "\u202eevil", "nul\x00", "   ", "*", "*overflow*", "\ufeffbom", "\x9b")
    )
    return json.dumps({"service": "What" + bad if bad.strip() and bad[0] != "*" else bad, "time": now}).encode(), (
        Reason.BAD_NAME
    )


def _bad_time(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    time = chance.choice(
        ("-1", "1e300", "-1e18", "99999999999999999", "1e16", '"1969-12-31T23:59:59Z"', '"2200-01-01T00:00:00Z"')
    )
    return b'{"service": "WhatsApp", "time": ' + time.encode() + b"}", Reason.BAD_TIME


def _future(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    return report(chance.uniform(4_102_444_800, 7_258_118_000), "WhatsApp"), Reason.FUTURE


def _late(chance: random.Random, now: float) -> tuple[bytes | None, Reason]:
    return report(now - chance.uniform(86_400, 86_400 * 365), "WhatsApp"), Reason.LATE


_KINDS = (
    _empty,
    _truncated,
    _noise,
    _bad_utf8,
    _deep,
    _not_an_object,
    _wrong_field,
    _no_service,
    _huge,
    _bad_name,
    _bad_time,
    _future,
    _late,
)


def spoilt(seed: int, *, count: int, partitions: int) -> Iterator[tuple[int, bytes | None, Reason | None]]:
    """`count` malformed records with a good report after each: (partition, value, reason; None for the good)."""
    chance = random.Random(seed)
    # The first report of a partition is what the late ones are late after.
    for partition in range(partitions):
        yield partition, report(DAY, "WhatsApp"), None
    for number in range(count):
        now = DAY + number * 0.5
        partition = chance.randrange(partitions)
        value, reason = malformed(chance, now)
        yield partition, value, reason
        yield partition, report(now, chance.choice(SERVICES), chance.choice(REGIONS)), None

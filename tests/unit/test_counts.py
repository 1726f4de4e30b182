"""Counts: chunks of an input partition, late and future reports, what goes to which partition."""

from __future__ import annotations

from detectors.counts import (
    BEGIN,
    CHUNK_NAME_BYTES,
    CHUNK_OFFSETS,
    HOUR_MS,
    NAME_CACHE_LIMIT,
    NameCache,
    PartitionCounter,
    Position,
    decode_counts,
    encode,
)
from detectors.pipeline import PlainRecord
from detectors.report import Reason
from detectors.rules import Rules
from detectors.series import Names, Series
from detectors.source import SourceRule
from detectors.watermark import NEVER

T0 = 1_666_681_200_000  # 2022-10-25T07:00:00Z
ONE = Rules(partitions=1, reports_partitions=1)


def record(offset: int, ms: int, service: str = "WhatsApp", **fields: object) -> PlainRecord:
    extra = "".join(f',"{name}":{value}' for name, value in fields.items())
    return PlainRecord(offset, T0 + HOUR_MS, f'{{"service":"{service}","time":{ms}{extra}}}'.encode())


def counter(rules: Rules = ONE, position: Position = BEGIN) -> PartitionCounter:
    return PartitionCounter(NameCache(rules), 0, position)


def test_reports_of_a_series_and_tick_add_up():
    partition = counter()

    partition.read([record(0, T0), record(1, T0 + 9_999), record(2, T0 + 10_000, count=5)])

    (message,) = partition.messages()
    assert message.series == [Series("reports", "whatsapp", ""), Series("reports", "*", "")]
    assert message.names == [Names("WhatsApp", ""), Names("*", "")]
    assert message.rows == [0, 0, 1, 1]
    assert message.ticks == [T0 // 10_000, T0 // 10_000 + 1] * 2
    assert message.counts == [2, 5, 2, 5]
    assert message.alive == {"reports": [(T0 // 60_000, T0 // 10_000 + 1)]}
    assert (message.start, message.upto, message.watermark) == (0, 3, T0 + 10_000)
    assert message.hours == [T0 // HOUR_MS]
    assert decode_counts(encode(message)) == message


def test_raw_names_that_come_to_one_series_and_spelling_are_counted_together():
    partition = counter()

    partition.read([record(0, T0), record(1, T0, "WhatsApp "), record(2, T0, " WhatsApp")])

    (message,) = partition.messages()
    assert message.series == [Series("reports", "whatsapp", ""), Series("reports", "*", "")]
    assert message.counts == [3, 3]


def test_spelling_stays_one_within_a_chunk_though_a_flood_of_names_emptied_the_cache():
    names = NameCache(ONE)
    partition = PartitionCounter(names, 0, BEGIN)

    partition.read([record(0, T0)])
    for number in range(NAME_CACHE_LIMIT):
        names.look_up(("reports", f"invented {number}", ""))
    partition.read([record(1, T0, "WhatsApp ")])

    (message,) = partition.messages()
    assert message.counts == [2, 2]


def test_count_zero_moves_the_watermark_and_counts_nothing():
    partition = counter()

    partition.read([record(0, T0, count=0)])

    (message,) = partition.messages()
    assert (message.watermark, message.series, message.counts) == (T0, [], [])
    assert message.alive == {"reports": [(T0 // 60_000, T0 // 10_000)]}
    assert partition.counted == 1


def test_spellings_of_a_series_travel_side_by_side():
    partition = counter()

    partition.read([record(0, T0, "WHATSAPP"), record(1, T0, "WhatsApp")])

    (message,) = partition.messages()
    assert message.series == [*[Series("reports", "whatsapp", "")] * 2, Series("reports", "*", "")]
    assert [names.service for names in message.names] == ["WHATSAPP", "WhatsApp", "*"]
    assert message.counts == [1, 1, 2]


def test_report_is_late_behind_the_newest_of_its_partition_less_the_lateness_of_its_source():
    rules = Rules(sources={"slow": SourceRule(lateness_seconds=60)}, partitions=1, reports_partitions=1)
    partition = counter(rules)

    _, rejected = partition.read(
        [
            record(0, T0 + 30_000),
            record(1, T0 + 27_000),
            record(2, T0 + 26_999),
            record(3, T0 - 30_000, source='"Slow"'),
            record(4, T0 - 30_001, source='"slow"'),
        ]
    )

    assert [(each.offset, why.reason, why.path) for each, why in rejected] == [
        (2, Reason.LATE, "$.time"),
        (4, Reason.LATE, "$.time"),
    ]


def test_report_from_the_future_is_rejected_and_moves_no_watermark():
    partition = counter()

    _, rejected = partition.read([record(0, T0), record(1, T0 + HOUR_MS + 300_001), record(2, T0 + 1)])

    assert [why.reason for _, why in rejected] == [Reason.FUTURE]
    assert partition.messages()[0].watermark == T0 + 1


def test_record_without_timestamp_and_time_is_rejected():
    partition = counter()

    _, rejected = partition.read([PlainRecord(0, -1, b'{"service":"x"}'), record(1, T0)])

    assert [(each.offset, why.reason) for each, why in rejected] == [(0, Reason.BAD_TIME)]


def test_chunk_ends_at_a_multiple_of_its_length_and_the_next_begins_there():
    partition = counter()
    records = [record(offset, T0 + offset) for offset in range(CHUNK_OFFSETS + 3)]

    taken, _ = partition.read(records)

    assert (taken, partition.full) == (CHUNK_OFFSETS, True)
    assert partition.seal() == Position(CHUNK_OFFSETS, T0 + CHUNK_OFFSETS - 1, 0.0, False)
    assert partition.read(records, taken) == (CHUNK_OFFSETS + 3, [])
    assert (partition.start, partition.full, partition.messages()[0].counts) == (CHUNK_OFFSETS, False, [3, 3])


def test_chunk_whose_last_offsets_are_missing_from_the_log_ends_all_the_same():
    partition = counter()
    records = [record(10, T0), record(3 * CHUNK_OFFSETS + 7, T0)]

    taken, _ = partition.read(records)

    assert (taken, partition.full, partition.upto) == (1, True, 3 * CHUNK_OFFSETS)


def test_records_that_are_in_already_are_skipped():
    partition = counter(position=Position(5, T0, 0.0, False))

    taken, rejected = partition.read([record(3, T0), record(4, T0), record(5, T0)])

    assert (taken, rejected, partition.messages()[0].counts) == (3, [], [1, 1])


def test_chunk_of_long_invented_names_ends_early_at_the_same_offset_each_time():
    def flood() -> PartitionCounter:
        partition = counter()
        partition.read([record(offset, T0, f"{offset:0200}") for offset in range(CHUNK_OFFSETS)])
        return partition

    first, again = flood(), flood()

    assert first.full
    assert first.upto < CHUNK_OFFSETS
    assert first.upto == again.upto
    assert len(encode(first.messages()[0])) < 2 * CHUNK_NAME_BYTES


def test_counts_go_to_the_partition_of_their_service_and_the_watermark_to_all():
    partition = counter(Rules(partitions=4, reports_partitions=1))

    partition.read([record(offset, T0, f"Service {offset % 40}") for offset in range(400)])

    messages = partition.messages()
    assert [message.watermark for message in messages] == [T0] * 4
    services = [{series.service for series in message.series} for message in messages]
    assert sum(map(len, services)) == len(set.union(*services)) == 41
    # Each is in the sums over all services as well.
    assert sum(sum(message.counts) for message in messages) == 800
    assert [sum(m.counts[-1:]) for m in messages if "*" in {series.service for series in m.series}] == [400]


def test_partition_without_records_says_so():
    (message,) = counter().messages()

    assert (message.start, message.upto, message.watermark) == (0, 0, NEVER)


def test_flood_of_names_empties_the_cache_and_changes_no_count(monkeypatch):
    monkeypatch.setattr("detectors.counts.NAME_CACHE_LIMIT", 10)
    partition = counter()

    partition.read([record(offset, T0, f"Service {offset % 30}") for offset in range(300)])

    (message,) = partition.messages()
    totals: dict[Series, int] = {}
    for row, count in zip(message.rows, message.counts, strict=True):
        totals[message.series[row]] = totals.get(message.series[row], 0) + count
    assert totals.pop(Series("reports", "*", "")) == 300
    assert set(totals.values()) == {10}
    assert len(totals) == 30

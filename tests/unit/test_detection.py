"""Detection: a partition of report-counts, from chunk counts to surges."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import detection as detection_module
from detectors.counts import ChunkCounts
from detectors.detection import Detection
from detectors.river_models import DetectorChoice
from detectors.rules import Rules
from detectors.series import OVERFLOW, Names, Series
from detectors.snapshot import Mismatch
from detectors.source import SourceRule
from detectors.surges import MOST_BYTES, SurgeRecord, SurgeRow, Tick, cut
from detectors.watermark import NEVER

T0 = 1_666_656_000_000  # 2022-10-25T00:00:00Z
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
ONE = Rules(partitions=1, reports_partitions=1)


def series(service: str = "whatsapp", region: str = "it") -> Series:
    return Series("reports", service, region)


def message(
    upto: int,
    watermark: int,
    counts: Sequence[tuple[Series, int, int]] = (),
    *,
    start: int = 0,
    partition: int = 0,
    of: int = 1,
) -> ChunkCounts:
    """A chunk's counts so far: (series, event time in ms, reports)."""
    return ChunkCounts(
        partition,
        of,
        start,
        upto,
        watermark,
        sorted({ms // HOUR for _, ms, _ in counts} | ({watermark // HOUR} if watermark != NEVER else set())),
        {
            source: [(ms // 60_000, ms // 10_000) for each, ms, count in counts if each.source == source and count]
            for source in {each.source for each, _, _ in counts}
        },
        [each for each, _, _ in counts],
        [Names(each.service.title(), each.region) for each, _, _ in counts],
        list(range(len(counts))),
        [ms // 10_000 for _, ms, _ in counts],
        [count for _, _, count in counts],
    )


def settle(detection: Detection) -> list[SurgeRecord]:
    told = []
    while records := detection.advance():
        told += records
    return told


def rows(told: list[SurgeRecord]) -> list[SurgeRow]:
    return [row for record in told for tick in record.ticks for row in tick.rows]


def quiet_day(detection: Detection, reports_a_minute: int = 2) -> int:
    """A day of the same rate each minute; returns the offset after it."""
    counts = [(series(), T0 + minute * MINUTE, reports_a_minute) for minute in range(1440)]
    detection.apply(message(1440, T0 + DAY, counts))
    assert rows(settle(detection)) == []
    return 1440


def test_nothing_closes_before_every_input_partition_was_heard_of():
    detection = Detection(Rules(partitions=1, reports_partitions=2), 0)

    detection.apply(message(9, T0 + HOUR, [(series(), T0, 9)], of=2))

    assert detection.watermark == NEVER
    assert settle(detection) == []


def test_partition_that_is_behind_holds_the_others_back():
    detection = Detection(Rules(partitions=1, reports_partitions=2), 0)
    detection.apply(message(9, T0 + HOUR, [(series(), T0, 9)], of=2))

    detection.apply(message(1, T0 + MINUTE, partition=1, of=2))

    assert settle(detection)[-1].through == T0 + MINUTE


def test_bucket_closes_once_the_watermark_is_past_its_end_and_the_lateness():
    detection = Detection(ONE, 0)
    detection.apply(message(1, T0 + MINUTE + 2_999, [(series(), T0, 1)]))
    settle(detection)
    before = detection.buckets_closed

    detection.apply(message(2, T0 + MINUTE + 3_000, [(series(), T0, 1)]))
    settle(detection)

    assert (before, detection.buckets_closed) == (0, 1)


def test_surge_is_told_within_the_bucket_that_shows_it():
    detection = Detection(ONE, 0)
    offset = quiet_day(detection)

    detection.apply(message(offset + 90, T0 + DAY + 13_000, [(series(), T0 + DAY + 5_000, 90)], start=offset))
    told = {row.series.region: row for row in rows(settle(detection)) if row.series.service == "whatsapp"}

    assert list(told) == ["*", "it"]
    assert told["*"].observed == 90
    row = told["it"]
    assert (row.series, row.names) == (series(), Names("Whatsapp", "it"))
    assert (row.start, row.closed, row.observed) == (T0 + DAY, False, 90)
    assert row.evidence > 2
    assert row.expected < 2
    assert row.recent is not None
    assert row.recent.observed[-5:] == [2] * 5


def test_what_surged_is_told_at_each_bucket_until_half_an_hour_after():
    detection = Detection(ONE, 0)
    offset = quiet_day(detection)
    detection.apply(message(offset + 90, T0 + DAY + 13_000, [(series(), T0 + DAY + 5_000, 90)], start=offset))
    settle(detection)

    usual = [(series(), T0 + DAY + n * MINUTE, 2) for n in range(1, 180)]
    detection.apply(message(offset + 500, T0 + DAY + 3 * HOUR, usual, start=offset + 90))
    told = [row for row in rows(settle(detection)) if row.series == series()]

    assert all(row.closed for row in told)
    assert 30 <= len(told) <= 60
    assert [row.start for row in told] == [T0 + DAY + n * MINUTE for n in range(len(told))]
    assert told[-1].evidence < 0.5


def test_day_without_any_report_is_a_gap_and_not_calm():
    detection = Detection(ONE, 0)
    offset = quiet_day(detection)
    before = detection.buckets_closed

    later = T0 + 400 * DAY
    detection.apply(message(offset + 1, later, [(series(), later, 2)], start=offset))
    detection.apply(
        message(offset + 2, later + HOUR, [(series(), later + n * MINUTE, 2) for n in range(60)], start=offset)
    )

    assert [row for row in rows(settle(detection)) if row.evidence >= 0] == []
    assert detection.buckets_closed - before <= 180  # the hours at its ends, and the one after it


def test_short_silence_is_calm():
    detection = Detection(ONE, 0)
    offset = quiet_day(detection)
    before = detection.buckets_closed

    detection.apply(message(offset + 1, T0 + DAY + 20 * HOUR, [(series(), T0 + DAY + 20 * HOUR, 2)], start=offset))
    settle(detection)

    assert detection.buckets_closed - before >= 20 * 60 - 1


def test_series_beyond_the_cap_share_one_and_evict_nobody():
    detection = Detection(Rules(partitions=1, reports_partitions=1, series_limit=3), 0)
    detection.apply(message(1, T0 + MINUTE, [(series("a"), T0, 5), (series("b"), T0, 5)]))
    settle(detection)

    flood = [(series(f"invented {n:04}"), T0 + MINUTE, 1) for n in range(1_000)]
    detection.apply(message(1_001, T0 + 3 * MINUTE, [*flood, (series("a"), T0 + MINUTE, 7)], start=1))
    settle(detection)

    (watch,) = detection._watches.values()
    assert {each.service for each in watch.bank.series} == {"a", "b", "invented 0000", OVERFLOW}
    assert detection.overflowed == 999
    assert detection.series == 4


def test_flood_of_names_within_open_ticks_takes_bounded_memory():
    detection = Detection(Rules(partitions=1, reports_partitions=1, series_limit=10), 0)

    detection.apply(message(5_000, T0, [(series(f"invented {n}"), T0, 1) for n in range(5_000)]))

    (watch,) = detection._watches.values()
    assert len(watch.window.names) <= 21
    assert sum(sum(tick.new.values()) for tick in watch.window.ticks.values()) == 5_000


def test_spelling_shown_is_that_of_the_first_tick_whatever_came_first():
    detection = Detection(ONE, 0)
    late = ChunkCounts(0, 1, 0, 1, T0, [], {}, [series()], [Names("WHATSAPP", "it")], [0], [T0 // 10_000 + 1], [1])
    early = ChunkCounts(0, 1, 1, 2, T0 + HOUR, [], {}, [series()], [Names("WhatsApp", "it")], [0], [T0 // 10_000], [1])

    detection.apply(late)
    detection.apply(early)
    settle(detection)

    (watch,) = detection._watches.values()
    assert watch.names[watch.rows[series()]] == Names("WhatsApp", "it")


def test_sources_close_by_their_own_buckets_and_lateness():
    slow = SourceRule(bucket_seconds=300, lateness_seconds=60)
    detection = Detection(Rules(partitions=1, reports_partitions=1, sources={"calls": slow}), 0)
    calls = Series("calls", "whatsapp", "it")
    both = ChunkCounts(
        0,
        1,
        0,
        2,
        T0 + 340_000,
        [],
        {},
        [series(), calls],
        [Names("w", "it")] * 2,
        [0, 1],
        [T0 // 10_000, T0 // 50_000],
        [1, 1],
    )

    detection.apply(both)
    settle(detection)
    closed = {policy.source: watch.buckets_closed for policy, watch in detection._watches.items()}
    assert closed == {"": 5, "calls": 0}

    detection.apply(message(3, T0 + 360_000, start=2))
    settle(detection)
    closed = {policy.source: watch.buckets_closed for policy, watch in detection._watches.items()}
    assert closed == {"": 5, "calls": 1}


def test_counts_for_a_closed_tick_count_in_the_open_one():
    detection = Detection(ONE, 0)
    detection.apply(message(1, T0 + HOUR, [(series(), T0, 1)]))
    settle(detection)

    detection.apply(message(2, T0 + HOUR, [(series(), T0, 1)], start=1))

    (watch,) = detection._watches.values()
    (tick,) = watch.window.ticks
    assert tick == watch.next_tick
    assert watch.window.ticks[tick].rows[0].tolist() == [watch.rows[series()]]


def test_counts_made_for_other_partitions_are_refused_with_what_to_do():
    detection = Detection(ONE, 0)

    with pytest.raises(ValueError, match=r"topics\.reports_partitions is 1"):
        detection.apply(message(1, T0, of=2))


def test_state_for_other_partitions_is_refused():
    with pytest.raises(Mismatch, match="the settings say 2 and 1"):
        Detection.restore(Rules(partitions=2, reports_partitions=1), 0, Detection(ONE, 0).save())


def test_state_of_another_version_is_no_damage(monkeypatch):
    monkeypatch.setattr(detection_module, "STATE_VERSION", 99)
    state = Detection(ONE, 0).save()
    monkeypatch.undo()

    with pytest.raises(Mismatch, match="is of version 99, this program goes on from version 4"):
        Detection.restore(ONE, 0, state)


@pytest.mark.parametrize("data", [b"", b"\xc0", b"garbage", Detection(ONE, 0).save()[:-1]])
def test_damaged_state_is_refused(data):
    with pytest.raises(ValueError, match="no state of detect") as refused:
        Detection.restore(ONE, 0, data)
    assert not isinstance(refused.value, Mismatch)


@functools.cache
def a_day() -> bytes:
    detection = Detection(ONE, 0)
    quiet_day(detection)
    return detection.save()


@settings(deadline=None)
@given(place=st.integers(0, 500) | st.integers(-500, -1) | st.integers(0), flip=st.integers(1, 255))
def test_changed_state_is_restored_or_refused_and_never_breaks(place, flip):
    state = bytearray(a_day())
    state[place % len(state)] ^= flip

    with contextlib.suppress(ValueError):
        Detection.restore(ONE, 0, bytes(state))


def test_what_was_known_before_a_new_log_stays_and_its_chunks_count_from_the_start():
    detection = Detection(ONE, 0)
    quiet_day(detection)
    series_known, through = detection.series, detection.through

    detection.restart([7])
    detection.apply(message(9, T0 + DAY + HOUR, [(series("tim"), T0 + DAY + 1, 5)], start=7))
    settle(detection)

    assert (detection.series, detection.through) == (series_known + 1, T0 + DAY + HOUR)
    assert through < detection.through


def test_lateness_may_change_without_losing_what_was_learned():
    detection = Detection(ONE, 0)
    quiet_day(detection)

    longer = Rules(partitions=1, reports_partitions=1, source_default=SourceRule(lateness_seconds=30))
    restored = Detection.restore(longer, 0, detection.save())

    assert restored.series == 1
    (watch,) = restored._watches.values()
    assert watch.bank.expected(T0 + DAY)[0] == pytest.approx(2, rel=0.3)


@pytest.mark.parametrize(
    "changed",
    [
        Rules(partitions=1, reports_partitions=1, detectors=(DetectorChoice(name="GaussianScorer"),)),
        Rules(partitions=1, reports_partitions=1, source_default=SourceRule(bucket_seconds=300)),
    ],
)
def test_bank_whose_detector_or_bucket_changed_starts_anew(changed):
    detection = Detection(ONE, 0)
    quiet_day(detection)

    restored = Detection.restore(changed, 0, detection.save())

    assert restored.series == 0
    assert restored.through == detection.through


def test_long_way_to_go_is_gone_in_steps():
    detection = Detection(ONE, 0)
    quiet_day(detection)
    detection.apply(message(1441, T0 + 3 * DAY, [(series(), T0 + DAY + n * HOUR, 1) for n in range(48)], start=1440))

    throughs = [record.through for record in settle(detection)]

    assert throughs == sorted(throughs)
    assert len(throughs) >= 8
    assert throughs[-1] == T0 + 3 * DAY


def surge(n: int, evidence: float) -> SurgeRow:
    return SurgeRow(series(f"{n:0200}"), Names(f"{n:0200}", "it"), evidence, T0, T0, True, 9, 1.0, 0.0, 3.0)


def test_step_is_cut_between_ticks():
    ticks = [Tick(T0 + n, [surge(n, 1.0)] * 100) for n in range(20)]

    records = cut(SurgeRecord(0, 1, T0 + 99, ticks))

    assert [tick for record in records for tick in record.ticks] == ticks
    assert len(records) > 3
    assert [record.through for record in records[:-1]] == [record.ticks[-1].at for record in records[:-1]]
    assert records[-1].through == T0 + 99


def test_of_a_tick_beyond_all_bounds_the_strongest_rows_are_told_in_order_of_series():
    count = 2 * MOST_BYTES // 554
    (record,) = cut(SurgeRecord(0, 1, T0, [Tick(T0, [surge(n, float(n)) for n in range(count)])]))

    kept = [row.evidence for row in record.ticks[0].rows]
    assert len(kept) < count
    assert kept == [float(n) for n in range(count - len(kept), count)]


def test_busiest_series_are_those_of_which_most_is_expected_with_what_came_in_the_last_bucket():
    detection = Detection(ONE, 0)
    counts = [
        (series(service), T0 + minute * MINUTE, count)
        for minute in range(1440)
        for service, count in (("whatsapp", 9), ("tim", 4), ("netflix", 1))
    ]
    detection.apply(message(1440, T0 + DAY + 3_000, counts))
    settle(detection)

    first, second = detection.busiest(2)

    assert (first.source, first.names) == ("reports", Names("Whatsapp", "it"))
    assert second.names == Names("Tim", "it")
    assert (first.observed, second.observed) == (9.0, 4.0)
    assert first.low < first.expected < first.high
    assert first.expected == pytest.approx(9.0, rel=0.2)
    assert len(detection.busiest(50)) == 3  # no roll-ups
    assert detection.busiest(0) == []


def test_series_that_came_since_the_last_bucket_is_not_among_the_busiest_yet():
    detection = Detection(ONE, 0)
    usual = [(series("tim"), T0 + minute * MINUTE, 4) for minute in range(60)]
    detection.apply(message(60, T0 + HOUR + 3_000, usual))
    settle(detection)
    detection.apply(message(61, T0 + HOUR + 40_000, [(series("new"), T0 + HOUR, 50)], start=60))
    settle(detection)

    assert detection.series == 2
    assert [busy.names.service for busy in detection.busiest(50)] == ["Tim"]


def test_busiest_series_are_told_a_minute_whatever_the_bucket():
    rules = Rules(partitions=1, reports_partitions=1, source_default=SourceRule(bucket_seconds=300))
    detection = Detection(rules, 0)
    times = [T0 + minute * MINUTE for minute in range(1440)]
    told = message(1440, T0 + DAY + 3_000, [(series(), time, 6) for time in times])
    # A bucket of 300 s has ticks of 50 s.
    alive = {"reports": [(time // 300_000, time // 50_000) for time in times]}
    detection.apply(msgspec.structs.replace(told, ticks=[time // 50_000 for time in times], alive=alive))
    settle(detection)

    (busy,) = detection.busiest(5)

    assert busy.observed == 6.0
    assert busy.expected == pytest.approx(6.0, rel=0.2)


def test_overflow_series_is_never_the_busiest():
    detection = Detection(Rules(partitions=1, reports_partitions=1, series_limit=1), 0)
    counts = [
        (series(service), T0 + minute * MINUTE, count)
        for minute in range(60)
        for service, count in (("a", 1), ("b", 50), ("c", 50))
    ]
    detection.apply(message(60, T0 + HOUR + 3_000, counts))
    settle(detection)

    assert detection.overflowed > 0
    assert [busy.names.service for busy in detection.busiest(5)] == ["A"]


def test_busiest_series_of_a_restored_partition_are_told_from_its_next_bucket_on():
    before = Detection(ONE, 0)
    before.apply(message(1440, T0 + DAY + 3_000, [(series(), T0 + minute * MINUTE, 9) for minute in range(1440)]))
    settle(before)

    detection = Detection.restore(ONE, 0, before.save())
    assert detection.busiest(5) == []
    detection.apply(message(1441, T0 + DAY + MINUTE + 3_000, [(series(), T0 + DAY, 7)], start=1440))
    settle(detection)

    assert [busy.observed for busy in detection.busiest(5)] == [7.0]

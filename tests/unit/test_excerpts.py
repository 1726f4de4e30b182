"""Excerpts: what is kept of the buckets around incidents and labels, and that it stays bounded."""

from __future__ import annotations

import numpy as np
import pytest

from detectors import excerpts
from detectors.alert import Kind, decode
from detectors.episodes import History
from detectors.excerpts import AFTER, AROUND_LABEL, BEFORE, Excerpt, Recorder
from detectors.pipeline import Here, Pipeline
from detectors.rules import Rules
from detectors.series import Series
from detectors.surge import Scores, SurgeBank, SurgeRule
from tests.made_episodes import DAY, at, known, told
from tests.pipeline.feeds import outage

MINUTE = 60_000


def bank(*regions: str) -> SurgeBank:
    made = SurgeBank(SurgeRule(), 60)
    made.add([Series("reports", "whatsapp", region) for region in regions])
    return made


def scores(evidence: list[float]) -> Scores:
    n = len(evidence)
    return Scores(
        evidence=np.array(evidence, np.float64),
        expected=np.full(n, 4.0),
        bounds=lambda: (np.full(n, 1.0), np.full(n, 8.0)),
        onset=np.zeros(n, np.int64),
        warming=np.zeros(n, np.bool_),
    )


def play(recorder: Recorder, it: SurgeBank, minutes: range, hot: dict[int, range]) -> None:
    """Close these minutes of the day: row r has 10 r + minute reports; it is told of in the minutes of hot[r]."""
    rows = len(it.series)
    for minute in minutes:
        told_rows = [row for row in range(rows) if minute in hot.get(row, range(0))]
        evidence = [5.0 if row in told_rows else -1.0 for row in range(rows)]
        counts = np.array([10 * row + minute for row in range(rows)], np.int64)
        recorder.closed(it, at(minute), counts, scores(evidence), np.array(told_rows, np.int64))


def test_excerpt_reaches_from_well_before_the_surge_to_some_time_after():
    recorder, it = Recorder(), bank("it", "fr")

    play(recorder, it, range(600), {1: range(300, 350)})
    recorder.finish()

    (kept,) = recorder.of(told(302, 350, region="fr", started=300))
    assert kept.series == it.series[1]
    assert (kept.begin, kept.end) == (at(301 - BEFORE), at(350 + AFTER + 1))
    assert kept.starts.tolist() == list(range(kept.begin, kept.end, MINUTE))
    minutes = np.arange(301 - BEFORE, 350 + AFTER + 1)
    assert kept.values[0].tolist() == (10 + minutes).tolist()
    assert kept.values[1:4].T.tolist() == [[4.0, 1.0, 8.0]] * len(minutes)
    assert kept.values[4].tolist() == [5.0 if 300 <= minute < 350 else -1.0 for minute in minutes]
    assert recorder.of(told(302, 350, region="it", started=300)) == []


def test_surge_that_comes_back_soon_goes_on_in_the_same_excerpt_and_a_late_one_has_its_own():
    recorder, it = Recorder(), bank("it")
    surges = [*range(300, 310), *range(320, 325), *range(500, 510)]

    for minute in range(600):
        rows = np.array([0] if minute in surges else [], np.int64)
        recorder.closed(it, at(minute), np.array([minute]), scores([0.0]), rows)
    recorder.finish()

    (first,), (second,) = recorder.of(told(301, 310)), recorder.of(told(501, 510))
    assert recorder.of(told(321, 325)) == [first]
    assert first.end == at(324 + AFTER + 2)
    assert second.begin == at(501 - BEFORE)


def test_series_that_was_not_there_yet_is_unknown_not_zero():
    recorder, it = Recorder(), bank("it")
    play(recorder, it, range(100), {})
    it.add([Series("reports", "whatsapp", "fr")])

    play(recorder, it, range(100, 130), {1: range(100, 120)})
    recorder.finish()

    (kept,) = recorder.of(told(101, 120, region="fr"))
    assert np.isnan(kept.values[:, kept.starts < at(100)]).all()
    assert not np.isnan(kept.values[:, kept.starts >= at(100)]).any()


def test_gap_of_the_feed_ends_excerpts_and_is_in_none():
    recorder, it = Recorder(), bank("it")
    play(recorder, it, range(100), {0: range(90, 100)})

    recorder.skipped(it)
    play(recorder, it, range(5000, 5020), {0: range(5010, 5020)})
    recorder.finish()

    assert recorder.of(told(91, 100))[0].end == at(100)
    assert recorder.of(told(5011, 5020))[0].begin == at(5000)


def test_endless_surge_is_kept_in_pieces_and_its_begin_is_shown():
    recorder, it = Recorder(), bank("it")

    play(recorder, it, range(2 * excerpts.LONGEST + 500), {0: range(300, 10_000)})
    recorder.finish()

    (kept,) = recorder.of(told(302, 3000, started=300))
    assert kept.begin == at(301 - BEFORE)
    assert len(kept.starts) == excerpts.LONGEST


def test_short_memory_keeps_fewer_buckets_but_the_right_ones():
    recorder, it = Recorder(ring_bytes=20 * 40 * 30), bank(*(f"{n}" for n in range(40)))

    play(recorder, it, range(333), {7: range(320, 333)})
    recorder.finish()

    (kept,) = recorder.of(told(321, 333, region="7"))
    assert (kept.begin, kept.end) == (at(321 - 30), at(333))
    assert kept.values[0].tolist() == [70 + minute for minute in range(291, 333)]


def test_ring_grows_and_shrinks_while_excerpts_are_made():
    recorder, it = Recorder(ring_bytes=20 * 8 * BEFORE), bank("0")
    play(recorder, it, range(400), {0: range(350, 480)})
    it.add([Series("reports", "whatsapp", f"{n}") for n in range(1, 24)])

    play(recorder, it, range(400, 500), {0: range(350, 480)})
    recorder.finish()

    (kept,) = recorder.of(told(351, 480, region="0"))
    assert kept.values[0].tolist() == list(range(351 - BEFORE, 480 + AFTER + 1))


def test_label_is_kept_whatever_becomes_of_it_with_the_series_nearest_to_an_incident():
    label = known(300, 320, region="")
    recorder, it = Recorder([label]), bank("a", "b", "c", "d")

    for minute in range(500):
        evidence = [0.1, 0.4, 0.3, 0.2] if minute == 310 else [-1.0] * 4
        recorder.closed(it, at(minute), np.full(4, minute), scores(evidence), np.zeros(0, np.int64))
    recorder.finish()

    kept = recorder.of_label(0)
    assert [each.series.region for each in kept] == ["b", "c", "d"]
    assert {(each.begin, each.end) for each in kept} == {(at(300 - AROUND_LABEL), at(320 + AROUND_LABEL))}
    assert kept[0].peak(label.start, label.end) == pytest.approx(0.4)


def test_label_of_another_place_or_time_keeps_nothing():
    recorder, it = Recorder([known(300, 320, service="TIM"), known(9000, 9100)]), bank("it")

    play(recorder, it, range(500), {})
    recorder.finish()

    assert (recorder.of_label(0), recorder.of_label(1)) == ([], [])


def test_what_no_incident_needs_is_dropped_and_of_the_rest_the_most_evident_stays(monkeypatch):
    monkeypatch.setattr(excerpts, "KEPT", 2)
    recorder, it = Recorder(), bank(*"abcdefgh")
    history = History()
    for row, evidence in ((1, 3.0), (3, 9.0), (5, 6.0)):
        history._episodes["x", row] = told(301, 310, region=it.series[row].region, evidence=evidence)
        history._by_place["whatsapp", it.series[row].region] = [("x", row)]

    play(recorder, it, range(500), dict.fromkeys(range(8), range(300, 310)))
    recorder.finish()
    recorder.prune(history, judged=at(500) + 2 * 86_400_000)

    kept = [region for region in "abcdefgh" if recorder.of(told(301, 310, region=region))]
    assert kept == ["d", "f"]


def test_no_more_excerpts_are_made_at_once_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(excerpts, "RUNNING", 3)
    recorder, it = Recorder(), bank(*"abcdefgh")

    play(recorder, it, range(310), dict.fromkeys(range(8), range(300, 310)))

    assert recorder.running == 3
    recorder.finish()
    assert recorder.running == 0


def test_coarser_buckets_hold_the_same_reports():
    n = 1000
    values = np.ones((5, n), np.float32)
    values[4] = np.arange(n)
    fine = Excerpt(Series("a", "b", ""), MINUTE, np.arange(n, dtype=np.int64) * MINUTE + DAY, values)

    coarse = fine.coarser(360)

    assert coarse.bucket_ms == 3 * MINUTE
    assert (coarse.starts % coarse.bucket_ms == 0).all()
    assert set(coarse.values[0].tolist()) == {3.0}
    assert coarse.values[4, 0] == values[4, (coarse.begin - DAY) // MINUTE + 2]
    assert fine.coarser(1000) is fine


def test_observed_run_gives_the_same_alerts_and_the_same_excerpts_each_time():
    """Byte for byte: nothing that is decided depends on whether somebody looks."""
    rules = Rules(partitions=2, reports_partitions=2)
    feed: dict[int, list[bytes | None]] = {0: [], 1: []}
    for partition, value in outage(3, partitions=2, hours=4):
        feed[partition].append(value)
    stamp = DAY + 86_400_000

    def run(recorder: Recorder | None) -> list[bytes]:
        pipeline = Pipeline(rules, Here(rules, observer=recorder))
        alerts: list[bytes] = []
        for begin in range(0, max(map(len, feed.values())), 2000):
            for partition, values in feed.items():
                piece = values[begin : begin + 2000]
                alerts += pipeline.read(partition, piece, [stamp] * len(piece))
        if recorder is not None:
            recorder.finish()
        return alerts

    first, second = Recorder(), Recorder()
    alerts = run(None)

    assert alerts
    assert run(first) == alerts
    assert run(second) == alerts
    history = History()
    for each in alerts:
        history.apply(decode(each))
    for each in history.episodes():
        ones, others = first.of(each), second.of(each)
        # A silent source has no buckets.
        assert sorted(one.series.source for one in ones) == ([] if each.kind is Kind.FEED else list(each.sources))
        for one, other in zip(ones, others, strict=True):
            assert one.begin <= each.started < each.detected <= one.end + 3000
            assert np.array_equal(one.values, other.values, equal_nan=True)

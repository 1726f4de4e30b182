"""Witness: what it keeps of a run, here and in parts, and how many reports would have been enough."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.pipeline import Here, Pipeline
from detectors.rules import Rules
from detectors.series import Series
from detectors.surge import SurgeBank, SurgeRule
from detectors.watch import Observer
from detectors.witness import MOST_TRACKS, NEVER_ENOUGH, NOT_ASKED, Account, Listening, Question, Witness
from streams.processes import Processes
from tests.made_episodes import DAY, at
from tests.pipeline.feeds import outage

RULES = Rules(partitions=3, reports_partitions=2)
STAMP = DAY + 86_400_000
#: WhatsApp breaks in Rome from hour 3 on, in the source reports.
ASKED = Question("whatsapp", "it/lazio/roma", at(181), at(161), at(211))


@pytest.fixture(scope="module")
def feed() -> dict[int, list[bytes | None]]:
    made: dict[int, list[bytes | None]] = {0: [], 1: []}
    for partition, value in outage(3, partitions=2, hours=4):
        made[partition].append(value)
    return made


def play(feed: dict[int, list[bytes | None]], where: Here | Processes | Listening) -> None:
    pipeline = Pipeline(RULES, where)
    for begin in range(0, max(map(len, feed.values())), 2000):
        for partition, values in feed.items():
            piece = values[begin : begin + 2000]
            pipeline.read(partition, piece, [STAMP] * len(piece))
    pipeline.rest()


def seen(feed: dict[int, list[bytes | None]], question: Question) -> Account:
    witness = Witness(question, 2.0)
    play(feed, Here(RULES, observer=witness))
    return witness.account()


def test_buckets_around_the_time_are_kept_of_every_source_and_of_the_rollups(feed):
    told = seen(feed, ASKED)

    own = [track for track in told.tracks if track.place == ASKED.place]
    assert [track.series.source for track in own] == ["calls", "reports", "social"]
    assert {track.place for track in told.tracks} == {ASKED.place, *ASKED.around}
    for track in told.tracks:
        assert [bucket.start for bucket in track.buckets] == list(range(at(161), at(211), 60_000))
    loud = own[1].peak
    assert loud is not None
    assert at(180) <= loud.start
    assert loud.evidence > 2.0
    assert loud.told
    assert ("tim", "it/lazio/roma") in told.names
    assert told.first == at(0)


def test_several_processes_see_what_one_sees(feed):
    witness = Witness(ASKED, 2.0)
    several = Processes(RULES, 2, witness)
    try:
        play(feed, several)
    finally:
        several.close()

    assert witness.account() == seen(feed, ASKED)


def test_a_report_is_heard_of_whether_it_has_a_series_or_not(feed):
    for region, named in (("it/lazio/roma", True), ("it/lazio/rieti", False)):
        question = Question("whatsapp", region, at(181), at(161), at(211))
        listening = Listening(Here(RULES), question, RULES)
        play(feed, listening)
        assert (listening.named is not None) is named


def test_witness_alters_nothing(feed):
    told = [alerts(feed, None), alerts(feed, Witness(ASKED, 2.0))]

    assert told[0] == told[1]
    assert told[0]


def alerts(feed: dict[int, list[bytes | None]], observer: Observer | None) -> list[bytes]:
    pipeline = Pipeline(RULES, Here(RULES, observer=observer))
    return [
        each for partition, values in feed.items() for each in pipeline.read(partition, values, [STAMP] * len(values))
    ]


# --- how many would have been enough ---


def watched(last: list[int], *, threshold: float = 2.0) -> tuple[SurgeBank, Witness]:
    """A bank of one series with three days of two reports a minute, then minutes of the asked time."""
    question = Question("whatsapp", "it", at(4320), at(4320), at(4320 + len(last)))
    bank, witness = SurgeBank(SurgeRule(), 60), Witness(question, threshold)
    bank.add([Series("reports", "whatsapp", "it")])
    usual = np.random.default_rng(5).poisson(2.0, 4320).tolist()
    for minute, count in enumerate([*usual, *last]):
        close(bank, witness, minute, count)
    return bank, witness


def close(bank: SurgeBank, witness: Witness, minute: int, count: int) -> None:
    counts = np.array([count], np.int64)
    witness.closing(bank, at(minute), counts)
    scores = bank.close(at(minute), counts)
    witness.closed(bank, at(minute), counts, scores, np.zeros(0, np.int64))


def test_so_many_reports_as_are_told_would_have_been_enough_and_one_less_not():
    _, witness = watched([2, 9, 9])
    (track,) = witness.account().tracks
    needed = track.buckets[-1].needed
    assert track.buckets[-1].evidence < 2.0
    assert needed > 9

    for count, enough in ((needed, True), (needed - 1, False)):
        _, other = watched([2, 9, count])
        assert (other.account().tracks[0].buckets[-1].evidence >= 1.99) is enough


def test_threshold_that_no_bucket_reaches_has_no_such_number():
    _, witness = watched([2, 9], threshold=1e5)

    assert witness.account().tracks[0].buckets[-1].needed == NEVER_ENOUGH


def test_bucket_with_less_evidence_than_one_before_is_not_asked():
    _, witness = watched([9, 2])

    assert witness.account().tracks[0].buckets[-1].needed == NOT_ASKED


def test_sources_are_bounded():
    witness, bank = Witness(Question("whatsapp", "it", at(0), at(0), at(9)), 2.0), SurgeBank(SurgeRule(), 60)
    bank.add([Series(f"s{number}", "whatsapp", "it") for number in range(2 * MOST_TRACKS)])
    counts = np.ones(2 * MOST_TRACKS, np.int64)

    witness.closed(bank, at(1), counts, bank.close(at(1), counts), np.zeros(0, np.int64))

    assert len(witness.account().tracks) == MOST_TRACKS

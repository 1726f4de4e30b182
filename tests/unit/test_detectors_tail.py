"""Tails of scores: evidence is exceeded as often as it says, whatever the scores are distributed like."""

from collections.abc import Iterator

import numpy as np
import pytest

from detectors.tail import FIELDS, PEAKS, START, TailBank

BUCKET = 600
WEEK = 1008  # buckets
HALF_HOUR = 3
ROWS = 150


def normal(rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield rng.standard_normal(ROWS)


def exponential(rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield rng.standard_exponential(ROWS)


def pareto(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Generalised Pareto with shape 1/4."""
    while True:
        yield 4.0 * np.expm1(0.25 * rng.standard_exponential(ROWS))


def lognormal(rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield np.exp(rng.standard_normal(ROWS))


def autocorrelated(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """A leaky sum of exponential scores, as RiverBank makes them."""
    total = np.zeros(ROWS)
    while True:
        total = 0.8 * total + rng.standard_exponential(ROWS)
        yield total.copy()


STREAMS = (normal, exponential, pareto, lognormal, autocorrelated)


def test_evidence_is_exceeded_as_often_as_it_says():
    rng = np.random.default_rng(1)
    streams = [stream(rng) for stream in STREAMS]
    bank = TailBank(BUCKET)
    bank.add(ROWS * len(streams))
    levels = (0.0, 1.0, 2.0)
    last = np.full((len(levels), bank.rows), -WEEK)
    episodes = np.zeros((len(levels), bank.rows))

    for bucket in range(7 * WEEK):
        scores = np.concatenate([next(stream) for stream in streams])
        if bucket >= 4 * WEEK:
            evidence = bank.evidence(scores)
            for number, level in enumerate(levels):
                hot = evidence >= level
                episodes[number] += hot & (bucket - last[number] > HALF_HOUR)
                last[number][hot] = bucket
        bank.learn(scores)

    for stream, found in zip(STREAMS, episodes.reshape(len(levels), len(streams), ROWS).sum(axis=2).T, strict=True):
        nominal = 3 * ROWS * np.array([1.0, 0.1, 0.01])
        assert (nominal[:2] / 3 <= found[:2]).all(), stream.__name__
        assert (found <= 3 * nominal + 3 * np.sqrt(nominal)).all(), stream.__name__


def fed(scores: np.ndarray, bucket_seconds: int = BUCKET) -> TailBank:
    bank = TailBank(bucket_seconds)
    bank.add(scores.shape[1])
    for each in scores:
        bank.learn(each)
    return bank


def evidence(bank: TailBank, score: float) -> float:
    return float(bank.evidence(np.full(bank.rows, score)).mean())


def calm(weeks: float, rows: int = 40) -> np.ndarray:
    return np.random.default_rng(2).standard_exponential((round(weeks * WEEK), rows))


def test_return_level_of_exponential_scores_is_found():
    bank = fed(calm(5))

    # A score of 12 is exceeded with probability exp(-12), 1008 times a week.
    assert evidence(bank, 12.0) == pytest.approx(12 / np.log(10) - np.log10(WEEK), abs=0.6)


def test_outage_of_nine_hours_takes_less_than_half_a_decade_of_evidence():
    bank = fed(calm(5))
    before = evidence(bank, 18.0)

    for _ in range(9 * 6):
        bank.learn(np.full(bank.rows, 500.0))
    bank.skip(HALF_HOUR)

    assert before > 2
    assert evidence(bank, 18.0) == pytest.approx(before, abs=0.5)


def test_outage_every_week_is_told_every_week():
    bank, told = fed(calm(4)), []
    scores = calm(4)

    for week in range(4):
        for each in scores[week * WEEK : (week + 1) * WEEK]:
            bank.learn(each)
        told.append(evidence(bank, 40.0))
        for _ in range(18):
            bank.learn(np.full(bank.rows, 40.0))

    assert min(told) > 2


def test_new_scale_of_the_scores_is_usual_after_some_weeks():
    bank = fed(calm(5))
    for each in calm(5):
        bank.learn(3.0 * each)

    found = evidence(bank, 36.0)

    assert found == pytest.approx(12 / np.log(10) - np.log10(WEEK), abs=0.7)


def test_scores_that_rise_for_good_are_followed_after_the_time_of_a_shift():
    bank = fed(calm(2))

    for each in calm(0.3):
        bank.learn(1000.0 + each)

    assert evidence(bank, 1000.0) < 0
    assert evidence(bank, 1001.0) < 0


def test_ties_at_the_top_are_no_evidence():
    rng = np.random.default_rng(3)
    bank = fed(np.minimum(rng.geometric(0.3, (3 * WEEK, 40)), 8).astype(float))

    assert bank.evidence(np.full(40, 8.0)).max() < 0
    assert evidence(bank, 8.0) <= evidence(bank, 9.0)


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_scores_that_never_differ_are_no_evidence(score: float):
    bank = fed(np.full((WEEK, 3), score))

    assert evidence(bank, score) == pytest.approx(-np.log10(WEEK))


def test_first_score_above_none_is_no_rarer_than_the_time_it_took():
    bank = fed(np.zeros((4 * WEEK, 3)))

    assert evidence(bank, 1e9) == pytest.approx(np.log10(4 / 0.5), abs=0.01)


def test_score_far_above_a_regular_pattern_is_rare():
    bank = fed(np.tile(np.arange(10.0)[:, None], (WEEK // 10, 3)))

    assert evidence(bank, 9.0) < 0
    assert evidence(bank, 10_000.0) > 2


def test_scores_that_end_say_nothing_of_infinity():
    rng = np.random.default_rng(4)
    bank = fed(rng.random((4 * WEEK, 40)))

    assert -1 < evidence(bank, 1.0) < 2
    assert np.isfinite(evidence(bank, 1e300))


def test_nothing_is_rare_before_there_are_scores_enough():
    bank = fed(calm(START / WEEK)[: START - 1])

    assert evidence(bank, 1e9) == pytest.approx(-np.log10(WEEK))


def test_young_row_has_evidence_within_its_first_day():
    bank = fed(calm(1 / 7))

    assert 1 < evidence(bank, 40.0) < 4


def test_missing_scores_teach_nothing_and_end_an_episode():
    bank = fed(calm(3))
    for _ in range(3):
        bank.learn(np.full(bank.rows, 20.0))
    peaks = bank.arrays()["peaks"]
    before = bank.seen

    for _ in range(HALF_HOUR):
        bank.learn(np.full(bank.rows, 1e9), np.zeros(bank.rows, dtype=bool))

    assert (bank.seen == before).all()
    assert ((bank.arrays()["peaks"] != peaks).sum(axis=0) == 1).all()
    assert bank.arrays()["peaks"].max() <= 20.0


def test_state_stays_as_large_as_it_is():
    bank = fed(calm(0.1))
    sizes = {name: array.shape for name, array in bank.arrays().items()}

    for each in calm(6):
        bank.learn(each)

    assert {name: array.shape for name, array in bank.arrays().items()} == sizes
    assert sizes["peaks"][0] == PEAKS


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda arrays: arrays.pop("peaks"), "arrays are"),
        (lambda arrays: arrays.update(peaks=arrays["peaks"][:5]), "array peaks"),
        (lambda arrays: arrays.update(clocks=arrays["clocks"] * np.nan), "not finite"),
        (lambda arrays: arrays.update(state=arrays["state"] + 1e6), "outside of the ring"),
        (lambda arrays: arrays["state"][FIELDS.index("scale")].fill(0.0), "scale"),
        (lambda arrays: arrays["state"][FIELDS.index("seen")].fill(-1.0), "negative"),
    ],
)
def test_state_that_does_not_fit_is_refused(change, fact: str):
    arrays = fed(calm(1)).arrays()
    change(arrays)

    with pytest.raises(ValueError, match=fact):
        TailBank.restore(BUCKET, 10.0, 40, arrays)

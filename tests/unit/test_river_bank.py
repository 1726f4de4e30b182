"""A bank of River models: asked, taught, kept and restored; scores become evidence."""

import os
import pickle

import numpy as np
import pytest

from detectors.baseline import MINUTE_MS
from detectors.local_time import DAY_MS
from detectors.river_bank import RiverBank, make_bank, restore_bank
from detectors.river_models import MODELS, DetectorChoice
from detectors.series import Series
from detectors.surge import SurgeBank, SurgeRule

RULE = SurgeRule()
MONDAY = 4 * DAY_MS
SHOP = [Series("reports", "shop", "it"), Series("reports", "shop", "fr")]
QUICK = {
    "GaussianScorer": {"grace_period": 50},
    "QuantileFilter": {"grace_period": 50, "q": 0.999},
    "ThresholdFilter": {"grace_period": 50},
    "StandardAbsoluteDeviation": {},
    "PredictiveAnomalyDetection": {"warmup_period": 50},
    "HoltWinters": {"warmup_period": 50, "seasonality": 20, "beta": 0.01},
    "SNARIMAX": {"warmup_period": 50, "m": 10, "sp": 2, "sq": 1, "d": 1},
    "HalfSpaceTrees": {"window_size": 50, "n_trees": 5},
    "LODA": {"n_bins": 5},
    "LocalOutlierFactor": {"window_size": 50},
}


def fed(name: str, minutes: int = 300) -> RiverBank:
    bank = make_bank(DetectorChoice(name=name, parameters=QUICK[name]), RULE, 60)
    bank.add(SHOP)
    rng = np.random.default_rng(3)
    for minute in range(minutes):
        bank.close(MONDAY + minute * MINUTE_MS, rng.poisson([4.0, 90.0]))
    return bank


def test_every_detector_is_tried_here():
    assert set(QUICK) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_surge_scores_above_anything_usual(name: str):
    bank = fed(name)

    usual = bank.close(MONDAY + 300 * MINUTE_MS, np.array([5, 92])).evidence
    for minute in range(301, 306):
        surge = bank.close(MONDAY + minute * MINUTE_MS, np.array([60, 900]))

    assert (surge.evidence >= usual).all()
    assert surge.evidence.max() > usual.max()
    low, high = surge.bounds()
    assert (low <= surge.expected).all()
    assert (surge.expected <= high).all()


def test_fewer_reports_than_usual_are_no_surge():
    bank = fed("GaussianScorer")

    for minute in range(300, 330):
        scores = bank.close(MONDAY + minute * MINUTE_MS, np.array([0, 0]))

    assert scores.evidence.tolist() == pytest.approx([-4.0035] * 2, abs=1e-3)
    assert scores.onset.tolist() == [0, 0]


def test_onset_is_the_first_bucket_with_evidence():
    bank = fed("GaussianScorer", minutes=1500)

    for minute in range(1500, 1510):
        scores = bank.close(MONDAY + minute * MINUTE_MS, np.array([60, 90]))

    assert scores.onset.tolist() == [MONDAY + 1500 * MINUTE_MS, 0]


def test_gap_ends_a_surge():
    bank = fed("GaussianScorer", minutes=1500)
    for minute in range(1500, 1510):
        hot = bank.close(MONDAY + minute * MINUTE_MS, np.array([60, 900]))

    bank.skip(MONDAY + 1510 * MINUTE_MS, MONDAY + 3000 * MINUTE_MS)
    after = bank.peek(MONDAY + 3000 * MINUTE_MS, 1.0, np.array([0, 0]))

    assert (hot.evidence > 2).all()
    assert (after.evidence < 0).all()
    assert after.onset.tolist() == [0, 0]


def test_buckets_that_a_model_cannot_judge_yet_have_no_evidence():
    bank = fed("HoltWinters", minutes=50)

    surge = bank.close(MONDAY + 50 * MINUTE_MS, np.array([9000, 9000]))

    assert (surge.evidence < 0).all()
    assert surge.warming.all()


def test_model_that_diverged_begins_anew():
    bank = fed("HoltWinters", minutes=300)
    bank._models[0].predictive_model.level.append(float("nan"))

    scores = [bank.close(MONDAY + minute * MINUTE_MS, np.array([4, 90])) for minute in range(300, 500)]

    assert all(np.isfinite(each.evidence).all() for each in scores)
    assert np.isfinite(bank._models[0].predictive_model.level[-1])
    assert np.isfinite(bank.arrays()["moments"]).all()


@pytest.mark.parametrize("name", MODELS)
def test_restored_models_go_on_as_if_nothing_had_been(name: str):
    bank = fed(name, minutes=120)

    again = restore_bank(DetectorChoice(name=name, parameters=QUICK[name]), RULE, 60, SHOP, bank.arrays())

    for minute in range(120, 150):
        counts = np.array([minute % 7, 80 + minute % 13])
        one, other = bank.close(MONDAY + minute * MINUTE_MS, counts), again.close(MONDAY + minute * MINUTE_MS, counts)
        assert one.evidence.tolist() == other.evidence.tolist()
        assert one.expected.tolist() == other.expected.tolist()


@pytest.mark.parametrize("name", MODELS)
def test_missing_counts_teach_nothing_and_looking_changes_nothing(name: str):
    bank = fed(name, minutes=80)
    before = bank.arrays()

    bank.close(MONDAY + 80 * MINUTE_MS, np.array([-1, -1]))
    bank.peek(MONDAY + 81 * MINUTE_MS, 0.5, np.array([1000, 1000]))

    after = bank.arrays()
    assert all(np.array_equal(before[key], after[key]) for key in ("tail_peaks", "sizes", "models"))
    assert before["moments"][:3].tolist() == after["moments"][:3].tolist()
    assert before["marks"][[0, 2]].tolist() == after["marks"][[0, 2]].tolist()


class Malicious:
    def __init__(self, call, *arguments):
        self.reduced = (call, arguments)

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    "poison",
    [
        Malicious(os.system, "true"),
        Malicious(eval, "1 + 1"),
        Malicious(getattr, "", "join"),
        Malicious(__import__, "os"),
        {"not": "a model"},
    ],
    ids=["os.system", "eval", "getattr", "import", "dict"],
)
@pytest.mark.parametrize("name", MODELS)
def test_pickle_that_is_no_such_model_is_refused(name: str, poison: object):
    choice = DetectorChoice(name=name, parameters=QUICK[name])
    raw = pickle.dumps(poison, protocol=5)
    arrays = fed(name, minutes=3).arrays()
    arrays["sizes"] = np.array([len(raw), len(raw)], dtype=np.int64)
    arrays["models"] = np.frombuffer(raw + raw, dtype=np.uint8)

    with pytest.raises(ValueError, match=r"not a model|belongs"):
        RiverBank.restore(choice, RULE, 60, SHOP, arrays)


def test_pickle_that_reaches_through_a_dotted_name_is_refused():
    choice = DetectorChoice(name="GaussianScorer")
    arrays = fed("GaussianScorer", minutes=3).arrays()
    raw = b"\x80\x05\x8c\x06random\x8c\x0bRandom.seed\x93."
    arrays["sizes"] = np.array([len(raw), len(raw)], dtype=np.int64)
    arrays["models"] = np.frombuffer(raw + raw, dtype=np.uint8)

    with pytest.raises(ValueError, match="not part of this model"):
        RiverBank.restore(choice, RULE, 60, SHOP, arrays)


def test_model_beyond_the_size_cap_is_refused():
    choice = DetectorChoice(name="GaussianScorer")
    arrays = fed("GaussianScorer", minutes=3).arrays()
    arrays["models"] = np.zeros(2 * (5 << 20), dtype=np.uint8)
    arrays["sizes"] = np.array([5 << 20, 5 << 20], dtype=np.int64)

    with pytest.raises(ValueError, match="none has more"):
        RiverBank.restore(choice, RULE, 60, SHOP, arrays)


def test_sizes_that_do_not_add_up_are_refused():
    arrays = fed("GaussianScorer", minutes=3).arrays()
    arrays["models"] = arrays["models"][:-1]

    with pytest.raises(ValueError, match="sizes"):
        RiverBank.restore(DetectorChoice(name="GaussianScorer"), RULE, 60, SHOP, arrays)


def test_surge_is_the_default_bank():
    assert type(make_bank(DetectorChoice(), RULE, 60)) is SurgeBank


@pytest.mark.parametrize("name", MODELS)
def test_row_that_rests_is_scored_and_teaches_nothing(name: str):
    disturbed, quiet = fed(name), fed(name)
    resting = np.array([True, False])

    for minute in range(300, 310):
        surge = disturbed.close(MONDAY + minute * MINUTE_MS, np.array([60, 90]), resting)
        usual = quiet.close(MONDAY + minute * MINUTE_MS, np.array([4, 90]), resting)
    for bank in (disturbed, quiet):
        bank.wake(resting)
    after = [
        bank.close(MONDAY + minute * MINUTE_MS, np.array([count, 90])).evidence.tolist()
        for bank in (disturbed, quiet)
        for minute, count in enumerate((5, 3, 30), 310)
    ]

    assert surge.evidence[0] >= usual.evidence[0]
    assert after[:3] == after[3:]
    mine, other = disturbed.arrays(), quiet.arrays()
    # Two pickles of one model differ, as it may hold a set.
    assert [each for each in other if each != "models" and not np.array_equal(mine[each], other[each])] in (
        [],
        ["sizes"],
    )

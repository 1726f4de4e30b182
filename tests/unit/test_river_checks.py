"""River's own checks of an estimator, all that need no downloaded data, on the surge detector.

River's checks ask anomaly detectors with `score_one(x)`; of supervised ones, which score a pair (x, y), they know
nothing and fall back on a regressor's `predict_one(x)`. So the detector is checked twice: as it is, and as the detector
of a stream whose `x` holds the count as well, which is only another way to hand over the same numbers.
"""

import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from river import anomaly, base, checks, compose, time_series

from detectors.baseline import MINUTE_MS
from detectors.local_time import DAY_MS
from detectors.surge_detector import SurgeDetector

MONDAY = 20_000 * DAY_MS + 3 * DAY_MS

#: Checks that need no data.
PLAIN = {
    "check_repr",
    "check_str",
    "check_tags",
    "check_clone_same_class",
    "check_clone_is_idempotent",
    "check_init_has_default_params_for_tests",
    "check_init_default_params_are_not_mutable",
    "check_doc",
    "check_clone_changes_memory_addresses",
    "check_mutate_can_be_idempotent",
    "check_pickling_supports_roundtrip",
    "check_repr_roundtrips_clone",
    "check_clone_with_new_params_applies",
    "check_get_params_matches_signature",
}
#: Checks that feed a stream. River takes one that it downloads; any stream will do, so ours is of counts.
FED = {
    "check_learn_one",
    "check_predict_one_pure",
    "check_predict_one_before_any_learn",
    "check_no_state_aliasing_with_input",
    "check_clone_is_independent",
    "check_bounded_memory_growth",
}
#: Checks that ask for a score on the way, without y: left out for the detector as it is, run where x holds the count.
ASKING = {
    "check_pickling",
    "check_shuffle_features_no_impact",
    "check_emerging_features",
    "check_disappearing_features",
    "check_radically_disappearing_features",
}
#: A check for detectors that are asked without y alone.
RANKING = {"check_roc_auc"}


class Counted(base.AnomalyDetector):
    """The surge detector of a stream whose x holds the count."""

    def __init__(self, detector: SurgeDetector) -> None:
        self.detector = detector

    def learn_one(self, x):
        self.detector.learn_one(x, x.get("count"))

    def score_one(self, x):
        return self.detector.score_one(x, x.get("count"))

    @classmethod
    def _unit_test_params(cls):
        yield {"detector": SurgeDetector()}


def feed(minutes: int, surges: bool):
    """Buckets of a minute, with what a detector may be told besides; every fourth hour ends with a surge of 20 min."""
    rng = np.random.default_rng(7)
    for minute in range(minutes):
        surge = surges and minute % 240 >= 220
        count = int(rng.poisson(40.0 if surge else 4.0))
        x = {"start": MONDAY + minute * MINUTE_MS, "count": count, "weather": 3, "wind": 1.5, "holiday": False}
        yield x, (int(surge) if surges else count)


def checks_of(model) -> dict:
    """River's checks of a model by name, on the feed in place of a download."""
    with pytest.MonkeyPatch.context() as patch:
        labelled = isinstance(model, base.AnomalyDetector)
        patch.setattr(checks, "_yield_datasets", lambda _, scale=1: [feed(300 * scale, labelled)])
        return {check.__name__: check for check in checks.yield_checks(model)}


@pytest.mark.parametrize("name", sorted(PLAIN | FED))
def test_detector_passes_check_of_river(name: str):
    model = SurgeDetector()

    checks_of(model)[name](model.clone())


@pytest.mark.parametrize("name", sorted(PLAIN | FED | ASKING | RANKING))
def test_detector_of_counts_in_x_passes_check_of_river(name: str, monkeypatch):
    # check_roc_auc imports scikit-learn, which nothing else here needs, for one function.
    metrics = SimpleNamespace(roc_auc_score=area_under_curve)
    monkeypatch.setitem(sys.modules, "sklearn", SimpleNamespace(metrics=metrics))
    model = Counted(SurgeDetector())

    checks_of(model)[name](model.clone())


def area_under_curve(labels, scores) -> float:
    """Probability that a labelled score lies above another one; ties count half."""
    labels, scores = np.array(labels, dtype=bool), np.array(scores)
    pairs = scores[labels][:, None] - scores[~labels][None, :]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def test_no_check_of_river_is_forgotten():
    assert set(checks_of(SurgeDetector())) == PLAIN | FED | ASKING
    assert set(checks_of(Counted(SurgeDetector()))) == PLAIN | FED | ASKING | RANKING
    assert SurgeDetector()._unit_test_skips() == set()


@pytest.mark.parametrize("name", sorted(ASKING))
@pytest.mark.parametrize("model", [anomaly.GaussianScorer(), SurgeDetector()], ids=["GaussianScorer", "SurgeDetector"])
def test_check_that_is_left_out_can_be_passed_by_no_supervised_detector(name: str, model):
    with pytest.raises(AttributeError, match="predict_one"):
        checks_of(model)[name](model.clone())


def test_detector_goes_on_from_a_pickle_bit_for_bit():
    one = SurgeDetector(bucket_seconds=60, shift_hours=5.0)
    for x, y in feed(400, False):
        one.learn_one(x, y)

    other = pickle.loads(pickle.dumps(one))

    assert other.shift_hours == 5.0
    for minute in range(400, 460):
        x = {"start": MONDAY + minute * MINUTE_MS}
        assert one.score_one(x, 40) == other.score_one(x, 40)
        one.learn_one(x, 40)
        other.learn_one(x, 40)
    mine, others = one._bank.arrays(), other._bank.arrays()
    assert all(np.array_equal(mine[name], others[name]) for name in mine)


def test_bucket_without_a_start_is_the_one_after_the_last():
    told, silent = SurgeDetector(), SurgeDetector()
    told.learn_one({"start": MONDAY}, 4)
    silent.learn_one({"start": MONDAY}, 4)

    for minute in range(1, 60):
        told.learn_one({"start": MONDAY + minute * MINUTE_MS}, minute % 5)
        silent.learn_one(None if minute % 2 else {"weather": 3}, minute % 5)

    assert silent.score_one({}, 30) == told.score_one({"start": MONDAY + 60 * MINUTE_MS}, 30)


def test_threshold_filter_keeps_a_surge_from_the_detector():
    kept = anomaly.ThresholdFilter(SurgeDetector(), threshold=2.0)
    for x, y in feed(600, False):
        kept.learn_one(x, y)
    begin = MONDAY + 600 * MINUTE_MS

    usual, much = kept.score_one({"start": begin}, 4), kept.score_one({"start": begin}, 400)
    before = kept.anomaly_detector._bank.expected(begin)[0]
    for minute in range(600, 660):
        kept.learn_one({"start": MONDAY + minute * MINUTE_MS}, 400)

    assert (kept.classify(usual), kept.classify(much)) == (False, True)
    assert kept.anomaly_detector._bank.expected(MONDAY + 660 * MINUTE_MS)[0] == pytest.approx(before, rel=0.05)


def test_quantile_filter_tells_a_surge_from_the_usual():
    # River's filter takes for an anomaly what equals the quantile, so protected from all that it would learn nothing:
    # a detector without any surge says the same of each bucket. The surge detector protects itself.
    told = anomaly.QuantileFilter(SurgeDetector(), q=0.99, protect_anomaly_detector=False)
    for x, y in feed(600, False):
        told.learn_one(x, y)

    usual, much = (told.score_one({"start": MONDAY + 600 * MINUTE_MS}, count) for count in (4, 400))

    assert (told.classify(usual), told.classify(much)) == (False, True)


def test_filter_in_a_pipeline_keeps_the_surge_from_a_forecaster():
    pipeline = anomaly.ThresholdFilter(SurgeDetector(), threshold=2.0) | time_series.HoltWinters(alpha=0.3)
    for x, y in feed(600, False):
        pipeline.learn_one(x, y)

    for minute in range(600, 605):
        pipeline.learn_one({"start": MONDAY + minute * MINUTE_MS}, 400)

    assert pipeline.forecast(horizon=1)[0] < 10


def test_pipeline_shows_its_steps_and_the_evidence():
    pipeline = compose.Discard("weather") | Counted(SurgeDetector())
    for x, _ in feed(300, False):
        pipeline.learn_one(x)

    shown = pipeline.debug_one({"start": MONDAY + 300 * MINUTE_MS, "count": 400, "weather": 3})

    given, _, kept = shown.partition("1. Discard")
    assert "weather: 3 (int)" in given
    assert "weather: 3 (int)" not in kept
    assert float(shown.rpartition("Score: ")[2]) > 2

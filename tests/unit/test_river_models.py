"""River's detectors by name: which there are, with which parameters."""

import pickle

import pytest

from detectors.river_models import MODEL_BYTES, MODELS, DetectorChoice


@pytest.mark.parametrize(
    ("name", "parameters", "fact"),
    [
        ("Prophet", {}, "is unknown; there are surge, GaussianScorer, .*LocalOutlierFactor"),
        ("OneClassSVM", {}, "is unknown"),
        ("GaussianScorer", {"gracee": 3}, "no parameter 'gracee'; it has: window_size, grace_period"),
        ("StandardAbsoluteDeviation", {"sub_stat": 1}, "it has: none"),
        ("surge", {"cap": 4}, "takes no parameters"),
        ("GaussianScorer", {"grace_period": 2.5}, "grace_period=2.5 of detector GaussianScorer is not a whole number"),
        ("GaussianScorer", {"grace_period": True}, "is not a whole number"),
        ("QuantileFilter", {"q": "high"}, "q=high of detector QuantileFilter is not a number"),
        ("QuantileFilter", {"q": float("nan")}, "is out of range; give 0.5 to 0.999999"),
        ("HalfSpaceTrees", {"height": 30}, "height=30 of detector HalfSpaceTrees is out of range; give 1 to 8"),
        ("SNARIMAX", {"m": 20160, "sp": 2}, "do not suit each other: m=20160 times"),
        ("LocalOutlierFactor", {"n_neighbors": 20, "window_size": 20}, "n_neighbors=20 is not less"),
        ("HoltWinters", {"seasonality": 1440}, "beta must be set"),
    ],
)
def test_choice_of_what_does_not_exist_or_does_not_suit_is_refused(name: str, parameters: dict, fact: str):
    with pytest.raises(ValueError, match=fact):
        DetectorChoice(name=name, parameters=parameters)


@pytest.mark.parametrize("name", MODELS)
def test_defaults_and_bounds_of_each_parameter_are_taken(name: str):
    kind = MODELS[name]
    assert DetectorChoice(name=name).parameters == {}

    for parameter, allowed in kind.parameters.items():
        assert allowed.fault(allowed.default) is None
        assert allowed.fault(allowed.least) is None
        assert allowed.fault(allowed.most) is None
        assert "out of range" in str(allowed.fault(type(allowed.default)(allowed.most * 2 + 1)))
        assert kind.values({parameter: allowed.most})[parameter] == allowed.most


LARGEST = {
    "GaussianScorer": {"window_size": 20_160},
    "HalfSpaceTrees": {"n_trees": 50, "height": 8, "window_size": 10},
    "LODA": {"n_bins": 100, "n_random_cuts": 100},
    "LocalOutlierFactor": {"window_size": 1000},
    "HoltWinters": {"seasonality": 20_160, "beta": 0.1},
    "SNARIMAX": {"p": 1, "m": 2880, "sp": 7, "sq": 7, "sd": 2},
}


@pytest.mark.parametrize("name", LARGEST)
def test_largest_model_that_can_be_chosen_fits_into_a_snapshot(name: str):
    kind = MODELS[name]
    DetectorChoice(name=name, parameters=LARGEST[name])
    model = kind.build(**kind.values(LARGEST[name]))
    buckets = 30_000 if name in {"GaussianScorer", "HoltWinters", "SNARIMAX"} else 1_500

    for bucket in range(buckets):
        x = dict.fromkeys(kind.features, bucket * 0.618034 % 1.0)
        model.learn_one(*((x, bucket * 0.618034) if kind.supervised else (x,)))

    assert len(pickle.dumps(model, protocol=5)) < MODEL_BYTES

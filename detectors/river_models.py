"""River's anomaly detectors by name: which there are, with which parameters, and how a model is built and kept."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

Parameter = float | int | str | bool
#: A model's pickle is never longer: a state that says so is damaged.
MODEL_BYTES: Final = 4 << 20
#: Buckets that a model may look back to, or wait for: two weeks of minutes.
MOST_BUCKETS: Final = 20_160


class DetectorChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which detector watches which services. The first choice whose pattern fits a service decides.

    ValueError for a detector or parameter that does not exist, or a value that does not suit it.
    """

    services: Annotated[str, Meta(min_length=1, description="pattern of service names, * and ? as in file names")] = "*"
    name: Annotated[
        str, Meta(description="surge, or a detector or forecaster of River, such as GaussianScorer: see below")
    ] = "surge"
    parameters: Annotated[
        dict[str, Parameter], Meta(description="arguments of the River detector; surge has its own settings")
    ] = {}

    def __post_init__(self) -> None:
        if self.name == "surge":
            if self.parameters:
                raise ValueError("detector surge takes no parameters here; its settings are in [surge]")
            return
        if self.name not in MODELS:
            raise ValueError(f"detector {self.name[:200]!r} is unknown; there are surge, {', '.join(MODELS)}")
        MODELS[self.name].check(self.name, self.parameters)


class Range(msgspec.Struct, frozen=True):
    """A parameter: its default, and what it may be. Whole numbers where the default is one."""

    default: float | int
    least: float | int
    most: float | int

    def fault(self, value: Parameter) -> str | None:
        """What is wrong with a value; None if nothing is."""
        kinds = (int,) if isinstance(self.default, int) else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return f"is not a {'whole ' if isinstance(self.default, int) else ''}number"
        if not self.least <= value <= self.most:
            return f"is out of range; give {self.least} to {self.most}"
        return None


Values = Mapping[str, Any]


class ModelKind(msgspec.Struct, frozen=True):
    """How a River detector is built, asked, and kept.

    sentence: what it makes of counts, for the settings' page. build: the model, from all its parameters.
    parameters: those that may be chosen; their ranges bound a model's memory and time.
    supervised: takes x and y, else x alone. features: what x holds, of FEATURES.
    surprise: from the detector's score to one that is larger the rarer, without an end.
    blind: buckets to learn before the model can be asked. settling: buckets after which its scores can be compared.
    classes: the exact globals that its pickle consists of, "module.name".
    """

    sentence: str
    build: Callable[..., Any]
    parameters: dict[str, Range]
    supervised: bool
    classes: frozenset[str]
    features: tuple[str, ...] = ()
    surprise: Callable[[float], float] = float
    blind: Callable[[Values], int] = lambda values: 0
    settling: Callable[[Values], int] = lambda values: 0

    def values(self, chosen: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """All parameters: those that were chosen, and the defaults of the others."""
        return {name: chosen.get(name, allowed.default) for name, allowed in self.parameters.items()}

    def check(self, name: str, chosen: Mapping[str, Parameter]) -> None:
        """ValueError for parameters that the detector does not have, or that do not suit it."""
        for parameter, value in chosen.items():
            if parameter not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise ValueError(f"detector {name} has no parameter {parameter[:200]!r}; it has: {known}")
            fault = self.parameters[parameter].fault(value)
            if fault:
                raise ValueError(f"parameter {parameter}={str(value)[:200]} of detector {name} {fault}")
        try:
            self.build(**self.values(chosen))
        except (TypeError, ValueError) as error:
            raise ValueError(f"parameters of detector {name} do not suit each other: {error}") from error


#: What a model may be told of a bucket: its count, the count before, two harmonics of the time of day. Not the weekend:
#: River's scaler makes a huge number of a flag that is set for the first time in a week, and regressions then diverge.
FEATURES: Final = ("count", "last", "sin", "cos", "sin2", "cos2")
_SEASON: Final = ("last", "sin", "cos", "sin2", "cos2")


# River's models are imported where one is built: they load SciPy, half a second and 75 MB that a worker without them
# saves.


def _share_left(score: float) -> float:
    """Of scores that end at 1: how close they come is what tells them apart."""
    return -math.log10(max(1.0 - score, 1e-16))


def _gaussian(window_size: int, grace_period: int) -> Any:
    from river import anomaly

    return anomaly.GaussianScorer(window_size=window_size or None, grace_period=grace_period)


def _quantile_filter(q: float, grace_period: int) -> Any:
    """Scores as GaussianScorer, but keeps what lies beyond the quantile out of the model."""
    from river import anomaly

    return anomaly.QuantileFilter(anomaly.GaussianScorer(grace_period=grace_period), q=q)


def _threshold_filter(threshold: float, grace_period: int) -> Any:
    """Scores as GaussianScorer, but keeps what lies beyond the threshold out of the model."""
    from river import anomaly

    return anomaly.ThresholdFilter(anomaly.GaussianScorer(grace_period=grace_period), threshold=threshold)


def _standard_absolute_deviation() -> Any:
    from river import anomaly

    return anomaly.StandardAbsoluteDeviation()


def _half_space_trees(n_trees: int, height: int, window_size: int, seed: int) -> Any:
    from river import anomaly, preprocessing

    trees = anomaly.HalfSpaceTrees(n_trees=n_trees, height=height, window_size=window_size, seed=seed)
    return preprocessing.MinMaxScaler() | trees


def _loda(n_bins: int, n_random_cuts: int, seed: int) -> Any:
    from river import anomaly, preprocessing

    return preprocessing.StandardScaler() | anomaly.LODA(n_bins=n_bins, n_random_cuts=n_random_cuts, seed=seed)


def _local_outlier_factor(n_neighbors: int, window_size: int) -> Any:
    from river import anomaly, neighbors, preprocessing, utils

    if n_neighbors >= window_size:
        raise ValueError(f"n_neighbors={n_neighbors} is not less than window_size={window_size}")
    engine = neighbors.LazySearch(window_size=window_size, dist_func=utils.math._euclidean_distance)
    return preprocessing.StandardScaler() | anomaly.LocalOutlierFactor(n_neighbors, engine)


def _regression(learning_rate: float) -> Any:
    from river import linear_model, optim, preprocessing

    return preprocessing.StandardScaler() | linear_model.LinearRegression(
        optimizer=optim.SGD(learning_rate), intercept_lr=0.05
    )


def _predictive(learning_rate: float, n_std: float, warmup_period: int) -> Any:
    """River's default forecaster knows no season: this one fits two harmonics of the day and the last count."""
    from river import anomaly

    return anomaly.PredictiveAnomalyDetection(_regression(learning_rate), n_std=n_std, warmup_period=warmup_period)


def _holt_winters(alpha: float, beta: float, gamma: float, seasonality: int, n_std: float, warmup_period: int) -> Any:
    from river import anomaly, time_series

    forecaster = time_series.HoltWinters(alpha, beta or None, gamma if seasonality else None, seasonality)
    return anomaly.PredictiveAnomalyDetection(forecaster, n_std=n_std, warmup_period=warmup_period)


def _snarimax(
    p: int, d: int, q: int, m: int, sp: int, sd: int, sq: int, learning_rate: float, n_std: float, warmup_period: int
) -> Any:
    from river import anomaly, time_series

    if m * max(sp, sd, sq) > MOST_BUCKETS:
        raise ValueError(f"m={m} times sp, sd or sq is more than {MOST_BUCKETS}")
    forecaster = time_series.SNARIMAX(p, d, q, m, sp, sd, sq, _regression(learning_rate))
    return anomaly.PredictiveAnomalyDetection(forecaster, n_std=n_std, warmup_period=warmup_period)


_MOMENTS: Final = {"river.stats.mean.Mean", "river.stats.var.Var"}
_GAUSSIAN: Final = {
    *_MOMENTS,
    "collections.deque",
    "random.Random",
    "river.anomaly.gaussian.GaussianScorer",
    "river.proba.gaussian.Gaussian",
    "river.utils.rolling.Rolling",
}
_SCALED: Final = {
    "builtins.float",
    "collections.Counter",
    "collections.OrderedDict",
    "collections.defaultdict",
    "river.compose.pipeline.Pipeline",
    "river.preprocessing.scale.StandardScaler",
}
_REGRESSION: Final = {
    *_SCALED,
    "river._river_rust.vectordict.VectorDict",
    "river.linear_model.lin_reg.LinearRegression",
    "river.optim.initializers.Zeros",
    "river.optim.losses.Squared",
    "river.optim.schedulers.Constant",
    "river.optim.sgd.SGD",
}
_PREDICTIVE: Final = {*_MOMENTS, "river.anomaly.pad.PredictiveAnomalyDetection"}

_GRACE: Final = Range(100, 1, MOST_BUCKETS)
_SEED: Final = Range(1, 0, 2**31)
_RATE: Final = Range(0.01, 1e-6, 0.1)
# River's default, 3, calls every fiftieth count of a Poisson distribution as odd as can be: 1, and no more than that.
_N_STD: Final = Range(30.0, 0.0, 10_000.0)
_WARM_UP: Final = Range(1440, 0, MOST_BUCKETS)
#: Scores compare the error with those so far: so many have to be there.
_ERRORS: Final = 32


def _grace(values: Values) -> int:
    return int(values["grace_period"])


def _warm_up(values: Values) -> int:
    return int(values["warmup_period"]) + _ERRORS


#: OneClassSVM is not among them: which side of its plane is odd is left to chance. Of 30 Poisson series, a count of 15
#: times the mean scored above all others in 16, and below all others in 9.
MODELS: Final[dict[str, ModelKind]] = {
    "GaussianScorer": ModelKind(
        "how far a count lies out in a normal distribution of all counts, or of the last `window_size`",
        _gaussian,
        {"window_size": Range(0, 0, MOST_BUCKETS), "grace_period": _GRACE},
        supervised=True,
        classes=frozenset(_GAUSSIAN),
        surprise=_share_left,
        settling=_grace,
    ),
    "QuantileFilter": ModelKind(
        "GaussianScorer that does not learn from scores beyond their quantile `q`",
        _quantile_filter,
        {"q": Range(0.999, 0.5, 0.999999), "grace_period": _GRACE},
        supervised=True,
        classes=frozenset(
            {
                *_GAUSSIAN,
                "river._river_rust.stats.RsQuantile",
                "river.anomaly.filter.QuantileFilter",
                "river.stats.quantile.Quantile",
            }
        ),
        surprise=_share_left,
        settling=_grace,
    ),
    "ThresholdFilter": ModelKind(
        "GaussianScorer that does not learn from scores of `threshold` and more",
        _threshold_filter,
        {"threshold": Range(0.99999, 0.5, 1.0), "grace_period": _GRACE},
        supervised=True,
        classes=frozenset({*_GAUSSIAN, "river.anomaly.filter.ThresholdFilter"}),
        surprise=_share_left,
        settling=_grace,
    ),
    "StandardAbsoluteDeviation": ModelKind(
        "distance from the mean of all counts, in standard deviations",
        _standard_absolute_deviation,
        {},
        supervised=True,
        classes=frozenset({*_MOMENTS, "river.anomaly.sad.StandardAbsoluteDeviation"}),
        settling=lambda values: _ERRORS,
    ),
    "PredictiveAnomalyDetection": ModelKind(
        "squared error of a linear regression on the time of day and the last count",
        _predictive,
        {"learning_rate": _RATE, "n_std": _N_STD, "warmup_period": _WARM_UP},
        supervised=True,
        classes=frozenset({*_PREDICTIVE, *_REGRESSION}),
        features=_SEASON,
        settling=_warm_up,
    ),
    # River's forecasters have no scores: PredictiveAnomalyDetection makes them of their errors.
    "HoltWinters": ModelKind(
        "squared error of exponential smoothing, with a season of so many buckets, or without",
        _holt_winters,
        {
            "alpha": Range(0.05, 0.0, 1.0),
            "beta": Range(0.0, 0.0, 1.0),
            "gamma": Range(0.1, 0.0, 1.0),
            "seasonality": Range(0, 0, MOST_BUCKETS),
            "n_std": _N_STD,
            "warmup_period": _WARM_UP,
        },
        supervised=True,
        classes=frozenset(
            {
                *_PREDICTIVE,
                "river.time_series.holt_winters.AdditiveLevel",
                "river.time_series.holt_winters.AdditiveSeason",
                "river.time_series.holt_winters.HoltWinters",
                "river.time_series.holt_winters.Trend",
            }
        ),
        blind=lambda values: max(2, int(values["seasonality"])),
        settling=lambda values: max(_warm_up(values), 2 * int(values["seasonality"])),
    ),
    "SNARIMAX": ModelKind(
        "squared error of an autoregression on the last `p` counts, and on those `m` buckets apart",
        _snarimax,
        {
            "p": Range(5, 0, 60),
            "d": Range(0, 0, 2),
            "q": Range(0, 0, 60),
            "m": Range(1, 1, MOST_BUCKETS),
            "sp": Range(0, 0, 7),
            "sd": Range(0, 0, 2),
            "sq": Range(0, 0, 7),
            "learning_rate": _RATE,
            "n_std": _N_STD,
            "warmup_period": _WARM_UP,
        },
        supervised=True,
        classes=frozenset(
            {
                *_PREDICTIVE,
                *_REGRESSION,
                "collections.deque",
                "river.time_series.snarimax.Differencer",
                "river.time_series.snarimax.SNARIMAX",
            }
        ),
        blind=lambda values: int(values["d"]) + int(values["m"]) * int(values["sd"]) + 1,
        settling=lambda values: _warm_up(values) + int(values["m"]) * max(int(values[each]) for each in ("sd", "sp")),
    ),
    "HalfSpaceTrees": ModelKind(
        "how empty the part of (count, last count) is; weak: large outages of steady series, after minutes",
        _half_space_trees,
        {
            "n_trees": Range(10, 1, 50),
            "height": Range(6, 1, 8),
            "window_size": Range(250, 10, MOST_BUCKETS),
            "seed": _SEED,
        },
        supervised=False,
        features=("count", "last"),
        surprise=_share_left,
        settling=lambda values: int(values["window_size"]),
        classes=frozenset(
            {
                "builtins.tuple",
                "collections.OrderedDict",
                "collections.defaultdict",
                "functools.partial",
                "random.Random",
                "river.anomaly.hst.HalfSpaceTrees",
                "river.compose.pipeline.Pipeline",
                "river.preprocessing.scale.MinMaxScaler",
                "river.stats.maximum.Max",
                "river.stats.minimum.Min",
                "river.tree.padded.PaddedBranch",
                "river.tree.padded.PaddedLeaf",
            }
        ),
    ),
    "LODA": ModelKind(
        "likelihood in histograms of (count, last count); weak: large outages, after minutes",
        _loda,
        {"n_bins": Range(20, 2, 100), "n_random_cuts": Range(20, 1, 100), "seed": _SEED},
        supervised=False,
        features=("count", "last"),
        settling=lambda values: 10 * int(values["n_bins"]),
        classes=frozenset(
            {
                *_SCALED,
                "random.Random",
                "river.anomaly.loda.LODA",
                "river.sketch.histogram.Bin",
                "river.sketch.histogram.Histogram",
            }
        ),
    ),
    "LocalOutlierFactor": ModelKind(
        "distance to the nearest of the last `window_size` buckets; slow: a millisecond a bucket and series",
        _local_outlier_factor,
        {"n_neighbors": Range(10, 1, 50), "window_size": Range(200, 10, 1000)},
        supervised=False,
        features=("count", "sin", "cos"),
        settling=lambda values: int(values["window_size"]),
        classes=frozenset(
            {
                *_SCALED,
                "collections.deque",
                "river._river_rust.vectordict.euclidean_distance_tuple",
                "river.anomaly.lof.LocalOutlierFactor",
                "river.neighbors.lazy.LazySearch",
            }
        ),
    ),
}


class _Unpickler(pickle.Unpickler):
    """Knows the classes of one kind of model, by their exact names, and nothing else."""

    def __init__(self, raw: bytes, classes: frozenset[str]) -> None:
        super().__init__(io.BytesIO(raw))
        self._classes = classes

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self._classes or "." in name:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of this model")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("a model has no persistent parts")


def unpickle(raw: bytes, kind: ModelKind, expected: type) -> Any:
    """The model in `raw`. ValueError for anything else: the state comes from a topic that others may write to."""
    if len(raw) > MODEL_BYTES:
        raise ValueError(f"a model has {len(raw)} bytes; none has more than {MODEL_BYTES}")
    try:
        model = _Unpickler(raw, kind.classes).load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"not a model: {error}") from error
    if type(model) is not expected:
        raise ValueError(f"a {type(model).__name__} where a {expected.__name__} belongs")
    return model

"""Any River anomaly detector by name, a model a series: score, then learn."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from river import anomaly, linear_model, optim, preprocessing

from detectors.arrays import grown
from detectors.baseline import DAY_MS, Floats, Ints
from detectors.series import Series
from detectors.surge import Scores, SurgeBank, SurgeRule, check_like

Parameter = float | int | str | bool
#: A model's pickle is never longer: a state that says so is damaged.
MODEL_BYTES: Final = 4 << 20
#: Evidence is estimated from this many of the highest scores of a series.
TAIL: Final = 32
#: A series with fewer scores has no tail to speak of.
LEAST_SCORES: Final = 2 * TAIL
WEEK_SECONDS: Final = 604_800


class DetectorChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which detector watches which services. The first choice whose pattern fits a service decides.

    ValueError for a detector or parameter that does not exist.
    """

    services: Annotated[str, Meta(min_length=1, description="pattern of service names, * and ? as in file names")] = "*"
    name: Annotated[str, Meta(description="surge, or a detector of River such as GaussianScorer")] = "surge"
    parameters: Annotated[
        dict[str, Parameter], Meta(description="arguments of the River detector; surge has its own settings")
    ] = {}

    def __post_init__(self) -> None:
        if self.name == "surge":
            if self.parameters:
                raise ValueError("detector surge takes no parameters here; its settings are in [surge]")
            return
        if self.name not in MODELS:
            raise ValueError(f"detector {self.name!r} is unknown; there are surge, {', '.join(MODELS)}")
        unknown = sorted(set(self.parameters) - set(MODELS[self.name].parameters))
        if unknown:
            known = ", ".join(MODELS[self.name].parameters) or "none"
            raise ValueError(f"detector {self.name} has no parameter {unknown[0]!r}; it has: {known}")


class ModelKind(msgspec.Struct, frozen=True):
    """How a River detector is built, asked, and kept.

    parameters: those that may be chosen, with our defaults. supervised: takes x and y, else x alone.
    bounded: its scores end at 1, so how close they come is what tells them apart.
    classes: the exact classes that its pickle consists of, "module.name".
    """

    build: Callable[..., Any]
    parameters: dict[str, Parameter]
    supervised: bool
    bounded: bool
    classes: frozenset[str]


def _predictive(learning_rate: float, n_std: float, warmup_period: int) -> Any:
    """River's default forecaster knows no season: this one fits two harmonics of the day, weekends, the last count."""
    forecaster = preprocessing.StandardScaler() | linear_model.LinearRegression(
        optimizer=optim.SGD(learning_rate), intercept_lr=0.05
    )
    return anomaly.PredictiveAnomalyDetection(forecaster, n_std=n_std, warmup_period=warmup_period)


def _quantile_filter(q: float, grace_period: int) -> Any:
    """Scores as GaussianScorer, but keeps what lies beyond the quantile out of the model."""
    return anomaly.QuantileFilter(anomaly.GaussianScorer(grace_period=grace_period), q=q)


def _half_space_trees(n_trees: int, height: int, window_size: int, seed: int) -> Any:
    trees = anomaly.HalfSpaceTrees(n_trees=n_trees, height=height, window_size=window_size, seed=seed)
    return preprocessing.MinMaxScaler() | trees


def _gaussian(window_size: int, grace_period: int) -> Any:
    return anomaly.GaussianScorer(window_size=window_size or None, grace_period=grace_period)


_MOMENTS: Final = {"river.stats.mean.Mean", "river.stats.var.Var"}
_GAUSSIAN: Final = {
    *_MOMENTS,
    "collections.deque",
    "random.Random",
    "river.anomaly.gaussian.GaussianScorer",
    "river.proba.gaussian.Gaussian",
    "river.utils.rolling.Rolling",
}
MODELS: Final[dict[str, ModelKind]] = {
    "GaussianScorer": ModelKind(
        _gaussian, {"window_size": 0, "grace_period": 100}, supervised=True, bounded=True, classes=frozenset(_GAUSSIAN)
    ),
    "HalfSpaceTrees": ModelKind(
        _half_space_trees,
        {"n_trees": 10, "height": 6, "window_size": 250, "seed": 1},
        supervised=False,
        bounded=True,
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
    "StandardAbsoluteDeviation": ModelKind(
        anomaly.StandardAbsoluteDeviation,
        {},
        supervised=True,
        bounded=False,
        classes=frozenset({*_MOMENTS, "river.anomaly.sad.StandardAbsoluteDeviation"}),
    ),
    "PredictiveAnomalyDetection": ModelKind(
        _predictive,
        {"learning_rate": 0.01, "n_std": 3.0, "warmup_period": 1440},
        supervised=True,
        bounded=True,
        classes=frozenset(
            {
                *_MOMENTS,
                "builtins.float",
                "collections.Counter",
                "collections.OrderedDict",
                "collections.defaultdict",
                "river._river_rust.vectordict.VectorDict",
                "river.anomaly.pad.PredictiveAnomalyDetection",
                "river.compose.pipeline.Pipeline",
                "river.linear_model.lin_reg.LinearRegression",
                "river.optim.initializers.Zeros",
                "river.optim.losses.Squared",
                "river.optim.schedulers.Constant",
                "river.optim.sgd.SGD",
                "river.preprocessing.scale.StandardScaler",
            }
        ),
    ),
    "QuantileFilter": ModelKind(
        _quantile_filter,
        {"q": 0.999, "grace_period": 100},
        supervised=True,
        bounded=True,
        classes=frozenset(
            {
                *_GAUSSIAN,
                "river._river_rust.stats.RsQuantile",
                "river.anomaly.filter.QuantileFilter",
                "river.stats.quantile.Quantile",
            }
        ),
    ),
}


class RiverBank:
    """A River model a row, in the interface of SurgeBank. Models look at closed buckets only.

    Evidence is the return period of a score, from the series' own highest scores: an exponential tail above them.
    """

    def __init__(self, choice: DetectorChoice, rule: SurgeRule, bucket_seconds: int) -> None:
        self.rule = rule
        self.bucket_seconds = bucket_seconds
        self.series: list[Series] = []
        self._kind = MODELS[choice.name]
        self._parameters = {**self._kind.parameters, **choice.parameters}
        self._models: list[Any] = []
        self._tail: Floats = np.zeros((TAIL, 0))
        self._moments: Floats = np.zeros((4, 0))  # mean, variance, last count, evidence of the last bucket
        self._marks: Ints = np.zeros((2, 0), dtype=np.int64)  # scores seen, onset

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows."""
        first, rows = len(self.series), len(self.series) + len(series)
        self.series.extend(series)
        self._models.extend(self._build() for _ in series)
        self._tail = grown(self._tail, rows)
        self._moments = grown(self._moments, rows)
        self._marks = grown(self._marks, rows)
        self._moments[3, first:rows] = self._least

    def _build(self) -> Any:
        try:
            return self._kind.build(**self._parameters)
        except (TypeError, ValueError) as error:
            raise ValueError(f"parameters {self._parameters} do not suit the detector: {error}") from error

    @property
    def _least(self) -> float:
        """Evidence of what happens in each bucket."""
        return -math.log10(WEEK_SECONDS / self.bucket_seconds)

    def close(self, start: int, counts: NDArray[np.int64]) -> Scores:
        """The bucket from `start` (ms) of every row: its count, -1 where missing."""
        scores = self._scores(1.0)
        day = 2.0 * math.pi * (start % DAY_MS) / DAY_MS
        x = {
            "sin": math.sin(day),
            "cos": math.cos(day),
            "sin2": math.sin(2 * day),
            "cos2": math.cos(2 * day),
            "weekend": float((start // DAY_MS + 3) % 7 >= 5),
        }
        for row, count in enumerate(counts.tolist()):
            if count >= 0:
                self._step(row, start, float(count), x)
        return Scores(
            self._moments[3, : len(counts)].copy(),
            scores.expected,
            scores.low,
            scores.high,
            self._marks[1, : len(counts)].copy(),
            self._warming(),
        )

    def _step(self, row: int, start: int, count: float, season: dict[str, float]) -> None:
        model, moments = self._models[row], self._moments[:, row]
        mean, variance = float(moments[0]), float(moments[1])
        if self._kind.supervised:
            x = {**season, "last": float(moments[2])}
            score = float(model.score_one(x, count))
            model.learn_one(x, count)
        else:
            x = {"count": count, "sin": season["sin"], "cos": season["cos"]}
            score = float(model.score_one(x))
            model.learn_one(x)
        if not math.isfinite(score):
            score = 0.0
        if self._kind.bounded:
            score = -math.log10(max(1.0 - score, 1e-16))
        if count <= mean:
            score = 0.0  # odd, but not a surge
        moments[3] = self._evidence(row, score)
        self._marks[0, row] += 1
        if moments[3] <= 0.0:
            self._marks[1, row] = 0
        elif self._marks[1, row] == 0:
            self._marks[1, row] = start
        seen = int(self._marks[0, row])
        gain = max(1.0 / seen, self.bucket_seconds / 86_400.0)
        moments[0] = mean + gain * (count - mean)
        moments[1] = (1.0 - gain) * (variance + gain * (count - mean) ** 2)
        moments[2] = count

    def _evidence(self, row: int, score: float) -> float:
        """Evidence of a score, which then joins the tail; no higher than once in ten weeks, as a surge is no habit."""
        tail = self._tail[:, row]
        seen = int(self._marks[0, row])
        bottom, held = float(tail[0]), score
        evidence = self._least
        if seen >= LEAST_SCORES:
            spread = max(float(tail.mean()) - bottom, 1e-3 * (1.0 + bottom))
            above = max(score - bottom, 0.0) / spread
            share = TAIL / seen if score >= bottom else 1.0
            evidence += (above - math.log(share)) / math.log(10.0)
            most = (1.0 - self._least) * math.log(10.0) + math.log(TAIL / seen)
            held = min(score, bottom + spread * max(most, 1.0))
        if held > bottom:
            place = int(np.searchsorted(tail, held))
            tail[: place - 1] = tail[1:place].copy()
            tail[place - 1] = held
        return evidence

    def _warming(self) -> NDArray[np.bool_]:
        least = max(LEAST_SCORES, 3600.0 * self.rule.warming_hours / self.bucket_seconds)
        warming: NDArray[np.bool_] = self._marks[0, : len(self.series)] < least
        return warming

    def _scores(self, fraction: float) -> Scores:
        mean, variance, _, evidence = self._moments[:, : len(self.series)]
        # A part of a bucket: the variance grows with the part, as for Poisson counts.
        reach = 1.96 * np.sqrt(np.maximum(variance, mean) * fraction)
        return Scores(
            evidence.copy(),
            mean * fraction,
            np.floor(np.maximum(mean * fraction - reach, 0.0)),
            np.ceil(mean * fraction + reach),
            self._marks[1, : len(self.series)].copy(),
            self._warming(),
        )

    def skip(self, start: int, until: int) -> None:
        """The buckets from `start` to `until` (ms) are missing: a surge before them is over."""
        if until > start:
            self._moments[3, : len(self.series)] = self._least
            self._marks[1, : len(self.series)] = 0

    def peek(self, start: int, fraction: float, counts: NDArray[np.int64]) -> Scores:
        """The open bucket: expected counts of the part seen; evidence as of the last closed one."""
        return self._scores(fraction)

    def expected(self, start: int) -> Floats:
        """Expected count of every row: the mean of about a day."""
        return self._moments[0, : len(self.series)].copy()

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies. `models`: pickles one after the other, of `sizes` bytes."""
        rows = len(self.series)
        pickles = [pickle.dumps(model, protocol=5) for model in self._models]
        return {
            "tail": self._tail[:, :rows].copy(),
            "moments": self._moments[:, :rows].copy(),
            "marks": self._marks[:, :rows].copy(),
            "sizes": np.array([len(one) for one in pickles], dtype=np.int64),
            "models": np.frombuffer(b"".join(pickles), dtype=np.uint8).copy(),
        }

    @classmethod
    def restore(
        cls,
        choice: DetectorChoice,
        rule: SurgeRule,
        bucket_seconds: int,
        series: Sequence[Series],
        arrays: Mapping[str, NDArray[Any]],
    ) -> Self:
        """The bank whose `arrays` these are. ValueError where they do not fit, or hold anything but such models."""
        bank = cls(choice, rule, bucket_seconds)
        bank.add(series)
        names = {"tail", "moments", "marks", "sizes", "models"}
        if set(arrays) != names:
            raise ValueError(f"arrays are {sorted(arrays)}, but a bank of River models has {sorted(names)}")
        rows = len(series)
        for name, mine in (("tail", bank._tail), ("moments", bank._moments), ("marks", bank._marks)):
            check_like(name, arrays[name], mine[:, :rows])
            mine[:, :rows] = arrays[name]
        sizes, models = arrays["sizes"], arrays["models"]
        check_like("sizes", sizes, bank._marks[0, :rows])
        if models.dtype != np.uint8 or models.ndim != 1 or (sizes < 0).any() or int(sizes.sum()) != len(models):
            raise ValueError("array models is not as long as sizes say")
        raw, at = models.tobytes(), 0
        for row, size in enumerate(sizes.tolist()):
            bank._models[row] = unpickle(raw[at : at + size], bank._kind, type(bank._models[row]))
            at += size
        return bank


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


Bank = SurgeBank | RiverBank


def make_bank(choice: DetectorChoice, rule: SurgeRule, bucket_seconds: int) -> Bank:
    """An empty bank of the chosen detector."""
    return SurgeBank(rule, bucket_seconds) if choice.name == "surge" else RiverBank(choice, rule, bucket_seconds)


def restore_bank(
    choice: DetectorChoice,
    rule: SurgeRule,
    bucket_seconds: int,
    series: Sequence[Series],
    arrays: Mapping[str, NDArray[Any]],
) -> Bank:
    """The bank of the chosen detector whose `arrays` these are; ValueError where they do not fit."""
    if choice.name == "surge":
        return SurgeBank.restore(rule, bucket_seconds, series, arrays)
    return RiverBank.restore(choice, rule, bucket_seconds, series, arrays)

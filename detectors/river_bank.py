"""A River model a series, in the interface of SurgeBank: score, then learn; scores become evidence by their tail."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, Ints, check_like, grown
from detectors.local_time import DAY_MS
from detectors.river_models import MODELS, DetectorChoice, unpickle
from detectors.series import Series
from detectors.surge import Scores, SurgeBank, SurgeRule
from detectors.tail import START, TailBank

#: Score of a bucket that is no surge, however odd it is.
NOTHING: Final = 0.0
#: A bucket may be odd by chance; surges go on. Scores are added up, and forgotten within so many seconds.
MEMORY_SECONDS: Final = 300.0
_TAIL: Final = "tail_"


class RiverBank:
    """A River model a row, in the interface of SurgeBank. Models look at closed buckets only.

    Evidence is the return period of a score among the scores of its own series: see TailBank.
    """

    def __init__(self, choice: DetectorChoice, rule: SurgeRule, bucket_seconds: int) -> None:
        self.rule = rule
        self.bucket_seconds = bucket_seconds
        self.series: list[Series] = []
        self._kind = MODELS[choice.name]
        self._values = self._kind.values(choice.parameters)
        self._blind, self._settling = self._kind.blind(self._values), self._kind.settling(self._values)
        self._models: list[Any] = []
        self._tail = TailBank(bucket_seconds, rule.shift_hours)
        self._keep = math.exp(-bucket_seconds / MEMORY_SECONDS)
        # Mean, variance, last count, evidence of the last bucket, sum of the last scores.
        self._moments: Floats = np.zeros((5, 0))
        self._marks: Ints = np.zeros((3, 0), dtype=np.int64)  # counts seen, onset, counts seen by the model

    def add(self, series: Sequence[Series]) -> None:
        """Appends rows."""
        first, rows = len(self.series), len(self.series) + len(series)
        self.series.extend(series)
        self._models.extend(self._build() for _ in series)
        self._tail.add(len(series))
        self._moments = grown(self._moments, rows)
        self._marks = grown(self._marks, rows)
        self._moments[3, first:rows] = self._tail.least

    def _build(self) -> Any:
        return self._kind.build(**self._values)

    def close(self, start: int, counts: NDArray[np.int64], resting: Flags | None = None) -> Scores:
        """The bucket from `start` (ms) of every row: its count, -1 where missing.

        resting: rows whose count is scored, but teaches nothing; None: none. `wake` ends it.
        """
        rows = len(self.series)
        before = self._scores(1.0)
        present = counts >= 0
        learns = present if resting is None else present & ~resting
        surprises, known = np.zeros(rows), present.copy()
        features = _season(start)
        means, lasts = self._moments[0, :rows].tolist(), self._moments[2, :rows].tolist()
        for row, count in enumerate(counts.tolist()):
            if count >= 0:
                features["count"], features["last"] = float(count), lasts[row]
                surprise = self._ask(row, features, bool(learns[row]))
                known[row] = surprise is not None
                if surprise is not None and count > means[row]:  # less than usual is odd, but no surge
                    surprises[row] = surprise
        total = self._moments[4, :rows]
        total *= self._keep
        total += surprises
        evidence = np.where(known, self._tail.evidence(total), self._tail.least)
        self._tail.learn(total, known & learns)
        self._note(start, counts, learns, evidence)
        return Scores(evidence, before.expected, before.bounds, self._marks[1, :rows].copy(), self._warming())

    def _ask(self, row: int, features: Mapping[str, float], learns: bool) -> float | None:
        """How surprising a bucket is to the model, which then learns it, if it may; None while it cannot tell."""
        kind, model = self._kind, self._models[row]
        if not learns:
            # Some learn when they are asked (PredictiveAnomalyDetection): it is a copy that is.
            model = unpickle(pickle.dumps(model, protocol=5), kind, type(model))
        learned = int(self._marks[2, row])
        self._marks[2, row] += learns
        x = {name: features[name] for name in kind.features}
        told = (x, features["count"]) if kind.supervised else (x,)
        surprise: float | None = None
        try:
            if learned >= self._blind:
                surprise = max(kind.surprise(float(model.score_one(*told))), NOTHING)
            if learns:
                model.learn_one(*told)
        except ArithmeticError:
            surprise = math.nan
        if surprise is not None and not math.isfinite(surprise):
            if not learns:
                return None
            # A model that diverged never comes back.
            self._models[row], self._marks[2, row] = self._build(), 0
            return None
        return surprise if learned >= self._settling else None

    def _note(self, start: int, counts: Ints, present: Flags, evidence: Floats) -> None:
        """Moves what is said beside the evidence: mean and variance of about a day, and the surge's onset."""
        rows = len(self.series)
        mean, variance, last, said, _ = self._moments[:, :rows]
        seen, onset, _ = self._marks[:, :rows]
        seen += present
        said[:] = evidence
        hot = evidence > 0.0
        onset[:] = np.where(hot, np.where(onset == 0, start, onset), 0)
        gain = np.where(present, np.maximum(1.0 / np.maximum(seen, 1), self.bucket_seconds / 86_400.0), 0.0)
        diff = np.where(present, counts - mean, 0.0)
        mean += gain * diff
        variance[:] = (1.0 - gain) * (variance + gain * diff**2)
        np.copyto(last, counts, where=present)

    def _warming(self) -> NDArray[np.bool_]:
        rows = len(self.series)
        least = 3600.0 * self.rule.warming_hours / self.bucket_seconds
        warming: NDArray[np.bool_] = (self._marks[0, :rows] < least) | (self._tail.seen < START)
        return warming

    def _scores(self, fraction: Floats | float) -> Scores:
        mean, variance, _, evidence, _ = self._moments[:, : len(self.series)]
        # A part of a bucket: the variance grows with the part, as for Poisson counts.
        expected, spread = mean * fraction, np.maximum(variance, mean) * fraction

        def bounds(*, rows: Ints | slice = slice(None)) -> tuple[Floats, Floats]:
            middle, reach = expected[rows], 1.96 * np.sqrt(spread[rows])
            return np.floor(np.maximum(middle - reach, 0.0)), np.ceil(middle + reach)

        onset = self._marks[1, : len(self.series)].copy()
        return Scores(evidence.copy(), expected, bounds, onset, self._warming())

    def skip(self, start: int, until: int) -> None:
        """The buckets from `start` to `until` (ms) are missing: a surge before them is over."""
        if until > start:
            self._tail.skip((until - start) // (self.bucket_seconds * 1000))
            self._moments[3, : len(self.series)] = self._tail.least
            self._moments[4, : len(self.series)] *= self._keep ** min(
                (until - start) // (self.bucket_seconds * 1000), 1000
            )
            self._marks[1, : len(self.series)] = 0

    def wake(self, rows: Flags) -> None:
        """The rest of these rows is over: what they showed in it proves nothing of what comes now."""
        self._moments[3, : len(rows)][rows] = self._tail.least
        self._moments[4, : len(rows)][rows] = 0.0
        self._marks[1, : len(rows)][rows] = 0

    def peek(self, start: int, fractions: Floats, counts: NDArray[np.int64]) -> Scores:
        """The open bucket: expected counts of the part seen; evidence as of the last closed one."""
        return self._scores(fractions)

    def expected(self, start: int) -> Floats:
        """Expected count of every row: the mean of about a day."""
        return self._moments[0, : len(self.series)].copy()

    # ---- state

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies. `models`: pickles one after the other, of `sizes` bytes."""
        rows = len(self.series)
        pickles = [pickle.dumps(model, protocol=5) for model in self._models]
        return {
            "moments": self._moments[:, :rows].copy(),
            "marks": self._marks[:, :rows].copy(),
            "sizes": np.array([len(one) for one in pickles], dtype=np.int64),
            "models": np.frombuffer(b"".join(pickles), dtype=np.uint8).copy(),
            **{_TAIL + name: array for name, array in self._tail.arrays().items()},
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
        tail = {name.removeprefix(_TAIL): array for name, array in arrays.items() if name.startswith(_TAIL)}
        names = {"moments", "marks", "sizes", "models"}
        if set(arrays) - {_TAIL + name for name in tail} != names:
            raise ValueError(f"arrays are {sorted(arrays)}, but a bank of River models has {sorted(names)} and a tail")
        rows = len(series)
        bank._tail = TailBank.restore(bucket_seconds, rule.shift_hours, rows, tail)
        for name, mine in (("moments", bank._moments), ("marks", bank._marks)):
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


def _season(start: int) -> dict[str, float]:
    """Time of day, as features."""
    day = 2.0 * math.pi * (start % DAY_MS) / DAY_MS
    return {
        "sin": math.sin(day),
        "cos": math.cos(day),
        "sin2": math.sin(2 * day),
        "cos2": math.cos(2 * day),
    }


Bank = SurgeBank | RiverBank


def make_bank(choice: DetectorChoice, rule: SurgeRule, bucket_seconds: int, holidays: Mapping[str, str] = {}) -> Bank:
    """An empty bank of the chosen detector. holidays: country by region, for the detector that knows days."""
    if choice.name == "surge":
        return SurgeBank(rule, bucket_seconds, holidays)
    return RiverBank(choice, rule, bucket_seconds)


def restore_bank(
    choice: DetectorChoice,
    rule: SurgeRule,
    bucket_seconds: int,
    series: Sequence[Series],
    arrays: Mapping[str, NDArray[Any]],
    holidays: Mapping[str, str] = {},
) -> Bank:
    """The bank of the chosen detector whose `arrays` these are; ValueError where they do not fit."""
    if choice.name == "surge":
        return SurgeBank.restore(rule, bucket_seconds, series, arrays, holidays)
    return RiverBank.restore(choice, rule, bucket_seconds, series, arrays)

"""Our detector without each of its ingredients, for `python -m bench.quality --ablation`.

An ingredient is put out of action by setting constants, or methods, of the detectors' modules to what makes it neutral,
for as long as a bank runs; the detectors themselves know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import msgspec

from detectors import baseline, calibration, habit, holiday, season, surge
from detectors.baseline import Baseline
from detectors.surge import SurgeRule

#: More than any score, count or duration; its square is finite in single precision.
HUGE = 1e12


class Variant(msgspec.Struct, frozen=True):
    """changes: (module or class, name, value while the variant runs)."""

    name: str
    changes: tuple[tuple[Any, str, Any], ...] = ()
    rule: SurgeRule = SurgeRule()

    @contextmanager
    def active(self) -> Iterator[None]:
        """While it lasts, banks that are made and run are of this variant."""
        with ExitStack() as stack:
            for target, name, value in self.changes:
                stack.enter_context(mock.patch.object(target, name, value))
            yield


_predict = Baseline.predict


def _certain(self: Baseline, start: int, rows: slice) -> baseline.Prediction:
    prediction = _predict(self, start, rows)
    return prediction._replace(null=prediction.mean)


def _nothing(*_: object) -> None:
    return None


VARIANTS = (
    Variant("all of it"),
    Variant("no short-term drift", ((baseline, "DRIFT_MEMORY", 1e-3),)),
    Variant("no cap on a bucket", ((surge, "CAP", HUGE), (surge, "CAP_AFTER_GAP", HUGE))),
    Variant("no more for steep counts", ((surge, "STEEP_GAIN", 0.0),)),
    Variant("no learning gate", ((surge, "HOT", HUGE),)),
    Variant("no shift acceptance", rule=SurgeRule(shift_hours=HUGE)),
    Variant("no end of surges (drains)", ((surge, "DRAIN", 0.0), (surge, "CALM_DRAIN", 0.0))),
    Variant("... no calm drain alone", ((surge, "CALM_DRAIN", 0.0),)),
    Variant("no forgetting", ((surge, "FORGET", 0.0),)),
    Variant("no doubt in the null", ((Baseline, "predict", _certain),)),
    Variant("no excess line", ((surge, "EXCESS_GAIN", 0.0),)),
    Variant("no siblings", ((surge, "SIBLINGS", 0.0),)),
    Variant("no habit", ((habit, "HIGH", HUGE),)),
    Variant("no calibration by the feed", ((calibration, "FIRST_GAIN", 0.0), (calibration, "LAST_GAIN", 0.0))),
    Variant("no own hours", ((season, "OWN_PRIOR", HUGE), (baseline, "OWN_PRIOR", HUGE))),
    Variant("weekends as weekdays", ((season, "TYPE_PRIOR", HUGE),)),
    Variant("no holidays", ((holiday, "TEMPER", 0.0),)),
    Variant("nothing ends at midnight", ((Baseline, "_begin_days", _nothing),)),
    Variant("first day's curve is flat", ((season, "FIRST_PRIOR", HUGE),)),
)

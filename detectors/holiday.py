"""Holiday: does today follow the curve of the other type of day, a weekday that of the weekend or the other way round?

All series of a bank in one time zone answer together, by log odds that begin anew at each local midnight.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Floats, Numbers, exact_sums

#: One day in 150.
PRIOR: Final = -5.0
MOST: Final = 8.0
#: Series are not independent, nor are the minutes of one: their evidence counts for so little of what it would.
TEMPER: Final = 0.05
#: ... and less for busy series, whose rates wander more than their counts scatter.
BUSY: Final = 0.3


class Holiday:
    """Log odds for each time zone of a bank."""

    def __init__(self) -> None:
        self.log_odds: Floats = np.zeros(0)

    def add(self, zones: int) -> None:
        """Makes room for time zones."""
        self.log_odds = np.concatenate([self.log_odds, np.full(zones - len(self.log_odds), PRIOR)])

    def share(self) -> Floats:
        """Probability for each time zone."""
        share: Floats = 1.0 / (1.0 + np.exp(-self.log_odds))
        return share

    def begin_day(self, zone: int) -> float:
        """Midnight in a zone: the probability for the day that ended."""
        share = float(self.share()[zone])
        self.log_odds[zone] = PRIOR
        return share

    def weigh(self, zone: Numbers, x: Floats, mean: Floats, ratio: Floats, share: Floats, minutes: float) -> Floats:
        """Log-likelihood ratio of a bucket, other type of day against the calendar's, for each zone: for `learn`.

        mean: expected with `share` * `ratio` in it. A row's drift has followed whatever day it is within hours, so the
        two hypotheses differ by what is left of the ratio, no longer by all of it.
        """
        held = np.minimum(x, mean + 3.0 * np.sqrt(mean) + 1.0)
        llr = held * ratio - mean * np.exp(-share * ratio) * np.expm1(ratio)
        llr *= TEMPER / (1.0 + (BUSY / minutes) * mean)
        return exact_sums(zone, llr, len(self.log_odds))

    def learn(self, llr: Floats) -> None:
        """Takes in what `weigh` gave, over all rows."""
        self.log_odds = np.clip(self.log_odds + llr, -MOST, MOST)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies."""
        return {"holiday": self.log_odds.copy()}

"""Holiday: does today follow the curve of the other type of day, a weekday that of the weekend or the other way round?

All series of a bank in one time zone and country answer together, by log odds that begin anew at each local midnight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.arrays import Flags, Floats, Numbers, exact_sums
from detectors.local_time import DAY_MS, is_weekend, local_ms, zone_of
from detectors.public_holidays import country_of, is_public_holiday
from detectors.series import Series

#: One day in 150.
PRIOR: Final = -5.0
#: A public holiday that is no weekend: as likely as not. More hardly helps where it is one, as the counts tell soon,
#: and gives false alarms where people go to work all the same.
PRIOR_PUBLIC: Final = 0.0
MOST: Final = 8.0
#: Series are not independent, nor are the minutes of one: their evidence counts for so little of what it would.
TEMPER: Final = 0.05
#: ... and less for busy series, whose rates wander more than their counts scatter.
BUSY: Final = 0.3


class Holiday:
    """Log odds for each group of rows of a bank: those of one time zone and one country.

    groups: (time zone, country) of each. group: of each row, the number of its group. public: groups in which today is
    a public holiday, and no weekend.
    """

    def __init__(self, zones: Mapping[str, str] = {}, countries: Mapping[str, str] = {}) -> None:
        """zones, countries: by region, as `local_time.by_region` has them."""
        self.groups: list[tuple[str, str]] = []
        self.group: Numbers = np.zeros(0, dtype=np.int32)
        self.log_odds: Floats = np.zeros(0)
        self.public: Flags = np.zeros(0, np.bool_)
        self._zones, self._countries = zones, countries

    def add(self, series: Sequence[Series], now: int | None = None) -> None:
        """Appends rows. now: the time, ms, where it is known."""
        numbers = []
        for one in series:
            group = zone_of(one.region, self._zones), country_of(one.region, self._countries)
            if group not in self.groups:
                self.groups.append(group)
            numbers.append(self.groups.index(group))
        self.group = np.concatenate([self.group, np.array(numbers, dtype=np.int32)])
        new = self.groups[len(self.log_odds) :]
        public = [now is not None and _is_public(*group, now) for group in new]
        self.log_odds = np.concatenate([self.log_odds, np.where(public, PRIOR_PUBLIC, PRIOR)])
        self.public = np.concatenate([self.public, np.array(public, np.bool_)])

    def share(self) -> Floats:
        """Probability for each group."""
        share: Floats = 1.0 / (1.0 + np.exp(-self.log_odds))
        return share

    def look_at(self, now: int) -> None:
        """It is `now`, ms: notes where it is a public holiday."""
        if self._countries:
            self.public = np.array([_is_public(*group, now) for group in self.groups], np.bool_)

    def begin_day(self, group: int, now: int) -> float:
        """Midnight in a group, and now it is `now`, ms: the probability for the day that ended."""
        share = float(self.share()[group])
        self.log_odds[group] = PRIOR_PUBLIC if _is_public(*self.groups[group], now) else PRIOR
        return share

    def weigh(self, group: Numbers, x: Floats, mean: Floats, ratio: Floats, share: Floats, minutes: float) -> Floats:
        """Log-likelihood ratio of a bucket, other type of day against the calendar's, for each group: for `learn`.

        group, share: of each row. mean: expected with `share` * `ratio` in it. A row's drift has followed whatever day
        it is within hours, so the two hypotheses differ by what is left of the ratio, no longer by all of it.
        """
        held = np.minimum(x, mean + 3.0 * np.sqrt(mean) + 1.0)
        llr = held * ratio - mean * np.exp(-share * ratio) * np.expm1(ratio)
        llr *= TEMPER / (1.0 + (BUSY / minutes) * mean)
        return exact_sums(group, llr, len(self.log_odds))

    def learn(self, llr: Floats) -> None:
        """Takes in what `weigh` gave, over all rows."""
        self.log_odds = np.clip(self.log_odds + llr, -MOST, MOST)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The whole state, as copies: by row, so that it fits other groups when the settings change."""
        return {"holiday": self.log_odds[self.group]}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Takes over what `arrays` gave, once the rows were added."""
        self.log_odds[self.group[::-1]] = arrays["holiday"][::-1]  # of rows that do not agree, the first


def spread(share: Floats, ratio: Floats) -> Floats:
    """Relative variance of what is expected, when it is one of two curves with these odds, `ratio` = log of theirs.

    Of share * b + (1 - share) * a with log(b / a) = ratio, over the square of a ** (1 - share) * b ** share.
    """
    apart = np.exp((1.0 - share) * ratio) - np.exp(-share * ratio)
    told: Floats = share * (1.0 - share) * apart * apart
    return told


def _is_public(zone: str, country: str, now: int) -> bool:
    local = local_ms(zone, now)
    return not is_weekend(local) and is_public_holiday(country, local // DAY_MS)

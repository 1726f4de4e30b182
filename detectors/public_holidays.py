"""Public holidays: which days they are, by country or subdivision (ISO 3166: IT, DE-BY)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

_EPOCH: Final = date(1970, 1, 1)
#: Of a region whose country nobody told: no day is a public holiday.
NOWHERE: Final = ""


@lru_cache(maxsize=1024)
def _days(code: str, year: int) -> frozenset[int]:
    """The public holidays of a year, as days since 1970-01-01; none where the library does not know the year."""
    import holidays  # a tenth of a second, for those who plan

    country, _, part = code.partition("-")
    found = holidays.country_holidays(country, subdiv=part or None, years=year)
    return frozenset((day - _EPOCH).days for day in found)


def is_public_holiday(code: str, day: int) -> bool:
    """Whether a local day, counted from 1970-01-01 on, is one.

    >>> [is_public_holiday(code, 19_297) for code in ("IT", "DE", "DE-BY")]  # 1 November 2022
    [True, False, True]
    """
    if code == NOWHERE or not -700_000 < day < 2_900_000:
        return False
    return day in _days(code, (_EPOCH + timedelta(days=day)).year)


def country_of(region: str, countries: Mapping[str, str]) -> str:
    """The code of the nearest region at or above `region` that has one; '' without any.

    >>> country_of("it/lombardia/milano", {"it": "IT", "it/lombardia": "IT-MI"}), country_of("fr", {"it": "IT"})
    ('IT-MI', '')
    """
    while region:
        if region in countries:
            return countries[region]
        region = region.rpartition("/")[0]
    return countries.get("", NOWHERE)


def check(code: str) -> None:
    """ValueError where a code is none, with what there is instead."""
    import holidays

    country, dash, part = code.partition("-")
    known = holidays.list_supported_countries()
    if country not in known:
        near = get_close_matches(code.upper(), known, n=1)
        hint = f"did you mean {near[0]}?" if near else "countries are those of ISO 3166, such as IT"
        raise ValueError(f"country {code!r} is unknown; {hint}")
    if dash and part not in known[country]:
        there = ", ".join(f"{country}-{each}" for each in known[country]) or f"none: give {country}"
        raise ValueError(f"{code!r} is unknown; subdivisions of {country} with holidays of their own are {there}")

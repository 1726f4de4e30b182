"""Public holidays: which days they are, and which codes there are."""

from __future__ import annotations

from datetime import date

import pytest

from detectors.public_holidays import NOWHERE, check, is_public_holiday


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("code", "on", "public"),
    [
        ("IT", "2022-11-01", True),
        ("IT", "2022-11-02", False),
        ("DE", "2022-11-01", False),
        ("DE-BY", "2022-11-01", True),
        ("US", "2022-11-24", True),
        ("IT", "2199-11-01", False),
        (NOWHERE, "2022-11-01", False),
    ],
)
def test_day_is_a_public_holiday_where_the_law_says_so(code, on, public):
    assert is_public_holiday(code, day(on)) is public


@pytest.mark.parametrize("number", [-(10**9), 10**9])
def test_day_beyond_all_calendars_is_none(number):
    assert not is_public_holiday("IT", number)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("XQ", "country 'XQ' is unknown"),
        ("it", "did you mean IT?"),
        ("", "countries are those of ISO 3166"),
        ("DE-XX", "subdivisions of DE with holidays of their own are DE-BB, DE-BE"),
    ],
)
def test_code_that_is_none_is_told_with_what_there_is(code, said):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is looked at
        check(code)

    assert said in str(error.value)

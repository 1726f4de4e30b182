"""Problems that reports name: counted once, told of with what is usual, bounded."""

from __future__ import annotations

import pytest

from detectors.problems import LETTERS, MOST_OPEN, MOST_TOLD, Named, Problems, tidy
from detectors.series import Series

HOUR = 60  # buckets of a minute
ROME = Series("site", "whatsapp", "it/lazio/roma")
MILAN = Series("site", "whatsapp", "it/lombardia/milano")


@pytest.mark.parametrize(
    ("raw", "counted"), [("  Log  IN ", "log in"), ("a\x00b", ""), ("", ""), ("x" * 300, "x" * LETTERS)]
)
def test_problem_is_counted_in_one_form(raw: str, counted: str) -> None:
    assert tidy(raw) == counted


def test_series_and_the_roll_ups_around_it_tell_what_their_reports_named_in_the_bucket_that_closed() -> None:
    problems = Problems(60_000)
    problems.add(7, ROME, "sending", 3)
    problems.add(7, MILAN, "login", 2)
    problems.add(8, ROME, "login", 9)

    problems.close(7)

    assert problems.of(ROME) == Named(3, (("sending", 3, 0.0),))
    assert problems.of(Series("site", "whatsapp", "it/*")) == Named(5, (("sending", 3, 0.0), ("login", 2, 0.0)))
    assert problems.of(Series("site", "whatsapp", "*")) == problems.of(Series("site", "whatsapp", "it/*"))
    assert problems.of(Series("site", "telegram", "it/lazio/roma")) is None
    assert problems.of(Series("calls", "whatsapp", "it/lazio/roma")) is None


def test_what_is_usual_is_learned_from_services_that_do_not_surge() -> None:
    problems = Problems(60_000)
    for bucket, (problem, surging) in enumerate([("login", []), ("login", []), ("sending", [("site", "whatsapp")])]):
        problems.add(bucket, ROME, problem, 10)
        problems.close(bucket)
        problems.learn(bucket, surging)
    problems.add(3, ROME, "sending", 10)
    problems.add(3, ROME, "login", 1)

    problems.close(3)

    assert problems.of(ROME) == Named(11, (("sending", 10, 0.0), ("login", 1, 1.0)))


def test_the_commonest_are_told_of() -> None:
    problems = Problems(60_000)
    for number in range(100):
        problems.add(0, ROME, f"p{number:03}", number + 1)

    problems.close(0)

    named = problems.of(ROME)
    assert named is not None
    assert (named.total, len(named.top), named.top[0]) == (5050, MOST_TOLD, ("p099", 100, 0.0))


def test_flood_of_invented_problems_takes_bounded_memory() -> None:
    problems = Problems(60_000)
    for number in range(MOST_OPEN + 1000):
        problems.add(0, ROME, str(number), 1)

    assert len(problems.save().open) == MOST_OPEN
    problems.close(0)
    problems.learn(0, [])
    assert sum(len(each.weights) for each in problems.save().usual["site"].values()) <= 32


def test_restored_problems_go_on_as_if_nothing_had_happened() -> None:
    problems, restored = Problems(60_000), Problems(60_000)
    problems.add(0, ROME, "login", 4)
    problems.close(0)
    problems.learn(0, [])
    problems.add(1, ROME, "sending", 2)

    restored.load(problems.save())

    for each in (problems, restored):
        each.close(1)
    assert restored.of(ROME) == problems.of(ROME) == Named(2, (("sending", 2, 0.0),))
    assert restored.save() == problems.save()

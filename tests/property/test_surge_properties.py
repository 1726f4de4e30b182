"""Properties of the surge bank that hold for any counts."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.local_time import DAY_MS
from detectors.series import Series
from detectors.source import BUCKET_SECONDS
from detectors.surge import Scores, SurgeBank, SurgeRule

RULE = SurgeRule()
START = 20_000 * DAY_MS
counts_of_three = st.lists(
    st.tuples(*[st.one_of(st.integers(-1, 9), st.integers(-1, 10**9))] * 3), min_size=1, max_size=25
)
SHOP_A, SHOP_B, BANK = (Series("r", "shop", "a"), Series("r", "shop", "b"), Series("r", "bank", "a"))


def feed(bank: SurgeBank, start: int, rows: list[tuple[int, ...]]) -> int:
    for row in rows:
        bank.close(start, np.array(row, dtype=np.int64))
        start += bank.bucket_seconds * 1000
    return start


def arrays(scores: Scores) -> dict[str, np.ndarray]:
    low, high = scores.bounds()
    plain = {name: getattr(scores, name) for name in ("evidence", "expected", "onset", "warming")}
    return {**plain, "low": low, "high": high}


def same(one: Scores, other: Scores) -> bool:
    others = arrays(other)
    return all(np.array_equal(values, others[field]) for field, values in arrays(one).items())


@settings(max_examples=60, deadline=None)
@given(
    before=counts_of_three,
    away=st.integers(0, 500 * DAY_MS),
    after=counts_of_three,
    bucket=st.sampled_from(BUCKET_SECONDS),
)
def test_numbers_stay_finite_whatever_comes(before, away, after, bucket):
    with np.errstate(all="raise"):
        bank = SurgeBank(RULE, bucket)
        bank.add([SHOP_A, SHOP_B, BANK])
        end = feed(bank, START, before)
        back = end + away // (bucket * 1000) * bucket * 1000
        bank.skip(end, back)
        for row in after:
            part = bank.peek(back, np.full(3, 0.5), np.array(row, dtype=np.int64))
            as_seen = part.bounds()
            scores = bank.close(back, np.array(row, dtype=np.int64))
            # What is worked out when it is asked for is of then all the same.
            assert np.array_equal(part.bounds(), as_seen)
            for one in (part, scores):
                low, high = one.bounds()
                for values in (one.evidence, one.expected, low, high):
                    assert np.isfinite(values).all()
                assert (low <= high).all()
            back += bucket * 1000


@settings(max_examples=40, deadline=None)
@given(before=counts_of_three, after=counts_of_three, bucket=st.sampled_from((10, 60, 300, 3600)))
def test_restored_bank_goes_on_bit_for_bit(before, after, bucket):
    bank = SurgeBank(RULE, bucket)
    bank.add([SHOP_A, SHOP_B, BANK])
    start = feed(bank, START, before)

    again = SurgeBank.restore(RULE, bucket, bank.series, bank.arrays())

    for row in after:
        counts, part = np.array(row, dtype=np.int64), np.full(3, 1 / 6)
        assert same(bank.peek(start, part, counts), again.peek(start, part, counts))
        assert same(bank.close(start, counts), again.close(start, counts))
        start += bucket * 1000
    mine, theirs = bank.arrays(), again.arrays()
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


@settings(max_examples=40, deadline=None)
@given(rows=counts_of_three, others=st.integers(0, 13), bucket=st.sampled_from((10, 60, 3600)))
def test_rows_of_other_services_change_nothing_but_the_calibration_of_all(rows, others, bucket):
    alone, together = SurgeBank(RULE, bucket), SurgeBank(RULE, bucket)
    alone.add([SHOP_A, SHOP_B])
    together.add([Series("r", "x", str(k)) for k in range(others)] + [SHOP_A, BANK, SHOP_B])
    mine_of = [others, others + 2]

    start = START
    for a, b, c in rows:
        mine = alone.close(start, np.array([a, b], dtype=np.int64))
        full = together.close(start, np.array([c] * others + [a, c, b], dtype=np.int64))
        apart = mine.evidence - full.evidence[mine_of]
        assert apart[0] == pytest.approx(apart[1], abs=1e-9)
        of_all = arrays(full)
        for field, values in arrays(mine).items():
            assert field == "evidence" or np.array_equal(values, of_all[field][mine_of])
        start += bucket * 1000


@settings(max_examples=40, deadline=None)
@given(rows=counts_of_three, order=st.permutations([0, 1, 2]), bucket=st.sampled_from((10, 60, 3600)))
def test_the_order_of_series_does_not_matter(rows, order, bucket):
    series = [SHOP_A, SHOP_B, BANK]
    one, other = SurgeBank(RULE, bucket), SurgeBank(RULE, bucket)
    one.add(series)
    other.add([series[k] for k in order])

    start = START
    for row in rows:
        here = one.close(start, np.array(row, dtype=np.int64))
        there = other.close(start, np.array([row[k] for k in order], dtype=np.int64))
        moved = arrays(there)
        for field, values in arrays(here).items():
            assert np.array_equal(values[order], moved[field])
        start += bucket * 1000


@settings(max_examples=60, deadline=None)
@given(
    before=counts_of_three,
    counts=st.tuples(*[st.integers(0, 10**9)] * 3),
    more=st.tuples(*[st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 10**9))] * 3),
    fraction=st.sampled_from((1 / 6, 0.5, 1.0)),
    bucket=st.sampled_from((10, 60, 3600)),
)
def test_more_reports_never_lower_the_evidence_of_their_bucket(before, counts, more, fraction, bucket):
    bank = SurgeBank(RULE, bucket)
    bank.add([SHOP_A, SHOP_B, BANK])
    start = feed(bank, START, before)
    other = SurgeBank.restore(RULE, bucket, bank.series, bank.arrays())
    few, many = np.array(counts, dtype=np.int64), np.array(counts, dtype=np.int64) + np.array(more, dtype=np.int64)

    part = np.full(3, fraction)
    assert (bank.peek(start, part, many).evidence >= bank.peek(start, part, few).evidence - 1e-6).all()
    assert (bank.close(start, many).evidence >= other.close(start, few).evidence - 1e-6).all()


@settings(max_examples=40, deadline=None)
@given(before=counts_of_three, counts=st.tuples(*[st.integers(-1, 10**9)] * 3), fraction=st.floats(0.01, 1.0))
def test_looking_changes_no_state(before, counts, fraction):
    bank = SurgeBank(RULE, 60)
    bank.add([SHOP_A, SHOP_B, BANK])
    start = feed(bank, START, before)
    state = bank.arrays()

    bank.peek(start, np.full(3, fraction), np.array(counts, dtype=np.int64))
    bank.expected(start + 3 * DAY_MS)

    assert all(np.array_equal(state[name], after) for name, after in bank.arrays().items())


#: What comes to a bank that has run: buckets of counts, series that are new, a gap.
NEW = st.sampled_from([("shop", "c"), ("shop", "d"), ("bank", "b"), ("mail", "a"), ("mail", "e")])
life = st.lists(
    st.one_of(
        st.tuples(
            st.just("close"), st.lists(st.one_of(st.integers(-1, 9), st.integers(-1, 10**9)), min_size=8, max_size=8)
        ),
        st.tuples(st.just("add"), st.lists(NEW, min_size=1, max_size=3, unique=True)),
        st.tuples(st.just("skip"), st.integers(1, 24 * 400)),
    ),
    min_size=1,
    max_size=25,
)


@cache
def after_weeks(bucket: int, order: tuple[int, ...] = (0, 1, 2)) -> tuple[list[Series], dict, int]:
    """A bank that has seen nine days, in which a weekend fell: its series in that order, its arrays, its clock."""
    bank = SurgeBank(RULE, bucket)
    bank.add([(SHOP_A, SHOP_B, BANK)[k] for k in order])
    rng, start = np.random.default_rng(3), START
    for step in range(9 * 86_400 // bucket):
        busy = 1.0 + 0.6 * np.sin(2 * np.pi * step * bucket / 86_400)
        counts = rng.poisson(np.array([0.02, 3.0, 400.0]) * busy * bucket / 60.0)
        bank.close(start, counts[list(order)])
        start += bucket * 1000
    return list(bank.series), bank.arrays(), start


def aged(bucket: int, order: tuple[int, ...] = (0, 1, 2)) -> tuple[SurgeBank, int]:
    series, arrays, start = after_weeks(bucket, order)
    return SurgeBank.restore(RULE, bucket, series, arrays), start


def live(banks: list[SurgeBank], start: int, step: tuple, reverse: bool = False) -> int:
    """One step in the life of banks with the same series, in any order."""
    what, value = step
    bucket_ms = banks[0].bucket_seconds * 1000
    if what == "add":
        held = set(banks[0].series)
        new = [one for service, region in value if (one := Series("r", service, region)) not in held]
        for place, bank in enumerate(banks):
            bank.add(new[::-1] if reverse and place else new)
        return start
    if what == "skip":
        for bank in banks:
            bank.skip(start, start + value * 3_600_000)
        return start + value * 3_600_000
    of = dict(zip(sorted(banks[0].series), value, strict=False))
    results = [bank.close(start, np.array([of[one] for one in bank.series], dtype=np.int64)) for bank in banks]
    first = arrays(results[0])
    for values in first.values():
        assert np.isfinite(values).all()
    for bank, result in zip(banks[1:], results[1:], strict=True):
        row = [bank.series.index(one) for one in banks[0].series]
        for field, values in arrays(result).items():
            assert np.array_equal(first[field], values[row]), field
    return start + bucket_ms


@settings(max_examples=25, deadline=None)
@given(steps=life, cut=st.integers(0, 24), bucket=st.sampled_from((600, 3600)))
def test_bank_with_days_behind_it_is_restored_at_any_step_and_takes_new_series(steps, cut, bucket):
    with np.errstate(all="raise"):
        bank, start = aged(bucket)
        for step in steps[:cut]:
            start = live([bank], start, step)
        again = SurgeBank.restore(RULE, bucket, bank.series, bank.arrays())
        for step in steps[cut:]:
            start = live([bank, again], start, step)
    mine, theirs = bank.arrays(), again.arrays()
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


@settings(max_examples=25, deadline=None)
@given(steps=life, order=st.permutations([0, 1, 2]), bucket=st.sampled_from((600, 3600)))
def test_the_order_of_series_does_not_matter_after_days_and_as_series_come(steps, order, bucket):
    one, start = aged(bucket)
    other, _ = aged(bucket, tuple(order))

    for step in steps:
        start = live([one, other], start, step, reverse=True)


@settings(max_examples=25, deadline=None)
@given(
    steps=life,
    counts=st.tuples(*[st.integers(0, 10**9)] * 8),
    more=st.tuples(*[st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 10**9))] * 8),
    bucket=st.sampled_from((600, 3600)),
)
def test_more_reports_never_lower_the_evidence_after_days(steps, counts, more, bucket):
    bank, start = aged(bucket)
    for step in steps:
        start = live([bank], start, step)
    other = SurgeBank.restore(RULE, bucket, bank.series, bank.arrays())
    rows = len(bank.series)
    few = np.array(counts[:rows], dtype=np.int64)
    many = few + np.array(more[:rows], dtype=np.int64)

    assert (bank.close(start, many).evidence >= other.close(start, few).evidence - 1e-6).all()

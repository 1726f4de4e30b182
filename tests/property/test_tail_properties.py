"""Properties of the tail of scores that hold for any finite scores."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.tail import START, TailBank

ROWS = 4
any_score = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.floats(-5, 50), st.integers(-2, 3).map(float)
)
rows_of_scores = st.lists(st.tuples(*[any_score] * ROWS), min_size=1, max_size=40)
#: What comes before: a kind of scores, for so long.
histories = st.tuples(
    st.sampled_from(["exponential", "normal", "constant", "few", "huge"]),
    st.integers(0, 600),
    st.integers(0, 2**32 - 1),
)
buckets = st.sampled_from((10, 60, 300, 3600))


def fed(history: tuple[str, int, int], bucket_seconds: int) -> TailBank:
    kind, length, seed = history
    bank = TailBank(bucket_seconds)
    bank.add(ROWS)
    rng = np.random.default_rng(seed)
    for _ in range(length):
        scores = {
            "exponential": lambda: rng.standard_exponential(ROWS),
            "normal": lambda: rng.standard_normal(ROWS),
            "constant": lambda: np.full(ROWS, 2.0),
            "few": lambda: rng.integers(0, 3, ROWS).astype(float),
            "huge": lambda: rng.standard_normal(ROWS) * 1e300,
        }[kind]()
        bank.learn(scores, rng.random(ROWS) > 0.1)
    return bank


def same(one: TailBank, other: TailBank) -> bool:
    mine, theirs = one.arrays(), other.arrays()
    return all(np.array_equal(mine[name], theirs[name]) for name in mine)


@settings(max_examples=60, deadline=None)
@given(history=histories, scores=rows_of_scores, bucket=buckets, away=st.integers(0, 10**9))
def test_numbers_stay_finite_whatever_comes(history, scores, bucket, away):
    with np.errstate(divide="raise", invalid="raise", over="raise"):
        bank = fed(history, bucket)
        for each in scores:
            assert np.isfinite(bank.evidence(np.array(each))).all()
            bank.learn(np.array(each))
        bank.skip(away)
        assert np.isfinite(bank.evidence(np.full(ROWS, 1.7e308))).all()
        assert all(np.isfinite(array).all() for array in bank.arrays().values())


@settings(max_examples=80, deadline=None)
@given(history=histories, scores=st.lists(any_score, min_size=2, max_size=30), bucket=buckets)
def test_larger_score_never_has_less_evidence(history, scores, bucket):
    bank = fed(history, bucket)

    found = np.array([bank.evidence(np.full(ROWS, score)) for score in sorted(scores)])

    # But for the last bit of a logarithm.
    assert (np.diff(found, axis=0) >= -1e-9).all()
    assert (found >= bank.least).all()


@settings(max_examples=60, deadline=None)
@given(history=histories, scores=rows_of_scores, bucket=buckets)
def test_restored_tail_goes_on_bit_for_bit(history, scores, bucket):
    bank = fed(history, bucket)

    again = TailBank.restore(bucket, 10.0, ROWS, bank.arrays())

    for each in scores:
        assert np.array_equal(bank.evidence(np.array(each)), again.evidence(np.array(each)))
        bank.learn(np.array(each))
        again.learn(np.array(each))
    assert same(bank, again)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(0, 3 * START), seed=st.integers(0, 2**32 - 1), order=st.permutations(range(ROWS)), bucket=buckets
)
def test_order_and_number_of_the_rows_are_irrelevant(length, seed, order, bucket):
    rng = np.random.default_rng(seed)
    given_order, other_order, alone = TailBank(bucket), TailBank(bucket), TailBank(bucket)
    given_order.add(ROWS)
    other_order.add(1)
    other_order.add(ROWS - 1)
    alone.add(1)
    order = list(order)
    for _ in range(length):
        scores = rng.standard_exponential(ROWS)
        for each in (
            given_order.evidence(scores)[order] - other_order.evidence(scores[order]),
            given_order.evidence(scores)[:1] - alone.evidence(scores[:1]),
        ):
            assert not each.any()
        given_order.learn(scores)
        other_order.learn(scores[order])
        alone.learn(scores[:1])


@settings(max_examples=30, deadline=None)
@given(history=histories, scores=st.tuples(*[any_score] * ROWS), bucket=buckets)
def test_looking_changes_no_state(history, scores, bucket):
    bank = fed(history, bucket)
    before = bank.arrays()

    bank.evidence(np.array(scores))

    assert all(np.array_equal(before[name], array) for name, array in bank.arrays().items())

"""The baseline: what is expected of a bucket."""

import numpy as np
import pytest

from detectors.baseline import MINUTE_MS, Baseline, Prediction
from detectors.local_time import DAY_MS
from detectors.series import Series

MONDAY = 4 * DAY_MS
SHOP = [Series("reports", "shop", "it"), Series("reports", "shop", "fr")]


def learn(baseline: Baseline, start: int, counts: list[float]) -> None:
    everyone = slice(0, baseline.rows)
    baseline.refresh(start)
    p = baseline.predict(start, everyone)
    baseline.learn(p, everyone, np.array(counts, dtype=np.float64), None, None, None)
    baseline.end_bucket(start, missing=False, holiday=None)


def predict(baseline: Baseline, start: int) -> Prediction:
    return baseline.predict(start, slice(0, baseline.rows))


def test_constant_counts_become_the_level_within_an_hour():
    baseline = Baseline(60, {})
    baseline.add(SHOP)

    for minute in range(60):
        learn(baseline, MONDAY + minute * MINUTE_MS, [4.0, 120.0])

    assert predict(baseline, MONDAY + 60 * MINUTE_MS).mean == pytest.approx([4.0, 120.0], rel=0.1)


def test_hourly_buckets_learn_the_level_too():
    baseline = Baseline(3600, {})
    baseline.add(SHOP)

    for hour in range(48):
        learn(baseline, MONDAY + hour * 60 * MINUTE_MS, [240.0, 7200.0])

    assert predict(baseline, MONDAY + 48 * 60 * MINUTE_MS).mean == pytest.approx([240.0, 7200.0], rel=0.1)


def test_day_curve_is_learned_from_a_service_and_serves_its_new_row():
    baseline = Baseline(600, {})
    baseline.add(SHOP)
    for step in range(144 * 12):
        busy = 6 <= step % 144 // 6 < 18
        learn(baseline, MONDAY + step * 10 * MINUTE_MS, [200.0, 100.0] if busy else [20.0, 10.0])

    baseline.add([Series("reports", "shop", "es"), Series("reports", "bank", "es")])

    monday = MONDAY + 14 * DAY_MS
    night = predict(baseline, monday + 2 * 60 * MINUTE_MS).base.copy()
    noon = predict(baseline, monday + 12 * 60 * MINUTE_MS).base.copy()
    assert noon[0] / night[0] > 4
    assert noon[2] / night[2] > 1.5
    assert noon[3] / night[3] > 1.5  # a new service borrows the curve of the feed


def test_looking_ahead_changes_nothing():
    baseline = Baseline(60, {})
    baseline.add(SHOP)
    for minute in range(90):
        learn(baseline, MONDAY + minute * MINUTE_MS, [4.0, 120.0])
    before = baseline.arrays()

    predict(baseline, MONDAY + 9 * DAY_MS)

    after = baseline.arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_backlog_of_a_gap_is_expected_but_not_without_bound():
    baseline = Baseline(60, {})
    baseline.add(SHOP)
    for minute in range(240):
        learn(baseline, MONDAY + minute * MINUTE_MS, [4.0, 120.0])

    baseline.skip(MONDAY + 240 * MINUTE_MS, MONDAY + 250 * MINUTE_MS)
    short = predict(baseline, MONDAY + 250 * MINUTE_MS).mean.copy()
    baseline.skip(MONDAY + 250 * MINUTE_MS, MONDAY + 365 * DAY_MS)
    long = predict(baseline, MONDAY + 365 * DAY_MS).mean.copy()

    assert short == pytest.approx([44.0, 1320.0], rel=0.15)
    assert long[0] < 1441 * 5


def test_size_is_learned_from_the_spread():
    rng = np.random.default_rng(7)
    baseline = Baseline(60, {})
    baseline.add(SHOP)
    for minute in range(3 * 1440):
        wide = rng.poisson(20.0 * rng.gamma(2.0, 0.5))
        learn(baseline, MONDAY + minute * MINUTE_MS, [float(rng.poisson(20.0)), float(wide)])

    assert baseline["size"][0] > 30
    assert 1.5 <= baseline["size"][1] < 3

"""River's detectors in their place: a partition of report-counts in, surges out."""

import msgspec
import numpy as np
import pytest

from detectors.counts import ChunkCounts
from detectors.detection import Detection
from detectors.river_models import MODELS, DetectorChoice
from detectors.rules import Rules
from detectors.source import SourceRule
from detectors.surges import SurgeRow
from tests.unit.test_detection import DAY, MINUTE, T0, message, rows, series, settle

DAYS = 8
SOURCE = SourceRule(bucket_seconds=120)
#: Parameters where the defaults are slow, and within how many minutes an outage of ten times the usual is to be told.
DETECTORS = {
    "GaussianScorer": ({}, 6),
    "QuantileFilter": ({}, 6),
    "ThresholdFilter": ({}, 6),
    "StandardAbsoluteDeviation": ({}, 4),
    "PredictiveAnomalyDetection": ({"warmup_period": 360}, 8),
    "HoltWinters": ({"warmup_period": 360}, 8),
    "SNARIMAX": ({"warmup_period": 360}, 10),
    "LocalOutlierFactor": ({"window_size": 60}, 6),
}
OUTAGE = T0 + DAYS * DAY
#: These tell that counts are rare, but hardly how rare: after half an hour of an outage they are no surer than that.
WEAK = {"HalfSpaceTrees": ({}, 0.5), "LODA": ({}, 0.5)}


def test_every_detector_is_tried_here():
    assert set(DETECTORS) | set(WEAK) == set(MODELS)


def in_ticks(counts: ChunkCounts) -> ChunkCounts:
    """Counts of the source's ticks, which are twice as long as those of `message`."""
    return msgspec.structs.replace(counts, ticks=[tick // 2 for tick in counts.ticks])


def watched(choice: DetectorChoice, minutes: int) -> tuple[list[SurgeRow], list[SurgeRow]]:
    """What is told of eight calm days at four reports a minute, and of an outage after them at forty."""
    detection = Detection(Rules(partitions=1, reports_partitions=1, source_default=SOURCE, detectors=(choice,)), 0)
    rng = np.random.default_rng(11)
    calm = []
    for day in range(DAYS):
        begin = T0 + day * DAY
        counts = [(series(), begin + minute * MINUTE, int(rng.poisson(4.0))) for minute in range(1440)]
        detection.apply(in_ticks(message((day + 1) * 1440, begin + DAY, counts, start=day * 1440)))
        calm += rows(settle(detection))
    counts = [(series(), OUTAGE + minute * MINUTE, int(rng.poisson(40.0))) for minute in range(minutes)]
    end = OUTAGE + (minutes + 1) * MINUTE
    detection.apply(in_ticks(message(DAYS * 1440 + 1, end, counts, start=DAYS * 1440)))
    return calm, rows(settle(detection))


@pytest.mark.parametrize("name", DETECTORS)
def test_calm_week_is_quiet_and_an_outage_is_told_within_minutes(name: str):
    parameters, minutes = DETECTORS[name]

    calm, outage = watched(DetectorChoice(services="whats*", name=name, parameters=parameters), minutes)

    assert [row.evidence for row in calm if row.evidence >= 2] == []
    assert max(row.evidence for row in outage) > 2
    assert outage[-1].expected < 20
    assert abs(outage[-1].onset - OUTAGE) <= minutes * MINUTE


@pytest.mark.parametrize("name", WEAK)
def test_weak_detector_is_quiet_too_and_tells_of_a_lasting_outage(name: str):
    parameters, evidence = WEAK[name]

    calm, outage = watched(DetectorChoice(name=name, parameters=parameters), 30)

    assert [row.evidence for row in calm if row.evidence >= 2] == []
    assert max(row.evidence for row in outage) > evidence


def test_restored_partition_goes_on_with_the_same_models():
    choice = DetectorChoice(name="SNARIMAX", parameters={"warmup_period": 60})
    rules = Rules(partitions=1, reports_partitions=1, detectors=(choice,))
    detection = Detection(rules, 0)
    rng = np.random.default_rng(11)
    counts = [(series(), T0 + minute * MINUTE, int(rng.poisson(4.0))) for minute in range(1440)]
    detection.apply(message(1440, T0 + DAY, counts))
    settle(detection)

    restored = Detection.restore(rules, 0, detection.save())

    surge = [(series(), T0 + DAY + minute * MINUTE, 60) for minute in range(20)]
    told = []
    for each in (detection, restored):
        each.apply(message(1460, T0 + DAY + 20 * MINUTE, surge, start=1440))
        told.append(rows(settle(each)))
    assert told[0] == told[1]
    assert told[0] != []

"""Does a tuned threshold keep the alert budget in weeks it has not seen? python -m bench.budget

Each feed is cut into halves. The threshold is tuned on the first half, as `groundswell tune` does it; how many pages a
week it gives is then counted on the second. All thresholds are judged side by side in one run over the feed.

A budget of 2 a week is 8 pages in four weeks. Were a threshold's true rate known, chance alone would put one feed in a
hundred out of the band that is asked for; but it is known from about 8 pages itself, so one in fifteen is to be
expected. More weeks a half narrow that; that an outage of a whole service pages for each region widens it.

With GROUNDSWELL_REFEREE naming the folder of a simfeed.py, its feeds are measured as well.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from bench import feeds
from detectors.budget import WEEK_MS, Verdict
from detectors.counts import ChunkCounts
from detectors.detection import Detection
from detectors.incident import IncidentRule
from detectors.pipeline import Replay
from detectors.rules import Rules
from detectors.surges import SurgeRecord
from detectors.trial import Found, Trial, thresholds
from streams import tweets

#: What is asked of the second half, in budgets: 0.5 to 4 pages a week at a budget of 2.
LEAST, MOST = 0.25, 2.0


class Kept(msgspec.Struct, frozen=True):
    """How a budget was kept.

    tuned, held: pages a week of the two halves; lowest: of the first half, at the lowest threshold.
    """

    feed: str
    budget: float
    threshold: float
    verdict: Verdict
    lowest: float
    tuned: float
    held: float
    held_pages: int
    seconds: float

    @property
    def well(self) -> bool:
        return LEAST * self.budget <= self.held <= MOST * self.budget


def measure(name: str, surges: Iterable[SurgeRecord], trial: Trial, half_ms: int, budget: float) -> Kept:
    """Tune on what lies before the event time half_ms, count what lies after it."""
    began = time.monotonic()
    first: Found | None = None
    for record in surges:
        if first is None and record.through > half_ms:
            first = trial.found()
        trial.apply(record)
    assert first is not None, f"{name} has no second half"
    whole = trial.found()
    choice = first.choose(budget)
    place = trial.thresholds.index(choice.threshold)
    pages = whole.trades[place].pages - first.trades[place].pages
    return Kept(
        feed=name,
        budget=budget,
        threshold=choice.threshold,
        verdict=choice.verdict,
        lowest=first.trades[0].pages / first.weeks,
        tuned=choice.pages / first.weeks,
        held=pages / (whole.weeks - first.weeks),
        held_pages=pages,
        seconds=time.monotonic() - began,
    )


def counted(rules: Rules, messages: Iterable[ChunkCounts]) -> Iterator[SurgeRecord]:
    detection = Detection(rules, 0)
    for message in messages:
        yield from detection.take(message)


def simulated(name: str, feed: feeds.Feed, budget: float) -> Kept:
    rules = Rules(partitions=1, reports_partitions=1)
    trial = Trial(rules, thresholds(rules.incidents))
    half_ms = feeds.BEGIN_MS + round(feed.weeks / 2 * WEEK_MS)
    return measure(name, counted(trial.rules, feeds.messages(feed)), trial, half_ms, budget)


def of_referee(seed: int, weeks: int) -> feeds.Feed:
    """A feed of the referee's. Its first days, without outages, are those in which baselines warm up."""
    made = importlib.import_module("simfeed").make_feed(
        seed, services=12, regions=4, warmup_days=2, eval_days=7 * weeks - 2, outages_per_series=0.6
    )
    return feeds.Feed(made.names, np.maximum(made.counts, 0).astype(np.int64))


def of_tweets(budget: float) -> Kept:
    values = list(tweets.reports())
    times = [msgspec.json.decode(value)["time"] for value in (values[0], values[-1])]
    first, last = (round(np.datetime64(each.rstrip("Z"), "ms").astype(np.int64)) for each in times)
    rules = Rules(sources={tweets.SOURCE: tweets.TWEETS}, partitions=1, reports_partitions=1)
    trial = Trial(rules, thresholds(IncidentRule()))
    replay = Replay(trial.rules)
    pieces = (values[begin : begin + 1000] for begin in range(0, len(values), 1000))
    surges = (record for piece in pieces for record in replay.read(0, piece, [last] * len(piece)))
    return measure("tweets", surges, trial, (first + last) // 2, budget)


def run(number: int, weeks: int, budget: float) -> Iterator[Kept]:
    """weeks: of a simulated feed, both halves."""
    for seed in range(1, number + 1):
        yield simulated(f"feed {seed}", feeds.make(seed, weeks=weeks), budget)
    yield of_tweets(budget)
    if folder := os.environ.get("GROUNDSWELL_REFEREE"):
        sys.path.insert(0, folder)
        for seed in range(1, number + 1):
            yield simulated(f"simfeed {seed}", of_referee(seed, weeks), budget)


def table(rows: Iterable[Kept]) -> Table:
    shown = Table(
        "feed", "budget", "open_at", "says", "at the lowest", "tuned half", "held-back half", "pages", "", "s"
    )
    for row in rows:
        cells = [f"{row.budget:g}", f"{row.threshold:g}", row.verdict.value]
        cells += [f"{each:.2f}" for each in (row.lowest, row.tuned, row.held)]
        shown.add_row(row.feed, *cells, str(row.held_pages), "kept" if row.well else "MISSED", f"{row.seconds:.0f}")
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="Does a tuned threshold keep the alert budget in weeks to come?")
    parser.add_argument("--feeds", type=int, default=10, help="simulated feeds, default 10")
    parser.add_argument("--budget", type=float, default=2.0, help="pages a week, default 2")
    parser.add_argument("--weeks", type=int, default=4, help="weeks of a half of a simulated feed, default 4")
    arguments = parser.parse_args()
    console, rows = Console(), []
    for row in run(arguments.feeds, 2 * arguments.weeks, arguments.budget):
        rows.append(row)
        print(f"{row.feed}: {row.held:.2f} pages a week at open_at {row.threshold:g}", file=sys.stderr, flush=True)
    console.print(table(rows))
    least, most = LEAST * arguments.budget, MOST * arguments.budget
    console.print(
        f"{sum(row.well for row in rows)} of {len(rows)} feeds had {least:g} to {most:g} pages a week in the half that"
        f" was held back; {sum(row.held for row in rows) / len(rows):.2f} in the mean."
    )


if __name__ == "__main__":
    main()

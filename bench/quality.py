"""How good is the detection? python -m bench.quality (make quality)

Feeds with known outages are run through our detector, through what else people use, and through an oracle that knows
the true rate of every minute: its figures are the limit. Measured are the share of outages found at 1, 5 and 20 false
alerts per 100 series-weeks, how late, whether evidence is calibrated, and the cost; bench.judging defines them.

Feeds are those of bench.feeds. With GROUNDSWELL_REFEREE naming the folder of a simfeed.py, oracle.py, referee.py,
baselines.py, real.py and nab.py, they are the referee's, as are the oracle and the baselines; the tables of --real and
--nab exist there alone.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import ablation, calibration, cost, feeds, judging, rivals
from bench.judging import BUDGETS, Case, Figures
from bench.rivals import Detector, Factory, of_groundswell

OURS = "Groundswell"
ORACLE = "oracle (knows the true rate)"
#: Rows between two steps of a progress bar.
STEP = 500
#: River's detectors are slow: they get a smaller feed.
SMALL = {"services": 4, "regions": 10, "warmup_days": 14}
REAL_BUDGETS = (100.0, 300.0, 700.0)
REAL_BUCKET = 5
#: NAB's score of its own detectors on the tweets, from the scores they publish; source: the referee's README.
NAB_PUBLISHED = {
    "ARTime": 79.7,
    "randomCutForest": 75.4,
    "Numenta HTM": 70.0,
    "Skyline": 69.8,
    "windowed Gaussian": 69.7,
    "earthgecko Skyline": 68.1,
    "Twitter ADVec": 67.7,
    "knncad": 65.3,
    "bayesChangePt": 23.8,
}


def bank(names: Sequence[tuple[str, str]], bucket_minutes: int = 1) -> Detector:
    """Our detector as referees call it."""
    return of_groundswell("surge", bucket_minutes)(names)


class Row(msgspec.Struct, frozen=True):
    """What a detector came to on a feed.

    at_two: false alerts per 100 series-weeks at evidence 2, of those whose scores are evidence. us: microseconds of
    processor time a series and bucket.
    """

    detector: str
    feed: str
    outages: int
    figures: list[Figures]
    at_two: float | None = None
    us: float | None = None


class Bar:
    """Progress on standard error."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)

    def say(self, line: str) -> None:
        """A result, as soon as it is there."""
        self._progress.console.print(line, highlight=False)

    @contextlib.contextmanager
    def over(self, what: str, total: int) -> Iterator[Callable[..., None]]:
        """A bar of so many steps, moved by calls of what is yielded."""
        with self._progress:
            task = self._progress.add_task(what, total=total)
            yield partial(self._progress.advance, task)
            self._progress.remove_task(task)


# ---- feeds


@cache
def referee() -> dict[str, ModuleType] | None:
    """The referee's modules, if GROUNDSWELL_REFEREE names their folder."""
    folder = os.environ.get("GROUNDSWELL_REFEREE")
    if not folder:
        return None
    sys.path.insert(0, str(Path(folder).resolve()))
    return {name: importlib.import_module(name) for name in ("simfeed", "oracle", "baselines", "real", "nab")}


def made(seed: int, services: int, regions: int, warmup_days: int) -> Case:
    """A feed of bench.feeds, its last week judged, with as many outages a series as the referee's."""
    weeks = 1 + math.ceil(warmup_days / 7)
    feed = feeds.make(
        seed,
        weeks=weeks,
        services=services,
        regions=regions,
        outages=0.6 * services * regions,
        wide_outages=max(2, services // 4),
        bursts=services * regions / 3,
        silences=0,
    )
    assert feed.truth is not None
    begin = (weeks - 1) * feeds.WEEK - warmup_days * feeds.DAY
    outages = [
        feeds.Outage(each.series, each.start - begin, each.end - begin)
        for each in feed.truth.outages
        if each.end > begin
    ]
    return Case(
        names=feed.names,
        counts=feed.counts[begin:],
        rate=feed.truth.rate[begin:],
        size=feed.truth.size,
        outages=outages,
        eval_from=warmup_days * feeds.DAY,
        start=begin % feeds.WEEK,
    )


def run(factory: Factory, case: Case, told: Callable[..., None]) -> tuple[NDArray[np.float32], float]:
    """Scores of the judged rows, and microseconds a series and row."""
    rows, series = case.counts.shape
    watcher = factory(case.names)
    scores = np.empty((rows - case.eval_from, series), dtype=np.float32)
    used = 0.0
    for begin in range(0, rows, STEP):
        since = time.process_time()
        for row in range(begin, min(rows, begin + STEP)):
            told_scores = watcher.update(case.start + row * case.bucket, case.counts[row])
            if row >= case.eval_from:
                scores[row - case.eval_from] = told_scores
        used += time.process_time() - since
        told()
    return scores, used / (rows * series) * 1e6


def judged(name: str, feed: str, factory: Factory, case: Case, bar: Bar, budgets: Sequence[float] = BUDGETS) -> Row:
    with bar.over(f"{feed}: {name}", math.ceil(len(case.counts) / STEP)) as told:
        scores, us = run(factory, case, told)
    row = row_of(name, feed, scores, case, budgets, us, told_evidence=isinstance(factory(case.names[:1]), Detector))
    pods = " ".join(f"{each.pod:.3f}" for each in row.figures)
    bar.say(f"{feed}: {name}: POD {pods}, blind {row.figures[1].blind:.1f}, false {_cell(row.at_two, 2)}, {us:.2f} us")
    return row


def row_of(
    name: str,
    feed: str,
    scores: NDArray[Any],
    case: Case,
    budgets: Sequence[float],
    us: float | None = None,
    *,
    told_evidence: bool = False,
) -> Row:
    figures = judging.judge(scores, case, budgets)
    outages = sum(each.start >= case.eval_from for each in case.outages)
    at_two = judging.false_alerts(scores, case, 2.0) if told_evidence else None
    return Row(name, feed, outages, figures, at_two, us)


class Court:
    """Where feeds, the oracle and the baselines come from, and what is judged on them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.modules = referee()
        self.bar = Bar()
        self.seeds: list[int] = arguments.seed
        self.shape = {name: getattr(arguments, name) for name in ("services", "regions", "warmup_days")}
        self.whose = "the referee's feeds" if self.modules else "feeds of bench.feeds"

    def case(self, seed: int, shape: Mapping[str, int]) -> Case:
        self.bar.say(f"seed {seed}: makes the feed")
        return self.modules["simfeed"].make_feed(seed, **shape) if self.modules else made(seed, **shape)

    def oracle(self, case: Case) -> NDArray[np.float32]:
        return self.modules["oracle"].scores(case) if self.modules else judging.oracle(case)

    def simple(self) -> dict[str, Factory]:
        """The baselines that cost little."""
        if not self.modules:
            return {"EARS C2": rivals.EarsC2, "adaptive bands": rivals.AdaptiveBands}
        theirs = self.modules["baselines"]
        return {"EARS C2": theirs.EarsC2, "adaptive bands": theirs.AdaptiveBands}

    def river(self) -> dict[str, Factory]:
        names = ("GaussianScorer", "HalfSpaceTrees", "PredictiveAnomalyDetection")
        mine = {f"River {name}, as Groundswell runs it": of_groundswell(name) for name in names}
        if not self.modules:
            return mine
        theirs = self.modules["baselines"]
        thin = (theirs.river_gaussian, theirs.river_half_space_trees, theirs.river_predictive)
        return {f"River {name}": factory for name, factory in zip(names, thin, strict=True)} | mine

    def compare(self, seeds: Sequence[int], shape: Mapping[str, int], others: Mapping[str, Factory]) -> list[Row]:
        rows = []
        for seed in seeds:
            case, feed = self.case(seed, shape), f"seed {seed}"
            rows.append(row_of(ORACLE, feed, self.oracle(case), case, BUDGETS))
            rows += [judged(name, feed, each, case, self.bar) for name, each in ({OURS: bank} | dict(others)).items()]
        return rows

    def real_case(self, seed: int) -> Case:
        theirs = self.needed("real", "nab")
        return theirs["real"].make_feed(seed, theirs["nab"].HERE / "data" / "tweets")

    def needed(self, *names: str) -> dict[str, ModuleType]:
        """Modules that the referee alone has."""
        if self.modules is None:
            raise SystemExit("This table needs the referee: set GROUNDSWELL_REFEREE to the folder of its programs.")
        return {name: self.modules[name] for name in names}

    def real(self, seeds: Sequence[int]) -> list[Row]:
        rows = []
        theirs = self.needed("baselines")["baselines"]
        of_five = {OURS: bank, "EARS C2": theirs.EarsC2, "adaptive bands": theirs.AdaptiveBands}
        of_five["log ratio, half hour over week"] = theirs.LogRatio
        for seed in seeds:
            case = self.real_case(seed)
            for name, each in of_five.items():
                factory = partial(each, bucket_minutes=REAL_BUCKET)
                rows.append(judged(name, f"seed {seed}", factory, case, self.bar, REAL_BUDGETS))
        return rows

    def nab(self) -> float:
        """NAB's standard score of ours on the tweets, each series for itself."""
        theirs = self.needed("nab")["nab"]
        series = []
        for name, times, counts, windows in theirs.load(theirs.HERE / "data" / "tweets"):
            watcher = bank([(name, "all")], REAL_BUCKET)
            first = times[0].weekday() * 1440 + times[0].hour * 60 + times[0].minute
            minutes = [first + round((at - times[0]).total_seconds() / 60) for at in times]
            scores = [float(watcher.update(at, count[None])[0]) for at, count in zip(minutes, counts, strict=True)]
            series.append((np.array(scores), windows))
        return float(theirs.nab_score(series)[0])

    def without(self, real: bool) -> tuple[list[Row], list[Row]]:
        """Rows of all variants, on the feeds and on the real ones."""
        simulated, tweets = [], []
        for seed in self.seeds:
            case, feed = self.case(seed, self.shape), f"seed {seed}"
            simulated.append(row_of(ORACLE, feed, self.oracle(case), case, BUDGETS))
            actual = self.real_case(seed) if real else None
            for variant in ablation.VARIANTS:
                with variant.active():
                    each = of_groundswell("surge", rule=variant.rule)
                    simulated.append(judged(variant.name, feed, each, case, self.bar))
                    if actual is not None:
                        slow = of_groundswell("surge", REAL_BUCKET, variant.rule)
                        tweets.append(judged(variant.name, feed, slow, actual, self.bar, REAL_BUDGETS))
        return simulated, tweets


# ---- tables


def pooled(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The figures of each detector over its feeds, weighed by their outages; costs and rates are plain means."""
    told: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(row.detector for row in rows):
        mine = [row for row in rows if row.detector == name]
        weight = np.array([row.outages for row in mine], dtype=float)
        budgets = range(len(mine[0].figures))
        told[name] = {
            key: [_mean([getattr(row.figures[place], key) for row in mine], weight) for place in budgets]
            for key in ("pod", "delay_median", "delay_p90", "blind")
        }
        for key in ("at_two", "us"):
            values = [getattr(row, key) for row in mine if getattr(row, key) is not None]
            told[name][key] = float(np.mean(values)) if values else None
    return told


def _mean(values: Sequence[float], weight: NDArray[np.float64]) -> float:
    known = np.isfinite(values)
    return float(np.average(np.array(values)[known], weights=weight[known])) if known.any() else math.nan


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def table(title: str, rows: Sequence[Row]) -> Table:
    shown = Table("detector", "POD@1", "POD@5", "POD@20", "of the oracle @5", title=title)
    for name in ("delay, median", "p90", "blind", "false at evidence 2", "us"):
        shown.add_column(name, justify="right")
    told = pooled(rows)
    limit = told.get(ORACLE, {}).get("pod", [math.nan] * 3)[1]
    for name, each in told.items():
        cells = [_cell(value, 3) for value in (*each["pod"], each["pod"][1] / limit)]
        cells += [_cell(each[key][1], 1) for key in ("delay_median", "delay_p90", "blind")]
        shown.add_row(name, *cells, _cell(each["at_two"], 2), _cell(each["us"], 2))
    return shown


def real_table(rows: Sequence[Row]) -> Table:
    shown = Table("detector", "POD@1/week", "POD@3/week", "POD@7/week", title="real tweets, outages put in")
    shown.add_column("delay at 3", justify="right")
    shown.add_column("us", justify="right")
    for name, each in pooled(rows).items():
        shown.add_row(
            name, *[_cell(pod, 3) for pod in each["pod"]], _cell(each["delay_median"][1], 1), _cell(each["us"], 2)
        )
    return shown


def ablation_table(simulated: Sequence[Row], tweets: Sequence[Row]) -> Table:
    shown = Table("variant", "POD@1", "POD@5", "POD@20", "blind at 5", title="without each ingredient")
    heads = ("false at evidence 2", "real @1/week", "@3", "@7") if tweets else ("false at evidence 2",)
    for head in heads:
        shown.add_column(head, justify="right")
    real = pooled(tweets)
    for name, each in pooled(simulated).items():
        cells = [*[_cell(pod, 3) for pod in each["pod"]], _cell(each["blind"][1], 1), _cell(each["at_two"], 2)]
        shown.add_row(name, *cells, *([_cell(pod, 3) for pod in real[name]["pod"]] if name in real else []))
    return shown


def nab_table(ours: float) -> Table:
    shown = Table("detector", "score", title="NAB's standard score on its tweets; others: the referee's README")
    for name, score in sorted(({OURS: ours} | NAB_PUBLISHED).items(), key=lambda each: -each[1]):
        shown.add_row(name, f"{score:.1f}")
    return shown


def cost_table(told: cost.Cost) -> Table:
    shown = Table(
        "what", "measured", "at most", title=f"a bank of {told.series:,} series, one-minute buckets, one core"
    )
    limit = f"{cost.LIMIT_US:g}"
    shown.add_row("us a series and bucket, quiet", f"{told.quiet:.2f} (p90 {told.quiet_p90:.2f})", limit)
    hit = f"us ..., {cost.SURGING:.0%} surging, {cost.MISSING:.0%} missing"
    shown.add_row(hit, f"{told.surging:.2f} (p90 {told.surging_p90:.2f})", limit)
    shown.add_row("bytes a series, arrays", f"{told.array_bytes:.0f}", f"{cost.LIMIT_BYTES:g}")
    shown.add_row("bytes a series, growth of the process", f"{told.resident_bytes:.0f}", "")
    for name, size in told.largest.items():
        shown.add_row(f"  {name}", f"{size:.0f}", "")
    return shown


def calibration_table(told: Sequence[calibration.Rates]) -> Table:
    shown = Table("bucket", "series-weeks", title="episodes a series-week where nothing breaks")
    for evidence in calibration.EVIDENCE:
        shown.add_column(f"evidence {evidence:g} ({10**-evidence:g})", justify="right")
    shown.add_column("lowered by", justify="right")
    for each in told:
        cells = [f"{rate:.3f}" for rate in each.rates]
        shown.add_row(f"{each.bucket_seconds} s", f"{each.series_weeks:.0f}", *cells, f"{each.lowered:.2f}")
    return shown


# ---- the program


def main() -> None:
    parser = argparse.ArgumentParser(
        description="How good is the detection? Without an option for a table: the main ones."
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2, 3], help="of the feeds, default 1 2 3")
    parser.add_argument("--services", type=int, default=12)
    parser.add_argument("--regions", type=int, default=20)
    parser.add_argument("--warmup-days", type=int, default=21, help="history before the judged week, default 21")
    parser.add_argument("--no-river", action="store_true", help="leave out the second table, which takes minutes")
    parser.add_argument("--river", action="store_true", help="the second table alone: River's detectors, a small feed")
    parser.add_argument("--real", action="store_true", help="outages put into real tweets (needs the referee)")
    parser.add_argument("--nab", action="store_true", help="NAB's score on its tweets (needs the referee)")
    parser.add_argument("--cost", action="store_true", help="time and memory of a bank of 100,000 series")
    parser.add_argument("--buckets", type=int, default=200, help="buckets that --cost times, quiet and surging each")
    parser.add_argument("--calibration", action="store_true", help="is evidence what it says?")
    parser.add_argument("--ablation", action="store_true", help="without each ingredient")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    arguments = parser.parse_args()
    court = Court(arguments)
    found: dict[str, Any] = {"feeds": court.whose, "seeds": court.seeds, **court.shape}
    tables: list[Table] = []

    def add(name: str, shown: Table, told: Any) -> None:
        tables.append(shown)
        found[name] = told

    def river() -> None:
        rows = court.compare(court.seeds[:1], SMALL, court.river())
        title = f"{court.whose}, River's detectors: 4 x 10 series, 14 days before, seed {court.seeds[0]}"
        add("river", table(title, rows), pooled(rows))

    if arguments.real:
        rows = court.real(court.seeds)
        add("real", real_table(rows), pooled(rows))
    if arguments.nab:
        score = court.nab()
        add("nab", nab_table(score), {OURS: score})
    if arguments.cost:
        with court.bar.over("cost", cost.WARM_UP + 2 * arguments.buckets) as told:
            measured = cost.measure(arguments.buckets, told)
        add("cost", cost_table(measured), measured)
    if arguments.calibration:
        rates = []
        for seconds in calibration.BUCKETS:
            buckets = len(court.seeds) * calibration.WEEKS * feeds.WEEK * 60 // seconds
            with court.bar.over(f"buckets of {seconds} s", buckets) as told:
                rates.append(calibration.measure(seconds, court.seeds, told))
        add("calibration", calibration_table(rates), rates)
    if arguments.ablation:
        simulated, tweets = court.without(court.modules is not None)
        add("ablation", ablation_table(simulated, tweets), {"simulated": pooled(simulated), "real": pooled(tweets)})
    if arguments.river:
        river()
    if not tables:
        rows = court.compare(court.seeds, court.shape, court.simple())
        shape = f"{court.shape['services']} x {court.shape['regions']} series, {court.shape['warmup_days']} days before"
        add("main", table(f"{court.whose}, {shape}", rows), pooled(rows))
        if not arguments.no_river:
            river()
    if arguments.json:
        print(msgspec.json.encode(found).decode())
        return
    console = Console(width=None if sys.stdout.isatty() else 140)
    for shown in tables:
        console.print(shown)


if __name__ == "__main__":
    main()

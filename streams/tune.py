"""`groundswell tune`: the threshold that keeps the alert budget, found by replaying history."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec

from detectors.budget import FEW_PAGES, Choice, Verdict
from detectors.pipeline import Replay
from detectors.trial import Found, Trade, Trial, thresholds
from streams import settings_file
from streams.console import err, out, safe, table
from streams.fault import Fault
from streams.feed import play
from streams.fields import shown as value_shown
from streams.processes import detections
from streams.progress import reading, told
from streams.settings import DEFAULT_FILE, Loaded
from streams.trade_chart import chart

#: A line of the table for each threshold that gives so many times less pages than the one before.
_STEP = 0.85


class TuneError(Fault):
    """The history gives no threshold."""


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. Rates are pages a week, delays seconds, thresholds values of incidents.open_at.

    present: the threshold that is set now. written: the file that was changed, null if none was.
    """

    budget: float
    present: float
    choice: Choice
    trades: list[Trade]
    written: str | None


def run(
    loaded: Loaded, path: str | Path, *, budget: float | None, write: bool, picture: Path | None, json_output: bool
) -> int:
    """Replay the file, show the trade, and write the threshold if asked to. 0.

    budget: pages a week; None: the setting's. TuneError where the history does not tell, after what there is was shown.
    FeedError, SettingsError.
    """
    rule = loaded.settings.incidents
    wanted = rule.alert_budget if budget is None else budget
    if write:
        # Before the long work, not after it.
        settings_file.check(loaded, ["incidents.open_at", *_changes(loaded, rule.open_at, wanted)])
    if picture is not None and not picture.parent.is_dir():
        raise _no_picture(picture, "its folder is not there")
    found = _replay(loaded, path)
    choice = found.choose(wanted)
    if picture is not None:
        _draw(picture, found, choice, wanted, rule.open_at)
    reason = _no_answer(choice, wanted)
    changes = _changes(loaded, choice.threshold, wanted)
    written = str(settings_file.write(loaded, changes)) if write and reason is None and changes else None
    if json_output:
        tuned = Tuned(budget=wanted, present=rule.open_at, choice=choice, trades=found.trades, written=written)
        sys.stdout.buffer.write(msgspec.json.encode(tuned) + b"\n")
        sys.stdout.buffer.flush()
    else:
        _tell(found, choice, wanted, rule.open_at)
    if reason is not None:
        raise reason
    if not json_output:
        _tell_settings(loaded, changes, written, write=write)
    return 0


def _replay(loaded: Loaded, path: str | Path) -> Found:
    began = time.monotonic()
    start_ms = time.time_ns() // 1_000_000
    rules = loaded.settings.rules()
    trial = Trial(rules, thresholds(rules.incidents))
    with reading(path, rules, start_ms) as (feed, pieces), detections(trial.rules, path) as where:
        replay = Replay(trial.rules, where)
        for _, surges in play(pieces, replay, start_ms):
            for each in surges:
                trial.apply(each)
    err.print(told(feed.read, replay.rejected, time.monotonic() - began))
    return trial.found()


def _changes(loaded: Loaded, threshold: float, budget: float) -> dict[str, float]:
    """The settings that would be other than they are."""
    rule = loaded.settings.incidents
    changes = {"incidents.open_at": threshold} if threshold != rule.open_at else {}
    return changes | ({"incidents.alert_budget": budget} if budget != rule.alert_budget else {})


def _no_answer(choice: Choice, budget: float) -> TuneError | None:
    """Why there is no threshold to set."""
    match choice.verdict:
        case Verdict.SHORT:
            weeks = max(1.0, FEW_PAGES / budget)
            return TuneError(
                f"{_weeks(choice.weeks)} of history are too short to tell",
                f"A budget of {_pages(budget)} a week is {budget * choice.weeks:.2g} in that time; chance alone moves"
                f" so few. What comes while baselines warm up is not counted.",
                f"Give a file of {weeks:.2g} weeks or more after the warm-up.",
            )
        case Verdict.EXCEEDED:
            return TuneError(
                f"no threshold keeps {_pages(budget)} a week",
                f"Even at open_at = {choice.threshold:g} there are {choice.larger:.3g} pages a week: outages that no"
                " threshold takes for chance.",
                "Raise the budget, or incidents.error_excess and error_ratio: what is less wakes nobody.",
            )
    return None


# Telling


def _tell(found: Found, choice: Choice, budget: float, present: float) -> None:
    """The trade as a table, and what it means."""
    lowest = found.trades[0].threshold
    rows = table("", "open_at", "pages/week", "incidents/week", "lost", "late", "median", "worst")
    for column in rows.columns[1:]:
        column.justify = "right"
    for trade in _worth_showing(found, choice, present):
        chosen = choice.keeps and trade.threshold == choice.threshold
        mark = "->" if chosen else "now" if trade.threshold == present else ""
        cells = [mark, f"{trade.threshold:g}", _per_week(trade.pages, found), _per_week(trade.incidents, found)]
        if trade.threshold == lowest:
            cells += ["", "", "", ""]
        else:
            delays = [_span(each) for each in (trade.delay, trade.worst)] if trade.pages else ["", ""]
            cells += [f"{trade.lost:,}", f"{trade.late:,}", *delays]
        rows.add_row(*cells, style="bold" if chosen else "")
    out.print(
        f"{_weeks(found.weeks)} of history, budget {_pages(budget)} a week. A page is an incident that becomes an error"
        f" or critical. Lost, late: against open_at = {lowest:g}."
    )
    out.print(rows)
    if not choice.keeps:
        return
    spare = ", with room to spare" if choice.verdict is Verdict.SPARE else ""
    out.print(
        f"open_at = {choice.threshold:g} keeps the budget{spare}: {_rate(choice.per_week)} to be expected,"
        f" {choice.low:.1f} to {choice.high:.1f} likely; it was {_pages(choice.pages)} in {_weeks(choice.weeks)}."
    )
    biggest = found.trade(choice.threshold).biggest
    if biggest is not None:
        out.print(f"The biggest that would not page: {biggest.started_at[:10]}, {safe(biggest.summary)}")


def _tell_settings(loaded: Loaded, changes: dict[str, float], written: str | None, *, write: bool) -> None:
    rule = msgspec.structs.asdict(loaded.settings.incidents)
    parts = [
        f"{name} = {value:g} (was {value_shown(rule[name.rpartition('.')[2]])})" for name, value in changes.items()
    ]
    if not changes:
        out.print("That is what is set; nothing to write.")
    elif written is not None:
        out.print(f"Wrote to {safe(written)}: {', '.join(parts)}. Workers take it up when they start again.")
    elif not write:
        file = loaded.path or DEFAULT_FILE
        out.print(f"To set it, add --write; it would write to {safe(str(file))}: {', '.join(parts)}.")


def _worth_showing(found: Found, choice: Choice, present: float) -> list[Trade]:
    """The thresholds between which something changes, with the lowest, the present and the chosen one."""
    shown_rows: list[Trade] = []
    last = float("inf")
    for trade in found.trades:
        always = trade.threshold in (found.trades[0].threshold, present, choice.threshold)
        if always or trade.pages <= _STEP * last:
            shown_rows.append(trade)
            last = trade.pages if trade.pages else -1
    return shown_rows


def _per_week(number: int, found: Found) -> str:
    return f"{number / found.weeks:,.1f}" if found.weeks > 0 else "-"


def _rate(per_week: float) -> str:
    return f"{per_week:.1f} pages a week"


def _pages(number: float) -> str:
    return f"{number:g} page{'' if number == 1 else 's'}"


def _weeks(weeks: float) -> str:
    return f"{weeks:.1f} weeks" if weeks >= 1 else f"{weeks * 7:.1f} days"


def _span(seconds: float) -> str:
    """
    >>> _span(0), _span(50), _span(80), _span(5400)
    ('0', '50 s', '1 min', '90 min')
    """
    return f"{round(seconds / 60)} min" if seconds >= 60 else f"{seconds:.0f} s" if seconds else "0"


def _draw(file: Path, found: Found, choice: Choice, budget: float, present: float) -> None:
    try:
        file.write_text(chart(found, choice, budget=budget, present=present), encoding="utf-8")
    except OSError as error:
        raise _no_picture(file, error.strerror or str(error)) from None


def _no_picture(file: Path, why: str) -> TuneError:
    return TuneError(f"picture {file} cannot be written", why, "Give another path with --picture.")

"""A backtest's result on a terminal, and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.table import Table

from detectors.alert import utc, words
from detectors.comparison import Match, Side, difference
from detectors.episodes import Episode
from detectors.verification import TAIL_MS, Label, Verification
from streams.backtest_result import (
    Result,
    Run,
    changed_settings,
    clock,
    compared_sentence,
    differing,
    figure,
    found_by_one,
    found_sentence,
    pages_sentence,
    sides,
    signed,
    span,
    weeks,
)
from streams.console import out, safe, table

#: More lines of one kind nobody reads on a terminal; --json has them all.
LINES = 100

_encode = msgspec.json.Encoder().encode


def print_result(result: Result) -> None:
    """The tables, on stdout."""
    if result.verified is not None:
        _print_verified(result.a, result.verified, "" if result.b is None else "A: ")
    if result.b is not None and result.verified_b is not None:
        _print_verified(result.b, result.verified_b, "B: ")
    if result.b is not None and result.matches is not None:
        _print_compared(result, result.b, result.matches)
    if result.a.unheeded is not None:
        out.print()
        out.print(f"{'' if result.b is None else 'A: '}{pages_sentence(result.a)}", soft_wrap=True)
        if result.b is not None:
            out.print(f"B: {pages_sentence(result.b)}", soft_wrap=True)


def _print_verified(run: Run, verified: Verification, which: str) -> None:
    rows = table("label", "service", "region", "start", "end", "delay", "incident")
    outcomes: list[tuple[int, tuple[str, ...]]] = []
    for found in verified.found:
        told = found.episode
        what = f"{told.id} {told.severity.value}, evidence {figure(told.evidence)}"
        outcomes.append((found.label.start, ("found", *_label(found.label), span(found.delay), what)))
    outcomes += [(label.start, ("missed", *_label(label), "", "")) for label in verified.missed]
    outcomes += [(label.start, ("outside", *_label(label), "", "")) for label in verified.outside]
    outcomes.sort(key=lambda one: one[0])
    out.print()
    _print(rows, [cells for _, cells in outcomes], "labels")
    if verified.false:
        out.print()
        _print(_episode_table("false"), [_episode("false", each) for each in verified.false], "false incidents")
    out.print()
    out.print(safe(f"{which}{found_sentence(run, verified)}"), soft_wrap=True)


def _print_compared(result: Result, b: Run, matches: Sequence[Match]) -> None:
    a = result.a
    only_a, only_b, both = sides(matches)
    out.print()
    out.print(safe(f"A is {a.name}, B is {b.name}"), soft_wrap=True)
    rows = table("setting", "A", "B")
    _print(rows, changed_settings(a.settings, b.settings), "settings")
    for which, matched in (("only in A", only_a), ("only in B", only_b)):
        if matched:
            out.print()
            told = [each for match in matched for side in (match.a, match.b) if side for each in side.episodes]
            _print(_episode_table(""), [_episode(which, each) for each in told], f"incidents {which}")
    if changed := differing(both):
        out.print()
        rows = table("", "service", "region", "detected by A", "B detects", "severity", "evidence", "open")
        _print(rows, [_both(a_side, b_side) for a_side, b_side in changed], "incidents in both")
    out.print()
    out.print(compared_sentence(matches, a, b), soft_wrap=True)
    by_a, by_b = found_by_one(result)
    for which, labels in (("A", by_a), ("B", by_b)):
        if labels:
            out.print()
            rows = table("label", "service", "region", "start", "end")
            _print(rows, [(f"found by {which} alone", *_label(label)) for label in labels], "labels")


def _print(rows: Table, cells: Sequence[Sequence[str]], what: str) -> None:
    """A bounded table; a line says how much is left out."""
    for row in cells[:LINES]:
        rows.add_row(*map(safe, row))
    if cells:
        out.print(rows)
    if len(cells) > LINES:
        out.print(f"and {len(cells) - LINES:,} {what} more: --json has them all")


def _label(label: Label) -> tuple[str, str, str, str]:
    return label.service, label.region, clock(label.start), clock(label.end)


def _episode_table(first: str) -> Table:
    return table(first, "detected", "severity", "evidence", "incident")


def _episode(what: str, each: Episode) -> tuple[str, ...]:
    return what, clock(each.detected), each.severity.value, figure(each.evidence), each.summary


def _both(a: Side, b: Side) -> tuple[str, ...]:
    first = a.episodes[0]
    return (
        "in both",
        *words(first),
        clock(a.detected),
        signed(b.detected - a.detected),
        _change(a.severity.value, b.severity.value),
        _change(figure(a.evidence), figure(b.evidence)),
        _change(span(a.open), span(b.open)),
    )


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


# For programs


def to_json(result: Result) -> bytes:
    """One JSON object: `labels` and `labels_b` where there are labels, `comparison` where two were compared.

    `pages` and `pages_b` where there are commands.
    """
    told: dict[str, Any] = {}
    for name, run in (("pages", result.a), ("pages_b", result.b)):
        if run is not None and run.unheeded is not None:
            told[name] = _pages_object(run)
    if result.verified is not None:
        told["labels"] = _verified_object(result.verified)
    if result.verified_b is not None:
        told["labels_b"] = _verified_object(result.verified_b)
    if result.matches is not None:
        only_a, only_b, both = sides(result.matches)
        told["comparison"] = {
            "only_a": [_episode_object(each) for match in only_a if match.a for each in match.a.episodes],
            "only_b": [_episode_object(each) for match in only_b if match.b for each in match.b.episodes],
            "both": [_both_object(match.a, match.b) for match in both if match.a and match.b],
        }
        by_a, by_b = found_by_one(result)
        if result.labels is not None:
            told["comparison"]["found_by_a_alone"] = [_label_object(each) for each in by_a]
            told["comparison"]["found_by_b_alone"] = [_label_object(each) for each in by_b]
    return _encode(told)


def _pages_object(run: Run) -> dict[str, Any]:
    return {
        "pages": run.pages,
        "pages_per_week": run.pages / weeks(run),
        "false_alarms": run.false_pages,
        "false_alarms_per_week": run.false_pages / weeks(run),
        "alert_budget": run.settings.incidents.alert_budget,
        "commands_unheeded": run.unheeded,
    }


def _verified_object(verified: Verification) -> dict[str, Any]:
    median = verified.median_delay
    return {
        "tail_seconds": TAIL_MS // 1000,
        "median_delay_seconds": None if median is None else median / 1000,
        "found": [
            {**_label_object(each.label), "delay_seconds": each.delay / 1000, "incident": each.episode.id}
            for each in verified.found
        ],
        "missed": [_label_object(each) for each in verified.missed],
        "outside": [_label_object(each) for each in verified.outside],
        "false": [_episode_object(each) for each in verified.false],
        "explained": verified.explained,
    }


def _label_object(label: Label) -> dict[str, Any]:
    return {"service": label.service, "region": label.region, "start": utc(label.start), "end": utc(label.end)}


def _episode_object(each: Episode) -> dict[str, Any]:
    return {
        "id": each.id,
        "episode": each.number,
        "kind": each.kind.value,
        "sources": each.sources,
        "service": each.service,
        "region": each.region,
        "parent": each.parent,
        "paged": each.paged,
        "severity": each.severity.value,
        "started_at": utc(each.started),
        "detected_at": utc(each.detected),
        "resolved_at": utc(each.until) if each.resolved else None,
        "evidence": each.evidence,
        "summary": each.summary,
    }


def _both_object(a: Side, b: Side) -> dict[str, Any]:
    change = difference(a, b)
    return {
        "a": [_episode_object(each) for each in a.episodes],
        "b": [_episode_object(each) for each in b.episodes],
        "detected_seconds": change.detected / 1000,
        "open_seconds": change.open / 1000,
        "evidence": change.evidence,
        "severity": change.severity,
    }

"""A backtest as one HTML file, without script, with nothing to load: what was run, when alerts came, and pictures.

The same result gives the same bytes. All texts from outside are escaped; what is drawn and listed is bounded, and a
line says how much is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from markupsafe import Markup

from detectors.alert import words
from detectors.comparison import Side
from detectors.episodes import Episode, Place
from detectors.verification import TAIL_MS, Label, Verification, is_judged
from streams import backtest_calendar, backtest_pictures
from streams.backtest_pictures import Picture
from streams.backtest_result import (
    Result,
    Run,
    about,
    changed_settings,
    clock,
    compared_sentence,
    differing,
    figure,
    found_by_one,
    found_sentence,
    number,
    share,
    sides,
    signed,
    span,
    told_settings,
    weeks,
)
from streams.console import shortened
from streams.fault import Fault
from streams.html import templates

#: Incidents of one kind that are drawn: those with the most evidence.
PICTURES = 40
#: Further incidents that only the other settings open, and known outages that were missed.
MORE_PICTURES = 20
#: Rows of a table.
ROWS = 500
NAME_SHOWN = 120
SUMMARY_SHOWN = 300

_TEMPLATES = templates(Path(__file__).parent / "templates")


class Fact(msgspec.Struct, frozen=True):
    """A figure of the head. tone: a class of colour, '' for none."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


class Row(msgspec.Struct, frozen=True):
    """A row of a table. link: anchor of its picture, '' for none. tone: class of its first cell, which is a word."""

    word: str
    tone: str
    link: str
    cells: list[str]


class Table(msgspec.Struct, frozen=True):
    """A table. numbers: columns that hold numbers. left_out: a sentence, '' where all rows are there."""

    title: str
    columns: list[str]
    numbers: list[int]
    rows: list[Row]
    left_out: str = ""


class Section(msgspec.Struct, frozen=True):
    """Pictures of one kind."""

    anchor: str
    title: str
    note: str
    pictures: list[Picture]


def check_writable(path: Path) -> None:
    """Fault where a page cannot be written there, as far as that can be known before the work is done."""
    if path.is_dir():
        raise Fault(f"{path} is a folder", hint="Give --report the name of a file: out.html")
    if not path.parent.is_dir():
        raise Fault(f"{path.parent} is no folder", f"The page {path} is to be written there.", "Make it first.")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise Fault(f"{path} cannot be written", "Permission denied.", "Give --report a path that you may write to.")


def write(path: Path, result: Result) -> int:
    """Write the page, whole or not at all; its size in bytes. Fault where it cannot be written."""
    data = page(result).encode("utf-8", "replace")
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise Fault(f"{path} cannot be written", error.strerror or str(error)) from None
    return len(data)


def page(result: Result) -> str:
    """The page. ValueError where the run kept no excerpts."""
    if result.a.recorder is None or (result.b is not None and result.b.recorder is None):
        raise ValueError("a page needs runs with a recorder")
    a = result.a
    sections = _sections(result)
    drawn = {picture.anchor for section in sections for picture in section.pictures}
    css = (Path(__file__).parent / "templates" / "backtest.css").read_text(encoding="utf-8")
    text = _TEMPLATES.get_template("backtest.html").render(
        title=shortened(result.file, NAME_SHOWN),
        css=Markup(css),
        range=f"{clock(a.seen[0])} to {clock(a.seen[1])} UTC" if a.seen else "no row names a time",
        rows=_rows_sentence(a),
        facts=_facts(result),
        settings_name=a.name,
        settings=told_settings(a.settings),
        verdicts=_verdicts(result, drawn),
        comparison=_comparison(result, drawn),
        bars=backtest_calendar.bars(a),
        calendar=backtest_calendar.calendar(a, result.labels or ()),
        sections=sections,
        incidents=_incidents(a, result.verified, drawn),
        tail=span(TAIL_MS),
    )
    return text.strip() + "\n"


# The head


def _rows_sentence(run: Run) -> str:
    rejected = ", ".join(f"{reason} {rows:,}" for reason, rows in run.rejected.items())
    return (
        f"{run.read:,} read, {run.counted:,} counted, {run.read - run.counted:,} rejected"
        f"{f' ({rejected})' if rejected else ''}"
    )


def _facts(result: Result) -> list[Fact]:
    run = result.a
    pages = run.pages
    facts = [
        Fact("Incidents", f"{len(run.episodes):,}", f"{len(run.episodes) / weeks(run):.1f} a week"),
        Fact("Would page", f"{pages:,}", "error or critical", "critical" if pages else ""),
    ]
    if run.unheeded is not None:
        budget = run.settings.incidents.alert_budget
        told = f"{run.false_pages / weeks(run):.1f} a week, budget {budget:g}"
        facts.append(Fact("Called false", f"{run.false_pages:,}", told))
    verified = result.verified
    if verified is not None:
        known = len(verified.found) + len(verified.missed)
        delay = verified.median_delay
        facts += [
            Fact("Found", f"{len(verified.found):,} of {known:,}", share(len(verified.found), known), "calm"),
            Fact("Missed", f"{len(verified.missed):,}", "known outages", "critical" if verified.missed else ""),
            Fact("False", f"{len(verified.false):,}", f"{len(verified.false) / weeks(run):.1f} a week"),
            Fact("Delay", "–" if delay is None else about(delay), "median"),
        ]
    return facts


# Tables


def _verdicts(result: Result, drawn: set[str]) -> list[dict[str, object]]:
    """Found, missed and false, for each run that there is."""
    told: list[dict[str, object]] = []
    for run, verified, which in ((result.a, result.verified, "A: "), (result.b, result.verified_b, "B: ")):
        if run is not None and verified is not None:
            sentence = (which if result.b else "") + found_sentence(run, verified)
            links = drawn if which == "A: " else set()
            told.append({"sentence": sentence, "table": _label_table(result, verified, links)})
    return told


def _label_table(result: Result, verified: Verification, drawn: set[str]) -> Table:
    indexes = {id(label): index for index, label in enumerate(result.labels or ())}
    rows: list[tuple[int, Row]] = []
    for found in verified.found:
        told = found.episode
        cells = [
            *_label_cells(found.label),
            span(found.delay),
            f"{told.severity.value}, evidence {figure(told.evidence)}",
        ]
        rows.append((found.label.start, Row("found", "calm", _link(anchor(told), drawn), cells)))
    for word, tone, labels in (("missed", "critical", verified.missed), ("outside", "unknown", verified.outside)):
        for label in labels:
            link = _link(_label_anchor(indexes.get(id(label), -1)), drawn)
            rows.append((label.start, Row(word, tone, link, [*_label_cells(label), "", ""])))
    # Missed ones first: they are what somebody has to look at.
    rows.sort(key=lambda row: (row[1].word != "missed", row[0]))
    columns = ["Label", "Service", "Region", "Start", "End", "Delay", "Incident"]
    return _bounded("Known outages", columns, [5], [row for _, row in rows], "labels")


def _label_cells(label: Label) -> list[str]:
    names = (shortened(label.service, NAME_SHOWN), shortened(label.region, NAME_SHOWN))
    return [*names, clock(label.start), clock(label.end)]


def _comparison(result: Result, drawn: set[str]) -> dict[str, object] | None:
    if result.b is None or result.matches is None:
        return None
    a, b = result.a, result.b
    only_a, only_b, both = sides(result.matches)
    pairs = sorted(differing(both), key=lambda pair: -abs(pair[1].detected - pair[0].detected))
    of_labels = [
        Row(f"{which} alone", tone, "", _label_cells(label))
        for which, tone, labels in zip("AB", ("calm", "info"), found_by_one(result), strict=True)
        for label in labels
    ]
    tables = [
        _only("Only in A", [each for match in only_a if match.a for each in match.a.episodes], drawn),
        _only("Only in B", [each for match in only_b if match.b for each in match.b.episodes], drawn, "b-"),
        _bounded(
            "In both, not the same",
            ["Service", "Region", "Detected by A", "B detects", "Severity", "Evidence", "Open"],
            [3, 5, 6],
            [_pair(*pair, drawn) for pair in pairs],
            "incidents",
        ),
        _bounded(
            "Known outages found by one", ["Found by", "Service", "Region", "Start", "End"], [], of_labels, "labels"
        ),
    ]
    return {
        "a": a.name,
        "b": b.name,
        "sentence": compared_sentence(result.matches, a, b),
        "settings": changed_settings(a.settings, b.settings),
        "tables": [table for table in tables if table.rows],
    }


def _pair(a: Side, b: Side, drawn: set[str]) -> Row:
    first = a.episodes[0]
    service, region = words(first)
    cells = [
        shortened(region, NAME_SHOWN),
        clock(a.detected),
        signed(b.detected - a.detected),
        _change(a.severity.value, b.severity.value),
        _change(figure(a.evidence), figure(b.evidence)),
        _change(span(a.open), span(b.open)),
    ]
    return Row(shortened(service, NAME_SHOWN), "", _link(anchor(first), drawn), cells)


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _only(title: str, episodes: Sequence[Episode], drawn: set[str], prefix: str = "") -> Table:
    rows = [
        Row(
            each.severity.value,
            each.severity.value,
            _link(prefix + anchor(each), drawn),
            [clock(each.detected), shortened(each.summary, SUMMARY_SHOWN), figure(each.evidence)],
        )
        for each in episodes
    ]
    return _bounded(title, ["Severity", "Detected", "Incident", "Evidence"], [3], rows, "incidents")


def _incidents(run: Run, verified: Verification | None, drawn: set[str]) -> Table:
    """All incidents in the order of time; where they are too many, those with the most evidence."""
    false = {(each.id, each.number) for each in verified.false} if verified is not None else set()
    listed = sorted(_most_evident(run.episodes, ROWS), key=lambda each: (each.detected, each.place))
    rows = [
        Row(
            each.severity.value,
            each.severity.value,
            _link(anchor(each), drawn),
            [
                clock(each.detected)[:16],
                shortened(words(each)[0], NAME_SHOWN) + (" (again)" if each.number > 1 else ""),
                shortened(words(each)[1], NAME_SHOWN) + (" (part of a wider one)" if each.parent else ""),
                f"{each.observed:,}",
                f"{figure(each.expected)} ({figure(each.low)}–{figure(each.high)})",
                figure(each.evidence),
                span(each.detected - each.started),
                span(each.until - each.detected) + ("" if each.resolved else ", open at the end"),
                *([] if verified is None else [_judged(each, (each.id, each.number) in false)]),
            ],
        )
        for each in listed
    ]
    columns = [
        "Severity",
        "Detected",
        "Service",
        "Region",
        "Seen",
        "Expected (95 %)",
        "Evidence",
        "After onset",
        "Open for",
    ]
    left = len(run.episodes) - len(rows)
    return Table(
        f"All {number(len(run.episodes), 'incident')}" if len(run.episodes) != 1 else "The one incident",
        columns + (["Label"] if verified is not None else []),
        [4, 5, 6],
        rows,
        f"{number(left, 'incident')} with less evidence left out." if left else "",
    )


def _judged(each: Episode, false: bool) -> str:
    """What the labels say of it."""
    return "false" if false else "known" if is_judged(each) else "–"


def _bounded(title: str, columns: list[str], numbers: list[int], rows: list[Row], what: str) -> Table:
    left = len(rows) - ROWS
    return Table(title, columns, numbers, rows[:ROWS], f"{left:,} {what} more are left out." if left > 0 else "")


# Pictures


def anchor(each: Episode) -> str:
    """Where on the page its picture is."""
    return f"i-{each.id}-{each.number}"


def _label_anchor(index: int) -> str:
    return f"label-{index}"


def _link(name: str, drawn: set[str]) -> str:
    return name if name in drawn else ""


def _most_evident(episodes: Iterable[Episode], most: int) -> list[Episode]:
    """What another incident explains comes after all that none does."""
    return sorted(episodes, key=lambda each: (bool(each.parent), -each.evidence, each.detected, each.place))[:most]


def _sections(result: Result) -> list[Section]:
    sections = []
    if result.verified is not None:
        sections.append(_missed(result, result.verified))
    sections.append(_drawn(result, result.a, result.a.episodes, "", PICTURES))
    if result.matches is not None and result.b is not None:
        _, only_b, _ = sides(result.matches)
        of_b = [each for match in only_b if match.b for each in match.b.episodes]
        sections.append(_drawn(result, result.b, of_b, "b-", MORE_PICTURES))
    return [section for section in sections if section.pictures or section.note]


def _drawn(result: Result, run: Run, episodes: Sequence[Episode], prefix: str, most: int) -> Section:
    """prefix: of the anchors; '' for those of A."""
    verified = result.verified_b if prefix else result.verified
    false = {(each.id, each.number) for each in verified.false} if verified is not None else set()
    first_of_b = _detections_of_b(result) if not prefix else {}
    pictures = []
    for each in _most_evident(episodes, most):
        tags = ["young baseline"] if each.warming else []
        tags += ["came back"] if each.number > 1 else []
        tags += ["part of a wider incident"] if each.parent else []
        tags += ["false"] if (each.id, each.number) in false else []
        pictures.append(
            backtest_pictures.of_episode(
                each,
                run,
                anchor=prefix + anchor(each),
                title=shortened(each.summary, SUMMARY_SHOWN),
                tags=tags,
                labels=[label for label in result.labels or () if _concerns(label, each)],
                detected_by_b=first_of_b.get((each.id, each.number)),
            )
        )
    left = len(episodes) - len(pictures)
    title = "Incidents that only B opens" if prefix else "Incidents, the most evident first"
    note = f"{number(left, 'incident')} with less evidence not drawn." if left else ""
    return Section(prefix + "incidents", title, note, pictures)


def _concerns(label: Label, each: Episode) -> bool:
    return label.concerns(each.place) and label.start < each.until + TAIL_MS and label.end + TAIL_MS > each.started


def _detections_of_b(result: Result) -> dict[tuple[str, int], int]:
    """Of episodes of A, when B first told of the same, where that is another time."""
    return {
        (each.id, each.number): match.b.detected
        for match in result.matches or ()
        if match.a is not None and match.b is not None
        for each in match.a.episodes
        if each.detected != match.b.detected
    }


def _missed(result: Result, verified: Verification) -> Section:
    indexes = {id(label): index for index, label in enumerate(result.labels or ())}
    episodes: dict[Place, list[Episode]] = {}
    for each in result.a.episodes:
        episodes.setdefault(each.place, []).append(each)
    pictures = []
    for label in verified.missed[:MORE_PICTURES]:
        index = indexes[id(label)]
        pictures.append(
            backtest_pictures.of_label(
                label,
                result.a,
                index=index,
                anchor=_label_anchor(index),
                title=shortened(" in ".join(filter(None, (label.service, label.region))), SUMMARY_SHOWN),
            )
        )
    left = len(verified.missed) - len(pictures)
    note = f"{number(left, 'known outage')} more missed, not drawn." if left > 0 else ""
    return Section("missed", "Known outages that were missed", note, pictures)

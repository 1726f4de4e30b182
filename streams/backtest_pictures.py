"""Pictures of a backtest: counts over their expected band, evidence below, marks for what was decided when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
from markupsafe import Markup

from detectors.alert import Kind
from detectors.episodes import Episode
from detectors.excerpts import Excerpt
from detectors.verification import Label
from streams import svg
from streams.backtest_result import Run, clock, figure, span

#: Buckets side by side; more are narrower than a phone's pixels.
COLUMNS = 360
#: Sources of one place that are drawn, those with the most evidence.
PANELS = 3
#: Buckets shown before the onset and after the end.
BEFORE = 60
AFTER = 30
TICKS = 7
#: What a letter of a flag takes of the width at most, in parts of a hundred: a phone's.
_LETTER = 2.1

_UNITS = {60: "reports per minute", 3600: "reports per hour", 1: "reports per second"}


class Tick(msgspec.Struct, frozen=True):
    """A label beside a drawing. at: in parts of a hundred, from the left or the upper edge."""

    at: float
    text: str


class Flag(msgspec.Struct, frozen=True):
    """A named mark over the drawings. at: in parts of a hundred. left: its text ends there, else it begins. row: 0 …"""

    kind: str
    text: str
    at: float
    left: bool
    row: int


class Bar(msgspec.Struct, frozen=True):
    """A known outage over the drawings, from `at` on, `width` wide, both in parts of a hundred.

    left: where its text is wider than it, that goes beyond it to the left, else to the right.
    """

    text: str
    at: float
    width: float
    left: bool


class Panel(msgspec.Struct, frozen=True):
    """One source."""

    source: str
    unit: str
    counts: Markup
    count_ticks: list[Tick]
    evidence: Markup
    evidence_ticks: list[Tick]


class Picture(msgspec.Struct, frozen=True):
    """What there is to see of an incident or a known outage. rows: of flags. times: below the drawings."""

    anchor: str
    tone: str
    word: str
    title: str
    facts: list[str]
    tags: list[str]
    flags: list[Flag]
    rows: int
    bars: list[Bar]
    panels: list[Panel]
    times: list[Tick]
    note: str


def of_episode(
    each: Episode,
    run: Run,
    *,
    anchor: str,
    title: str,
    tags: list[str],
    labels: Sequence[Label],
    detected_by_b: int | None,
) -> Picture:
    """The picture of an incident. labels: known outages to mark. detected_by_b: ms, where it is compared."""
    assert run.recorder is not None
    excerpts = run.recorder.of(each)
    facts = [
        f"onset {clock(each.started)}",
        f"detected {_clock_after(each.detected, each.started)} ({span(each.detected - each.started)} later)",
        (f"resolved {_clock_after(each.until, each.started)}" if each.resolved else "open at the end")
        + f" ({span(each.until - each.detected)} open)",
        f"evidence {figure(each.evidence)}",
    ]
    if each.kind is Kind.FEED:
        facts.append(f"{figure(each.expected)} reports missed")
        note = "A silent source has nothing to draw."
        return _picture(each.severity.value, each.severity.value, anchor, title, facts, tags, note)
    facts.append(f"{each.observed:,} seen, {figure(each.expected)} expected ({figure(each.low)}–{figure(each.high)})")
    if not excerpts:
        note = "Its buckets are not kept: too many incidents at once, or too many with more evidence."
        return _picture(each.severity.value, each.severity.value, anchor, title, facts, tags, note)
    shown = excerpts[:PANELS]
    bucket_ms = shown[0].bucket_ms
    # A long one has as much again before it that the onset stands out, and its flag has room.
    before = max(BEFORE * bucket_ms, (each.until - each.started) * 2 // 5)
    begin = max(each.started - before, min(part.begin for part in shown))
    end = min(each.until + AFTER * bucket_ms, max(part.end for part in shown))
    marks = [
        ("onset", each.started, f"onset {_hm(each.started)}"),
        ("detected", each.detected, f"detected {_hm(each.detected)}"),
    ]
    if detected_by_b is not None:
        marks.append(("by-b", detected_by_b, f"B detects {_hm(detected_by_b)}"))
    if each.resolved:
        marks.append(("resolved", each.until, f"resolved {_hm(each.until)}"))
    note = _left_out(len(excerpts) - len(shown))
    if each.until > end and each.resolved:
        note = f"It goes on after what is shown, until {clock(each.until)}. {note}".strip()
    return _picture(
        each.severity.value, each.severity.value, anchor, title, facts, tags, note,
        scale=svg.Scale(begin, end), excerpts=shown, marks=marks, labels=labels, run=run,
    )  # fmt: skip


def of_label(label: Label, run: Run, *, index: int, anchor: str, title: str) -> Picture:
    """The picture of a known outage that no incident was open in. index: its place in the labels."""
    assert run.recorder is not None
    excerpts = run.recorder.of_label(index)
    opens = run.settings.incidents.open_at
    facts = [f"{clock(label.start)} to {_clock_after(label.end, label.start)} ({span(label.end - label.start)})"]
    if not excerpts:
        note = "No report of this place came in time, or it is beyond what pictures are kept for."
        return _picture("critical", "missed", anchor, title, facts, [], note)
    peak = max(each.peak(label.start, label.end) for each in excerpts)
    if np.isfinite(peak):
        reached = f"evidence came to {figure(peak)}" if peak > 0 else "no evidence of a surge"
        facts.append(f"{reached}; an incident opens at {opens:g}")
    shown = excerpts[:PANELS]
    scale = svg.Scale(min(each.begin for each in shown), max(each.end for each in shown))
    return _picture(
        "critical", "missed", anchor, title, facts, [], "",
        scale=scale, excerpts=shown, marks=[], labels=[label], run=run,
    )  # fmt: skip


def _picture(
    tone: str,
    word: str,
    anchor: str,
    title: str,
    facts: list[str],
    tags: list[str],
    note: str,
    *,
    scale: svg.Scale | None = None,
    excerpts: Sequence[Excerpt] = (),
    marks: Sequence[tuple[str, int, str]] = (),
    labels: Sequence[Label] = (),
    run: Run | None = None,
) -> Picture:
    flags: list[Flag] = []
    panels: list[Panel] = []
    times: list[Tick] = []
    bars: list[Bar] = []
    if scale is not None and run is not None:
        marks = [mark for mark in marks if scale.holds(mark[1])]
        flags = _flags(scale, marks)
        bars = [_bar(scale, label) for label in labels if label.start < scale.end and label.end > scale.begin][:4]
        panels = [_panel(each, scale, marks, labels, run) for each in excerpts]
        times = _times(scale)
    rows = max((flag.row + 1 for flag in flags), default=0)
    return Picture(anchor, tone, word, title, facts, tags, flags, rows, bars, panels, times, note)


def _panel(
    excerpt: Excerpt,
    scale: svg.Scale,
    marks: Sequence[tuple[str, int, str]],
    labels: Sequence[Label],
    run: Run,
) -> Panel:
    part = excerpt.between(scale.begin, scale.end).coarser(COLUMNS)
    opens, closes = run.settings.incidents.open_at, run.settings.incidents.close_at
    edges = np.append(part.starts, part.starts[-1] + part.bucket_ms) if len(part.starts) else np.zeros(1, np.int64)
    # A bucket is drawn up to the edge of the picture, no further.
    xs = np.clip((edges - scale.begin) * (svg.WIDTH / (scale.end - scale.begin)), 0, svg.WIDTH).astype(np.float64)
    observed, expected, low, high, evidence = part.values.astype(np.float64)
    counts = svg.Axis(_largest(observed, high))
    peak = _largest(evidence)
    proof = svg.EvidenceAxis(peak, opens)

    def heights(axis: svg.Axis | svg.EvidenceAxis, values: svg.Floats) -> svg.Floats:
        return np.array([axis.y(v) if not np.isnan(v) else np.nan for v in values.tolist()], np.float64)

    seen, upper = heights(counts, observed), heights(counts, high)
    lines = [svg.line(kind, scale.x(ms)) for kind, ms, _ in marks]
    known = [svg.span("known", scale.x(label.start), scale.x(label.end)) for label in labels]
    most = int(np.nanmax(observed)) if len(observed) and not np.isnan(observed).all() else 0
    said = f"{_unit(part.bucket_ms)} of source {excerpt.series.source}: {most:,} at most"
    return Panel(
        source=excerpt.series.source,
        unit=_unit(part.bucket_ms),
        counts=svg.svg(
            "counts",
            [
                *known,
                *(svg.level("grid", counts.y(tick)) for tick in counts.ticks[1:]),
                svg.band("band", xs, heights(counts, low), upper),
                svg.steps("expected", xs, heights(counts, expected)),
                svg.band("excess", xs, upper, np.minimum(seen, upper)),
                svg.steps("seen", xs, seen),
                *lines,
            ],
            label=said,
        ),
        count_ticks=[Tick(counts.share(tick), f"{tick:,.0f}") for tick in counts.ticks],
        evidence=svg.svg(
            "proof",
            [
                *known,
                svg.band("proof-area", xs, np.full(len(evidence), float(svg.HEIGHT)), heights(proof, evidence)),
                svg.level("closes", proof.y(closes)),
                svg.level("opens", proof.y(opens)),
                svg.steps("proof-line", xs, heights(proof, evidence)),
                *lines,
            ],
            label=f"evidence: {figure(peak)} at most, {opens:g} opens an incident",
        ),
        evidence_ticks=_evidence_ticks(proof, peak, opens),
    )


def _evidence_ticks(axis: svg.EvidenceAxis, peak: float, opens: float) -> list[Tick]:
    ticks = [Tick(axis.share(opens), f"{opens:g}")]
    # Two labels in the same place would be none.
    if abs(axis.share(peak) - axis.share(opens)) >= 30:
        ticks.append(Tick(axis.share(peak), figure(peak)))
    return ticks


def _flags(scale: svg.Scale, marks: Sequence[tuple[str, int, str]]) -> list[Flag]:
    """Each where no other is: onset and end rather left of their lines, the others right of them; else a row below."""
    taken: list[list[tuple[float, float]]] = []
    flags = []
    for kind, ms, text in marks:
        at, width = scale.share(ms), _LETTER * len(text) + 1
        sides = {True: (at - width, at), False: (at, at + width)}
        wishes = (True, False) if kind in ("onset", "resolved") else (False, True)
        row, left = next(
            (row, left)
            for row in range(len(taken) + 1)
            for left in wishes
            if sides[left][0] >= 0
            and sides[left][1] <= 100
            and not (row < len(taken) and any(a < sides[left][1] and b > sides[left][0] for a, b in taken[row]))
        )
        if row == len(taken):
            taken.append([])
        taken[row].append(sides[left])
        flags.append(Flag(kind, text, at, left, row))
    return flags


def _bar(scale: svg.Scale, label: Label) -> Bar:
    at, end = scale.share(label.start), scale.share(label.end)
    return Bar(f"known {_hm(label.start)}–{_hm(label.end)}", at, round(max(end - at, 0.5), 2), at > 60)


def _times(scale: svg.Scale) -> list[Tick]:
    """Hours and minutes, the date at midnight."""
    return [Tick(scale.share(ms), _hm(ms) if ms % 86_400_000 else _date(ms)) for ms in scale.ticks(TICKS)]


def _left_out(sources: int) -> str:
    return "" if sources <= 0 else f"{sources} more sources with less evidence not drawn."


def _largest(*values: svg.Floats) -> float:
    known = [v[~np.isnan(v)] for v in values]
    return max((float(v.max()) for v in known if len(v)), default=0.0)


def _unit(bucket_ms: int) -> str:
    seconds = bucket_ms // 1000
    return _UNITS.get(seconds) or f"reports per {span(bucket_ms)}"


def _clock_after(ms: int, before: int) -> str:
    """A time, without its date where that is the day of `before`."""
    text, earlier = clock(ms), clock(before)
    return text[11:] if text[:10] == earlier[:10] else text


def _hm(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%H:%M")


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%d %b").lstrip("0")

"""Why, on a terminal: what happened, in sentences, then the buckets as a table, then what was around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.text import Text

from detectors.alert import Alert, State, millis, place, title, utc
from detectors.docket import Entry
from detectors.rollup import is_rollup
from detectors.verdict import within
from detectors.why import Facts, Finding, place_text
from detectors.witness import Seen, Track
from streams.backtest_result import clock, figure, number
from streams.console import out, safe, table

#: Width of the largest bar, characters.
BAR = 20
#: So many buckets that show nothing become one line.
SEVERAL = 3
#: Sources with a table each; --json has them all.
SOURCES = 5

_STYLES = {True: "bold", False: ""}


class Wider(Protocol):
    """A roll-up around the place."""

    @property
    def service(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def evidence(self) -> float: ...
    @property
    def at(self) -> str: ...


def print_answer(
    facts: Facts, findings: Sequence[Finding], said: Sequence[Alert], around: Sequence[Wider], where: str, *, cold: bool
) -> None:
    """All of it, on stdout."""
    asked = facts.question
    head = f"{place_text(asked.place)} at {clock(asked.at)} UTC"
    out.print(Text.assemble((safe(head), "bold"), (safe(f"  ({where}; all times UTC)"), "dim")), soft_wrap=True)
    for finding in findings:
        out.print(Text(safe(f"- {finding.text}")), soft_wrap=not out.is_terminal)
    tracks = sorted(
        (track for track in facts.tracks if track.buckets), key=lambda track: (track.bucket_ms, track.series)
    )
    spoken = _spoken(facts, said)
    for index, track in enumerate(tracks[:SOURCES]):
        _print_track(facts, track, spoken if index == 0 else [])
    if len(tracks) > SOURCES:
        out.print(f"and {number(len(tracks) - SOURCES, 'source')} more: --json has them all")
    if around:
        out.print()
        rows = table("around it", "evidence at most", "in the bucket of")
        for each in around:
            loud = each.evidence >= facts.rule.open_at
            name = place_text((each.service, each.region))
            rows.add_row(safe(name), figure(each.evidence), _time(millis(each.at), facts), style=_STYLES[loud])
        out.print(rows)
    if cold:
        out.print()
        text = "From what the topic still has: this began cold with its oldest report. The workers may know more, and"
        out.print(
            Text(f"{text} what they alerted on is on the topic alerts.", style="dim"), soft_wrap=not out.is_terminal
        )


# Buckets


def _print_track(facts: Facts, track: Track, spoken: list[tuple[int, str]]) -> None:
    out.print()
    columns = [f"by {safe(track.series.source)}", "reports", "expected", "evidence", "", "told"]
    rows = table(*columns)
    for column in rows.columns[1:4]:
        column.justify = "right"
    most = max(max(bucket.observed, bucket.high) for bucket in track.buckets)
    texts = _by_bucket(track, spoken)
    for group in _groups(facts, track, texts):
        if len(group) > 1:
            rows.add_row(*_several(facts, track, group), style="dim")
            continue
        bucket = group[0]
        at = bucket.start <= facts.question.at < bucket.start + track.bucket_ms
        rows.add_row(*_one(facts, bucket, most, texts.get(bucket.start, ""), at=at), style=_STYLES[at])
    out.print(rows)


def _groups(facts: Facts, track: Track, texts: dict[int, str]) -> list[list[Seen]]:
    """The buckets, those put together that show nothing."""
    groups: list[list[Seen]] = []
    quiet: list[Seen] = []

    def end_quiet() -> None:
        groups.extend([quiet] if len(quiet) >= SEVERAL else [[each] for each in quiet])

    for bucket in track.buckets:
        at = bucket.start <= facts.question.at < bucket.start + track.bucket_ms
        peak = bucket == track.peak and bucket.evidence > 0
        shows = peak or bucket.observed > bucket.high or bucket.evidence >= facts.rule.open_at
        # A long silence is one line, too.
        alike = bool(quiet) and (quiet[-1].observed < 0) is (bucket.observed < 0)
        if at or bucket.start in texts or shows:
            end_quiet()
            quiet = []
            groups.append([bucket])
            continue
        if quiet and not alike:
            end_quiet()
            quiet = []
        quiet = [*quiet, bucket]
    end_quiet()
    return groups


def _one(facts: Facts, bucket: Seen, most: float, text: str, *, at: bool) -> tuple[str, ...]:
    missing = bucket.observed < 0
    return (
        _time(bucket.start, facts) + (" <" if at else ""),
        "missing" if missing else f"{bucket.observed:,}",
        f"{_expected(bucket.expected)} ({bucket.low:,.0f} to {bucket.high:,.0f})",
        figure(bucket.evidence),
        _bar(bucket.observed, most),
        safe(text),
    )


def _several(facts: Facts, track: Track, group: list[Seen]) -> tuple[str, ...]:
    missing = group[0].observed < 0
    return (
        f"{_time(group[0].start, facts)} to {_time(group[-1].start + track.bucket_ms, facts)}",
        "missing" if missing else f"{sum(bucket.observed for bucket in group):,}",
        _expected(sum(bucket.expected for bucket in group)),
        f"{figure(max(bucket.evidence for bucket in group))} at most",
        "",
        "",
    )


def _expected(count: float) -> str:
    return f"{count:.2g}" if count < 9.95 else f"{count:,.0f}"


def _bar(observed: int, most: float) -> str:
    if observed <= 0 or most <= 0:
        return ""
    return "█" * round(BAR * observed / most) or "▏"


def _time(ms: int, facts: Facts) -> str:
    text = clock(ms)
    return text[11:] if text[:10] == utc(facts.question.at)[:10] else text


# What was told


def _spoken(facts: Facts, said: Sequence[Alert]) -> list[tuple[int, str]]:
    """What there was to say of the incidents that matter, with its time; repeated figures are left out."""
    entries = {(entry.id, entry.last.episode): entry for entry in facts.entries}
    before: dict[str, Alert] = {}
    found = []
    for alert in said:
        entry = entries.get((alert.id, alert.episode))
        last = before.get(alert.id)
        before[alert.id] = alert
        if entry is None or not _matters(facts, entry, alert):
            continue
        news = _news(alert, last, entry)
        if news:
            whose = "" if place(alert) == facts.question.place else f"{title(alert)}: "
            found.append((millis(alert.updated_at), f"{alert.updated_at[11:19]} {whose}{', '.join(news)}"))
    return found


def _matters(facts: Facts, entry: Entry, alert: Alert) -> bool:
    asked = facts.question.place
    if alert.kind == "feed":
        return any(track.series.source in alert.sources for track in facts.tracks)
    if entry.is_of(asked) or entry.is_wider(asked):
        return True
    # What is within a roll-up and explained is a crowd.
    return is_rollup(*asked) and alert.parent is None and within(place(alert), asked)


def _news(alert: Alert, last: Alert | None, entry: Entry) -> list[str]:
    news: list[str] = []
    if alert.state is State.RESOLVED:
        return ["resolved"]
    first = entry.first.sequence == alert.sequence
    if first:
        news.append("opens again" if alert.episode > 1 else "opens")
    paged = entry.paged is not None and entry.paged.sequence == alert.sequence
    if first or paged or (last is not None and last.severity is not alert.severity):
        news.append(alert.severity.value)
    if last is not None and not first and place(last) != place(alert):
        news.append(f"was {title(last)}")
    if alert.parent is not None and (first or (last is not None and last.parent is None)):
        news.append("explained by a wider one")
    if last is not None and last.parent is not None and alert.parent is None:
        news.append("by itself now")
    if paged:
        news.append("PAGE")
    return news


def _by_bucket(track: Track, spoken: list[tuple[int, str]]) -> dict[int, str]:
    """What was told while each bucket was open; what came after the last one stands there."""
    starts = [bucket.start for bucket in track.buckets]
    texts: dict[int, list[str]] = {}
    for at, text in spoken:
        start = max((each for each in starts if each <= at), default=starts[0])
        texts.setdefault(start, []).append(text)
    return {start: "; ".join(each) for start, each in texts.items()}

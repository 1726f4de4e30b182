"""What came of a backtest, for those who show it, and the words that terminal and page share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from detectors.comparison import Match, Side, difference
from detectors.episodes import Episode
from detectors.excerpts import Recorder
from detectors.verification import Label, Verification
from streams.fields import Field, shown
from streams.settings import FIELDS, Settings

#: What decides on alerts; the rest says where Kafka is and how to look at it.
_DECIDING = (
    "topics.partitions",
    "topics.reports_partitions",
    "reports.",
    "source.",
    "series.",
    "surge.",
    "incidents.",
    "ours.",
    "catalogue.",
)
#: Told in any case: without them nobody can tell what an incident was.
_ALWAYS = (
    "incidents.open_at",
    "incidents.close_at",
    "source.default.bucket_seconds",
    "source.default.lateness_seconds",
)


class Run(msgspec.Struct, frozen=True, eq=False):
    """A file under some settings. name: where these come from, for people.

    read: rows; rejected: those not counted, by reason. seen: first and last event time of the rows, ms; None where no
    row names one. records: alerts. recorder: the excerpts, where a page is to be made. unheeded: commands that came to
    nothing; None where none were given.
    """

    name: str
    settings: Settings
    read: int
    rejected: dict[str, int]
    seen: tuple[int, int] | None
    records: int
    episodes: list[Episode]
    recorder: Recorder | None
    unheeded: int | None = None

    @property
    def pages(self) -> int:
        """Episodes that paged."""
        return sum(each.paged for each in self.episodes)

    @property
    def false_pages(self) -> int:
        """Of these, those that people called false alarms."""
        return sum(each.paged and each.false_alarm for each in self.episodes)

    @property
    def counted(self) -> int:
        return self.read - sum(self.rejected.values())


class Result(msgspec.Struct, frozen=True, eq=False):
    """All that was asked for. verified, verified_b: where there are labels; matches, b: where two were compared."""

    file: str
    a: Run
    labels: list[Label] | None = None
    verified: Verification | None = None
    b: Run | None = None
    verified_b: Verification | None = None
    matches: list[Match] | None = None


def told_settings(settings: Settings) -> list[tuple[str, str]]:
    """Name and value of the settings that decide, those at their defaults left out but for the few that always matter.

    >>> told_settings(Settings())[-2:]
    [('incidents.open_at', '2'), ('incidents.close_at', '0.5')]
    """
    told = [
        (field.name, shown(value))
        for field, value in _deciding(settings)
        if field.name in _ALWAYS or value != field.default
    ]
    return told + _tables(settings)


def changed_settings(a: Settings, b: Settings) -> list[tuple[str, str, str]]:
    """Name and both values of the deciding settings that are not the same."""
    changed = [
        (field.name, shown(left), shown(right))
        for (field, left), (_, right) in zip(_deciding(a), _deciding(b), strict=True)
        if left != right
    ]
    left_tables, right_tables = dict(_tables(a)), dict(_tables(b))
    for name in sorted({*left_tables, *right_tables}):
        left, right = left_tables.get(name, "default"), right_tables.get(name, "default")
        if left != right:
            changed.append((name, left, right))
    return changed


def _deciding(settings: Settings) -> list[tuple[Field, Any]]:
    found = []
    for field in FIELDS.values():
        if field.name.startswith(_DECIDING):
            section, _, name = field.name.rpartition(".")
            found.append((field, getattr(getattr(settings, section.replace(".", "_")), name)))
    return found


def _tables(settings: Settings) -> list[tuple[str, str]]:
    """[source.<name>] and [[detectors]]."""
    told = [
        (f"source.{source}.{name}", shown(value))
        for source, rule in sorted(settings.sources.items())
        for name, value in msgspec.structs.asdict(rule).items()
        if value != getattr(settings.source_default, name)
    ]
    return told + [
        (f"detectors {number}", f"{choice.services}: {choice.name} {shown(choice.parameters)}".removesuffix(" {}"))
        for number, choice in enumerate(settings.detectors, 1)
    ]


def span(ms: float) -> str:
    """How long, in the two largest units that matter.

    >>> span(0), span(45_000), span(143_000), span(3_900_000), span(180_000_000)
    ('0 s', '45 s', '2 min 23 s', '1 h 5 min', '2 d 2 h')
    """
    seconds = max(0, round(ms / 1000))
    for unit, length, smaller, part in (("d", 86_400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= length:
            whole, rest = divmod(seconds, length)
            return f"{whole} {unit}" + (f" {rest // part} {smaller}" if rest >= part else "")
    return f"{seconds} s"


def about(ms: float) -> str:
    """How long, in its largest unit.

    >>> about(45_000), about(143_000), about(5_300_000)
    ('45 s', '2 min', '1.5 h')
    """
    seconds = max(0, round(ms / 1000))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 86_400 else f"{seconds / 86_400:.1f} d"


def signed(ms: float) -> str:
    """A difference of times.

    >>> signed(90_000), signed(-30_000), signed(0)
    ('+1 min 30 s', '−30 s', 'same')
    """
    return "same" if not round(ms / 1000) else f"{'+' if ms > 0 else '−'}{span(abs(ms))}"


def clock(ms: int) -> str:
    """
    >>> clock(1_666_681_343_000), clock(1_666_681_320_000)
    ('2022-10-25 07:02:23', '2022-10-25 07:02')
    """
    time = datetime.fromtimestamp(ms // 1000, UTC)
    return time.strftime("%Y-%m-%d %H:%M:%S" if time.second else "%Y-%m-%d %H:%M")


def figure(value: float) -> str:
    """A number of reports, of evidence: one digit after the point below 100, none from there on.

    >>> figure(2.345), figure(1234.5), figure(-0.04)
    ('2.3', '1,234', '0.0')
    """
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{round(value, 1) + 0.0:.1f}"


def number(count: int, noun: str) -> str:
    """
    >>> number(1, "incident"), number(1200, "incident")
    ('1 incident', '1,200 incidents')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def share(part: int, whole: int) -> str:
    """
    >>> share(8, 10), share(0, 0)
    ('80 %', '–')
    """
    return f"{100 * part / whole:.0f} %" if whole else "–"


def weeks(run: Run) -> float:
    """How many weeks the run saw, at least one: a rate of less says nothing."""
    return max(1.0, (run.seen[1] - run.seen[0]) / 604_800_000) if run.seen else 1.0


def pages_sentence(run: Run) -> str:
    """Pages, and of them false alarms, beside what is bearable."""
    span = weeks(run)
    sentence = (
        f"{number(run.pages, 'page')}, {run.pages / span:.1f} a week, {run.false_pages:,} of them called"
        f" {'a false alarm' if run.false_pages == 1 else 'false alarms'}, {run.false_pages / span:.1f} a week;"
        f" the budget is {run.settings.incidents.alert_budget:g} a week"
    )
    if run.unheeded:
        sentence += f"; {number(run.unheeded, 'command')} came to nothing: no such incident was open then"
    return sentence


def found_sentence(run: Run, verified: Verification) -> str:
    """Found, missed, delay and false in one sentence."""
    found, missed = len(verified.found), len(verified.missed)
    sentence = f"found {found:,} of {number(found + missed, 'known outage')} ({share(found, found + missed)})"
    if verified.median_delay is not None:
        longest = max(each.delay for each in verified.found)
        sentence += f", delay {span(verified.median_delay)} in the median, {span(longest)} at most"
    false = len(verified.false)
    sentence += f"; {number(false, 'false incident')}, {false / weeks(run):.1f} a week"
    if verified.outside:
        sentence += f"; {number(len(verified.outside), 'label')} outside of the file's time"
    return sentence


def compared_sentence(matches: Sequence[Match], a: Run, b: Run) -> str:
    """How many incidents each run has, and how many of them they share."""
    only_a, only_b, both = sides(matches)
    of_a = sum(len(match.a.episodes) for match in only_a if match.a)
    of_b = sum(len(match.b.episodes) for match in only_b if match.b)
    # Only then do the figures not add up by themselves.
    several = len(a.episodes) - of_a != len(both) or len(b.episodes) - of_b != len(both)
    return (
        f"A has {number(len(a.episodes), 'incident')}, B {len(b.episodes):,}: {of_a:,} only in A, "
        f"{of_b:,} only in B, {len(both):,} in both, {len(differing(both)):,} of these not the same"
        f"{' (several of one that overlap one of the other count as one)' if several else ''}"
    )


def differing(matches: Iterable[Match]) -> list[tuple[Side, Side]]:
    """Both sides of the matches that have two, where they are not the same."""
    pairs = ((match.a, match.b) for match in matches)
    return [(a, b) for a, b in pairs if a is not None and b is not None and not difference(a, b).none]


def sides(matches: Sequence[Match]) -> tuple[list[Match], list[Match], list[Match]]:
    """Those only in A, only in B, in both."""
    return (
        [each for each in matches if each.b is None],
        [each for each in matches if each.a is None],
        [each for each in matches if each.a is not None and each.b is not None],
    )


def found_by_one(result: Result) -> tuple[list[Label], list[Label]]:
    """The labels that A alone found, and those that B alone found."""
    if result.verified is None or result.verified_b is None:
        return [], []
    by_a = {id(each.label): each.label for each in result.verified.found}
    by_b = {id(each.label): each.label for each in result.verified_b.found}
    return (
        [label for key, label in by_a.items() if key not in by_b],
        [label for key, label in by_b.items() if key not in by_a],
    )

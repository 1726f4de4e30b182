"""The picture of `groundswell tune`: pages a week over the threshold, as a file of its own (SVG)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from textwrap import wrap

from markupsafe import Markup

from detectors.budget import Choice, Verdict, smoothed
from detectors.trial import Found, Trade
from streams.console import safe

_WIDTH, _HEIGHT = 960, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 40, 96, 150

# Readable on white and on black: a picture ends up in wikis of either kind.
_STYLE = """
:root{--ink:#17212b;--soft:#5c6b7a;--faint:#dfe5ea;--ground:#fff;--line:#2563a8;--budget:#b3541e;--choice:#16794c}
@media (prefers-color-scheme:dark){:root{--ink:#e8edf2;--soft:#9aa8b5;--faint:#2b3640;--ground:#12181e;--line:#6fb1f2;
--budget:#f0a35e;--choice:#54c98d}}
svg{background:var(--ground)}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
.title{font-size:20px;font-weight:600;fill:var(--ink)}.said{font-size:14px;fill:var(--ink)}
.grid{stroke:var(--faint);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.counted{fill:var(--ground);stroke:var(--line);stroke-width:1.75}
.smooth{fill:none;stroke:var(--line);stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}
.likely{fill:none;stroke:var(--choice);stroke-width:2;opacity:.75}
.budget{stroke:var(--budget);stroke-width:2;stroke-dasharray:7 5}.budget-text{fill:var(--budget);font-weight:600}
.choice{stroke:var(--choice);stroke-width:2}.choice-dot{fill:var(--choice);stroke:var(--ground);stroke-width:2.5}
.choice-text{fill:var(--choice);font-weight:600}.now{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:2 4}
.halo{paint-order:stroke;stroke:var(--ground);stroke-width:5;stroke-linejoin:round}
"""


class _Axis:
    """A logarithmic axis from `low` to `high`, drawn from coordinate `begin` to `end`."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.high = low, high
        self._begin, self._end = begin, end

    def at(self, value: float) -> float:
        share = math.log(min(max(value, self.low), self.high) / self.low) / math.log(self.high / self.low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        """1, 2, 5, 10 and so on; of a long axis only the powers of ten."""
        steps = (1, 2, 5) if self.high / self.low < 2000 else (1,)
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found = [step * 10.0**decade for decade in decades for step in steps]
        return [each for each in found if self.low * 0.999 <= each <= self.high * 1.001]


def chart(found: Found, choice: Choice, *, budget: float, present: float) -> str:
    """The trade as SVG text. Nothing of the reports is in it but the words of the biggest loss, escaped."""
    trades = _shown(found.trades, choice, present)
    weeks = max(found.weeks, 1 / 168)
    rates = [trade.pages / weeks for trade in trades]
    fitted = smoothed(
        found.marks, [each.threshold for each in found.trades], [each.pages for each in found.trades], budget * weeks
    )[: len(trades)]
    least = min([budget / 4, 1 / weeks, *(rate for rate in rates if rate > 0)])
    most = max([budget * 2, *rates])
    x = _Axis(trades[0].threshold, max(trades[-1].threshold, trades[0].threshold * 2), _LEFT, _WIDTH - _RIGHT)
    y = _Axis(least / 1.3, most * 1.3, _HEIGHT - _BOTTOM, _TOP)
    parts = [
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img">'
        ).format(_WIDTH, _HEIGHT),
        Markup("<title>{}</title><style>{}</style>").format(_title(choice, budget), Markup(_STYLE)),
        _text(_LEFT, 38, _title(choice, budget), "title"),
        _text(
            _LEFT,
            62,
            f"Pages a week over the threshold, in {found.weeks:.1f} weeks of history. Both scales are logarithmic.",
            "",
        ),
        *_grid(x, y),
        *_curve(x, y, trades, rates, [each / weeks for each in fitted]),
        *_budget(x, y, budget),
        *_marks(x, y, choice, budget, present, trades[0].threshold),
        *_words(found, choice),
        Markup("</svg>\n"),
    ]
    return str(Markup("\n").join(parts))


def _shown(trades: Sequence[Trade], choice: Choice, present: float) -> list[Trade]:
    """The thresholds up to the first without a page, and those that are marked."""
    last = next((place for place, trade in enumerate(trades) if trade.pages == 0), len(trades) - 1)
    last = max([last, *(place for place, trade in enumerate(trades) if trade.threshold in (choice.threshold, present))])
    return list(trades[: last + 1])


def _title(choice: Choice, budget: float) -> str:
    pages = f"{budget:g} page{'' if budget == 1 else 's'} a week"
    match choice.verdict:
        case Verdict.KEPT | Verdict.SPARE:
            return f"open_at = {choice.threshold:g} keeps the budget of {pages}"
        case Verdict.SHORT:
            return f"Too short a history for a budget of {pages}"
        case _:
            return f"No threshold keeps a budget of {pages}"


def _text(x: float, y: float, text: str, name: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" class="{}" text-anchor="{}">{}</text>').format(x, y, name, anchor, text)


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" class="{}"/>').format(x1, y1, x2, y2, name)


def _grid(x: _Axis, y: _Axis) -> Iterable[Markup]:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    for tick in y.ticks():
        yield _line(left, y.at(tick), right, y.at(tick), "grid")
        yield _text(left - 10, y.at(tick) + 4.5, f"{tick:g}", "", "end")
    for tick in x.ticks():
        yield _line(x.at(tick), top, x.at(tick), bottom, "grid")
        yield _text(x.at(tick), bottom + 20, f"{tick:g}", "", "middle")
    yield _line(left, bottom, right, bottom, "axis")
    yield _text(
        (left + right) / 2, bottom + 42, "open_at: evidence that opens an incident, log10 series-weeks", "", "middle"
    )
    middle = (top + bottom) / 2
    yield Markup(
        '<text transform="translate({:.1f} {:.1f}) rotate(-90)" text-anchor="middle">pages a week</text>'
    ).format(24, middle)


def _curve(
    x: _Axis, y: _Axis, trades: Sequence[Trade], rates: Sequence[float], fitted: Sequence[float]
) -> Iterable[Markup]:
    """Circles for what was counted, a line for what is to be expected."""
    line = [
        f"{x.at(trade.threshold):.1f},{y.at(rate):.1f}"
        for trade, rate in zip(trades, fitted, strict=True)
        if rate >= y.low
    ]
    yield Markup('<polyline class="smooth" points="{}"/>').format(" ".join(line))
    for trade, rate in zip(trades, rates, strict=True):
        if rate > 0:
            yield Markup(
                '<circle class="counted" cx="{:.1f}" cy="{:.1f}" r="4">'
                "<title>open_at = {:g}: {:.2f} pages a week</title></circle>"
            ).format(x.at(trade.threshold), y.at(rate), trade.threshold, rate)


def _budget(x: _Axis, y: _Axis, budget: float) -> Iterable[Markup]:
    right = _WIDTH - _RIGHT
    yield _line(_LEFT, y.at(budget), right, y.at(budget), "budget")
    yield _text(right, y.at(budget) - 9, f"budget {budget:g} a week", "budget-text halo", "end")


def _marks(x: _Axis, y: _Axis, choice: Choice, budget: float, present: float, lowest: float) -> Iterable[Markup]:
    bottom = _HEIGHT - _BOTTOM
    now, chosen = x.at(present), x.at(choice.threshold)
    if present != choice.threshold:
        yield _line(now, _TOP, now, bottom, "now")
        yield _text(now + 7, bottom - 9, f"now {present:g}", "halo")
    if not choice.keeps:
        return
    low, high = y.at(choice.low), y.at(choice.high)
    yield _line(chosen, _TOP, chosen, bottom, "choice")
    yield Markup('<path class="likely" d="M{0:.1f} {1:.1f}h12M{0:.1f} {2:.1f}h12"/>').format(chosen - 6, low, high)
    yield Markup('<circle class="choice-dot" cx="{:.1f}" cy="{:.1f}" r="7"/>').format(chosen, y.at(choice.per_week))
    near_end = chosen > _WIDTH - _RIGHT - 190
    place, anchor = (chosen - 14, "end") if near_end else (chosen + 14, "start")
    yield _text(place, _TOP + 16, f"open_at = {choice.threshold:g}", "choice-text halo", anchor)
    yield _text(
        place, _TOP + 34, f"{choice.per_week:.1f} a week, likely {choice.low:.1f} to {choice.high:.1f}", "halo", anchor
    )


def _words(found: Found, choice: Choice) -> Iterable[Markup]:
    """What it costs, below the picture."""
    lowest = found.trades[0].threshold
    trade = found.trade(choice.threshold)
    if not choice.keeps or trade.threshold == lowest:
        return
    delay = f"{trade.delay / 60:.0f} min later in the median, {trade.worst / 60:.0f} min at worst"
    lost = f"{trade.lost} of {found.trades[0].pages} pages are lost"
    yield _text(_LEFT, _HEIGHT - 66, f"Against open_at = {lowest:g}, {lost}; the others come {delay}.", "said")
    if trade.biggest is not None:
        words = f"The biggest that would not page: {trade.biggest.started_at[:10]}, {trade.biggest.summary}"
        for place, line in enumerate(wrap(safe(words), 110, max_lines=2, placeholder=" …")):
            yield _text(_LEFT, _HEIGHT - 42 + 20 * place, line, "")

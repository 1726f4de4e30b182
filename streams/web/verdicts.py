"""Verdicts in words: whose fault an incident looks like, how sure that is, and who looks after it."""

from __future__ import annotations

import msgspec

from detectors.alert import Alert, Kind, Verdict
from streams.console import shortened
from streams.web.texts import Texts
from streams.web.wording import NAME_SHOWN, Moment, chance, moment, what_and_where

NAMES_SHOWN = 10
#: Evidence, log10 of a factor, from which on a figure says no more.
_FAR = 6.0


class Tag(msgspec.Struct, frozen=True):
    """A short remark beside an incident's name."""

    kind: str
    text: str


def sentence(alert: Alert, texts: Texts) -> str:
    """Whose fault it looks like."""
    what, where = what_and_where(alert, texts)
    if alert.kind is Kind.SERIES and alert.region == "":
        return texts("verdict.unplaced", what=what)
    return texts(f"verdict.{alert.kind.value}", what=what, where=where)


def sureness(alert: Alert, texts: Texts) -> list[str]:
    """What speaks for that, the strongest first."""
    said = []
    verdict = alert.verdict
    if verdict is not None:
        if verdict.looked_at > 1:
            said.append(texts("sure.taking_part", n=verdict.taking_part, all=verdict.looked_at))
        if alert.kind is not Kind.SERIES:
            said.append(texts("sure.explained", share=texts.percent(verdict.explained)))
        if verdict.likelier > 0:
            said.append(_likelier(verdict, texts))
    said.append(texts("by_chance_so", chance=chance(alert.evidence, texts)))
    if alert.warming:
        said.append(texts("young_long"))
    return said


def not_taking_part(alert: Alert) -> list[str]:
    """Names of what is within it and does not show it."""
    verdict = alert.verdict
    return [] if verdict is None else [shortened(name, NAME_SHOWN) for name in verdict.not_taking_part[:NAMES_SHOWN]]


def tags(alert: Alert, texts: Texts, clock: Moment | None) -> list[Tag]:
    """Who looks after it, and why it may call nobody."""
    said = []
    if alert.acknowledged is not None:
        who = shortened(alert.acknowledged.by, NAME_SHOWN)
        said.append(Tag("acknowledged", f"{texts('acknowledged_by')} {who}"))
    if alert.muted is not None:
        who = shortened(alert.muted.by, NAME_SHOWN)
        said.append(Tag("muted", f"{texts('muted_by')} {who}, {until(alert.muted.until, texts, clock)}"))
    if alert.maintenance is not None:
        said.append(Tag("planned", f"{texts('planned')} {shortened(alert.maintenance, NAME_SHOWN)}"))
    if alert.warming:
        said.append(Tag("young", texts("young")))
    return said


def until(time: str | None, texts: Texts, clock: Moment | None) -> str:
    """How long a mute lasts."""
    return texts("muted_until", time=moment(time, clock, texts).text) if time else texts("muted_open")


def _likelier(verdict: Verdict, texts: Texts) -> str:
    instead = ", ".join(shortened(name, NAME_SHOWN) for name in verdict.instead[:3]) or texts("sure.chance")
    far = verdict.likelier >= _FAR
    factor = texts("sure.far") if far else texts("sure.factor", n=texts.number(10**verdict.likelier))
    return texts("sure.likelier", factor=factor, instead=instead)

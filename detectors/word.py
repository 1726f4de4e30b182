"""Word: what people say of an incident, and what follows for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from msgspec.structs import replace

from detectors.alert import FEED, Acknowledged, Muted, Resolution, millis, utc
from detectors.cells import Cell, Feed
from detectors.command import Action, Command
from detectors.incident import Incident
from detectors.verdict import Scope, within

#: Commands that are remembered, so that a repeat of one changes nothing: far more than are said in the second or two
#: that a worker reads again after a crash.
REMEMBERED = 1_000
#: How fast a surge is, is looked at over so long, ms.
PACE_MS = 300_000
#: Reports a minute beyond the usual that are as good as none where something has to double.
LEAST_PACE = 2.0
#: Parts of an incident that are remembered as surging when it was ended.
MOST_QUELLED = 500

#: What ends an incident, and how.
ENDS = {Action.RESOLVE: Resolution.BY_HAND, Action.FALSE_ALARM: Resolution.FALSE_ALARM}


def heed(incident: Incident, command: Command, at: int) -> Incident:
    """An open incident after a command at event time `at` (ms). What puts an end to it is left to the judge: `ENDS`.

    A mute that is over before it begins is none.
    """
    match command.action:
        case Action.ACK:
            said = Acknowledged(by=command.by, reason=command.reason, at=utc(command.at_ms))
            return replace(incident, acknowledged=said)
        case Action.MUTE:
            until = command.until_ms
            if command.for_seconds is not None:
                until = at + round(command.for_seconds * 1000)
            muted = Muted(
                by=command.by, reason=command.reason, since=utc(at), until=None if until is None else utc(until)
            )
            return replace(incident, muted=None if lapsed(muted, at) else muted)
        case Action.UNMUTE:
            return replace(incident, muted=None)
    raise ValueError(f"{command.action} does more to an incident than to change what is known of it")


def lapsed(muted: Muted | None, at: int) -> bool:
    """Whether a mute is over at event time `at` (ms)."""
    return muted is not None and muted.until is not None and millis(muted.until) <= at


def family(incident: Incident, others: Iterable[Incident]) -> list[Incident]:
    """An incident, and the open ones of the others that it explains, also by way of each other; in order of scope."""
    waiting = sorted((each for each in others if each.resolved is None and each.parent), key=lambda each: each.scope)
    found, ids = [incident], {incident.id}
    while more := [each for each in waiting if each.parent in ids and each.id not in ids]:
        found += more
        ids.update(each.id for each in more)
    return found


def pace(cell: Cell | None) -> float:
    """Reports a minute beyond the usual that all sources of a place brought in the last five minutes."""
    return sum(_pace(feed, len(feed.buckets)) for feed in cell.feeds) if cell is not None else 0.0


def peak(cell: Cell | None) -> float:
    """The highest that the pace was lately, of each source: of a small outage it scatters too much to be doubled."""
    if cell is None:
        return 0.0
    return sum(max((_pace(feed, end) for end in range(1, len(feed.buckets) + 1)), default=0.0) for feed in cell.feeds)


def _pace(feed: Feed, end: int) -> float:
    """The pace of a source at the end of so many of its buckets."""
    if not feed.bucket_ms:
        return 0.0
    last = feed.buckets[max(0, end - max(1, PACE_MS // feed.bucket_ms)) : end]
    seen = [bucket.observed - bucket.expected for bucket in last if bucket.observed >= 0]
    return sum(seen) / len(seen) * 60_000 / feed.bucket_ms if seen else 0.0


def quelled(scope: Scope, hot: Collection[Scope], cells: Mapping[Scope, Cell]) -> dict[Scope, float]:
    """What opens nothing for now, after the incident of a scope was ended by people: it, and what surges within it.

    Each with the peak that it has to double. Of what is within it MOST_QUELLED; the incident explains the rest.
    """
    parts = {each: peak(cells.get(each)) for each in hot if within(each, scope) and each != scope}
    most = sorted(parts, key=lambda each: (-parts[each], each))[:MOST_QUELLED]
    return {scope: peak(cells.get(scope))} | {each: parts[each] for each in most}


def still_quelled(
    peaks: Mapping[Scope, float], causes: Collection[Scope], hot: Collection[Scope], cells: Mapping[Scope, Cell]
) -> dict[Scope, float]:
    """What still opens nothing: what has surged on ever since, and neither doubled nor lies within what did.

    causes: what was an incident. That also does while parts of it surge on. A silent feed does until it is back, which
    the judge hears of.
    """
    on = {scope for scope in peaks if scope in hot}
    on |= {scope for scope in causes if scope in peaks and any(within(each, scope) for each in on)}
    grown = [scope for scope in on if pace(cells.get(scope)) >= 2 * max(peaks[scope], LEAST_PACE)]
    return {
        scope: before
        for scope, before in peaks.items()
        if scope[0] == FEED or (scope in on and not any(within(scope, each) for each in grown))
    }

"""Why a place alarmed at a time, or did not: what was seen and said there, as findings that people understand.

Each reason is a function of the facts that gives findings or none; `explain` asks them in the order in which an
engineer would. Reasons for which an incident called nobody are in _HUSHES: one more is one function more.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches

import msgspec

from detectors.alert import PAGING, Alert, Kind, Severity, millis, utc
from detectors.docket import Entry
from detectors.episodes import Place
from detectors.incident import IncidentRule, weigh
from detectors.rollup import ALL, holds, is_rollup
from detectors.verdict import within
from detectors.witness import NEVER_ENOUGH, NOT_ASKED, Question, Seen, Track

#: Names like a wrong one that are worth telling.
NEAR = 5
#: Who asks about 09:10 asks about that minute.
_MINUTE_MS = 60_000


class Reason(enum.StrEnum):
    """What a finding says."""

    #: No report ever named the place.
    UNKNOWN = "unknown"
    #: It is beyond series.limit, and counted with others.
    OVERFLOW = "overflow"
    #: Its first report came later.
    NOT_YET = "not_yet"
    #: Nothing is known of that time.
    GAP = "gap"
    #: It is not decided on yet.
    NOT_DECIDED = "not_decided"
    #: A source said nothing; its buckets are missing.
    SILENT = "silent"
    #: No report in all that time.
    QUIET = "quiet"
    #: Evidence stayed below the threshold.
    BELOW = "below"
    #: It reached the threshold, and no cause was found.
    NO_CAUSE = "no_cause"
    #: ... so soon after an incident that it is what was left of that.
    REMAINS = "remains"
    #: An incident of the place itself.
    INCIDENT = "incident"
    #: ... that was open before.
    STILL_OPEN = "still_open"
    #: ... that came back.
    REOPENED = "reopened"
    PAGED = "paged"
    #: It did not page: another incident explains it.
    EXPLAINED = "explained"
    #: It did not page: it was planned, people wanted no page, somebody looks after it, or it is a minor service.
    PLANNED = "planned"
    MUTED = "muted"
    ACKNOWLEDGED = "acknowledged"
    MINOR = "minor"
    #: It did not page: it was not bad enough.
    MILD = "mild"
    #: There is none of the place itself, but one that holds it, is within it, or shares series with it.
    WIDER = "wider"
    NARROWER = "narrower"
    CROSSING = "crossing"
    #: The baseline is young.
    WARMING = "warming"


class Finding(msgspec.Struct, frozen=True):
    """One thing that is to be said, in whole sentences."""

    reason: Reason
    text: str


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known.

    tracks: of the asked place, a source each; entries: of `Docket`. names: the places that reports named.
    named: when a report first named the place, ms, None: never; overflowed: since when there are series beyond the
    cap, ms, None: never. Both matter where there are no tracks.
    decided: event time up to which everything is decided, ms.
    """

    question: Question
    rule: IncidentRule
    warming_hours: float
    series_limit: int
    tracks: list[Track]
    entries: list[Entry]
    names: list[Place]
    named: int | None
    overflowed: int | None
    decided: int


def explain(facts: Facts) -> list[Finding]:
    """What happened at the place, the most important first. Never empty."""
    return list(_nothing_counted(facts) or _counted(facts))


def near(names: Sequence[Place], asked: Place) -> list[Place]:
    """Places that may have been meant, the likeliest first, at most NEAR.

    >>> near([("whatsapp", "it/lazio"), ("whatsapp", "it/lombardia"), ("tim", "it/lazio")], ("whatsap", "it/lazio"))
    [('whatsapp', 'it/lazio')]
    >>> near([("whatsapp", "it/lazio"), ("whatsapp", "it/lombardia"), ("tim", "it/lazio")], ("whatsapp", "it"))
    [('whatsapp', 'it/*'), ('whatsapp', 'it/lazio'), ('whatsapp', 'it/lombardia')]
    """
    service, region = asked
    services = sorted({each for each, _ in names})
    meant = [service] if service in services or service == ALL else get_close_matches(service, services, NEAR, 0.5)
    found: list[Place] = []
    for each in meant:
        regions = sorted({where for what, where in names if each in (ALL, what)})
        if region in regions or (is_rollup("", region) and any(holds(region, where) for where in regions)):
            found.append((each, region))
            continue
        inside = [where for where in regions if where.startswith(f"{region}/")] if region else []
        if inside:
            found.append((each, f"{region}/*"))
        ends = [where for where in regions if where.rpartition("/")[2] == region.rpartition("/")[2]]
        like = [*inside, *ends, *get_close_matches(region, regions, NEAR, 0.5)] or [*regions[:NEAR], ALL]
        found += [(each, where) for where in dict.fromkeys(like)]
    return found[:NEAR]


# Where nothing was counted


def _nothing_counted(facts: Facts) -> list[Finding]:
    """Why there are no buckets to speak of."""
    asked, tracks = facts.question, facts.tracks
    if not tracks:
        if facts.named is not None and facts.overflowed is not None:
            return [_overflow(facts), *_others(facts)]
        return [Finding(Reason.UNKNOWN, f"No report names {place_text(asked.place)}.")]
    began = min(track.began for track in tracks)
    if began >= asked.end:
        text = f"It was not known then: its first reports came at {_clock(began, facts, date=True)}."
        return [Finding(Reason.NOT_YET, text), *_others(facts)]
    if any(track.buckets for track in tracks):
        return []
    if facts.decided <= asked.begin + max(track.bucket_ms for track in tracks):
        return list(_undecided(facts))
    text = "Nothing is known of that time: for a day or more around it no source had a report, a gap of the feed."
    return [Finding(Reason.GAP, text)]


def _overflow(facts: Facts) -> Finding:
    since = "" if facts.overflowed is None else f" since {_clock(facts.overflowed, facts, date=True)}"
    return Finding(
        Reason.OVERFLOW,
        f"It is not watched by itself: there are more series than series.limit = {facts.series_limit:,} allows{since}."
        " Its reports are counted with those of all others beyond it; raise the limit.",
    )


# Where something was


def _counted(facts: Facts) -> Iterator[Finding]:
    entry = _own(facts)
    if entry is not None:
        yield from _incident(facts, entry)
    else:
        yield from _without(facts)
        yield from _others(facts)
    yield from _silences(facts)
    yield from _warming(facts)
    yield from _undecided(facts)


def _own(facts: Facts) -> Entry | None:
    """The incident of the place itself that answers best: open at that time, else the nearest."""
    asked = facts.question
    mine = [
        entry
        for entry in facts.entries
        if entry.kind is not Kind.FEED and entry.is_of(asked.place) and entry.open_between(asked.begin, asked.end)
    ]
    return min(mine, key=lambda entry: (_distance(entry, asked.at), -entry.detected), default=None)


def _distance(entry: Entry, at: int) -> int:
    """How far from open an incident was at a time, ms."""
    if at < entry.started:
        return entry.started - at
    return 0 if entry.resolved is None else max(0, at - entry.resolved)


def _incident(facts: Facts, entry: Entry) -> Iterator[Finding]:
    asked = facts.question
    first = f"Incident {entry.id}, {entry.spanned[-1][2]}: {_life(facts, entry)}"
    if len(entry.spanned) > 1:
        moves = ", ".join(f"from {_clock(at, facts)} on {title}" for at, _, title in entry.spanned[1:])
        first += f" It was told as {entry.spanned[0][2]} at first, {moves}."
    yield Finding(Reason.INCIDENT, first)
    if entry.last.episode > 1:
        within_minutes = _span(facts.rule.reopen_seconds * 1000)
        text = f"It came back: this is episode {entry.last.episode} of it, a surge within {within_minutes} of its end."
        yield Finding(Reason.REOPENED, f"{text} Each episode may page once.")
    if entry.detected < asked.begin and (entry.resolved is None or entry.resolved > asked.at):
        text = f"It was open long before: what came at {_clock(asked.at, facts)} was no news. An incident pages once."
        yield Finding(Reason.STILL_OPEN, text)
    yield from _page(facts, entry)


def _life(facts: Facts, entry: Entry) -> str:
    """When an incident was opened, how bad it got, and whether it was there at the time that is asked about."""
    asked = facts.question
    words = f"began about {_clock(entry.started, facts)}, told at {_clock(entry.detected, facts)} as {_a(entry.first)}"
    for at, worse in entry.raised[1:]:
        words += f", {worse.value} from {_clock(at, facts)}"
    words += "; " + (
        f"resolved at {_clock(entry.resolved, facts)}." if entry.resolved else f"open at {_clock(asked.end, facts)}."
    )
    if entry.started <= asked.at < entry.detected - _MINUTE_MS:
        words += f" At {_clock(asked.at, facts)} nothing had been told yet."
    elif asked.at < entry.started:
        words += f" At {_clock(asked.at, facts)} it had not begun."
    elif entry.resolved is not None and entry.resolved <= asked.at:
        words += f" At {_clock(asked.at, facts)} it was over."
    return words


def _page(facts: Facts, entry: Entry) -> Iterator[Finding]:
    """Whether an incident paged, and why or why not."""
    paged = entry.paged
    if paged is not None:
        when = _clock(millis(paged.updated_at), facts)
        text = f"It paged at {when}, {paged.severity.value}: {_figures(paged)}. {_bad_enough(facts.rule, paged)}"
        if entry.first.parent is not None and paged is not entry.first:
            text += f" Until then incident {entry.first.parent} explained it."
        yield Finding(Reason.PAGED, text)
        return
    for hush in _HUSHES:
        yield from hush(facts, entry)


def _explained(facts: Facts, entry: Entry) -> Iterator[Finding]:
    """What another incident explains calls nobody."""
    if entry.last.parent is None:
        return
    parent = next((each for each in facts.entries if each.id == entry.last.parent), None)
    if parent is None:
        yield Finding(Reason.EXPLAINED, f"It did not page: incident {entry.last.parent} explains it.")
        return
    text = f"It did not page: incident {parent.id}, {parent.spanned[-1][2]}, explains it. {_of_the_page(facts, parent)}"
    yield Finding(Reason.EXPLAINED, text + _verdict(parent))


def _mild(facts: Facts, entry: Entry) -> Iterator[Finding]:
    """What is no error wakes nobody."""
    worst = entry.raised[-1][1]
    if worst in PAGING:
        return
    # A resolved incident has its calm counted in; what it lacked shows better in the record at that time.
    for record in (entry.last, entry.then, entry.first):
        if record is not None and (lacking := _lacking(facts.rule, record)):
            yield Finding(
                Reason.MILD,
                f"It did not page: {_a(entry.last)} wakes nobody, error and critical do. {_figures(record)}, "
                f"and {lacking}.",
            )
            return
    yield Finding(Reason.MILD, f"It did not page: {_a(entry.last)} wakes nobody, error and critical do.")


def _spoken_for(facts: Facts, entry: Entry) -> Iterator[Finding]:
    """What was planned, muted or taken care of calls nobody; nor does a minor service, however bad."""
    last = entry.last
    if last.maintenance is not None:
        yield Finding(Reason.PLANNED, f"It did not page: it lies within planned maintenance, {last.maintenance}.")
    if last.muted is not None:
        until = "" if last.muted.until is None else f" until {last.muted.until}"
        yield Finding(Reason.MUTED, f"It did not page: muted by {last.muted.by}{until}: {last.muted.reason}")
    if last.acknowledged is not None:
        said = last.acknowledged
        yield Finding(Reason.ACKNOWLEDGED, f"It did not page: acknowledged by {said.by}: {said.reason}")
    if last.minor:
        yield Finding(Reason.MINOR, "It did not page: the catalogue says that the service is minor.")


#: Why an incident called nobody, the first reason first: each is a function that gives its findings, or none.
_HUSHES: tuple[Callable[[Facts, Entry], Iterator[Finding]], ...] = (_explained, _spoken_for, _mild)


def _without(facts: Facts) -> Iterator[Finding]:
    """There is no incident of the place itself: how much evidence there was."""
    asked, needed = facts.question, facts.rule.open_at
    seen = [bucket for track in facts.tracks for bucket in track.buckets if bucket.observed >= 0]
    if not seen:
        return
    if not any(bucket.observed for bucket in seen):
        expected = sum(bucket.expected for bucket in seen)
        text = f"No report at all from {_clock(asked.begin, facts)} to {_clock(asked.end, facts)}, where "
        yield Finding(Reason.QUIET, f"{text}{_number(expected)} are usual. Less than usual is no surge.")
        return
    evidence, when = highest(facts.tracks)
    if evidence < needed:
        yield Finding(Reason.BELOW, _below(facts, evidence, when))
        return
    reached = f"Evidence reached {evidence:.1f} in the bucket of {_clock(when, facts)}, enough to open ({needed:g})"
    ended = _ended(facts, when)
    if ended is not None:
        text = f"{reached}, but it is what was left of incident {ended.id}, {ended.spanned[-1][2]}, which was resolved"
        text += f" at {_clock(ended.resolved or 0, facts)}: after a calm a surge has to show in what came since."
        yield Finding(Reason.REMAINS, text)
    elif not any(_is_open(entry, facts) for entry in facts.entries if entry.kind is not Kind.FEED):
        text = f"{reached}, but no incident opened: the table of services and regions bore out no cause for it."
        yield Finding(Reason.NO_CAUSE, text)
    else:
        yield Finding(Reason.NO_CAUSE, f"{reached}, but another cause was found for it.")


def _below(facts: Facts, evidence: float, when: int) -> str:
    """How much evidence there was, and what would have been enough."""
    needed = facts.rule.open_at
    text = f"No alarm: evidence stayed below {needed:g}, which opens an incident (incidents.open_at). It was "
    best = max((track for track in facts.tracks if track.peak), key=lambda track: _evidence_of(track.peak))
    peak = best.peak
    assert peak is not None  # some bucket was seen
    if evidence > peak.evidence:
        text += f"{evidence:.1f} at most, of all sources together in the bucket of {_clock(when, facts)}; "
    text += f"{peak.evidence:.1f} at most{_by(facts, best)}, in the bucket of {_clock(peak.start, facts)}: "
    if peak.observed < 0:
        return f"{text}that one is missing."
    text += f"{_reports(peak.observed)}, {_usual(peak)}."
    if peak.needed == NEVER_ENOUGH:
        text += " No number of reports in that one bucket would have been enough: it has to go on."
    elif peak.needed != NOT_ASKED:
        text += f" {peak.needed - peak.observed:,} more in that bucket would have been enough ({peak.needed:,})."
    return text


def highest(tracks: Sequence[Track]) -> tuple[float, int]:
    """The most evidence of all sources together, and the begin of the bucket that showed it, ms.

    As the judge has it: what each source showed last, added up where it is positive.
    """
    ends = sorted(
        (bucket.start + track.bucket_ms, number) for number, track in enumerate(tracks) for bucket in track.buckets
    )
    best, when = max(((_evidence_of(track.peak), track.peak.start) for track in tracks if track.peak), default=(0.0, 0))
    last: dict[int, tuple[int, Seen]] = {}
    place = [iter(track.buckets) for track in tracks]
    for end, number in ends:
        last[number] = end, next(place[number])
        now = sum(
            max(0.0, bucket.evidence) for each, (told, bucket) in last.items() if end - told < tracks[each].bucket_ms
        )
        if now > max(best, 0.0):
            best, when = now, last[number][1].start
    return best, when


def _evidence_of(peak: Seen | None) -> float:
    return float("-inf") if peak is None else peak.evidence


def _ended(facts: Facts, when: int) -> Entry | None:
    """The incident that shares series with the place and ended not long before."""
    reopen_ms = facts.rule.reopen_seconds * 1000
    over = [
        entry
        for entry in facts.entries
        if entry.kind is not Kind.FEED
        and entry.resolved is not None
        and entry.started < when < entry.resolved + reopen_ms
    ]
    return max(over, key=lambda entry: entry.resolved or 0, default=None)


def _is_open(entry: Entry, facts: Facts) -> bool:
    return entry.open_between(facts.question.begin, facts.question.end)


def _others(facts: Facts) -> Iterator[Finding]:
    """Incidents that are not of the place itself but have to do with it, one of a kind."""
    asked = facts.question
    found: dict[Reason, list[Entry]] = {}
    for entry in facts.entries:
        if entry.kind is Kind.FEED or not _is_open(entry, facts) or entry.last.parent is not None:
            continue
        if entry.is_wider(asked.place):
            reason = Reason.WIDER
        elif any(within(each, asked.place) for _, each, _ in entry.spanned):
            reason = Reason.NARROWER
        else:
            reason = Reason.CROSSING
        found.setdefault(reason, []).append(entry)
    for reason, words in _HOW:
        if reason in found:
            entry = min(found[reason], key=lambda each: (_distance(each, asked.at), each.detected))
            more = len(found[reason]) - 1
            text = f"{words} incident {entry.id}, {entry.spanned[-1][2]}: {_life(facts, entry)} "
            text += f"{_of_the_page(facts, entry)}{_verdict(entry)}"
            yield Finding(reason, text + (f" And {more:,} more." if more else ""))


_HOW = (
    (Reason.WIDER, "It is within"),
    (Reason.NARROWER, "Within it there is"),
    (Reason.CROSSING, "It shares series with"),
)


def _of_the_page(facts: Facts, entry: Entry) -> str:
    """Whether another incident paged, in a sentence."""
    if entry.paged is not None:
        return f"That paged at {_clock(millis(entry.paged.updated_at), facts)}."
    worst = entry.raised[-1][1]
    return f"That did not page: it was no more than {_article(worst)}." if worst not in PAGING else "That did not page."


def _verdict(entry: Entry) -> str:
    """What speaks for a cause, as it was when it mattered."""
    verdict = (entry.paged or entry.then or entry.last).verdict
    if verdict is None:
        return ""
    text = f" It explained {100 * verdict.explained:.0f} % of all reports beyond the usual; {verdict.taking_part:,} of"
    text += f" {verdict.looked_at:,} series in it took part"
    if verdict.not_taking_part:
        text += f", not {', '.join(each or 'those without a region' for each in verdict.not_taking_part[:3])}"
    return text + "."


# What else matters


def _silences(facts: Facts) -> Iterator[Finding]:
    """Sources whose buckets are missing."""
    for track in facts.tracks:
        missing = [bucket for bucket in track.buckets if bucket.observed < 0]
        if not missing:
            continue
        source = track.series.source
        whose = f"Source {source} was silent" if _feed(facts, source) else f"This series of source {source} was silent"
        text = f"{whose}: {len(missing):,} of {len(track.buckets):,} buckets are missing,"
        text += f" from {_clock(missing[0].start, facts)}. Missing is not zero: nothing is concluded from them."
        entry = _feed(facts, source)
        if entry is not None:
            text += f" Incident {entry.id} tells of it, {_article(entry.raised[-1][1])}. {_of_the_page(facts, entry)}"
        yield Finding(Reason.SILENT, text)


def _feed(facts: Facts, source: str) -> Entry | None:
    """The incident of a silent source."""
    silent = (entry for entry in facts.entries if entry.kind is Kind.FEED and source in entry.last.sources)
    return next((entry for entry in silent if _is_open(entry, facts)), None)


def _warming(facts: Facts) -> Iterator[Finding]:
    young = [track.series.source for track in facts.tracks if any(bucket.warming for bucket in track.buckets)]
    if young:
        text = f"Its baseline was young in {', '.join(young)}: seen for less than {facts.warming_hours:g} hours"
        yield Finding(Reason.WARMING, f"{text} (surge.warming_hours). What is expected is less sure then.")


def _undecided(facts: Facts) -> Iterator[Finding]:
    if facts.decided < facts.question.end:
        text = "Nothing is decided yet." if facts.decided <= 0 else f"Decided up to {_clock(facts.decided, facts)} only"
        if facts.decided > 0:
            text += ": there are no later reports in every partition."
        yield Finding(Reason.NOT_DECIDED, text)


# Severity in words


def _minutes(alert: Alert) -> tuple[float, float]:
    """Reports beyond the usual, and for how many seconds."""
    until = millis(alert.course.end) if alert.course is not None else millis(alert.updated_at)
    seconds = max(until, millis(alert.updated_at) - 60_000) - millis(alert.started_at)
    return alert.observed - alert.expected, max(seconds / 1000, 1.0)


def _lacking(rule: IncidentRule, alert: Alert) -> str:
    """What an incident lacked of an error, by the rule of `weigh`; '' where it lacked nothing."""
    excess, seconds = _minutes(alert)
    if weigh(rule, observed=alert.observed, expected=alert.expected, seconds=seconds).severity in PAGING:
        return ""
    ratio = alert.observed / alert.expected if alert.expected > 0 else float("inf")
    if ratio < rule.warning_ratio:
        return f"that is less than {rule.warning_ratio:g} times the usual (incidents.warning_ratio)"
    if ratio < rule.error_ratio:
        return f"that is less than {rule.error_ratio:g} times the usual (incidents.error_ratio)"
    if excess < rule.error_excess:
        return f"an error has {rule.error_excess:g} more than usual at least (incidents.error_excess)"
    rate = excess * 60 / seconds
    return (
        f"{_number(rate)} a minute beyond the usual are an error after {_span(rule.error_after_seconds * 1000)}"
        f" (incidents.error_after_seconds), {rule.critical_per_minute:g} at once (incidents.critical_per_minute)"
    )


def _bad_enough(rule: IncidentRule, alert: Alert) -> str:
    """What made an incident an error or critical."""
    if alert.kind is Kind.FEED:
        return "The silence is too long to be chance."
    excess, seconds = _minutes(alert)
    if alert.severity is Severity.CRITICAL and excess >= rule.critical_excess:
        return f"{rule.critical_excess:g} beyond the usual are critical (incidents.critical_excess)."
    if excess * 60 >= rule.critical_per_minute * seconds:
        return f"{rule.critical_per_minute:g} a minute beyond the usual page at once (incidents.critical_per_minute)."
    return (
        f"{rule.error_excess:g} beyond the usual and {rule.error_ratio:g} times it page after"
        f" {_span(rule.error_after_seconds * 1000)} (incidents.error_excess, error_ratio, error_after_seconds)."
    )


def _figures(alert: Alert) -> str:
    text = f"{_reports(alert.observed)} since {alert.started_at[11:16]}, {_number(alert.expected)} usual"
    return text if not alert.ratio or alert.expected < 0.05 else f"{text} ({_number(alert.ratio)} times)"


# Words


def place_text(place: Place) -> str:
    """A place for people, by its folded names.

    >>> place_text(("whatsapp", "it/*")), place_text(("*", "it")), place_text(("whatsapp", ""))
    ('whatsapp in all of it', 'all services in it', 'whatsapp without a region')
    """
    service, region = place
    what = "all services" if service == ALL else service
    if region == ALL:
        return f"{what} everywhere"
    if not region:
        return f"{what} without a region"
    return f"{what} in all of {region[:-2]}" if region.endswith("/*") else f"{what} in {region}"


def _clock(ms: int, facts: Facts, *, date: bool = False) -> str:
    """Hour, minute, and second where it matters, in UTC; the date where it is another day than that asked about."""
    text = utc(ms - ms % 1000)
    clock = text[11:16] if text[17:19] == "00" else text[11:19]
    return f"{text[:10]} {clock}" if date or text[:10] != utc(facts.question.at)[:10] else clock


def _span(ms: float) -> str:
    seconds = round(ms / 1000)
    if seconds % 60 or not seconds:
        return f"{seconds:,} seconds"
    return "1 minute" if seconds == 60 else f"{seconds // 60:,} minutes"


def _number(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 9.95 else f"{value:,.0f}"


def _reports(count: int) -> str:
    return f"{count:,} report{'' if count == 1 else 's'}"


def _usual(bucket: Seen) -> str:
    return f"{_number(bucket.expected)} expected, {bucket.low:,.0f} to {bucket.high:,.0f} usual"


def _by(facts: Facts, track: Track) -> str:
    return f" by {track.series.source}" if len(facts.tracks) > 1 else ""


def _a(alert: Alert) -> str:
    return _article(alert.severity)


def _article(level: Severity) -> str:
    """
    >>> [_article(level) for level in Severity]
    ['an info', 'a warning', 'an error', 'critical']
    """
    if level is Severity.CRITICAL:
        return level.value
    return f"{'a' if level is Severity.WARNING else 'an'} {level.value}"

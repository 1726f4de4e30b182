"""`groundswell why`: why it did, or did not, alarm at a place and time, with the evidence bucket by bucket."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from detectors.alert import Alert, decode, utc
from detectors.docket import Docket, Entry
from detectors.episodes import Place
from detectors.pipeline import Pipeline
from detectors.report import EPOCH, Rejected, identify
from detectors.rollup import ALL
from detectors.rules import Rules
from detectors.why import Facts, Finding, Reason, explain, highest, near, place_text
from detectors.witness import Account, Listening, Question, Track, Witness
from streams import why_tables
from streams.backtest_result import clock
from streams.console import err
from streams.fault import Fault
from streams.feed import Record, play
from streams.processes import detections, spread
from streams.progress import bar, reading, told
from streams.settings import Settings
from streams.tail import print_json

#: Stands for the reports topic instead of a file.
TOPIC = "topic"
#: From so many records on processes of their own are worth their start.
MANY_RECORDS = 150_000
#: Buckets further away than a day are another question.
MOST_MINUTES = 1440

_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2})?")


class WhyError(Fault):
    """The question cannot be answered as it was put."""


class Around(msgspec.Struct, frozen=True):
    """A roll-up that holds the place: the most evidence around the time, all sources together, and the bucket of it."""

    service: str
    region: str
    evidence: float
    at: str


class Bucket(msgspec.Struct, frozen=True):
    """A closed bucket. observed: null where missing. needed: reports that would have been enough, null: not known."""

    start: str
    observed: int | None
    expected: float
    low: float
    high: float
    evidence: float
    warming: bool
    told: bool
    needed: int | None


class Shown(msgspec.Struct, frozen=True):
    """The buckets of the place by one source."""

    source: str
    bucket_seconds: int
    buckets: list[Bucket]


class Answer(msgspec.Struct, frozen=True):
    """What `--json` prints. Names are folded. begin, end: what was looked at; decided: event time up to which.

    alerts: the records on incidents that share series with the place, as they are on the topic `alerts`.
    cold: the reports were read from the topic, and what came before the oldest of them is not known here.
    """

    service: str
    region: str
    time: str
    begin: str
    end: str
    decided: str
    source: str
    cold: bool
    findings: list[Finding]
    series: list[Shown]
    around: list[Around]
    alerts: list[Alert]


class Heard(msgspec.Struct, frozen=True):
    """What came of the reports up to the end of the question.

    last: event time of the last of them, ms; None where none bears one, or all were not read. decided: as in Facts.
    """

    account: Account
    entries: list[Entry]
    said: list[Alert]
    named: int | None
    last: int | None
    decided: int


def run(
    settings: Settings,
    service: str,
    region: str,
    when: str,
    path: str | Path,
    *,
    day: str | None,
    minutes: tuple[int, int],
    json_output: bool,
) -> int:
    """Play the reports as the workers do, and say why it did or did not alarm. 0.

    path: a file, "-" for standard input, or TOPIC. day: of a time that is a clock's. minutes: before and after it.
    WhyError, FeedError, and whatever a Kafka that cannot be read raises.
    """
    place = _place(service, region)
    from_topic = str(path) == TOPIC
    now = time.time_ns() // 1_000_000
    at = _moment(when, day, latest=now if from_topic else None)
    if from_topic and at > now:
        raise WhyError(f"{clock(at)} UTC has not come yet", f"It is {clock(now)} UTC.", "Give a time that has passed.")
    question = Question(*place, at, at - minutes[0] * 60_000, at + minutes[1] * 60_000)
    heard = asyncio.run(_from_topic(settings, question)) if from_topic else _from_file(settings, question, path, now)
    where = "the topic" if from_topic else "standard input" if str(path) == "-" else Path(path).name
    _check_time(question, heard, where)
    facts = _facts(settings, question, heard)
    findings = explain(facts)
    if findings[0].reason is Reason.UNKNOWN:
        raise _unknown(facts, where)
    around = _around(question, heard.account)
    if json_output:
        print_json(msgspec.json.encode(_answer(facts, findings, heard, around, where, cold=from_topic)))
    else:
        why_tables.print_answer(facts, findings, heard.said, around, where, cold=from_topic)
    return 0


# The question


def _place(service: str, region: str) -> Place:
    """The folded names of what was asked for. WhyError where no report can have them."""
    if region == "-":
        region = ""
    inner = "" if region == ALL else region.removesuffix("/*")
    found = identify("any", "any" if service.strip() == ALL else service, inner)
    if isinstance(found, Rejected):
        name = service if found.path == "$.service" else region
        hint = "Give a service and a region as reports name them; * is all of them, it/* all within it, - no region."
        raise WhyError(f"{name!r} names nothing", found.detail, hint)
    series, _ = found
    where = ALL if region == ALL else series.region + ("/*" if region.endswith("/*") else "")
    if service.strip() == ALL and not where:
        raise WhyError("all services without a region are not watched together", hint="Give a region, or * for all.")
    return ALL if service.strip() == ALL else series.service, where


def _moment(text: str, day: str | None, *, latest: int | None) -> int:
    """The time that was meant, ms. latest: of a clock's time without a day it is the last one up to there.

    WhyError where it is none.
    """
    text = text.strip()
    if _CLOCK.fullmatch(text):
        hours, _, rest = text.partition(":")
        return _of_day(f"{hours:0>2}:{rest}", day, latest)
    if day is not None:
        raise WhyError(f"{text} is no clock time", "--date goes with one.", "Give 09:10, or leave --date out.")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _bad_time(text) from None
    return _ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC), text)


def _of_day(text: str, day: str | None, latest: int | None) -> int:
    """A clock's time on a day."""
    try:
        if day is not None:
            return _ms(datetime.fromisoformat(f"{date.fromisoformat(day)}T{text}+00:00"), text)
        if latest is None:
            raise WhyError(f"{text} is on no day", hint="Give --date 2022-10-25, or all of it: 2022-10-25T09:10Z.")
        moment = datetime.fromisoformat(f"{utc(latest)[:10]}T{text}+00:00")
    except ValueError:
        raise _bad_time(text if day is None else f"{day} {text}") from None
    at = _ms(moment, text)
    return at if at <= latest else at - 86_400_000


def _ms(moment: datetime, text: str) -> int:
    at = (moment - EPOCH) // timedelta(milliseconds=1)
    if at < 0:
        raise _bad_time(text)
    return at


def _bad_time(text: str) -> WhyError:
    return WhyError(f"{text!r} is no time", hint="Give it like 2022-10-25T09:10Z, UTC where it names no zone.")


# The reports


class _Case:
    """A question on its way through a run."""

    def __init__(self, rules: Rules, question: Question) -> None:
        late_ms = max(rule.lateness_ms for rule in (rules.source_default, *rules.sources.values()))
        # Decisions come the lateness after what they are about.
        self.until = question.end + late_ms
        self.witness = Witness(question, rules.incidents.open_at)
        self.docket = Docket(question, until=self.until, reopen_ms=round(rules.incidents.reopen_seconds * 1000))

    def take(self, values: list[bytes]) -> None:
        """Take the alerts that follow."""
        for value in values:
            self.docket.apply(decode(value))

    def heard(self, listening: Listening, last: int | None, pipeline: Pipeline) -> Heard:
        account = self.witness.account()
        return Heard(account, self.docket.entries(), self.docket.said, listening.named, last, pipeline.judged)


def _from_file(settings: Settings, question: Question, path: str | Path, stamp_ms: int) -> Heard:
    """Read the file as a backtest does, but no further than the question goes."""
    began = time.monotonic()
    rules = settings.rules()
    case = _Case(rules, question)
    last: int | None = None
    with reading(path, rules, stamp_ms) as (feed, pieces), detections(rules, path, case.witness) as where:
        listening = Listening(where, question, rules)
        pipeline = Pipeline(rules, listening)

        def wanted() -> Iterator[list[Record]]:
            while pipeline.judged < case.until and (records := next(pieces, None)) is not None:
                yield records

        for records, values in play(wanted(), pipeline, stamp_ms):
            case.take(values)
            times = [record.event_ms for record in records if record.event_ms is not None]
            last = max(times, default=last) if last is None else max([last, *times])
    err.print(told(feed.read, pipeline.rejected, time.monotonic() - began))
    return case.heard(listening, last, pipeline)


async def _from_topic(settings: Settings, question: Question) -> Heard:
    """Read what the topic still has, no further than the question goes."""
    # aiokafka is not for those who ask a file.
    from streams import retained

    began = time.monotonic()
    rules = settings.rules()
    case = _Case(rules, question)
    there = await retained.survey(settings)
    read = 0
    with (
        spread(rules, case.witness, apart=there.records >= MANY_RECORDS) as where,
        bar(there.topic, lambda: read / max(there.records, 1), lambda: read) as moved,
    ):
        listening = Listening(where, question, rules)
        pipeline = Pipeline(rules, listening)
        async with contextlib.aclosing(retained.portions(settings, there)) as portions:
            async for portion in portions:
                if portion.values:
                    case.take(pipeline.read(portion.partition, portion.values, portion.stamps))
                else:
                    case.take(pipeline.idle(portion.partition, portion.now))
                read += len(portion.values)
                moved()
                if pipeline.judged >= case.until:
                    break
            else:
                # All is read: from here on the workers, too, go by the clock.
                for partition in range(rules.reports_partitions):
                    case.take(pipeline.idle(partition, time.time_ns() // 1_000_000))
        case.take(pipeline.rest())
    err.print(told(read, pipeline.rejected, time.monotonic() - began))
    return case.heard(listening, None, pipeline)


# The answer


def _check_time(question: Question, heard: Heard, where: str) -> None:
    """WhyError where the reports say nothing of that time."""
    first, last = heard.account.first, heard.last
    if first is None:
        if heard.last is None:
            raise WhyError(f"{where} has no reports that could be counted", hint="Look at what the line above says.")
        first = heard.last
    if question.end <= first or (last is not None and question.begin > last):
        detail = f"Its reports begin at {clock(first)}" + (f" and end at {clock(last)}" if last is not None else "")
        raise WhyError(f"{where} has nothing about {clock(question.at)} UTC", f"{detail} UTC.", "Give a time within.")


def _facts(settings: Settings, question: Question, heard: Heard) -> Facts:
    return Facts(
        question=question,
        rule=settings.incidents,
        warming_hours=settings.surge.warming_hours,
        series_limit=settings.series.limit,
        tracks=[track for track in heard.account.tracks if track.place == question.place],
        entries=heard.entries,
        names=heard.account.names,
        named=heard.named,
        overflowed=heard.account.overflowed,
        decided=heard.decided,
    )


def _unknown(facts: Facts, where: str) -> WhyError:
    asked = facts.question.place
    fact = f"no report in {where} up to {clock(facts.question.end)} UTC names {place_text(asked)}"
    meant = [f"{service} {region or '-'}" for service, region in near(facts.names, asked)]
    if meant:
        return WhyError(fact, hint=f"Did you mean: {', '.join(meant)}?")
    services = sorted({service for service, _ in facts.names})
    return WhyError(fact, hint=f"There are: {', '.join(services[:10])}{', …' if len(services) > 10 else ''}.")


def _around(question: Question, account: Account) -> list[Around]:
    """The roll-ups, widest last."""
    found = []
    for service, region in question.around:
        tracks: list[Track] = [track for track in account.tracks if track.place == (service, region)]
        if any(track.buckets for track in tracks):
            evidence, when = highest(tracks)
            found.append(Around(service, region, evidence, utc(when)))
    return found


def _answer(
    facts: Facts, findings: list[Finding], heard: Heard, around: list[Around], where: str, *, cold: bool
) -> Answer:
    asked = facts.question
    return Answer(
        service=asked.service,
        region=asked.region,
        time=utc(asked.at),
        begin=utc(asked.begin),
        end=utc(asked.end),
        decided=utc(max(facts.decided, 0)),
        source=where,
        cold=cold,
        findings=findings,
        series=[_shown(track) for track in facts.tracks],
        around=around,
        alerts=heard.said,
    )


def _shown(track: Track) -> Shown:
    buckets = [
        Bucket(
            utc(each.start),
            each.observed if each.observed >= 0 else None,
            each.expected,
            each.low,
            each.high,
            each.evidence,
            each.warming,
            each.told,
            each.needed if each.needed > 0 else None,
        )
        for each in track.buckets
    ]
    return Shown(track.series.source, track.bucket_ms // 1000, buckets)

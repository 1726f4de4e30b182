"""The WhatsApp outage of 25 October 2022 as a feed of reports, simulated from its published figures.

An outage site sends single reports on ten services from ten Italian regions; an operator's contact centre sends, every
five minutes and for each region, how many people contacted it and how many of them spoke of WhatsApp. Three weeks of
ordinary life lead up to the day. The same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np
import numpy.typing as npt

# --- what was published ---
# From about 9 o'clock in Italy until about 11 [rainews.it, coratoviva.it, 25 October 2022]; a Tuesday, summer time.
OUTAGE_START = datetime(2022, 10, 25, 7, 0, tzinfo=UTC)
OUTAGE_END = datetime(2022, 10, 25, 9, 0, tzinfo=UTC)
#: "over 25,000 reports" at Downdetector [munsifdaily.com, tecnoandroid.it]: we send a little more.
OUTAGE_REPORTS = 26_500
#: 12,000 of them within the first 30 minutes [capetalk.co.za, 26 October 2022]: the shape below is as steep as that.
OUTAGE_REPORTS_FIRST_HALF_HOUR = 12_000
#: 69 % of the reports said that messages do not go through [newsable.asianetnews.com, 25 October 2022].
SENDING_SHARE = 0.69
#: "in just three hours TIM's call centre received 310 % more calls than average: 65,000 customers"; about 40,000 euro
#: [Pietro Labriola, its head, on LinkedIn; lastampa.it, 31 October 2022]. The rest follows from these three.
CONTACTS_START = OUTAGE_START
CONTACTS_END = datetime(2022, 10, 25, 10, 0, tzinfo=UTC)
EXTRA_CONTACTS = 65_000
EXTRA_RATIO = 3.10
EXTRA_COST_EURO = 40_000
USUAL_CONTACTS_AN_HOUR = EXTRA_CONTACTS / EXTRA_RATIO / 3  # about 7,000, at that time of a Tuesday
EURO_A_CONTACT = 0.615  # EXTRA_COST_EURO / EXTRA_CONTACTS

# --- what we assume around it ---
START = datetime(2022, 10, 4, tzinfo=UTC)
DAY_START = datetime(2022, 10, 25, 6, 0, tzinfo=UTC)
END = datetime(2022, 10, 25, 12, 0, tzinfo=UTC)
SITE = "outage-site"
CONTACT_CENTRE = "contact-centre"
CONTACTS = "TIM contact centre"
BROKEN = "WhatsApp"
#: The operator whose contact centre it is, and which had nothing to do with it.
OPERATOR = "TIM"
#: The contact centre counts in fives of minutes and stamps each count with the last second of its five minutes.
CONTACT_SECONDS = 300

_SUMMER_TIME_MS = 2 * 3_600_000
#: Usual reports a day. Few complain about a service that works, and more about those that they pay for.
_REPORTS_A_DAY = {
    "WhatsApp": 900, "Instagram": 1000, "Facebook": 900, "Telegram": 350, "TIM": 1300, "Vodafone": 1000,
    "Netflix": 600, "Gmail": 450, "PayPal": 450, "Poste Italiane": 550,
}  # fmt: skip
#: Inhabitants in millions: who reports and who calls is spread as they are.
_REGIONS = {
    "it/lombardia": 9.9, "it/lazio": 5.7, "it/campania": 5.6, "it/veneto": 4.8, "it/sicilia": 4.8,
    "it/emilia-romagna": 4.4, "it/piemonte": 4.2, "it/puglia": 3.9, "it/toscana": 3.7, "it/sardegna": 1.6,
}  # fmt: skip
#: Many blamed their operator at Downdetector [ilportaledelnerd.it, 25 October 2022]; how many is our guess.
_MISTAKEN_REPORTS = {"TIM": 900, "Vodafone": 400}
#: Contacts that speak of WhatsApp: one in a hundred on a usual day, most of the extra ones on that day.
_MENTIONS_SHARE = 0.01
EXTRA_MENTIONS_SHARE = 0.85
#: Dispersion of the negative binomial: variance = mean + mean² / it.
_USUAL_DISPERSION = 6.0
_OUTAGE_DISPERSION = 20.0
_CONTACT_DISPERSION = 80.0

# Local hour of the day → share of the busiest hour.
_SITE_HOURS = (.30, .18, .12, .09, .08, .10, .20, .38, .58, .74, .80, .82,
               .80, .80, .78, .76, .78, .82, .88, .95, 1.0, .98, .80, .52)  # fmt: skip
_CONTACT_HOURS = (.05, .03, .02, .02, .02, .03, .08, .30, .75, 1.0, 1.05, 1.02,
                  .90, .82, .88, .95, .98, .95, .85, .70, .50, .32, .18, .09)  # fmt: skip
_SITE_WEEK = (1.0, 1.0, 1.0, 1.0, 1.02, 0.96, 0.98)  # from Monday
_CONTACT_WEEK = (1.12, 1.0, 0.98, 0.97, 0.99, 0.66, 0.42)
# Minutes since the outage began → how strong it is then; linear between, nothing outside.
_REPORTS_SHAPE = ((0, 0.25), (4, 0.8), (10, 1.0), (30, 0.66), (60, 0.36), (120, 0.08), (150, 0.02), (180, 0.0))
_CONTACTS_SHAPE = ((0, 0.0), (10, 0.15), (35, 1.0), (100, 1.0), (150, 0.45), (180, 0.0))

_PROBLEMS = ("sending", "connection", "app", "login")
_USUAL_SHARES = np.array((0.20, 0.35, 0.30, 0.15))
_OUTAGE_SHARES = np.array((SENDING_SHARE, 0.21, 0.07, 0.03))
_REGION_SHARES = np.array(list(_REGIONS.values())) / sum(_REGIONS.values())

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_CONTACT_STEP_MS = CONTACT_SECONDS * 1000

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]
# Reports of one hour and kind: event times, ms, and their JSON up to the time.
_Stretch = tuple[Times, list[str]]


class Batch(msgspec.Struct, frozen=True):
    """An hour of the feed in time order: the reports as JSON, and their event times, ms."""

    values: list[bytes]
    times: list[int]


def ms(time: datetime) -> int:
    """`time` in milliseconds since 1970."""
    return round(time.timestamp() * 1000)


def reports(
    start: datetime = START, end: datetime = END, *, outage: datetime = OUTAGE_START, seed: int = 2022
) -> Iterator[Batch]:
    """The feed from `start` to `end`, both on the full hour, else ValueError. An hour does not depend on the others.

    outage: when it begins; what it brings follows from there.
    """
    if ms(start) % _HOUR_MS or ms(end) % _HOUR_MS:
        raise ValueError(f"{start} to {end}: the story is told in full hours")
    for hour in range(ms(start), ms(end), _HOUR_MS):
        yield _hour(hour, ms(outage), np.random.default_rng((seed, hour // _HOUR_MS)))


def _hour(hour: int, outage: int, rng: np.random.Generator) -> Batch:
    stretches = (_site_usual(hour, rng), _site_outage(hour, outage, rng), _contact_centre(hour, outage, rng))
    times = np.concatenate([stretch_times for stretch_times, _ in stretches])
    heads = [head for _, stretch_heads in stretches for head in stretch_heads]
    order = np.argsort(times, kind="stable")
    times = times[order]
    clock = np.datetime_as_string(times.astype("datetime64[ms]"), unit="ms").tolist()
    values = [f'{heads[i]},"time":"{time}Z"}}'.encode() for i, time in zip(order.tolist(), clock, strict=True)]
    return Batch(values, times.tolist())


def _site_usual(hour: int, rng: np.random.Generator) -> _Stretch:
    minutes = np.arange(hour, hour + _HOUR_MS, _MINUTE_MS)
    a_minute = np.array(list(_REPORTS_A_DAY.values())) / 1440
    curve = _curve(minutes, _SITE_HOURS, _SITE_WEEK) / (np.mean(_SITE_HOURS) * np.mean(_SITE_WEEK))
    return _single(a_minute[:, None] * curve, minutes, _USUAL_SHARES, _USUAL_DISPERSION, rng)


def _site_outage(hour: int, outage: int, rng: np.random.Generator) -> _Stretch:
    minutes = np.arange(hour, hour + _HOUR_MS, _MINUTE_MS)
    whole = _shape(np.arange(0, ms(OUTAGE_END) - ms(OUTAGE_START), _MINUTE_MS), _REPORTS_SHAPE).sum()
    course = _shape(minutes - outage, _REPORTS_SHAPE) / whole
    totals = {BROKEN: OUTAGE_REPORTS, **_MISTAKEN_REPORTS}
    expected = np.array([totals.get(service, 0) for service in _REPORTS_A_DAY])[:, None] * course
    return _single(expected, minutes, _OUTAGE_SHARES, _OUTAGE_DISPERSION, rng)


def _single(
    expected: Floats, minutes: Times, problem_shares: Floats, dispersion: float, rng: np.random.Generator
) -> _Stretch:
    """Single reports of the outage site. expected: reports of all regions, a row a service, a column a minute."""
    counts = _noise(expected[:, None, :] * _REGION_SHARES[:, None], dispersion, rng)
    service, region, minute = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
    times = minutes[minute] + rng.integers(0, _MINUTE_MS, minute.size)
    problem = rng.choice(len(_PROBLEMS), minute.size, p=problem_shares)
    rows = zip(service.tolist(), region.tolist(), problem.tolist(), strict=True)
    return times, [_SITE_HEADS[s][r][p] for s, r, p in rows]


def _contact_centre(hour: int, outage: int, rng: np.random.Generator) -> _Stretch:
    """What the contact centre counted: all contacts, and how many of them spoke of WhatsApp."""
    steps = np.arange(hour, hour + _HOUR_MS, _CONTACT_STEP_MS)
    usual = _REGION_SHARES * usual_contacts(steps)[:, None]
    extra = _REGION_SHARES * _extra_contacts(steps - outage)[:, None]
    contacts = _noise(usual + extra, _CONTACT_DISPERSION, rng)
    share = (_MENTIONS_SHARE * usual + EXTRA_MENTIONS_SHARE * extra) / (usual + extra)
    mentions = rng.binomial(contacts, share)
    times: list[int] = []
    heads: list[str] = []
    for step, of_all, of_whatsapp in zip(steps.tolist(), contacts.tolist(), mentions.tolist(), strict=True):
        for region, all_count, whatsapp_count in zip(_REGIONS, of_all, of_whatsapp, strict=True):
            for service, count in ((CONTACTS, all_count), (BROKEN, whatsapp_count)):
                # Every five minutes say that the feed is alive; of WhatsApp only what there is.
                if count or service == CONTACTS:
                    times.append(step + _CONTACT_STEP_MS - 1000)
                    heads.append(f'{_head(CONTACT_CENTRE, service, region)},"count":{count}')
    return np.array(times, dtype=np.int64), heads


def usual_contacts(steps: Times) -> Floats:
    """Contacts that the five minutes from each of `steps` (ms) bring on a usual day."""
    told = _curve(np.arange(ms(CONTACTS_START), ms(CONTACTS_END), _CONTACT_STEP_MS), _CONTACT_HOURS, _CONTACT_WEEK)
    a_step = USUAL_CONTACTS_AN_HOUR * CONTACT_SECONDS / 3600
    return np.asarray(a_step * _curve(steps, _CONTACT_HOURS, _CONTACT_WEEK) / told.mean())


def _extra_contacts(since_outage: Times) -> Floats:
    whole = _shape(np.arange(0, ms(CONTACTS_END) - ms(CONTACTS_START), _CONTACT_STEP_MS), _CONTACTS_SHAPE).sum()
    return np.asarray(EXTRA_CONTACTS * _shape(since_outage, _CONTACTS_SHAPE) / whole)


def _curve(times: Times, hours: tuple[float, ...], week: tuple[float, ...]) -> Floats:
    """The curve of the day times that of the week at `times`, ms, by the clocks in Italy."""
    days = (times + _SUMMER_TIME_MS) / _DAY_MS
    of_day = np.interp(days % 1 * 24, np.arange(25), (*hours, hours[0]))
    # 1 January 1970 was a Thursday. A weekday has its share at noon and goes over into the next.
    of_week = np.interp((days + 3 - 0.5) % 7, np.arange(8), (*week, week[0]))
    return np.asarray(of_day * of_week)


def _shape(since_outage: Times, points: tuple[tuple[int, float], ...]) -> Floats:
    """How strong the outage's course is so long after it began, ms: linear between `points`, nothing outside."""
    minutes, strengths = zip(*points, strict=True)
    return np.asarray(np.interp(since_outage / _MINUTE_MS, minutes, strengths, left=0.0, right=0.0))


def _noise(expected: Floats, dispersion: float, rng: np.random.Generator) -> Times:
    """Negative-binomial counts: variance = expected + expected² / dispersion."""
    return rng.poisson(expected * rng.gamma(dispersion, 1 / dispersion, expected.shape))


def _head(source: str, service: str, region: str) -> str:
    return f'{{"service":"{service}","region":"{region}","source":"{source}"'


# Made once: they are most of the bytes.
_SITE_HEADS = [
    [[f'{_head(SITE, service, region)},"problem":"{problem}"' for problem in _PROBLEMS] for region in _REGIONS]
    for service in _REPORTS_A_DAY
]

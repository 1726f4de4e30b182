"""Catalogue: what people know of services and regions: other names of theirs, owners, links, what is to call nobody."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from detectors.alert import FEED, Kind, Muted, utc
from detectors.local_time import zone
from detectors.report import EPOCH, MAX_NAME, MAX_REGION, Rejected, clean, fold, identify
from detectors.rollup import ALL
from detectors.series import Names, Series

#: A link is no longer, and there are no more of them: they are in every record on `alerts`.
MAX_LINK = 2_000
MAX_LINKS = 10

_LINK = re.compile(r"https?://[^\s/?#]\S*", re.IGNORECASE)
_WILD = frozenset("*?[")
_Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
#: A name and its aliases.
_Entry = tuple[str, tuple[str, ...]]
_Path = Annotated[str, Meta(min_length=1, max_length=MAX_REGION)]


class Wrong(ValueError):
    """A catalogue that cannot be meant. entry: where, `[[service]] number 2 (WhatsApp)`; problem; hint: what to do."""

    def __init__(self, entry: str, problem: str, hint: str) -> None:
        super().__init__(f"{entry}: {problem}. {hint}")
        self.entry = entry
        self.problem = problem
        self.hint = hint


class Service(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service: what reports call one, who answers for it, and how bad its outages are."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME, description="its name, as people are shown it")]
    aliases: Annotated[
        tuple[_Name, ...],
        Meta(description="what reports call it besides; names are compared without case and extra white space"),
    ] = ()
    owner: Annotated[str, Meta(min_length=1, max_length=MAX_NAME, description="who answers for it")] | None = None
    team: Annotated[str, Meta(min_length=1, max_length=MAX_NAME, description="the team that is called")] | None = None
    minor: Annotated[bool, Meta(description="its incidents are a warning at most: visible, no page")] = False
    own: Annotated[bool, Meta(description="it is ours; the others are somebody else's")] = False
    links: Annotated[
        dict[_Name, Annotated[str, Meta(max_length=MAX_LINK)]],
        Meta(max_length=MAX_LINKS, description="http(s) addresses by what they are: runbook, dashboard"),
    ] = {}


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A region, and how people and other feeds call it."""

    path: Annotated[
        str, Meta(min_length=1, max_length=MAX_REGION, description="the region as alerts have it: it/lazio")
    ]
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME, description="its name for people: Lazio")] | None = (
        None
    )
    aliases: Annotated[
        tuple[_Path, ...],
        Meta(description="what reports write for it besides; what lies within such a path moves along"),
    ] = ()
    time_zone: (
        Annotated[str, Meta(max_length=100, description="its time zone, for all within it too: Europe/Rome")] | None
    ) = None


class Mute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Incidents that are told of, but call nobody."""

    service: Annotated[
        str,
        Meta(min_length=1, max_length=MAX_NAME, description="pattern of services: Test*; only * takes those of all"),
    ] = ALL
    region: Annotated[
        str,
        Meta(max_length=MAX_REGION, description="pattern of regions: it/*; only * takes those of a service everywhere"),
    ] = ALL
    kind: Annotated[Kind, Meta(description="what the incident spans: series, service, region, global, feed")] | None = (
        None
    )
    reason: Annotated[str, Meta(min_length=1, max_length=500, description="why, for those who see the incident")]
    until: (
        Annotated[
            datetime,
            Meta(tz=True, description="event time from which on what is still bad pages: 2026-12-01T00:00:00Z"),
        ]
        | None
    ) = None

    @property
    def until_ms(self) -> int | None:
        """`until` in ms since 1970."""
        return None if self.until is None else (self.until - EPOCH) // timedelta(milliseconds=1)


class About(NamedTuple):
    """What an alert says of its service and region beyond their names; see there."""

    region_name: str | None = None
    owner: str | None = None
    team: str | None = None
    minor: bool = False
    links: Mapping[str, str] = {}


NOTHING_KNOWN = About()


class _Pattern(NamedTuple):
    """A mute, its patterns folded as names are. until: ms, None for ever."""

    mute: Mute
    service: str
    region: str
    until: int | None


class _Known(NamedTuple):
    """A service or region by any of its names. folded: its identity; shown: its spelling."""

    folded: str
    shown: str
    number: int


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All that is known of services and regions, and mutes. Wrong (a ValueError) where it contradicts itself."""

    services: tuple[Service, ...] = ()
    regions: tuple[Region, ...] = ()
    mutes: tuple[Mute, ...] = ()

    def __post_init__(self) -> None:
        for number, service in enumerate(self.services, 1):
            _check_service(_entry("service", number, service.name), service)
        for number, region in enumerate(self.regions, 1):
            _check_region(_entry("region", number, region.path), region)
        # Each is built once, and says what is wrong with it.
        _ = self._services, self._regions, self._patterns

    # ---- names

    @cached_property
    def _services(self) -> dict[str, _Known]:
        """By folded names and aliases."""
        entries = [(each.name, each.aliases) for each in self.services]
        return _index("service", entries, lambda text: _identity(text, ""))

    @cached_property
    def _regions(self) -> dict[str, _Known]:
        """By folded paths and aliases."""
        entries = [(each.path, each.aliases) for each in self.regions]
        return _index("region", entries, lambda text: _identity("any", text))

    def settle(self, series: Series, names: Names) -> tuple[Series, Names]:
        """The series that reports with these names count for, and how it is shown. Settled once more it is the same.

        >>> catalogue = Catalogue(services=(Service(name="WhatsApp", aliases=("WA",)),))
        >>> catalogue.settle(Series("site", "wa", "it"), Names("Wa", "IT"))
        (Series(source='site', service='whatsapp', region='it'), Names(service='WhatsApp', region='IT'))
        """
        service, shown = series.service, names.service
        if known := self._services.get(service):
            service, shown = known.folded, known.shown
        region, where = self._place(series.region, names.region) if self._regions else (series.region, names.region)
        return Series(series.source, service, region), Names(shown, where)

    def _place(self, region: str, shown: str) -> tuple[str, str]:
        """A region by its path, where it or one around it is known, and its spelling.

        What follows an alias may make another one with the path: each takes at least one level of what follows, so
        this comes to an end.
        """
        while known := self._around(region):
            level, place = known
            rest = len(region.split("/")) - level
            settled = "/".join((place.folded, *region.split("/")[-rest:])) if rest else place.folded
            shown = "/".join((place.shown, *shown.split("/")[-rest:])) if rest else place.shown
            if settled == region:
                break
            region = settled
        return region, shown

    def _around(self, region: str) -> tuple[int, _Known] | None:
        """The narrowest known region that is or holds `region`, and of how many levels the name it is known by is."""
        parts = region.split("/")
        for level in range(len(parts), 0, -1):
            if known := self._regions.get("/".join(parts[:level])):
                return level, known
        return None

    def own(self) -> frozenset[str]:
        """The folded names of our services."""
        return frozenset(fold(_cleaned(each.name)) for each in self.services if each.own)

    def called(self, service: str) -> tuple[str, ...]:
        """All folded names of a service, given one of them; of one that is not in here that name alone."""
        known = self._services.get(service)
        if known is None:
            return (service,)
        return tuple(sorted(name for name, each in self._services.items() if each.number == known.number))

    def settle_region(self, region: str) -> str:
        """The folded path of a region as people write it, also in settings.

        >>> Catalogue(regions=(Region(path="it/lazio", aliases=("Latium",)),)).settle_region("Latium / Roma")
        'it/lazio/roma'
        """
        folded = _path(region)
        return self._place(folded, folded)[0]

    def time_zones(self) -> dict[str, str]:
        """Time zones by folded path."""
        return {self.settle_region(each.path): each.time_zone for each in self.regions if each.time_zone is not None}

    # ---- incidents

    def about(self, scope: tuple[str, str]) -> About:
        """What is known of the service and the region of an incident's scope; of a roll-up `it/*` the name is it's."""
        place = self._regions.get(scope[1].removesuffix("/*")) if scope[0] != FEED else None
        name = None if place is None else self.regions[place.number].name
        known = self._services.get(scope[0])
        if known is None:
            return About(name)
        service = self.services[known.number]
        return About(name, service.owner, service.team, service.minor, service.links)

    def is_minor(self, scope: tuple[str, str]) -> bool:
        """Whether an incident of this scope is one of a minor service."""
        known = self._services.get(scope[0])
        return known is not None and self.services[known.number].minor

    @cached_property
    def _patterns(self) -> list[_Pattern]:
        return [_pattern(self, _entry("mute", number, each.service), each) for number, each in enumerate(self.mutes, 1)]

    def muted(self, scope: tuple[str, str], kind: Kind, *, since: int, at: int) -> Muted | None:
        """How an incident is muted at event time `at`, by the mute that lasts longest; None where none fits.

        since: from when on it is told of, ms.
        """
        fitting = [mute for mute in self._fitting(scope, kind) if mute.until is None or at < mute.until]
        if not fitting:
            return None
        longest = max(fitting, key=lambda mute: (mute.until is None, mute.until))
        until = None if longest.until is None else utc(longest.until)
        return Muted(by="settings", reason=longest.mute.reason, since=utc(since), until=until)

    def mute_ends(self, scope: tuple[str, str], kind: Kind) -> list[int]:
        """Event times at which mutes of an incident end, ms."""
        return [mute.until for mute in self._fitting(scope, kind) if mute.until is not None]

    def _fitting(self, scope: tuple[str, str], kind: Kind) -> list[_Pattern]:
        return [each for each in self._patterns if _fits(each, scope, kind)]


def _fits(pattern: _Pattern, scope: tuple[str, str], kind: Kind) -> bool:
    """Whether a mute fits an incident by what this spans."""
    if pattern.mute.kind not in (None, kind):
        return False
    service, region = (ALL, ALL) if kind is Kind.FEED else scope
    # A pattern such as ? or A* is one of names; what spans all of them has none.
    return all(
        wanted == ALL or (name != ALL and fnmatchcase(name, wanted))
        for name, wanted in ((service, pattern.service), (region, pattern.region))
    )


def _pattern(catalogue: Catalogue, entry: str, mute: Mute) -> _Pattern:
    service, region = _cleaned(mute.service), _cleaned(mute.region)
    for field, text, given in (("service", service, mute.service), ("region", region, mute.region)):
        if not text and given:
            raise Wrong(
                entry, f"{field} {_quoted(given)} is no pattern", "Write a name, or Test* for all that begin so."
            )
        if "[" in text and "]" not in text.partition("[")[2]:
            raise Wrong(entry, f"{field} {_quoted(given)} has [ without ]", "Write [[] for the character itself.")
    if not _cleaned(mute.reason):
        raise Wrong(entry, f"reason {_quoted(mute.reason)} is no line of text", "Say why, on one line.")
    service, region = fold(service), _path(region)
    # A name without wildcards may be an alias.
    if not _WILD & set(service) and (known := catalogue._services.get(service)):
        service = known.folded
    if not _WILD & set(region):
        region = catalogue.settle_region(region)
    return _Pattern(mute, service, region, mute.until_ms)


def _check_service(entry: str, service: Service) -> None:
    for name in (service.name, *service.aliases):
        named = identify("any", name, "")
        if isinstance(named, Rejected):
            raise Wrong(
                entry, f"no report can name {_quoted(name)}: {named.detail}", "Write a name as reports have it."
            )
    for field, text in (("owner", service.owner), ("team", service.team)):
        if text is not None and not _cleaned(text):
            raise Wrong(entry, f"{field} {_quoted(text)} is no name", "Write it on one line, or leave it out.")
    for name, link in service.links.items():
        if not _cleaned(name):
            raise Wrong(entry, f"a link is named {_quoted(name)}", "Name it by what it is: runbook, dashboard.")
        if not _LINK.fullmatch(link) or clean(link) != link:
            raise Wrong(entry, f"link {name} {_quoted(link)} is not http(s)", "Write https://host/path.")


def _check_region(entry: str, region: Region) -> None:
    for path in (region.path, *region.aliases):
        named = identify("any", "any", path)
        if isinstance(named, Rejected) or not named[0].region:
            detail = named.detail if isinstance(named, Rejected) else "it is empty"
            raise Wrong(
                entry, f"no report can name {_quoted(path)}: {detail}", "Write a path, wide to narrow: it/lazio."
            )
    if region.name is not None and not _cleaned(region.name):
        raise Wrong(entry, f"name {_quoted(region.name)} is no name", "Write it on one line, or leave it out.")
    if region.time_zone is not None:
        try:
            zone(region.time_zone)
        except ValueError as error:
            problem, _, hint = str(error).partition("; ")
            raise Wrong(entry, problem, hint[:1].upper() + hint[1:]) from None


def _identity(service: str, region: str) -> tuple[str, str]:
    """Folded and shown, of the one that is not a stand-in; both were checked."""
    named = identify("any", service, region)
    assert not isinstance(named, Rejected)
    series, names = named
    return (series.region, names.region) if region else (series.service, names.service)


def _path(region: str) -> str:
    """A region, or a pattern of some, folded as reports' are."""
    return fold("/".join(filter(None, (part.strip() for part in region.split("/")))))


def _index(table: str, entries: list[_Entry], identity: Callable[[str], tuple[str, str]]) -> dict[str, _Known]:
    """The entries by each of their folded names. Wrong where two have one."""
    found: dict[str, _Known] = {}
    for number, (name, _) in enumerate(entries):
        folded, shown = identity(name)
        if folded in found:
            other = _entry(table, found[folded].number + 1, entries[found[folded].number][0])
            raise Wrong(_entry(table, number + 1, name), f"it is {other} once more", "Keep one of the two.")
        found[folded] = _Known(folded, shown, number)
    for number, (name, aliases) in enumerate(entries):
        own = found[identity(name)[0]]
        for alias in aliases:
            other_entry = found.setdefault(identity(alias)[0], own)
            if other_entry.number != number:
                other = _entry(table, other_entry.number + 1, entries[other_entry.number][0])
                raise Wrong(
                    _entry(table, number + 1, name),
                    f"alias {_quoted(alias)} belongs to {other}",
                    "Keep it in one of them.",
                )
    return found


def _entry(table: str, number: int, name: str) -> str:
    """
    >>> _entry("service", 2, "WhatsApp")
    '[[service]] number 2 (WhatsApp)'
    """
    return f"[[{table}]] number {number} ({_cleaned(name) or _quoted(name)})"


def _cleaned(text: str) -> str:
    """The text as names are compared, '' where it holds what none may."""
    return clean(text) or ""


def _quoted(text: str) -> str:
    return msgspec.json.encode(text[:80].encode("utf-8", "replace").decode()).decode()


NO_CATALOGUE = Catalogue()

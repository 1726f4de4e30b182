"""Rules: everything that decides, put together from the settings. Same rules and same reports: same alerts."""

from __future__ import annotations

from fnmatch import fnmatchcase

import msgspec

from detectors.catalogue import Catalogue
from detectors.incident import IncidentRule
from detectors.local_time import by_region
from detectors.maintenance import CalendarText, Maintenance, maintenance
from detectors.ours import OursRule
from detectors.river_models import DetectorChoice
from detectors.series import Series
from detectors.source import SourceRule
from detectors.surge import SurgeRule
from detectors.surroundings import Surroundings


class Policy(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Series of one policy are watched together: one rule of time, one detector, one bank in each partition.

    source: folded name of a source with a rule of its own; '' for all the others, so that invented ones cost nothing.
    detector: index into Rules.detectors; -1 stands for the default detector.
    """

    source: str
    rule: SourceRule
    detector: int


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the decisions depend on besides the reports.

    sources: by folded name; the others follow source_default.
    clock_skew_seconds: how far a report's time may lie after its record's timestamp.
    series_limit: how many series are watched, over all partitions.
    detectors: the first whose pattern fits a service watches it; none: the default detector.
    catalogue: what people know of services and regions; `surge` has the time zones of its regions, too.
    calendars: of planned maintenance. holidays: country or subdivision by region, see `public_holidays`.
    partitions, reports_partitions: of `report-counts` and of `reports`.
    """

    sources: dict[str, SourceRule] = {}
    source_default: SourceRule = SourceRule()
    clock_skew_seconds: float = 300.0
    max_record_bytes: int = 65_536
    series_limit: int = 100_000
    surge: SurgeRule = SurgeRule()
    incidents: IncidentRule = IncidentRule()
    ours: OursRule = OursRule()
    detectors: tuple[DetectorChoice, ...] = ()
    catalogue: Catalogue = Catalogue()
    calendars: tuple[CalendarText, ...] = ()
    holidays: dict[str, str] = {}
    partitions: int = 4
    reports_partitions: int = 4

    def surroundings(self) -> Surroundings:
        """What the judge knows besides the reports."""
        return Surroundings(self.catalogue, self.ours, self.maintenance())

    def source(self, name: str) -> SourceRule:
        """The rule of a source, by its folded name."""
        return self.sources.get(name, self.source_default)

    def maintenance(self) -> Maintenance:
        """The windows in which outages are planned."""
        return maintenance(self.calendars, tuple(sorted(by_region(self.surge.time_zones).items())))

    def policy(self, series: Series) -> Policy:
        """The policy that a series is watched under."""
        fits = (i for i, choice in enumerate(self.detectors) if fnmatchcase(series.service, choice.services))
        own = series.source if series.source in self.sources else ""
        return Policy(own, self.source(series.source), next(fits, -1))

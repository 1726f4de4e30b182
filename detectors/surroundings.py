"""Surroundings: what the judge knows of the world besides the reports: from people's settings, not from the log."""

from __future__ import annotations

from typing import NamedTuple

from detectors.catalogue import NO_CATALOGUE, Catalogue
from detectors.maintenance import NOTHING, Maintenance
from detectors.ours import OursRule

_NOTHING_OURS = OursRule()


class Surroundings(NamedTuple):
    """catalogue: of services and regions. ours: which of them are our own. maintenance: when outages are planned."""

    catalogue: Catalogue = NO_CATALOGUE
    ours: OursRule = _NOTHING_OURS
    maintenance: Maintenance = NOTHING


NOTHING_AROUND = Surroundings()

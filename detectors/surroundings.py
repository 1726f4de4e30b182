"""Surroundings: what the judge knows of the world besides the reports: from people's settings, not from the log."""

from __future__ import annotations

import msgspec

from detectors.catalogue import Catalogue
from detectors.ours import OursRule


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """catalogue: of services and regions. ours: which of them are our own."""

    catalogue: Catalogue = Catalogue()
    ours: OursRule = OursRule()


NOTHING_AROUND = Surroundings()

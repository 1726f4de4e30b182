"""Detection quality (being built)."""

from __future__ import annotations

import numpy as np

from detectors.baseline import MINUTE_MS
from detectors.local_time import DAY_MS
from detectors.series import Series
from detectors.surge import SurgeBank, SurgeRule

#: The referees' minute 0 is a Monday, 00:00.
MONDAY_MS = 4 * DAY_MS


class RefereeBank:
    """A SurgeBank as the referees call it."""

    def __init__(self, names, bucket_minutes=1):
        self.bank = SurgeBank(SurgeRule(), bucket_minutes * 60)
        self.bank.add([Series("reports", service, region) for service, region in names])

    def update(self, minute, counts):
        return self.bank.close(MONDAY_MS + int(minute) * MINUTE_MS, np.asarray(counts, dtype=np.int64)).evidence


def bank(names, bucket_minutes=1):
    return RefereeBank(names, bucket_minutes)

"""`groundswell` as it is, with notes of its traffic: python -m bench.worker NOTES REPORTS COUNTS ARGUMENTS."""

from __future__ import annotations

import sys
from pathlib import Path

from bench import wire
from streams.cli import main

if __name__ == "__main__":
    notes, reports, counts, *arguments = sys.argv[1:]
    wire.note(Path(notes), fetched=reports, acknowledged=counts)
    sys.argv = ["groundswell", *arguments]
    sys.exit(main())

"""Labels: the outages that are known, from a CSV file of theirs, to judge a backtest by."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from detectors.catalogue import NO_CATALOGUE, Catalogue
from detectors.report import END_OF_TIME_MS, EPOCH, MAX_NAME, MAX_REGION, Rejected, identify
from detectors.verification import Label
from streams.fault import Fault

#: A file holds no more: more outages than anybody has noted down.
MOST = 10_000
COLUMNS = ("service", "region", "start", "end")
_EXAMPLE = "WhatsApp,it/lazio,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z"

_Moment = Annotated[datetime, Meta(tz=True)]


class LabelError(Fault):
    """A file of known outages cannot be read, or a row of it is wrong."""


def read(path: Path, catalogue: Catalogue = NO_CATALOGUE) -> list[Label]:
    """The labels of a CSV file with the columns service, region (may be empty), start and end (RFC 3339), in its order.

    Names are compared as those of reports are: white space and case do not matter, aliases of the catalogue are
    followed. Columns of other names are left out.
    LabelError, with the number of the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_labels(path, file, catalogue))
    except OSError as error:
        raise LabelError(
            f"labels file {path} cannot be read", error.strerror or str(error), "Give a CSV file with --labels."
        ) from None
    except UnicodeDecodeError as error:
        raise LabelError(f"labels file {path} is not UTF-8", str(error), "Save it as UTF-8.") from None


def _labels(path: Path, lines: Iterator[str], catalogue: Catalogue) -> Iterator[Label]:
    rows = csv.reader(lines, strict=True)
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        missing = [name for name in COLUMNS if header.count(name) != 1]
        if missing:
            raise LabelError(
                f"labels file {path} needs one column named {missing[0]}",
                f"its first line is {','.join(header)[:200]!r}",
                f"Begin it with the line {','.join(COLUMNS)}.",
            )
        places = [header.index(name) for name in COLUMNS]
        for number, cells in enumerate((row for row in rows if any(cell.strip() for cell in row)), 1):
            where = f"labels file {path}, line {rows.line_num}"
            if number > MOST:
                raise LabelError(f"{where}: more than {MOST:,} labels", hint="Split the file.")
            if len(cells) != len(header):
                raise LabelError(
                    f"{where}: {len(cells)} cells, but {len(header)} columns",
                    hint=f"A line reads: {_EXAMPLE}; a name with a comma in it stands in quotes.",
                )
            yield _label(where, catalogue, *(cells[place] for place in places))
    except csv.Error as error:
        raise LabelError(f"labels file {path}, line {rows.line_num}: no CSV", str(error)) from None


def _label(where: str, catalogue: Catalogue, service: str, region: str, start: str, end: str) -> Label:
    for name, text, longest in (("service", service, MAX_NAME), ("region", region, MAX_REGION)):
        if len(text) > longest:
            raise LabelError(f"{where}: {name} has {len(text)} characters", hint=f"At most {longest} are allowed.")
    named = identify("labels", service, region)
    if isinstance(named, Rejected):
        raise LabelError(f"{where}: no report can have this {named.path.removeprefix('$.')}", named.detail)
    series, names = catalogue.settle(*named)
    begin, until = _ms(where, "start", start), _ms(where, "end", end)
    if begin >= until:
        raise LabelError(f"{where}: end {end.strip()[:80]} is not after start {start.strip()[:80]}")
    return Label(names.service, names.region, (series.service, series.region), begin, until)


def _ms(where: str, name: str, text: str) -> int:
    try:
        since = msgspec.convert(text.strip(), _Moment) - EPOCH
    except msgspec.ValidationError:
        raise LabelError(
            f"{where}: {name} {text[:80]!r} is no time with its zone", hint="Write RFC 3339: 2022-10-25T07:04:00Z."
        ) from None
    ms = since // timedelta(milliseconds=1)
    if not 0 <= ms < END_OF_TIME_MS:
        raise LabelError(f"{where}: {name} {text.strip()[:80]} is not between 1970 and 2200")
    return ms

"""Rows: what stands in a file of reports, NDJSON, CSV or Parquet, as the JSON value of one record a row."""

from __future__ import annotations

import csv
import io
import itertools
import math
import os
import re
import stat
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from gzip import GzipFile
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from detectors.report import EPOCH, Report
from streams.fault import Fault

#: Where standard input stands for the file.
STDIN = "-"
#: Longest line taken whole; of a longer one so much and one byte is passed on, which no worker takes for a report.
LINE_BYTES = 1_000_000
#: Read at once: large enough for speed, small enough that no zip bomb fills the memory.
PIECE_BYTES = 256 * 1024
PARQUET_ROWS = 4096

FIELDS = Report.__struct_fields__
_TEXTS = ("service", "region", "source", "problem", "id")
_DELIMITERS = ",;\t"
_GZIP, _PARQUET, _UTF8_BOM, _UTF16_BOMS = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
_FORMATS = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".json": "ndjson"}
_NUMBER = re.compile(r"-?(\d{1,18}|\d{0,18}\.\d{1,18})", re.ASCII)
_encode = msgspec.json.Encoder(enc_hook=str).encode


class FeedError(Fault):
    """A file of reports cannot be read, or not to its end."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


class Rows:
    """An open file of reports; iterating gives, for each piece that was read, the JSON values of its rows in order.

    NDJSON lines come out as they are, malformed ones too; so do CSV rows that make no report: the worker rejects them
    with a reason. Blank lines are no rows. Memory stays bounded whatever the file holds.
    path: a file, plain or gzip, or "-" for standard input. note: told once of each thing a user may want to know.
    FeedError where it cannot be read, also while iterating.
    """

    def __init__(self, path: str | Path, note: Callable[[str], None]) -> None:
        self.name = "standard input" if str(path) == STDIN else str(path)
        self.size: int | None = None
        self._path = path
        self._note = note
        self._closing = ExitStack()
        self._share_read: float | None = None
        self._zone_noted = False
        try:
            self._raw = self._open()
        except OSError as error:
            self.close()
            hint = "Give a file, or - for standard input."
            raise FeedError(f"{self.name} cannot be read", error.strerror or str(error), hint) from None

    def _open(self) -> _Readable:
        if str(self._path) == STDIN:
            stream = sys.stdin.buffer
            # Unbuffered: rows that somebody pipes in go on as they come, and nothing holds a lock at exit.
            return getattr(stream, "raw", stream)
        file = self._closing.enter_context(Path(self._path).open("rb", buffering=0))  # noqa: SIM115
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            self.size = status.st_size
        return file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._closing.close()

    def share_read(self) -> float | None:
        """How much of the file is read, 0 to 1; None where nobody can know."""
        if self.size is None or not isinstance(self._raw, io.FileIO):
            return None
        if self._share_read is not None:
            return self._share_read
        return min(1.0, self._raw.tell() / self.size) if self.size else 1.0

    def __iter__(self) -> Iterator[list[bytes]]:
        try:
            head = _head(self._raw)
            if head.startswith(_PARQUET):
                yield from self._parquet()
            else:
                yield from self._text(head)
        except (OSError, EOFError, zlib.error) as error:
            raise FeedError(f"{self.name} cannot be read to its end", str(error)) from error

    def _text(self, head: bytes) -> Iterator[list[bytes]]:
        source: _Readable = _Restored(self._raw, head)
        if head.startswith(_GZIP):
            source = GzipFile(fileobj=source, mode="rb")  # type: ignore[call-overload]
        lines, first = _peeked(_lines(source))
        if first.startswith(_PARQUET):
            raise FeedError(
                f"{self.name} is Parquet inside gzip", hint="Unpack it first: Parquet compresses by itself."
            )
        if first.startswith(_UTF16_BOMS):
            raise FeedError(f"{self.name} is UTF-16", hint="Save it as UTF-8.")
        # Without a name that says so, it is CSV if its first line names the one column that has to be there.
        kind = _FORMATS.get(Path(self.name.lower().removesuffix(".gz")).suffix)
        columns = _columns(first)
        if kind == "csv" or (kind is None and columns):
            yield from self._csv(lines, first, columns)
        else:
            if first.lstrip().startswith(b"["):
                self._note(
                    f"{self.name} begins with [: one JSON object a line is read, no array (jq -c .[] makes lines)"
                )
            yield from lines

    def _csv(self, pieces: Iterator[list[bytes]], first: bytes, columns: list[str]) -> Iterator[list[bytes]]:
        if not first:
            return
        if not columns:
            raise FeedError(
                f"{self.name} has no column named service",
                f"its first line is {_shortened(first)}",
                f"Give a header line with some of: {','.join(FIELDS)}.",
            )
        self._check(columns)
        lines = _CsvLines(pieces)
        rows = csv.reader(lines, delimiter=_delimiter(first), strict=True)
        header = True
        while not lines.ended:
            values: list[bytes] = []
            for cells, raw in _csv_rows(rows, lines):
                if header:
                    header = False
                elif cells is None:
                    values.extend(raw)
                elif cells:
                    value = self._from_cells(columns, cells)
                    values.extend(raw if value is None else [value])
            if values:
                yield values

    def _check(self, columns: Iterable[str]) -> None:
        """Note the columns that are no fields of a report. FeedError where a field has two columns."""
        names = list(columns)
        for field in FIELDS:
            if names.count(field) > 1:
                raise FeedError(f"{self.name} has two columns named {field}", hint="Rename one of them.")
        unknown = [_shortened(name.encode(errors="replace")) for name in names if name not in FIELDS]
        if unknown:
            more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
            self._note(f"{self.name}: columns left out, no fields of a report: {', '.join(unknown[:10])}{more}")

    def _from_cells(self, columns: list[str], cells: list[str]) -> bytes | None:
        """The JSON value of a CSV row; None where its cells do not fit the columns or are not UTF-8."""
        if any(cells[len(columns) :]):
            return None
        report = {
            name: self._cell(name, text)
            for name, text in zip(columns, cells, strict=False)
            if name in FIELDS and (text or name == "service")
        }
        try:
            return _encode(report)
        except UnicodeEncodeError:
            return None

    def _cell(self, name: str, text: str) -> str | int | float:
        if name == "time":
            return self._time(text)
        if name == "count":
            return _number(text)
        return text

    def _time(self, text: str) -> str | int | float:
        """An ISO time in RFC 3339, of a number the number; what is neither as it is, for the worker to reject."""
        number = _number(text)
        if not isinstance(number, str):
            return number
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            return text
        if moment.tzinfo is None:
            self._note_zone()
            moment = moment.replace(tzinfo=UTC)
        return moment.isoformat()

    def _note_zone(self) -> None:
        if not self._zone_noted:
            self._zone_noted = True
            self._note(f"{self.name}: times without a zone are taken as UTC")

    def _parquet(self) -> Iterator[list[bytes]]:
        if self.size is None:
            raise FeedError("Parquet cannot be read from a pipe", hint="Give the path of a file.")
        try:
            import pyarrow as arrow
            import pyarrow.parquet as parquet
        except ImportError:
            raise FeedError(
                f"{self.name} is Parquet, which needs pyarrow", hint="Install it: pip install 'groundswell[parquet]'"
            ) from None
        try:
            file = self._closing.enter_context(parquet.ParquetFile(str(self._path)))
            columns = {name: name.strip().lower() for name in file.schema_arrow.names}
            if "service" not in columns.values():
                names = _shortened(", ".join(columns).encode(errors="replace"))
                raise FeedError(f"{self.name} has no column named service", f"its columns are {names}")
            self._check(columns.values())
            known = [name for name, field in columns.items() if field in FIELDS]
            total, done = file.metadata.num_rows, 0
            self._share_read = 0.0
            for batch in file.iter_batches(PARQUET_ROWS, columns=known):
                cells = [self._column(columns[name], batch.column(name), arrow) for name in known]
                fields = [columns[name] for name in known]
                yield [
                    _encode({field: cell for field, cell in zip(fields, row, strict=True) if cell is not None})
                    for row in zip(*cells, strict=True)
                ]
                done += batch.num_rows
                self._share_read = done / total
        except (arrow.ArrowException, ValueError, OverflowError) as error:
            raise FeedError(f"{self.name} cannot be read as Parquet", str(error)) from error

    def _column(self, name: str, column: Any, arrow: Any) -> list[Any]:
        if arrow.types.is_temporal(column.type) and name == "time":
            if getattr(column.type, "tz", None) is None:
                self._note_zone()
            # By milliseconds, as times are counted: pyarrow's own conversion fails on nanoseconds and the year 10000.
            stamps = column.cast(arrow.timestamp("ms"), safe=False).cast(arrow.int64())
            return [_moment(ms) for ms in stamps.to_pylist()]
        if arrow.types.is_binary(column.type) or arrow.types.is_large_binary(column.type):
            return [None if cell is None else cell.decode(errors="replace") for cell in column.to_pylist()]
        cells = column.to_pylist()
        if name in _TEXTS:
            return [str(cell) if isinstance(cell, int) and not isinstance(cell, bool) else cell for cell in cells]
        if name == "time":
            return [self._time(cell) if isinstance(cell, str) else _finite(cell) for cell in cells]
        return [_finite(cell) for cell in cells]


class _Restored:
    """A stream whose first bytes, read to see what it is, are given back."""

    def __init__(self, raw: _Readable, head: bytes) -> None:
        self._raw = raw
        self._head = head

    def read(self, size: int = PIECE_BYTES) -> bytes:
        if self._head:
            piece, self._head = self._head[:size], self._head[size:]
            return piece
        return _read(self._raw, size)


def _read(raw: _Readable, size: int) -> bytes:
    while (piece := raw.read(size)) is None:  # somebody left the pipe non-blocking: None is no end
        time.sleep(0.02)
    return piece


def _head(raw: _Readable) -> bytes:
    head = b""
    while len(head) < 4 and (piece := _read(raw, 4 - len(head))):
        head += piece
    return head


def _lines(source: _Readable) -> Iterator[list[bytes]]:
    """For each piece that is read, the lines that end in it, without their ends; blank ones left out."""
    read = getattr(source, "read1", source.read)
    rest = bytearray()
    skipping = False
    while piece := read(PIECE_BYTES):
        if skipping:
            _, end, piece = piece.partition(b"\n")
            skipping = not end
            if skipping:
                continue
        lines = piece.split(b"\n")
        rest += lines[0]
        if len(lines) > 1:
            lines[0] = bytes(rest[: LINE_BYTES + 1])
            rest = bytearray(lines.pop())
            yield [line.removesuffix(b"\r") for line in lines if line and not line.isspace()]
        if len(rest) > LINE_BYTES:
            yield [bytes(rest[: LINE_BYTES + 1])]
            rest.clear()
            skipping = True
    if rest and not rest.isspace():
        yield [bytes(rest.removesuffix(b"\r"))]


def _peeked(pieces: Iterator[list[bytes]]) -> tuple[Iterator[list[bytes]], bytes]:
    """The pieces, the first without a byte order mark, and their first line; b"" where there is none."""
    for piece in pieces:
        if piece:
            piece[0] = piece[0].removeprefix(_UTF8_BOM)
            if not piece[0]:
                del piece[0]
        if piece:
            return itertools.chain([piece], pieces), piece[0]
    return iter(()), b""


def _delimiter(header: bytes) -> str:
    return max(_DELIMITERS, key=lambda delimiter: header.count(delimiter.encode()))


def _columns(header: bytes) -> list[str]:
    """The names of a CSV header line, trimmed, in lower case; empty where none of them is `service`."""
    if header.lstrip().startswith(b"{"):
        return []
    try:
        cells = next(csv.reader([header.decode()], delimiter=_delimiter(header), strict=True), [])
    except (csv.Error, UnicodeDecodeError):
        return []
    names = [cell.strip().lower() for cell in cells]
    return names if "service" in names else []


class _CsvLines:
    """Lines for csv.reader. Between two rows it stops at the end of a piece, so that rows go on as they come."""

    def __init__(self, pieces: Iterator[list[bytes]]) -> None:
        self._pieces = pieces
        self._left: Iterator[bytes] = iter(())
        self._between_rows = False
        self.ended = False
        self.raw: list[bytes] = []
        self._raw_bytes = 0

    def more(self) -> None:
        """Wait for the next piece."""
        piece = next(self._pieces, None)
        if piece is None:
            self.ended = True
        else:
            self._left = iter(piece)

    def begin_row(self) -> None:
        self._between_rows = True
        self.raw = []
        self._raw_bytes = 0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while (line := next(self._left, None)) is None:
            if self._between_rows or self.ended:
                raise StopIteration
            self.more()
        self._between_rows = False
        self._raw_bytes += len(line)
        self.raw.append(line)
        if self._raw_bytes > LINE_BYTES:
            raise csv.Error("the row is too long")
        return line.decode(errors="surrogateescape") + "\n"


def _csv_rows(rows: Iterator[list[str]], lines: _CsvLines) -> Iterator[tuple[list[str] | None, list[bytes]]]:
    """The rows of the next piece: their cells, None where they cannot be told apart, and their lines as read."""
    lines.more()
    while True:
        lines.begin_row()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield None, lines.raw
        else:
            yield cells, lines.raw


def _number(text: str) -> str | int | float:
    """A number as such, 5.0 as 5; what is none as it is."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return text
    number: int | float = float(text) if "." in text else int(text)
    return _finite(number)  # type: ignore[return-value]


def _finite(cell: object) -> object:
    """5.0 as 5, since columns with gaps turn to floats; NaN, which stands for a gap, as None."""
    if isinstance(cell, float):
        if math.isnan(cell):
            return None
        if cell.is_integer() and abs(cell) < 2**53:
            return int(cell)
    return cell


def _moment(ms: int | None) -> datetime | int | None:
    """The moment of so many milliseconds since 1970; those that no calendar holds as the number."""
    if ms is None:
        return None
    try:
        return EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return ms


def _shortened(text: bytes) -> str:
    shown = repr(text[:80].decode(errors="replace"))
    return shown + "…" if len(text) > 80 else shown

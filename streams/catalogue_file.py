"""The service catalogue, read from its TOML file."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from detectors.catalogue import Catalogue, Mute, Region, Service, Wrong
from streams.fault import Fault
from streams.fields import shown

#: A catalogue is written by people: a file beyond this is another file.
MOST_BYTES = 20_000_000

#: Tables of the file, their structs, and what an entry is known by.
_TABLES: dict[str, tuple[type[msgspec.Struct], str]] = {
    "service": (Service, "name"),
    "region": (Region, "path"),
    "mute": (Mute, "service"),
}
_T = TypeVar("_T", bound=msgspec.Struct)


class CatalogueError(Fault):
    """The catalogue cannot be read, or an entry of it is wrong."""


def read(path: Path) -> Catalogue:
    """The catalogue of a file. CatalogueError, with the entry."""
    tables = _tables(path)
    for table in tables:
        if table not in _TABLES:
            raise CatalogueError(
                f"unknown table {shown(table)} in catalogue {path}", hint=_nearest(table, list(_TABLES), "There are")
            )
    try:
        return Catalogue(
            services=_entries(path, tables, "service", Service),
            regions=_entries(path, tables, "region", Region),
            mutes=_entries(path, tables, "mute", Mute),
        )
    except Wrong as wrong:
        raise CatalogueError(f"{wrong.entry} in catalogue {path}: {wrong.problem}", hint=wrong.hint) from None


def _tables(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise CatalogueError(f"catalogue {path} has more than {MOST_BYTES // 1_000_000} MB", hint="Split it up.")
        return tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise CatalogueError(
            f"catalogue {path} cannot be read", error.strerror or str(error), "Give its path as catalogue.file."
        ) from None
    except UnicodeDecodeError as error:
        raise CatalogueError(f"catalogue {path} is not UTF-8", str(error), "Save it as UTF-8.") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise CatalogueError(
            f"catalogue {path} is not TOML", str(error), 'An entry begins with [[service]], a line reads: name = "TIM".'
        ) from None


def _entries(path: Path, tables: dict[str, Any], table: str, struct: type[_T]) -> tuple[_T, ...]:
    given = tables.get(table, [])
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        raise CatalogueError(f"{table} in catalogue {path} is no list of tables", hint=f"Begin each with [[{table}]].")
    known_by = _TABLES[table][1]
    found = []
    for number, entry in enumerate(given, 1):
        name = entry.get(known_by)
        where = f"[[{table}]] number {number}" + (f" ({name[:80]})" if isinstance(name, str) else "")
        for field in entry:
            if field not in struct.__struct_fields__:
                raise CatalogueError(
                    f"{where} in catalogue {path}: unknown name {shown(field)}",
                    hint=_nearest(field, list(struct.__struct_fields__), "It may have"),
                )
        try:
            found.append(msgspec.convert(entry, struct))
        except msgspec.ValidationError as error:
            raise CatalogueError(f"{where} in catalogue {path}: {_told(error)}", hint=_hint(error)) from None
    return tuple(found)


def _told(error: msgspec.ValidationError) -> str:
    """
    >>> _told(msgspec.ValidationError("Expected `str`, got `int` - at `$.team`"))
    'team is wrong: expected `str`, got `int`'
    """
    text, _, place = str(error).partition(" - at `")
    text = text[:1].lower() + text[1:]
    return f"{place.removeprefix('$.').rstrip('`')} is wrong: {text}" if place else text


def _hint(error: msgspec.ValidationError) -> str:
    if "$.until" in str(error):
        return "Write a time with its zone: 2026-12-01T00:00:00Z."
    if "$.kind" in str(error):
        return "Write series, service, region, global or feed."
    if "missing required field" in str(error):
        return "Give it."
    return "docs/settings.md says what an entry may have."


def _nearest(name: str, known: list[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"{otherwise}: {', '.join(known)}."

"""The service catalogue, read from its TOML file."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import NODEFAULT

from detectors.catalogue import MAX_LINK, MAX_LINKS, Catalogue, Mute, Region, Service, Wrong
from streams.fault import Fault
from streams.fields import Field, fields_of, shown

#: A catalogue is written by people: a file beyond this is another file.
MOST_BYTES = 20_000_000

#: Tables of the file, their structs, and what an entry is known by.
_TABLES: dict[str, tuple[type[msgspec.Struct], str]] = {
    "service": (Service, "name"),
    "region": (Region, "path"),
    "mute": (Mute, "service"),
}
#: What values are whose kind no setting has, and what to write.
_KINDS = {"aliases": "a list of names", "links": "a table of texts", "until": "a time with its zone"}
_HINTS = {
    "aliases": 'Write ["WA", "Whats App"].',
    "links": f'Write {{ runbook = "https://..." }}, at most {MAX_LINKS} of at most {MAX_LINK} characters.',
    "until": "Write 2026-12-01T00:00:00Z.",
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
    fields = {_name(field): field for field in fields_of(table, struct)}
    found = []
    for number, entry in enumerate(given, 1):
        name = entry.get(known_by)
        where = f"[[{table}]] number {number}" + (f" ({name[:80]})" if isinstance(name, str) else "")
        for field in entry:
            if field not in fields:
                raise CatalogueError(
                    f"{where} in catalogue {path}: unknown name {shown(field)}",
                    hint=_nearest(field, list(fields), "It may have"),
                )
        try:
            found.append(msgspec.convert(entry, struct))
        except msgspec.ValidationError as error:
            raise _refused(f"{where} in catalogue {path}", entry, fields, error) from None
    return tuple(found)


def _refused(where: str, entry: dict[str, Any], fields: dict[str, Field], error: msgspec.ValidationError) -> Fault:
    """What is wrong with the value that msgspec names: ``Expected `str`, got `int` - at `$.team` ``."""
    name = re.split(r"[.\[`]", str(error).partition("`$.")[2])[0]
    if name not in entry:
        missing = next(field for field in fields.values() if _name(field) not in entry and field.default is NODEFAULT)
        return CatalogueError(f"{where} has no {_name(missing)}", missing.sentence, f"Write {_name(missing)} = ...")
    wrong = "is not allowed" if "of length" in str(error) else f"is not {_KINDS.get(name, fields[name].kind)}"
    return CatalogueError(
        f"{where}: {name}={shown(entry[name])} {wrong}",
        fields[name].sentence,
        _HINTS.get(name, f"Give {fields[name].allowed}."),
    )


def _name(field: Field) -> str:
    return field.name.rpartition(".")[2]


def _nearest(name: str, known: list[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"{otherwise}: {', '.join(known)}."

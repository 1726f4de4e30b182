"""Destinations and routes as the settings file has them: [destination.NAME] and [[routes]]."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from detectors.routing import Route
from streams.fault import Fault
from streams.fields import Field, convert, fields_of, shown
from streams.notify.destinations import KINDS, Destination, files

#: It is a metric's label and part of a consumer group's name.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
MOST_DESTINATIONS = 50
MOST_ROUTES = 1000


class DestinationError(Fault):
    """A destination or a route is wrong."""


def read_destinations(tables: Any, where: str, folder: Path) -> dict[str, Destination]:
    """The destinations by name. folder: that their files' paths start from. where: the settings file, for errors."""
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise DestinationError(
            f"destination in {where} is no table of tables", hint="Begin each: [destination.oncall]."
        )
    if len(tables) > MOST_DESTINATIONS:
        raise DestinationError(f"{len(tables)} destinations in {where}", hint=f"Give at most {MOST_DESTINATIONS}.")
    return {name: _destination(name, table, where, folder) for name, table in tables.items()}


def _destination(name: str, table: Mapping[str, Any], where: str, folder: Path) -> Destination:
    title = f"[destination.{name}] in {where}"
    if not NAME.fullmatch(name):
        raise DestinationError(
            f"{title} is not allowed as a name", hint="Give small letters, digits, '_' and '-', at most 50."
        )
    kind = KINDS.get(table.get("type", "")) if isinstance(table.get("type", ""), str) else None
    if kind is None:
        said = f"type={shown(table['type'])} is unknown" if "type" in table else "it has no type"
        raise DestinationError(f"{title}: {said}", hint=f"Give one of {', '.join(KINDS)}.")
    fields = {_name(field): field for field in fields_of(name, kind)}
    given = {each: value for each, value in table.items() if each != "type"}
    try:
        return kind(**_values(title, given, fields, folder))
    except ValueError as error:
        raise DestinationError(f"{title}: {error}") from None


def _values(title: str, given: Mapping[str, Any], fields: Mapping[str, Field], folder: Path) -> dict[str, Any]:
    for each in given:
        if each not in fields:
            raise DestinationError(f"{title}: unknown setting {shown(each)}", hint=_nearest(each, fields))
    values = {}
    for name, field in fields.items():
        if name in given:
            try:
                value = _beside(folder, given[name]) if field.is_file else given[name]
                values[name] = convert(value, field.annotation, text=False)
            except msgspec.ValidationError as error:
                raise DestinationError(
                    f"{title}: {name}={shown(given[name])} is not allowed", str(error), f"It is {field.sentence}."
                ) from None
        elif field.default is msgspec.NODEFAULT:
            raise DestinationError(f"{title} has no {name}", f"It is {field.sentence}.", f"Write {name} = ...")
    return values


def _beside(folder: Path, value: Any) -> Any:
    if isinstance(value, list):
        return [_beside(folder, each) for each in value]
    return str(folder / value) if isinstance(value, str) and value else value


def unreadable(destinations: Mapping[str, Destination]) -> Iterator[DestinationError]:
    """What is wrong with the files that they name: secrets, which the worker alone need be able to read."""
    for name, destination in destinations.items():
        for path in files(destination):
            try:
                if not path.read_text("utf-8").strip():
                    yield DestinationError(
                        f"[destination.{name}]: file {path} is empty", hint="Put the value alone into it."
                    )
            except (OSError, UnicodeDecodeError) as error:
                reason = (error.strerror if isinstance(error, OSError) else None) or "not UTF-8"
                yield DestinationError(f"[destination.{name}]: file {path} cannot be read", reason)


def read_routes(tables: Any, where: str, destinations: Iterable[str]) -> tuple[Route, ...]:
    """The routes, in their order."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise DestinationError(f"routes in {where} are no list of tables", hint="Begin each with [[routes]].")
    if len(tables) > MOST_ROUTES:
        raise DestinationError(f"{len(tables)} routes in {where}", hint=f"Give at most {MOST_ROUTES}.")
    known = sorted(destinations)
    return tuple(_route(number, table, where, known) for number, table in enumerate(tables, 1))


def _route(number: int, table: Mapping[str, Any], where: str, known: list[str]) -> Route:
    title = f"[[routes]] number {number} in {where}"
    fields = {_name(field): field for field in fields_of("routes", Route)}
    for each in table:
        if each not in fields:
            raise DestinationError(f"{title}: unknown setting {shown(each)}", hint=_nearest(each, fields))
    try:
        route = msgspec.convert(table, Route)
    except msgspec.ValidationError as error:
        raise DestinationError(title, str(error), "A route is: severity = [...], to = [...].") from None
    for name in route.to:
        if name not in known:
            there = f"There are {', '.join(known)}." if known else "There is no destination at all."
            raise DestinationError(f"{title}: no destination is named {shown(name)}", hint=there)
    return route


def _name(field: Field) -> str:
    return field.name.rpartition(".")[2]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names)}."

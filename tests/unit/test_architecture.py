"""The arrows between the packages point one way, and what decides depends on nothing but its arguments."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DETECTORS = sorted((ROOT / "detectors").rglob("*.py"))
STREAMS = sorted((ROOT / "streams").rglob("*.py"))

#: All that `detectors` may import, and nothing of it does I/O by itself. River loads `socket`, so a list of forbidden
#: modules looked up in sys.modules would not do.
ALLOWED = {
    "__future__",
    "bisect",
    "collections",
    "datetime",
    "difflib",
    "enum",
    "fnmatch",
    "functools",
    "hashlib",
    "heapq",
    "inspect",
    "io",
    "itertools",
    "math",
    "operator",
    "pickle",  # river_models.py: a restricted unpickler
    "re",
    "string",  # Formatter: parsing of templates
    "struct",
    "typing",
    "unicodedata",
    "weakref",  # counts.py: spellings that a chunk still counts by
    "zlib",
    "zoneinfo",  # local_time.py: the time zones as they are installed
    "detectors",
    "holidays",  # public_holidays.py: the days as they are installed
    "icalendar",  # maintenance.py: of a text
    "msgspec",
    "numpy",
    "recurring_ical_events",
    "river",
}
#: `datetime` is for text: neither the clock nor chance nor a file may decide. hash and id differ between processes.
IMPURE = re.compile(
    r"(?:datetime\.)?(?:datetime|date)\.(?:now|utcnow|today)|(?:np|numpy)\.random\..*|open|input|print|hash|id"
)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import of a file, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every call of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DETECTORS, ids=name_of)
def test_detectors_import_only_what_is_allowed(path):
    strangers = [f"{line}: {name}" for line, name in imports(path) if name.partition(".")[0] not in ALLOWED]

    assert strangers == []


@pytest.mark.parametrize("path", DETECTORS, ids=name_of)
def test_detectors_ask_neither_clock_nor_chance_nor_files(path):
    impure = [f"{line}: {name}" for line, name in calls(path) if IMPURE.fullmatch(name)]

    assert impure == []


def test_modules_of_streams_import_each_other_one_way_only():
    arrows = {module_of(path): {name for _, name in imports(path) if name.startswith("streams.")} for path in STREAMS}
    modules = set(arrows)

    # static_order raises CycleError with the circle in it.
    list(
        graphlib.TopologicalSorter(
            {module: named & modules - {module} for module, named in arrows.items()}
        ).static_order()
    )


def test_settings_stand_at_the_begin_and_the_command_line_at_the_end():
    arrows = {module_of(path): {name for _, name in imports(path)} for path in STREAMS}

    begin = {"streams.fault", "streams.fields"}
    readers = {
        "streams.catalogue_file",
        "streams.notify.destinations",
        "streams.notify.settings",
        "streams.web_settings",
    }
    described = {"streams.notify.destinations", "streams.notify.addresses"}
    for reader in readers | described:
        assert {name for name in arrows[reader] if name in arrows} <= begin | described
    assert {name for name in arrows["streams.settings"] if name in arrows} <= begin | readers
    assert [module for module, named in arrows.items() if "streams.cli" in named and module != "streams.__main__"] == []


def module_of(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")

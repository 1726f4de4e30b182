"""Settings written back into groundswell.toml: the keys that change, the rest of the file as it is."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from streams.fields import shown
from streams.settings import DEFAULT_FILE, FIELDS, Loaded, SettingsError


def check(loaded: Loaded, names: Iterable[str]) -> None:
    """SettingsError where a variable or flag sets one of these settings: what the file says would do nothing."""
    file = loaded.path
    for name in names:
        origin = loaded.origins[name]
        if origin not in ("default", str(file)):
            raise SettingsError(
                f"{name} is not written: {origin} sets it",
                "It overrides the settings file, so a new value there would do nothing.",
                f"Change {origin} itself, or take it away.",
            )


def write(loaded: Loaded, values: Mapping[str, float]) -> Path:
    """Write the values, by setting name, into the file in use, else into ./groundswell.toml; returns its path.

    Comments, order and all other settings stay. The file is replaced at once or left as it was. SettingsError where a
    variable sets one of them, or the file cannot be written.
    """
    check(loaded, values)
    file = loaded.path or DEFAULT_FILE
    # A link stays a link: what it points to is replaced.
    target = Path(os.path.realpath(file))
    try:
        text = target.read_bytes().decode("utf-8") if target.exists() else ""
        _replace(target, _edited(text, values))
    except (OSError, TOMLKitError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        lines = "; ".join(f"{name} = {shown(value)}" for name, value in values.items())
        raise SettingsError(
            f"settings file {file} cannot be written", reason or str(error), f"Write it yourself: {lines}"
        ) from None
    return file


def _edited(text: str, values: Mapping[str, float]) -> str:
    """The text of a settings file with these values.

    >>> print(_edited("[incidents]  # ours\\nopen_at = 2 # as it was\\n", {"incidents.open_at": 4.0}), end="")
    [incidents]  # ours
    open_at = 4 # as it was
    """
    for name, value in values.items():
        assert name in FIELDS, name
        section, _, key = name.rpartition(".")
        document = tomlkit.parse(text)
        table: Any = document
        for part in section.split("."):
            if part not in table:
                table[part] = tomlkit.table()
            table = table[part]
        missing = key not in table
        table[key] = int(value) if value.is_integer() else value
        edited = tomlkit.dumps(document)
        if missing:
            # tomlkit puts a new key after the comments that lead up to the next section.
            header = re.compile(rf"^[ \t]*\[[ \t]*{re.escape(section)}[ \t]*\][ \t]*(?:#.*)?$", re.MULTILINE)
            if match := header.search(text):
                below = f"{text[: match.end()]}\n{key} = {table[key]}{text[match.end() :]}"
                edited = below if _same(below, edited) else edited
        text = edited
    return text


def _same(text: str, other: str) -> bool:
    """Whether two texts say the same."""
    try:
        return tomllib.loads(text) == tomllib.loads(other)
    except tomllib.TOMLDecodeError:
        return False


def _replace(target: Path, text: str) -> None:
    """Replace the file as a whole: a crash leaves the old one or the new one."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(name, target.stat().st_mode & 0o7777)
        else:
            os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise

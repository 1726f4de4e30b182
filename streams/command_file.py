"""Commands from a file, for a backtest: one JSON object a line, as they are on `incident-commands`."""

from __future__ import annotations

from pathlib import Path

from detectors import command
from detectors.command import MAX_BYTES, Command
from detectors.report import Rejected
from streams.fault import Fault

#: More than anybody says.
MOST = 10_000


class CommandFileError(Fault):
    """A file of commands cannot be read, or a line of it holds none."""


def read(path: Path) -> list[Command]:
    """The commands of a file. CommandFileError, with the number of the line."""
    found = []
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_BYTES + 2):
                number += 1
                if line.strip():
                    found.append(_command(path, number, line.strip()))
                if len(found) > MOST:
                    raise CommandFileError(f"file {path} has more than {MOST:,} commands", hint="Split it.")
    except OSError as error:
        raise CommandFileError(
            f"file {path} cannot be read", error.strerror or str(error), "Give a file of commands with --commands."
        ) from None
    return found


def _command(path: Path, number: int, line: bytes) -> Command:
    read = command.decode(line)
    if isinstance(read, Rejected):
        raise CommandFileError(
            f"file {path}, line {number}: no command",
            f"{read.path}: {read.detail}",
            "What one looks like: groundswell schema incident-commands",
        )
    return read

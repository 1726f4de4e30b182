"""What the commands write: results to `out`, all else to `err`; rich on a terminal, whole plain lines when piped."""

from __future__ import annotations

import re
import sys

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from streams.fault import Fault

#: Piped lines are as long as they are: nothing is wrapped or cut for a program that reads them.
PIPED_WIDTH = 100_000

# They move the cursor, forge lines or turn the direction of text. Lone surrogates cannot be written at all.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _console(*, stderr: bool) -> Console:
    """Markup and emoji names stay what they are: text from outside may hold them."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(
        stderr=stderr,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=not terminal,
        width=None if terminal else PIPED_WIDTH,
    )


out = _console(stderr=False)
err = _console(stderr=True)


def safe(text: str) -> str:
    r"""Text from outside on one line, as it can do no harm: control and direction characters shown, not sent.

    >>> print(safe("a\x1b[31m[bold]\nb"))
    a\x1b[31m[bold]\nb
    """
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def shortened(text: str, limit: int) -> str:
    """The text, cut to `limit` characters.

    >>> shortened("WhatsApp", 5)
    'What…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def table(*columns: str) -> Table:
    """An empty table: lines under its head on a terminal, bare columns when piped. Give cells that are `safe`."""
    lines = box.SIMPLE_HEAD if out.is_terminal else None
    rows = Table(box=lines, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        rows.add_column(column, overflow="fold")  # a name cut in the middle names nothing
    return rows


def tell(fault: Fault) -> None:
    """Fact, detail and hint, on stderr."""
    err.print(Text.assemble(("groundswell: ", "bold red"), (safe(fault.fact), "bold")))
    for line in (fault.detail, fault.hint):
        for part in line.splitlines():
            err.print(Text("  " + safe(part)))

"""Every `groundswell ...` in the documents is a command that there is, with options that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from streams.cli import cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "deploy" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: To the end of a call: of its line, where the next command of a pipe begins, or the code span ends.
_CALL = re.compile(r"(?:^|(?<=[\s|`(]))groundswell (?!/)([a-z-][^|&;`\n]*)")


def calls(file: Path) -> tuple[list[str], list[str]]:
    """The calls in code blocks, and those in the text, which may leave out what they are called with."""
    text = file.read_text()
    fenced = re.compile(r"^```.*?^```", re.M | re.S)
    blocks = fenced.findall(text) + re.findall(r"^ {4,}\S.*$", fenced.sub("", text), re.M)
    spans = re.findall(r"`[^`\n]+`", fenced.sub("", re.sub(r"^ {4,}\S.*$", "", text, flags=re.M)))
    return [found for block in blocks for found in _CALL.findall(block)], [
        found for span in spans for found in _CALL.findall(span)
    ]


def understood(call: str, *, whole: bool) -> None:
    """click.UsageError where the command line does not take it. whole: nothing that is needed may be left out."""
    given = shlex.split(call.replace("[", "").replace("]", ""), comments=True)
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and given and not given[0].startswith("-"):
        name, found, given = command.resolve_command(context, given)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    if isinstance(command, click.Group):
        return
    try:
        command.parse_args(context, given)
    except click.MissingParameter:
        if whole:
            raise


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_documented_commands_are_understood(file: Path):
    blocks, spans = calls(file)

    for call in blocks:
        understood(call, whole=True)
    for call in spans:
        understood(call, whole=False)


def test_commands_are_found_and_those_that_there_are_not_are_told():
    blocks, spans = calls(ROOT / "README.md")

    assert "topics" in {call.split()[0] for call in blocks}
    assert "check" in spans
    for wrong in ("tell", "tail --backwards", "incident forget 9e84"):
        with pytest.raises(click.UsageError):
            understood(wrong, whole=False)
    with pytest.raises(click.UsageError):
        understood("tune", whole=True)

"""What the documents tell people to type is understood: commands with their options, settings, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from streams import catalogue_file
from streams.cli import cli
from streams.settings import load

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


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_documented_settings_are_understood(file: Path, tmp_path: Path):
    for name in ("works.ics", "catalogue.toml", "ca.pem"):  # what examples have beside them
        (tmp_path / name).write_text("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nEND:VCALENDAR\n" if "ics" in name else "")

    destinations = ""
    for number, text in enumerate(re.findall(r"^```toml\n(.*?)^```", file.read_text(), re.M | re.S)):
        if "[destination." in text:
            destinations = text
        elif "[[routes]]" in text:  # they go to those that stand above
            text = destinations + text
        written = tmp_path / f"{number}.toml"
        written.write_text(text)
        if "[[service]]" in text:
            catalogue_file.read(written)
        else:
            load(written, env={"GROUNDSWELL_KAFKA_PASSWORD": "x"} if "SASL" in text else {})


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_the_documents_lead_somewhere(file: Path):
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", file.read_text()):
        path, _, anchor = target.partition("#")
        other = file.parent / path if path else file
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(), re.M)
            assert anchor in map(_anchor, headings), target


def _anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")

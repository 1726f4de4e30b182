"""Tokens: files of who may do something, read again when they change; of the tokens digests alone are kept.

A line is `name token`: the name of a person, or of a source of reports. Empty ones and those that begin with `#` say
nothing. A name may have several tokens, so that one can be changed for another without a gap.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from detectors import report
from streams.fault import Fault
from streams.fields import shown

MOST_TOKENS = 1000
MOST_BYTES = 1_000_000
#: Shorter ones can be guessed.
LEAST_CHARACTERS = 16
MOST_CHARACTERS = 512
#: How often a file is looked at, seconds.
LOOK_SECONDS = 2.0
#: What may follow `Bearer` (RFC 6750).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

log = structlog.get_logger(__name__)

#: Names by the digests of their tokens.
Tokens = Mapping[bytes, str]


class TokensError(Fault):
    """A file of tokens cannot be used. Names lines, never what stands in them."""


class TokensFile:
    """The tokens of a file as it was when last it could be read."""

    def __init__(self, path: Path, setting: str) -> None:
        """setting: which one names the file. TokensError where it cannot be used."""
        self._path = path
        self._setting = setting
        self._seen = _text(path, setting)
        self._complaint = ""
        self.tokens: Tokens = parse(self._seen, path)

    @property
    def names(self) -> list[str]:
        """Who has a token, sorted."""
        return sorted(set(self.tokens.values()))

    def reload(self) -> bool:
        """Read the file again; whether others may now. One that cannot be used leaves the old tokens in force."""
        try:
            text = _text(self._path, self._setting)
            if text == self._seen and not self._complaint:
                return False
            tokens = parse(text, self._path)
        except TokensError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.error("a tokens file cannot be used; the tokens read before stay in force", error=str(error))
            return False
        self._complaint = ""
        self._seen, self.tokens = text, tokens
        log.info("tokens read again", file=str(self._path), tokens=len(tokens), names=self.names)
        return True


async def watch(file: TokensFile, heed: Callable[[Tokens], None]) -> None:
    """Look at a file until cancelled. heed: told the tokens after each change."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if file.reload():
            heed(file.tokens)


def holder(token: str, tokens: Tokens) -> str | None:
    """Who has a token; None for an unknown one. Takes equally long for all that are as long."""
    if len(token) > MOST_CHARACTERS:
        return None
    given, found = digest(token), None
    for known, name in tokens.items():
        if hmac.compare_digest(known, given):
            found = name
    return found


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def parse(text: str, path: Path) -> Tokens:
    """The tokens of a file's text. TokensError names the line that is wrong."""
    names: dict[bytes, str] = {}
    lines: dict[bytes, int] = {}
    spelled: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        *before, token = line.rsplit(None, 1)
        if not before:
            raise TokensError(
                f"line {number} of {path} has one word", hint="A line is: name token. Comments begin with #."
            )
        name = report.clean(before[0])
        if not name or name.startswith("*") or len(name) > report.MAX_NAME:
            raise TokensError(
                f"line {number} of {path} has a name that none can be",
                hint=f"Give 1 to {report.MAX_NAME} characters, none of them a control character, the first no '*'.",
            )
        if not LEAST_CHARACTERS <= len(token) <= MOST_CHARACTERS or not _TOKEN.fullmatch(token):
            raise TokensError(
                f"the token in line {number} of {path} cannot be one",
                f"It needs {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters: letters, digits and -._~+/ with = at"
                " the end.",
                "Make one: openssl rand -hex 32",
            )
        key = digest(token)
        if key in names:
            raise TokensError(
                f"lines {lines[key]} and {number} of {path} have the same token", hint="Give each its own."
            )
        names[key] = spelled.setdefault(report.fold(name), name)
        lines[key] = number
    if len(names) > MOST_TOKENS:
        raise TokensError(f"{path} has {len(names)} tokens", f"At most {MOST_TOKENS} are read.")
    if not names:
        log.warning("a tokens file has no token: nobody may", file=str(path))
    return names


def _text(path: Path, setting: str) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        if len(raw) > MOST_BYTES:
            raise TokensError(f"tokens file {path} is too large", f"At most {MOST_BYTES} bytes are read.")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise TokensError(
            f"tokens file {shown(str(path))} cannot be read",
            error.strerror or str(error),
            f"Give its path in {setting}.",
        ) from None
    except UnicodeDecodeError as error:
        # Its text would show the bytes, of a token maybe.
        raise TokensError(
            f"tokens file {path} is not UTF-8", f"Byte {error.start} is none of it.", "Save it as UTF-8."
        ) from None

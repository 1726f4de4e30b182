"""The tokens file: who may send reports, and as which source. Read again when it changes; tokens are kept as digests.

A line is `source token`; empty ones and those that begin with `#` say nothing. A source may have several tokens, so
that one can be changed for another without a gap.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import msgspec
import structlog

from detectors import report
from streams.fault import Fault
from streams.fields import shown

MOST_TOKENS = 1000
MOST_BYTES = 1_000_000
#: Shorter ones can be guessed.
LEAST_CHARACTERS = 16
MOST_CHARACTERS = 512
#: What may follow `Bearer` (RFC 6750).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")

log = structlog.get_logger(__name__)


class TokensError(Fault):
    """The tokens file cannot be used. Names lines, never what stands in them."""


class Grant(msgspec.Struct, frozen=True):
    """What a token is good for. source: as the file spells it; identity: its folded name."""

    source: str
    identity: str


class Tokens:
    """The tokens of a file as it was when last it could be read."""

    def __init__(self, path: Path) -> None:
        """TokensError where the file cannot be used."""
        self._path = path
        self._seen = _text(path)
        self._grants = parse(self._seen, path)
        self._complaint = ""

    @property
    def sources(self) -> list[str]:
        """The sources that have a token, sorted."""
        return sorted({grant.source for grant in self._grants.values()})

    @property
    def identities(self) -> frozenset[str]:
        """The same by their folded names."""
        return frozenset(grant.identity for grant in self._grants.values())

    def reload(self) -> bool:
        """Read the file again; whether others may send now. One that cannot be used leaves the old tokens in force."""
        try:
            text = _text(self._path)
            if text == self._seen and not self._complaint:
                return False
            grants = parse(text, self._path)
        except TokensError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.error("the tokens file cannot be used; the tokens read before stay in force", error=str(error))
            return False
        self._complaint = ""
        self._seen, self._grants = text, grants
        log.info("tokens read again", file=str(self._path), tokens=len(grants), sources=self.sources)
        return True

    def grant(self, token: str) -> Grant | None:
        """What this token is good for; None for an unknown one. Takes equally long for all that are as long."""
        digest = _digest(token)
        found = None
        for known, grant in self._grants.items():
            if hmac.compare_digest(known, digest):
                found = grant
        return found


def parse(text: str, path: Path) -> dict[bytes, Grant]:
    """The grants by the digests of their tokens. TokensError names the line that is wrong."""
    grants: dict[bytes, Grant] = {}
    lines: dict[bytes, int] = {}
    spelled: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        *before, token = line.rsplit(None, 1)
        if not before:
            raise TokensError(
                f"line {number} of {path} has one word", hint="A line is: source token. Comments begin with #."
            )
        source = report.clean(before[0])
        if not source or source.startswith("*") or len(source) > report.MAX_NAME:
            raise TokensError(
                f"line {number} of {path} names a source that no report can have",
                hint=f"Give 1 to {report.MAX_NAME} characters, none of them a control character, the first no '*'.",
            )
        if not LEAST_CHARACTERS <= len(token) <= MOST_CHARACTERS or not _TOKEN.fullmatch(token):
            raise TokensError(
                f"the token in line {number} of {path} cannot be one",
                f"It needs {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters: letters, digits and -._~+/ with = at"
                " the end.",
                "Make one: openssl rand -hex 32",
            )
        digest = _digest(token)
        if digest in grants:
            raise TokensError(
                f"lines {lines[digest]} and {number} of {path} have the same token", hint="Give each its own."
            )
        identity = report.fold(source)
        grants[digest] = Grant(spelled.setdefault(identity, source), identity)
        lines[digest] = number
    if len(grants) > MOST_TOKENS:
        raise TokensError(f"{path} has {len(grants)} tokens", f"At most {MOST_TOKENS} are read.")
    if not grants:
        log.warning("the tokens file has no token: every request is refused", file=str(path))
    return grants


def _text(path: Path) -> str:
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
            "Give its path in http_ingest.tokens_file.",
        ) from None
    except UnicodeDecodeError as error:
        # Its text would show the bytes, of a token maybe.
        raise TokensError(
            f"tokens file {path} is not UTF-8", f"Byte {error.start} is none of it.", "Save it as UTF-8."
        ) from None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()

"""Settings of the status page: where it listens, and who may say something of an incident there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from detectors.command import MAX_BY
from detectors.report import clean
from streams.fault import Fault
from streams.fields import Secret

#: A token that is shorter can be guessed.
LEAST_TOKEN = 16
#: ... and a line of a file of tokens is no longer.
MOST_TOKEN = 500
_MOST_FILE_BYTES = 1_000_000

_TOKEN = re.compile(r"[!-~]+")


class WebSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The status page, /metrics and the health checks of a worker.

    ValueError where a proxy is no address, or a header is named that nobody is trusted with.
    """

    host: Annotated[
        str,
        Meta(min_length=1, max_length=255, description="address to listen on; 0.0.0.0 to be seen from other machines"),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port to listen on; 0 takes a free one")] = 8600
    public_url: (
        Annotated[
            str,
            Meta(
                max_length=500,
                pattern=r"^https?://[^\s?#]+[^\s?#/]$",
                description="address of the page as people reach it, behind your proxy; links in alerts and in the feed"
                " lead there",
            ),
        ]
        | None
    ) = None
    tokens_file: (
        Annotated[
            Path,
            Meta(
                description="who may acknowledge, mute and resolve on the page: a line `name token` for each, a token"
                f" of {LEAST_TOKEN} characters or more"
            ),
        ]
        | None
    ) = None
    user_header: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=100,
                pattern=r"^[A-Za-z0-9-]*$",
                description="header in which a proxy says who is logged in there, and so may do the same:"
                " X-Forwarded-User; believed from trusted_proxies alone",
            ),
        ]
        | None
    ) = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            max_length=100,
            description="addresses or networks of the proxies whose user_header and X-Forwarded-* are believed:"
            ' `["127.0.0.1", "10.0.0.0/8"]`',
        ),
    ] = ()

    def __post_init__(self) -> None:
        networks(self.trusted_proxies)
        if self.user_header is not None and not self.trusted_proxies:
            raise ValueError(
                f"user_header={self.user_header!r} is believed from nobody; name the proxy in trusted_proxies"
            )


def networks(addresses: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks of `trusted_proxies`. ValueError where one is none."""
    found = []
    for address in addresses:
        try:
            found.append(ip_network(address, strict=False))
        except ValueError:
            raise ValueError(
                f"trusted_proxies={address[:80]!r} is no address; write 10.1.2.3, 10.0.0.0/8 or ::1"
            ) from None
    return tuple(found)


def read_tokens(path: Path) -> Mapping[Secret, str]:
    """Names by token of a file of tokens. Fault where it cannot be used; it names lines, and never a token."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_FILE_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "not UTF-8"
        raise Fault(f"file {path} of web.tokens_file cannot be read", reason, _FORM) from None
    if len(text.encode()) > _MOST_FILE_BYTES:
        raise Fault(
            f"file {path} of web.tokens_file is too large", f"At most {_MOST_FILE_BYTES} bytes are read.", _FORM
        )
    found: dict[Secret, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        problem = _noted(line, found)
        if problem:
            raise Fault(f"line {number} of {path} (web.tokens_file) cannot be used", problem, _FORM)
    if not found:
        raise Fault(f"file {path} of web.tokens_file names nobody", "", _FORM)
    return found


_FORM = "Write a line `name token` for each who may, the token long and random: openssl rand -hex 32"


def _noted(line: str, found: dict[Secret, str]) -> str:
    """Note who has a token; what is wrong with the line, '' if nothing is."""
    parts = line.split()
    if len(parts) != 2:
        return "It has to be a name, blanks, and a token, both without blanks."
    name, token = clean(parts[0]), Secret(parts[1])
    if not name or len(name) > MAX_BY:
        return f"The name has to have 1 to {MAX_BY} characters, none of them a control character."
    if not _TOKEN.fullmatch(parts[1]) or not LEAST_TOKEN <= len(parts[1]) <= MOST_TOKEN:
        return f"The token has to have {LEAST_TOKEN} to {MOST_TOKEN} characters: letters, digits and signs of ASCII."
    if token in found:
        return "The token stands there twice."
    found[token] = name
    return ""

"""Destinations: what there is to say of each in the settings. [destination.NAME] with its `type`."""

from __future__ import annotations

from email.headerregistry import Address
from email.policy import SMTP
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from streams.notify.addresses import is_public, literal

_Url = Annotated[str, Meta(min_length=1, max_length=2000, pattern=r"^https?://")]
_LabelName = Annotated[str, Meta(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$", max_length=100)]
_Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+$", max_length=100)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """What all have in common: nothing but where their kind stands."""


class Alertmanager(_Table, frozen=True, kw_only=True, tag="alertmanager"):
    """One Alertmanager, or all peers of a cluster: each is told all of it.

    ValueError where half of what proves who we are is missing.
    """

    urls: Annotated[
        tuple[_Url, ...], Meta(min_length=1, max_length=20, description="each peer's address: http://alertmanager:9093")
    ]
    labels: Annotated[
        dict[_LabelName, str], Meta(max_length=20, description="labels that each alert gets, for its routes")
    ] = {}
    username: Annotated[str, Meta(max_length=500, description="for basic authentication")] | None = None
    password_file: Annotated[Path, Meta(description="file with the password")] | None = None
    token_file: Annotated[Path, Meta(description="file with a bearer token, instead")] | None = None
    ca_file: Annotated[Path, Meta(description="certificates that sign its own, PEM; default: the system's")] | None = (
        None
    )

    def __post_init__(self) -> None:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("one of username and password_file is missing; give both, or neither")
        if self.token_file is not None and self.password_file is not None:
            raise ValueError("it has a token_file and a password_file; keep one")


class PagerDuty(_Table, frozen=True, kw_only=True, tag="pagerduty"):
    """A service of PagerDuty with an Events API v2 integration."""

    routing_key_file: Annotated[Path, Meta(description="file with the integration's key")]
    url: Annotated[_Url, Meta(description="where events go; in Europe https://events.eu.pagerduty.com/v2/enqueue")] = (
        "https://events.pagerduty.com/v2/enqueue"
    )


class Slack(_Table, frozen=True, kw_only=True, tag="slack"):
    """An incoming webhook of Slack, or of what takes the same."""

    url_file: Annotated[Path, Meta(description="file with the webhook's address, which is a secret")]
    resolved: Annotated[bool, Meta(description="say also when it is over")] = True


#: Of each request by itself.
_OWN_HEADERS = frozenset(
    {"host", "connection", "content-type", "content-length", "content-encoding", "transfer-encoding", "expect"}
)


class Webhook(_Table, frozen=True, kw_only=True, tag="webhook"):
    """Any HTTP server: it gets the alert record, signed as Standard Webhooks describes.

    ValueError where the address or a header is none that is allowed.
    """

    url: Annotated[_Url, Meta(description="where records go by POST; https, unless allow_private says otherwise")]
    secret_files: Annotated[
        tuple[Path, ...],
        Meta(min_length=1, max_length=5, description="files with a secret each, whsec_...; while one is changed, both"),
    ]
    headers: Annotated[dict[_Header, str], Meta(max_length=20, description="further headers, none of them secret")] = {}
    allow_private: Annotated[
        bool, Meta(description="it may be at a private or loopback address, and speak http: a server of your own")
    ] = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        spelled = literal(host)
        if not host or parts.username is not None or parts.password is not None:
            raise ValueError(
                "url has no host, or a user name in it; give https://host/path, what is secret is not in it"
            )
        if not self.allow_private and parts.scheme != "https":
            raise ValueError("url is not https; allow_private = true lets it be http, to a server of your own")
        if not self.allow_private and spelled is not None and not is_public(spelled):
            raise ValueError(
                f"url leads to {spelled}, which is no public address;"
                " allow_private = true lets it be a server of your own"
            )
        for name, value in self.headers.items():
            if name.lower() in _OWN_HEADERS or name.lower().startswith("webhook-"):
                raise ValueError(f"headers has {name}, which is set for each delivery; leave it out")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"headers has {name} with characters that no header can have; give ASCII on one line")


class Email(_Table, frozen=True, kw_only=True, tag="email"):
    """People, by an SMTP server.

    ValueError where an address is none, or the password would go out in the clear.
    """

    host: Annotated[str, Meta(min_length=1, max_length=255, description="the SMTP server")]
    sender: Annotated[str, Meta(min_length=3, max_length=320, description="address it comes from")]
    to: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100, description="addresses it goes to")]
    port: Annotated[int, Meta(ge=1, le=65_535, description="its port: 587, or 465 with security tls")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"], Meta(description="how to talk to it; tls: from the first byte on")
    ] = "starttls"
    username: Annotated[str, Meta(max_length=500, description="to log in")] | None = None
    password_file: Annotated[Path, Meta(description="file with the password")] | None = None
    ca_file: Annotated[Path, Meta(description="certificates that sign its own, PEM; default: the system's")] | None = (
        None
    )
    resolved: Annotated[bool, Meta(description="say also when it is over")] = True

    def __post_init__(self) -> None:
        for each in (self.sender, *self.to):
            mailbox(each)
        if (self.username is None) != (self.password_file is None):
            raise ValueError("one of username and password_file is missing; give both, or neither")
        if self.username is not None and self.security == "none":
            raise ValueError("with security none the password would go out in the clear; give starttls or tls")


def mailbox(text: str) -> Address:
    """The address in `oncall@example.com` or `On call <oncall@example.com>`.

    ValueError where it is not one address of ASCII letters: what needs more, few servers take.
    """
    # The parser takes almost anything, some of it for two addresses, and `=?` for the begin of encoded text.
    if text.isprintable() and "=?" not in text:
        header: Any = SMTP.header_factory("To", text)
        if len(header.addresses) == 1 and not header.defects:
            found: Address = header.addresses[0]
            if found.username and found.domain:
                return found
    raise ValueError(f"{text[:80]!r} is no address; write oncall@example.com or On call <oncall@example.com>")


Destination = Alertmanager | PagerDuty | Slack | Webhook | Email
#: By the word after `type`.
KINDS: dict[str, type[Destination]] = {
    "alertmanager": Alertmanager,
    "pagerduty": PagerDuty,
    "slack": Slack,
    "webhook": Webhook,
    "email": Email,
}


def files(destination: Destination) -> list[Path]:
    """The files that it names."""
    found: list[Path] = []
    for name in destination.__struct_fields__:
        value = getattr(destination, name)
        found += (
            [value]
            if isinstance(value, Path)
            else [each for each in value if isinstance(each, Path)]
            if isinstance(value, tuple)
            else []
        )
    return found

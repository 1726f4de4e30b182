"""Settings of the status page: where it listens, and who may say something of an incident there."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta


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
                description="who may acknowledge, mute and resolve on the page: a line `name token` each; read again"
                " when it changes"
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

"""Addresses: which ones belong to the internet, and which to a network that an address from outside must not reach.

Asked of the very address that is connected to: a name may answer differently each time.
"""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # settings are read by every command, and aiohttp takes its time
    from aiohttp import AddrInfoType

_INTERNET = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
#: Azure's own services answer there from within, though the address is a public one.
_WITHIN_CLOUDS = frozenset({IPv4Address("168.63.129.16")})


class PrivateAddressError(OSError):
    """What was to be connected to is within a network of ours."""


def is_public(address: str) -> bool:
    """Whether it is somebody's on the internet. ValueError where it is no address.

    An IPv6 address that leads to an IPv4 one (mapped, NAT64, 6to4) is as public as that.

    >>> [is_public(each) for each in ("93.184.215.14", "10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe")]
    [True, False, False, False]
    """
    found = ipaddress.ip_address(address)
    if isinstance(found, IPv4Address):
        return _is_public(found)
    within = _embedded(found)
    if within is not None:
        return _is_public(within)
    return found in _INTERNET and found.is_global and not found.is_multicast


def _is_public(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast and address not in _WITHIN_CLOUDS


def _embedded(address: IPv6Address) -> IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    return IPv4Address(int(address) & 0xFFFF_FFFF) if address in _NAT64 else None


def literal(host: str) -> str | None:
    """The address that a host of an URL spells out, in any spelling that a system takes for one; None of a name.

    >>> literal("0x7f.1"), literal("2130706433"), literal("[::1]"), literal("hooks.example")
    ('127.0.0.1', '127.0.0.1', '::1', None)
    """
    bare = host.strip("[]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(bare))
    except (OSError, UnicodeError):
        return None


def public_socket(info: AddrInfoType) -> socket.socket:
    """A socket for that address. PrivateAddressError where it is none of the internet's."""
    family, kind, protocol, _, address = info
    host = str(address[0])
    if not is_public(host):
        raise PrivateAddressError(
            None, f"it is at {host}, which is no public address; allow_private = true lets it be a server of your own"
        )
    return socket.socket(family, kind, protocol)

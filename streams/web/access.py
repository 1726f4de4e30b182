"""Access: who somebody is, and whether a request is of their own making. Without a user the page is read-only."""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
import secrets
from ipaddress import IPv6Address, ip_address

import msgspec
from aiohttp import web

from detectors.command import MAX_BY
from detectors.report import clean
from streams.tokens import Tokens, holder
from streams.web_settings import WebSettings, networks

TOKEN_COOKIE = "groundswell_token"
#: A secret of the browser that its forms are signed with: another site can send them, but not know it.
FORM_COOKIE = "groundswell_form"
#: How long a browser stays logged in, s.
LOGIN_SECONDS = 30 * 86_400

_FORM_SECRET = re.compile(r"[A-Za-z0-9_-]{32,64}")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")


class Way(enum.StrEnum):
    """How a request says whose it is."""

    BEARER = "bearer"
    COOKIE = "cookie"
    PROXY = "proxy"


class User(msgspec.Struct, frozen=True):
    """Somebody who may say something of incidents."""

    name: str
    way: Way


class Access:
    """Who may do what, by the settings. A token is compared in constant time, and neither shown nor logged."""

    def __init__(self, settings: WebSettings, tokens: Tokens) -> None:
        self._tokens = tokens
        self._header = settings.user_header
        self._proxies = networks(settings.trusted_proxies)
        self._public_url = settings.public_url

    def heed(self, tokens: Tokens) -> None:
        """Let those in who have these tokens, and nobody else."""
        self._tokens = tokens

    @property
    def has_login(self) -> bool:
        """Whether there are tokens to log in with."""
        return bool(self._tokens)

    @property
    def is_open(self) -> bool:
        """Whether anybody may say anything."""
        return self.has_login or self._header is not None

    def user(self, request: web.Request) -> User | None:
        """Whose request it is; None: nobody's who may say anything. A bad bearer token is not made up for by others."""
        authorization = request.headers.get("Authorization", "")
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer":
            name = self.named(given.strip())
            return None if name is None else User(name, Way.BEARER)
        name = self.named(request.cookies.get(TOKEN_COOKIE, ""))
        if name is not None:
            return User(name, Way.COOKIE)
        name = self._proxied(request)
        return None if name is None else User(name, Way.PROXY)

    def named(self, token: str) -> str | None:
        """Who has a token."""
        return holder(token, self._tokens)

    def _proxied(self, request: web.Request) -> str | None:
        """Who a trusted proxy says that it is."""
        if self._header is None or not self.is_trusted(request):
            return None
        given = request.headers.getall(self._header, [])
        # Two of them: the proxy added one to that of its client. Nobody knows which is whose.
        name = clean(given[0]) if len(given) == 1 else None
        return name if name and len(name) <= MAX_BY else None

    def is_trusted(self, request: web.Request) -> bool:
        """Whether it comes from a proxy that is believed."""
        try:
            address = ip_address(request.remote or "")
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == network.version and address in network for network in self._proxies)

    def is_own(self, request: web.Request) -> bool:
        """Whether it comes from a page of ours, as far as the browser says.

        Sec-Fetch-Site is the browser's own word. Older ones, and all without TLS, say Origin alone, which has to be the
        host that they went to. A program says neither, and is not what a foreign page can make a browser do.
        """
        site = request.headers.get("Sec-Fetch-Site")
        if site is not None:
            return site == "same-origin"
        origin = request.headers.get("Origin")
        public = "/".join(self._public_url.split("/", 3)[:3]) if self._public_url is not None else None
        return origin is None or origin == public or origin.partition("://")[2] == self.host(request)

    def base(self, request: web.Request) -> str:
        """Where the page is as people reach it: `https://status.example.org`."""
        if self._public_url is not None:
            return self._public_url
        return f"{'https' if self.is_https(request) else 'http'}://{self.host(request)}"

    def host(self, request: web.Request) -> str:
        """The host that the browser went to, with its port; `localhost` where it names none that could be one."""
        host = request.headers.get("X-Forwarded-Host", "") if self.is_trusted(request) else ""
        host = host or request.headers.get("Host", "")
        return host if _HOST.fullmatch(host) else "localhost"

    def is_https(self, request: web.Request) -> bool:
        """Whether the browser speaks TLS, with us or with the proxy before us."""
        return request.secure or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"


def form_secret(request: web.Request) -> str:
    """The secret of a browser's forms; a new one where it has none."""
    kept = request.cookies.get(FORM_COOKIE, "")
    return kept if _FORM_SECRET.fullmatch(kept) else secrets.token_urlsafe(32)


def form_token(secret: str, user: str) -> str:
    """What a form of theirs has to bear."""
    return hmac.new(secret.encode(), user.encode(), hashlib.sha256).hexdigest()


def is_signed(request: web.Request, user: str, token: str) -> bool:
    """Whether a form that came with a request bears the token of its browser's secret."""
    kept = request.cookies.get(FORM_COOKIE, "")
    expected = form_token(kept, user).encode()
    return bool(_FORM_SECRET.fullmatch(kept)) and hmac.compare_digest(expected, token.encode("utf-8", "replace"))


def keep(response: web.StreamResponse, name: str, value: str, *, https: bool, seconds: int | None = None) -> None:
    """Set a cookie that no script reads and no form of another site sends."""
    # Not Strict: who follows a link of a page in Slack would be logged in no more, and get a new form secret.
    response.set_cookie(name, value, max_age=seconds, path="/", httponly=True, secure=https, samesite="Lax")

"""Webhooks as https://www.standardwebhooks.com describes them, version 1.0.0: docs/webhooks.md has a verifier."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from detectors.alert import Alert
from detectors.delivery import Delivery, Manner
from streams.notify import http
from streams.notify.addresses import public_socket
from streams.notify.answer import Answer, Failed
from streams.notify.destinations import Webhook
from streams.notify.text import token

_PREFIX = "whsec_"
LEAST_SECRET_BYTES = 24
MOST_SECRET_BYTES = 64


class WebhookReceiver:
    """Each record of an incident, the latest first told, to a server that checks whose it is."""

    def __init__(self, settings: Webhook, *, timeout_seconds: float, page_url: str | None) -> None:
        """timeout_seconds: how long a record may take. page_url: not told; what its record says is the whole of it."""
        self.manner = Manner(parts=True, quiet=True, changes=True)
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def deliver(self, deliveries: Sequence[Delivery], now: float) -> Sequence[Answer]:
        """As `Receiver`."""
        return [await self._deliver(each.alert, now) for each in deliveries]

    async def _deliver(self, alert: Alert, now: float) -> Answer:
        keys: list[bytes] = []
        for path in self._settings.secret_files:
            secret = await http.secret(path)
            if isinstance(secret, Failed):
                return secret
            try:
                keys.append(key(secret))
            except ValueError as error:
                return Failed(f"file {path}: {error}")
        if self._session is None:
            # The address that is really connected to is what counts: a name may lead anywhere.
            factory = None if self._settings.allow_private else public_socket
            self._session = http.open_session(self._timeout_seconds, socket_factory=factory)
        sent = body(alert)
        headers = self._settings.headers | signed(sent, message_id(alert), now, keys)
        return await http.post(self._session, self._settings.url, sent, headers)

    async def close(self) -> None:
        """As `Receiver`."""
        if self._session is not None:
            await self._session.close()


def message_id(alert: Alert) -> str:
    """The same over all attempts for a record; a receiver that has it already leaves it out."""
    return f"{token(alert.id)}_{alert.sequence}"


def body(alert: Alert) -> bytes:
    """The record in its envelope. The same record gives the same bytes."""
    said = {"type": f"incident.{alert.state.value}", "timestamp": alert.updated_at, "data": alert}
    try:
        return msgspec.json.encode(said)
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(msgspec.to_builtins(said)))


def _without_surrogates(value: Any) -> Any:
    """Halves of characters cannot be sent. No record that was read from Kafka has one."""
    match value:
        case str():
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case list():
            return [_without_surrogates(each) for each in value]
        case dict():
            return {_without_surrogates(name): _without_surrogates(each) for name, each in value.items()}
    return value


def signed(sent: bytes, id: str, now: float, keys: Sequence[bytes]) -> dict[str, str]:
    """The headers that say what it is, of when, and that it is ours: a signature by each key. now: seconds since 1970.

    Source: https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.

    >>> headers = signed(b'{"test": 2432232314}', "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.0,
    ...                  [key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")])
    >>> headers["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    at = str(int(now))
    content = b".".join((id.encode(), at.encode(), sent))
    signatures = [base64.b64encode(hmac.new(each, content, hashlib.sha256).digest()).decode() for each in keys]
    return {
        "Content-Type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def key(secret: str) -> bytes:
    """The key in a secret, `whsec_` and base64. ValueError, which does not quote it, where there is none."""
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not LEAST_SECRET_BYTES <= len(found) <= MOST_SECRET_BYTES:
        raise ValueError(
            f"no secret; write {_PREFIX} and {LEAST_SECRET_BYTES} to {MOST_SECRET_BYTES} random bytes in base64:"
            f' echo "{_PREFIX}$(openssl rand -base64 32)"'
        )
    return found

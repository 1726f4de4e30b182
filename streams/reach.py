"""Reaching the brokers: a connection that is let in, or the usual mistake that keeps it out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import errors
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka import KafkaError, client_options
from streams.settings import FIELDS, Settings, brokers

#: How long a broker may take to answer a first request.
ANSWER_SECONDS = 10.0
#: How long we look for what is behind a failure.
PROBE_SECONDS = 3.0

# Said by a server that speaks TLS but does not like our handshake; a server in the clear gives WRONG_VERSION_NUMBER
# or RECORD_LAYER_FAILURE, or nothing.
_TLS_ALERTS = ("ALERT", "CERTIFICATE", "HANDSHAKE")


class Unreachable(KafkaError):
    """No broker lets us in."""


@contextlib.asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[AIOKafkaConnection]:
    """A connection to the first broker of kafka.address that answers us. Unreachable where none does."""
    connection = await _first(settings)
    try:
        yield connection
    finally:
        connection.close()


async def greet(settings: Settings, host: str, port: int) -> AIOKafkaConnection:
    """A connection over which this broker has answered a request. Raises what aiokafka and asyncio raise."""
    options = client_options(settings)
    del options["bootstrap_servers"]
    connection = await create_conn(host, port, request_timeout_ms=round(ANSWER_SECONDS * 1000), **options)
    try:
        # A listener that wants a password answers the question for its versions alone.
        await connection.send(MetadataRequest([]))
    except BaseException:
        connection.close()
        raise
    return connection


async def advertised(settings: Settings, addresses: Sequence[tuple[str, int]]) -> list[Unreachable]:
    """Brokers that cannot be reached at the address they advertise; Unreachable where it is all of them.

    After the first question, clients go by the advertised addresses alone.
    """
    answers = await asyncio.gather(*(_no_answer(settings, host, port) for host, port in addresses))
    reasons = [reason for reason in answers if reason]
    if reasons and len(reasons) == len(addresses):
        raise reasons[0]
    return reasons


async def diagnose(settings: Settings, error: Exception) -> KafkaError:
    """What lies behind an error of a client that did not say: one of the usual mistakes, or the error itself."""
    try:
        async with connected(settings) as connection:
            answer = await connection.send(MetadataRequest([]))
        await advertised(settings, [(broker[1], broker[2]) for broker in answer.brokers])
    except KafkaError as fault:
        return fault
    except (OSError, TimeoutError, errors.KafkaError):
        pass
    return KafkaError("Kafka refuses what we asked of it", f"{type(error).__name__}: {error}", "Run: groundswell check")


async def _no_answer(settings: Settings, host: str, port: int) -> Unreachable | None:
    try:
        connection = await greet(settings, host, port)
    except (OSError, TimeoutError, errors.KafkaError) as error:
        reason = await why(settings, host, port, error)
        return Unreachable(
            f"a broker calls itself {host}:{port}, and there it cannot be reached",
            f"{reason.fact[:1].upper()}{reason.fact[1:]}. {reason.detail}".strip(),
            "Make that address work from here, or have advertised.listeners of the broker put right.",
        )
    connection.close()
    return None


async def _first(settings: Settings) -> AIOKafkaConnection:
    reasons = []
    for host, port in brokers(settings.kafka.address):
        try:
            return await greet(settings, host, port)
        except (OSError, TimeoutError, errors.KafkaError) as error:
            reasons.append(await why(settings, host, port, error))
    first, *others = reasons
    if others:
        detail = " ".join([first.detail, *(f"Also {other.fact}." for other in others)]).strip()
        raise Unreachable(first.fact, detail, first.hint)
    raise first


async def why(settings: Settings, host: str, port: int, error: Exception) -> Unreachable:
    """What keeps us out of a broker, in the words of our settings."""
    where, kafka = f"{host}:{port}", settings.kafka
    match error:
        case socket.gaierror():
            return Unreachable(f"no machine is known by the name {host}", hint=_see("kafka.address"))
        case ConnectionRefusedError():
            return Unreachable(
                f"nothing listens at {where}",
                hint=f"Start the broker, or put its address right. {_see('kafka.address')} "
                f"`groundswell broker` starts one for trying things out.",
            )
        case ssl.SSLCertVerificationError():
            return Unreachable(
                f"the certificate of {where} is not trusted",
                error.verify_message or "",
                f"Give the certificates that sign it, and use the name that it bears. {_see('kafka.ca_file')}",
            )
        case errors.UnsupportedSaslMechanismError():
            return Unreachable(
                f"{where} does not take passwords by {kafka.sasl_mechanism}",
                "",
                f"Give a mechanism that it takes. {_see('kafka.sasl_mechanism')}",
            )
        case errors.IllegalSaslStateError():
            return Unreachable(f"{where} asks for no password", hint=f"Give PLAINTEXT or SSL. {_see('kafka.security')}")
        case errors.SaslAuthenticationFailed() | errors.AuthenticationFailedError():
            return Unreachable(
                f"{where} refuses user {kafka.username!r}",
                "The user name, the password or the mechanism is wrong.",
                " ".join(_see(f"kafka.{name}") for name in ("username", "password", "sasl_mechanism")),
            )
    if kafka.security.endswith("SSL"):
        return await _why_with_tls(settings, host, port, error)
    return await _why_in_the_clear(settings, host, port, error)


async def _why_with_tls(settings: Settings, host: str, port: int, error: Exception) -> Unreachable:
    where, kafka = f"{host}:{port}", settings.kafka
    if await _answers_in_the_clear(host, port):
        plain = "SASL_PLAINTEXT" if kafka.security == "SASL_SSL" else "PLAINTEXT"
        return Unreachable(
            f"{where} does not speak TLS",
            f"kafka.security is {kafka.security}.",
            f"Give the port that speaks TLS, or {plain}. {_see('kafka.security')}",
        )
    alert = await _alert(client_options(settings)["ssl_context"], host, port)
    if alert:
        # Java says BAD_CERTIFICATE for none at all.
        about_ours = "CERTIFICATE" in alert or "HANDSHAKE_FAILURE" in alert
        if about_ours and kafka.cert_file is None:
            return Unreachable(f"{where} asks for a certificate of ours", alert, _see("kafka.cert_file"))
        fact = f"{where} refuses our certificate" if about_ours else f"{where} refuses our TLS"
        return Unreachable(fact, alert, _see("kafka.cert_file"))
    if kafka.security == "SSL" and isinstance(error, errors.KafkaConnectionError):
        return Unreachable(
            f"{where} closes the connection at our first request",
            "It may want a password.",
            f"Give SASL_SSL in that case. {_see('kafka.security')}",
        )
    return _unexplained(where, error)


async def _why_in_the_clear(settings: Settings, host: str, port: int, error: Exception) -> Unreachable:
    where, kafka = f"{host}:{port}", settings.kafka
    if await _speaks_tls(host, port):
        tls = "SASL_SSL" if kafka.security == "SASL_PLAINTEXT" else "SSL"
        return Unreachable(
            f"{where} speaks TLS",
            f"kafka.security is {kafka.security}.",
            f"Give {tls}. {_see('kafka.security')}",
        )
    if isinstance(error, errors.KafkaConnectionError):
        return Unreachable(
            f"{where} closes the connection at our first request",
            "It is no Kafka, or it wants a password.",
            f"Give SASL_PLAINTEXT in the latter case. {_see('kafka.security')}",
        )
    return _unexplained(where, error)


def _unexplained(where: str, error: Exception) -> Unreachable:
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"{where} does not answer",
            f"Waited {ANSWER_SECONDS:.0f} s.",
            f"A firewall may swallow our packets, or it is no Kafka. {_see('kafka.address')}",
        )
    return Unreachable(f"{where} cannot be reached", f"{type(error).__name__}: {error}", _see("kafka.address"))


def _see(setting: str) -> str:
    """Where to put it right."""
    return f"Setting: {setting} ({FIELDS[setting].variable})."


async def _answers_in_the_clear(host: str, port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError, errors.KafkaError):
        connection = await create_conn(host, port, request_timeout_ms=round(PROBE_SECONDS * 1000))
        connection.close()
        return True
    return False


async def _speaks_tls(host: str, port: int) -> bool:
    """Nothing is sent after the handshake, so that the certificate need not be checked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
        writer.close()
    except ssl.SSLError as error:
        return any(word in (error.reason or "") for word in _TLS_ALERTS)
    except (OSError, TimeoutError):
        return False
    return True


async def _alert(context: ssl.SSLContext, host: str, port: int) -> str:
    """What TLS says against us; '' if nothing. In TLS 1.3 it says so only after the handshake."""
    writer: Any = None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            await reader.read(1)
    except ssl.SSLError as error:
        return error.reason or str(error)
    except (OSError, TimeoutError):
        return ""
    finally:
        if writer is not None:
            writer.close()
    return ""

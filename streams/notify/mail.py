"""E-mail by SMTP: a message for each page, and one of its end that goes below it."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from pathlib import Path

import aiosmtplib
import structlog
from aiosmtplib import (
    SMTP,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from detectors.alert import Alert, Severity, State, title
from detectors.delivery import Action, Delivery, Manner
from streams.html import templates
from streams.notify import http
from streams.notify.answer import MOST_TEXT, Answer, Failed, Refused, Taken, masked
from streams.notify.destinations import Email, mailbox
from streams.notify.message import figures, headline, link, sentences
from streams.notify.text import cut, tamed, token, unlinked

#: What a list of messages shows of it, and more; a phone shows half of that.
MOST_SUBJECT = 120

_COLOURS = {
    Severity.INFO: "#1d5fa8",
    Severity.WARNING: "#7a5c00",
    Severity.ERROR: "#b34700",
    Severity.CRITICAL: "#b00020",
}
_RESOLVED = "#1f7a3d"

_TEMPLATES = templates(Path(__file__).parent / "templates")


class _Policy(EmailPolicy):
    """How a message is written; the policy's own way to fold a subject puts blanks into words that are not ASCII."""

    def fold_binary(self, name: str, value: str) -> bytes:
        """A header in its lines."""
        if name != "Subject":
            return super().fold_binary(name, value)
        header = Header(str(value), header_name=name)  # in UTF-8 where ASCII is not enough
        return f"{name}: {header.encode(linesep=self.linesep)}{self.linesep}".encode("ascii")


#: All ASCII: there is no server that does not take it.
_POLICY = _Policy(linesep="\r\n", cte_type="7bit")

log = structlog.get_logger(__name__)


class EmailReceiver:
    """One message to all addresses for each page, one for its end.

    A message that some addresses took is taken: who did not get it stands in the log, and it is not sent to the others
    again.
    """

    def __init__(self, settings: Email, *, timeout_seconds: float, page_url: str | None) -> None:
        """timeout_seconds: how long a message may take. page_url: address of the status page as people reach it."""
        self.manner = Manner()
        self._settings = settings
        self._timeout_seconds = timeout_seconds
        self._page_url = page_url

    async def deliver(self, deliveries: Sequence[Delivery], now: float) -> Sequence[Answer]:
        """As `Receiver`."""
        return [await self._deliver(each, now) for each in deliveries]

    async def _deliver(self, delivery: Delivery, now: float) -> Answer:
        if delivery.action is Action.RESOLVE and not self._settings.resolved:
            return Taken()
        password = ""
        if self._settings.password_file is not None:
            found = await http.secret(self._settings.password_file)
            if isinstance(found, Failed):
                return found
            password = found
        mail = message(delivery, self._settings, now, self._page_url)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await self._send(mail, password)
        except TimeoutError:
            answer = Failed("no answer in time")
        return masked(answer, _quotable(self._settings.username or "", password))

    async def _send(self, mail: EmailMessage, password: str) -> Answer:
        """A server that cannot be talked to, or does not let us in, may do so later: only what it says of the message
        is for good."""
        settings = self._settings
        try:
            context = http.tls(settings.ca_file) if settings.security != "none" else None
        except (OSError, ssl.SSLError) as error:
            return Failed(f"file {settings.ca_file} holds no certificates: {error.strerror or type(error).__name__}")
        client = SMTP(
            hostname=settings.host,
            port=settings.port,
            # Of a server that offers no STARTTLS it makes an error.
            start_tls=settings.security == "starttls",
            use_tls=settings.security == "tls",
            tls_context=context,
            username=settings.username,
            password=password if settings.username is not None else None,
            timeout=self._timeout_seconds,
        )
        try:
            await client.connect()
        except SMTPResponseException as error:
            return Failed(f"SMTP {error.code}: {error.message}"[:MOST_TEXT])
        except (SMTPException, OSError, ValueError) as error:
            return Failed(_words(error))
        try:
            return await self._hand_over(client, mail)
        finally:
            _part(client)

    async def _hand_over(self, client: SMTP, mail: EmailMessage) -> Answer:
        sender = mailbox(self._settings.sender).addr_spec
        recipients = [mailbox(each).addr_spec for each in self._settings.to]
        try:
            spared, _ = await client.sendmail(sender, recipients, mail.as_bytes(policy=_POLICY))
        except SMTPRecipientsRefused as error:
            first = error.recipients[0]
            told = "; ".join(f"{each.recipient}: {each.code} {each.message}" for each in error.recipients)[:MOST_TEXT]
            later = any(each.code < 500 for each in error.recipients)
            return Failed(f"no address is taken: {told}") if later else Refused(first.code, told)
        except (SMTPSenderRefused, SMTPDataError) as error:
            return verdict(error)
        except (SMTPException, OSError, ValueError) as error:
            return Failed(_words(error))
        if spared:
            who = {address: f"{code} {text}"[:200] for address, (code, text) in sorted(spared.items())}
            log.warning("some addresses did not take an incident's mail; the others have it", refused=who)
        return Taken()

    async def close(self) -> None:
        """As `Receiver`. There is a connection for each message."""


def verdict(error: aiosmtplib.SMTPResponseException) -> Answer:
    """What a server said of a message: 5xx is for good.

    >>> verdict(SMTPDataError(552, "too large")), verdict(SMTPDataError(451, "try later"))
    (Refused(status=552, text='too large'), Failed(why='SMTP 451: try later', asked_seconds=None))
    """
    if error.code >= 500:
        return Refused(error.code, error.message[:MOST_TEXT])
    return Failed(f"SMTP {error.code}: {error.message}"[:MOST_TEXT])


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MOST_TEXT]


def _part(client: SMTP) -> None:
    """Say goodbye, but do not wait for an answer: the message is taken, and a time-out would send it again."""
    protocol = client.protocol
    if protocol is not None and protocol.is_connected:
        protocol.write(b"QUIT\r\n")
    client.close()


def _quotable(username: str, password: str) -> list[str]:
    """What a server may quote of the log-in: the password, and how it goes over the line."""
    if not password:
        return []
    plain = f"\0{username}\0{password}"
    return [password, *(base64.b64encode(each.encode()).decode() for each in (password, plain))]


def message(delivery: Delivery, settings: Email, now: float, page_url: str | None) -> EmailMessage:
    """The message about an incident as it is now. now: seconds since 1970.

    Its id is the same over all attempts, so that a mailbox can leave out what it has.
    """
    alert = tamed(delivery.alert)
    domain = mailbox(settings.sender).domain
    mail = EmailMessage(policy=_POLICY)
    mail["Subject"] = subject(alert)
    mail["From"] = settings.sender
    mail["To"] = ", ".join(settings.to)
    mail["Date"] = datetime.fromtimestamp(int(now), UTC)
    mail["Message-ID"] = _message_id(alert.id, alert.sequence, domain)
    # What was tried before and may not have arrived is this message itself.
    if (before := delivery.before) is not None and before.open and before.sequence != alert.sequence:
        mail["In-Reply-To"] = mail["References"] = _message_id(alert.id, before.sequence, domain)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"  # Exchange's: nobody's holiday is told to a machine
    links = _links(alert, page_url)
    mail.set_content(plain_text(alert, links))
    mail.add_alternative(html(alert, links), subtype="html")
    return mail


def _message_id(id: str, sequence: int, domain: str) -> str:
    return f"<{token(id)}.{sequence}.groundswell@{domain}>"


def subject(alert: Alert) -> str:
    """State or severity first: `[CRITICAL] WhatsApp in all of Italy`."""
    # The library takes `=?...?=` in it for encoded text, and writes what it decodes, line breaks and further headers
    # among it (CVE-2024-6923, and on purpose without them).
    return cut(f"[{headline(alert).upper()}] {title(alert)}", MOST_SUBJECT).replace("=?", "=\uff1f")


def plain_text(alert: Alert, links: Sequence[tuple[str, str]]) -> str:
    """The message as text. The alert is a tamed one."""
    told = [f"{name}: {text}" for name, text in figures(alert)]
    parts = [[headline(alert), alert.summary], told, _sentences(alert)]
    paragraphs = ["\n".join(map(unlinked, part)) for part in parts if part]
    if links:
        paragraphs.append("\n".join(f"{unlinked(name)}: {url}" for name, url in links))
    return "\n\n".join(paragraphs) + "\n"


def html(alert: Alert, links: Sequence[tuple[str, str]]) -> str:
    """The message as a page that loads nothing. The alert is a tamed one."""
    over = alert.state is State.RESOLVED
    return _TEMPLATES.get_template("mail.html").render(
        subject=subject(alert),
        headline=headline(alert),
        colour=_RESOLVED if over else _COLOURS[alert.severity],
        # Programs that show mail make links of what looks like one.
        title=unlinked(title(alert)),
        summary=unlinked(alert.summary),
        figures=[(name, unlinked(text)) for name, text in figures(alert)],
        sentences=[unlinked(each) for each in _sentences(alert)],
        links=[(unlinked(name), url) for name, url in links],
    )


def _sentences(alert: Alert) -> list[str]:
    return [] if alert.state is State.RESOLVED else list(sentences(alert))


def _links(alert: Alert, page_url: str | None) -> list[tuple[str, str]]:
    page = link(page_url, alert)
    return ([("Incident", page)] if page else []) + list(alert.links.items())

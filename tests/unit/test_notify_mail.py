import asyncio
import base64
import contextlib
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any

import msgspec
import pytest
from aiosmtpd.smtp import SMTP, AuthResult
from msgspec.structs import replace
from structlog.testing import capture_logs

from detectors.alert import Severity
from detectors.delivery import Action
from streams.notify.answer import Failed, Refused, Taken
from streams.notify.destinations import Email
from streams.notify.mail import EmailReceiver, message, subject
from tests import certificates
from tests.made_alerts import outage
from tests.made_deliveries import full, full_end, opened, over, then

NOW = 1_666_699_200.0
PASSWORD = "c0rrect-horse"
PAGE = "https://status.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("tls"))


class Inbox:
    """What a server took. refuse: what it says to a recipient, or, under `data`, to a message."""

    def __init__(self, refuse: dict[str, str]) -> None:
        self.refuse = refuse
        self.envelopes: list[Any] = []
        self.logins: list[tuple[str, bool]] = []
        self.port = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if "data" in self.refuse:
            return self.refuse["data"]
        self.envelopes.append(envelope)
        return "250 OK"

    def login(self, server, session, envelope, mechanism, data):
        said = f"{data.login.decode()}:{data.password.decode()}"
        self.logins.append((said, server.transport.get_extra_info("sslcontext") is not None))
        return AuthResult(success=said == f"groundswell:{PASSWORD}", handled=False)

    @property
    def messages(self):
        return [message_from_bytes(each.content, policy=default) for each in self.envelopes]


@contextlib.asynccontextmanager
async def mail_server(*, tls=None, implicit=False, login=False, refuse=None):
    """A real SMTP server. tls: its context; offered by STARTTLS, or from the first byte."""
    inbox = Inbox(refuse or {})

    def connection():
        return SMTP(
            inbox,
            hostname="mail.test",
            tls_context=None if implicit else tls,
            require_starttls=tls is not None and not implicit,
            auth_required=login,
            auth_require_tls=not implicit,
            authenticator=inbox.login if login else None,
        )

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0, ssl=tls if implicit else None)
    inbox.port = server.sockets[0].getsockname()[1]
    try:
        yield inbox
    finally:
        server.close()


@contextlib.asynccontextmanager
async def saying(*lines):
    """The port of a server that says these in turn, whatever it hears, and goes; None: it stays, without a word."""
    heard = []

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError):
            for line in lines:
                if line is None:
                    await asyncio.Event().wait()
                writer.write(line)
                await writer.drain()
                if line is not lines[-1]:
                    heard.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()


def settings(port, **changed):
    given = {
        "host": "127.0.0.1",
        "port": port,
        "sender": "Groundswell <groundswell@example.com>",
        "to": ("On call <oncall@example.com>", "lead@example.com"),
        "security": "none",
    }
    return Email(**{**given, **changed})


async def deliver(port, *deliveries, timeout_seconds=10.0, **changed):
    """Its answers."""
    receiver = EmailReceiver(settings(port, **changed), timeout_seconds=timeout_seconds, page_url=PAGE)
    return list(await receiver.deliver(deliveries, NOW))


def password_file(tmp_path, content=PASSWORD + "\n"):
    file = tmp_path / "password"
    file.write_text(content)
    return file


# --- what arrives ---


async def test_page_and_its_end_arrive_as_one_thread():
    async with mail_server() as inbox:
        assert await deliver(inbox.port, opened(full()), over(full_end())) == [Taken(), Taken()]

    assert {tuple(each.rcpt_tos) for each in inbox.envelopes} == {("oncall@example.com", "lead@example.com")}
    assert {each.mail_from for each in inbox.envelopes} == {"groundswell@example.com"}
    page, end = inbox.messages
    assert page["Subject"] == "[CRITICAL] WhatsApp in all of Italy"
    assert end["Subject"] == "[RESOLVED] WhatsApp in all of Italy"
    assert page["From"] == "Groundswell <groundswell@example.com>"
    assert page["To"] == "On call <oncall@example.com>, lead@example.com"
    assert page["Message-ID"] == "<5f3c9a2b7d10.1.groundswell@example.com>"
    assert page["In-Reply-To"] is None
    assert end["In-Reply-To"] == end["References"] == page["Message-ID"]
    assert end["Message-ID"] == "<5f3c9a2b7d10.9.groundswell@example.com>"
    assert page["Date"].datetime == datetime(2022, 10, 25, 12, 0, tzinfo=UTC)
    assert page["Auto-Submitted"] == "auto-generated"


async def test_page_is_text_and_a_page_that_say_the_same():
    async with mail_server() as inbox:
        await deliver(inbox.port, opened(full()))

    (page,) = inbox.messages
    text = page.get_body(("plain",)).get_content()
    html = page.get_body(("html",)).get_content()
    for each in (
        "WhatsApp in all of Italy: 8,214 reports in 12 minutes, 187 usual (44 times), since 11:48 UTC",
        "Critical: 1,000 reports beyond the usual; 8 series surge.",
        "41,200 contacts beyond the usual, 85 % of them about WhatsApp, 25,300 EUR; 65,000 expected in the end",
        "https://status.example/incidents/5f3c9a2b7d10",
        "https://wiki.example/whatsapp",
    ):
        assert each in text
        assert each in html
    assert "Usual: 187 (150–224)" in text


def test_end_is_short():
    mail = message(over(full_end()), settings(25), NOW, PAGE)

    text = mail.get_body(("plain",)).get_content()
    assert "Until: 25 Oct 2022, 12:30 UTC, over" in text
    assert "Reports name" not in text


def test_incident_that_comes_back_begins_a_thread_of_its_own():
    ended = over(full_end()).told(0)
    again = replace(opened(full(sequence=12, episode=2)), before=ended)

    assert message(again, settings(25), NOW, None)["In-Reply-To"] is None


def test_message_that_is_tried_again_is_no_answer_to_itself():
    first = opened(full())
    again = replace(first, before=first.told(0, sure=False))

    assert message(again, settings(25), NOW, None)["In-Reply-To"] is None


def test_same_record_has_the_same_id_at_each_attempt():
    first, second = (message(opened(full()), settings(25), now, None) for now in (NOW, NOW + 60))

    assert first["Message-ID"] == second["Message-ID"]


def test_message_is_ascii_in_lines_that_each_server_takes():
    mail = message(
        opened(full(text="Çà ira \U0001f534 " * 500)), settings(25, sender="Grundwoge ü <g@example.com>"), NOW, PAGE
    )

    sent = mail.as_bytes()
    assert sent.isascii()
    assert max(map(len, sent.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("severity", Severity)
def test_subject_begins_with_the_severity(severity):
    assert subject(outage(severity=severity)) == f"[{severity.value.upper()}] WhatsApp in it"


@pytest.mark.parametrize(
    "name", ["x\r\nBcc: v@example.com", "=?utf-8?q?=0d=0aBcc:_v=40example.com?=", "=?utf-8?b?eA==?="]
)
async def test_name_of_a_service_adds_no_header_and_no_address(name):
    async with mail_server() as inbox:
        assert await deliver(inbox.port, opened(outage(service=name))) == [Taken()]

    (page,) = inbox.messages
    assert page["Bcc"] is None
    assert page["Subject"].startswith("[CRITICAL] ")
    assert page["Subject"].count("utf-8") == name.count("utf-8")
    assert [each.rcpt_tos for each in inbox.envelopes] == [["oncall@example.com", "lead@example.com"]]


async def test_end_is_taken_without_a_word_where_nobody_wants_it():
    async with mail_server() as inbox:
        assert await deliver(inbox.port, over(), resolved=False) == [Taken()]

    assert inbox.envelopes == []


# --- the line ---


async def test_starttls_comes_before_the_password(certificate, tmp_path):
    async with mail_server(tls=certificates.context(*certificate), login=True) as inbox:
        found = await deliver(
            inbox.port,
            opened(),
            security="starttls",
            ca_file=certificate[0],
            username="groundswell",
            password_file=password_file(tmp_path),
        )

    assert found == [Taken()]
    assert inbox.logins == [(f"groundswell:{PASSWORD}", True)]
    assert len(inbox.envelopes) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the server does not see that the line is TLS from the first byte
async def test_tls_from_the_first_byte(certificate, tmp_path):
    async with mail_server(tls=certificates.context(*certificate), implicit=True, login=True) as inbox:
        found = await deliver(
            inbox.port,
            opened(),
            security="tls",
            ca_file=certificate[0],
            username="groundswell",
            password_file=password_file(tmp_path),
        )

    assert found == [Taken()]
    assert inbox.logins == [(f"groundswell:{PASSWORD}", True)]


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_certificate_that_nobody_vouches_for_is_a_failure(security, certificate, tmp_path):
    tls = certificates.context(*certificate)
    async with mail_server(tls=tls, implicit=security == "tls", login=True) as inbox:
        (found,) = await deliver(
            inbox.port, opened(), security=security, username="groundswell", password_file=password_file(tmp_path)
        )

    assert isinstance(found, Failed)
    assert "certificate verify failed" in found.why
    assert inbox.logins == []


async def test_certificate_of_another_name_is_a_failure(tmp_path):
    certificate = await asyncio.to_thread(certificates.make, tmp_path, "DNS:other.example")
    async with mail_server(tls=certificates.context(*certificate)) as inbox:
        (found,) = await deliver(inbox.port, opened(), security="starttls", ca_file=certificate[0])

    assert isinstance(found, Failed)
    assert "certificate verify failed" in found.why
    assert inbox.envelopes == []


async def test_server_without_starttls_gets_neither_password_nor_message(tmp_path):
    async with saying(b"220 mail.test ESMTP\r\n", b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n", None) as (port, heard):
        (found,) = await deliver(
            port, opened(), security="starttls", username="groundswell", password_file=password_file(tmp_path)
        )

    assert found == Failed("SMTPException: SMTP STARTTLS extension not supported by server.")
    assert [line[:4] for line in heard[:1]] == [b"EHLO"]
    assert heard[1:] in ([], [b""])


async def test_certificates_file_that_holds_none_is_a_failure_that_names_it(tmp_path):
    (tmp_path / "ca.pem").write_text("none")
    (found,) = await deliver(1, opened(), security="starttls", ca_file=tmp_path / "ca.pem")

    assert isinstance(found, Failed)
    assert "ca.pem holds no certificates" in found.why


# --- who may ---


async def test_wrong_password_is_a_failure_since_it_is_not_about_the_message(certificate, tmp_path):
    async with mail_server(tls=certificates.context(*certificate), login=True) as inbox:
        (found,) = await deliver(
            inbox.port,
            opened(),
            security="starttls",
            ca_file=certificate[0],
            username="groundswell",
            password_file=password_file(tmp_path, "wr0ng-horse"),
        )

    assert isinstance(found, Failed)
    assert "535" in found.why
    assert "horse" not in found.why


@pytest.mark.parametrize(
    "quoted",
    [
        PASSWORD,
        base64.b64encode(f"\0groundswell\0{PASSWORD}".encode()).decode(),
        base64.b64encode(PASSWORD.encode()).decode(),
    ],
)
async def test_password_that_a_server_quotes_is_masked(quoted, certificate, tmp_path):
    tls = certificates.context(*certificate)

    async def serve(reader, writer):
        said = [b"220 hi\r\n", b"250-mail.test\r\n250 AUTH PLAIN\r\n", f"535 {quoted} is wrong\r\n".encode()]
        for line in said:
            writer.write(line)
            await reader.readline()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        (found,) = await deliver(
            server.sockets[0].getsockname()[1],
            opened(),
            security="tls",
            ca_file=certificate[0],
            username="groundswell",
            password_file=password_file(tmp_path),
        )

    assert found == Failed("SMTP 535: *** is wrong")


async def test_password_file_that_is_gone_is_a_failure_that_names_it(tmp_path):
    (found,) = await deliver(
        1, opened(), security="starttls", username="groundswell", password_file=tmp_path / "password"
    )

    assert found == Failed(f"file {tmp_path / 'password'} cannot be read: No such file or directory")


# --- what the server says of the message ---


async def test_message_that_some_addresses_take_is_taken_and_the_others_are_told_of():
    async with mail_server(refuse={"lead@example.com": "550 nobody here"}) as inbox:
        with capture_logs() as logs:
            assert await deliver(inbox.port, opened()) == [Taken()]

    assert [each.rcpt_tos for each in inbox.envelopes] == [["oncall@example.com"]]
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["refused"] == {"lead@example.com": "550 nobody here"}


async def test_message_that_no_address_takes_is_refused():
    refuse = {"lead@example.com": "550 nobody here", "oncall@example.com": "551 gone"}
    async with mail_server(refuse=refuse) as inbox:
        (found,) = await deliver(inbox.port, opened())

    assert found == Refused(551, "oncall@example.com: 551 gone; lead@example.com: 550 nobody here")
    assert inbox.envelopes == []


async def test_message_that_an_address_may_take_later_is_a_failure():
    refuse = {"lead@example.com": "450 greylisted", "oncall@example.com": "551 gone"}
    async with mail_server(refuse=refuse) as inbox:
        (found,) = await deliver(inbox.port, opened())

    assert isinstance(found, Failed)
    assert "450 greylisted" in found.why


async def test_message_that_the_server_will_never_take_is_refused():
    async with mail_server(refuse={"data": "554 looks like spam"}) as inbox:
        assert await deliver(inbox.port, opened()) == [Refused(554, "looks like spam")]


async def test_message_that_the_server_may_take_later_is_a_failure():
    async with mail_server(refuse={"data": "451 try later"}) as inbox:
        assert await deliver(inbox.port, opened()) == [Failed("SMTP 451: try later")]


async def test_refusal_that_is_no_utf_8_can_be_kept():
    lines = [b"220 hi\r\n", b"250 mail.test\r\n", "550 adresse refus\xe9e\r\n".encode("latin-1")]
    async with saying(*lines) as (port, _):
        (found,) = await deliver(port, opened())

    assert found == Refused(550, "adresse refus?e")
    assert msgspec.json.encode(found)


# --- servers that do not behave ---


@pytest.mark.parametrize(
    "lines",
    [
        (b"",),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n",),
        (b"554 no service\r\n",),
        (b"421 too busy\r\n",),
        (b"220 hi\r\n", b"5"),
        (b"220 hi\r\n", b"250 mail.test\r\n", b"25"),
        (b"220 hi\r\n", b"250 mail.test\r\n", b"250 OK\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go\r\n"),
        (b"220 " + b"x" * 100_000 + b"\r\n",),
        (b"\x00\xff" * 100 + b"\r\n",),
        (b"220 hi\r\n", b"250-a\r\n" * 20_000),
    ],
)
async def test_server_that_does_not_behave_is_a_failure(lines):
    async with saying(*lines) as (port, _):
        (found,) = await deliver(port, opened())

    assert isinstance(found, Failed)


@pytest.mark.parametrize("lines", [(None,), (b"220 hi\r\n", None), (b"220 hi\r\n", b"250 mail.test\r\n", None)])
async def test_hang_is_a_failure_in_time(lines):
    async with saying(*lines) as (port, _), asyncio.timeout(10):
        (found,) = await deliver(port, opened(), timeout_seconds=0.2)

    assert isinstance(found, Failed)


async def test_message_is_taken_though_the_server_does_not_say_goodbye():
    said = [b"220 hi\r\n", b"250 mail.test\r\n", b"250 OK\r\n", b"250 OK\r\n", b"250 OK\r\n", b"354 go\r\n"]

    async def serve(reader, writer):
        for line in said:
            writer.write(line)
            await reader.readline()
        while await reader.readline() != b".\r\n":
            pass
        writer.write(b"250 OK\r\n")
        await asyncio.Event().wait()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with asyncio.timeout(10):
        found = await deliver(server.sockets[0].getsockname()[1], opened(), timeout_seconds=60.0)
    server.close()

    assert found == [Taken()]


async def test_nobody_there_is_a_failure():
    (found,) = await deliver(1, opened())

    assert isinstance(found, Failed)


async def test_update_goes_below_the_page():
    mail = message(then(Action.UPDATE, full(sequence=3)), settings(25), NOW, None)

    assert mail["In-Reply-To"] == "<5f3c9a2b7d10.1.groundswell@example.com>"


# --- settings ---


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sender": "nobody"}, "no address"),
        ({"to": ("a@b.c, d@e.f",)}, "no address"),
        ({"to": ("a@b.c\r\nBcc: d@e.f",)}, "no address"),
        ({"sender": "gründ@example.com"}, "no address"),
        ({"sender": "=?utf-8?q?=0d=0a?= <g@example.com>"}, "no address"),
        ({"username": "u"}, "username and password_file"),
        ({"password_file": "p"}, "username and password_file"),
        ({"username": "u", "password_file": "p", "security": "none"}, "in the clear"),
    ],
)
def test_setting_that_is_not_allowed_says_why(changed, said):
    with pytest.raises(ValueError, match=said):
        settings(25, **changed)

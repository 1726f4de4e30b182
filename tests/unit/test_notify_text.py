import pytest

from streams.notify.addresses import PrivateAddressError, is_public, literal, public_socket
from streams.notify.answer import Failed, Refused, Taken, masked
from streams.notify.text import cut, is_web_address, length, plain, tamed, token, unlinked
from tests.made_alerts import outage
from tests.made_deliveries import full

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


# --- texts ---


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nBcc: b@c.d", "a Bcc: b@c.d"),
        ("\x00\x1b[31mred", "[31mred"),
        ("in\u202evoice\u2069", "invoice"),
        ("\u200eWhats\u200bApp\ufeff", "WhatsApp"),
        ("half \ud800", "half \ufffd"),
        ("line\u2028separator", "line separator"),
        (f"  {FAMILY}  می\u200cخواهم ", f"{FAMILY} می\u200cخواهم"),
        ("\U000e0041\U000e0042tag", "tag"),
    ],
)
def test_characters_that_nobody_sees_are_left_out(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("text", "most", "kept"),
    [
        ("WhatsApp", 8, "WhatsApp"),
        ("WhatsApp", 7, "WhatsA…"),
        ("a b c", 3, "a…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("ab\U0001f534cd", 4, "ab…"),
        (f"a{FAMILY}b", 9, "a…"),
        (f"a{FAMILY}b", 10, f"a{FAMILY}b"),
        ("\U0001f44d\U0001f3fd!!", 4, "…"),
        ("\U0001f1ee\U0001f1f9\U0001f1eb\U0001f1f7!", 7, "\U0001f1ee\U0001f1f9…"),
        ("\U0001f1ee\U0001f1f9\U0001f1eb\U0001f1f7!", 5, "\U0001f1ee\U0001f1f9…"),
    ],
)
def test_cut_text_keeps_whole_characters(text, most, kept):
    assert cut(text, most) == kept
    assert length(kept) <= most


def test_character_that_never_ends_is_cut_all_the_same():
    assert length(cut("a" + "\u0301" * 10_000, 200)) <= 200
    assert len(cut("a" + "\u0301" * 10_000, 200)) > 100


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "https://",
        "https://a b",
        "https://a.example/\r\nx",
        'https://a.example/"onclick="x',
        "https://a.example/<b>",
        "https://a.example/|label",
        "https://[::1",
        "https://a.example/" + "x" * 2000,
        "https://\u202ea.example",
        "ftp://a.example",
    ],
)
def test_what_is_no_address_of_the_web_becomes_no_link(url):
    assert not is_web_address(url)
    assert tamed(outage(links={"runbook": url})).links == {}


def test_links_to_the_web_stay():
    assert tamed(full()).links == {
        "runbook": "https://wiki.example/whatsapp",
        "dashboard": "https://grafana.example/d/wa",
    }


def test_tamed_alert_is_the_same_where_nothing_is_wild():
    alert = full()

    assert tamed(alert) == alert


def test_nothing_of_a_wild_alert_is_long_or_unseen():
    alert = tamed(full(text="\u202ex\r\n" + "W" * 10_000, sources=["s"] * 1000))

    assert length(alert.summary) <= 1000
    assert length(alert.service or "") <= 600
    assert len(alert.sources) == 10
    assert "\n" not in repr(alert)


@pytest.mark.parametrize(
    "text", ["https://evil.example", "evil.example", "www.evil.example", "a@evil.example", "mailto://x", "a.b@c.d"]
)
def test_no_program_finds_an_address_in_unlinked_text(text):
    assert not set("@.") & set(unlinked(text))
    assert "://" not in unlinked(text)


def test_figures_stay_as_they_are_in_unlinked_text():
    assert unlinked("1.5 times at 11:48, 69 % …") == "1.5 times at 11:48, 69 % …"


def test_ids_of_incidents_stay_and_others_become_hashes():
    assert token("5f3c9a2b7d10") == "5f3c9a2b7d10"
    assert token("a.b").isalnum()
    assert token("a" * 201) != token("a" * 202)


# --- secrets ---


@pytest.mark.parametrize("text", ["key s3cr3t-key is wrong", "s3cr3t-keys3cr3t-key", "x" * 1992 + "s3cr3t-k"])
def test_secret_is_masked_in_what_is_kept_of_an_answer(text):
    assert "s3cr" not in masked(Refused(400, text), ["s3cr3t-key"]).text  # type: ignore[union-attr]
    assert "s3cr" not in masked(Failed(text, 3.0), ["s3cr3t-key"]).why  # type: ignore[union-attr]
    assert masked(Taken(), ["s3cr3t-key"]) == Taken()


def test_word_that_a_secret_begins_with_stays():
    assert masked(Refused(404, "no_service"), ["services/T0000"]) == Refused(404, "no_service")


# --- addresses ---


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:a00:1",
        "::10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "2002:a00:1::",
        "2001:0:53aa:64c:0:fbff:f5ff:fffe",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
    ],
)
def test_addresses_within_networks_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"]
)
def test_addresses_of_the_internet_are_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1"]
)
def test_each_spelling_of_an_address_is_known(host):
    assert literal(host) == "127.0.0.1"


def test_names_are_no_addresses():
    assert literal("hooks.example") is None
    assert literal("1e100.net") is None


def test_no_socket_is_made_for_a_private_address():
    with pytest.raises(PrivateAddressError, match=r"10\.0\.0\.1"):
        public_socket((2, 1, 6, "", ("10.0.0.1", 443)))

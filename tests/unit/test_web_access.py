"""Who may say something of incidents, and whether a request is of their own making."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from streams.tokens import digest
from streams.web.access import Access, Way, form_secret, form_token, is_signed
from streams.web_settings import WebSettings, networks

TOKEN = "3f9c1d2e4b5a69788796a5b4"
PROXIED = WebSettings(user_header="X-Forwarded-User", trusted_proxies=("10.0.0.0/8", "::1"))


def access(settings: WebSettings = PROXIED) -> Access:
    return Access(settings, {digest(TOKEN): "maria", digest("another token of hers"): "maria"})


def asked(remote: str = "192.0.2.7", **headers: str) -> web.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("POST", "/", headers={"Host": "status.example.org", **named}).clone(remote=remote)


# Who


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_bearer_token_names_its_owner(scheme):
    user = access().user(asked(Authorization=f"{scheme} {TOKEN}"))

    assert user is not None
    assert (user.name, user.way) == ("maria", Way.BEARER)


def test_cookie_names_its_owner():
    user = access().user(asked(Cookie=f"groundswell_token={TOKEN}"))

    assert user is not None
    assert (user.name, user.way) == ("maria", Way.COOKIE)


@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "maria", "x" * 10_000, "\udcff"])
def test_other_tokens_are_nobodys(token):
    assert access().named(token) is None


def test_token_that_is_taken_away_is_nobodys_at_once_in_a_cookie_too():
    known = access()
    known.heed({digest("another token of hers"): "maria"})

    assert known.user(asked(Cookie=f"groundswell_token={TOKEN}")) is None
    assert known.user(asked(Authorization=f"Bearer {TOKEN}")) is None
    assert known.named("another token of hers") == "maria"


def test_wrong_bearer_token_is_not_made_up_for_by_a_cookie_or_a_proxy():
    request = asked(
        "10.1.2.3", Authorization="Bearer wrong", Cookie=f"groundswell_token={TOKEN}", X_Forwarded_User="joe"
    )

    assert access().user(request) is None


@pytest.mark.parametrize("remote", ["10.1.2.3", "::1", "::ffff:10.9.9.9"])
def test_trusted_proxy_says_who_it_is(remote):
    user = access().user(asked(remote, X_Forwarded_User="joe"))

    assert user is not None
    assert (user.name, user.way) == ("joe", Way.PROXY)


@pytest.mark.parametrize("remote", ["192.0.2.7", "::2", "11.0.0.1", "unix:", ""])
def test_header_of_anybody_else_is_not_believed(remote):
    assert access().user(asked(remote, X_Forwarded_User="joe")) is None


def test_header_is_not_believed_without_the_setting():
    assert access(WebSettings(trusted_proxies=("10.0.0.0/8",))).user(asked("10.1.2.3", X_Forwarded_User="joe")) is None


def test_two_headers_are_nobodys():
    request = make_mocked_request(
        "GET", "/", headers=[("Host", "h"), ("X-Forwarded-User", "eve"), ("X-Forwarded-User", "joe")]
    ).clone(remote="10.1.2.3")

    assert access().user(request) is None


@pytest.mark.parametrize("name", ["", "  ", "a\u202eb", "j" * 201])
def test_name_that_no_command_could_bear_is_nobodys(name):
    assert access().user(asked("10.1.2.3", X_Forwarded_User=name)) is None


def test_without_tokens_and_header_it_is_not_open():
    assert not Access(WebSettings(), {}).is_open
    assert access(WebSettings()).is_open
    assert Access(PROXIED, {}).is_open
    assert not Access(PROXIED, {}).has_login


# Of their own making


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "none"}, False),
        ({"Sec_Fetch_Site": "cross-site", "Origin": "https://status.example.org"}, False),
        ({"Origin": "https://status.example.org"}, True),
        ({"Origin": "https://status.example.org.evil.example"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({}, True),
    ],
)
def test_browser_says_whether_a_page_of_ours_sent_it(headers, own):
    assert access().is_own(asked(**headers)) is own


def test_page_of_the_public_address_is_ours_whatever_host_the_proxy_names():
    known = access(WebSettings(public_url="https://outside.example.org"))

    assert known.is_own(asked(Origin="https://outside.example.org"))
    assert not known.is_own(asked(Origin="http://outside.example.org"))
    assert not known.is_own(asked(Origin="https://outside.example.org.evil.example"))
    assert known.base(asked()) == "https://outside.example.org"


def test_host_before_a_trusted_proxy_counts_and_no_other():
    headers = {"X_Forwarded_Host": "outside.example.org"}

    assert access().host(asked("10.1.2.3", **headers)) == "outside.example.org"
    assert access().host(asked("192.0.2.7", **headers)) == "status.example.org"


@pytest.mark.parametrize("host", ["", "a b", "evil.example/path", '"><script>', "h" * 300, "a\\b"])
def test_host_that_could_be_none_is_not_repeated(host):
    assert access().host(asked(Host=host)) == "localhost"


def test_form_is_signed_for_one_user_of_one_browser():
    secret = form_secret(asked())
    request = asked(Cookie=f"groundswell_form={secret}")

    assert form_secret(request) == secret
    assert is_signed(request, "maria", form_token(secret, "maria"))
    assert not is_signed(request, "joe", form_token(secret, "maria"))
    assert not is_signed(asked(Cookie=f"groundswell_form={'x' * 43}"), "maria", form_token(secret, "maria"))
    assert not is_signed(asked(), "maria", form_token("", "maria"))
    assert not is_signed(request, "maria", "")
    assert not is_signed(request, "maria", "ü\udcff")


# Settings


def test_header_needs_a_proxy_that_is_believed():
    with pytest.raises(ValueError, match="trusted_proxies"):
        WebSettings(user_header="X-Forwarded-User")


@pytest.mark.parametrize("address", ["proxy.example.org", "10.0.0.0/99", "", "300.1.1.1"])
def test_proxy_has_to_be_an_address(address):
    with pytest.raises(ValueError, match="is no address"):
        networks((address,))

"""The tokens file: what a line means, what is wrong with one, and that a change is heeded and a mistake is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.http_ingest.tokens import MOST_BYTES, MOST_TOKENS, Grant, Tokens, TokensError, parse

ONE, TWO = "0123456789abcdef", "a.b-c_d~e+f/0123=="
FILE = Path("tokens")


def read(path: Path, text: str) -> Tokens:
    path.write_text(text)
    return Tokens(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_line_is_a_source_and_a_token(path):
    tokens = read(path, f"# feeds\n\n  outage-site\t{ONE}  \r\n#{TWO} x\nCall  centre {TWO}\n")

    assert tokens.sources == ["Call centre", "outage-site"]
    assert tokens.grant(ONE) == Grant("outage-site", "outage-site")
    assert tokens.grant(TWO) == Grant("Call centre", "call centre")


def test_only_the_whole_token_is_one(path):
    tokens = read(path, f"calls {ONE}\n")

    assert [tokens.grant(token) for token in ("", ONE[:-1], ONE + " ", ONE.upper(), "\udcff", "x" * 100_000)] == [
        None
    ] * 6


def test_source_may_have_several_tokens_and_is_spelled_as_at_first(path):
    tokens = read(path, f"Calls {ONE}\ncalls {TWO}\n")

    assert tokens.sources == ["Calls"]
    assert tokens.grant(TWO) == Grant("Calls", "calls")


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (ONE, "line 1 of tokens has one word"),
        (f"# x\ncalls {ONE[:-1]}", "the token in line 2 of tokens cannot be one"),
        ("calls " + "x" * 513, "the token in line 1 of tokens cannot be one"),
        (f"calls {ONE}é", "the token in line 1 of tokens cannot be one"),
        (f"calls {ONE}'", "the token in line 1 of tokens cannot be one"),
        (f"* {ONE}", "line 1 of tokens names a source that no report can have"),
        (f"a\x1b[m {ONE}", "line 1 of tokens names a source that no report can have"),
        ("x" * 201 + f" {ONE}", "line 1 of tokens names a source that no report can have"),
        (f"calls {ONE}\nother {ONE}", "lines 1 and 2 of tokens have the same token"),
        ("\n".join(f"calls {number:016}" for number in range(MOST_TOKENS + 1)), "tokens has 1001 tokens"),
    ],
)
def test_what_is_wrong_is_told_by_its_line_and_without_the_token(text, fact):
    with pytest.raises(TokensError) as raised:
        parse(text, FILE)

    assert raised.value.fact == fact
    assert ONE[:-1] not in str(raised.value)
    assert "xxxx" not in str(raised.value)


@pytest.mark.parametrize(
    ("raw", "fact"),
    [
        (None, "cannot be read"),
        (b"calls \xff0123456789abcdef", "is not UTF-8"),
        (b"#" * (MOST_BYTES + 1), "is too large"),
    ],
)
def test_file_that_cannot_be_read_is_told(path, raw, fact):
    if raw is not None:
        path.write_bytes(raw)

    with pytest.raises(TokensError, match=fact):
        Tokens(path)


def test_file_without_tokens_lets_nobody_in(path):
    tokens = read(path, "# none yet\n")

    assert tokens.sources == []
    assert tokens.grant(ONE) is None


def test_change_is_heeded_and_only_told_once(path):
    tokens = read(path, f"calls {ONE}\n")
    path.write_text(f"calls {TWO}\n")

    assert [tokens.reload(), tokens.reload()] == [True, False]
    assert tokens.grant(ONE) is None
    assert tokens.grant(TWO) == Grant("calls", "calls")


def test_emptied_file_revokes_all(path):
    tokens = read(path, f"calls {ONE}\n")
    path.write_text("")

    assert tokens.reload()
    assert tokens.grant(ONE) is None


@pytest.mark.parametrize("broken", [b"calls\n", b"\xff", None])
def test_mistake_leaves_the_old_tokens_in_force_and_is_logged_once(path, broken, capfd):
    tokens = read(path, f"calls {ONE}\n")
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken)

    assert [tokens.reload(), tokens.reload()] == [False, False]

    assert tokens.grant(ONE) == Grant("calls", "calls")
    shown = "".join(capfd.readouterr())
    assert shown.count("the tokens file cannot be used") == 1
    assert ONE not in shown


def test_mistake_that_is_put_right_is_heeded(path):
    tokens = read(path, f"calls {ONE}\n")
    path.write_text("calls\n")
    tokens.reload()
    path.write_text(f"calls {TWO}\n")

    assert tokens.reload()
    assert tokens.grant(TWO) == Grant("calls", "calls")

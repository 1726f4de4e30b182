"""The tokens file: what a line means, what is wrong with one, and that a change is heeded and a mistake is not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams import tokens
from streams.tokens import MOST_BYTES, MOST_TOKENS, Tokens, TokensError, TokensFile, digest, holder, parse, watch

ONE, TWO = "0123456789abcdef", "a.b-c_d~e+f/0123=="
FILE = Path("tokens")


def read(path: Path, text: str) -> TokensFile:
    path.write_text(text)
    return TokensFile(path, "web.tokens_file")


def held(token: str, file: TokensFile) -> str | None:
    return holder(token, file.tokens)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_line_is_a_name_and_a_token(path):
    file = read(path, f"# feeds\n\n  outage-site\t{ONE}  \r\n#{TWO} x\nCall  centre {TWO}\n")

    assert file.names == ["Call centre", "outage-site"]
    assert held(ONE, file) == "outage-site"
    assert held(TWO, file) == "Call centre"


def test_only_the_whole_token_is_one(path):
    file = read(path, f"calls {ONE}\n")

    assert [held(token, file) for token in ("", ONE[:-1], ONE + " ", ONE.upper(), "\udcff", "x" * 100_000)] == [
        None
    ] * 6


def test_name_may_have_several_tokens_and_is_spelled_as_at_first(path):
    file = read(path, f"Calls {ONE}\ncalls {TWO}\n")

    assert file.names == ["Calls"]
    assert held(TWO, file) == "Calls"


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (ONE, "line 1 of tokens has one word"),
        (f"# x\ncalls {ONE[:-1]}", "the token in line 2 of tokens cannot be one"),
        ("calls " + "x" * 513, "the token in line 1 of tokens cannot be one"),
        (f"calls {ONE}é", "the token in line 1 of tokens cannot be one"),
        (f"calls {ONE}'", "the token in line 1 of tokens cannot be one"),
        (f"* {ONE}", "line 1 of tokens has a name that none can be"),
        (f"a\x1b[m {ONE}", "line 1 of tokens has a name that none can be"),
        ("x" * 201 + f" {ONE}", "line 1 of tokens has a name that none can be"),
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
        TokensFile(path, "web.tokens_file")


def test_file_without_tokens_lets_nobody_in(path):
    file = read(path, "# none yet\n")

    assert file.names == []
    assert held(ONE, file) is None


def test_change_is_heeded_and_only_told_once(path):
    file = read(path, f"calls {ONE}\n")
    path.write_text(f"calls {TWO}\n")

    assert [file.reload(), file.reload()] == [True, False]
    assert held(ONE, file) is None
    assert held(TWO, file) == "calls"


def test_emptied_file_revokes_all(path):
    file = read(path, f"calls {ONE}\n")
    path.write_text("")

    assert file.reload()
    assert held(ONE, file) is None


@pytest.mark.parametrize("broken", [b"calls\n", b"\xff", None])
def test_mistake_leaves_the_old_tokens_in_force_and_is_logged_once(path, broken, capfd):
    file = read(path, f"calls {ONE}\n")
    if broken is None:
        path.unlink()
    else:
        path.write_bytes(broken)

    assert [file.reload(), file.reload()] == [False, False]

    assert held(ONE, file) == "calls"
    shown = "".join(capfd.readouterr())
    assert shown.count("a tokens file cannot be used") == 1
    assert ONE not in shown


def test_mistake_that_is_put_right_is_heeded(path):
    file = read(path, f"calls {ONE}\n")
    path.write_text("calls\n")
    file.reload()
    path.write_text(f"calls {TWO}\n")

    assert file.reload()
    assert held(TWO, file) == "calls"


async def test_watched_file_tells_of_each_change(path, monkeypatch):
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.01)
    file = read(path, f"maria {ONE}\n")
    told: asyncio.Queue[Tokens] = asyncio.Queue()
    watching = asyncio.create_task(watch(file, told.put_nowait))

    path.write_text(f"joe {TWO}\n")

    assert await asyncio.wait_for(told.get(), 5) == {digest(TWO): "joe"}
    watching.cancel()

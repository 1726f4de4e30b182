"""Reports over HTTP: what is taken, what is refused, and how it is told. On real sockets; Kafka is a list."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import generate_latest

from streams import tokens
from streams.fault import Fault
from streams.http_ingest import body, server
from streams.http_ingest.problem import Refusal, Refused
from tests.http_servers import OTHER_SOURCE, OTHER_TOKEN, SOURCE, TOKEN, Ingest, ingest

AUTH = {"Authorization": f"Bearer {TOKEN}"}
JSON = AUTH | {"Content-Type": "application/json"}
NDJSON = AUTH | {"Content-Type": "application/x-ndjson"}
ONE = b'{"service":"WhatsApp","region":"it/lazio"}'


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Any, raw: bytes) -> None:
        self.status = status
        self.headers = headers
        self.raw = raw

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def told(self) -> tuple[int, str, str]:
        """Status, kind of the problem, and which report and field come first."""
        assert self.headers["Content-Type"] == "application/problem+json"
        first = self.body.get("errors", [{}])[0]
        return self.status, self.body["type"].rpartition(":")[2], f"{first.get('index', '')}{first.get('path', '')}"


async def ask(at: Ingest, method: str, path: str, data: Any = None, headers: dict[str, str] | None = None) -> Answer:
    timeout = aiohttp.ClientTimeout(total=10)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.request(method, at.url + path, data=data, headers=headers) as answer,
    ):
        return Answer(answer.status, answer.headers, await answer.read())


async def post(at: Ingest, data: Any = ONE, headers: dict[str, str] = JSON) -> Answer:
    return await ask(at, "POST", "/v1/reports", data, headers)


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Ingest]:
    async with ingest(tmp_path) as running:
        yield running


def count(at: Ingest, name: str, **labels: str) -> float:
    return at.metrics.registry.get_sample_value(f"groundswell_http_ingest_{name}", labels) or 0.0


# What is taken


async def test_a_report_is_taken_as_its_tokens_source(at):
    answer = await post(at)

    assert (answer.status, answer.body) == (202, {"accepted": 1, "source": SOURCE})
    assert at.sink.reports == [{"service": "WhatsApp", "region": "it/lazio", "source": SOURCE}]


async def test_an_array_goes_out_as_one_request(at):
    answer = await post(at, b' [{"service":"a"}, {"service":"b","count":17}]')

    assert answer.body["accepted"] == 2
    assert [len(values) for values in at.sink.requests] == [2]
    assert at.sink.reports == [
        {"service": "a", "source": SOURCE},
        {"service": "b", "count": 17, "source": SOURCE},
    ]


async def test_lines_may_end_as_on_windows_and_blank_ones_say_nothing(at):
    answer = await post(at, b'{"service":"a"}\r\n\r\n\n{"service":"b"}', NDJSON)

    assert answer.body["accepted"] == 2


async def test_time_that_a_report_leaves_out_stays_out_and_one_that_it_gives_stays_in(at):
    await post(
        at, b'[{"service":"a"},{"service":"b","time":"2022-10-25T09:04:11.25+02:00"},{"service":"c","time":17.5}]'
    )

    assert [report.get("time") for report in at.sink.reports] == [None, "2022-10-25T09:04:11.250000+02:00", 17.5]


@pytest.mark.parametrize("named", [SOURCE, "  call  CENTRE "])
async def test_source_may_be_named_in_any_spelling(at, named):
    answer = await post(at, json.dumps({"service": "a", "source": named}))

    assert answer.status == 202
    assert at.sink.reports == [{"service": "a", "source": SOURCE}]


async def test_body_may_be_gzip_of_several_members(at):
    packed = gzip.compress(b'{"service":"a"}\n') + gzip.compress(b'{"service":"b"}\n')

    answer = await post(at, packed, NDJSON | {"Content-Encoding": "gzip"})

    assert answer.body["accepted"] == 2


async def test_body_may_come_in_chunks_of_any_size(at):
    async def pieces():
        for byte in gzip.compress(ONE):
            yield bytes([byte])

    answer = await post(at, pieces(), JSON | {"Content-Encoding": "gzip"})

    assert answer.status == 202


async def test_client_that_asks_before_it_sends_is_told_to(at):
    answer = await post(at, ONE, JSON | {"Expect": "100-continue"})

    assert answer.status == 202


# What is no report

BAD = {
    "no service": (b"{}", "0$"),
    "empty service": (b'{"service":""}', "0$.service"),
    "blank service": (b'{"service":" "}', "0$.service"),
    "no object": (b"5", "0$"),
    "second of an array": (b'[{"service":"a"},{"service":"a","count":-1}]', "1$.count"),
    "array in an array": (b'[[{"service":"a"}]]', "0$"),
    "CRLF among a name is white space, but not NUL": (b'{"service":"a\\r\\nb\\u0000"}', "0$.service"),
    "escape in a name": (b'{"service":"\\u001b[31m"}', "0$.service"),
    "raw NUL": (b'{"service":"a\0"}', "0$"),
    "raw line break": (b'{"service":"a\nb"}', "0$"),
    "10 KB name": (b'{"service":"' + b"W" * 10_000 + b'"}', "0$.service"),
    "too long for a record": (b'{"service":"a","x":"' + b"W" * 70_000 + b'"}', "0$"),
    "name of ours": (b'{"service":"*"}', "0$.service"),
    "region of ours": (b'{"service":"a","region":"it/*"}', "0$.region"),
    "lone surrogate": (b'{"service":"\\ud800"}', "0$"),
    "lone surrogate in a field that is no name": (b'{"service":"a","problem":"\\ud800"}', "0$"),
    "invalid UTF-8": (b'{"service":"\xff"}', "0$"),
    "invalid UTF-8 in a field that is not read": (b'{"service":"a","x":"\xff"}', "0$"),
    "name twice": (b'{"service":"a","service":"b"}', "0$.service"),
    "unknown name twice": (b'{"service":"a","x":1,"x":1}', "0$.x"),
    "huge count": (b'{"service":"a","count":' + b"9" * 400 + b"}", "0$.count"),
    "huge time": (b'{"service":"a","time":' + b"9" * 5000 + b"}", "0$.time"),
    "infinite time": (b'{"service":"a","time":1e999}', "0$.time"),
    "time without offset": (b'{"service":"a","time":"2022-10-25T09:04:11"}', "0$.time"),
    "time of the far past": (b'{"service":"a","time":-1}', "0$.time"),
    "time years ahead": (b'{"service":"a","time":"2099-01-01T00:00:00Z"}', "0$.time"),
    "deep nesting": (b'{"service":"a","x":' + b"[" * 30_000 + b"]" * 30_000 + b"}", "0$"),
    "deep nesting of the whole": (b"[" * 100_000 + b"]" * 100_000, ""),
    "empty array": (b"[]", ""),
    "empty body": (b"", "0$"),
    "white space": (b" \n", "0$"),
    "half an array": (b'[{"service":"a"}', ""),
    "two objects": (b'{"service":"a"}{"service":"b"}', "0$"),
    "byte order mark": (b'\xef\xbb\xbf{"service":"a"}', "0$"),
    "UTF-16": ('{"service":"a"}'.encode("utf-16"), "0$"),
    "NaN": (b'{"service":"a","time":NaN}', "0$"),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_report_is_refused_by_its_place_and_nothing_is_sent(at, name):
    data, place = BAD[name]

    answer = await post(at, data)

    assert answer.told == (400, "bad_reports", place)
    assert answer.body["taken"] == "none"
    assert answer.body["hint"]
    assert len(answer.raw) < 2_000
    assert at.sink.requests == []


async def test_huge_numbers_and_nesting_are_no_matter_where_nobody_reads_them(at):
    data = b'{"service":"a","x":' + b"9" * 5000 + b',"y":[[[[{"x":1,"x":2}]]]],"z":1e999}'

    assert (await post(at, data)).status == 202


async def test_report_of_many_names_takes_no_longer_for_one_that_comes_twice(at):
    """To look for each of them among all the others took a second a report, in which nobody else was served."""
    names = ",".join(f'"{number:x}":1' for number in range(0x1000, 0x2B00))
    began = time.process_time()

    answer = await post(at, f'{{"service":"WhatsApp",{names},"last":1,"last":1}}\n'.encode() * 12, NDJSON)

    assert answer.told == (400, "bad_reports", "0$.last")
    assert time.process_time() - began < 3


async def test_line_that_is_no_report_is_told_by_its_number(at):
    answer = await post(at, b'{"service":"a"}\n[{"service":"b"}]\n{"service":"c"', NDJSON)

    assert [(error["index"], error["reason"]) for error in answer.body["errors"]] == [(1, "invalid"), (2, "not_json")]
    assert answer.body["detail"].startswith("report 1: $: ")


async def test_no_more_errors_are_told_than_anybody_reads(at):
    answer = await post(at, b"{}\n" * 5_000, NDJSON)

    assert (len(answer.body["errors"]), answer.body["errors_total"]) == (20, 5_000)
    assert at.sink.requests == []


async def test_time_within_the_clock_skew_ahead_is_taken(at):
    assert (await post(at, json.dumps({"service": "a", "time": time.time() + 200}))).status == 202
    assert (await post(at, json.dumps({"service": "a", "time": time.time() + 400}))).status == 400


# Whose it is


async def test_report_of_another_source_is_forbidden(at):
    answer = await post(at, json.dumps([{"service": "a"}, {"service": "a", "source": OTHER_SOURCE}]))

    assert answer.told == (403, "wrong_source", "1$.source")
    assert SOURCE in answer.body["hint"]
    assert at.sink.requests == []


async def test_the_topics_default_source_is_another_source_where_it_is_named(at):
    assert (await post(at, b'{"service":"a","source":"reports"}')).status == 403


async def test_what_is_wrong_besides_goes_before_the_source(at):
    answer = await post(at, b'[{"service":"a","source":"x"},{}]')

    assert answer.told == (400, "bad_reports", "0$.source")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer  ",
        "Basic " + TOKEN,
        TOKEN,
        "Bearer " + TOKEN[:-1],
        "Bearer " + TOKEN + "0",
        "Bearer " + TOKEN.upper(),
        "Bearer \xe9\xe9\xe9",
        f"Bearer {TOKEN} {TOKEN}",
    ],
)
async def test_request_without_a_token_that_is_known_is_refused(at, header):
    headers = {"Content-Type": "application/json"} | ({} if header is None else {"Authorization": header})

    answer = await post(at, ONE, headers)

    assert answer.told == (401, "no_token", "")
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="groundswell"')
    assert at.sink.requests == []


async def test_scheme_is_read_in_any_case(at):
    assert (await post(at, ONE, JSON | {"Authorization": f"bEARER {TOKEN}"})).status == 202


async def test_tokens_are_neither_answered_nor_logged_nor_measured(at, capfd):
    wrong = "not-a-token-of-anybody"
    bodies = [(ONE, TOKEN), (b"{}", TOKEN), (ONE, wrong), (ONE, f"{wrong}!")]

    answers = [await post(at, data, JSON | {"Authorization": f"Bearer {token}"}) for data, token in bodies]
    at.sink.put = None
    answers.append(await post(at))

    shown = b"".join(answer.raw + repr(answer.headers).encode() for answer in answers)
    shown += generate_latest(at.metrics.registry) + "".join(capfd.readouterr()).encode()
    assert [answer.status for answer in answers] == [202, 400, 401, 401, 500]
    assert TOKEN.encode() not in shown
    assert wrong.encode() not in shown


# How much of it


async def test_body_that_says_that_it_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.1)
    async with ingest(tmp_path, max_body_bytes=1000) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(_head("Content-Length: 1000000000"))
        status = await asyncio.wait_for(reader.readline(), 5)
        writer.close()

    assert status.startswith(b"HTTP/1.1 413 ")


async def test_body_without_a_length_is_read_no_further_than_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "LINGER_SECONDS", 0.1)

    async def endless():
        while True:
            yield b" " * 1000

    async with ingest(tmp_path, max_body_bytes=10_000) as at:
        answer = await post(at, endless())

    assert answer.told == (413, "too_large", "")


@pytest.mark.parametrize("size", [2_000_000, 100_000_000])
async def test_gzip_bomb_is_unpacked_no_further_than_its_limit(tmp_path, size):
    bomb = _zeros(size)
    async with ingest(tmp_path, max_body_bytes=1_100_000) as at:
        began = time.monotonic()
        answer = await post(at, bomb, JSON | {"Content-Encoding": "gzip"})

    assert answer.told == (413, "too_large", "")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"\x1f\x8b", gzip.compress(ONE)[:-1], gzip.compress(ONE) + b"x", gzip.compress(ONE)[:-8] + b"\0" * 8],
    ids=["empty", "none", "begun", "cut", "more after it", "wrong checksum"],
)
async def test_body_that_is_no_gzip_is_told_so(at, data):
    answer = await post(at, data, JSON | {"Content-Encoding": "gzip"})

    assert answer.told == (400, "bad_request", "")
    assert "gzip" in answer.body["detail"]


async def test_too_many_reports_are_refused(tmp_path):
    async with ingest(tmp_path, max_reports=2) as at:
        assert (await post(at, ONE + b"\n" + ONE, NDJSON)).status == 202
        assert (await post(at, b"\n".join([ONE] * 3), NDJSON)).told == (413, "too_many", "")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "br"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip, gzip"},
    ],
)
async def test_other_formats_are_refused(at, headers):
    answer = await post(at, ONE, AUTH | headers)

    assert answer.told == (415, "unsupported", "")


async def test_source_that_sends_too_much_waits_and_others_do_not(tmp_path):
    async with ingest(tmp_path, reports_per_second=0.5, burst_reports=2) as at:
        assert (await post(at, b"\n".join([ONE] * 4), NDJSON)).status == 202

        answer = await post(at)
        others = await post(at, ONE, JSON | {"Authorization": f"Bearer {OTHER_TOKEN}"})

    assert answer.told == (429, "too_fast", "")
    assert 5 <= int(answer.headers["Retry-After"]) <= 6
    assert others.status == 202


async def test_source_gets_half_of_the_places_and_all_together_no_more_than_there_are(tmp_path):
    async with ingest(tmp_path, max_in_flight=2) as at:
        at.sink.gate = asyncio.Event()
        first = asyncio.create_task(post(at))
        await _until(lambda: count(at, "requests_total", code="5xx") == 0 and bool(at.sink.gate._waiters))
        second = await post(at)
        others = asyncio.create_task(post(at, ONE, JSON | {"Authorization": f"Bearer {OTHER_TOKEN}"}))
        await _until(lambda: len(at.sink.gate._waiters) == 2)
        third = await post(at, ONE, JSON | {"Authorization": f"Bearer {OTHER_TOKEN}"})
        at.sink.gate.set()

        assert second.told == third.told == (503, "busy", "")
        assert second.headers["Retry-After"] == "1"
        assert SOURCE in second.body["detail"]
        assert ((await first).status, (await others).status) == (202, 202)
        assert (await post(at)).status == 202


async def test_body_that_dribbles_is_given_up(at, monkeypatch):
    monkeypatch.setattr(body, "BODY_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(_head("Content-Length: 100") + b'{"service"')

    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert count(at, "refused_total", reason="too_slow") == 1


async def test_head_that_dribbles_is_hung_up_on(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    async with ingest(tmp_path) as at:
        reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
        writer.write(b"POST /v1/reports HTTP/1.1\r\nHost: x\r\n")

        async def dribble():
            while not writer.is_closing():
                writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.05)

        dribbling = asyncio.create_task(dribble())
        ended = await asyncio.wait_for(_read_all(reader), 5)
        dribbling.cancel()
        writer.close()

    assert ended == b""


async def test_connections_that_only_sit_there_keep_nobody_out(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    async with ingest(tmp_path) as at:
        idle = [await asyncio.open_connection("127.0.0.1", at.port) for _ in range(10)]
        ends = [asyncio.create_task(_read_all(reader)) for reader, _ in idle]
        await asyncio.wait_for(asyncio.gather(*ends[:7]), 5)
        idle[-1][1].write(_head(f"Content-Length: {len(ONE)}\r\nConnection: close") + ONE)
        await _until(lambda: len(at.sink.requests) == 1)
        for _, writer in idle:
            writer.close()
        await asyncio.gather(*ends)


async def test_head_that_is_too_long_is_refused(at):
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(_head("X-A: " + "a" * 5000))

    answer = await asyncio.wait_for(_read_all(reader), 5)

    assert answer.split(b" ", 2)[1] == b"400"
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET\r\n\r\n",
        b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/reports HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
        b"\r\n" * 5 + b"\0" * 100 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_refused_in_our_words_and_not_logged(at, garbage, capfd):
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(garbage)

    answer = await asyncio.wait_for(_read_all(reader), 5)

    assert answer.split(b" ", 2)[1] == b"400"
    assert b"application/problem+json" in answer
    assert b"\\x00" not in answer, "what came is not sent back: it may be a token"
    assert "Error handling request" not in "".join(capfd.readouterr())
    assert count(at, "refused_total", reason="bad_request") == 1
    assert count(at, "requests_total", code="4xx") == 1


async def test_chunk_that_is_none_is_refused(at):
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(_head("Transfer-Encoding: chunked") + b"zz\r\n")

    answer = await asyncio.wait_for(_read_all(reader), 5)

    assert answer.split(b" ", 2)[1] == b"400"
    assert at.sink.requests == []


async def test_client_that_leaves_in_the_middle_leaves_nothing_behind(at):
    _, writer = await asyncio.open_connection("127.0.0.1", at.port)
    writer.write(_head("Content-Length: 100") + b'{"service"')
    await writer.drain()
    writer.transport.abort()

    await _until(lambda: count(at, "refused_total", reason="bad_request") == 1)
    assert (await post(at)).status == 202


# What Kafka says


async def test_refusal_of_kafka_reaches_the_client(at):
    at.sink.failing = Refused(Refusal.KAFKA_SILENT, "x", "y", headers={"Retry-After": "5"})

    answer = await post(at)

    assert answer.told == (503, "kafka_silent", "")
    assert answer.body["taken"] == "unknown"
    assert answer.headers["Retry-After"] == "5"
    assert count(at, "reports_total", source=SOURCE) == 0


async def test_fault_of_ours_is_told_without_what_it_was(at, capfd):
    at.sink.put = None

    answer = await post(at)

    assert answer.told == (500, "fault", "")
    assert "NoneType" not in answer.raw.decode()
    assert "NoneType" in "".join(capfd.readouterr())


# Around it


async def test_other_paths_and_methods_are_told_in_the_same_words(at):
    assert (await ask(at, "GET", "/")).told == (404, "not_found", "")
    assert (await ask(at, "POST", "/v1/reports/", ONE, JSON)).told == (404, "not_found", "")
    answer = await ask(at, "GET", "/v1/reports")
    assert answer.told == (405, "wrong_method", "")
    assert answer.headers["Allow"] == "POST"


async def test_health_is_told_without_a_token(at):
    head, got = await ask(at, "HEAD", "/healthz"), await ask(at, "GET", "/healthz")

    assert (head.status, got.status, got.body) == (200, 200, {"ok": True, "reason": "alive"})


async def test_requests_reports_and_refusals_are_counted(at):
    await post(at, ONE + b"\n" + ONE, NDJSON)
    await post(at, b"{}")
    await post(at, ONE, {})
    await ask(at, "GET", "/healthz")

    assert [count(at, "requests_total", code=code) for code in ("2xx", "4xx", "5xx")] == [1, 2, 0]
    assert count(at, "reports_total", source=SOURCE) == 2
    assert count(at, "refused_total", reason="bad_reports") == 1
    assert count(at, "refused_total", reason="no_token") == 1
    assert count(at, "request_seconds_count") == 3


async def test_address_that_is_taken_is_told_by_its_setting(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(Fault, match=rf"HTTP ingest cannot listen on 127\.0\.0\.1:{port}.*http_ingest\.port"):
            async with ingest(tmp_path, port=port):
                pass


async def test_tokens_that_change_are_heeded_without_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.02)
    new = "a-new-token-of-the-call-centre"
    async with ingest(tmp_path) as at:
        at.tokens_file.write_text(f"{SOURCE} {new}\nnew feed {TOKEN}\n")
        await _until(lambda: "new feed" in generate_latest(at.metrics.registry).decode())

        answers = [
            await post(at, ONE, JSON | {"Authorization": f"Bearer {each}"}) for each in (new, TOKEN, OTHER_TOKEN)
        ]

    assert [answer.status for answer in answers] == [202, 202, 401]
    assert [answer.body.get("source") for answer in answers] == [SOURCE, "new feed", None]


def _head(more: str) -> bytes:
    lines = ["POST /v1/reports HTTP/1.1", "Host: x", f"Authorization: Bearer {TOKEN}", "Content-Type: application/json"]
    return "\r\n".join([*lines, more, "", ""]).encode()


def _zeros(size: int) -> bytes:
    """So many zeros as gzip."""
    import zlib

    packer = zlib.compressobj(9, wbits=31)
    piece = b"\0" * 1_000_000
    return b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def _until(condition) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "waited 5 s in vain"
        await asyncio.sleep(0.01)

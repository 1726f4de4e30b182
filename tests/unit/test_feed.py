import gzip
import io
import os
import sys
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow
import pytest
from pyarrow import parquet

from detectors.report import Reason
from detectors.rules import Rules
from detectors.source import SourceRule
from streams.feed import Feed, FeedError, Rows, plan

#: 25 October 2022, 12:00 UTC.
NOON_MS = 1_666_699_200_000


def read(path: Path | str, notes: list[str] | None = None) -> list[bytes]:
    with Rows(path, (notes if notes is not None else []).append) as found:
        return [value for values in found for value in values]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def decoded(values: list[bytes]) -> list[object]:
    return [msgspec.json.decode(value) for value in values]


# NDJSON


def test_ndjson_lines_go_through_as_they_are_malformed_ones_too(tmp_path):
    path = written(tmp_path, "a.ndjson", b'{"service": "A"}\n{"service": \nno json\n\xff\xfe\x00\n  {"x":1} ')

    assert read(path) == [b'{"service": "A"}', b'{"service": ', b"no json", b"\xff\xfe\x00", b'  {"x":1} ']


def test_blank_lines_line_ends_and_byte_order_mark_are_no_part_of_a_row(tmp_path):
    path = written(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"service":"A"}\r\n\r\n   \n\n{"service":"B"}\r\n')

    assert read(path) == [b'{"service":"A"}', b'{"service":"B"}']


def test_an_empty_file_has_no_rows(tmp_path):
    assert read(written(tmp_path, "a.ndjson", b"")) == []
    assert read(written(tmp_path, "a.csv", b"")) == []
    assert read(written(tmp_path, "a.csv", b"\xef\xbb\xbf\n")) == []


def test_a_line_above_the_limit_is_cut_off_and_the_next_one_is_whole(tmp_path):
    path = written(tmp_path, "a.ndjson", b"x" * 3_000_000 + b'\n{"service":"B"}\n' + b"y" * 1_000_000 + b"\nz")

    assert read(path) == [b"x" * 1_000_001, b'{"service":"B"}', b"y" * 1_000_000, b"z"]


def test_a_file_that_looks_like_a_json_array_is_noted_and_passed_on(tmp_path):
    notes: list[str] = []

    assert read(written(tmp_path, "a.json", b'[{"service":"A"}]'), notes) == [b'[{"service":"A"}]']
    assert "jq -c" in notes[0]


# gzip


def test_gzip_is_told_by_its_bytes_and_may_have_many_members(tmp_path):
    path = written(tmp_path, "a.log", gzip.compress(b'{"service":"A"}\n{"ser') + gzip.compress(b'vice":"B"}\n'))

    assert read(path) == [b'{"service":"A"}', b'{"service":"B"}']


def test_a_broken_gzip_gives_its_rows_and_then_an_error(tmp_path):
    lines = b"".join(b'{"service":"%d"}\n' % number for number in range(100_000))
    path = written(tmp_path, "a.ndjson.gz", gzip.compress(lines)[:-100])
    found: list[bytes] = []

    with Rows(path, print) as pieces, pytest.raises(FeedError, match="cannot be read to its end"):
        found.extend(value for values in pieces for value in values)

    assert found[:2] == [b'{"service":"0"}', b'{"service":"1"}']


def test_a_gzip_bomb_is_streamed(tmp_path):
    path = written(tmp_path, "bomb.ndjson.gz", gzip.compress(bytes(60_000_000), 1))
    tracemalloc.start()

    values = read(path)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values == [bytes(1_000_001)]
    assert peak < 10_000_000


# CSV


def test_csv_rows_become_reports_and_empty_cells_are_left_out(tmp_path):
    path = written(
        tmp_path,
        "a.csv",
        b"Service, region ,time,source,problem,count,id\r\n"
        b'"Poste, Italiane",it/lazio,2022-10-25T09:04:00+02:00,calls,"says ""no""",5,x1\r\n'
        b"TIM,,,,,,\r\n",
    )

    assert decoded(read(path)) == [
        {
            "service": "Poste, Italiane",
            "region": "it/lazio",
            "time": "2022-10-25T09:04:00+02:00",
            "source": "calls",
            "problem": 'says "no"',
            "count": 5,
            "id": "x1",
        },
        {"service": "TIM"},
    ]


def test_csv_times_without_a_zone_are_utc_and_numbers_are_numbers(tmp_path):
    path = written(
        tmp_path, "a.csv", b"service,time,count\nA,2022-10-25 07:04:00,2.0\nA,1666681440,x\nA,1666681440.5,\n"
    )
    notes: list[str] = []

    assert decoded(read(path, notes)) == [
        {"service": "A", "time": "2022-10-25T07:04:00+00:00", "count": 2},
        {"service": "A", "time": 1666681440, "count": "x"},
        {"service": "A", "time": 1666681440.5},
    ]
    assert [note for note in notes if "UTC" in note] == [f"{path}: times without a zone are taken as UTC"]


def test_unknown_csv_columns_are_noted_once(tmp_path):
    path = written(tmp_path, "a.csv", b"service,city,\x1b[31m\nA,Rome,x\nB,Milan,y\n")
    notes: list[str] = []

    assert decoded(read(path, notes)) == [{"service": "A"}, {"service": "B"}]
    assert notes == [f"{path}: columns left out, no fields of a report: 'city', '\\x1b[31m'"]


@pytest.mark.parametrize("delimiter", [b";", b"\t"])
def test_csv_of_other_countries_is_understood(tmp_path, delimiter):
    path = written(tmp_path, "a.csv", b"service,region\nA,it\n".replace(b",", delimiter))

    assert decoded(read(path)) == [{"service": "A", "region": "it"}]


def test_csv_rows_that_make_no_report_go_on_as_they_are(tmp_path):
    path = written(tmp_path, "a.csv", b'service,region\nA,it,more\nB\n\xff,it\n"C"x,it\nD,it,\n"E\n')

    assert read(path) == [
        b"A,it,more",
        b'{"service":"B"}',
        b"\xff,it",
        b'"C"x,it',
        b'{"service":"D","region":"it"}',
        b'"E',
    ]


def test_a_quote_left_open_costs_the_lines_up_to_the_limit_of_a_field_each_as_it_is(tmp_path):
    lines = [b"line %d" % number for number in range(40_000)]
    path = written(tmp_path, "a.csv", b'service\n"open\n' + b"\n".join(lines) + b"\n")

    values = read(path)

    bad = values.index(b"line 9") - 9
    assert values[:bad] == [b'"open']
    assert len(values) == 40_001
    assert values[-1] == b'{"service":"line 39999"}'


def test_a_quoted_line_break_stays_in_its_cell(tmp_path):
    path = written(tmp_path, "a.csv", b'service,problem\nA,"two\nlines"\nB,\n')

    assert decoded(read(path)) == [{"service": "A", "problem": "two\nlines"}, {"service": "B"}]


def test_csv_without_a_service_column_says_so(tmp_path):
    with pytest.raises(FeedError, match=r"no column named service.*name;time"):
        read(written(tmp_path, "a.csv", b"name;time\nA;1\n"))


def test_csv_with_two_columns_of_one_name_says_so(tmp_path):
    with pytest.raises(FeedError, match="two columns named region"):
        read(written(tmp_path, "a.csv", b"service,region,Region\nA,it,de\n"))


def test_a_file_without_a_telling_name_is_csv_if_its_first_line_names_the_service(tmp_path):
    assert read(written(tmp_path, "a", b"time,service\n1,A\n")) == [b'{"time":1,"service":"A"}']
    assert read(written(tmp_path, "b", b"time,name\n1,A\n")) == [b"time,name", b"1,A"]


# Parquet


def test_parquet_times_become_rfc_3339_and_gaps_are_left_out(tmp_path):
    path = tmp_path / "a.parquet"
    table = pyarrow.table(
        {
            "service": ["A", "B"],
            "time": pyarrow.array([1_666_681_440_123_456_789, None], pyarrow.timestamp("ns")),
            "count": [2.0, float("nan")],
            "id": [7, None],
            "city": ["Rome", "Milan"],
        }
    )
    parquet.write_table(table, path)
    notes: list[str] = []

    assert read(path, notes) == [
        b'{"service":"A","time":"2022-10-25T07:04:00.123000Z","count":2,"id":"7"}',
        b'{"service":"B"}',
    ]
    assert len(notes) == 2
    assert "'city'" in notes[0]


def test_parquet_is_read_in_batches_with_its_share(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"service": ["A"] * 10_000}), path)

    with Rows(path, print) as found:
        shares = [found.share_read() for _ in found]

    assert shares == [0.0, 0.4096, 0.8192]


def test_parquet_times_that_no_calendar_holds_are_left_to_the_worker(tmp_path):
    path = tmp_path / "a.parquet"
    parquet.write_table(
        pyarrow.table({"service": ["A"], "time": pyarrow.array([2**60], pyarrow.timestamp("ms", tz="UTC"))}), path
    )

    assert read(path) == [b'{"service":"A","time":1152921504606846976}']


def test_parquet_without_pyarrow_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(FeedError, match=r"pip install 'groundswell\[parquet\]'"):
        read(written(tmp_path, "a.parquet", b"PAR1...."))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", b"PAR1 and then something else", "cannot be read"),
        ("a.parquet.gz", gzip.compress(b"PAR1....", mtime=0), "Parquet inside gzip"),
        ("a.csv", '"service"'.encode("utf-16"), "UTF-16"),
    ],
)
def test_files_that_cannot_be_read_say_why(tmp_path, name, content, message):
    with pytest.raises(FeedError, match=message):
        read(written(tmp_path, name, content))


def test_a_missing_file_and_a_folder_say_so(tmp_path):
    with pytest.raises(FeedError, match="No such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(FeedError, match="directory"):
        read(tmp_path)


# standard input


def test_standard_input_is_read_as_ndjson_or_csv(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"service":"A"}\n')))
    assert read("-") == [b'{"service":"A"}']

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"service\nA\n")))
    assert read("-") == [b'{"service":"A"}']


def test_parquet_on_standard_input_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"PAR1....")))

    with pytest.raises(FeedError, match="pipe"):
        read("-")


@pytest.mark.parametrize("header", [b"", b"service\n"])
def test_rows_of_a_pipe_go_on_as_they_come(monkeypatch, header):
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))

    with Rows("-", print) as found, open(writing, "wb", buffering=0) as pipe:
        pieces = iter(found)
        pipe.write(header + b"A 1\n")
        first = next(pieces)
        pipe.write(b"B 1\nC")
        second = next(pieces)
        pipe.write(b" 1\n")
        third = next(pieces)

    assert [len(first), len(second), len(third)] == [1, 1, 1]


# Partitions, heartbeats, what the worker will reject


def report(second: float, service: str = "A", **more: object) -> bytes:
    return msgspec.json.encode({"service": service, "time": 1_666_681_440 + second} | more)


def beat(second: float, service: str = "A", source: str = "reports") -> dict[str, object]:
    return {"service": service, "region": "", "time": 1_666_681_440 + second, "source": source, "count": 0}


def test_every_partition_gets_a_heartbeat_before_the_first_and_after_the_last_row(tmp_path):
    path = written(tmp_path, "a.ndjson", report(0) + b"\n" + report(5, "B") + b"\n" + report(3) + b"\n")

    planned = list(plan(path, 2))

    first, middle, last = planned[:2], planned[2:5], planned[5:]
    assert [(p, msgspec.json.decode(value)) for p, value in first] == [(0, beat(0)), (1, beat(0))]
    assert [value for _, value in middle] == [report(0), report(5, "B"), report(3)]
    assert [(p, msgspec.json.decode(value)) for p, value in last] == [(0, beat(5, "B")), (1, beat(5, "B"))]


def test_a_partition_without_rows_gets_a_heartbeat_every_minute_of_event_time(tmp_path):
    path = written(tmp_path, "a.ndjson", b"\n".join(report(second) for second in (0, 5, 59, 60, 72, 119, 180)))

    planned = list(plan(path, 2))

    row = next(p for p, value in planned if value == report(5))
    beats = [msgspec.json.decode(value)["time"] - 1_666_681_440 for p, value in planned if p != row]
    assert beats == [0, 60, 180, 180]
    assert [msgspec.json.decode(value)["time"] - 1_666_681_440 for p, value in planned if p == row] == [
        0, 0, 5, 59, 60, 72, 119, 180, 180,
    ]  # fmt: skip


def test_rows_that_bear_no_time_need_no_heartbeats(tmp_path):
    path = written(tmp_path, "a.ndjson", b'{"service":"A"}\nno json\n')

    assert [value for _, value in plan(path, 4)] == [b'{"service":"A"}', b"no json"]


def test_a_row_from_the_future_or_of_a_bad_name_moves_no_heartbeat(tmp_path):
    future = b'{"service":"A","time":"2199-01-01T00:00:00Z"}'
    path = written(
        tmp_path, "a.ndjson", report(0) + b"\n" + future + b"\n" + report(50, "*") + b"\n" + report(1) + b"\n"
    )

    last = list(plan(path, 1))[-1]

    assert msgspec.json.decode(last[1])["time"] == 1_666_681_441


def test_rows_of_a_service_and_region_share_a_partition(tmp_path):
    places = ["it/lazio", "it/veneto", "de", ""]
    path = written(
        tmp_path, "a.ndjson", b"\n".join(report(0, region=place, id=str(n)) for n in range(50) for place in places)
    )

    taken: dict[str, set[int]] = {}
    for partition, value in plan(path, 8):
        fields = msgspec.json.decode(value)
        if "id" in fields:
            taken.setdefault(fields["region"], set()).add(partition)

    assert {len(partitions) for partitions in taken.values()} == {1}
    assert len(set.union(*taken.values())) > 1


def test_what_the_worker_will_reject_is_counted_by_reason_and_sent_all_the_same(tmp_path):
    values = [
        report(0),
        b"no json",
        b'{"service":1}',
        report(0, " "),
        b'{"service":"A","time":1e15}',
        b'{"service":"A","time":"2022-10-25T12:05:01Z"}',
        b'{"service":"' + b"A" * 70_000 + b'"}',
        report(100),
        report(50),
        report(50, source="slow"),
    ]
    path = written(tmp_path, "a.ndjson", b"\n".join(values))
    rules = Rules(reports_partitions=1, sources={"slow": SourceRule(lateness_seconds=60)})

    with Feed(path, rules, now=lambda: NOON_MS, note=print) as feed:
        records = [record for piece in feed for record in piece]

    assert [record.value for record in records if not record.heartbeat] == values
    assert feed.read == 10
    assert feed.rejected == {
        Reason.NOT_JSON: 1,
        Reason.INVALID: 1,
        Reason.BAD_NAME: 1,
        Reason.BAD_TIME: 1,
        Reason.FUTURE: 1,
        Reason.TOO_LARGE: 1,
        Reason.LATE: 1,
    }


def test_records_bear_the_event_time_that_their_row_names(tmp_path):
    path = written(tmp_path, "a.csv", b"service,time\nA,2022-10-25T07:04:00.5Z\nA,\n")

    with Feed(path, Rules(reports_partitions=1), now=lambda: NOON_MS, note=print) as feed:
        times = [record.event_ms for piece in feed for record in piece if not record.heartbeat]

    moment = datetime(2022, 10, 25, 7, 4, 0, 500_000, tzinfo=UTC)
    assert times == [round(moment.timestamp() * 1000), None]

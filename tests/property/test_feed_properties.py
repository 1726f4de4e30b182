import csv
import gzip
import io
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.pipeline import Pipeline
from detectors.rules import Rules
from detectors.source import SourceRule
from streams.feed import Feed, FeedError, Rows, plan

NOW_MS = 1_666_699_200_000
FIELDS = ("service", "region", "time", "source", "problem", "count", "id")


def read(name: str, content: bytes) -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        with Rows(path, lambda _: None) as rows:
            return [value for values in rows for value in values]


fragments = st.sampled_from(
    [b"service", b"region", b",", b";", b'"', b"\n", b"\r", b"\0", b"\xff", b"{", b"[", b"A", b" ", b"\xef\xbb\xbf"]
)
hostile = st.one_of(
    st.binary(max_size=300),
    st.lists(fragments, max_size=60).map(b"".join),
    st.binary(max_size=100).map(lambda rest: b"PAR1" + rest),
    st.binary(max_size=100).map(lambda rest: gzip.compress(rest, mtime=0)),
    st.binary(max_size=100).map(lambda rest: gzip.compress(rest, mtime=0)[:-3]),
)


@given(hostile, st.sampled_from(["a", "a.csv", "a.ndjson", "a.parquet", "a.csv.gz"]))
@settings(max_examples=100, deadline=None)
def test_any_file_is_read_or_refused_with_a_clear_error(content, name):
    try:
        values = read(name, content)
    except FeedError as error:
        values = [str(error).encode()]

    assert all(values)


@given(st.lists(st.binary(max_size=80).filter(lambda line: b"\n" not in line), max_size=30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_line_of_ndjson_comes_out_once_and_unchanged(lines, zipped):
    content = b'{"service":"A"}\n' + b"\n".join(lines)

    values = read("a.ndjson", gzip.compress(content) if zipped else content)

    whole = [line.removesuffix(b"\r") for line in lines if line.strip(b" \t\n\r\x0b\x0c")]
    assert values == [b'{"service":"A"}', *whole]


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=30)
reports_of_texts = st.fixed_dictionaries(
    {"service": text, "source": st.just("x")}, optional={"region": text, "problem": text, "id": text}
)


@given(st.lists(reports_of_texts, max_size=20), st.sampled_from(",;\t"))
@settings(max_examples=50, deadline=None)
def test_what_a_csv_writer_writes_is_read_back(reports, delimiter):
    file = io.StringIO()
    writer = csv.DictWriter(file, ["service", "region", "problem", "id", "source"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(reports)

    values = read("a.csv", file.getvalue().encode())

    expected = [{name: value for name, value in report.items() if value or name == "service"} for report in reports]
    assert [msgspec.json.decode(value) for value in values] == expected


times = st.one_of(
    st.none(),
    st.integers(1_666_681_440, 1_666_681_800),
    st.floats(1_666_681_440, 1_666_681_800),
    st.sampled_from(["2022-10-25T07:04:00Z", "2022-10-25T12:10:00Z", "yesterday", 1e15, -1]),
)
rows_of_reports = st.lists(
    st.one_of(
        st.sampled_from([b"no json", b"{}", b"[]", b'{"service":""}', b'{"service":"\\u0000"}']),
        st.builds(
            lambda service, region, time, source, count: msgspec.json.encode(
                {"service": service, "region": region, "time": time, "source": source, "count": count}
            ),
            st.sampled_from(["A", "a", "B ", "*", "C"]),
            st.sampled_from(["", "it", "it/lazio"]),
            times,
            st.sampled_from(["reports", "Slow"]),
            st.integers(0, 3),
        ),
    ),
    max_size=40,
)


@given(rows_of_reports, st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_count_of_what_will_be_rejected_is_what_the_pipeline_rejects(values, partitions):
    rules = Rules(reports_partitions=partitions, partitions=1, sources={"slow": SourceRule(lateness_seconds=60)})
    pipeline = Pipeline(rules)
    heartbeats = 0

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.ndjson")
        path.write_bytes(b"\n".join(values))
        with Feed(path, rules, now=lambda: NOW_MS, note=lambda _: None) as feed:
            for records in feed:
                for record in records:
                    pipeline.read(record.partition, [record.value], [NOW_MS])
                    heartbeats += record.heartbeat

    assert feed.rejected == pipeline.rejected
    assert feed.read == len(values)
    assert pipeline.counted == len(values) + heartbeats - feed.rejected.total()


@given(rows_of_reports, st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_a_plan_holds_each_row_once_in_order_and_only_heartbeats_beside(values, partitions):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.ndjson")
        path.write_bytes(b"\n".join(values))
        planned = list(plan(path, partitions, now=lambda: NOW_MS))

    rest = iter(values)
    current = next(rest, None)
    for partition, value in planned:
        assert 0 <= partition < partitions
        if value == current:
            current = next(rest, None)
        else:
            assert msgspec.json.decode(value)["count"] == 0
    assert current is None

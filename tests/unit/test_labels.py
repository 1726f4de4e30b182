"""Labels: known outages from a CSV file, and what is said of a bad one."""

from __future__ import annotations

import pytest

from detectors.verification import Label
from streams.labels import LabelError, read

SEVEN, NINE = 1_666_681_200_000, 1_666_688_400_000


@pytest.fixture
def known(tmp_path):
    """Write a labels file; gives its path."""

    def put(text: str | bytes):
        path = tmp_path / "known.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return put


def test_names_are_folded_as_those_of_reports_and_shown_as_written(known):
    path = known("service,region,start,end\n  WhatsApp ,IT/Lazio//,2022-10-25T07:00:00Z,2022-10-25T11:00:00+02:00\n")

    assert read(path) == [Label("WhatsApp", "IT/Lazio", ("whatsapp", "it/lazio"), SEVEN, NINE)]


def test_columns_may_stand_in_any_order_beside_others_and_blank_lines_are_none(known):
    path = known(
        "\ufeffEnd,ticket,Start,Service,Region\n\n2022-10-25T09:00:00Z,INC-7,2022-10-25T07:00:00Z,WhatsApp,\n,,,,\n"
    )

    assert read(path) == [Label("WhatsApp", "", ("whatsapp", ""), SEVEN, NINE)]


def test_file_without_rows_holds_no_label(known):
    assert read(known("service,region,start,end\n")) == []


HEADER = "service,region,start,end\n"
GOOD = "WhatsApp,,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z\n"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("WhatsApp,,yesterday,2022-10-25T09:00:00Z", "line 3: start 'yesterday' is no time with its zone"),
        ("WhatsApp,,2022-10-25T07:00:00Z,2022-10-25T09:00:00", "line 3: end '2022-10-25T09:00:00' is no time"),
        ("WhatsApp,,2022-10-25T07:00:00Z,2022-10-25T07:00:00Z", "line 3: end 2022-10-25T07:00:00Z is not after"),
        ("WhatsApp,,1969-10-25T07:00:00Z,2022-10-25T07:00:00Z", "line 3: start 1969-10-25T07:00:00Z is not between"),
        ("WhatsApp,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z", "line 3: 3 cells, but 4 columns"),
        (" ,,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z", "line 3: no report can have this service. Empty|empty"),
        ("*,,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z", "line 3: no report can have this service"),
        ("a,\x1b[31m,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z", "line 3: no report can have this region"),
        (f"{'x' * 201},,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z", "line 3: service has 201 characters"),
        (f"a,{'x' * 301},2022-10-25T07:00:00Z,2022-10-25T09:00:00Z", "line 3: region has 301 characters"),
        ('"a" b,,2022-10-25T07:00:00Z,2022-10-25T09:00:00Z', "line 3: no CSV"),
        (f"{'x' * 200_000},,a,b", "line 3: no CSV"),
    ],
)
def test_bad_row_is_told_with_its_line(known, row, told):
    with pytest.raises(LabelError, match=told):
        read(known(f"{HEADER}{GOOD}{row}\n"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "needs one column named service"),
        ("service,start,end\n", "needs one column named region"),
        ("service,region,start,end,end\n", "needs one column named end"),
        (b"service,region,start,end\n\xff\xfe,,x,y\n", "is not UTF-8"),
    ],
)
def test_file_that_is_none_of_labels_is_told(known, text, told):
    with pytest.raises(LabelError, match=told):
        read(known(text))


def test_missing_file_is_told(tmp_path):
    with pytest.raises(LabelError, match=r"cannot be read\. No such file"):
        read(tmp_path / "none.csv")


def test_more_labels_than_anybody_has_are_refused(known, monkeypatch):
    monkeypatch.setattr("streams.labels.MOST", 2)

    assert len(read(known(HEADER + GOOD * 2))) == 2
    with pytest.raises(LabelError, match="line 4: more than 2 labels"):
        read(known(HEADER + GOOD * 3))

"""The page of a backtest: well-formed, without script, everything on it that there is to say, and bounded."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import msgspec
import pytest

from detectors.alert import Kind
from detectors.comparison import compare
from detectors.excerpts import Recorder
from detectors.verification import verify
from streams import backtest, backtest_page
from streams.backtest_result import Result, Run
from streams.fault import Fault
from streams.settings import IncidentRule, Settings
from tests.made_episodes import DAY, at, known, silent, told

SCRIPT = "<script>window.ran = true</script>"
IMAGE = "\"'><img src=x onerror='window.ran = true'>"
VOID = {"meta", "path", "line", "rect"}


class Seen(HTMLParser):
    """What is in a page. AssertionError where an element ends that did not begin."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in VOID
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    """Twelve hours of three services; one with a hostile name breaks, and a small one does so hardly visibly."""
    rows = [
        {"service": service, "region": "it/lazio", "time": DAY // 1000 + 30 * number + offset}
        for offset, service in enumerate((SCRIPT, "TIM", "Gmail"))
        for number in range(1440)
    ]
    rows += [{"service": SCRIPT, "region": "it/lazio", "time": DAY // 1000 + 36_000 + number} for number in range(1200)]
    rows.sort(key=lambda row: row["time"])
    path = tmp_path_factory.mktemp("page") / "a&b <i>.ndjson"
    path.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    return path


@pytest.fixture(scope="module")
def labels(feed):
    path = feed.with_name("known.csv")
    path.write_text(
        "service,region,start,end\n"
        f"{SCRIPT},it,2022-10-25T10:00:00Z,2022-10-25T10:20:00Z\n"
        "TIM,,2022-10-25T05:00:00Z,2022-10-25T05:30:00Z\n"
        "Nobody,,2022-10-25T05:00:00Z,2022-10-25T05:30:00Z\n"
        "TIM,,2023-10-25T05:00:00Z,2023-10-25T05:30:00Z\n"
    )
    return path


@pytest.fixture(scope="module")
def written(feed, labels):
    """The page of that feed, by labels and against settings that open late."""
    path = feed.with_name("out.html")
    late = backtest.Variant(IMAGE, Settings(incidents=IncidentRule(open_at=3.5)))
    backtest.run(Settings(), feed, json_output=True, name=SCRIPT, report=path, labels_file=labels, other=late)
    return path.read_text()


@pytest.fixture(scope="module")
def seen(written):
    return Seen(written)


def test_page_is_one_file_without_script_that_loads_nothing(seen, written):
    tags = {tag for tag, _ in seen.tags}

    assert tags.isdisjoint({"script", "link", "img", "iframe", "object", "base", "form", "use", "image"})
    assert "https://" not in written
    assert "http://" not in written
    assert "url(" not in written
    assert "@import" not in written
    names = {name for _, attrs in seen.tags for name in attrs}
    assert [name for name in names if name.startswith("on")] == []
    assert {attrs["href"][0] for tag, attrs in seen.tags if tag == "a"} == {"#"}


def test_names_from_outside_are_shown_as_text(seen, written):
    assert SCRIPT not in written
    assert "<img" not in written
    assert "<i>" not in written
    assert SCRIPT in seen.words
    assert IMAGE in seen.words
    assert "a&b <i>.ndjson" in seen.words


def test_head_says_what_was_run(seen):
    assert "5,520 read, 5,520 counted, 0 rejected" in seen.words
    assert "2022-10-25 00:00 to 2022-10-25 11:59:32 UTC" in seen.words
    assert "incidents.open_at 2" in seen.words


def test_links_lead_to_pictures(seen):
    ids = [attrs["id"] for _, attrs in seen.tags if attrs.get("id")]
    links = {attrs["href"][1:] for tag, attrs in seen.tags if tag == "a"}

    assert len(ids) == len(set(ids))
    assert links
    assert links <= set(ids)


def test_picture_of_an_incident_has_its_counts_band_evidence_and_marks(seen):
    assert len(seen.of_class("picture")) == 3  # the incident, and the two labels that were missed
    assert len(seen.of_class("counts")) == 2  # nobody reported of the third
    for drawn in ("seen", "band", "expected", "excess", "proof-line"):
        assert any("d" in attrs for attrs in seen.of_class(drawn)), drawn
    assert len([each for each in seen.of_class("opens") if "y1" in each]) == 2
    for mark in ("onset", "detected", "by-b", "resolved"):
        lines = [attrs for attrs in seen.of_class(mark) if "x1" in attrs]
        assert len(lines) == 2, mark  # on counts and on evidence
        assert 0 <= float(lines[0]["x1"]) <= 1000
        assert len([attrs for attrs in seen.of_class(mark) if "flag" in attrs["class"]]) == 1
    assert re.search(r"onset 1\d:\d\d", seen.words)
    assert re.search(r"detected 10:0\d", seen.words)
    assert re.search(r"B detects 10:\d\d", seen.words)
    assert re.search(r"resolved 10:\d\d", seen.words)
    assert "known 10:00–10:20" in seen.words
    assert "known 05:00–05:30" in seen.words


def test_labels_are_told_with_what_they_mean(seen):
    assert "found 1 of 3 known outages (33 %)" in seen.words
    assert "1 label outside of the file's time" in seen.words
    assert "An outage is found if an incident of its place, or one that spans it, was open at some time" in seen.words
    assert "in no 2 h after one" in seen.words
    assert "an incident opens at 2" in seen.words
    assert "No report of this place came in time" in seen.words


def test_comparison_is_told(seen):
    assert "A has 1 incident, B 1: 0 only in A, 0 only in B, 1 in both, 1 of these not the same" in seen.words
    assert "incidents.open_at 2 3.5" in seen.words


def test_calendar_and_bars_are_there(seen):
    assert "Incidents a day" in seen.words
    assert len(seen.of_class("bars")) == 1
    assert len(seen.of_class("map")) == 1
    assert seen.of_class("shade1") + seen.of_class("shade2") + seen.of_class("shade3")


def test_same_run_gives_the_same_page(feed, labels, written, tmp_path):
    late = backtest.Variant(IMAGE, Settings(incidents=IncidentRule(open_at=3.5)))
    path = tmp_path / "again.html"

    backtest.run(Settings(), feed, json_output=True, name=SCRIPT, report=path, labels_file=labels, other=late)

    assert path.read_text() == written


def many(number: int) -> list:
    """Incidents of as many places, spread over 60 days, each with a name as long as may be."""
    return [
        told(
            10 * n,
            10 * n + 7,
            service=f"{n:04}" + "&" * 196,
            region="it/" + "<" * 297,
            evidence=float(n % 1000) + 2,
        )
        for n in range(number)
    ]


def result(episodes: list, **more: object) -> Result:
    run = Run(
        name="defaults",
        settings=Settings(),
        read=1,
        rejected={"late": 1},
        seen=(at(0), at(60 * 1440)),
        records=1,
        episodes=episodes,
        recorder=Recorder(),
    )
    return Result(file="many.csv", a=run, **more)  # type: ignore[arg-type]


def test_thousands_of_incidents_make_a_bounded_page_that_says_what_is_left_out():
    episodes = many(8000)
    labels = [known(10 * n, 10 * n + 7, service=f"{n:04}x") for n in range(5000)]
    other = many(8000)[4000:]
    b = result(other).a
    whole = result(
        episodes,
        labels=labels,
        verified=verify(labels, episodes, seen=(at(0), at(60 * 1440))),
        b=b,
        verified_b=verify(labels, other, seen=(at(0), at(60 * 1440))),
        matches=compare(episodes, other),
    )

    page = backtest_page.page(whole)
    seen = Seen(page)

    assert len(page) < 8_000_000
    assert len(seen.of_class("picture")) == backtest_page.PICTURES + backtest_page.MORE_PICTURES
    assert "7,960 incidents with less evidence not drawn." in seen.words
    assert "7,500 incidents with less evidence left out." in seen.words
    assert "4,980 known outages more missed, not drawn." in seen.words
    assert "7,988 more places with 7,988 incidents left out." in seen.words
    assert "4,500 labels more are left out." in seen.words
    assert "3,500 incidents more are left out." in seen.words


def test_run_without_incidents_says_so():
    seen = Seen(backtest_page.page(result([])))

    assert "No incident opened" in seen.words
    assert seen.of_class("picture") == []
    assert "1 read, 0 counted, 1 rejected (late 1)" in seen.words


def test_excerpts_that_were_not_kept_are_said_to_be_missing():
    seen = Seen(backtest_page.page(result([told(100, 110)])))

    assert len(seen.of_class("picture")) == 1
    assert "Its buckets are not kept" in seen.words


def test_incidents_that_span_others_their_parts_and_silent_feeds_are_named_in_words():
    wide = told(100, 200, kind=Kind.GLOBAL, service=None, region=None, evidence=4.0)
    part = told(110, 200, kind=Kind.SERVICE, region="it/*", evidence=9.0, parent=wide.id, paged=False)
    episodes = [wide, part, silent(300, 330)]
    labels = [known(100, 120, service="TIM")]

    whole = result(episodes, labels=labels, verified=verify(labels, episodes, seen=(at(0), at(1440))))
    seen = Seen(backtest_page.page(whole))

    assert "All services everywhere" in seen.words
    assert "WhatsApp all of it (part of a wider one)" in seen.words
    assert "Feed reports" in seen.words
    assert "Would page 2 error or critical" in seen.words
    assert "found 1 of 1 known outage (100 %)" in seen.words
    assert "0 false incidents" in seen.words
    assert "A silent source has nothing to draw." in seen.words
    pictures = [attrs["id"] for attrs in seen.of_class("picture")]
    assert pictures[-1] == f"i-{part.id}-1"


@pytest.mark.parametrize("years", [1, 3, 200])
def test_calendar_of_years_has_a_year_of_columns_at_most(years):
    minutes = years * 365 * 1440
    one = result([told(100, 190), told(minutes - 500, minutes - 100)])
    one = msgspec.structs.replace(one, a=msgspec.structs.replace(one.a, seen=(at(0), at(minutes))))

    seen = Seen(backtest_page.page(one))

    (drawn,) = [attrs for attrs in seen.of_class("map") if "viewbox" in attrs]
    columns = int(drawn["viewbox"].split()[2])
    assert 180 <= columns <= 370
    assert len(seen.of_class("bars")) == 1


def test_page_that_cannot_be_written_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(Fault, match="is no folder"):
        backtest.run(Settings(), tmp_path / "none.csv", json_output=True, report=tmp_path / "x" / "out.html")
    with pytest.raises(Fault, match="is a folder"):
        backtest.run(Settings(), tmp_path / "none.csv", json_output=True, report=tmp_path)

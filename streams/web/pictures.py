"""Pictures: the counts of an incident over their expected band, with the words around the drawing."""

from __future__ import annotations

import msgspec
from markupsafe import Markup

from detectors.alert import Alert
from streams.web import chart
from streams.web.texts import Texts
from streams.web.trail import Counts
from streams.web.wording import Moment, moment_at, parsed, per_bucket, title

#: Parts of the width between whose edges times stand.
PARTS = 4


class Picture(msgspec.Struct, frozen=True):
    """A chart with its labels. marks: classes of the lines that it has. times: along its foot, evenly spaced."""

    svg: Markup
    top: str
    unit: str
    marks: list[str]
    times: list[Moment]


def sparkline(alert: Alert, counts: Counts | None, texts: Texts) -> Picture | None:
    """A small picture with the onset; None where there is nothing to draw."""
    return _picture(alert, counts, texts, ("onset",), 1)


def chart_of(alert: Alert, counts: Counts | None, texts: Texts) -> Picture | None:
    """The picture of an incident's own page."""
    return _picture(alert, counts, texts, ("onset", "detected", "resolved"), PARTS)


def _picture(alert: Alert, counts: Counts | None, texts: Texts, wanted: tuple[str, ...], parts: int) -> Picture | None:
    if counts is None or len(counts) < 2:
        return None
    course, seconds = counts.course(), counts.bucket_ms / 1000
    first, buckets = counts.begin / 1000, len(counts)
    end = first + buckets * seconds
    marks: dict[str, float] = {}
    told = {"onset": alert.started_at, "detected": alert.detected_at, "resolved": alert.resolved_at}
    for name in wanted:
        time = parsed(told[name] or "")
        place = (time.timestamp() - first) / seconds if time else -1.0
        if name != "onset":
            # A bucket stands where it begins: what was decided at its end would lie beyond the last one.
            place = min(place, buckets - 1.0) if place <= buckets + 1 else -1.0
        if 0 <= place <= buckets - 1:
            marks[name] = place
    edge = moment_at(end, None, texts)
    unit = per_bucket(round(seconds), texts)
    said = {
        "what": title(alert, texts),
        "unit": unit,
        "seen": texts.count(max(course.observed[-1], 0)),
        "expected": texts.number(course.expected[-1]),
    }
    if parts > 1:
        said |= {
            "first": moment_at(first, edge, texts).text,
            "last": edge.text,
            "most": texts.count(max(course.observed)),
        }
        label = texts("chart_whole", **said)
    else:
        label = texts("chart_label", **said, age=texts.age(buckets * seconds))
    return Picture(
        svg=chart.drawing(course, label=label, marks=marks, grid=parts),
        top=texts.count(chart.top(course)),
        unit=unit,
        marks=list(marks),
        times=[moment_at(first + (end - first) * part / parts, edge, texts) for part in range(parts + 1)],
    )

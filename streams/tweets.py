"""Real volumes of tweets about five companies, February to April 2015, as a feed of reports.

Source: the Numenta Anomaly Benchmark, realTweets; licence: data/tweets/LICENSE. They count in fives of minutes.

    python -m streams.tweets > tweets.ndjson
"""

from __future__ import annotations

import csv
import heapq
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import msgspec

from detectors.source import SourceRule

SOURCE = "tweets"
#: What a worker needs to know of the source: [source.tweets] in the settings.
TWEETS = SourceRule(bucket_seconds=300)

_COMPANIES = {"AAPL": "Apple", "AMZN": "Amazon", "FB": "Facebook", "GOOG": "Google", "KO": "Coca-Cola"}

_encode = msgspec.json.Encoder().encode


def reports() -> Iterator[bytes]:
    """The reports in the order of their times, as JSON; a count of 0 says that nobody tweeted.

    >>> next(reports())
    b'{"service":"Amazon","time":"2015-02-26T21:44:59Z","source":"tweets","count":57}'
    """
    for time, service, count in heapq.merge(*(_volumes(ticker) for ticker in _COMPANIES)):
        yield _encode({"service": service, "time": time, "source": SOURCE, "count": count})


def _volumes(ticker: str) -> Iterator[tuple[datetime, str, int]]:
    """Time, company and tweets of each five minutes.

    The time is the last second of the bucket that the data's own falls into. A count bears the time at which it is
    whole: within the bucket, five minutes of tweets would look like a surge of one.
    """
    text = resources.files("streams").joinpath(f"data/tweets/Twitter_volume_{ticker}.csv").read_text()
    for row in csv.DictReader(text.splitlines()):
        counted = datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC)
        bucket = int(counted.timestamp()) // TWEETS.bucket_seconds
        last = (bucket + 1) * TWEETS.bucket_seconds - 1
        yield datetime.fromtimestamp(last, UTC), _COMPANIES[ticker], int(row["value"])


def write(path: str | Path) -> None:
    """Write the reports to a file, one a line."""
    with Path(path).open("wb") as file:
        file.writelines(value + b"\n" for value in reports())


if __name__ == "__main__":
    sys.stdout.buffer.writelines(value + b"\n" for value in reports())

"""What the demo shows: alerts as they come, above live lines of progress on a terminal; plain lines when piped."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from detectors.alert import Alert, millis, title
from streams import tail
from streams.console import out, safe
from streams.telling import Telling, by_service, clock, outage_sentences, span


class Screen:
    """One run of the demo. Times are event times in ms; the wall clock runs from when it is made."""

    def __init__(self, title: str, start: int, told_from: int, end: int) -> None:
        self._began = time.monotonic()
        self._from, self._to = (start, told_from) if told_from > start else (start, end)
        self._told_from, self._end = told_from, end
        self._telling = Telling(told_from)
        self._first: tuple[Alert, float] | None = None
        self._reports = self._reports_before = 0
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}", markup=False), console=out
        )
        self._sending = self._progress.add_task("sent", said="")
        self._reading = self._progress.add_task("read", said="")
        out.print(Text(title, style="bold"))

    @property
    def alerts_seen(self) -> int:
        """Alert records on the topic, those of the time before the story among them."""
        return self._telling.records

    @property
    def alerts_told(self) -> int:
        """Incidents that were told of."""
        return len(self._telling.incidents)

    def begin(self, page: str, kafka: str) -> None:
        """Say where to look, and show how far it is from here on."""
        out.print(f"status page  {page}/")
        out.print(f"metrics      {page}/metrics")
        out.print(f"alerts       GROUNDSWELL_KAFKA_ADDRESS={kafka} GROUNDSWELL_KAFKA_EMBEDDED=true groundswell tail")
        if out.is_terminal:
            self._progress.start()

    def tell(self) -> None:
        """What came before is read: the story begins, and its alerts are shown."""
        out.print(
            f"{self._reports:,} reports read in {self._seconds()}, up to {clock(self._told_from)} UTC; "
            f"{len(self._telling.before)} incidents in that time. Now the story, as it happened:"
        )
        self._reports_before = self._reports
        self._from, self._to = self._told_from, self._end
        self.sent(self._reports, self._told_from)
        self.decided(self._told_from)

    def sent(self, reports: int, ms: int) -> None:
        """The broker has so many reports, the newest of that time."""
        self._reports = reports
        self._move(self._sending, ms, f"{clock(ms)} UTC  {reports:,} reports")

    def decided(self, ms: int) -> None:
        """The worker has decided on everything up to then."""
        if ms >= self._from:
            self._move(self._reading, ms, f"{clock(ms)} UTC  {self._telling.open} incidents open")

    def _move(self, task: TaskID, ms: int, said: str) -> None:
        done = min(ms, self._to) - self._from
        self._progress.update(task, total=self._to - self._from, completed=done, said=said)

    def alert(self, alert: Alert) -> None:
        """The topic has the next alert."""
        if self._telling.apply(alert):
            if self._first is None:
                self._first = alert, time.monotonic() - self._began
            out.print(tail.line(alert), soft_wrap=True)

    def hint(self, text: str) -> None:
        out.print(text)

    def close(self) -> None:
        """Take the live lines away."""
        if out.is_terminal:
            self._progress.stop()

    def summary(self) -> None:
        """What it came to."""
        told = self._reports - self._reports_before
        out.print()
        out.print(f"{self._reports_before:,} + {told:,} reports in {self._seconds()}.")
        if self._first is None:
            out.print("No alert was seen.")
            return
        alert, seconds = self._first
        out.print(
            f"First alert {seconds:.1f} s after the start: {safe(title(alert))}, "
            f"{clock(millis(alert.detected_at))} UTC."
        )
        out.print(by_service(self._telling.incidents))
        for sentence in outage_sentences(self._telling):
            out.print(sentence)

    def _seconds(self) -> str:
        return span(time.monotonic() - self._began)

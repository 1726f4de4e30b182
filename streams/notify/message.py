"""What a notification says beyond the summary, for people: one sentence a line."""

from __future__ import annotations

from collections.abc import Iterator

from detectors.alert import Alert, Part


def link(page_url: str | None, alert: Alert) -> str | None:
    """The incident's own page."""
    return None if page_url is None else f"{page_url.rstrip('/')}/incidents/{alert.id}"


def sentences(alert: Alert) -> Iterator[str]:
    """Why it is as bad as it is, whose fault it looks like, what people say is wrong, what it costs."""
    if alert.reasons:
        yield f"{alert.severity.value.capitalize()}: {'; '.join(alert.reasons)}."
    if (verdict := alert.verdict) is not None:
        yield (
            f"Explains {100 * verdict.explained:.0f} % of all reports beyond the usual;"
            f" {verdict.taking_part} of {verdict.looked_at} series show it."
        )
    if alert.top_problems:
        yield f"Reports name: {', '.join(map(_part, alert.top_problems[:3]))}."
    if len(alert.top_regions) > 1:
        yield f"Most reports: {', '.join(map(_part, alert.top_regions[:3]))}."
    if alert.stale:
        yield "The feeds that show it are silent: nobody knows whether it goes on."
    if alert.warming:
        yield "The baseline is young."
    if alert.contacts is not None:
        yield from alert.contacts.agents.values()


def _part(part: Part) -> str:
    return f"{part.name} {100 * part.share:.0f} % (usually {100 * part.usual:.0f} %)"

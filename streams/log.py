"""Logs: structlog for us, and the standard library's loggers of Faust and aiokafka through the same renderer."""

from __future__ import annotations

import logging.config
import sys
from typing import Any

import structlog

from streams.settings import LogSettings

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

#: What these say at info and warning is about their inner life; each says what matters as an error.
_QUIET = {
    "faust.transport.drivers.aiokafka": "ERROR",  # "Topic creation disabled!": ours are created by `groundswell topics`
    "faust": "WARNING",
    "aiokafka": "WARNING",
    "mode": "WARNING",
    "asyncio": "WARNING",
}


def configure(settings: LogSettings) -> dict[str, Any]:
    """Set structlog up; returns the same for logging.config.dictConfig, which Faust's worker applies itself."""
    text = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    # JSON escapes what hostile names may hold; for people, names are checked already where they come in.
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    renderer: Any = console if text else structlog.processors.JSONRenderer()
    level = settings.level.upper()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.processors.format_exc_info if not text else structlog.processors.UnicodeDecoder(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    final: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not text:
        final.append(structlog.processors.format_exc_info)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "all": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [*final, renderer],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "all"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {} if level == "DEBUG" else {name: {"level": least} for name, least in _QUIET.items()},
    }


def apply(settings: LogSettings) -> None:
    """Set all of it up, for commands that run no Faust worker."""
    logging.config.dictConfig(configure(settings))

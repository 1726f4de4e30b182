"""What went wrong, as people are told it: fact, detail, hint."""

from __future__ import annotations


class Fault(Exception):
    """An expected failure, told without a traceback.

    fact: what is wrong, naming what the caller wrote. detail: what is behind it, '' if nothing.
    hint: what to do. None of the three ever holds a secret.

    >>> str(Fault("nothing listens at 127.0.0.1:9092", hint="Start the broker."))
    'nothing listens at 127.0.0.1:9092. Start the broker.'
    """

    def __init__(self, fact: str, detail: str = "", hint: str = "") -> None:
        super().__init__(fact, detail, hint)
        self.fact = fact
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        parts = [part for part in (self.fact, self.detail, self.hint) if part]
        return " ".join(part if part.endswith((".", "?", "!")) else part + "." for part in parts)

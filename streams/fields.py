"""A setting as people meet it: its name, variable, kind, range, default and sentence, all read off its struct field."""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

PREFIX = "GROUNDSWELL_"
#: A value is quoted in errors up to this length: it may be a whole file pasted by mistake.
QUOTED = 80


class Secret:
    """A text that shows as `***` wherever it is printed; `reveal()` gives it to the one who connects.

    >>> Secret("tulip")
    ***
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> typing.NoReturn:
        raise TypeError("a secret is not pickled")


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One setting. name: section and field, `kafka.address`. default: of the struct, NODEFAULT where it has none."""

    name: str
    annotation: Any
    default: Any
    sentence: str
    kind: str
    allowed: str
    secret: bool
    is_file: bool

    @property
    def variable(self) -> str:
        """
        >>> from streams.settings import FIELDS
        >>> FIELDS["source.default.bucket_seconds"].variable
        'GROUNDSWELL_SOURCE_DEFAULT_BUCKET_SECONDS'
        """
        return PREFIX + self.name.upper().replace(".", "_")

    @property
    def advice(self) -> str:
        """What to write instead: `Give 10 to 3600; the default is 60.`"""
        default = "" if self.default in (None, msgspec.NODEFAULT) else f"; the default is {shown(self.default)}"
        return f"Give {self.allowed or self.kind}{default}."


def fields_of(section: str, struct: type[msgspec.Struct]) -> Iterator[Field]:
    """The settings of one section, in the order of its struct."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    annotations = typing.get_type_hints(struct, include_extras=True)
    for field in info.fields:
        kind, allowed = _kind(field.type)
        default = field.default
        if default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        yield Field(
            name=f"{section}.{field.encode_name}",
            annotation=annotations[field.name],
            default=default,
            sentence=_sentence(field.type),
            kind=kind,
            allowed=allowed,
            secret=_is_custom(field.type, Secret),
            is_file=_is_custom(field.type, Path) or _is_files(field.type),
        )


def convert(value: Any, annotation: Any, *, text: bool) -> Any:
    """`value` as the annotation says. text: it comes from a variable or flag, so "60" is a number.

    Raises msgspec.ValidationError.
    """
    if text and _is_compound(annotation):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise msgspec.ValidationError(f"Expected JSON: {error}") from None
    try:
        converted = msgspec.convert(value, annotation, strict=not text, dec_hook=_decode_custom)
    except UnicodeEncodeError:  # bytes in a variable that are not UTF-8
        raise msgspec.ValidationError("Expected UTF-8") from None
    if isinstance(converted, float) and not math.isfinite(converted):
        raise msgspec.ValidationError("Expected a finite number")
    return converted


def shown(value: Any) -> str:
    """A setting's value as it is written in groundswell.toml, secrets masked, long ones cut.

    >>> shown(True), shown("a b"), shown(Secret("tulip")), shown(None)
    ('true', '"a b"', '***', 'none')
    """
    match value:
        case Secret():
            return "***"
        case None:
            return "none"
        case float() | int() if not isinstance(value, bool):
            text = f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)
        case str() | Path():
            # A variable may hold bytes that are not UTF-8: they arrive as lone surrogates.
            text = msgspec.json.encode(str(value).encode("utf-8", "replace").decode()).decode()
        case _:
            text = json.dumps(msgspec.to_builtins(value, enc_hook=str), ensure_ascii=False, default=str)
    return text if len(text) <= QUOTED else text[:QUOTED] + "…"


def _decode_custom(wanted: type, value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
    if not value:
        raise ValueError("Expected a text that is not empty")
    return wanted(value)


def _is_compound(annotation: Any) -> bool:
    """Whether a variable has to give it as JSON."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    origin = typing.get_origin(annotation)
    return origin in (list, tuple, dict) or annotation in (list, tuple, dict)


def _is_custom(kind: inspect.Type, wanted: type) -> bool:
    return any(isinstance(part, inspect.CustomType) and part.cls is wanted for part in _parts(kind))


def _is_files(kind: inspect.Type) -> bool:
    return any(isinstance(part, inspect.VarTupleType) and _is_custom(part.item_type, Path) for part in _parts(kind))


def _parts(kind: inspect.Type) -> Iterator[inspect.Type]:
    match kind:
        case inspect.Metadata():
            yield from _parts(kind.type)
        case inspect.UnionType():
            for member in kind.types:
                yield from _parts(member)
        case _:
            yield kind


def _sentence(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return str((kind.extra_json_schema or {}).get("description", "")) or _sentence(kind.type)
        case inspect.UnionType():
            return next((text for text in map(_sentence, kind.types) if text), "")
        case _:
            return ""


def _kind(kind: inspect.Type) -> tuple[str, str]:
    """What a value is, and which values are allowed, in words."""
    for part in _parts(kind):
        match part:
            case inspect.NoneType():
                continue
            case inspect.BoolType():
                return "true or false", "true or false"
            case inspect.IntType():
                return "a whole number", _range(part)
            case inspect.FloatType():
                return "a number", _range(part)
            case inspect.LiteralType():
                return "one of its words", _either([shown(value) for value in part.values])
            case inspect.EnumType():
                return "one of its words", _either([shown(member.value) for member in part.cls])
            case inspect.StrType():
                return "a text", _text_range(part)
            case inspect.CustomType(cls=cls) if cls is Path:
                return "a file", "the path of a file"
            case inspect.VarTupleType() if _is_files(part):
                return "a list of files", "a list of paths of files"
            case inspect.CustomType(cls=cls) if cls is Secret:
                return "a text", "a text"
            case inspect.VarTupleType():
                return "a list", "JSON"
            case inspect.DictType():
                return "a table", "JSON"
            case _:
                return "a list or table", "JSON"
    return "a value", ""


def _range(part: inspect.IntType | inspect.FloatType) -> str:
    if part.ge is not None and part.le is not None:
        return f"{part.ge} to {part.le}"
    low = f"{part.ge} or more" if part.ge is not None else f"more than {part.gt}" if part.gt is not None else ""
    high = f"at most {part.le}" if part.le is not None else f"less than {part.lt}" if part.lt is not None else ""
    return ", ".join(bound for bound in (low, high) if bound)


#: What texts of a pattern are, in words, by how it begins; of Kafka's names it is what else is said.
_LEGAL = {"^http": "http://... or https://...", "^[A-Za-z0-9-]": "letters, digits and '-'"}


def _text_range(part: inspect.StrType) -> str:
    longest = f"at most {part.max_length} characters" if part.max_length else ""
    pattern, kafkas = part.pattern or "", "letters, digits, '.', '_' and '-'"
    legal = next((words for begin, words in _LEGAL.items() if pattern.startswith(begin)), kafkas if pattern else "")
    return ", ".join(bound for bound in (legal, longest) if bound) or "a text"


def _either(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)

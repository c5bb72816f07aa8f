"""What pydantic found, in an administrator's words: (path, what is wrong and what is allowed).

Tables are validated as JSON in strict mode, so that TOML's own types count: ``"20"`` is no number, ``true`` is no 1,
a TOML date is no text.
"""

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.fields import Folder
from gateway.config.problem import Path

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

# Keys that configuration.md names and this version does not act on: refused, since a setting without effect is a
# false promise.
LATER: frozenset[str] = frozenset()
NOT_YET = "not supported by this version yet; remove it"

MAX_SHOWN_CHARACTERS = 40
# Stands for a date in what pydantic sees.
DATE = [None]


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong at ``path``."""

    path: Path
    text: str


def read_model(model: type[M], table: Mapping[str, Any], folder: Folder) -> M | tuple[Complaint, ...]:
    """Return the model of a table, or everything wrong with it."""
    try:
        return model.model_validate_json(_json(table), strict=True, context=folder)
    except ValidationError as error:
        return tuple(_complaint(detail, model) for detail in error.errors(include_url=False))


def read_value(adapter: TypeAdapter[T], value: Any) -> tuple[T | None, tuple[Complaint, ...]]:
    """Return the adapter's value and nothing wrong, or None and everything wrong."""
    try:
        return adapter.validate_json(_json(value), strict=True), ()
    except ValidationError as error:
        return None, tuple(_complaint(detail, None) for detail in error.errors(include_url=False))


def unknown_key(key: str, allowed: Iterable[str]) -> str:
    """Return the text for a key nobody knows."""
    return NOT_YET if key in LATER else f"unknown key{choices(key, allowed)}"


def choices(given: str, allowed: Iterable[str]) -> str:
    """Return ``; did you mean "x"? allowed: x, y`` for a word that is none of ``allowed``."""
    names = tuple(allowed)
    close = difflib.get_close_matches(given.lower(), names, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ";"
    return f"{hint} allowed: {', '.join(names) or 'nothing'}"


def shown(value: Any) -> str:
    """Return a value for a problem's text: short, on one line, strings in quotes."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"


def _json(value: Any) -> str:
    # A TOML date or time has no place in this configuration; a list with a null is wrong wherever a value is wanted.
    return json.dumps(value, default=lambda _: DATE)


def _complaint(detail: ErrorDetails, model: type[BaseModel] | None) -> Complaint:
    path: Path = detail["loc"]
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "wrong_at":
        return Complaint(path + tuple(context["path"]), context["text"])
    if kind == "extra_forbidden":
        return Complaint(path, unknown_key(str(path[-1]), _keys_at(model, path[:-1])))
    if kind == "missing":
        return Complaint(path, "missing; it must be given")
    wanted = _WANTED.get(kind)
    text = wanted(context) if wanted else detail["msg"]
    return Complaint(path, text + _given(kind, detail["input"]))


def _given(kind: str, value: Any) -> str:
    # A check over several keys of a table fails with the whole table, which its text need not repeat.
    if kind == "value_error" and isinstance(value, Mapping):
        return ""
    return ", not a date or time" if value == DATE else f", not {shown(value)}"


def _keys_at(model: type[BaseModel] | None, path: Path) -> tuple[str, ...]:
    for part in path:
        if model is None:
            return ()
        if isinstance(part, str):
            model = _model_in(model.model_fields[part].annotation)
    return tuple(model.model_fields) if model else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _constant(text: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda _: text


_WANTED: Mapping[str, Callable[[Mapping[str, Any]], str]] = MappingProxyType(
    {
        "value_error": lambda context: str(context["error"]),
        "string_type": _constant("a text in quotes is wanted"),
        "int_type": _constant("a whole number is wanted"),
        "int_from_float": _constant("a whole number is wanted"),
        "float_type": _constant("a number is wanted"),
        "finite_number": _constant("a finite number is wanted"),
        "bool_type": _constant("true or false is wanted"),
        "tuple_type": _constant("a list in brackets is wanted"),
        "list_type": _constant("a list in brackets is wanted"),
        "frozen_set_type": _constant("a list in brackets is wanted"),
        "dict_type": _constant("a table is wanted"),
        "model_type": _constant("a table is wanted"),
        "model_attributes_type": _constant("a table is wanted"),
        "dataclass_type": _constant("a table is wanted"),
        "literal_error": lambda context: f"allowed: {context['expected']}",
        "enum": lambda context: f"allowed: {context['expected']}",
        "greater_than_equal": lambda context: f"at least {context['ge']} is wanted",
        "less_than_equal": lambda context: f"at most {context['le']} is wanted",
        "greater_than": lambda context: f"more than {context['gt']} is wanted",
        "less_than": lambda context: f"less than {context['lt']} is wanted",
        "too_short": lambda context: f"at least {context['min_length']} is wanted",
        "too_long": lambda context: f"at most {context['max_length']} are allowed",
    },
)

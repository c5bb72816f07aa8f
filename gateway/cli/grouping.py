"""Options that belong together as one value: a command takes a dataclass, and typer sees an option for each field.

The fields are annotated as a command's parameters are, ``Annotated[str, typer.Option(...)]``, with their defaults; they
are keyword options, never arguments. Field names of one command's groups must differ.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any, get_type_hints


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as typer is to see it: each parameter that is a dataclass replaced by its fields."""
    hints = get_type_hints(command, include_extras=True)
    groups = {name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)}

    @wraps(command)
    def called(**values: Any) -> None:
        made = {name: group(**{f.name: values.pop(f.name) for f in fields(group)}) for name, group in groups.items()}
        command(**values, **made)

    seen: dict[str, Parameter] = {}
    for name, parameter in signature(command).parameters.items():
        if name in groups:
            seen |= {field.name: _option(field, hint) for field, hint in _fields(groups[name])}
        else:
            seen[name] = parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY)
    # PEP 362: what inspect.signature, and so typer, takes for the truth.
    vars(called)["__signature__"] = Signature([*seen.values()])
    called.__annotations__ = {name: parameter.annotation for name, parameter in seen.items()}
    return called


def _fields(group: type) -> list[tuple["Field[Any]", Any]]:
    hints = get_type_hints(group, include_extras=True)
    return [(field, hints[field.name]) for field in fields(group)]


def _option(field: "Field[Any]", hint: Any) -> Parameter:
    default = field.default
    if field.default_factory is not MISSING:
        default = field.default_factory()
    return Parameter(
        field.name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if default is MISSING else default,
        annotation=hint,
    )

"""Parameters as fields of frozen dataclasses: declared, listed, checked and built.

A class of parameters may have sections, which are such classes too: the field ``size`` of a section
``chunk`` is the parameter ``chunk.size``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast, get_type_hints

LONGEST_SHOWN = 100  # of a value that is refused [characters]
ParameterValue = bool | int | float | str | tuple[str, ...]
Record = TypeVar("Record")


def param(
    default: ParameterValue,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare one parameter of a section; ``doc`` ends with its unit in brackets."""
    return field(
        default=default, metadata={"doc": doc, "low": low, "high": high, "choices": choices}
    )


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter: dotted name, type, default, documentation and limits."""

    name: str
    type: type
    default: ParameterValue
    doc: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    def check(self, value: Any) -> ParameterValue:
        """Return ``value`` in this parameter's type; raise ValueError with the limit it breaks."""
        value = self._converted(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{self.name} is {value}: it must be a finite number")
        below = self.low is not None and value < self.low  # type: ignore[operator]
        above = self.high is not None and value > self.high  # type: ignore[operator]
        if below or above:
            raise ValueError(
                f"{self.name} is {_shown(value)}: it must be within {self.low} to {self.high}"
            )
        entries = value if isinstance(value, tuple) else (value,)
        for entry in entries if self.choices else ():
            if entry not in self.choices:
                raise ValueError(
                    f"{self.name} is {_shown(entry)}: it must be one of {', '.join(self.choices)}"
                )
        return value

    def _converted(self, value: Any) -> ParameterValue:
        if self.type is tuple and isinstance(value, (list, tuple)):
            if all(isinstance(entry, str) for entry in value):
                return tuple(value)
        elif self.type is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return _as_float(value)
        elif isinstance(value, (bool, int, float, str)) and type(value) is self.type:
            return value
        wanted = "list of str" if self.type is tuple else self.type.__name__
        raise ValueError(f"{self.name} is {_shown(value)}: it must be of type {wanted}")


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _shown(value: Any) -> str:
    """Return a value as text, of which no more than the beginning where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def declared(section: type, prefix: str = "") -> Iterator[Parameter]:
    """Every parameter of a class and of its sections, in declaration order."""
    for name, hint, entry in _fields(section, prefix):
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from declared(hint, f"{name}.")
            continue
        yield Parameter(
            name=name,
            type=hint if hint in (bool, int, float, str) else tuple,
            default=cast(ParameterValue, entry.default),
            **entry.metadata,
        )


def build(section: type[Record], values: Mapping[str, Any]) -> Record:
    """Make a record of a class of parameters from dotted names and values; defaults elsewhere.

    Raises ValueError for an unknown name, a wrong type or a value out of range, naming the limit.
    """
    known = {parameter.name: parameter for parameter in declared(section)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(
            f"unknown parameter {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    return _build(section, "", {name: known[name].check(value) for name, value in values.items()})


def read(record: Any, name: str) -> ParameterValue:
    """Return the value of the parameter with a dotted name."""
    for part in name.split("."):
        record = getattr(record, part)
    return cast(ParameterValue, record)


def _build(section: type[Record], prefix: str, values: Mapping[str, ParameterValue]) -> Record:
    arguments: dict[str, Any] = {}
    for name, hint, entry in _fields(section, prefix):
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            arguments[entry.name] = _build(hint, f"{name}.", values)
        elif name in values:
            arguments[entry.name] = values[name]
    return section(**arguments)


def _fields(section: type, prefix: str) -> Iterator[tuple[str, Any, dataclasses.Field[Any]]]:
    """Dotted name, type and declaration of each field."""
    hints = get_type_hints(section)
    for entry in dataclasses.fields(section):
        yield prefix + entry.name, hints[entry.name], entry

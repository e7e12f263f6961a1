"""Recipes: YAML files read strictly into frozen dataclasses."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from onlinetada import configs
from onlinetada.errors import InputError

T = TypeVar("T")


def load_config(path: Path, kind: type[T]) -> T:
    """Read a YAML file as an instance of a dataclass.

    Raises:
        InputError: no such file, not YAML, an unknown key (the nearest one is named), a missing key, a wrong type.
    """
    values = read_yaml(path)
    try:
        return from_values(kind, values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def find_config(path: Path) -> Path:
    """The file itself, or the one of this name that ships: ``configs/tctrack.yaml`` works from an installed wheel too.

    Raises:
        InputError: neither is there; names those that ship.
    """
    if path.exists():
        return path
    shipped = Path(configs.__path__[0])
    if path.parent in (Path("."), Path("configs")):
        found = shipped / path.with_suffix(".yaml").name
        if found.is_file():
            return found
    names = ", ".join(sorted(p.name for p in shipped.glob("*.yaml")))
    raise InputError(f"{path}: no such configuration; there ship: {names}")


def read_yaml(path: Path) -> object:
    """The plain values in a YAML file.

    Raises:
        InputError: no such file, or not YAML.
    """
    import yaml

    if not path.exists():
        raise InputError(f"{path}: no such configuration")
    try:
        values: object = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    return values


def from_values(kind: type[T], values: object, where: str = "") -> T:
    """Build a dataclass from nested mappings, lists and scalars, refusing whatever does not fit.

    Args:
        where: dotted name of the place, for messages.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where or 'the file'} must be a mapping, not {_say(values)}")
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, kind))}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(fields)}"
            raise InputError(f"unknown key {_dotted(where, str(key))!r}; {hint}")
    hints = typing.get_type_hints(kind)
    given = {name: _convert(hints[name], value, _dotted(where, name)) for name, value in values.items()}
    for name, f in fields.items():
        if name not in given and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InputError(f"{_dotted(where, name)!r} is missing")
    return kind(**given)


def _convert(hint: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return from_values(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} must be one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{where} must be a mapping, not {_say(value)}")
        return dict(value)
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} must be a list, not {_say(value)}")
        return tuple(_convert(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where} must be {hint.__name__}, not {_say(value)}")
    return value


def _dotted(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _say(value: object) -> str:
    return f"{type(value).__name__} {value!r}" if value is not None else "empty"

"""A family is a folder: its `__init__` holds the contract, every other file holds one member.

Hyper-parameters are keyword-only arguments: what stands before the star the owner knows (sizes), what stands
after it you choose.  The signature is the schema; nothing is registered and nothing is declared twice.
A recipe can name members of these folders and nothing else: no name ever becomes an import of foreign code.
"""

import importlib
import inspect
import json
import pkgutil
import types
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import UsageError, suggestion

T = TypeVar("T")
Make = Callable[..., T]
"""Something that builds a `T` once it knows its sizes: a class, or a `partial` of one."""


class _Part(partial):
    """A member that knows where in the recipe it stands: what it refuses to build is said by that name."""

    where: str

    def __call__(self, *sizes: Any, **chosen: Any) -> Any:
        try:
            return super().__call__(*sizes, **chosen)
        except UsageError as error:
            if error.setting:
                raise
            knob = error.headline.split(" ", 1)[0]
            setting = f"{self.where}.{knob}" if knob in knobs(self.func) else self.where
            raise error.reworded(f"{self.where}: {error.headline}", setting) from error


def members(family: str) -> list[str]:
    """The names in the package `family`, without importing any of them."""
    return sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(family).__path__) if not m.name.startswith("_"))


def find(contract: type[T], name: str, where: str = "") -> type[T]:
    """The member of `contract`'s family called `name`; `UsageError` C010 if there is none."""
    family = contract.__module__
    if name not in members(family):
        raise _usage("C010", f"no {contract.__name__.lower()} called {name!r}", where, suggestion(name, members(family)))
    module = importlib.import_module(f"{family}.{name}")
    found = [c for c in vars(module).values() if inspect.isclass(c) and issubclass(c, contract) and c.__module__ == module.__name__ and c.__name__[0] != "_"]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one {contract.__name__}, it defines {len(found)}")
    return found[0]


def name_of(member: Callable) -> str:
    """The name under which a recipe asks for this member: its file's."""
    return (member.func if isinstance(member, partial) else member).__module__.rsplit(".", 1)[-1]


def knobs(member: Callable) -> dict[str, tuple[Any, Any]]:
    """{name: (type, default)} of every keyword-only argument."""
    hints = get_type_hints(member.__init__ if inspect.isclass(member) else member)
    return {p.name: (hints[p.name], p.default) for p in inspect.signature(member).parameters.values() if p.kind is p.KEYWORD_ONLY}


def contract_of(hint: Any) -> type | None:
    """`Make[Score]`, alone or in `Make[Score] | None`, names the family to look in."""
    for option in get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,):
        if get_origin(option) is Callable and inspect.isclass(get_args(option)[1]):
            return get_args(option)[1]
    return None


def read(hint: Any, value: Any, where: str) -> Any:
    """Turn what a recipe says into what a signature wants; `UsageError` C013 if it is of another type."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if type(None) in options and (value is None or value == "none"):
        return None
    if contract := contract_of(hint):
        if isinstance(value, str):
            return choose(contract, value, where)
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            return choose(contract, value["name"], where, **{k: v for k, v in value.items() if k != "name"})
        raise _usage("C013", f"{where} should be a name or a table with a name, found {value!r}", where, f'{where} = "{members(contract.__module__)[0]}"')
    for option in options:
        if get_origin(option) is Literal and value in get_args(option):
            return value
        if option is float and type(value) is int:
            return float(value)
        if get_origin(option) is tuple and isinstance(value, list) and all(type(v) is get_args(option)[0] for v in value):
            return tuple(value)
        if get_origin(option) is dict and isinstance(value, dict):
            return {key: read(get_args(option)[1], each, f"{where}.{json.dumps(key, ensure_ascii=False)}") for key, each in value.items()}
        if inspect.isclass(option) and type(value) is option:
            return value
    raise _usage("C013", f"{where}: expected {' or '.join(_spoken(o) for o in options)}, found {value!r}", where, _example(where, value, options))


def choose(contract: type[T], name: str, where: str = "", **chosen: Any) -> partial[T]:
    """The member called `name` with some of its knobs turned; every knob is checked here, before anything is built."""
    member = find(contract, name, where)
    part = _Part(member, **settings(member, chosen, where or name))
    part.where = where or name
    return part


def settings(owner: Callable, chosen: dict[str, Any], where: str) -> dict[str, Any]:
    """Check a table of knobs against `owner`'s signature; `UsageError` C011 names an unknown one."""
    known, found = knobs(owner), {}
    for key, value in chosen.items():
        setting = f"{where}.{key}".lstrip(".")
        if key not in known:
            raise _usage("C011", f"unknown setting {setting}", setting, suggestion(key, known))
        hint, default = known[key]
        if isinstance(value, dict) and "name" not in value and contract_of(hint) and default is not None:
            value = {**write(default), **value}  # turn a knob of the member that is there anyway
        found[key] = read(hint, value, setting)
    return found


def write(made: Callable) -> dict[str, Any]:
    """The inverse of `choose`: every knob, spelled out, ready for TOML."""
    return {"name": name_of(made), **write_settings(made)}


def write_settings(made: Callable) -> dict[str, Any]:
    """Every knob of `made` with its value, ready for TOML (None is written as "none")."""
    member, given = (made.func, made.keywords) if isinstance(made, partial) else (made, {})
    return {key: _plain(given.get(key, default)) for key, (_, default) in knobs(member).items()}


def _plain(value: Any) -> Any:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return list(value)
    return write(value) if callable(value) else value


def _spoken(option: Any) -> str:
    if get_origin(option) is Literal:
        return " or ".join(repr(o) for o in get_args(option))
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): '"none"'}
    names |= {tuple: "a list", dict: "a table"}
    return names.get(get_origin(option) or option, getattr(option, "__name__", str(option)))


def _example(where: str, value: Any, options: tuple) -> str:
    """A line that could be pasted instead."""
    if isinstance(value, str):
        digits = value.strip().lower().replace("_", "").removesuffix("k")
        if digits.isdigit() and (int in options or float in options):
            return f"{where}={int(digits) * (1000 if value.strip().lower().endswith('k') else 1)}"
    literals = [o for option in options if get_origin(option) is Literal for o in get_args(option)]
    if literals:
        return suggestion(str(value), map(str, literals))
    return f"{where} takes {' or '.join(_spoken(o) for o in options)}"


def _usage(code: str, headline: str, where: str, fix: str) -> UsageError:
    error = UsageError(code, headline, fix=fix)
    error.setting = where
    return error

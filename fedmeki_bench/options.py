"""Options given as ``key=value``: checked against a pydantic model, refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from fedmeki_bench.errors import InputError, nearest

M = TypeVar("M", bound=BaseModel)

_LATER = "later"
_DEEPEST = 20


def later(default: Any, *, since: str, **field: Any) -> Any:
    """A parameter that came after results did: standing at its default, it takes no part in what names a run.

    So a new option leaves finished runs finished: ``latents: int = later(0, since="0.2", ge=0, description="...")``.
    At any other value the run is another one. The default must mean exactly what was done before.

    Args:
        default: the value that means "as before".
        since: the version that brought the parameter.
        field: further arguments of :func:`pydantic.Field`.
    """
    return Field(default, json_schema_extra={_LATER: since}, **field)


def silent(model: type[BaseModel], values: Mapping[str, Any]) -> list[str]:
    """Names of the :func:`later` parameters that stand at their defaults in ``values`` (plain JSON values)."""
    found = []
    for name, info in model.model_fields.items():
        if name in values and isinstance(info.json_schema_extra, dict) and _LATER in info.json_schema_extra:
            kind: Any = info.annotation
            default = TypeAdapter(kind).dump_python(info.get_default(call_default_factory=True), mode="json")
            if values[name] == default:
                found.append(name)
    return found


def split_pairs(pairs: Iterable[str]) -> dict[str, Any]:
    """``("rounds=3", "lr=1e-3")`` as a dict; values are read as YAML scalars, nothing is executed.

    Raises:
        InputError: an item without ``=``, or a key given twice.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, sep, text = pair.partition("=")
        key = key.strip()
        if not sep or not key:
            raise InputError(f"option {pair!r} is not of the form key=value")
        if key in options:
            raise InputError(f"option {key!r} is given twice")
        options[key] = scalar(text)
    return options


def scalar(text: str) -> Any:
    """One value as YAML reads it, with ``1e-3`` a number (YAML 1.1 alone takes it for text).

    Raises:
        InputError: it holds aliases, or is nested absurdly deep.
    """
    try:
        value = safe_yaml(text)
    except (yaml.YAMLError, ValueError):  # as in "2020-13-45", which looks like a date and is none
        return text
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def safe_yaml(text: str) -> Any:
    """What a YAML text says: plain values, nothing executed, nothing that unfolds to more than was written.

    Raises:
        InputError: it holds aliases (a few lines of them can mean billions of values), or is nested too deep.
        yaml.YAMLError, ValueError: it is no YAML, or holds an impossible date or number.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.AliasEvent):
                raise InputError(f"line {line} holds the alias '*{event.anchor}': write it out instead")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise InputError(f"line {line} is nested deeper than {_DEEPEST} levels")
        return yaml.safe_load(text)
    except RecursionError:
        raise InputError("the YAML is nested too deep") from None
    except (TypeError, OverflowError, LookupError, AttributeError) as error:  # such as `!!int ""` or an unhashable key
        raise InputError(f"the YAML can't be read: {error}") from None


def parse_options(model: type[M], options: Mapping[str, Any], *, owner: str = "") -> M:
    """Build ``model`` from options.

    Raises:
        InputError: an unknown key (with the nearest known one) or a value out of range, in one sentence.
    """
    where = f" of {owner}" if owner else ""
    for key in options:
        if key not in model.model_fields:
            known = nearest(key, model.model_fields) or "it has no options"
            raise InputError(f"unknown option {key!r}{where}; {known}")
    try:
        return model(**options)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # what two options say together
            raise InputError(f"options{where}: {_sentence(first['msg'])}") from error
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"option {name!r}{where} cannot be {first.get('input')!r}: {_sentence(first['msg'])}"
        ) from error


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def describe_options(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, default and meaning of every field, for ``info``."""
    rows = []
    for name, info in model.model_fields.items():
        default = "required" if info.is_required() else info.get_default(call_default_factory=True)
        rows.append({"name": name, "default": default, "meaning": info.description or ""})
    return rows


def bracketed(cls: type) -> type[BaseModel] | None:
    """The model that a class names in brackets after its generic base, as ``Rule[ProxParams]`` does; None without."""
    for base in vars(cls).get("__orig_bases__", ()):
        for argument in get_args(base):
            if isinstance(argument, type) and issubclass(argument, BaseModel):
                return argument
    return None

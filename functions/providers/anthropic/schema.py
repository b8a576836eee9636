"""JSON Schemas as Anthropic's grammars take them.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from collections.abc import Iterable, Mapping
from operator import is_
from typing import Any, cast

from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.parts import malformed_requests

_TAKEN = frozenset({
    "type", "enum", "const", "anyOf", "allOf", "$ref", "$defs", "definitions", "properties", "required", "items",
    "additionalProperties", "description", "title", "default", "format", "pattern", "minItems",
})  # fmt: skip
_FORMATS = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid",
})  # fmt: skip
_ONE = ("items",)
_LISTS = ("anyOf", "allOf")
_MAPS = ("properties", "$defs", "definitions")
_NOT_AT_TOP = ("oneOf", "anyOf", "allOf")
_MARKS_OF_OBJECT = frozenset({"properties", "required", "additionalProperties"})


def input_schema(parameters: Mapping[str, Any] | None, *, strict: bool, path: str) -> Mapping[str, Any]:
    """Give a tool's `input_schema`: an object. Raises `BadRequest`, and `UpstreamError` for what others may take."""
    schema = parameters or {"properties": {}}
    if schema.get("type", "object") != "object":
        raise BadRequest(f"{path}.type must be 'object'.", param=f"{path}.type")
    for keyword in _NOT_AT_TOP:
        if keyword in schema:
            message = f"{keyword!r} at the top of a tool's schema is not supported by anthropic ({path})"
            raise UpstreamError("unsupported_content", message)
    if "type" not in schema:
        schema = {"type": "object", **schema}
    if not strict:
        return schema
    with malformed_requests("Anthropic", path):
        return strict_schema(schema)


def strict_schema(schema: Any) -> Any:
    """Give a schema that a grammar can hold; what it can't moves into the description, where a model may heed it.

    `oneOf` becomes `anyOf`. Every object is closed, as it must be. A schema that fits already stays the same object;
    `true` and `false` are schemas too. Raises `TypeError`.
    """
    if not isinstance(schema, dict):
        return schema
    given = cast("dict[str, Any]", schema)
    strict = {keyword: _inner(keyword, value) for keyword, value in given.items() if _fits(keyword, value)}
    if "oneOf" in given:
        strict.setdefault("anyOf", _inner("anyOf", given["oneOf"]))
    if given.get("type") == "object" or not _MARKS_OF_OBJECT.isdisjoint(given):
        strict["additionalProperties"] = False
    unheld = [f"{keyword}: {value}" for keyword, value in given.items() if _is_unheld(keyword, value)]
    if unheld:
        said = f"{{{', '.join(unheld)}}}"
        strict["description"] = f"{strict['description']}\n\n{said}" if "description" in strict else said
    is_unchanged = strict.keys() == given.keys() and _are_the_same(strict.values(), given.values())
    return given if is_unchanged else strict


def _are_the_same(mine: Iterable[Any], theirs: Iterable[Any]) -> bool:
    return all(map(is_, mine, theirs))


def _fits(keyword: str, value: Any) -> bool:
    match keyword:
        case "format":
            return isinstance(value, str) and value in _FORMATS
        case "minItems":
            return value in (0, 1)
        case _:
            return keyword in _TAKEN


def _is_unheld(keyword: str, value: Any) -> bool:
    if keyword == "additionalProperties":
        return value is not False
    return not _fits(keyword, value) and keyword not in ("oneOf", "$schema")


def _inner(keyword: str, value: Any) -> Any:
    if keyword in _ONE:
        return strict_schema(value)
    if keyword in _LISTS:
        return _inner_list(value)
    return _inner_map(value) if keyword in _MAPS else value


def _inner_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("a schema's variants must be a list")
    given = cast("list[Any]", value)
    strict = [strict_schema(variant) for variant in given]
    return given if _are_the_same(strict, given) else strict


def _inner_map(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("a schema's properties and definitions must be objects")
    given = cast("dict[str, Any]", value)
    strict = {name: strict_schema(inner) for name, inner in given.items()}
    return given if _are_the_same(strict.values(), given.values()) else strict

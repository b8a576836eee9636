"""JSON Schemas as Anthropic's grammars take them.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations
"""

from collections.abc import Mapping
from typing import Any, cast

from functions.gateway.errors import BadRequest

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
_PLAIN = _TAKEN - {*_ONE, *_LISTS, *_MAPS, "additionalProperties", "format", "minItems"}


def input_schema(parameters: Mapping[str, Any] | None, *, strict: bool, path: str) -> Mapping[str, Any]:
    """Give a tool's `input_schema`: an object. Raises `BadRequest` for one that the API refuses."""
    schema = parameters or {"properties": {}}
    if schema.get("type", "object") != "object":
        raise BadRequest(f"{path}.type must be 'object'.", param=f"{path}.type")
    for keyword in _NOT_AT_TOP:
        if keyword in schema:
            message = f"{path}: Anthropic takes no {keyword!r} at the top of a tool's schema. Put it inside a property."
            raise BadRequest(message, param=f"{path}.{keyword}")
    if "type" not in schema:
        schema = {"type": "object", **schema}
    return strict_schema(schema) if strict else schema


def strict_schema(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a schema that a grammar can hold; what it can't moves into the description, where a model may heed it.

    `oneOf` becomes `anyOf`. Every object is closed, as it must be. A schema that already fits stays as it is.
    """
    if _is_strict(schema):
        return schema
    strict = {keyword: _inner(keyword, value) for keyword, value in schema.items() if _fits(keyword, value)}
    if "oneOf" in schema:
        strict.setdefault("anyOf", _inner("anyOf", schema["oneOf"]))
    if schema.get("type") == "object" or any(mark in schema for mark in _MARKS_OF_OBJECT):
        strict["additionalProperties"] = False
    unheld = {keyword: value for keyword, value in schema.items() if _is_unheld(keyword, value)}
    if unheld:
        said = ", ".join(f"{keyword}: {value}" for keyword, value in unheld.items())
        strict["description"] = f"{strict['description']}\n\n{{{said}}}" if "description" in strict else f"{{{said}}}"
    return strict


def _is_strict(schema: Any) -> bool:
    """Say whether a schema fits as it is; most do, and are not copied. `true` and `false` are schemas too."""
    if not isinstance(schema, dict):
        return True
    given = cast("dict[str, Any]", schema)
    is_object = given.get("type") == "object" or not _MARKS_OF_OBJECT.isdisjoint(given)
    if is_object and "additionalProperties" not in given:
        return False
    return all(_holds(keyword, value) for keyword, value in given.items())


def _holds(keyword: str, value: Any) -> bool:
    if keyword in _PLAIN:
        return True
    if keyword in _MAPS:
        return all(map(_is_strict, _values(value)))
    if keyword in _ONE:
        return _is_strict(value)
    if keyword in _LISTS:
        return isinstance(value, list) and all(map(_is_strict, cast("list[Any]", value)))
    return value is False if keyword == "additionalProperties" else _fits(keyword, value)


def _fits(keyword: str, value: Any) -> bool:
    match keyword:
        case "format":
            return isinstance(value, str) and value in _FORMATS
        case "minItems":
            return value in (0, 1)
        case _:
            return keyword in _TAKEN


def _values(properties: Any) -> list[Any]:
    if not isinstance(properties, dict):
        raise TypeError("a schema's properties and definitions must be objects")
    return list(cast("dict[str, Any]", properties).values())


def _is_unheld(keyword: str, value: Any) -> bool:
    if keyword == "additionalProperties":
        return value is not False
    return not _fits(keyword, value) and keyword not in ("oneOf", "$schema")


def _inner(keyword: str, value: Any) -> Any:
    if keyword in _ONE:
        return strict_schema(value)
    if keyword in _LISTS:
        return [strict_schema(variant) for variant in value]
    if keyword in _MAPS:
        return {name: strict_schema(inner) for name, inner in cast("dict[str, Any]", value).items()}
    return value

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
_MARKS_OF_OBJECT = ("properties", "required", "additionalProperties")


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
    given: Any = schema
    if not isinstance(given, dict):  # `true` and `false` are schemas too
        return schema
    strict = {keyword: _inner(keyword, value) for keyword, value in schema.items() if _fits(keyword, value)}
    if "oneOf" in schema:
        strict.setdefault("anyOf", _inner("anyOf", schema["oneOf"]))
    if schema.get("type") == "object" or any(mark in schema for mark in _MARKS_OF_OBJECT):
        strict["additionalProperties"] = False
    unheld = {k: v for k, v in schema.items() if k not in strict and k not in ("oneOf", "$schema")}
    if unheld:
        said = ", ".join(f"{keyword}: {value}" for keyword, value in unheld.items())
        strict["description"] = f"{strict['description']}\n\n{{{said}}}" if "description" in strict else f"{{{said}}}"
    return strict


def _fits(keyword: str, value: Any) -> bool:
    match keyword:
        case "format":
            return value in _FORMATS
        case "minItems":
            return value in (0, 1)
        case _:
            return keyword in _TAKEN


def _inner(keyword: str, value: Any) -> Any:
    if keyword in _ONE:
        return strict_schema(value)
    if keyword in _LISTS:
        return [strict_schema(variant) for variant in value]
    if keyword in _MAPS:
        return {name: strict_schema(inner) for name, inner in cast("dict[str, Any]", value).items()}
    return value

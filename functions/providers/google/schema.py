"""JSON Schemas in the form that Google takes.

`parametersJsonSchema` and `responseJsonSchema` take JSON Schema as it is and pass over keywords they don't know, so
only what would change the meaning is rewritten: `const` (an `enum` of one), an `allOf` of one, and a `$ref` with
neighbours, which Google wants alone.

Sources: https://ai.google.dev/api/generate-content#FIELDS.response_json_schema,
https://ai.google.dev/gemini-api/docs/structured-output#json_schema_support
"""

from collections.abc import Mapping
from typing import Any, cast

from functions.gateway.errors import BadRequest

_OF_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
_LISTS = ("anyOf", "oneOf", "prefixItems", "allOf")
_SINGLE = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
_NESTED = (*_OF_SCHEMAS, *_LISTS, *_SINGLE)


def google_schema(schema: Any, path: str) -> dict[str, Any]:
    """Give a schema that means the same. Unchanged ones are given back themselves. Raises `BadRequest`."""
    if not isinstance(schema, dict):
        raise BadRequest(f"{path} must be a JSON Schema object.", param=path)
    whole = cast("dict[str, Any]", schema)
    return _rewritten(whole, whole, path)


def parameters_schema(schema: Any, path: str) -> dict[str, Any]:
    """Give the schema of a function's parameters, which are an object. Raises `BadRequest`."""
    taken = google_schema(schema, path)
    if taken.get("type", "object") != "object":
        raise BadRequest(f"{path}.type must be 'object', not {taken['type']!r}.", param=f"{path}.type")
    return taken


def _rewritten(schema: dict[str, Any], root: Mapping[str, Any], path: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for keyword in _NESTED:
        if keyword in schema:
            nested = _nested(keyword, schema[keyword], root, f"{path}.{keyword}")
            if nested is not schema[keyword]:
                changes[keyword] = nested
    reference = schema.get("$ref")
    if reference is not None:
        _check_reference(reference, root, path)
    if "const" not in schema and "allOf" not in schema and (reference is None or len(schema) == 1):
        return {**schema, **changes} if changes else schema
    return _reshaped({**schema, **changes})


def _reshaped(schema: dict[str, Any]) -> dict[str, Any]:
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if len(schema.get("allOf") or ()) == 1:
        schema = {**schema.pop("allOf")[0], **schema}
    if "$ref" in schema and any(not keyword.startswith("$") for keyword in schema):
        schema = {"anyOf": [{"$ref": schema.pop("$ref")}], **schema}
    return schema


def _nested(keyword: str, value: Any, root: Mapping[str, Any], path: str) -> Any:
    if keyword in _OF_SCHEMAS and isinstance(value, dict):
        schemas = cast("dict[str, Any]", value)
        named = {name: _one(one, root, f"{path}.{name}") for name, one in schemas.items()}
        return named if any(named[name] is not schemas[name] for name in named) else schemas
    if keyword in _LISTS and isinstance(value, list):
        alternatives = cast("list[Any]", value)
        listed = [_one(one, root, f"{path}[{index}]") for index, one in enumerate(alternatives)]
        changed = any(new is not old for new, old in zip(listed, alternatives, strict=True))
        return listed if changed else alternatives
    return _one(value, root, path)


def _one(value: Any, root: Mapping[str, Any], path: str) -> Any:
    return _rewritten(cast("dict[str, Any]", value), root, path) if isinstance(value, dict) else value


def _entered(target: Any, name: str) -> Any:
    if not name:
        return target
    return cast("dict[str, Any]", target).get(name) if isinstance(target, dict) else None


def _check_reference(reference: Any, root: Mapping[str, Any], path: str) -> None:
    """Raise `BadRequest` for a reference that leads out of the schema or nowhere in it."""
    target: Any = root
    steps = reference[1:].strip("/").split("/") if isinstance(reference, str) and reference.startswith("#") else None
    for step in steps or ():
        name = step.replace("~1", "/").replace("~0", "~")
        target = _entered(target, name)
    if steps is None or target is None:
        raise BadRequest(f"{path}.$ref {reference!r} is not in the schema.", param=f"{path}.$ref")

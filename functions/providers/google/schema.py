"""JSON Schemas in the form that Google takes.

`parametersJsonSchema` and `responseJsonSchema` take JSON Schema as it is and pass over keywords they don't know, so
only what would change the meaning is rewritten: `const` (an `enum` of one), an `allOf` of one (merged with its
neighbours, or an `anyOf` of one where both say something under one keyword), and a `$ref` with neighbours, which
Google wants alone.

Sources: https://ai.google.dev/api/generate-content#FIELDS.response_json_schema,
https://ai.google.dev/gemini-api/docs/structured-output#json_schema_support
"""

from collections.abc import Mapping
from typing import Any, cast

from functions.gateway.errors import BadRequest
from functions.gateway.exact_json import write_json

_OF_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
_LISTS = ("anyOf", "oneOf", "prefixItems", "allOf")
_SINGLE = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else")
_REWRITTEN = (b'"const":', b'"allOf":', b'"$ref":')
_NESTED = (*_OF_SCHEMAS, *_LISTS, *_SINGLE)

Where = tuple["Where | None", str]  # a path as what leads to it and its last step: it is written out only for an error


def google_schema(schema: Any, path: str) -> dict[str, Any]:
    """Give a schema that means the same. Unchanged ones are given back themselves. Raises `BadRequest`."""
    if not isinstance(schema, dict):
        raise BadRequest(f"{path} must be a JSON Schema object.", param=path)
    whole = cast("dict[str, Any]", schema)
    return whole if _is_plain(whole) else _rewritten(whole, whole, (None, path))


def parameters_schema(schema: Any, path: str) -> dict[str, Any]:
    """Give the schema of a function's parameters, which are an object. Raises `BadRequest`."""
    taken = google_schema(schema, path)
    if taken.get("type", "object") != "object":
        raise BadRequest(f"{path}.type must be 'object', not {taken['type']!r}.", param=f"{path}.type")
    return taken


def _is_plain(schema: dict[str, Any]) -> bool:
    """Say, at the price of one pass in C, whether nothing can need rewriting: most schemas are so."""
    text = write_json(schema)
    return not any(keyword in text for keyword in _REWRITTEN)


def _rewritten(schema: dict[str, Any], root: Mapping[str, Any], where: Where) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for keyword in _NESTED:
        if keyword in schema:
            nested = _nested(keyword, schema[keyword], root, (where, f".{keyword}"))
            if nested is not schema[keyword]:
                changes[keyword] = nested
    reference = schema.get("$ref")
    if reference is not None:
        _check_reference(reference, root, where)
    if "const" not in schema and "allOf" not in schema and (reference is None or len(schema) == 1):
        return {**schema, **changes} if changes else schema
    return _reshaped({**schema, **changes})


def _reshaped(schema: dict[str, Any]) -> dict[str, Any]:
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    parts: Any = schema.get("allOf")
    if isinstance(parts, list) and len(cast("list[Any]", parts)) == 1 and isinstance(parts[0], dict):
        schema = _merged(cast("dict[str, Any]", parts[0]), schema)
    if "$ref" in schema and any(not keyword.startswith("$") for keyword in schema):
        schema = {"anyOf": [{"$ref": schema.pop("$ref")}], **schema}
    return schema


def _merged(only: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Merge the one schema of an `allOf` with its neighbours, as far as neither loses a keyword."""
    neighbours = {keyword: value for keyword, value in schema.items() if keyword != "allOf"}
    if only.keys().isdisjoint(neighbours):
        return {**only, **neighbours}
    return schema if "anyOf" in neighbours else {"anyOf": [only], **neighbours}


def _nested(keyword: str, value: Any, root: Mapping[str, Any], where: Where) -> Any:
    if keyword in _OF_SCHEMAS and isinstance(value, dict):
        schemas = cast("dict[str, Any]", value)
        named = {name: _one(one, root, (where, f".{name}")) for name, one in schemas.items()}
        return named if any(named[name] is not schemas[name] for name in named) else schemas
    if keyword in _LISTS and isinstance(value, list):
        alternatives = cast("list[Any]", value)
        listed = [_one(one, root, (where, f"[{index}]")) for index, one in enumerate(alternatives)]
        changed = any(new is not old for new, old in zip(listed, alternatives, strict=True))
        return listed if changed else alternatives
    return _one(value, root, where)


def _one(value: Any, root: Mapping[str, Any], where: Where) -> Any:
    return _rewritten(cast("dict[str, Any]", value), root, where) if isinstance(value, dict) else value


def _path(where: Where) -> str:
    steps: list[str] = []
    rest: Where | None = where
    while rest:
        rest, step = rest
        steps.append(step)
    return "".join(reversed(steps))


def _entered(target: Any, name: str) -> Any:
    if not name:
        return target
    return cast("dict[str, Any]", target).get(name) if isinstance(target, dict) else None


def _check_reference(reference: Any, root: Mapping[str, Any], where: Where) -> None:
    """Raise `BadRequest` for a reference that leads out of the schema or nowhere in it."""
    target: Any = root
    steps = reference[1:].strip("/").split("/") if isinstance(reference, str) and reference.startswith("#") else None
    for step in steps or ():
        name = step.replace("~1", "/").replace("~0", "~")
        target = _entered(target, name)
    if steps is None or target is None:
        path = _path(where)
        raise BadRequest(f"{path}.$ref {reference!r} is not in the schema.", param=f"{path}.$ref")

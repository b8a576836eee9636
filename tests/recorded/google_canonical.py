"""One form for all generateContent requests that mean the same.

What is unified, and who says that it is the same:

- names in camel and in snake case (protobuf's JSON: https://protobuf.dev/programming-guides/json/);
- base64 with and without padding, in both alphabets (the same page), and enums' case, which Google takes either way;
- one turn and a list of turns, one tool and a list; neighbours of one role (https://ai.google.dev/api/caching#Content);
- the role of `systemInstruction`, which Google passes over; empty texts;
- function declarations in one entry of `tools` or in several (https://ai.google.dev/api/caching#Tool);
- `parameters` and `parametersJsonSchema`, `responseSchema` and `responseJsonSchema`, which say it in OpenAPI's words
  and in JSON Schema's (https://ai.google.dev/api/caching#FunctionDeclaration);
- ids of calls, which are optional: those that `google_requests` had to make up are left out.
"""

import re
from typing import Any

from tests.recorded.google_requests import MADE_UP, json_schema

_FREE = {"args", "response", "labels", "parametersJsonSchema", "responseJsonSchema"}  # a user's own names inside
_SCHEMAS = {"parameters": "parametersJsonSchema", "responseSchema": "responseJsonSchema"}
_BASE64 = {"data", "thoughtSignature"}
_ENUMS = {"thinkingLevel", "mode", "responseModalities"}


def canonical(body: dict[str, Any]) -> dict[str, Any]:
    """Give a request body in its one form."""
    value: dict[str, Any] = _renamed({name: value for name, value in body.items() if name != "model"})
    value["contents"] = _turns(value["contents"])
    if "systemInstruction" in value:
        parts = _as_list(value["systemInstruction"]["parts"])
        value["systemInstruction"] = [part["text"] for part in parts if _says(part)]
    if "tools" in value:
        value["tools"] = _tools(_as_list(value["tools"]))
    return _without_empty(value)


def _renamed(value: Any, name: str = "") -> Any:
    if isinstance(value, list):
        return [_renamed(item, name) for item in value]
    if isinstance(value, dict) and name not in _FREE:
        return dict(_entry(key, item) for key, item in value.items())
    if isinstance(value, str) and name in _BASE64:
        return value.replace("-", "+").replace("_", "/").rstrip("=")
    return value.lower() if isinstance(value, str) and name in _ENUMS else value


def _entry(key: str, item: Any) -> tuple[str, Any]:
    name = re.sub(r"_(\w)", lambda match: match[1].upper(), key)
    if name in _SCHEMAS:
        return _SCHEMAS[name], json_schema(item)
    return name, json_schema(item) if name.endswith("JsonSchema") else _renamed(item, name)


def _turns(contents: Any) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for content in _as_list(contents):
        role, parts = content.get("role") or "user", [_part(part) for part in _as_list(content["parts"]) if _says(part)]
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns or [{"role": "user", "parts": [{"text": ""}]}]


def _says(part: dict[str, Any]) -> bool:
    return part != {"text": ""}


def _part(part: dict[str, Any]) -> dict[str, Any]:
    for kind in ("functionCall", "functionResponse"):
        if part.get(kind, {}).get("id", "").startswith(MADE_UP):
            part = {**part, kind: {name: value for name, value in part[kind].items() if name != "id"}}
    return part


def _tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    functions = [function for tool in tools for function in tool.get("functionDeclarations") or ()]
    others = [tool for tool in tools if "functionDeclarations" not in tool]
    declared = [{name: value for name, value in function.items() if value} for function in functions]
    return [{"functionDeclarations": declared}, *others] if declared else others


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _without_empty(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value not in ({}, [], None)}

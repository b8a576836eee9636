"""What the shapes of a chat request can't say: that its parts fit together, and where its URLs point."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import orjson

from functions.gateway.addresses import is_public
from functions.gateway.errors import BadRequest

_FETCHED = ("http://", "https://")
_NOT_FETCHED = ("data:", "gs://")  # inline, or in a bucket that only Google reads


def check_messages(messages: list[dict[str, Any]]) -> None:
    """Raise `BadRequest` for the first message that doesn't fit, by the path of its field."""
    called: set[str] = set()
    for position, message in enumerate(messages):
        role, content = message["role"], message.get("content")
        if isinstance(content, list):
            _check_parts(cast("list[dict[str, Any]]", content), f"messages[{position}].content")
        if role == "assistant":
            called.update(_checked_calls(message, position))
        elif role == "tool" and message["tool_call_id"] not in called:
            given = message["tool_call_id"]
            path = f"messages[{position}].tool_call_id"
            raise _fault(path, f"{given!r} is no call of an earlier assistant message")


def check_tools(body: Mapping[str, Any]) -> None:
    """Raise `BadRequest` for functions of one name, schemas that can't be arguments, and a choice of no tool."""
    if body.get("tools") and body.get("functions"):
        raise _fault("functions", "is the older form of tools, which are given too; leave one out")
    names: set[str] = set()
    for position, tool in enumerate(body.get("tools") or ()):
        kind = tool.get("type")
        if kind in ("function", "custom") and kind in tool:
            path = f"tools[{position}].{kind}"
            _check_definition(tool[kind], path, names)
    for position, function in enumerate(body.get("functions") or ()):
        _check_definition(function, f"functions[{position}]", names)
    _check_choice(body, names)


def _check_definition(function: Mapping[str, Any], path: str, names: set[str]) -> None:
    if function["name"] in names:
        raise _fault(f"{path}.name", f"{function['name']!r} is the name of an earlier tool")
    names.add(function["name"])
    schema: Mapping[str, Any] = function.get("parameters") or {}
    if schema.get("type", "object") != "object":
        raise _fault(f"{path}.parameters.type", "arguments are an object, so their schema's type must be 'object'")


def _check_choice(body: Mapping[str, Any], names: set[str]) -> None:
    choice: Any = body.get("tool_choice")
    if not isinstance(choice, dict):
        return
    chosen = cast("dict[str, Any]", choice)
    kind = chosen["type"]
    if kind in ("function", "custom") and chosen[kind]["name"] not in names:
        raise _fault(f"tool_choice.{kind}.name", f"{chosen[kind]['name']!r} is none of the tools")


def _checked_calls(message: Mapping[str, Any], position: int) -> list[str]:
    """Give the ids of a message's calls. Arguments must be a JSON object; none at all stand for an empty one."""
    calls: list[dict[str, Any]] = message.get("tool_calls") or []
    for place, call in enumerate(calls):
        if "function" in call and not _is_object(call["function"]["arguments"]):
            path = f"messages[{position}].tool_calls[{place}].function.arguments"
            raise _fault(path, "must be a JSON object, as text")
    function_call: Mapping[str, Any] | None = message.get("function_call")
    if function_call and not _is_object(function_call["arguments"]):
        raise _fault(f"messages[{position}].function_call.arguments", "must be a JSON object, as text")
    return [call["id"] for call in calls]


def _is_object(arguments: str) -> bool:
    try:
        return arguments == "" or isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False


def _check_parts(parts: list[dict[str, Any]], path: str) -> None:
    for position, part in enumerate(parts):
        if check := _PART_CHECKS.get(part["type"]):
            check(part, f"{path}[{position}]")


def _check_image(part: Mapping[str, Any], path: str) -> None:
    _check_url(part["image_url"]["url"], f"{path}.image_url.url")


def _check_video(part: Mapping[str, Any], path: str) -> None:
    video: Any = part.get("video_url")
    url: Any = cast("dict[str, Any]", video).get("url") if isinstance(video, dict) else None
    if not isinstance(url, str):
        raise _fault(f"{path}.video_url.url", "must be a string")
    _check_url(url, f"{path}.video_url.url")


def _check_file(part: Mapping[str, Any], path: str) -> None:
    """A file is inline, uploaded before, or, as clients of LiteLLM write, at a URL that stands for either."""
    file: Mapping[str, Any] = part["file"]
    if not (file.get("file_id") or file.get("file_data")):
        raise _fault(f"{path}.file", "needs a file_id or file_data")
    for name in ("file_id", "file_data"):
        value: str = file.get(name) or ""
        if value.startswith(_FETCHED):
            _check_url(value, f"{path}.file.{name}")


def _check_document(part: Mapping[str, Any], path: str) -> None:
    """Anthropic's own form of a file, which may be at a URL."""
    source: Any = part.get("source")
    url: Any = cast("dict[str, Any]", source).get("url") if isinstance(source, dict) else None
    if isinstance(url, str):
        _check_url(url, f"{path}.source.url")


def _check_url(url: str, path: str) -> None:
    scheme = url[:8].lower()
    if scheme.startswith(_NOT_FETCHED):
        return
    if not scheme.startswith(_FETCHED):
        raise _fault(path, "must be an http, https or data URL")
    if not is_public(url):
        raise _fault(path, "points to an address that is not on the public internet")


_PART_CHECKS: Mapping[str, Callable[[Mapping[str, Any], str], None]] = {
    "image_url": _check_image,
    "video_url": _check_video,
    "file": _check_file,
    "document": _check_document,
}


def _fault(path: str, message: str) -> BadRequest:
    return BadRequest(f"{path}: {message}.", param=path)

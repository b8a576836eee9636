"""Tools and the choice among them. Source: https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools"""

from collections.abc import Iterator, Mapping
from typing import Any

from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.anthropic.schema import input_schema
from functions.providers.parts import malformed_requests

_CHOICES = {"auto": {"type": "auto"}, "required": {"type": "any"}, "none": {"type": "none"}}
_FORCING = ("any", "tool")
# What Anthropic documents for a tool and OpenAI has no word for, beside the function or inside it.
_KEPT = (
    "cache_control", "defer_loading", "allowed_callers", "input_examples", "eager_input_streaming",
)  # fmt: skip
_ADVISOR = "advisor_"  # another model's tokens, at its own prices: the ledger has one model for an answer
_SEARCH = "web_search_20250305"  # the version that every model takes
_SEARCHES = {"low": 1, "medium": 5, "high": 10}  # `search_context_size` as LiteLLM reads it


def tools_of(asked: Mapping[str, Any], *, takes_strict: bool) -> list[Mapping[str, Any]]:
    """Give all tools: functions, Anthropic's own, and the search that `web_search_options` asks for."""
    return [*_declared(asked, takes_strict=takes_strict), *_web_search(asked)]


def _declared(asked: Mapping[str, Any], *, takes_strict: bool) -> list[Mapping[str, Any]]:
    declared: list[Mapping[str, Any]] = []
    with malformed_requests("Anthropic") as reading:
        for position, tool in enumerate(asked.get("tools") or ()):
            reading.param = f"tools[{position}]"
            declared.append(_tool(tool, reading.param, takes_strict=takes_strict))
    return declared


def _tool(tool: Mapping[str, Any], path: str, *, takes_strict: bool) -> Mapping[str, Any]:
    if tool.get("type") == "function":
        return _function(tool["function"], tool, f"{path}.function", takes_strict=takes_strict)
    if "name" not in tool and "type" not in tool:  # Google's own, such as `{"googleSearch": {}}`
        raise UpstreamError("unsupported_content", f"tools without a type are not supported ({path})")
    if str(tool.get("type")).startswith(_ADVISOR):
        raise UpstreamError("unsupported_content", f"{tool['type']} can't be billed ({path})")
    return tool


def _function(
    function: Mapping[str, Any], holder: Mapping[str, Any], path: str, *, takes_strict: bool
) -> Mapping[str, Any]:
    strict = takes_strict and function.get("strict") is True
    schema = input_schema(function.get("parameters"), strict=strict, path=f"{path}.parameters")
    tool: dict[str, Any] = {"name": function["name"], "input_schema": schema}
    if function.get("description") is not None:
        tool["description"] = function["description"]
    if strict:
        tool["strict"] = True
    for name in _KEPT:
        value = holder.get(name, function.get(name))
        if value is not None:
            tool[name] = value
    return tool


def _web_search(asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    options = asked.get("web_search_options")
    if options is None:
        return
    with malformed_requests("Anthropic", "web_search_options"):
        tool: dict[str, Any] = {"type": _SEARCH, "name": "web_search"}
        if size := options.get("search_context_size"):
            tool["max_uses"] = _SEARCHES.get(size, _SEARCHES["medium"])
        place: Mapping[str, Any] = options.get("user_location") or {}
        if location := place.get("approximate"):
            tool["user_location"] = {"type": "approximate", **location}
    yield tool


def tool_choice(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the choice, or nothing where the client made none. Raises `BadRequest`."""
    given = asked.get("tool_choice")
    with malformed_requests("Anthropic", "tool_choice"):
        choice = _choice(given) if given else None
    if asked.get("parallel_tool_calls") is False and (choice is None or choice["type"] != "none"):
        choice = {"type": "auto", **(choice or {}), "disable_parallel_tool_use": True}
    return choice


def is_forced(choice: Mapping[str, Any] | None) -> bool:
    """Say whether the model must call a tool."""
    return choice is not None and choice["type"] in _FORCING


def _choice(given: Any) -> dict[str, Any]:
    if isinstance(given, str):
        if given not in _CHOICES:
            raise BadRequest(f"tool_choice: {given!r} is none of auto, none, required.", param="tool_choice")
        return dict(_CHOICES[given])
    if given.get("type") == "allowed_tools":
        raise UpstreamError("unsupported_content", "tool_choice.allowed_tools is not supported by anthropic")
    return {"type": "tool", "name": (given.get("function") or given)["name"]}


def unforced(choice: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Give a choice that forces nothing, and the words that ask for the same."""
    wanted = f"the tool {choice['name']!r}" if choice["type"] == "tool" else "at least one of the tools"
    rest = {name: value for name, value in choice.items() if name == "disable_parallel_tool_use"}
    return {"type": "auto", **rest}, f"Answer this turn by calling {wanted}; don't answer in text alone."

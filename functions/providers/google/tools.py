"""Tools, and whether and how they are called.

Sources: https://ai.google.dev/api/caching#Tool, https://ai.google.dev/gemini-api/docs/function-calling,
https://ai.google.dev/gemini-api/docs/tool-combination
"""

from collections.abc import Mapping
from typing import Any, cast

from functions.gateway.errors import BadRequest, UpstreamError
from functions.providers.google.schema import parameters_schema
from functions.providers.parameters import camel
from functions.providers.parts import malformed_requests

_SERVED = frozenset({
    "googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext", "fileSearch", "googleMaps", "computerUse",
    "mcpServers", "retrieval", "enterpriseWebSearch",
})  # fmt: skip
# The client runs it, as it does functions: https://ai.google.dev/gemini-api/docs/computer-use
_BESIDE_FUNCTIONS = frozenset({"computerUse"})
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def tools_of(asked: Mapping[str, Any], capabilities: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the tools: functions in one entry, then those that Google runs itself.

    Raises `BadRequest`, and `UpstreamError` for what another model may take.
    """
    functions: list[dict[str, Any]] = []
    served: list[dict[str, Any]] = []
    offered: list[dict[str, Any]] = asked.get("tools") or []
    for index, tool in enumerate(offered):
        path = f"tools[{index}]"
        if "function" in tool:
            functions.append(_declaration(tool["function"], f"{path}.function"))
        else:
            served.append(_served(tool, path))
    if asked.get("web_search_options") is not None and not any("googleSearch" in tool for tool in served):
        served.append({"googleSearch": {}})
    alone = sorted({kind for tool in served for kind in tool} - _BESIDE_FUNCTIONS)
    if functions and alone and not capabilities.get("tool_combination"):
        raise UpstreamError("unsupported_content", f"tools: this model takes no functions beside {', '.join(alone)}")
    return [{"functionDeclarations": functions}, *served] if functions else served


def tool_config(
    asked: Mapping[str, Any], tools: list[dict[str, Any]], capabilities: Mapping[str, Any]
) -> dict[str, Any]:
    """Give what decides about calls; empty where Google's defaults do."""
    config: dict[str, Any] = {}
    if calling := _calling_config(asked, capabilities):
        config["functionCallingConfig"] = calling
    if len(tools) > 1 and "functionDeclarations" in tools[0] and capabilities.get("tool_combination"):
        config["includeServerSideToolInvocations"] = True  # Google refuses the combination without it
    return config


def _served(tool: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Give a tool of Google's own, written `{"googleSearch": {…}}` or `{"type": "google_search", …}`."""
    if "type" in tool:
        tool = {tool["type"]: {name: value for name, value in tool.items() if name != "type"}}
    named = {camel(name): value for name, value in tool.items()}
    if not named.keys() <= _SERVED:
        kind = ", ".join(tool)
        raise UpstreamError("unsupported_content", f"{path}: {kind!r} tools are not supported by gemini")
    return named


def _declaration(function: Mapping[str, Any], path: str) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        declaration["parametersJsonSchema"] = parameters_schema(function["parameters"], f"{path}.parameters")
    return declaration


def _calling_config(asked: Mapping[str, Any], capabilities: Mapping[str, Any]) -> dict[str, Any] | None:
    functions = [tool["function"] for tool in asked.get("tools") or () if "function" in tool]
    if not functions:
        return None
    choice: Any = asked.get("tool_choice")
    is_strict = all(function.get("strict") for function in functions)
    if choice in (None, "auto") and is_strict and capabilities.get("strict_tools"):
        return {"mode": "VALIDATED"}
    if choice is None:
        return None
    return {"mode": _MODES[choice]} if isinstance(choice, str) else _named(choice)


def _named(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Give a choice of one function, or of some (`allowed_tools`)."""
    if "function" in choice:
        return {"mode": "ANY", "allowedFunctionNames": [choice["function"]["name"]]}
    allowed: Any = choice.get("allowed_tools")
    if not isinstance(allowed, dict):
        raise BadRequest("tool_choice must name a function or allowed_tools.", param="tool_choice")
    given = cast("dict[str, Any]", allowed)
    with malformed_requests("Google", "tool_choice.allowed_tools.tools"):
        names = [tool["function"]["name"] for tool in given.get("tools") or ()]
    return {"mode": "ANY" if given.get("mode") == "required" else "VALIDATED", "allowedFunctionNames": names}

"""OpenAI's request as a Messages request. Source: https://platform.claude.com/docs/en/api/messages/create"""

from collections.abc import Mapping
from typing import Any

from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.parts import (
    arguments_of,
    content_parts,
    data_url,
    max_output_tokens,
    not_taken,
    plain_text,
    refuse_dropped,
    stop_sequences,
    tools_of,
    unsupported_part,
)

_PROVIDER = "anthropic"
_DEFAULT_MAX_TOKENS = 16_384  # the wire wants a bound; this is gpt-4o's own
_PASSED_THROUGH = ("top_k", "thinking", "cache_control")
_TAKEN = frozenset({
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "stop", "tools", "tool_choice", "parallel_tool_calls", "user", *_PASSED_THROUGH,
})  # fmt: skip
_TOOL_CHOICES = {"auto": {"type": "auto"}, "required": {"type": "any"}, "none": {"type": "none"}}


def encode_request(request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
    """Give the body. `temperature` is cut to Anthropic's 0–1. Raises `BadRequest`, `UpstreamError`."""
    dropped = dropped_params(request, deployment)
    refuse_dropped(request, dropped, deployment.name)
    asked = {name: value for name, value in request.body.items() if name not in dropped and value is not None}
    body: dict[str, Any] = {
        "model": deployment.upstream_model,
        "max_tokens": max_output_tokens(asked) or _default_max_tokens(deployment),
        "messages": _messages(asked["messages"]),
        **_optional(asked),
        **{name: asked[name] for name in _PASSED_THROUGH if name in asked},
    }
    return body | {"stream": True} if request.is_stream else body


def dropped_params(request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
    """Name what this deployment isn't asked: what the wire has no word for, and sampling where a model refuses it.

    Current models refuse `temperature` together with `top_p`, so `top_p` yields.
    """
    body = request.body
    dropped = set(not_taken(body, _TAKEN))
    if deployment.model.capabilities.get("sampling_params") is False:
        dropped |= {name for name in ("temperature", "top_p", "top_k") if body.get(name) is not None}
    if body.get("temperature") is not None and body.get("top_p") is not None:
        dropped.add("top_p")
    return tuple(sorted(dropped))


def _default_max_tokens(deployment: Deployment) -> int:
    return min(deployment.model.max_output_tokens or _DEFAULT_MAX_TOKENS, _DEFAULT_MAX_TOKENS)


def _optional(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parameters that are there only when asked for."""
    body: dict[str, Any] = {}
    if system := [_text(message) for message in asked["messages"] if message["role"] in ("system", "developer")]:
        body["system"] = "\n\n".join(system)
    if "temperature" in asked:
        body["temperature"] = min(asked["temperature"], 1)
    if "top_p" in asked:
        body["top_p"] = asked["top_p"]
    if stop := stop_sequences(asked):
        body["stop_sequences"] = stop
    if tools := tools_of(asked):
        body["tools"] = [_tool(tool) for tool in tools]
        if choice := _tool_choice(asked):
            body["tool_choice"] = choice
    if "user" in asked:
        body["metadata"] = {"user_id": asked["user"]}
    return body


def _text(message: Mapping[str, Any]) -> str:
    return plain_text(message["content"])


def _messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the turns; neighbours of one role become one, as tool results must stand together after their calls."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        blocks = _blocks(message)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = [_block(part) for part in content_parts(message.get("content"))]
    if message["role"] == "tool":
        return [{"type": "tool_result", "tool_use_id": message["tool_call_id"], "content": content}]
    calls = [_tool_use(call) for call in message.get("tool_calls") or ()]
    return [*content, *calls]


def _block(part: Mapping[str, Any]) -> dict[str, Any]:
    match part["type"]:
        case "text":
            return {"type": "text", "text": part["text"]}
        case "refusal":
            return {"type": "text", "text": part["refusal"]}
        case "image_url":
            return {"type": "image", "source": _image_source(part["image_url"]["url"])}
        case _:
            raise unsupported_part(part, _PROVIDER)


def _image_source(url: str) -> dict[str, str]:
    if inline := data_url(url):
        media_type, data = inline
        return {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "url", "url": url}


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call["id"], "name": call["function"]["name"], "input": arguments_of(call)}


def _tool(function: Mapping[str, Any]) -> dict[str, Any]:
    tool: dict[str, Any] = {
        "name": function["name"],
        "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
    }
    if function.get("description"):
        tool["description"] = function["description"]
    if function.get("strict"):
        tool["strict"] = True
    return tool


def _tool_choice(asked: Mapping[str, Any]) -> dict[str, Any]:
    choice: Any = asked.get("tool_choice")
    chosen: dict[str, Any] = {}
    if isinstance(choice, str):
        chosen = dict(_TOOL_CHOICES[choice])
    elif choice:
        chosen = {"type": "tool", "name": choice["function"]["name"]}
    if asked.get("parallel_tool_calls") is False and choice != "none":
        chosen = {"type": "auto", **chosen, "disable_parallel_tool_use": True}
    return chosen

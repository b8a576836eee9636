"""A client's request as OpenAI takes it. Source: https://platform.openai.com/docs/api-reference/chat/create"""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from functions.gateway.catalog import Model
from functions.gateway.errors import UpstreamError
from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.openai.parameters import dropped_of, effort_of, must_not_reason, refused_params
from functions.providers.parts import refuse_dropped, unsupported_part

_LONGEST_CALL_ID = 40  # `string too long. Expected a string with maximum length 40` (messages[].tool_calls[].id)

# What each role's message may hold; clients echo more: reasoning, thinking blocks, what other providers said.
_MESSAGE_FIELDS = frozenset({"role", "content", "name", "tool_call_id"})
_ASSISTANT_FIELDS = frozenset({
    "role", "content", "name", "refusal", "audio", "tool_calls", "function_call", "annotations",
})  # fmt: skip
_BARE_FIELDS = frozenset({"role", "content", "name", "tool_calls", "function_call"})  # what every server knows
_IN_PLACE_OF_CONTENT = ("tool_calls", "function_call", "refusal", "audio")  # without these, it must not be null
_SHOWN_BELOW = "The result is shown in the user's next message."
_CALL_FIELDS = frozenset({"id", "type", "function", "custom", "index"})
_PART_TYPES = frozenset({"text", "refusal", "image_url", "input_audio", "file"})
_FILE_FIELDS = ("file_id", "file_data")
_TOOL_TYPES = frozenset({"function", "custom"})


def encode_request(request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
    """Give the body under the upstream's own model name. Raises `BadRequest`, `UpstreamError`."""
    asked, abilities = _asked(request), deployment.model.capabilities
    refused = refused_params(asked, abilities)
    refuse_dropped(request, dropped_of(asked, refused), deployment.name)
    body = {name: value for name, value in asked.items() if name not in refused}
    body["model"] = deployment.upstream_model
    body["messages"] = _messages(asked["messages"], abilities)
    _put_tools(body)
    _put_limit(body, deployment.model)
    _put_effort(body, asked, abilities)
    _put_stream_options(body, request)
    return body


def dropped_params(request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
    """Name what this deployment isn't asked, because its model refuses it."""
    asked = _asked(request)
    return dropped_of(asked, refused_params(asked, deployment.model.capabilities))


def short_call_id(call_id: str) -> str:
    """Give a call's id as OpenAI accepts it: the same for the call and for its result."""
    if len(call_id) <= _LONGEST_CALL_ID:
        return call_id
    return f"call_{hashlib.blake2b(call_id.encode(), digest_size=16).hexdigest()}"


def _asked(request: ChatRequest) -> Mapping[str, Any]:
    return request.body if request.legacy_body is None else request.legacy_body


def _messages(messages: list[dict[str, Any]], abilities: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the messages. What tool results hold beside text comes after all of them, as only the user may show it."""
    sent: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    for message in map(partial(_message, abilities=abilities), messages):
        if message["role"] != "tool" and shown:
            sent.append({"role": "user", "content": shown})
            shown = []
        if message["role"] == "tool" and isinstance(message["content"], list):
            message, beside = _result(message, message["content"])
            shown = [*shown, *beside]
        sent.append(message)
    return [*sent, {"role": "user", "content": shown}] if shown else sent


def _result(message: dict[str, Any], parts: list[dict[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give a tool's result as text, which is all that it may be, and its other parts under a label.

    Source: https://platform.openai.com/docs/api-reference/chat/create#chat-create-messages (tool message, content)
    """
    texts = [part for part in parts if part["type"] == "text"]
    if len(texts) == len(parts):
        return message, []
    label = f"Content of the result of {message['tool_call_id']}:"
    beside = [{"type": "text", "text": label}, *(part for part in parts if part["type"] != "text")]
    return {**message, "content": texts or _SHOWN_BELOW}, beside


def _message(message: dict[str, Any], abilities: Mapping[str, Any]) -> dict[str, Any]:
    """Give a message without what OpenAI would refuse; one that has nothing of the kind is not copied."""
    if isinstance(message.get("content"), list) and not abilities.get("compatible_server"):
        _refuse_foreign_parts(message["content"])
    match message["role"]:
        case "assistant":
            return _assistant(message, _BARE_FIELDS if abilities.get("compatible_server") else _ASSISTANT_FIELDS)
        case "system" | "developer":
            message = _instruction(message, abilities)
        case "tool" if len(message["tool_call_id"]) > _LONGEST_CALL_ID:
            message = {**message, "tool_call_id": short_call_id(message["tool_call_id"])}
        case _:
            pass
    return _without_foreign_fields(message, _MESSAGE_FIELDS)


def _refuse_foreign_parts(parts: list[dict[str, Any]]) -> None:
    for part in parts:
        if part["type"] not in _PART_TYPES or _is_elsewhere(part):
            raise unsupported_part(part, "openai")


def _is_elsewhere(part: Mapping[str, Any]) -> bool:
    """Say whether OpenAI can't fetch this: something in Google's bucket, or a file at a URL instead of an id."""
    if part["type"] == "image_url":
        return part["image_url"]["url"].startswith("gs://")
    return part["type"] == "file" and any("://" in (part["file"].get(name) or "")[:10] for name in _FILE_FIELDS)


def _instruction(message: dict[str, Any], abilities: Mapping[str, Any]) -> dict[str, Any]:
    """Few servers know `developer`, the newer word for `system`; models without either are told by the user."""
    if abilities.get("system_role") is False:
        return {**message, "role": "user"}
    knows_developer = abilities.get("developer_role", not abilities.get("compatible_server"))
    if message["role"] == "developer" and not knows_developer:
        return {**message, "role": "system"}
    return message


def _assistant(message: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    kept = _without_foreign_fields(message, fields)
    if kept.get("audio"):
        kept = _with_own_audio(kept)
    if kept.get("content") is None and not any(kept.get(name) for name in _IN_PLACE_OF_CONTENT):
        kept = {**kept, "content": message.get("refusal") or ""}
    calls: list[dict[str, Any]] = kept.get("tool_calls") or []
    if all(call.keys() <= _CALL_FIELDS and len(call["id"]) <= _LONGEST_CALL_ID for call in calls):
        return kept
    return {**kept, "tool_calls": [_call(call) for call in calls]}


def _with_own_audio(message: dict[str, Any]) -> dict[str, Any]:
    """Give audio by the id that OpenAI knows it by; Gemini's, which has a type and its data, is unknown there."""
    kept = {name: value for name, value in message.items() if name != "audio"}
    match message["audio"]:
        case {"mime_type": _}:
            return kept
        case {"id": audio_id}:
            return {**kept, "audio": {"id": audio_id}}
        case _:
            return kept


def _call(call: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in call.items() if name in _CALL_FIELDS}
    return {**known, "id": short_call_id(call["id"])}


def _without_foreign_fields(message: dict[str, Any], fields: frozenset[str]) -> dict[str, Any]:
    content = message.get("content")
    if isinstance(content, list) and any("cache_control" in part for part in content):  # pyright: ignore[reportUnknownVariableType]
        message = {**message, "content": [_without_cache_control(part) for part in content]}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if message.keys() <= fields:
        return message
    return {name: value for name, value in message.items() if name in fields}


def _without_cache_control(value: dict[str, Any]) -> dict[str, Any]:
    """Leave out Anthropic's mark, which clients put on parts and on tools."""
    return {name: item for name, item in value.items() if name != "cache_control"}


def _put_tools(body: dict[str, Any]) -> None:
    """Without tools, OpenAI refuses an empty list and everything that is about them."""
    tools: list[dict[str, Any]] = body.get("tools") or []
    if not tools:
        body.pop("tools", None)
        body.pop("parallel_tool_calls", None)
        if body.get("tool_choice") in (None, "none", "auto"):
            body.pop("tool_choice", None)
        return
    for tool in tools:
        kind = tool.get("type") or next(iter(tool))
        if kind not in _TOOL_TYPES or kind not in tool:
            raise UpstreamError("unsupported_content", f"tools of type {kind!r} are not supported by openai")
    if any("cache_control" in tool or "cache_control" in tool.get("function", ()) for tool in tools):
        body["tools"] = [_tool(tool) for tool in tools]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    kept = _without_cache_control(tool)
    return {**kept, "function": _without_cache_control(kept["function"])} if "function" in kept else kept


def _put_limit(body: dict[str, Any], model: Model) -> None:
    """Reasoning models refuse `max_tokens`; many compatible servers know no other name. A limit over theirs is a 400.

    Source: https://platform.openai.com/docs/api-reference/chat/create#chat-create-max_tokens
    """
    abilities, highest = model.capabilities, model.max_output_tokens
    for name in ("max_tokens", "max_completion_tokens"):
        if highest is not None and (body.get(name) or 0) > highest:
            body[name] = highest
    if abilities.get("compatible_server"):
        _rename(body, "max_completion_tokens", "max_tokens")
    elif abilities.get("reasoning"):
        _rename(body, "max_tokens", "max_completion_tokens")


def _rename(body: dict[str, Any], name: str, newer: str) -> None:
    limit = body.pop(name, None)
    if limit is not None and body.get(newer) is None:
        body[newer] = limit


def _put_effort(body: dict[str, Any], asked: Mapping[str, Any], abilities: Mapping[str, Any]) -> None:
    effort = "none" if must_not_reason(asked, abilities) else effort_of(body, abilities)
    if effort is not None:
        body["reasoning_effort"] = effort


def _put_stream_options(body: dict[str, Any], request: ChatRequest) -> None:
    options: dict[str, Any] | None = body.pop("stream_options", None)
    if request.is_stream:
        body["stream_options"] = {**(options or {}), "include_usage": True}

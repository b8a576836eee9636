"""Recorded Messages requests written as the Chat Completions requests that ask for the same, and a form to compare in.

This is the inverse of the encoder, written from the provider's documentation alone
(https://platform.claude.com/docs/en/api/messages/create): it shares no code with what it is to check.
"""

import base64
import json
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

Json = dict[str, Any]

PASSED = ("temperature", "top_p", "top_k", "thinking", "stream", "max_tokens", "cache_control", "container",
          "context_management", "mcp_servers")  # fmt: skip
SHOWN_ADAPTIVE = {"type": "adaptive", "display": "summarized"}


def chat_body(recorded: Json) -> Json:
    """Write a Messages request as a Chat Completions request."""
    body: Json = {"model": recorded["model"], "messages": [*_system(recorded), *_messages(recorded["messages"])]}
    body |= {name: recorded[name] for name in PASSED if name in recorded}
    if "stop_sequences" in recorded:
        body["stop"] = recorded["stop_sequences"]
    if "tools" in recorded:
        body["tools"] = [_tool(tool) for tool in recorded["tools"]]
    if "metadata" in recorded:
        body["user"] = recorded["metadata"]["user_id"]
    if "service_tier" in recorded:
        body["service_tier"] = {"auto": "auto", "standard_only": "default"}[recorded["service_tier"]]
    _choose(body, recorded.get("tool_choice") or {})
    _form(body, recorded)
    return body


def _choose(body: Json, choice: Json) -> None:
    match choice.get("type"):
        case "auto" | "none":
            body["tool_choice"] = choice["type"]
        case "any":
            body["tool_choice"] = "required"
        case "tool":
            body["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
        case _:
            pass
    if choice.get("disable_parallel_tool_use"):
        body["parallel_tool_calls"] = False


def _form(body: Json, recorded: Json) -> None:
    """Write the answer's form and effort; an effort that comes without thinking has no word of OpenAI's."""
    output = recorded.get("output_config") or {}
    if form := output.get("format") or recorded.get("output_format"):
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": form["schema"]}}
    if effort := output.get("effort"):
        if recorded.get("thinking") == SHOWN_ADAPTIVE:
            del body["thinking"]
            body["reasoning_effort"] = effort
        else:
            body["output_config"] = {"effort": effort}


def _system(recorded: Json) -> Iterator[Json]:
    system = recorded.get("system")
    if system:
        yield {"role": "system", "content": system}


def _messages(turns: list[Json]) -> Iterator[Json]:
    for turn in turns:
        content = turn["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if turn["role"] == "assistant":
            yield _assistant(blocks)
        elif turn["role"] == "system":
            yield {"role": "system", "content": [_part(block) for block in blocks]}
        else:
            yield from _user(blocks)


def _user(blocks: list[Json]) -> Iterator[Json]:
    for is_result, group in groupby(blocks, lambda block: block["type"] == "tool_result"):
        if is_result:
            yield from map(_tool_message, group)
        else:
            yield {"role": "user", "content": [_part(block) for block in group]}


def _tool_message(block: Json) -> Json:
    content = block.get("content", "")
    message = {
        "role": "tool",
        "tool_call_id": block["tool_use_id"],
        "content": content if isinstance(content, str) else [_part(inner) for inner in content],
    }
    return message | {name: block[name] for name in ("is_error", "cache_control") if block.get(name)}


def _assistant(blocks: list[Json]) -> Json:
    """Write an assistant's turn: what OpenAI has no word for is echoed as the gateway gave it."""
    texts = [block for block in blocks if block["type"] == "text"]
    message: Json = {"role": "assistant", "content": [_part(block) for block in texts] or None}
    if calls := [_tool_call(block) for block in blocks if block["type"] == "tool_use"]:
        message["tool_calls"] = calls
    if thoughts := [block for block in blocks if block["type"].endswith("thinking")]:
        message["thinking_blocks"] = thoughts
    if not _is_in_openai_order(blocks):
        message["provider_specific_fields"] = {"content_blocks": blocks}
    return message


def _is_in_openai_order(blocks: list[Json]) -> bool:
    order = ["thinking", "redacted_thinking", "text", "tool_use"]
    kinds = [block["type"] for block in blocks]
    return (
        set(kinds) <= set(order) and kinds == sorted(kinds, key=order.index) and "citations" not in json.dumps(blocks)
    )


def _tool_call(block: Json) -> Json:
    function = {"name": block["name"], "arguments": json.dumps(block["input"])}
    call: Json = {"id": block["id"], "type": "function", "function": function}
    return call | {name: block[name] for name in ("cache_control",) if name in block}


def _tool(tool: Json) -> Json:
    if "input_schema" not in tool:
        return tool
    own = {"input_schema", "name", "description", "strict", "type"}
    function: Json = {"name": tool["name"], "parameters": tool["input_schema"]}
    function |= {name: tool[name] for name in ("description", "strict") if name in tool}
    return {"type": "function", "function": function} | {name: tool[name] for name in tool.keys() - own}


def _part(block: Json) -> Json:
    write = PARTS.get(block["type"])
    if write is None:
        return block
    kept = {name: block[name] for name in ("cache_control", "citations", "context") if name in block}
    return write(block) | kept


def _text(block: Json) -> Json:
    return {"type": "text", "text": block["text"]}


def _image(block: Json) -> Json:
    source = block["source"]
    if source["type"] == "file":
        return {"type": "file", "file": {"file_id": source["file_id"], "format": "image/png"}}
    return {"type": "image_url", "image_url": {"url": _url(source)}}


def _document(block: Json) -> Json:
    source = block["source"]
    file = {"file_id": source["file_id"]} if source["type"] == "file" else {"file_data": _url(source)}
    if "title" in block:
        file["filename"] = block["title"]
    return {"type": "file", "file": file}


def _url(source: Json) -> str:
    match source["type"]:
        case "url":
            return source["url"]
        case "text":
            return f"data:text/plain;base64,{base64.b64encode(source['data'].encode()).decode()}"
        case _:
            return f"data:{source['media_type']};base64,{source['data']}"


PARTS: dict[str, Callable[[Json], Json]] = {"text": _text, "image": _image, "document": _document}


# --- the form to compare in ------------------------------------------------------------------------


def canonical(body: Json) -> Json:
    """Write a Messages request in one way only: each rule is an equivalence that the documentation states.

    A string is a single text block; neighbours of one role are one turn; `auto` is what is chosen where there are
    tools, and false what `strict`, `is_error` and `stream` are, unless said otherwise; `output_format` is the
    beta's name of `output_config.format`; `custom` is what a tool with a schema is. A null is an absence.
    """
    plain = {name: value for name, value in body.items() if value is not None and value is not False}
    if "system" in plain:
        plain["system"] = _as_blocks(plain["system"])
    if form := plain.pop("output_format", None):
        plain["output_config"] = {**plain.get("output_config", {}), "format": form}
    if plain.get("tool_choice") == {"type": "auto"}:
        del plain["tool_choice"]
    plain["tools"] = [_canonical_tool(tool) for tool in plain.get("tools") or ()]
    plain["messages"] = [
        {"role": role, "content": [block for turn in turns for block in _as_blocks(turn["content"])]}
        for role, turns in groupby(plain["messages"], lambda turn: turn["role"])
    ]
    return plain


def _canonical_tool(tool: Json) -> Json:
    if tool.get("type") == "custom":
        tool = {name: value for name, value in tool.items() if name != "type"}
    return {name: value for name, value in tool.items() if value is not None and (name, value) != ("strict", False)}


def _as_blocks(content: str | list[Json]) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_canonical_block(block) for block in content]


def _canonical_block(block: Json) -> Json:
    if block["type"] != "tool_result":
        return {name: value for name, value in block.items() if value is not None}
    plain = {name: value for name, value in block.items() if value is not None and (name, value) != ("is_error", False)}
    plain["content"] = _as_blocks(block.get("content") or "")
    return plain

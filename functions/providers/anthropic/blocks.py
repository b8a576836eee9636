"""What a message's content blocks are in OpenAI's message.

Source: https://platform.claude.com/docs/en/api/messages/create#response
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from functions.gateway.exact_json import write_json
from functions.providers.anthropic.response_format import ANSWER_TOOL

_THINKING = ("thinking", "redacted_thinking")
_ORDER = {"thinking": 0, "redacted_thinking": 0, "text": 1, "tool_use": 2}
# What an echo gives back of each without the whole block; a direct call is what a call without a caller is.
_FIELDS = {
    "thinking": {"type", "thinking", "signature"},
    "redacted_thinking": {"type", "data"},
    "text": {"type", "text", "citations"},
    "tool_use": {"type", "id", "name", "input", "caller"},
}
_CITED_PAGES = ("web_search_result_location", "search_result_location")
# https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons
_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_SAID_BY_FINISH_REASON = ("end_turn", "max_tokens", "tool_use")

Block = Mapping[str, Any]


def finish_reason(stop_reason: str | None, blocks: Iterable[Block]) -> str:
    """Give OpenAI's word; an unknown reason is an ordinary end, and so is a call that is the answer itself."""
    reason = _FINISH_REASONS.get(str(stop_reason), "stop")
    return "stop" if reason == "tool_calls" and not any(map(is_call, blocks)) else reason


def is_call(block: Block) -> bool:
    """Say whether the client is asked to call a tool of its own."""
    return block.get("type") == "tool_use" and block["name"] != ANSWER_TOOL


def is_answer(block: Block) -> bool:
    """Say whether the block is the JSON answer that was asked for as a tool's input."""
    return block.get("type") == "tool_use" and block["name"] == ANSWER_TOOL


def text_of(blocks: Iterable[Block]) -> str:
    """Give the answer's text, which is JSON where it came as a tool's input."""
    return "".join(_text(block) for block in blocks)


def reasoning_of(blocks: Iterable[Block]) -> str:
    """Give the text of the thoughts, as far as it is shown."""
    return "".join(block.get("thinking") or "" for block in blocks if block.get("type") == "thinking")


def call_of(block: Block) -> dict[str, Any]:
    """Give a tool call."""
    arguments = write_json(block.get("input") or {}).decode()
    return {"id": block["id"], "type": "function", "function": {"name": block["name"], "arguments": arguments}}


def extensions_of(blocks: Sequence[Block], message: Mapping[str, Any]) -> dict[str, Any]:
    """Give the message's fields beyond OpenAI's own, and what `message` says of its end.

    `provider_specific_fields.content_blocks` are all blocks as they came, where OpenAI's fields can't give them back:
    a client that echoes the message lets the conversation go on with them.
    """
    fields: dict[str, Any] = {}
    if thoughts := [block for block in blocks if block.get("type") in _THINKING]:
        fields["thinking_blocks"] = thoughts
    if annotations := _annotations(blocks):
        fields["annotations"] = annotations
    details: Mapping[str, Any] = message.get("stop_details") or {}
    if details.get("explanation"):
        fields["refusal"] = details["explanation"]
    specific = _ending(message)
    if not _is_plain(blocks):
        specific["content_blocks"] = blocks
    if specific:
        fields["provider_specific_fields"] = specific
    return fields


def _ending(message: Mapping[str, Any]) -> dict[str, Any]:
    """Give what OpenAI has no word for: a reason that `finish_reason` blurs, and whatever else is said."""
    said = {name: value for name, value in message.items() if name not in _READ and value is not None}
    if (reason := message.get("stop_reason")) is not None and reason not in _SAID_BY_FINISH_REASON:
        said["stop_reason"] = reason
    return said


_READ = frozenset({"type", "role", "id", "model", "content", "stop_reason"})


def _is_plain(blocks: Sequence[Block]) -> bool:
    """Say whether thinking, one text and calls, in this order, are all there is, with nothing more to them."""
    ranks = [_ORDER.get(str(block.get("type"))) for block in blocks]
    known = [rank for rank in ranks if rank is not None]
    if len(known) < len(ranks) or known != sorted(known) or known.count(_ORDER["text"]) > 1:
        return False
    return all(not block.get("citations") and _is_direct(block) and _is_known(block) for block in blocks)


def _is_direct(block: Block) -> bool:
    caller: Mapping[str, Any] = block.get("caller") or {}
    return caller.get("type", "direct") == "direct"


def _is_known(block: Block) -> bool:
    return {name for name, value in block.items() if value is not None} <= _FIELDS[block["type"]]


def _text(block: Block) -> str:
    if is_answer(block):
        return write_json(block.get("input") or {}).decode()
    return (block.get("text") or "") if block.get("type") == "text" else ""


def _annotations(blocks: Iterable[Block]) -> list[dict[str, Any]]:
    """Give the pages that texts cite, with the cited text's place in the whole."""
    annotations: list[dict[str, Any]] = []
    start = 0
    for block in blocks:
        end = start + len(_text(block))
        for citation in block.get("citations") or ():
            if annotation := _annotation(citation, start, end):
                annotations.append(annotation)
        start = end
    return annotations


def _annotation(citation: Mapping[str, Any], start: int, end: int) -> dict[str, Any] | None:
    url = citation.get("url") or citation.get("source")
    if citation.get("type") not in _CITED_PAGES or not url:
        return None
    cited = {"url": url, "title": citation.get("title") or url, "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": cited}

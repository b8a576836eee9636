"""What a recorded message says, in OpenAI's words, read from Anthropic's documentation alone.

It shares no code with the decoders that it is to check. Sources:
https://platform.claude.com/docs/en/api/messages/create#response,
https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons and
https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance
"""

import json
from typing import Any

Json = dict[str, Any]

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
TIERS = {"standard": "default", "priority": "priority"}
WEB_PAGES = ("web_search_result_location", "search_result_location")


def reading_of_message(message: Json) -> Json:
    """Say what the provider's message says."""
    blocks, usage = message["content"], message["usage"]
    thoughts = [block for block in blocks if block["type"] in ("thinking", "redacted_thinking")]
    return {
        "id": message["id"],
        "service_tier": TIERS.get(usage.get("service_tier")),
        "finish_reason": FINISH_REASONS[message["stop_reason"]],
        "text": "".join(block["text"] for block in blocks if block["type"] == "text"),
        "reasoning": "".join(block.get("thinking", "") for block in thoughts),
        "thinking_blocks": thoughts,
        "calls": [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"],
        "annotations": _cited_pages(blocks),
        "refusal": (message.get("stop_details") or {}).get("explanation"),
        "tokens": _tokens(usage),
    }


def _cited_pages(blocks: list[Json]) -> list[Json]:
    """Give the pages, each with the place of the text that cites it in the whole text."""
    pages: list[Json] = []
    before = ""
    for block in blocks:
        if block["type"] == "text":
            for citation in block.get("citations") or []:
                if citation["type"] in WEB_PAGES:
                    place = {"start_index": len(before), "end_index": len(before + block["text"])}
                    url = citation.get("url") or citation["source"]
                    pages.append({"url": url, "title": citation["title"], **place})
            before += block["text"]
    return pages


def _tokens(usage: Json) -> Json:
    """Count: what was cached is beside `input_tokens`, and what compacting took is beside all of them."""
    parts = [usage, *[part for part in usage.get("iterations") or [] if part["type"] == "compaction"]]
    read = sum(part.get("cache_read_input_tokens") or 0 for part in parts)
    written = sum(part.get("cache_creation_input_tokens") or 0 for part in parts)
    fresh = sum(part["input_tokens"] for part in parts)
    output = sum(part["output_tokens"] for part in parts)
    return {
        "prompt": fresh + read + written,
        "completion": output,
        "total": fresh + read + written + output,
        "cached": read,
        "written": written,
        "reasoning": (usage.get("output_tokens_details") or {}).get("thinking_tokens", 0),
    }


def reading_of_completion(completion: Json) -> Json:
    """Say what a client's completion says."""
    (choice,) = completion["choices"]
    message, usage = choice["message"], completion["usage"]
    prompt, output = usage["prompt_tokens_details"], usage["completion_tokens_details"]
    return {
        "id": completion["id"],
        "service_tier": completion.get("service_tier"),
        "finish_reason": choice["finish_reason"],
        "text": message.get("content") or "",
        "reasoning": message.get("reasoning_content", ""),
        "thinking_blocks": message.get("thinking_blocks", []),
        "calls": [_call(call) for call in message.get("tool_calls") or []],
        "annotations": [annotation["url_citation"] for annotation in message.get("annotations") or []],
        "refusal": message.get("refusal"),
        "tokens": {
            "prompt": usage["prompt_tokens"],
            "completion": usage["completion_tokens"],
            "total": usage["total_tokens"],
            "cached": prompt["cached_tokens"],
            "written": prompt["cache_write_tokens"],
            "reasoning": output["reasoning_tokens"],
        },
    }


def _call(call: Json) -> tuple[str, str, Any]:
    arguments = call["function"]["arguments"]
    try:
        return call["id"], call["function"]["name"], json.loads(arguments)
    except json.JSONDecodeError:  # it was cut off
        return call["id"], call["function"]["name"], arguments

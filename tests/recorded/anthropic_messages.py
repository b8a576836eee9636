"""A stream of Messages events put together as the message that an answer without streaming is.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

import json
from typing import Any

Json = dict[str, Any]

_TEXTS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def streams_of(content: bytes) -> list[list[Json]]:
    """Read the events of a stream, or of several that were recorded as one."""
    events = [json.loads(line[5:]) for line in content.decode().splitlines() if line.startswith("data:")]
    ends = [position + 1 for position, event in enumerate(events) if event["type"] == "message_stop"]
    starts = [0, *ends]
    return [events[start:end] for start, end in zip(starts, [*ends, len(events)], strict=True) if start < end]


def message_of(events: list[Json]) -> Json:
    """Put the events together."""
    message: Json = {}
    inputs: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                _apply(message["content"][event["index"]], event["delta"], inputs, event["index"])
            case "message_delta":
                rest = {name: value for name, value in event.items() if name not in ("type", "usage", "delta")}
                counts = {name: count for name, count in event["usage"].items() if count is not None}
                message |= {**rest, **event["delta"], "usage": message["usage"] | counts}
            case _:
                pass
    for index, text in inputs.items():
        message["content"][index]["input"] = _parsed(text)
    return message


def _parsed(text: str) -> Any:
    """Parse an input; one that was cut off stays a text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _apply(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    match delta["type"]:
        case "input_json_delta":
            if delta["partial_json"]:
                inputs[index] = inputs.get(index, "") + delta["partial_json"]
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or []), delta["citation"]]
        case "compaction_delta":
            block |= {name: value for name, value in delta.items() if name != "type" and value is not None}
        case kind:
            block[_TEXTS[kind]] = block.get(_TEXTS[kind], "") + delta[_TEXTS[kind]]

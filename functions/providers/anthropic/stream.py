"""A stream of Messages events as OpenAI's chunks.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from collections.abc import Mapping
from typing import Any

from functions.gateway.ports import Chunk
from functions.providers.anthropic.decode import finish_reason, usage_of


class AnthropicStream:
    """`StreamDecoder`: complete with `message_stop`. Usage comes with the first and the last event, cumulative."""

    def __init__(self) -> None:
        self.is_complete = False
        self._usage: dict[str, Any] = {}
        self._calls: dict[int, int] = {}  # content block → position among the tool calls
        self._has_arguments: set[int] = set()

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Give the chunks of an event; pings and unknown events have none."""
        match event.get("type"):
            case "message_start":
                return [self._start(event["message"])]
            case "content_block_start":
                return self._block_start(event["index"], event["content_block"])
            case "content_block_delta":
                return self._block_delta(event["index"], event["delta"])
            case "content_block_stop":
                return self._block_stop(event["index"])
            case "message_delta":
                return [self._end(event)]
            case "message_stop":
                self.is_complete = True
                return []
            case _:
                return []

    def _start(self, message: Mapping[str, Any]) -> Chunk:
        self._usage = dict(message["usage"])
        chunk = _chunk({"role": "assistant", "content": ""})
        chunk.usage = usage_of(self._usage)
        chunk.response_id, chunk.response_model = message.get("id"), message.get("model")
        return chunk

    def _block_start(self, block: int, content: Mapping[str, Any]) -> list[Chunk]:
        if content["type"] != "tool_use":
            return []
        self._calls[block] = len(self._calls)
        function = {"name": content["name"], "arguments": ""}
        call = {"index": self._calls[block], "id": content["id"], "type": "function", "function": function}
        return [_chunk({"tool_calls": [call]})]

    def _block_delta(self, block: int, delta: Mapping[str, Any]) -> list[Chunk]:
        match delta["type"]:
            case "text_delta":
                return [_chunk({"content": delta["text"]})]
            case "thinking_delta":
                return [_chunk({"reasoning_content": delta["thinking"]})]
            case "input_json_delta" if block in self._calls and delta["partial_json"]:
                self._has_arguments.add(block)
                return [self._arguments(block, delta["partial_json"])]
            case _:
                return []

    def _block_stop(self, block: int) -> list[Chunk]:
        """A call without arguments sends none, which is no JSON."""
        if block not in self._calls or block in self._has_arguments:
            return []
        return [self._arguments(block, "{}")]

    def _arguments(self, block: int, arguments: str) -> Chunk:
        return _chunk({"tool_calls": [{"index": self._calls[block], "function": {"arguments": arguments}}]})

    def _end(self, event: Mapping[str, Any]) -> Chunk:
        reported: Mapping[str, Any] = event.get("usage") or {}
        self._usage |= {name: count for name, count in reported.items() if count is not None}
        chunk = _chunk({}, finish_reason(event["delta"].get("stop_reason")))
        chunk.usage = usage_of(self._usage)
        return chunk


def _chunk(delta: dict[str, Any], finish: str | None = None) -> Chunk:
    return Chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish}])

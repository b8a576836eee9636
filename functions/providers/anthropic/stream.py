"""A stream of Messages events as OpenAI's chunks.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming
"""

from collections.abc import Mapping
from typing import Any

from functions.gateway.errors import UpstreamError
from functions.gateway.exact_json import read_json, write_json
from functions.gateway.ports import Chunk
from functions.providers.anthropic.blocks import extensions_of, finish_reason, is_answer, is_call
from functions.providers.anthropic.decode import refuse_nothing, said_of
from functions.providers.anthropic.usage import tier_of, usage_of

_AFTER_THE_START = frozenset({
    "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
})  # fmt: skip


class AnthropicStream:
    """`StreamDecoder`: complete with its stop reason. Usage comes with the first and the last event, cumulative.

    Text, thoughts and calls are passed on as they come. What OpenAI has no word for comes in one piece before the end,
    since clients add up what comes in several.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._has_begun = False
        self._is_over = False  # nothing follows, not even usage
        self._message: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._calls: dict[int, int] = {}  # content block → position among the tool calls
        self._has_text = False

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Give the chunks of an event; pings, unknown events and what follows the end have none."""
        kind = event.get("type")
        if self._is_over:
            return []
        if not self._has_begun and kind in _AFTER_THE_START:
            raise UpstreamError("broken_stream", f"{kind} came before the message had begun")
        match kind:
            case "content_block_delta":
                return self._block_delta(event["index"], event["delta"])
            case "content_block_start":
                return self._block_start(event["index"], event["content_block"])
            case "content_block_stop":
                return self._block_stop(event["index"])
            case "message_start":
                return self._start(event["message"])
            case "message_delta":
                return self._delta(event)
            case "message_stop":
                self._is_over = True
                return [] if self.is_complete else self._end()
            case _:
                return []

    def _start(self, message: Mapping[str, Any]) -> list[Chunk]:
        """A turn that another tool's run goes on with may come whole, inside its first event.

        Intermediaries that lose a connection were seen to go on with another message, or to repeat the first event:
        https://github.com/vercel/ai/issues/18331. Two messages in one can't be told apart by a client.
        """
        if self._has_begun:
            if message.get("id") == self._message.get("id"):
                return []
            raise UpstreamError("broken_stream", "another message began before the first had ended")
        self._has_begun = True
        self._message = {name: value for name, value in message.items() if name != "usage"}
        self._usage = dict(message.get("usage") or {})
        self._extra = tier_of(self._usage)
        chunk = self._chunk({"role": "assistant", "content": None})
        chunk.usage = usage_of(self._usage)
        chunk.response_id, chunk.response_model = message.get("id"), message.get("model")
        chunks = [chunk]
        for index, content in enumerate(message.get("content") or ()):
            chunks += self._block_start(index, content)
            chunks += self._block_stop(index)
        return chunks

    def _block_start(self, index: int, content: dict[str, Any]) -> list[Chunk]:
        self._blocks[index] = _Block(content)
        match content.get("type"):
            case "tool_use" if is_call(content):
                self._calls[index] = len(self._calls)
                function = {"name": content["name"], "arguments": ""}
                call = {"index": self._calls[index], "id": content["id"], "type": "function", "function": function}
                return [self._chunk({"tool_calls": [call]})]
            case "text" if content.get("text"):
                return [self._text(content["text"])]
            case "thinking" if content.get("thinking"):
                return [self._chunk({"reasoning_content": content["thinking"]})]
            case _:
                return []

    def _block_delta(self, index: int, delta: Mapping[str, Any]) -> list[Chunk]:
        block = self._blocks[index]
        block.add(delta)
        match delta.get("type"):
            case "text_delta" if delta.get("text"):
                return [self._text(delta["text"])]
            case "thinking_delta" if delta.get("thinking"):
                return [self._chunk({"reasoning_content": delta["thinking"]})]
            case "input_json_delta" if delta.get("partial_json"):
                return self._input(index, delta["partial_json"])
            case _:
                return []

    def _block_stop(self, index: int) -> list[Chunk]:
        """A call whose input came with its start, or that has none, sends no arguments; `{}` is some."""
        block = self._blocks[index]
        if block.has_input or block.content.get("type") != "tool_use":
            return []
        return self._input(index, write_json(block.content.get("input") or {}).decode())

    def _input(self, index: int, partial_json: str) -> list[Chunk]:
        if index in self._calls:
            call = {"index": self._calls[index], "function": {"arguments": partial_json}}
            return [self._chunk({"tool_calls": [call]})]
        return [self._text(partial_json)] if is_answer(self._blocks[index].content) else []

    def _text(self, text: str) -> Chunk:
        self._has_text = True
        return self._chunk({"content": text})

    def _delta(self, event: Mapping[str, Any]) -> list[Chunk]:
        """The fields of the message's end come beside its `delta` as well as inside."""
        reported: Mapping[str, Any] = event.get("usage") or {}
        self._usage |= {name: count for name, count in reported.items() if count is not None}
        self._extra |= tier_of(self._usage)
        beside = {name: value for name, value in event.items() if name not in ("type", "delta", "usage")}
        self._message |= beside | event["delta"]
        if event["delta"].get("stop_reason") is not None and not self.is_complete:
            return self._end()
        return [Chunk(choices=[], usage=usage_of(self._usage))]

    def _end(self) -> list[Chunk]:
        self.is_complete = True
        blocks = [block.whole() for _, block in sorted(self._blocks.items())]
        stop_reason = self._message.get("stop_reason")
        refuse_nothing(stop_reason, blocks)
        fields = extensions_of(blocks, said_of(self._message, self._usage))
        if not self._has_text and not self._calls:
            fields["content"] = ""
        end = self._chunk({}, finish_reason(stop_reason, blocks))
        end.usage = usage_of(self._usage)
        return [self._chunk(fields), end] if fields else [end]

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> Chunk:
        return Chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish}], extra=self._extra)


class _Block:
    """A content block as it grows."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.has_input = False
        self._pieces: dict[str, list[str]] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take a delta: its texts continue the block's own, a citation joins the list of them."""
        for name, value in delta.items():
            if name == "type" or value is None:
                continue
            if name == "citation":
                self.content["citations"] = [*(self.content.get("citations") or ()), value]
            elif isinstance(value, str):
                self.has_input = self.has_input or (name == "partial_json" and bool(value))
                self._pieces.setdefault(name, []).append(value)
            else:
                self.content[name] = value

    def whole(self) -> dict[str, Any]:
        """Give the block as an answer that isn't streamed has it."""
        block = self.content
        for name, pieces in self._pieces.items():
            if name == "partial_json":
                block["input"] = _parsed("".join(pieces)) if self.has_input else block.get("input")
            else:
                block[name] = (block.get(name) or "") + "".join(pieces)
        return block


def _parsed(text: str) -> Any:
    """Parse a tool's input; one that was cut off or is no JSON stays a text."""
    try:
        return read_json(text)
    except ValueError:
        return text

"""A stream of generateContent responses as OpenAI's chunks.

Source: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent
"""

from collections.abc import Callable, Mapping
from typing import Any

from functions.gateway.ports import Chunk
from functions.providers.google.decode import blocked_prompt, finish_reason, parts_of, tool_call, usage_of


class GoogleStream:
    """`StreamDecoder`: complete once a finish reason was seen; the wire has no other end."""

    def __init__(self, new_call_id: Callable[[], str]) -> None:
        self.is_complete = False
        self._new_call_id = new_call_id
        self._calls: dict[int, int] = {}  # candidate → tool calls so far

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Give one chunk for a response: its parts as one delta for each candidate."""
        candidates: list[dict[str, Any]] = event.get("candidates") or []
        if event.get("promptFeedback") and not candidates:
            candidates = blocked_prompt(event)
        metadata = event.get("usageMetadata")
        return [
            Chunk(
                choices=[self._choice(candidate) for candidate in candidates],
                usage=usage_of(metadata) if metadata else None,
                response_id=event.get("responseId"),
                response_model=event.get("modelVersion"),
            )
        ]

    def _choice(self, candidate: Mapping[str, Any]) -> dict[str, Any]:
        index: int = candidate.get("index") or 0
        delta = {} if index in self._calls else {"role": "assistant"}
        self._calls.setdefault(index, 0)
        for part in parts_of(candidate):
            self._add(part, index, delta)
        reason = candidate.get("finishReason")
        self.is_complete = self.is_complete or bool(reason)
        finish = finish_reason(reason, has_calls=self._calls[index] > 0) if reason else None
        return {"index": index, "delta": delta, "finish_reason": finish}

    def _add(self, part: Mapping[str, Any], index: int, delta: dict[str, Any]) -> None:
        if "functionCall" in part:
            call = tool_call(part["functionCall"], self._new_call_id)
            delta.setdefault("tool_calls", []).append({"index": self._calls[index], **call})
            self._calls[index] += 1
        elif "text" in part:
            name = "reasoning_content" if part.get("thought") else "content"
            delta[name] = delta.get(name, "") + part["text"]

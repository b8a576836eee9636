"""A stream of `chat.completion.chunk`s, evened out: what a client adds up must come once.

Source: https://platform.openai.com/docs/api-reference/chat/streaming
"""

from typing import Any

from functions.gateway.ports import Chunk
from functions.providers.calls import new_call_id
from functions.providers.openai.decode import (
    FINISH_REASONS,
    arguments_text,
    extra_of,
    finish_reason,
    put_text,
    usage_details,
    usage_of,
)


class OpenAIStream:
    """`StreamDecoder`: complete with `[DONE]`, or, as some servers send none, once every choice has its reason."""

    def __init__(self) -> None:
        self.is_complete = False
        self._open: set[int] = set()  # choices that have begun and not ended
        self._begun: set[int] = set()
        self._calls: dict[tuple[int, int], str] = {}  # (choice, position) → id
        self._created: int | None = None
        self._waiting: dict[str, Any] = {}  # what came before the first choice, such as Azure's prompt_filter_results

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Give one chunk."""
        if event.get("type") == "[DONE]":
            self.is_complete = True
            return []
        choices = [self._choice(position, choice) for position, choice in enumerate(event.get("choices") or ())]
        self.is_complete = bool(self._begun) and not self._open
        self._created = self._created or event.get("created")
        usage = event.get("usage")
        return [
            Chunk(
                choices=choices,
                usage=usage_of(usage),
                response_id=event.get("id"),
                response_model=event.get("model"),
                created=self._created,
                usage_details=usage_details(usage),
                extra=self._extra(event, has_choices=bool(choices)),
            )
        ]

    def _extra(self, event: dict[str, Any], *, has_choices: bool) -> dict[str, Any]:
        extra = extra_of(event)
        if not has_choices:
            self._waiting |= extra
        elif self._waiting:
            extra, self._waiting = self._waiting | extra, {}
        return extra

    def _choice(self, position: int, choice: dict[str, Any]) -> dict[str, Any]:
        index: int = choice.setdefault("index", position)
        delta: dict[str, Any] = choice.get("delta") or {}
        choice["delta"] = delta
        self._put_role(index, delta)
        put_text(delta)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            self._put_call(index, place, call)
        self._put_reason(index, choice, delta)
        return choice

    def _put_role(self, index: int, delta: dict[str, Any]) -> None:
        """Give the role once: some servers repeat it, some never say it."""
        if index in self._begun:
            delta.pop("role", None)
            return
        self._begun.add(index)
        self._open.add(index)
        delta["role"] = "assistant"

    def _put_call(self, index: int, place: int, call: dict[str, Any]) -> None:
        """Give a call's id, type and name once, as clients append them; some servers repeat them in every piece."""
        at: int = call.setdefault("index", place)
        function: dict[str, Any] = call.get("function") or {}
        if "arguments" in function:
            function["arguments"] = "" if function["arguments"] is None else arguments_text(function["arguments"])
        known = self._calls.get((index, at))
        if known is None:
            call["id"] = self._calls[index, at] = call.get("id") or new_call_id()
            call.setdefault("type", "function")
        elif call.get("id") in (None, "", known):
            call.pop("id", None)
            call.pop("type", None)
            function.pop("name", None)

    def _put_reason(self, index: int, choice: dict[str, Any], delta: dict[str, Any]) -> None:
        reason = choice.get("finish_reason") or None
        if reason is not None:
            self._open.discard(index)
            if reason not in FINISH_REASONS:
                reason = finish_reason(reason, delta, has_calls=any(choice == index for choice, _ in self._calls))
        choice["finish_reason"] = reason

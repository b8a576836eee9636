"""A stream of `chat.completion.chunk`s, evened out: what a client adds up must come once.

Source: https://platform.openai.com/docs/api-reference/chat/streaming
"""

from typing import Any

from functions.gateway.ports import Chunk
from functions.providers.calls import new_call_id
from functions.providers.openai.decode import (
    FINISH_REASONS,
    arguments_text,
    created_of,
    extra_of,
    finish_reason,
    name_of,
    put_text,
    refuse_failure,
    require_shapes,
    usage_details,
    usage_of,
)


class OpenAIStream:
    """`StreamDecoder`: complete once every choice that has begun has its reason.

    `[DONE]` says no more: some servers send none, and some send it after an answer that was cut off.
    """

    def __init__(self) -> None:
        self.is_complete = False
        self._open: set[int] = set()  # choices that have begun and not ended
        self._begun: set[int] = set()
        self._calls: dict[tuple[int, int], str] = {}  # (choice, position) → id
        self._named: set[tuple[int, int]] = set()  # of these, those whose name was given
        self._places: dict[tuple[int, int], int] = {}  # (choice, the server's index) → position of its last call
        self._created: int | None = None
        self._waiting: dict[str, Any] = {}  # what came before the first choice, such as Azure's prompt_filter_results

    def decode(self, event: dict[str, Any]) -> list[Chunk]:
        """Give one chunk."""
        if event.get("type") == "[DONE]":
            return []
        choices = [self._choice(position, choice) for position, choice in enumerate(event.get("choices") or ())]
        self.is_complete = bool(self._begun) and not self._open
        self._created = self._created or created_of(event)
        usage = event.get("usage")
        return [
            Chunk(
                choices=choices,
                usage=usage_of(usage),
                response_id=name_of(event.get("id")),
                response_model=name_of(event.get("model")),
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
        if choice.get("index") is None:
            choice["index"] = position
        index: int = choice["index"]
        choice["delta"] = delta = self._delta(index, choice)
        require_shapes(delta)
        self._put_role(index, delta)
        put_text(delta)
        for place, call in enumerate(delta.get("tool_calls") or ()):
            self._put_call(index, place, call)
        self._put_reason(index, choice, delta)
        return choice

    def _delta(self, index: int, choice: dict[str, Any]) -> dict[str, Any]:
        """Give the delta. A `message` beside it repeats what was said; alone, and first, it is the whole answer."""
        message: dict[str, Any] | None = choice.pop("message", None)
        delta: dict[str, Any] | None = choice.get("delta")
        if delta is None and index not in self._begun:
            delta = message
        return delta or {}

    def _put_role(self, index: int, delta: dict[str, Any]) -> None:
        """Give the role once: some servers repeat it, some never say it."""
        if index in self._begun:
            delta.pop("role", None)
            return
        self._begun.add(index)
        self._open.add(index)
        delta["role"] = "assistant"

    def _put_call(self, index: int, place: int, call: dict[str, Any]) -> None:
        """Number the calls in the order of their coming, and give the id, type and name of each once.

        Clients append all three, find a call by its number, and count on a `function`. Some servers repeat them in
        every piece, number with gaps or from one, or give every call the number 0.
        """
        kind = "custom" if "custom" in call or call.get("type") == "custom" else "function"
        function: dict[str, Any] = call.get(kind) or {}
        call[kind] = function
        if "arguments" in function:
            function["arguments"] = "" if function["arguments"] is None else arguments_text(function["arguments"])
        theirs = place if call.get("index") is None else call["index"]
        at, call_id = self._places.get((index, theirs)), call.get("id") or None
        if at is None or (call_id and function.get("name") and call_id != self._calls[index, at]):
            at = self._places[index, theirs] = sum(choice == index for choice, _ in self._calls)
            call["id"] = self._calls[index, at] = call_id or new_call_id()
            call["type"] = call.get("type") or kind
        else:
            call.pop("id", None)
            call.pop("type", None)
        if function.get("name") and (index, at) not in self._named:
            self._named.add((index, at))
        else:
            function.pop("name", None)
        call["index"] = at

    def _put_reason(self, index: int, choice: dict[str, Any], delta: dict[str, Any]) -> None:
        reason = choice.get("finish_reason") or None
        if reason is not None:
            self._open.discard(index)
            if reason not in FINISH_REASONS:
                refuse_failure(choice)
                reason = finish_reason(reason, delta, has_calls=any(choice == index for choice, _ in self._calls))
        choice["finish_reason"] = reason

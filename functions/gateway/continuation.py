"""Going on with a stream that broke off: what the next deployment is asked, and what of its answer is new."""

from dataclasses import replace
from typing import Any

from functions.gateway.estimates import tokens_of
from functions.gateway.ports import ChatRequest, Chunk

_SHORTEST_OVERLAP = 8  # characters; a shorter one may be chance
_LIMITS = ("max_tokens", "max_completion_tokens")
_GO_ON = (
    "Your answer was cut off in transmission. Continue it from exactly where it stops, with the very next character (a "
    "space too, if one is due). Do not repeat any of it, do not comment on this, and do not start over."
)


def can_continue(request: ChatRequest) -> bool:
    """Say whether another model can go on with half an answer to this.

    It can't where the whole has to be one JSON value, and several choices, log-probabilities or sound don't fit
    together.
    """
    body = request.body
    response_format: dict[str, Any] = body.get("response_format") or {}
    is_text = response_format.get("type", "text") == "text" and "audio" not in (body.get("modalities") or ())
    return is_text and (body.get("n") or 1) == 1 and not body.get("logprobs")


def continuing(request: ChatRequest, said: str) -> ChatRequest:
    """Give the request that asks to go on after `said`; where nothing was, the request itself."""
    if not said:
        return request
    turns = [{"role": "assistant", "content": said}, {"role": "user", "content": _GO_ON}]
    body: dict[str, Any] = {**request.body, "messages": [*request.body["messages"], *turns]}
    for limit in _LIMITS:
        if body.get(limit):
            body[limit] = max(1, body[limit] - tokens_of(said))
    return replace(request, body=body, legacy_body=None)


class Continuation:
    """Joins the chunks that go on to what was `said`: the role is given once, and what is repeated is taken off."""

    def __init__(self, said: str) -> None:
        self._before = said
        self._overlap = Overlap(said)
        self._new: list[str] = []

    @property
    def said(self) -> str:
        """The whole text that the client has."""
        return self._before + "".join(self._new)

    def joined(self, chunk: Chunk) -> Chunk:
        """Give the chunk as the client may add it; its choices are gone where nothing of it is new."""
        for choice in chunk.choices:
            delta: dict[str, Any] = choice.get("delta") or {}
            delta.pop("role", None)
            text = self._overlap.feed(delta.pop("content", None) or "")
            if any(delta.values()) or choice.get("finish_reason"):
                text += self._overlap.end()
            if text:
                delta["content"] = text
                self._new.append(text)
            choice["delta"] = delta
        if not any(any(choice["delta"].values()) or choice.get("finish_reason") for choice in chunk.choices):
            chunk.choices = []
        return chunk


class Overlap:
    """Takes off a continuation's beginning what repeats the end of what was `said`, wherever it was cut into pieces."""

    def __init__(self, said: str) -> None:
        self._said = said
        self._held = ""
        self._is_open = bool(said)

    def feed(self, piece: str) -> str:
        """Take the next piece; give what is known to be new. As long as it may all be a repetition, that is nothing."""
        if not self._is_open:
            return piece
        self._held += piece
        return "" if self._held in self._said else self.end()

    def end(self) -> str:
        """Give what is held back, as far as it is new; no more is compared."""
        self._is_open = False
        held, self._held = self._held, ""
        return held[_repeated(self._said, held) :]


def _repeated(said: str, text: str) -> int:
    """Count the characters at the text's beginning that are also the end of what was said: all of that, or enough."""
    if said and text.startswith(said):
        return len(said)
    start = text[:_SHORTEST_OVERLAP]
    at = said.find(start) if len(start) == _SHORTEST_OVERLAP else -1
    while at >= 0:
        if text.startswith(said[at:]):
            return len(said) - at
        at = said.find(start, at + 1)
    return 0

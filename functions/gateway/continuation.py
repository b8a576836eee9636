"""Going on with a stream that broke off: what the next deployment is asked, and what of its answer is new."""

from dataclasses import replace
from typing import Any

from functions.gateway.estimates import tokens_of
from functions.gateway.ports import ChatRequest, Chunk

# Characters; a shorter likeness may be chance: the next table cell, a digit, an indentation. It is better to leave a
# repetition in than to lose what was meant twice.
_SHORTEST_OVERLAP = 8
_SHORTEST_WORD = 4
_COMPARISON_ENDS = ("tool_calls", "function_call", "refusal")  # beside the text, thoughts may come before it
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
            if any(delta.get(name) for name in _COMPARISON_ENDS) or choice.get("finish_reason"):
                text += self._overlap.end()
            if text:
                delta["content"] = text
                self._new.append(text)
            choice["delta"] = delta
        if not any(any(choice["delta"].values()) or choice.get("finish_reason") for choice in chunk.choices):
            chunk.choices = []
        return chunk


class Overlap:
    """Takes off a continuation's beginning what repeats the end of what was `said`, wherever it was cut into pieces.

    What is held back is always a part of what was said, so that only its place is kept: the first that fits. When the
    next piece doesn't fit there any more, a later one is looked for. All of it costs about as much as reading both
    texts once, however they repeat themselves.
    """

    def __init__(self, said: str) -> None:
        self._said = said
        self._is_open = bool(said)
        self._at = 0
        self._held = 0

    def feed(self, piece: str) -> str:
        """Take the next piece; give what is known to be new. As long as it may all be a repetition, that is nothing."""
        if not self._is_open:
            return piece
        if not self._said.startswith(piece, self._at + self._held):
            text = self._text() + piece
            later = self._said.find(text, self._at + 1)
            if later < 0:
                return self._new_of(text)
            self._at = later
        self._held += len(piece)
        return ""

    def end(self) -> str:
        """Give what is held back, as far as it is new; no more is compared."""
        return self._new_of(self._text()) if self._is_open else ""

    def _text(self) -> str:
        return self._said[self._at : self._at + self._held]

    def _new_of(self, text: str) -> str:
        self._is_open = False
        return text[_repeated(self._said, text) :]


def _repeated(said: str, text: str) -> int:
    """Count the characters at the text's beginning that repeat the end of what was said, and not by chance."""
    count = longest_overlap(said, text, at_least=_SHORTEST_OVERLAP)
    if count and _is_distinct(text[:count], said):
        return count
    return _repeated_word(said, text) or _repeated_blank(said, text)


def _repeated_word(said: str, text: str) -> int:
    """Count the characters of a last word that is begun anew: "brown" and "brown fox" do not mean "brownbrown fox"."""
    last = "" if said[-1:].isspace() else said.split()[-1]
    return len(last) if len(last) >= _SHORTEST_WORD and last.isalpha() and text.startswith(last) else 0


def _repeated_blank(said: str, text: str) -> int:
    """Count the one blank between two words that comes twice; several of them, or at a line's start, indent."""
    ends_a_word = said[-1:] == " " and not said[-2:-1].isspace()
    begins_a_word = text[:1] == " " and not text[1:2].isspace()
    return 1 if ends_a_word and begins_a_word else 0


def _is_distinct(repeated: str, said: str) -> bool:
    """Say whether a text was said once, and is not itself a repetition: of dots or dashes, or of a table's cells."""
    half = repeated[: len(repeated) // 2]
    return said.find(repeated) == len(said) - len(repeated) and repeated.find(half, 1) < 0


def longest_overlap(said: str, text: str, *, at_least: int) -> int:
    """Count the characters of the text's longest beginning that what was said ends with; of a shorter one, 0.

    Where the first place that it may begin at is not it, the others are tried at once, as Knuth, Morris and Pratt do.
    """
    tail = said[-len(text) :] if text else ""
    first = tail.find(text[:at_least])
    if first < 0 or len(tail) - first < at_least:
        return 0
    tail = tail[first:]
    if text.startswith(tail):
        return len(tail)
    beginning = text[: len(tail)]
    shorter = _borders(beginning)
    count = 0
    for character in tail:
        while count and beginning[count] != character:
            count = shorter[count - 1]
        count += beginning[count] == character
    return count if count >= at_least else 0


def _borders(text: str) -> list[int]:
    """Give, for each beginning of the text, the length of the longest shorter one that it ends with."""
    borders, count = [0] * len(text), 0
    for at in range(1, len(text)):
        while count and text[at] != text[count]:
            count = borders[count - 1]
        count += text[at] == text[count]
        borders[at] = count
    return borders

"""What the sandbox answers, whatever the wire: deterministic, labelled, with token counts by bytes."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.local.sandbox.directives import NO_DIRECTIVES, Directives, without_directives

_BYTES_PER_TOKEN = 4
_CALL_WORDS = "use the tool"
THOUGHT = "The sandbox is thinking."
SIGNATURE = "c2FuZGJveC9zaWduYXR1cmU+Pz8="  # base64 with what URLs don't take


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request, read from its wire. `tools` are `(name, JSON schema)`; `result` is a tool's, if last."""

    provider: str
    model: str
    user_text: str
    input_text: str
    directives: Directives = NO_DIRECTIVES
    tools: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    must_call: bool = False
    result: str | None = None
    max_tokens: int | None = None
    is_stream: bool = False
    is_thinking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: a text, or a call of a tool. `finish` is `stop`, `length` or `call`."""

    text: str
    call: tuple[str, dict[str, Any]] | None
    finish: str
    input_tokens: int
    output_tokens: int

    def pieces(self) -> list[str]:
        """Give the text word by word, as a stream would."""
        words = self.text.split(" ")
        return [word if position == 0 else f" {word}" for position, word in enumerate(words)]


def reply_to(question: Question) -> Reply:
    """Answer."""
    input_tokens = tokens_of(question.input_text)
    if _wants_call(question):
        name, schema = question.tools[0]
        arguments = _example(schema)
        return _reply(question, "", (name, arguments), "call", input_tokens, tokens_of(str(arguments)))
    said = without_directives(question.user_text)
    told = f"The tool said: {question.result}" if question.result is not None else f"You said: {said}"
    text = f"[sandbox {question.provider} {question.model}] {told}"
    whole = tokens_of(text)
    if question.max_tokens is not None and whole > question.max_tokens:
        cut = text.encode()[: question.max_tokens * _BYTES_PER_TOKEN].decode(errors="ignore")
        return _reply(question, cut, None, "length", input_tokens, question.max_tokens)
    return _reply(question, text, None, "stop", input_tokens, whole)


def vector_of(text: str, size: int) -> list[float]:
    """Give a text's vector: made from its hash, of length 1, the same each time."""
    digest = hashlib.shake_256(text.encode()).digest(2 * size)
    numbers = [int.from_bytes(digest[at : at + 2], "big") / 32768 - 1 for at in range(0, 2 * size, 2)]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return [number / length for number in numbers]


def tokens_of(text: str) -> int:
    """Count a text's tokens: four bytes each, rounded up."""
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _reply(
    question: Question, text: str, call: tuple[str, dict[str, Any]] | None, finish: str, input_tokens: int, output: int
) -> Reply:
    told = question.directives.tokens
    output_tokens = output if told is None else min(told, question.max_tokens or told)
    return Reply(text=text, call=call, finish=finish, input_tokens=input_tokens, output_tokens=output_tokens)


def _wants_call(question: Question) -> bool:
    if not question.tools or question.result is not None:
        return False
    return question.must_call or _CALL_WORDS in question.user_text.lower()


def _example(schema: Mapping[str, Any]) -> Any:
    """Make up a value of a JSON schema."""
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: _example(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_example(schema.get("items", {}))]
        case "integer":
            return 1
        case "number":
            return 1.5
        case "boolean":
            return True
        case _:
            return "example"

"""The three wires, as the faulty upstream speaks them: one and the same right answer on each, event by event."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from infra.local.sandbox import anthropic, google, openai
from infra.local.sandbox.reply import Question, Reply, tokens_of

WIRES = ("openai", "anthropic", "gemini")
CALL = ("weather", {"city": "Reykjavik", "unit": "celsius"})
_MODULES: Mapping[str, ModuleType] = {"openai": openai, "anthropic": anthropic, "gemini": google}
_WORDS = "one two three four five six seven eight nine ten eleven twelve"
_NO_PREFILL = "This model does not support assistant message prefill. The conversation must end with a user message."
_ANSWERED = ("choices", "content", "candidates", "promptFeedback")
_EMPTY_EVENTS = {
    "openai": [{"choices": []}, {"choices": [{"index": 0, "delta": {}, "finish_reason": None}]}],
    "anthropic": [{"type": "ping"}],
    "gemini": [{"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}]}],
}


Usage = tuple[int | None, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, read: the sandbox's reading of it, and what of the answer was said already."""

    wire: str
    question: Question
    prompt: str
    said: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a good stream. `usage`, input and output tokens, is what it reports; `None` is as before."""

    data: bytes
    text: str = ""
    usage: Usage | None = None


def right_answer(prompt: str) -> str:
    """Give the text that every model answers with."""
    return f"The answer to {prompt} is: {_WORDS}."


def wire_of(path: str) -> str | None:
    """Say whose wire a path belongs to."""
    if path.endswith("/chat/completions"):
        return "openai"
    if path.endswith("/messages"):
        return "anthropic"
    return "gemini" if "/models/" in path else None


def deployment_of(path: str) -> str:
    """Name the deployment that is meant: by the path's first part, or after `--` in the name of Gemini's model.

    The latter spares the gateway a client for each of Google's deployments, which takes 100 ms to make.
    """
    model = path.rpartition("/")[2].partition(":")[0]
    return model.partition("--")[2] or path.split("/")[1]


def read(wire: str, body: dict[str, Any], path: str) -> Asked:
    """Read a request."""
    question: Question = _MODULES[wire].question(body, path)
    turns: list[dict[str, Any]] = body["contents" if wire == "gemini" else "messages"]
    prompts = [_text(turn) for turn in turns if turn.get("role", "user") == "user"]
    said = [_text(turn) for turn in turns if turn.get("role") in ("assistant", "model")]
    return Asked(wire, question, prompts[0] if prompts else "", said[-1] if said else "")


def refusal(asked: Asked, body: Mapping[str, Any]) -> str | None:
    """Say what the API would refuse, such as an assistant's turn at the end of Claude's conversation."""
    if asked.wire == "anthropic" and body["messages"][-1]["role"] == "assistant":
        return _NO_PREFILL
    return _MODULES[asked.wire].refusal(body, asked.question)


def reply_to(asked: Asked, *, repeated_words: int = 0) -> Reply:
    """Answer rightly: whole, or from where the answer had come to, less or more the words that are repeated."""
    text = right_answer(asked.prompt)
    call = CALL if asked.question.tools else None
    if asked.said and text.startswith(asked.said) and call is None:
        words = asked.said.split(" ")
        known = " ".join(words[: len(words) - repeated_words])
        text = text[len(known) :]
    written = json.dumps(CALL[1]) if call else text
    return Reply(
        text="" if call else text,
        call=call,
        finish="call" if call else "stop",
        input_tokens=input_tokens(asked),
        output_tokens=tokens_of(written),
    )


def input_tokens(asked: Asked) -> int:
    """Count what was asked, tools included."""
    return tokens_of(asked.question.input_text) + sum(tokens_of(str(tool)) for tool in asked.question.tools)


def whole(asked: Asked, reply: Reply, answer_id: str) -> dict[str, Any]:
    """Render an answer."""
    return _MODULES[asked.wire].whole(asked.question, reply, answer_id)


def without_usage(value: Any) -> Any:
    """Give an answer, or an event, without what it reports of its tokens."""
    if isinstance(value, list):
        return [without_usage(item) for item in value]
    if isinstance(value, dict):
        return {name: without_usage(item) for name, item in value.items() if name not in ("usage", "usageMetadata")}
    return value


def events_of(asked: Asked, reply: Reply, answer_id: str) -> Iterator[Event]:
    """Render an answer's events; of Google's, the usage grows with the text, as the real one's does."""
    written = ""
    for data in _MODULES[asked.wire].stream(asked.question, reply, answer_id):
        for piece in _split_call(data):
            value = value_of(piece)
            text = text_of(value)
            written += text
            if "usageMetadata" in value and text:
                value["usageMetadata"]["candidatesTokenCount"] = tokens_of(written)
                piece = event_with(piece, value)
            yield Event(piece, text, usage_in(value))


def value_of(data: bytes) -> dict[str, Any]:
    """Read an event's JSON; `[DONE]` has none."""
    payload = data.partition(b"data: ")[2].strip()
    return {} if payload == b"[DONE]" else json.loads(payload)


def event_with(data: bytes, value: Any) -> bytes:
    """Give an event another value."""
    head = data.partition(b"data: ")[0]
    return head + b"data: " + json.dumps(value).encode() + (b"\r\n\r\n" if data.endswith(b"\r\n") else b"\n\n")


def empty_events(wire: str) -> list[bytes]:
    """Give events that say nothing."""
    values = [f"data: {json.dumps(value)}\n\n".encode() for value in _EMPTY_EVENTS[wire]]
    return [b": keep-alive\n\n", b"data:\n\n", b"data: \n\n", *values]


def without_usage_event(event: Event) -> Event | None:
    """Give an event without its usage, or nothing where it is of nothing else."""
    value = value_of(event.data)
    if event.usage is None:
        return event
    if value.get("choices") == []:
        return None
    return replace(event, data=event_with(event.data, without_usage(value)), usage=None)


def error(wire: str, status: int, message: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Give the body and headers of an error answer."""
    return _MODULES[wire].error(status, message)


def error_event(wire: str) -> bytes:
    """Give the event of a failure in a stream."""
    return _MODULES[wire].error_event()


def _text(turn: Mapping[str, Any]) -> str:
    content: Any = turn.get("content", turn.get("parts"))
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def _split_call(data: bytes) -> list[bytes]:
    """Send a call's input of Claude's in two halves, so that it can be cut in the middle."""
    value = value_of(data)
    partial: str = value.get("delta", {}).get("partial_json", "") if value.get("type") else ""
    if not partial:
        return [data]
    halves = (partial[: len(partial) // 2], partial[len(partial) // 2 :])
    return [event_with(data, {**value, "delta": {**value["delta"], "partial_json": half}}) for half in halves]


def text_of(value: Mapping[str, Any]) -> str:
    """Give what the model wrote in an event, a call's arguments included."""
    delta: dict[str, Any] = value.get("delta") or (value.get("choices") or [{}])[0].get("delta") or {}
    written = [delta.get(name) for name in ("content", "text", "partial_json")]
    written += [call.get("function", {}).get("arguments") for call in delta.get("tool_calls") or ()]
    for candidate in value.get("candidates") or ():
        for part in candidate["content"]["parts"]:
            written.append(json.dumps(part["functionCall"]["args"]) if "functionCall" in part else part.get("text"))
    return "".join(text for text in written if text)


def is_answer(body: str) -> bool:
    """Say whether a body that was made up is an answer of any wire, good or bad."""
    try:
        value = json.loads(body)
    except ValueError:
        return False
    return isinstance(value, dict) and not value.keys().isdisjoint(
        ("choices", "content", "candidates", "promptFeedback")
    )


def usage_in(value: Mapping[str, Any]) -> Usage | None:
    """Give what an answer or an event reports."""
    metadata: dict[str, int] = value.get("usageMetadata") or {}
    if "promptTokenCount" in metadata:
        output_tokens = metadata.get("candidatesTokenCount", 0) + metadata.get("thoughtsTokenCount", 0)
        return metadata["promptTokenCount"], output_tokens
    usage: dict[str, int] = value.get("usage") or value.get("message", {}).get("usage") or {}
    if not usage:
        return None
    input_tokens = usage.get("prompt_tokens", usage.get("input_tokens"))
    return input_tokens, usage.get("completion_tokens", usage.get("output_tokens", 0))

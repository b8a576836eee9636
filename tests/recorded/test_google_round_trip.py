"""A client that echoes what it was given hands Gemini its own turn back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from functions.providers.google.decode import decode_answer
from functions.providers.google.encode import encode_request
from functions.providers.google.signatures import PLACEHOLDER
from functions.providers.google.stream import GoogleStream
from tests.builders import chat_request, deployment
from tests.recorded.exchanges import recorded
from tests.recorded.google_models import recorded_deployment
from tests.recorded.test_google_answers import FAILED, _added_up, events_of, exchanges

# Text between its calls, which OpenAI's message has no way to say: all of the text comes first.
INTERLEAVED = "generate-unary-success-function-call-mixed-content-39e61f"
QUESTION = {"role": "user", "content": "Go on"}


def turns(cassettes: Path) -> Iterator[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Give each recorded turn of a model: its parts, and the message that it became."""
    for exchange in exchanges(cassettes, "generateContent"):
        for candidate in exchange.body.get("candidates") or ():
            parts = (candidate.get("content") or {}).get("parts")
            if parts and exchange.id not in FAILED and exchange.id != INTERLEAVED:
                yield parts, decode_answer(exchange.body, lambda: "call_1").choices[0]["message"]


def echoed(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Send a message back as JSON, and give the parts that Google receives."""
    request = chat_request(messages=[QUESTION, json.loads(json.dumps(message))])
    contents = encode_request(request, deployment("gemini", "gemini-2.0-flash"))["contents"]
    return contents[1]["parts"] if len(contents) > 1 else []


def comparable(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join neighbouring texts of one kind, leave empty ones and made-up ids out: a client can't tell them apart."""
    joined: list[dict[str, Any]] = []
    for part in parts:
        if "functionCall" in part:
            call = {name: value for name, value in part["functionCall"].items() if name != "id"}
            joined.append({**part, "functionCall": {"args": {}, **call}})
        elif joined and "text" in joined[-1] and "thoughtSignature" not in joined[-1] and _is_next(joined[-1], part):
            joined[-1] = {**part, "text": joined[-1]["text"] + part["text"]}
        elif part and part != {"text": ""}:
            joined.append(part)
    return joined


def _is_next(before: dict[str, Any], part: dict[str, Any]) -> bool:
    return "text" in part and bool(before.get("thought")) is bool(part.get("thought"))


def test_every_recorded_turn_comes_back_as_it_was(cassettes: Path) -> None:
    seen = 0
    for parts, message in turns(cassettes):
        assert comparable(echoed(message)) == comparable(parts)
        seen += 1
    assert seen > 130


def test_signatures_of_calls_survive_clients_that_keep_only_content_and_calls(cassettes: Path) -> None:
    seen = 0
    for parts, message in turns(cassettes):
        kept = {name: message.get(name) for name in ("role", "content", "tool_calls") if message.get(name)}
        signed = [part["thoughtSignature"] for part in parts if "functionCall" in part and "thoughtSignature" in part]
        if signed:
            back = [part.get("thoughtSignature") for part in echoed(kept) if "functionCall" in part]
            assert [signature for signature in back if signature] == signed
            seen += 1
    assert seen > 10


def test_every_recorded_stream_added_up_by_the_stock_client_comes_back_with_its_signatures(cassettes: Path) -> None:
    seen = 0
    for exchange in exchanges(cassettes, "streamGenerateContent"):
        events = events_of(exchange)
        parts = [
            part
            for event in events
            for candidate in event.get("candidates") or ()
            for part in (candidate.get("content") or {}).get("parts") or ()
        ]
        signatures = [part["thoughtSignature"] for part in parts if "thoughtSignature" in part]
        if not signatures or exchange.id in FAILED:
            continue
        stream = GoogleStream(lambda: "call_1")
        ids = _calls_with_ids([chunk for event in events for chunk in stream.decode(event)])
        back = [part["thoughtSignature"] for part in echoed(ids) if "thoughtSignature" in part]
        assert sorted(back) == sorted(signatures), exchange.id
        seen += 1
    assert seen > 20


def _calls_with_ids(chunks: list[Any]) -> dict[str, Any]:
    """Put a stream together, keeping the ids of its calls."""
    [choice, *_] = _added_up(chunks)
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice["delta"].get("tool_calls") or ()]
    return {**choice["message"], **({"tool_calls": calls} if calls else {})}


def test_a_call_of_another_model_gets_the_placeholder_where_gemini_insists(cassettes: Path) -> None:
    call = {"id": "toolu_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    request = chat_request(messages=[QUESTION, {"role": "assistant", "content": None, "tool_calls": [call, call]}])
    exchange = next(
        exchange for exchange in recorded(cassettes, "google") if exchange.model.startswith("gemini-3-flash-preview")
    )

    [first, second] = encode_request(request, recorded_deployment(exchange))["contents"][1]["parts"]

    assert first["thoughtSignature"] == PLACEHOLDER
    assert "thoughtSignature" not in second

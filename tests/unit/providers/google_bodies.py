"""Small requests to Google, and small answers of it, of which a test names only what it is about."""

from typing import Any

from functions.gateway.catalog import Model
from functions.gateway.ports import ChatRequest
from functions.providers.google.decode import decode_answer
from functions.providers.google.encode import encode_request
from functions.providers.google.stream import GoogleStream
from tests.builders import deployment, model

GEMINI_2_5 = {"thinking_budget": {"min": 1, "max": 24_576, "off": True}, "strict_tools": True, "penalties": False}
GEMINI_3 = {
    "thinking_levels": ["low", "medium", "high"],
    "strict_tools": True,
    "penalties": False,
    "tool_combination": True,
    "multimodal_tool_results": True,
    "thought_signatures_required": True,
}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def gemini(capabilities: dict[str, Any] | None = None) -> Any:
    """A deployment whose model can so much."""
    known = Model(upstream_model="gemini", prices=model().prices, capabilities=capabilities or {})
    return deployment("gemini", "gemini", model=known)


def request_of(*messages: dict[str, Any], drop_params: bool = True, **body: Any) -> ChatRequest:
    """A request of these messages, or of one line."""
    said = list(messages) or [{"role": "user", "content": "Say hello"}]
    return ChatRequest(
        alias="gemini",
        body={"model": "gemini", "messages": said, **body},
        is_stream=False,
        wants_usage=False,
        drop_params=drop_params,
    )


def encoded(*messages: dict[str, Any], capabilities: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
    """What Google is asked."""
    return encode_request(request_of(*messages, **body), gemini(capabilities))


def calling(*calls: tuple[str, str], **fields: Any) -> dict[str, Any]:
    """A turn of an assistant that calls `look` with these ids and arguments."""
    tool_calls = [
        {"id": call_id, "type": "function", "function": {"name": "look", "arguments": arguments}}
        for call_id, arguments in calls
    ]
    return {"role": "assistant", "content": None, "tool_calls": tool_calls, **fields}


def result(call_id: str, content: Any) -> dict[str, Any]:
    """A tool's result."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def response(*parts: dict[str, Any], finish: str | None = "STOP", usage: Any = None, **fields: Any) -> dict[str, Any]:
    """A response with one candidate; `fields` are the candidate's."""
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **fields}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], **({"usageMetadata": usage} if usage else {})}


def message_of(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The message that a response with these parts becomes."""
    return decode_answer(response(*parts, **fields), lambda: "call_new").choices[0]["message"]


def deltas_of(*events: dict[str, Any]) -> list[dict[str, Any]]:
    """The deltas that a stream of these responses becomes."""
    stream = GoogleStream(lambda: "call_new")
    return [choice["delta"] for event in events for chunk in stream.decode(event) for choice in chunk.choices]

"""Google's generateContent wire. Source: https://ai.google.dev/api/generate-content"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.sandbox.reply import Question, Reply

_FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "call": "STOP"}
_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def question(body: Mapping[str, Any], path: str) -> Question:
    """Read a request; the path names the model and the verb."""
    model, _, verb = path.rpartition("/")[2].partition(":")
    contents: list[dict[str, Any]] = body["contents"]
    users = [_text(content) for content in contents if content.get("role") != "model" and _text(content)]
    responses = [part["functionResponse"] for part in contents[-1]["parts"] if "functionResponse" in part]
    tools = [declaration for tool in body.get("tools", ()) for declaration in tool.get("functionDeclarations", ())]
    system = body.get("systemInstruction", {"parts": []})
    return Question(
        provider="gemini",
        model=model,
        user_text=users[-1] if users else "",
        input_text="".join(_text(content) for content in (system, *contents)),
        tools=tuple((tool["name"], tool.get("parametersJsonSchema") or tool.get("parameters", {})) for tool in tools),
        must_call=body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode") == "ANY",
        result=json.dumps(responses[-1]["response"]) if responses else None,
        max_tokens=body.get("generationConfig", {}).get("maxOutputTokens"),
        is_stream=verb == "streamGenerateContent",
    )


def whole(asked: Question, reply: Reply, answer_id: str) -> dict[str, Any]:
    """Render an answer."""
    part = _function_call(reply) if reply.call else {"text": reply.text}
    return _response(asked, reply, answer_id, part, _FINISH[reply.finish])


def stream(asked: Question, reply: Reply, answer_id: str) -> Iterator[bytes]:
    """Render an answer's events."""
    if reply.call:
        yield _event(_response(asked, reply, answer_id, _function_call(reply), "STOP"))
        return
    *pieces, last = reply.pieces()
    for piece in pieces:
        yield _event(_response(asked, reply, answer_id, {"text": piece}, None))
    yield _event(_response(asked, reply, answer_id, {"text": last}, _FINISH[reply.finish]))


def error(status: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Give the body and headers of an error answer."""
    said: dict[str, Any] = {
        "code": status,
        "message": f"The sandbox was asked for {status}.",
        "status": _ERRORS.get(status, "UNKNOWN"),
    }
    if status == 429:
        said["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]
    return {"error": said}, {}


def error_event() -> bytes:
    """Give the event of a failure in a stream."""
    return _event(error(503)[0])


def _text(content: Mapping[str, Any]) -> str:
    return "".join(part.get("text", "") for part in content["parts"])


def _function_call(reply: Reply) -> dict[str, Any]:
    name, arguments = reply.call or ("", {})
    return {"functionCall": {"name": name, "args": arguments}}


def _response(
    asked: Question, reply: Reply, answer_id: str, part: Mapping[str, Any], finish: str | None
) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {
        "promptTokenCount": reply.input_tokens,
        "candidatesTokenCount": reply.output_tokens,
        "totalTokenCount": reply.input_tokens + reply.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": reply.input_tokens}],
    }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": asked.model, "responseId": answer_id}


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\r\n\r\n".encode()

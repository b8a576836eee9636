"""Google's generateContent wire. Source: https://ai.google.dev/api/generate-content"""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.sandbox.directives import last_directives
from infra.local.sandbox.reply import SIGNATURE, Question, Reply

# For calls that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures#faqs
_PLACEHOLDER = base64.b64encode(b"skip_thought_signature_validator").decode()
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
        directives=last_directives(users),
        input_text="".join(_text(content) for content in (system, *contents)),
        tools=tuple((tool["name"], tool.get("parametersJsonSchema") or tool.get("parameters", {})) for tool in tools),
        must_call=body.get("toolConfig", {}).get("functionCallingConfig", {}).get("mode") == "ANY",
        result=json.dumps(responses[-1]["response"]) if responses else None,
        max_tokens=body.get("generationConfig", {}).get("maxOutputTokens"),
        is_stream=verb == "streamGenerateContent",
        is_thinking=_signs(model),
    )


def refusal(body: Mapping[str, Any], asked: Question) -> str | None:
    """Say what the API would refuse in a conversation with tools: calls of the current turn without their signature.

    Source: https://ai.google.dev/gemini-api/docs/thought-signatures
    """
    signatures = [
        part.get("thoughtSignature")
        for content in body["contents"]
        for part in content["parts"][:1]
        if "functionCall" in part
    ]
    if asked.is_thinking and not all(signature in (SIGNATURE, _PLACEHOLDER) for signature in signatures):
        return "Function call is missing a thought_signature in functionCall parts."
    return None


def whole(asked: Question, reply: Reply, answer_id: str) -> dict[str, Any]:
    """Render an answer."""
    part = _function_call(asked, reply) if reply.call else {"text": reply.text}
    return _response(asked, reply, answer_id, part, _FINISH[reply.finish])


def stream(asked: Question, reply: Reply, answer_id: str) -> Iterator[bytes]:
    """Render an answer's events."""
    if reply.call:
        yield _event(_response(asked, reply, answer_id, _function_call(asked, reply), "STOP"))
        return
    *pieces, last = reply.pieces()
    for piece in pieces:
        yield _event(_response(asked, reply, answer_id, {"text": piece}, None))
    yield _event(_response(asked, reply, answer_id, {"text": last}, _FINISH[reply.finish]))


def error(status: int, message: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Give the body and headers of an error answer."""
    said: dict[str, Any] = {
        "code": status,
        "message": message or f"The sandbox was asked for {status}.",
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


def _function_call(asked: Question, reply: Reply) -> dict[str, Any]:
    name, arguments = reply.call or ("", {})
    signature = {"thoughtSignature": SIGNATURE} if asked.is_thinking else {}
    return {"functionCall": {"name": name, "args": arguments}, **signature}


def _signs(model: str) -> bool:
    """Say whether a model signs its calls and wants the signatures back."""
    return not model.startswith(("gemini-1", "gemini-2"))


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

"""OpenAI's Chat Completions wire. Source: https://platform.openai.com/docs/api-reference/chat"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from infra.local.sandbox.directives import last_directives
from infra.local.sandbox.reply import Question, Reply

_LONGEST_CALL_ID = 40
_MESSAGE_KEYS = frozenset({
    "role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", "annotations", "function_call",
})  # fmt: skip
_FINISH = {"stop": "stop", "length": "length", "call": "tool_calls"}
_ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def question(body: Mapping[str, Any], _path: str) -> Question:
    """Read a request."""
    messages: list[dict[str, Any]] = body["messages"]
    users = [_text(message) for message in messages if message["role"] == "user"]
    last = messages[-1]
    choice = body.get("tool_choice")
    functions = [tool["function"] for tool in body.get("tools", ())]
    return Question(
        provider="openai",
        model=body["model"],
        user_text=users[-1] if users else "",
        directives=last_directives(users),
        input_text="".join(_text(message) for message in messages),
        tools=tuple((function["name"], function.get("parameters", {})) for function in functions),
        must_call=choice == "required" or isinstance(choice, dict),
        result=_text(last) if last["role"] == "tool" else None,
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        is_stream=bool(body.get("stream")),
    )


def refusal(body: Mapping[str, Any], _asked: Question) -> str | None:
    """Say what the API would refuse of messages: ids that are too long, and keys that it doesn't know."""
    for index, message in enumerate(body["messages"]):
        if unknown := sorted(set(message) - _MESSAGE_KEYS):
            return f"Unrecognized request argument supplied: messages[{index}].{unknown[0]}"
        ids = [call["id"] for call in message.get("tool_calls") or ()] + [message.get("tool_call_id") or ""]
        if any(len(call_id) > _LONGEST_CALL_ID for call_id in ids):
            return f"Invalid 'messages[{index}].tool_calls[0].id': string too long."
    return None


def whole(asked: Question, reply: Reply, answer_id: str) -> dict[str, Any]:
    """Render an answer."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None, "annotations": []}
    if reply.call:
        message["tool_calls"] = [_call(reply, answer_id)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _FINISH[reply.finish]}
    return {**_head(asked, answer_id, "chat.completion"), "choices": [choice], "usage": _usage(reply)}


def stream(asked: Question, reply: Reply, answer_id: str) -> Iterator[bytes]:
    """Render an answer's events."""
    head = {**_head(asked, answer_id, "chat.completion.chunk"), "usage": None}
    yield _event(head | _choice({"role": "assistant", "content": "" if reply.text else None, "refusal": None}))
    if reply.call:
        call = _call(reply, answer_id)
        arguments = call["function"].pop("arguments")
        yield _event(
            head | _choice({"tool_calls": [{"index": 0, **call, "function": {**call["function"], "arguments": ""}}]})
        )
        for half in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
            yield _event(head | _choice({"tool_calls": [{"index": 0, "function": {"arguments": half}}]}))
    for piece in reply.pieces() if reply.text else ():
        yield _event(head | _choice({"content": piece}))
    yield _event(head | _choice({}, _FINISH[reply.finish]))
    yield _event(head | {"choices": [], "usage": _usage(reply)})
    yield b"data: [DONE]\n\n"


def error(status: int, message: str = "") -> tuple[dict[str, Any], dict[str, str]]:
    """Give the body and headers of an error answer."""
    kind, code = _ERRORS.get(status, ("server_error", None))
    said = message or f"The sandbox was asked for {status}."
    body = {"error": {"message": said, "type": kind, "param": None, "code": code}}
    return body, {"retry-after": "1"} if status == 429 else {}


def error_event() -> bytes:
    """Give the event of a failure in a stream."""
    return _event(error(500)[0])


def _text(message: Mapping[str, Any]) -> str:
    content: Any = message.get("content")
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType, reportUnknownArgumentType]
    return content or ""


def _head(asked: Question, answer_id: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer_id}",
        "object": kind,
        "created": int(time.time()),
        "model": asked.model,
        "service_tier": "default",
        "system_fingerprint": "sandbox",
    }


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def _call(reply: Reply, answer_id: str) -> dict[str, Any]:
    name, arguments = reply.call or ("", {})
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call_{answer_id[:24]}", "type": "function", "function": function}


def _usage(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _event(data: Mapping[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()

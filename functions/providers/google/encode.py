"""OpenAI's request as a generateContent request. Source: https://ai.google.dev/api/generate-content"""

import mimetypes
from collections.abc import Mapping
from typing import Any

import orjson

from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.parts import (
    arguments_of,
    content_parts,
    data_url,
    max_output_tokens,
    not_taken,
    plain_text,
    refuse_dropped,
    stop_sequences,
    tools_of,
    unsupported_part,
)

_PROVIDER = "gemini"
_GENERATION = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_TAKEN = frozenset({
    "model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "tools",
    "tool_choice", "response_format", "user", *_GENERATION,
})  # fmt: skip
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def encode_request(request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
    """Give the body. Raises `BadRequest`, `UpstreamError`."""
    dropped = dropped_params(request)
    refuse_dropped(request, dropped, deployment.name)
    asked = {name: value for name, value in request.body.items() if name not in dropped and value is not None}
    body: dict[str, Any] = {"contents": _contents(asked["messages"])}
    if system := [_text(message) for message in asked["messages"] if message["role"] in ("system", "developer")]:
        body["systemInstruction"] = {"parts": [{"text": text} for text in system if text]}
    if generation := _generation_config(asked):
        body["generationConfig"] = generation
    if tools := tools_of(asked):
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in tools]}]
        if asked.get("tool_choice"):
            body["toolConfig"] = {"functionCallingConfig": _calling_config(asked["tool_choice"])}
    return body


def dropped_params(request: ChatRequest) -> tuple[str, ...]:
    """Name what the wire has no word for; it also refuses a JSON answer together with tools."""
    dropped = set(not_taken(request.body, _TAKEN)) - {"parallel_tool_calls"}
    if request.body.get("parallel_tool_calls") is False:
        dropped.add("parallel_tool_calls")
    if request.body.get("tools") and _json_schema(request.body) is not None:
        dropped.add("response_format")
    return tuple(sorted(dropped))


def _text(message: Mapping[str, Any]) -> str:
    return plain_text(message["content"])


def _generation_config(asked: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {theirs: asked[ours] for ours, theirs in _GENERATION.items() if ours in asked}
    if limit := max_output_tokens(asked):
        config["maxOutputTokens"] = limit
    if stop := stop_sequences(asked):
        config["stopSequences"] = stop
    if (schema := _json_schema(asked)) is not None:
        config["responseMimeType"] = "application/json"
        if schema:
            config["responseJsonSchema"] = schema
    return config


def _json_schema(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the schema of a JSON answer, an empty one for any JSON, or nothing for text."""
    wanted: Mapping[str, Any] = body.get("response_format") or {}
    match wanted.get("type"):
        case "json_schema":
            return wanted["json_schema"].get("schema") or {}
        case "json_object":
            return {}
        case _:
            return None


def _contents(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the turns; neighbours of one role become one, as parallel results must answer parallel calls."""
    names = {call["id"]: call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()}
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message["role"] in ("system", "developer"):
            continue
        role = "model" if message["role"] == "assistant" else "user"
        parts = _parts(message, names)
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        elif parts:
            turns.append({"role": role, "parts": parts})
    return turns


def _parts(message: Mapping[str, Any], names: Mapping[str, str]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [_function_response(message, names)]
    content = [_part(part) for part in content_parts(message.get("content"))]
    calls = [_function_call(call) for call in message.get("tool_calls") or ()]
    return [*content, *calls]


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    match part["type"]:
        case "text":
            return {"text": part["text"]}
        case "refusal":
            return {"text": part["refusal"]}
        case "image_url":
            return _image(part["image_url"]["url"])
        case _:
            raise unsupported_part(part, _PROVIDER)


def _image(url: str) -> dict[str, Any]:
    if inline := data_url(url):
        media_type, data = inline
        return {"inlineData": {"mimeType": media_type, "data": data}}
    media_type, _ = mimetypes.guess_type(url.partition("?")[0])
    return {"fileData": {"fileUri": url, "mimeType": media_type or "image/jpeg"}}


def _function_call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"functionCall": {"id": call["id"], "name": call["function"]["name"], "args": arguments_of(call)}}


def _function_response(message: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    for part in content_parts(message["content"]):
        if part["type"] != "text":
            raise unsupported_part(part, _PROVIDER)
    call_id = message["tool_call_id"]
    response = {"id": call_id, "name": names.get(call_id, call_id), "response": _result(plain_text(message["content"]))}
    return {"functionResponse": response}


def _result(text: str) -> dict[str, Any]:
    """Give a tool's result as the object that the wire wants; anything else goes under `output`."""
    try:
        value: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = text
    return value if isinstance(value, dict) else {"output": value}  # pyright: ignore[reportUnknownVariableType]


def _declaration(function: Mapping[str, Any]) -> dict[str, Any]:
    declaration: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        declaration["description"] = function["description"]
    if function.get("parameters"):
        declaration["parametersJsonSchema"] = function["parameters"]
    return declaration


def _calling_config(choice: Any) -> dict[str, Any]:
    if isinstance(choice, str):
        return {"mode": _MODES[choice]}
    return {"mode": "ANY", "allowedFunctionNames": [choice["function"]["name"]]}

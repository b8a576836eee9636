"""The OpenAI request that a recorded generateContent request is equivalent to.

An inverse of the translation, written apart from it: what OpenAI has a word for is said in that word, the rest in
Google's own parameters.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.recorded.exchanges import Exchange

MADE_UP = "call_recorded_"  # ids of calls that the recording left without one

_NAMES = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "candidateCount": "n",
    "seed": "seed",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_CHOICES = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
_JSON_FIELDS = ("responseMimeType", "responseSchema", "responseJsonSchema")


def openai_request(exchange: Exchange) -> dict[str, Any]:
    """Give the body of the equivalent Chat Completions request."""
    body = {_camel(name): value for name, value in exchange.request.items() if name != "model"}
    request: dict[str, Any] = {"model": "gemini", "messages": [*_system(body), *_messages(body["contents"])]}
    if exchange.is_stream:
        request["stream"] = True
    request |= _generation({_camel(name): value for name, value in (body.get("generationConfig") or {}).items()})
    request |= _tools(body)
    extras = ("safetySettings", "cachedContent", "labels", "modelArmorConfig")
    return request | {name: body[name] for name in extras if name in body}


def _system(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for part in _as_list((body.get("systemInstruction") or {}).get("parts") or []):
        yield {"role": "system", "content": part["text"]}


def _generation(config: dict[str, Any]) -> dict[str, Any]:
    request: dict[str, Any] = {ours: config[theirs] for theirs, ours in _NAMES.items() if theirs in config}
    if "responseModalities" in config:
        request["modalities"] = [modality.lower() for modality in config["responseModalities"]]
    if "speechConfig" in config:
        voice = config["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"]
        request["audio"] = {"voice": voice, "format": "pcm16"}
    if "responseMimeType" in config:
        request["response_format"] = _response_format(config)
    if "thinkingConfig" in config:
        request |= _thinking({_camel(name): value for name, value in config["thinkingConfig"].items()})
    known = {*_NAMES, *_JSON_FIELDS, "responseModalities", "speechConfig", "thinkingConfig"}
    rest = {name: value for name, value in config.items() if name not in known}
    return request | ({"generationConfig": rest} if rest else {})


def _response_format(config: dict[str, Any]) -> dict[str, Any]:
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": json_schema(schema)}}


def _thinking(config: dict[str, Any]) -> dict[str, Any]:
    match config:
        case {"thinkingLevel": level, "includeThoughts": True, **rest} if not rest:
            return {"reasoning_effort": level.lower()}
        case {"thinkingBudget": 0, **rest} if not rest.get("includeThoughts"):
            return {"reasoning_effort": "none"}
        case {"thinkingBudget": int(budget), "includeThoughts": True, **rest} if not rest and budget != 6400:
            return {"thinking": {"type": "enabled", "budget_tokens": budget}}
        case {"includeThoughts": True, **rest} if not rest:
            return {"thinking": {"type": "adaptive"}}
        case _:
            return {"generationConfig": {"thinkingConfig": config}}


def _tools(body: dict[str, Any]) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    request: dict[str, Any] = {}
    for entry in ({_camel(name): value for name, value in tool.items()} for tool in _as_list(body.get("tools") or [])):
        if entry == {"googleSearch": {}}:
            request["web_search_options"] = {}
        elif "functionDeclarations" not in entry:
            tools.append(entry)
        tools += [_tool(declaration) for declaration in entry.get("functionDeclarations") or ()]
    if tools:
        request["tools"] = tools
    return request | _tool_choice(body.get("toolConfig") or {}, tools)


def _tool(declaration: dict[str, Any]) -> dict[str, Any]:
    given = {_camel(name): value for name, value in declaration.items()}
    parameters = given.get("parametersJsonSchema") or given.get("parameters")
    function = {"name": given["name"], "description": given.get("description"), "parameters": json_schema(parameters)}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}


def _tool_choice(config: dict[str, Any], tools: list[dict[str, Any]]) -> dict[str, Any]:
    calling = config.get("functionCallingConfig") or {}
    rest = {name: value for name, value in config.items() if name != "functionCallingConfig"}
    extras: dict[str, Any] = {"toolConfig": rest} if rest else {}
    mode, names = calling.get("mode"), calling.get("allowedFunctionNames")
    if not any("function" in tool for tool in tools):
        return {"toolConfig": config} if config else {}
    if mode == "VALIDATED" and not names:
        for tool in tools:
            tool["function"]["strict"] = True
        return extras
    if names and len(names) == 1:
        return extras | {"tool_choice": {"type": "function", "function": {"name": names[0]}}}
    if names:
        allowed = [{"type": "function", "function": {"name": name}} for name in names]
        return extras | {
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": allowed}}
        }
    return extras | ({"tool_choice": _CHOICES[mode]} if mode else {})


def _messages(contents: Any) -> Iterator[dict[str, Any]]:
    pending: list[tuple[str, str]] = []  # calls without a result, as (function, id)
    for content in _as_list(contents):
        parts = [{_camel(name): value for name, value in part.items()} for part in _as_list(content["parts"])]
        if content.get("role") == "model":
            message = _assistant(parts, pending)
            yield message
        else:
            yield from _user(parts, pending)


def _assistant(parts: list[dict[str, Any]], pending: list[tuple[str, str]]) -> dict[str, Any]:
    text, thoughts = "", ""
    calls: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    for part in parts:
        signature = part.get("thoughtSignature")
        if "functionCall" in part:
            calls.append(_call(part["functionCall"], signature, pending))
        elif part.get("thought"):
            thoughts += part["text"]
            marks += [{"at": len(thoughts), "thought": True, "thoughtSignature": signature}] if signature else []
        elif "text" in part:
            text += part["text"]
            marks += [{"at": len(text), "thoughtSignature": signature}] if signature else []
        else:
            marks.append({"at": len(text), **part})
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "tool_calls": calls}
    if thoughts:
        message["thinking_blocks"] = [{"type": "thinking", "thinking": thoughts}]
    if marks:
        message["provider_specific_fields"] = {"gemini_parts": marks}
    return {name: value for name, value in message.items() if value != []}


def _call(call: dict[str, Any], signature: str | None, pending: list[tuple[str, str]]) -> dict[str, Any]:
    call_id = call.get("id") or f"{MADE_UP}{call['name']}_{len(pending)}"
    if signature:
        call_id += "__thought__" + signature.replace("+", "-").replace("/", "_")
    pending.append((call["name"], call_id))
    function = {"name": call["name"], "arguments": json.dumps(call.get("args") or {})}
    return {"id": call_id, "type": "function", "function": function}


def _user(parts: list[dict[str, Any]], pending: list[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for part in parts:
        if "functionResponse" not in part:
            said.append(_media(part))
            continue
        if said:
            yield {"role": "user", "content": said}
            said = []
        yield _result(part["functionResponse"], pending)
    if said:
        yield {"role": "user", "content": said}


def _result(response: dict[str, Any], pending: list[tuple[str, str]]) -> dict[str, Any]:
    """Answer the call of this id, or the first of this function that has no result yet."""
    own = response.get("id")
    called = next(
        call for call in pending if (call[1].partition("__thought__")[0] == own if own else call[0] == response["name"])
    )
    pending.remove(called)
    said = json.dumps(response["response"])
    media = [_media({_camel(name): value for name, value in part.items()}) for part in response.get("parts") or ()]
    texts = [] if media and not response["response"] else [{"type": "text", "text": said}]
    return {"role": "tool", "tool_call_id": called[1], "content": [*texts, *media] if media else said}


def _media(part: dict[str, Any]) -> dict[str, Any]:
    if "text" in part:
        return {"type": "text", "text": part["text"]}
    kind = "inlineData" if "inlineData" in part else "fileData"
    data = {_camel(name): value for name, value in part[kind].items()}
    media_type: str = data["mimeType"]
    if kind == "fileData":
        return {"type": "file", "file": {"file_id": data["fileUri"], "format": media_type}}
    url = f"data:{media_type};base64,{data['data']}"
    match media_type.split("/"):
        case ["image", _]:
            return {"type": "image_url", "image_url": {"url": url}}
        case ["audio", name]:
            return {"type": "input_audio", "input_audio": {"data": data["data"], "format": name}}
        case ["video", _]:
            return {"type": "video_url", "video_url": {"url": url}}
        case _:
            return {"type": "file", "file": {"file_data": url}}


def json_schema(schema: Any) -> Any:
    """Give an OpenAPI schema of Google's as JSON Schema; JSON Schema stays as it is."""
    if isinstance(schema, list):
        return [json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    said = {name: value for name, value in schema.items() if name not in ("property_ordering", "propertyOrdering")}
    if isinstance(said.get("type"), str):
        said["type"] = said["type"].lower()
    if said.get("required") == []:
        del said["required"]
    return {name: _under(name, value) for name, value in said.items()}


def _under(keyword: str, value: Any) -> Any:
    if keyword in ("properties", "$defs", "defs") and isinstance(value, dict):
        return {name: json_schema(schema) for name, schema in value.items()}
    return value if keyword in ("enum", "required", "default", "example") else json_schema(value)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

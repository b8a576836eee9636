"""OpenAI's messages as Google's turns. Source: https://ai.google.dev/api/caching#Content"""

from collections.abc import Iterable, Mapping
from typing import Any

from functions.gateway.errors import BadRequest
from functions.providers.calls import object_in
from functions.providers.google.media import inline, media_part
from functions.providers.google.signatures import (
    PLACEHOLDER,
    entry_of,
    interleaved,
    marks_of,
    raw_of,
    restored,
    unsigned_id,
)
from functions.providers.parts import content_parts, malformed_requests, plain_text

_SYSTEM = ("system", "developer")
_EXTENSIONS = frozenset({"thinking_blocks", "provider_specific_fields", "images", "audio"})  # of OpenAI's message
# https://ai.google.dev/gemini-api/docs/function-calling#multimodal
_TYPES_IN_RESULTS = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})


def system_parts(messages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the instructions, wherever they stand."""
    texts = (plain_text(message["content"]) for message in messages if message["role"] in _SYSTEM)
    return [{"text": text} for text in texts if text]


def contents_of(messages: list[dict[str, Any]], capabilities: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the turns; neighbours of one role become one, as parallel results must answer parallel calls.

    Raises `BadRequest`, `UpstreamError`.
    """
    names: dict[str, str] = {}  # the function that each call so far was of, by the call's id
    turns: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []  # what results hold beside themselves comes after all of them
    for index, message in enumerate(messages):
        role, path = message["role"], f"messages[{index}]"
        if role == "tool":
            result, beside = _function_response(message, names, path, capabilities)
            _add(turns, "user", [result])
            late += beside
            continue
        if late:
            _add(turns, "user", late)
            late = []
        if role == "assistant":
            _add(turns, "model", _model_parts(message, path))
            for call in message.get("tool_calls") or ():
                names[call["id"]] = call["function"]["name"]
        elif role not in _SYSTEM:
            _add(turns, "user", _user_parts(message, path))
    if late:
        _add(turns, "user", late)
    if capabilities.get("thought_signatures_required"):
        _sign_foreign_calls(turns)
    return turns


def _called_name(names: Mapping[str, str], message: Mapping[str, Any], path: str) -> str:
    """Name the function whose result this is. Raises `BadRequest` where nothing called it."""
    name = names.get(message["tool_call_id"]) or message.get("name")
    if not isinstance(name, str):
        where = f"{path}.tool_call_id"
        raise BadRequest(f"{where} {message['tool_call_id']!r} is the id of no tool call before it.", param=where)
    return name


def _add(turns: list[dict[str, Any]], role: str, parts: list[dict[str, Any]]) -> None:
    if turns and turns[-1]["role"] == role:
        turns[-1]["parts"] += parts
    elif parts:
        turns.append({"role": role, "parts": parts})


def _user_parts(message: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    content = message["content"]
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [media_part(part, f"{path}.content[{index}]") for index, part in enumerate(content) if _says_something(part)]


def _says_something(part: Mapping[str, Any]) -> bool:
    return part.get("type") != "text" or bool(part["text"])


def _model_parts(message: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
    """Give a turn of the model as it was written, as far as the client has kept it."""
    content: Any = message.get("content")
    text: str = (content if isinstance(content, str) else plain_text(content)) or message.get("refusal") or ""
    calls = [_function_call(call, path, index) for index, call in enumerate(message.get("tool_calls") or ())]
    if _EXTENSIONS.isdisjoint(message):
        return [*([{"text": text}] if text else []), *calls]
    with malformed_requests("Google", path):
        return _restored_parts(message, text, calls)


def _restored_parts(message: Mapping[str, Any], text: str, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the parts in the places that the message's extensions say they had."""
    media = _media_of(message)
    marks = [mark for mark in (_resolved(mark, media, calls) for mark in marks_of(message)) if mark]
    thoughts = interleaved(_thoughts(message), [mark for mark in marks if mark.get("thought")], thought=True)
    texts = interleaved(text, [mark for mark in marks if not mark.get("thought")])
    return [*thoughts, *texts, *media.values(), *calls]


def _media_of(message: Mapping[str, Any]) -> dict[tuple[str, Any], dict[str, Any]]:
    """Give images and audio by the entries that marks name them with."""
    images = {("images", index): _image(image) for index, image in enumerate(message.get("images") or ())}
    return {**images, **{("audio", index): part for index, part in enumerate(_audio(message.get("audio")))}}


def _resolved(
    mark: dict[str, Any], media: dict[tuple[str, Any], dict[str, Any]], calls: list[dict[str, Any]]
) -> dict[str, Any] | None:
    """Give a mark as it is to be put between the texts; what it says of a call is added to the call, in its place.

    Media that a mark has placed are taken out of `media`.
    """
    entry = entry_of(mark)
    match entry:
        case None:
            return mark
        case ("tool_calls", int(index)) if 0 <= index < len(calls):
            calls[index] = restored(calls[index], raw_of(mark))
            return None
        case (_, int()) if entry in media:
            return {"at": mark["at"], **restored(media.pop(entry), raw_of(mark))}
        case _:
            return None


def _thoughts(message: Mapping[str, Any]) -> str:
    """Give Gemini's own thoughts, which never have a signature in their block: another model's do."""
    blocks: list[dict[str, Any]] = message.get("thinking_blocks") or []
    if any(block.get("signature") or block.get("type") != "thinking" for block in blocks):
        return ""
    return "".join(block.get("thinking") or "" for block in blocks)


def _image(image: Mapping[str, Any]) -> dict[str, Any]:
    part = inline(image["image_url"]["url"]) or {"text": ""}
    signature = image.get("thought_signature")
    return {**part, "thoughtSignature": signature} if signature else part


def _audio(audio: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Give audio that Gemini made; of another model's there is only the id, which says nothing here."""
    if not audio or "mime_type" not in audio:
        return []
    part = {"inlineData": {"mimeType": audio["mime_type"], "data": audio["data"]}}
    signature = audio.get("thought_signature")
    return [{**part, "thoughtSignature": signature} if signature else part]


def _function_call(call: Mapping[str, Any], path: str, index: int) -> dict[str, Any]:
    call_id, signature = unsigned_id(call["id"])
    function = call["function"]
    arguments = object_in(function["arguments"] or "{}")
    if arguments is None:
        where = f"{path}.tool_calls[{index}].function.arguments"
        raise BadRequest(f"{where} is not a JSON object.", param=where)
    part: dict[str, Any] = {"functionCall": {"id": call_id, "name": function["name"], "args": arguments}}
    return {**part, "thoughtSignature": signature} if signature else part


def _function_response(
    message: Mapping[str, Any], names: Mapping[str, str], path: str, capabilities: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Give a tool's result, and of its media what this model can't take inside of it."""
    content = message["content"]
    call_id, _ = unsigned_id(message["tool_call_id"])
    response: dict[str, Any] = {"id": call_id, "name": _called_name(names, message, path)}
    if isinstance(content, str):
        return {"functionResponse": {**response, "response": _result(content, message)}}, []
    media = [
        media_part(part, f"{path}.content[{index}]") for index, part in enumerate(content) if part["type"] != "text"
    ]
    texts = [part for part in content_parts(content) if part["type"] == "text"]
    says_nothing = media and not texts and not message.get("is_error")
    response["response"] = {} if says_nothing else _result(plain_text(texts), message)
    inside = [part for part in media if _fits_into_result(part, capabilities)]
    beside = [part for part in media if not _fits_into_result(part, capabilities)]
    if inside:
        response["parts"] = inside
    label = {"text": f"Content of the result of {response['name']} ({call_id}):"}
    return {"functionResponse": response}, [label, *beside] if beside else []


def _fits_into_result(part: Mapping[str, Any], capabilities: Mapping[str, Any]) -> bool:
    data: Mapping[str, Any] = part.get("inlineData") or part.get("fileData") or {}
    return bool(capabilities.get("multimodal_tool_results")) and data.get("mimeType") in _TYPES_IN_RESULTS


def _result(text: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """Give a tool's result as the object that the wire wants.

    A text goes under `output`, what the client marks with Anthropic's `is_error` under `error`, as Google documents
    (https://googleapis.github.io/python-genai/genai.html#genai.types.FunctionResponse.response).
    """
    result = object_in(text) if text.lstrip().startswith("{") else None
    if message.get("is_error") and "error" not in (result or {}):
        return {"error": text if result is None else result}
    return {"output": text} if result is None else result


def _sign_foreign_calls(turns: list[dict[str, Any]]) -> None:
    """Give the first call of each turn of the model the placeholder where it has no signature.

    Gemini 3 refuses calls without one, such as another model's (https://ai.google.dev/gemini-api/docs/gemini-3).
    """
    for turn in turns:
        first = next((part for part in turn["parts"] if "functionCall" in part), None)
        if first is not None and turn["role"] == "model":
            first.setdefault("thoughtSignature", PLACEHOLDER)

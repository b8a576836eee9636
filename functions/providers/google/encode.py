"""OpenAI's request as a generateContent request. Source: https://ai.google.dev/api/generate-content"""

from collections.abc import Mapping
from typing import Any, cast

from functions.gateway.catalog import Model
from functions.gateway.errors import BadRequest, UpstreamError
from functions.gateway.exact_json import write_json
from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.google.contents import contents_of, system_parts
from functions.providers.google.parameters import RENAMED, dropped_params, has_functions
from functions.providers.google.schema import google_schema
from functions.providers.google.thinking import thinking_config
from functions.providers.google.tools import tool_config, tools_of
from functions.providers.parameters import GOOGLES, GOOGLES_GENERATION, camel
from functions.providers.parts import max_output_tokens, refuse_dropped, stop_sequences

_SERVICE_TIERS = {"default": "standard", "standard": "standard", "flex": "flex", "priority": "priority"}
_MOST_STOPS = 5
_AS_JSON = "Unless you call a function, answer with a single JSON {} and nothing else: no other text, no code fences."


def encode_request(request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
    """Give the body. Raises `BadRequest`, `UpstreamError`."""
    dropped = dropped_params(request, deployment)
    refuse_dropped(request, dropped, deployment.name)
    asked = {name: value for name, value in request.body.items() if value is not None and name not in dropped}
    capabilities = deployment.model.capabilities
    tools = tools_of(asked, capabilities)
    body: dict[str, Any] = {
        **_turns(asked, capabilities),
        "generationConfig": _generation_config(asked, deployment.model),
        "tools": tools,
        "toolConfig": tool_config(asked, tools, capabilities),
        "serviceTier": _SERVICE_TIERS.get(asked.get("service_tier", "")),
        "store": asked.get("store"),
    }
    _add_extras(body, asked)
    return {name: value for name, value in body.items() if value is not None and value not in ({}, [])}


def _turns(asked: Mapping[str, Any], capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """Give the conversation, which must have a turn, even of an empty text."""
    system = system_parts(asked["messages"])
    contents = contents_of(asked["messages"], capabilities)
    if _is_instructed(asked, capabilities):
        system.append({"text": _json_instruction(asked)})
    contents = contents or [{"role": "user", "parts": [{"text": ""}]}]
    return {"contents": contents, **({"systemInstruction": {"parts": system}} if system else {})}


def _generation_config(asked: Mapping[str, Any], model: Model) -> dict[str, Any]:
    capabilities = model.capabilities
    config: dict[str, Any] = {theirs: asked[ours] for ours, theirs in RENAMED.items() if ours in asked}
    if config.get("responseLogprobs") is False:
        del config["responseLogprobs"]
    if limit := max_output_tokens(asked):
        config["maxOutputTokens"] = min(limit, model.max_output_tokens or limit)  # Google refuses more
    if "seed" in config:
        config["seed"] = _seed(config["seed"])
    if stop := _stop_sequences(asked):
        config["stopSequences"] = stop
    if thinking := thinking_config(asked, capabilities):
        config["thinkingConfig"] = thinking
    if modalities := asked.get("modalities"):
        config["responseModalities"] = [str(modality).upper() for modality in modalities]
    if audio := asked.get("audio"):
        config["speechConfig"] = _speech(audio)
    if not _is_instructed(asked, capabilities):
        config |= _response_format(asked)
    return config


def _seed(seed: int) -> int:
    """Give the seed itself, or another that stands for it: Google's has 32 bits, OpenAI's 64."""
    return seed if -(2**31) <= seed < 2**31 else seed % 2**31


def _stop_sequences(asked: Mapping[str, Any]) -> list[str]:
    """Give the sequences that say something. Raises `BadRequest` for more than Google takes.

    Source: https://ai.google.dev/api/generate-content#v1beta.GenerationConfig (`stopSequences[]`: up to 5)
    """
    stop = [sequence for sequence in stop_sequences(asked) if sequence]
    if len(stop) > _MOST_STOPS:
        raise BadRequest(f"stop: Google takes at most {_MOST_STOPS} sequences, not {len(stop)}.", param="stop")
    return stop


def _speech(audio: Any) -> dict[str, Any]:
    """Give the voice. OpenAI's may also be `{"id": …}`. Raises `BadRequest`, `UpstreamError`.

    Gemini speaks PCM of 24 kHz, which is OpenAI's `pcm16` (https://ai.google.dev/gemini-api/docs/speech-generation).
    """
    wish = cast("dict[str, Any]", audio) if isinstance(audio, dict) else {}
    voice: Any = wish.get("voice")
    if wish.get("format", "pcm16") != "pcm16":
        raise UpstreamError("unsupported_content", "audio.format: gemini gives pcm16 alone")
    name: Any = cast("dict[str, Any]", voice).get("id") if isinstance(voice, dict) else voice
    if not isinstance(name, str):
        raise BadRequest("audio.voice must name one of Google's voices, such as 'Kore'.", param="audio.voice")
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": name}}}


def _response_format(asked: Mapping[str, Any]) -> dict[str, Any]:
    schema = _json_schema(asked)
    if schema is None:
        return {}
    return {"responseMimeType": "application/json", **({"responseJsonSchema": schema} if schema else {})}


def _json_schema(asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the schema of a JSON answer, an empty one for any JSON, or nothing for text."""
    wanted: Mapping[str, Any] = asked.get("response_format") or {}
    match wanted.get("type"):
        case "json_schema":
            named: Any = wanted.get("json_schema")
            schema: Any = cast("dict[str, Any]", named).get("schema") if isinstance(named, dict) else {}
            return google_schema(schema or {}, "response_format.json_schema.schema")
        case "json_object":
            return {}
        case _:
            return None


def _is_instructed(asked: Mapping[str, Any], capabilities: Mapping[str, Any]) -> bool:
    """Say whether JSON can only be asked for in words: before Gemini 3, functions rule the native way out.

    Source: https://ai.google.dev/gemini-api/docs/structured-output#structured_outputs_with_tools
    """
    if capabilities.get("tool_combination") or not has_functions(asked):
        return False
    return _json_schema(asked) is not None


def _json_instruction(asked: Mapping[str, Any]) -> str:
    schema = _json_schema(asked)
    return _AS_JSON.format(f"value that fits the JSON Schema {write_json(schema).decode()}" if schema else "object")


def _add_extras(body: dict[str, Any], asked: Mapping[str, Any]) -> None:
    """Add Google's own parameters; where they meet a translated one, they win."""
    for name, value in asked.items():
        theirs = camel(name)
        if theirs in ("generationConfig", "toolConfig"):
            if not isinstance(value, dict):
                raise BadRequest(f"{name} must be an object.", param=name)
            given = cast("dict[str, Any]", value)
            body[theirs] = {**body[theirs], **{camel(field): setting for field, setting in given.items()}}
        elif theirs in GOOGLES:
            body[theirs] = value
        elif theirs in GOOGLES_GENERATION:
            body["generationConfig"] = {**body["generationConfig"], theirs: value}

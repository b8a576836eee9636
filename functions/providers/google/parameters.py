"""What becomes of each parameter on Google's wire; the encoder follows this table.

Sources: https://ai.google.dev/api/generate-content#request-body and
https://ai.google.dev/api/generate-content#v1beta.GenerationConfig
"""

from collections.abc import Mapping
from typing import Any, Literal

from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.google.thinking import can_think
from functions.providers.parameters import GOOGLES, GOOGLES_GENERATION, Treatment, asked, camel


def _is(kind: Literal["sent", "emulated", "dropped"], note: str) -> Treatment:
    return Treatment(kind=kind, note=note)


# Sent as they are, under another name in `generationConfig`.
RENAMED: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "top_logprobs": "logprobs",
    "logprobs": "responseLogprobs",
}
_SAMPLING = "; dropped where the model takes no sampling parameters"
_PENALTY = "; dropped where the model takes no penalties (https://github.com/google-gemini/cookbook/issues/1290)"
_THINKING = "; dropped where it is not known how the model is told to think"

PARAMETERS: Mapping[str, Treatment] = {
    "messages": _is("sent", "`contents` and `systemInstruction`; names of participants are left out"),
    "model": _is("sent", "in the path"),
    "stream": _is("sent", "`streamGenerateContent?alt=sse`"),
    "stream_options": _is("emulated", "Google always reports the usage"),
    "max_tokens": _is("sent", "`generationConfig.maxOutputTokens`, at most the model's own limit"),
    "max_completion_tokens": _is("sent", "`generationConfig.maxOutputTokens`, at most the model's own limit"),
    "temperature": _is("sent", "`generationConfig.temperature`" + _SAMPLING),
    "top_p": _is("sent", "`generationConfig.topP`" + _SAMPLING),
    "top_k": _is("sent", "`generationConfig.topK`" + _SAMPLING),
    "n": _is("sent", "`generationConfig.candidateCount`"),
    "stop": _is("sent", "`generationConfig.stopSequences`; more than 5 are a 400"),
    "seed": _is("sent", "`generationConfig.seed`; one over 32 bits is folded into 31"),
    "logprobs": _is("sent", "`generationConfig.responseLogprobs`"),
    "top_logprobs": _is("sent", "`generationConfig.logprobs`"),
    "logit_bias": _is("dropped", "Google has no word for it"),
    "presence_penalty": _is("sent", "`generationConfig.presencePenalty`" + _PENALTY),
    "frequency_penalty": _is("sent", "`generationConfig.frequencyPenalty`" + _PENALTY),
    "tools": _is("sent", "`functionDeclarations` with `parametersJsonSchema`; `googleSearch` and the like as they are"),
    "tool_choice": _is("sent", "`toolConfig.functionCallingConfig`; AUTO is VALIDATED where every function is strict"),
    "parallel_tool_calls": _is("dropped", "Google can't limit the calls of a turn; `true` is what it does anyway"),
    "functions": _is("emulated", "as `tools`; a call comes back as `function_call`"),
    "function_call": _is("emulated", "as `tool_choice`"),
    "response_format": _is(
        "sent",
        "`generationConfig.responseMimeType` and `responseJsonSchema`; together with functions an instruction "
        "where the model can't combine them",
    ),
    "reasoning_effort": _is("sent", "`thinkingConfig.thinkingLevel` (Gemini 3) or `thinkingBudget` (2.5)" + _THINKING),
    "thinking": _is("sent", "`thinkingConfig.thinkingLevel` (Gemini 3) or `thinkingBudget` (2.5)" + _THINKING),
    "verbosity": _is("dropped", "Google has no word for it"),
    "modalities": _is("sent", "`generationConfig.responseModalities`"),
    "audio": _is("sent", "`generationConfig.speechConfig`; the format is always PCM, as of `pcm16`"),
    "prediction": _is("dropped", "only speed depends on it"),
    "web_search_options": _is(
        "emulated",
        "the `googleSearch` tool, without its options; dropped where the model can't combine it with functions",
    ),
    "service_tier": _is("sent", "`serviceTier`"),
    "user": _is("emulated", "the gateway counts its spend; Google is not told"),
    "safety_identifier": _is("dropped", "Google has no word for it"),
    "prompt_cache_key": _is("dropped", "Google caches implicitly; name a cache with `cachedContent`"),
    "prompt_cache_retention": _is("dropped", "Google caches implicitly; name a cache with `cachedContent`"),
    "metadata": _is("dropped", "Google's `labels` have other rules; give those"),
    "store": _is("sent", "`store`, which decides about logging"),
}  # fmt: skip


def dropped_params(request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
    """Name what this deployment isn't asked, sorted."""
    body, capabilities = request.body, deployment.model.capabilities
    return tuple(sorted(name for name in asked(body) if not _is_taken(name, body, capabilities)))


def _is_taken(name: str, body: Mapping[str, Any], capabilities: Mapping[str, Any]) -> bool:
    if name not in PARAMETERS:
        return camel(name) in GOOGLES or camel(name) in GOOGLES_GENERATION
    match name:
        case "temperature" | "top_p" | "top_k":
            return capabilities.get("sampling_params") is not False
        case "presence_penalty" | "frequency_penalty":
            return capabilities.get("penalties") is not False
        case "reasoning_effort" | "thinking":
            return can_think(capabilities)
        case "web_search_options":
            return not has_functions(body) or bool(capabilities.get("tool_combination"))
        case _:
            return PARAMETERS[name].kind != "dropped"


def has_functions(body: Mapping[str, Any]) -> bool:
    """Say whether functions are offered, and not only tools that Google runs itself."""
    return any("function" in tool for tool in body.get("tools") or ())

"""What becomes of each Chat Completions parameter on a provider's wire, as data: encoders follow it, docs show it.

Source of the names: https://platform.openai.com/docs/api-reference/chat/create
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

KNOWN = (
    "messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p",
    "top_k", "n", "stop", "seed", "logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty",
    "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format",
    "reasoning_effort", "thinking", "verbosity", "modalities", "audio", "prediction", "web_search_options",
    "service_tier", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "metadata", "store",
)  # fmt: skip

# The Messages API's own parameters, GA and beta: https://platform.claude.com/docs/en/api/beta/messages/create.
ANTHROPICS = frozenset({
    "cache_control", "compaction", "container", "context_management", "diagnostics", "mcp_servers", "output_config",
    "output_format", "thread",
})  # fmt: skip
# Those of them that change what a token costs: no wire sends them, as the ledger couldn't follow.
ANTHROPICS_UNBILLED = frozenset({"fallbacks", "inference_geo", "speed"})
_ANTHROPICS_ELSEWHERE = frozenset({"betas", "stop_sequences"})  # in a header, and in OpenAI's words

# generateContent's own, in camel or snake case: https://ai.google.dev/api/generate-content#request-body
GOOGLES = frozenset({
    "safetySettings", "cachedContent", "labels", "toolConfig", "generationConfig", "modelArmorConfig",
})  # fmt: skip
# https://ai.google.dev/api/generate-content#v1beta.GenerationConfig
GOOGLES_GENERATION = frozenset({
    "responseMimeType", "responseSchema", "responseJsonSchema", "responseModalities", "candidateCount",
    "maxOutputTokens", "stopSequences", "responseLogprobs", "enableEnhancedCivicAnswers", "speechConfig",
    "thinkingConfig", "imageConfig", "mediaResolution", "audioTimestamp", "routingConfig", "translationConfig",
    "audioTranscriptionConfig", "modelSelectionConfig",
})  # fmt: skip
_GOOGLES_ELSEWHERE = frozenset({"systemInstruction"})  # in OpenAI's words

# What these values ask for is what happens anyway, at every provider, so that leaving them out drops nothing.
WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "stop": ([],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "parallel_tool_calls": (True,),
    "verbosity": ("medium",),
    "modalities": ([], ["text"]),
    "service_tier": ("auto",),
    "metadata": ({},),
    "store": (False,),
}


@dataclass(frozen=True, slots=True)
class Treatment:
    """One parameter on one wire. `note` says as what it is sent, how it is emulated, or why it is not.

    `dropped` ones are left out and named in a header, or refused where the configuration says so; `refused` ones are
    left to another model of the chain, because an answer without them would be a wrong one.
    """

    kind: Literal["sent", "emulated", "dropped", "refused"]
    note: str


def asked(body: Mapping[str, Any]) -> Iterator[str]:
    """Name the parameters that ask for something."""
    for name, value in body.items():
        if value is not None and value not in WITHOUT_EFFECT.get(name, ()):
            yield name


def is_anothers(name: str) -> bool:
    """Say whether a parameter is none of OpenAI's but Anthropic's or Google's own."""
    if name in KNOWN:
        return False
    is_anthropics = name in ANTHROPICS or name in ANTHROPICS_UNBILLED or name in _ANTHROPICS_ELSEWHERE
    theirs = camel(name)
    return is_anthropics or theirs in GOOGLES or theirs in GOOGLES_GENERATION or theirs in _GOOGLES_ELSEWHERE


@lru_cache(maxsize=1024)
def camel(name: str) -> str:
    """Give a name in camel case."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)

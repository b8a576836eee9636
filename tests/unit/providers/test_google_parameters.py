"""The table of Google's parameters and what the encoder does are one and the same."""

from typing import Any

import pytest

from functions.bootstrap import load_catalog
from functions.gateway.errors import BadRequest
from functions.providers.google.encode import encode_request
from functions.providers.google.parameters import PARAMETERS, dropped_params
from functions.providers.parameters import KNOWN
from tests.unit.providers.google_bodies import GEMINI_2_5, GEMINI_3, LOOK, encoded, gemini, request_of

# A value of each parameter that asks for something, and what then is asked of Google.
EXAMPLES: dict[str, tuple[Any, dict[str, Any]]] = {
    "max_tokens": (5, {"generationConfig": {"maxOutputTokens": 5}}),
    "max_completion_tokens": (5, {"generationConfig": {"maxOutputTokens": 5}}),
    "temperature": (0.5, {"generationConfig": {"temperature": 0.5}}),
    "top_p": (0.5, {"generationConfig": {"topP": 0.5}}),
    "top_k": (5, {"generationConfig": {"topK": 5}}),
    "n": (2, {"generationConfig": {"candidateCount": 2}}),
    "stop": ("END", {"generationConfig": {"stopSequences": ["END"]}}),
    "seed": (5, {"generationConfig": {"seed": 5}}),
    "logprobs": (True, {"generationConfig": {"responseLogprobs": True}}),
    "top_logprobs": (5, {"generationConfig": {"logprobs": 5}}),
    "presence_penalty": (0.5, {"generationConfig": {"presencePenalty": 0.5}}),
    "frequency_penalty": (0.5, {"generationConfig": {"frequencyPenalty": 0.5}}),
    "tools": ([{"googleSearch": {}}], {"tools": [{"googleSearch": {}}]}),
    "response_format": ({"type": "json_object"}, {"generationConfig": {"responseMimeType": "application/json"}}),
    "modalities": (["text", "image"], {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}),
    "audio": (
        {"voice": "Kore", "format": "pcm16"},
        {"generationConfig": {"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}}},
    ),
    "web_search_options": ({}, {"tools": [{"googleSearch": {}}]}),
    "service_tier": ("flex", {"serviceTier": "flex"}),
    "store": (False, {"store": False}),
    "reasoning_effort": (
        "low",
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}}},
    ),
    "thinking": ({"type": "disabled"}, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "low"}}}),
    "user": ("u", {}),
    "stream_options": ({"include_usage": True}, {}),
}  # fmt: skip
EVERYTHING = {**GEMINI_3, "penalties": True}
# Tested with what they need beside them, or made into `tools` before they come here.
ELSEWHERE = {"messages", "model", "stream", "tool_choice", "functions", "function_call"}
WITHOUT_WORD: dict[str, Any] = {
    "logit_bias": {"1": 5},
    "parallel_tool_calls": False,
    "verbosity": "low",
    "prediction": {"type": "content", "content": "x"},
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "metadata": {"a": "b"},
}


CATALOG = load_catalog()
LEVELS = ["minimal", "low", "medium", "high", "xhigh"]


def of_kind(*kinds: str) -> set[str]:
    return {name for name, treatment in PARAMETERS.items() if treatment.kind in kinds}


def test_every_known_parameter_has_a_treatment() -> None:
    assert tuple(PARAMETERS) == KNOWN
    assert of_kind("sent", "emulated") == EXAMPLES.keys() | ELSEWHERE
    assert of_kind("dropped") == WITHOUT_WORD.keys()


@pytest.mark.parametrize("name", [name for provider, name in CATALOG.models if provider == "gemini"])
def test_the_catalog_says_how_to_make_a_model_think_in_words_that_are_known(name: str) -> None:
    capabilities = CATALOG.models["gemini", name].capabilities
    levels, limits = capabilities.get("thinking_levels", []), capabilities.get("thinking_budget")

    assert levels == sorted(set(levels), key=LEVELS.index)
    assert limits is None or (not levels and 0 < limits["min"] < limits["max"] and isinstance(limits["off"], bool))
    assert capabilities.get("reasoning") or not (levels or limits)


@pytest.mark.parametrize("name", EXAMPLES)
def test_what_is_sent_is_asked(name: str) -> None:
    value, expected = EXAMPLES[name]

    body = encoded(capabilities=EVERYTHING, **{name: value})

    assert {field: body[field] for field in body if field != "contents"} == expected
    assert dropped_params(request_of(**{name: value}), gemini(EVERYTHING)) == ()


@pytest.mark.parametrize("name", WITHOUT_WORD)
def test_what_is_dropped_is_named_or_refused(name: str) -> None:
    asked = {name: WITHOUT_WORD[name]}

    assert dropped_params(request_of(**asked), gemini(EVERYTHING)) == (name,)
    assert encoded(capabilities=EVERYTHING, **asked) == encoded(capabilities=EVERYTHING)
    with pytest.raises(BadRequest) as caught:
        encode_request(request_of(drop_params=False, **asked), gemini(EVERYTHING))
    assert caught.value.param == name


@pytest.mark.parametrize(
    ("capabilities", "asked", "dropped"),
    [
        ({"sampling_params": False}, {"temperature": 1, "top_k": 1, "seed": 1}, ("temperature", "top_k")),
        ({"sampling_params": False}, {"top_p": 1}, ("top_p",)),
        (GEMINI_2_5, {"presence_penalty": 1, "frequency_penalty": 1}, ("frequency_penalty", "presence_penalty")),
        (GEMINI_2_5, {"presence_penalty": 0, "frequency_penalty": 0.0}, ()),
        ({}, {"reasoning_effort": "low", "thinking": {"type": "adaptive"}}, ("reasoning_effort", "thinking")),
        (GEMINI_2_5, {"web_search_options": {}, "tools": [LOOK]}, ("web_search_options",)),
        (GEMINI_2_5, {"web_search_options": {}}, ()),
        (GEMINI_3, {"web_search_options": {}, "tools": [LOOK]}, ()),
        (GEMINI_3, {"parallel_tool_calls": True, "logit_bias": {}, "metadata": None}, ()),
        (GEMINI_3, {"enable_caching": True, "safetySettings": []}, ("enable_caching",)),
    ],
)  # fmt: skip
def test_what_a_model_cant_take_is_dropped(capabilities: Any, asked: dict[str, Any], dropped: tuple[str, ...]) -> None:
    assert dropped_params(request_of(**asked), gemini(capabilities)) == dropped
    encoded(capabilities=capabilities, **asked)

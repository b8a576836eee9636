"""What becomes of each parameter at OpenAI, and which of them a model refuses.

What a model takes is in the catalog's `capabilities`. Sources: https://platform.openai.com/docs/guides/reasoning,
https://developers.openai.com/api/docs/guides/latest-model (parameter compatibility), the models' own pages, and the
400s that were recorded. A server of someone else's (`compatible_server`) is sent what it is asked, since only it
knows what it takes.
"""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from functions.providers.parameters import Treatment, asked, is_anothers

_SENT = Treatment("sent", "as it is")
_NOT_REASONING = Treatment("sent", "as it is; dropped where the model reasons")
_UNTIL_REASONING = Treatment("sent", "as it is; dropped where the model reasons, unless with effort `none`")
_THEIRS = Treatment("dropped", "OpenAI has no such parameter; sent to a compatible server")

PARAMETERS: Mapping[str, Treatment] = {
    "messages": Treatment(
        "sent",
        "as they are, without fields that OpenAI doesn't know. What a tool's result holds beside text comes in a user "
        "message after it. Long call ids are shortened",
    ),
    "model": Treatment("sent", "the upstream's own name"),
    "stream": _SENT,
    "stream_options": Treatment("sent", "with `include_usage`, which the gateway bills by"),
    "max_tokens": Treatment("sent", "`max_completion_tokens` where the model reasons; at most the model's limit"),
    "max_completion_tokens": Treatment(
        "sent", "as it is, at most the model's limit; as `max_tokens` to a compatible server"
    ),
    "temperature": _UNTIL_REASONING,
    "top_p": _UNTIL_REASONING,
    "top_k": _THEIRS,
    "n": _SENT,
    "stop": Treatment("sent", "as it is; dropped for o3, o4-mini and GPT-5, which refuse it"),
    "seed": _SENT,
    "logprobs": _UNTIL_REASONING,
    "top_logprobs": _UNTIL_REASONING,
    "logit_bias": _NOT_REASONING,
    "presence_penalty": _NOT_REASONING,
    "frequency_penalty": _NOT_REASONING,
    "tools": _SENT,
    "tool_choice": Treatment("sent", "as it is; `auto` and `none` are left out without tools"),
    "parallel_tool_calls": Treatment("sent", "as it is; dropped for models that call one tool at a time"),
    "functions": Treatment("sent", "as they are"),
    "function_call": _SENT,
    "response_format": _SENT,
    "reasoning_effort": Treatment(
        "sent", "the nearest effort that the model has; dropped where it doesn't reason, or can't while it has tools"
    ),
    "thinking": _THEIRS,
    "verbosity": Treatment("sent", "as it is; dropped for models before GPT-5"),
    "modalities": _SENT,
    "audio": _SENT,
    "prediction": _NOT_REASONING,
    "web_search_options": Treatment("sent", "as they are; dropped for models that can't search"),
    "service_tier": _SENT,
    "user": _SENT,
    "safety_identifier": _SENT,
    "prompt_cache_key": _SENT,
    "prompt_cache_retention": _SENT,
    "metadata": Treatment("sent", "as it is; dropped without `store`, where OpenAI refuses it"),
    "store": _SENT,
}

_NOT_OPENAIS = frozenset(name for name, treatment in PARAMETERS.items() if treatment.kind == "dropped")

_WITHOUT_EFFORT = frozenset({"temperature", "top_p", "logprobs", "top_logprobs"})
_WITHOUT_REASONING = frozenset({"presence_penalty", "frequency_penalty", "logit_bias", "prediction"})
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

# These values ask for what happens anyway, so that a model which refuses others takes them.
_DEFAULTS: Mapping[str, Any] = {"temperature": 1, "top_p": 1}


def refused_params(body: Mapping[str, Any], abilities: Mapping[str, Any]) -> Set[str]:
    """Name what of the body a model with these capabilities refuses, and is not sent."""
    if abilities.get("compatible_server"):
        return frozenset()
    refused = set(_refused_by(body, abilities))
    refused -= {name for name, default in _DEFAULTS.items() if body.get(name) == default}
    if not body.get("store"):
        refused.add("metadata")
    return refused & body.keys()


def dropped_of(body: Mapping[str, Any], refused: Set[str]) -> tuple[str, ...]:
    """Name what of the refused asked for something, sorted."""
    return tuple(sorted(refused.intersection(asked(body))))


def effort_of(body: Mapping[str, Any], abilities: Mapping[str, Any]) -> str | None:
    """Give the model's nearest to the asked effort: the next one up, or its highest. Nothing where none is asked."""
    asked: str | None = body.get("reasoning_effort")
    known: list[str] = abilities.get("reasoning_efforts") or []
    if asked is None or not known or asked in known or asked not in _EFFORTS:
        return asked
    rank = _EFFORTS.index
    return next((effort for effort in known if rank(effort) >= rank(asked)), known[-1])


def must_not_reason(body: Mapping[str, Any], abilities: Mapping[str, Any]) -> bool:
    """Say whether the model is asked to reason, and refuses because it has tools.

    Seen: `Function tools with reasoning_effort are not supported for gpt-5.6-luna in /v1/chat/completions. To use
    function tools, use /v1/responses or set reasoning_effort to 'none'.`
    """
    is_asked = body.get("reasoning_effort") not in (None, "none") and bool(body.get("tools"))
    return is_asked and abilities.get("tools_with_reasoning") is False


def _refused_by(body: Mapping[str, Any], abilities: Mapping[str, Any]) -> Iterable[str]:
    """Of a model that the catalog doesn't know, only what OpenAI has no word for is refused."""
    yield from (name for name in body if name in _NOT_OPENAIS or is_anothers(name))
    if abilities:
        yield from _refused_by_model(body, abilities)


def _refused_by_model(body: Mapping[str, Any], abilities: Mapping[str, Any]) -> Iterable[str]:
    if abilities.get("reasoning"):
        yield from _WITHOUT_REASONING
        if _reasons(body, abilities):
            yield from _WITHOUT_EFFORT
    elif abilities.get("sampling_params") is False:
        yield from _WITHOUT_EFFORT | _WITHOUT_REASONING
    if not abilities.get("reasoning") or must_not_reason(body, abilities):
        yield "reasoning_effort"
    for parameter, ability in (("verbosity", "verbosity"), ("web_search_options", "web_search")):
        if not abilities.get(ability):
            yield parameter
    for parameter, ability in (("stop", "stop"), ("parallel_tool_calls", "parallel_tools")):
        if abilities.get(ability) is False:
            yield parameter


def _reasons(body: Mapping[str, Any], abilities: Mapping[str, Any]) -> bool:
    if must_not_reason(body, abilities):
        return False
    return (effort_of(body, abilities) or abilities.get("default_reasoning_effort")) != "none"

"""OpenAI's request as a Messages request. Source: https://platform.claude.com/docs/en/api/messages/create"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import ChatRequest, Deployment
from functions.providers.anthropic.messages import Conversation, conversation, leave_out_thinking
from functions.providers.anthropic.parameters import PARAMETERS
from functions.providers.anthropic.response_format import Format, format_of
from functions.providers.anthropic.thinking import Thinking, lacks_thinking, refused_sampling, thinking_of
from functions.providers.anthropic.tools import is_forced, tool_choice, tools_of, unforced
from functions.providers.parameters import ANTHROPICS
from functions.providers.parts import malformed_requests, max_output_tokens, not_taken, refuse_dropped, stop_sequences

_DEFAULT_MAX_TOKENS = 16_384  # the wire wants a bound; this is gpt-4o's own
_TRANSLATED = frozenset(name for name, treatment in PARAMETERS.items() if treatment.kind in ("sent", "emulated"))
_TAKEN = _TRANSLATED | ANTHROPICS
_REFUSED = frozenset(name for name, treatment in PARAMETERS.items() if treatment.kind == "refused")
_SENT_AS_THEY_ARE = ANTHROPICS - {"output_config"} | {"top_k"}
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only", "priority": "auto"}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is asked of one deployment. `lost` names what was left out because the client lost what it needs."""

    asked: Mapping[str, Any]
    max_tokens: int
    thinking: Thinking
    choice: Mapping[str, Any] | None
    dropped: frozenset[str]
    lost: frozenset[str]


def encode_request(request: ChatRequest, deployment: Deployment) -> dict[str, Any]:
    """Give the body. Raises `BadRequest`, `UpstreamError`."""
    plan = _plan(request.body, deployment)
    refuse_dropped(request, tuple(sorted(plan.dropped)), deployment.name)
    asked, capabilities = plan.asked, deployment.model.capabilities
    talk = conversation(asked["messages"], takes_mid_system=bool(capabilities.get("mid_conversation_system")))
    if not (plan.thinking.is_on or _thinks_unasked(plan.thinking, capabilities)):
        leave_out_thinking(talk)
    _check_prefill(talk, deployment)
    body: dict[str, Any] = {
        "model": deployment.upstream_model,
        "max_tokens": plan.max_tokens,
        "messages": talk.turns,
        **{name: asked[name] for name in _SENT_AS_THEY_ARE if name in asked},
        **_settings(asked),
    }
    if plan.thinking.config is not None:
        body["thinking"] = plan.thinking.config
    _add_tools(body, talk, plan, capabilities)
    if talk.system:
        body["system"] = _system(talk.system)
    if request.is_stream:
        body["stream"] = True
    return body


def dropped_params(request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
    """Name what this deployment isn't asked, sorted."""
    plan = _plan(request.body, deployment)
    return tuple(sorted(plan.dropped | plan.lost))


def _plan(body: Mapping[str, Any], deployment: Deployment) -> _Plan:
    capabilities = deployment.model.capabilities
    dropped = set(not_taken(body, _TAKEN))
    _refuse(body, dropped)
    asked = {name: value for name, value in body.items() if name not in dropped and value is not None}
    if asked.get("service_tier", "auto") not in _TIERS:
        dropped.add("service_tier")
    limit = _limit(asked, deployment)
    choice = tool_choice(asked)
    with malformed_requests("Anthropic", "thinking"):
        thinking = thinking_of(asked, capabilities, max_tokens=limit, is_forced=is_forced(choice))
    lost: frozenset[str] = frozenset()
    if thinking.budget and lacks_thinking(conversation(asked["messages"], takes_mid_system=False).turns):
        lost = frozenset(name for name in ("thinking", "reasoning_effort") if name in asked)
        thinking = Thinking()
    dropped |= thinking.dropped | refused_sampling(asked, capabilities, thinking)
    unsent = _SAMPLING | dropped if capabilities.get("sampling_params") is False else dropped
    asked = {name: value for name, value in asked.items() if name not in unsent}
    max_tokens = limit if max_output_tokens(asked) else min(limit, _DEFAULT_MAX_TOKENS + thinking.budget)
    return _Plan(asked, max_tokens, thinking, choice, frozenset(dropped), lost)


def _refuse(body: Mapping[str, Any], dropped: set[str]) -> None:
    """Leave what an answer without it would be wrong for to another model; text alone is what comes anyway."""
    for name in sorted(_REFUSED & dropped):
        if body[name] and body[name] != ["text"]:
            raise UpstreamError("unsupported_content", f"{name} is not supported by anthropic, which answers in text")
        dropped.discard(name)


def _thinks_unasked(thinking: Thinking, capabilities: Mapping[str, Any]) -> bool:
    return thinking.config is None and bool(capabilities.get("thinking_by_default"))


def _limit(asked: Mapping[str, Any], deployment: Deployment) -> int:
    """Give the most tokens that there may be. More than the model's own limit is refused upstream, and means that."""
    most = deployment.model.max_output_tokens or 2 * _DEFAULT_MAX_TOKENS
    wanted = max_output_tokens(asked)
    if wanted is None:
        return most
    return min(wanted, deployment.model.max_output_tokens or wanted)


def _check_prefill(talk: Conversation, deployment: Deployment) -> None:
    """A trailing assistant message is a prefill, unless it ends in a server tool's turn that was paused."""
    last = talk.turns[-1]
    if last["role"] != "assistant" or last["content"][-1]["type"] not in ("text", "tool_use"):
        return
    if deployment.model.capabilities.get("assistant_prefill") is False:
        message = f"{deployment.name} can't continue an assistant message; end the conversation with a user message"
        raise UpstreamError("unsupported_content", message)
    _end_in_words(last["content"])


def _end_in_words(content: list[dict[str, Any]]) -> None:
    """Leave out the white space at the end of a prefill, which the API refuses."""
    while len(content) > 1 and content[-1]["type"] == "text" and not content[-1]["text"].strip():
        content.pop()
    if content[-1]["type"] == "text":
        content[-1] = {**content[-1], "text": content[-1]["text"].rstrip()}


def _settings(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parameters that have another name or another range."""
    body: dict[str, Any] = {}
    if "temperature" in asked:
        body["temperature"] = min(asked["temperature"], 1)
    if "top_p" in asked:
        body["top_p"] = asked["top_p"]
    if stop := [sequence for sequence in stop_sequences(asked) if sequence.strip()]:
        body["stop_sequences"] = stop
    if "service_tier" in asked:
        body["service_tier"] = _TIERS[asked["service_tier"]]
    metadata: Mapping[str, Any] = asked.get("metadata") or {}
    if user_id := metadata.get("user_id") or asked.get("safety_identifier") or asked.get("user"):
        body["metadata"] = {"user_id": user_id}
    return body


def _add_tools(body: dict[str, Any], talk: Conversation, plan: _Plan, capabilities: Mapping[str, Any]) -> None:
    """Add the tools, the choice among them, and the answer's form, which may be a tool too."""
    takes_strict = capabilities.get("native_structured_output") is not False
    tools, choice = tools_of(plan.asked, takes_strict=takes_strict), plan.choice
    can_force = capabilities.get("forced_tool_choice") is not False
    answer = format_of(plan.asked, capabilities, can_force_tool=can_force and not tools and not plan.thinking.is_on)
    if answer.tool:
        tools, choice = [answer.tool], answer.choice
    elif choice is not None and is_forced(choice) and not can_force:
        choice, words = unforced(choice)
        talk.system.append({"type": "text", "text": words})
    if answer.instruction:
        talk.system.append({"type": "text", "text": answer.instruction})
    if tools:
        body["tools"] = tools
        if choice is not None:
            body["tool_choice"] = choice
    if output := _output_config(plan, answer):
        body["output_config"] = output


def _output_config(plan: _Plan, answer: Format) -> dict[str, Any]:
    output: dict[str, Any] = {}
    if answer.native is not None:
        output["format"] = answer.native
    if plan.thinking.effort is not None:
        output["effort"] = plan.thinking.effort
    with malformed_requests("Anthropic", "output_config"):
        return output | (plan.asked.get("output_config") or {})


def _system(blocks: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """A single plain text is a string."""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0].keys() == {"type", "text"} else blocks

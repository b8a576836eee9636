"""How much the model thinks, and which sampling parameters that leaves.

Sources: https://platform.claude.com/docs/en/build-with-claude/thinking,
https://platform.claude.com/docs/en/build-with-claude/effort and
https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.gateway.errors import BadRequest
from functions.providers.anthropic.messages import THINKING

LEAST_BUDGET = 1024  # tokens; the API refuses less
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_WORDS = ("none", "minimal", *_EFFORTS)
# Tokens; low, medium and high are LiteLLM's.
_BUDGETS = {"low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16_384}
_LEAST_TOP_P = 0.95  # beside thinking
_SHOWN = "summarized"  # newer models show nothing of their thoughts by default, so that a stream seems to have stalled


@dataclass(frozen=True, slots=True)
class Thinking:
    """`config` is the body's `thinking`, `effort` its `output_config.effort`; `dropped` names what is left out."""

    config: Mapping[str, Any] | None = None
    effort: str | None = None
    dropped: frozenset[str] = frozenset()

    @property
    def is_on(self) -> bool:
        """Say whether the request turns thinking on."""
        return self.config is not None and self.config.get("type") != "disabled"

    @property
    def budget(self) -> int:
        """Give the budget, or 0 without one. Thinking with a budget has the narrower rules."""
        return self.config.get("budget_tokens") or 0 if self.config else 0


def thinking_of(
    asked: Mapping[str, Any], capabilities: Mapping[str, Any], *, max_tokens: int, is_forced: bool
) -> Thinking:
    """Decide how to ask for thinking. `thinking` wins over `reasoning_effort`, as it says more.

    The API refuses to think where a tool is forced, so that thinking yields there. Raises `BadRequest`.
    """
    names = frozenset(name for name in ("thinking", "reasoning_effort") if asked.get(name) not in (None, {}))
    if not names:
        return Thinking()
    _check_effort(asked.get("reasoning_effort"))
    if capabilities.get("reasoning") is False:
        return Thinking(dropped=names)
    wanted = asked.get("thinking") or _wanted(asked["reasoning_effort"])
    _check_budget(wanted.get("budget_tokens"))
    effort = _effort(asked.get("reasoning_effort"), capabilities)
    if wanted.get("type") == "disabled":
        return _off(names, effort, capabilities)
    if is_forced and not capabilities.get("thinking_always_on"):
        return Thinking(effort=effort, dropped=names - ({"reasoning_effort"} if effort else set[str]()))
    if capabilities.get("adaptive_thinking"):
        return _adaptive(wanted, effort, capabilities, max_tokens)
    return _with_budget(names, wanted, asked.get("reasoning_effort"), max_tokens)


def _check_effort(effort: str | None) -> None:
    if effort is not None and effort not in _WORDS:
        message = f"reasoning_effort: {effort!r} is none of {', '.join(_WORDS)}."
        raise BadRequest(message, param="reasoning_effort")


def _check_budget(budget: Any) -> None:
    if budget is not None and (not isinstance(budget, int) or isinstance(budget, bool)):
        raise BadRequest("thinking.budget_tokens must be a number of tokens.", param="thinking.budget_tokens")


def _wanted(effort: str) -> Mapping[str, Any]:
    return {"type": "disabled"} if effort == "none" else {"type": "adaptive", "display": _SHOWN}


def _effort(wanted: str | None, capabilities: Mapping[str, Any]) -> str | None:
    """Give the nearest effort that the model takes, the lower of two; none where it takes no effort."""
    taken: Sequence[str] = capabilities.get("efforts") or ()
    if wanted is None or wanted == "none" or not taken:
        return None
    rank = _EFFORTS.index(wanted) if wanted in _EFFORTS else 0
    return max((level for level in taken if _EFFORTS.index(level) <= rank), key=_EFFORTS.index, default=taken[0])


def _off(names: frozenset[str], effort: str | None, capabilities: Mapping[str, Any]) -> Thinking:
    """A model that always thinks is asked to think little."""
    if capabilities.get("thinking_always_on"):
        return Thinking(effort=_effort("low", capabilities), dropped=names)
    return Thinking(config={"type": "disabled"}, effort=effort)


def _adaptive(
    wanted: Mapping[str, Any], effort: str | None, capabilities: Mapping[str, Any], max_tokens: int
) -> Thinking:
    """A budget stays where it is taken still; elsewhere an effort says about the same."""
    if wanted.get("type") != "enabled":
        return Thinking(config=wanted, effort=effort)
    if capabilities.get("thinking_budget"):
        if budget := _budget(wanted.get("budget_tokens"), max_tokens):
            return Thinking(config={**wanted, "budget_tokens": budget}, effort=effort)
        return Thinking(dropped=frozenset({"thinking"}))
    rest = {name: value for name, value in wanted.items() if name != "budget_tokens"}
    said = effort or _effort(_effort_of(wanted.get("budget_tokens") or 0), capabilities)
    return Thinking(config={"display": _SHOWN, **rest, "type": "adaptive"}, effort=said)


def _with_budget(names: frozenset[str], wanted: Mapping[str, Any], effort: str | None, max_tokens: int) -> Thinking:
    """Give the budget asked for, or the one that stands for an effort, which leaves half of the tokens to the text."""
    given: int | None = wanted.get("budget_tokens")
    own = min(_BUDGETS.get(effort or "high", LEAST_BUDGET), max(LEAST_BUDGET, max_tokens // 2))
    budget = _budget(given or own, max_tokens)
    if budget is None:
        return Thinking(dropped=names)
    rest = {name: value for name, value in wanted.items() if name == "display" and "thinking" in names}
    return Thinking(config={"type": "enabled", "budget_tokens": budget, **rest})


def _budget(wanted: int | None, max_tokens: int) -> int | None:
    """Keep a budget within its bounds; none where `max_tokens` leaves no room to think."""
    budget = min(max(wanted or LEAST_BUDGET, LEAST_BUDGET), max_tokens - 1)
    return budget if budget >= LEAST_BUDGET else None


def _effort_of(budget: int) -> str:
    return next((effort for effort, tokens in _BUDGETS.items() if budget <= tokens), "max")


def refused_sampling(asked: Mapping[str, Any], capabilities: Mapping[str, Any], thinking: Thinking) -> frozenset[str]:
    """Name the sampling parameters that this model, or thinking, takes no value of.

    1 is the default of `temperature` and `top_p`, which every model takes. Current models refuse the two together, so
    `top_p` yields.
    """
    given = {name for name in ("temperature", "top_p", "top_k") if asked.get(name) is not None}
    refused: set[str] = set()
    if capabilities.get("sampling_params") is False:
        refused = given
    elif thinking.is_on:
        refused = given - ({"top_p"} if (asked.get("top_p") or 0) >= _LEAST_TOP_P else set[str]())
    refused -= {name for name in ("temperature", "top_p") if asked.get(name) == 1}
    if {"temperature", "top_p"} <= given - refused:
        refused.add("top_p")
    return frozenset(refused)


def lacks_thinking(turns: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether the turn that goes on would be sent without its thinking blocks, or with a prefill.

    With a budget the API wants the blocks of the turn's first message back, and takes no prefill; a client that echoes
    only text and calls has lost them: https://platform.claude.com/docs/en/build-with-claude/extended-thinking
    """
    first: Mapping[str, Any] | None = None
    for turn in reversed(turns):
        if turn["role"] == "assistant":
            first = turn
        elif turn["role"] == "user" and not any(block["type"] == "tool_result" for block in turn["content"]):
            break
    return first is not None and first["content"][0]["type"] not in THINKING

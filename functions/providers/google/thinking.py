"""How much a model thinks: `reasoning_effort` and `thinking` as Google's `thinkingConfig`.

A model's catalog entry says what it takes: `thinking_levels` (Gemini 3), or `thinking_budget` with `min` and `max`
tokens and whether thinking can be turned `off` (Gemini 2.5).

Sources: https://ai.google.dev/gemini-api/docs/thinking, and for what an effort means in either
https://ai.google.dev/gemini-api/docs/openai#thinking
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from functions.gateway.errors import BadRequest

_LEVELS = ("minimal", "low", "medium", "high", "xhigh")
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 2**31}
_EFFORTS = {"none": "none", "max": "xhigh", **{level: level for level in _LEVELS}}


def can_think(capabilities: Mapping[str, Any]) -> bool:
    """Say whether it is known how this model is told to think."""
    return bool(capabilities.get("thinking_levels") or capabilities.get("thinking_budget"))


def thinking_config(asked: Mapping[str, Any], capabilities: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the configuration, or nothing where the request has no wish. `thinking` outranks `reasoning_effort`.

    Who asks for thinking is shown it. Raises `BadRequest`.
    """
    if thinking := asked.get("thinking"):
        return _from_thinking(thinking, capabilities)
    if effort := asked.get("reasoning_effort"):
        return _from_effort(effort, capabilities)
    return None


def _from_thinking(thinking: Any, capabilities: Mapping[str, Any]) -> dict[str, Any]:
    wish = cast("dict[str, Any]", thinking) if isinstance(thinking, dict) else {}
    budget: Any = wish.get("budget_tokens")
    if wish.get("type") == "disabled" or budget == 0:
        return _turned_off(capabilities)
    if wish.get("type") not in ("enabled", "adaptive"):
        message = "thinking.type must be 'enabled', 'adaptive' or 'disabled'."
        raise BadRequest(message, param="thinking.type")
    if budget is None:
        return {"includeThoughts": True}
    if not isinstance(budget, int) or budget < 0:
        raise BadRequest("thinking.budget_tokens must be a whole number.", param="thinking.budget_tokens")
    if levels := capabilities.get("thinking_levels"):
        return {"thinkingLevel": _level(_effort_of(budget), levels), "includeThoughts": True}
    return {"thinkingBudget": _within(budget, capabilities["thinking_budget"]), "includeThoughts": True}


def _from_effort(effort: Any, capabilities: Mapping[str, Any]) -> dict[str, Any]:
    known = _EFFORTS.get(effort) if isinstance(effort, str) else None
    if known is None:
        raise BadRequest(f"reasoning_effort must be one of {', '.join(_EFFORTS)}.", param="reasoning_effort")
    if known == "none":
        return _turned_off(capabilities)
    if levels := capabilities.get("thinking_levels"):
        return {"thinkingLevel": _level(known, levels), "includeThoughts": True}
    budget = _within(_BUDGETS[known], capabilities["thinking_budget"])
    return {"thinkingBudget": budget, "includeThoughts": True}


def _turned_off(capabilities: Mapping[str, Any]) -> dict[str, Any]:
    """Give the least thinking that the model can do, which for some is none."""
    if levels := capabilities.get("thinking_levels"):
        return {"thinkingLevel": levels[0]}
    limits = capabilities["thinking_budget"]
    return {"thinkingBudget": 0 if limits.get("off") else limits["min"]}


def _level(effort: str, levels: Sequence[str]) -> str:
    """Give the lowest level that is at least the effort, or the highest there is."""
    wanted = _LEVELS.index(effort)
    return next((level for level in levels if _LEVELS.index(level) >= wanted), levels[-1])


def _effort_of(budget: int) -> str:
    return next(level for level, most in _BUDGETS.items() if budget <= most and level != "minimal")


def _within(budget: int, limits: Mapping[str, Any]) -> int:
    return min(max(budget, limits["min"]), limits["max"])

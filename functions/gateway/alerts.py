"""Alerts as the webhook receives them: LiteLLM's fields, and some more that tell one alert from another."""

import re
from datetime import datetime
from typing import Any

from events.alerts import (
    Alert,
    BudgetAlert,
    Holder,
    KeyExpiring,
    ProjectedExceeded,
    SoftBudgetCrossed,
    ThresholdCrossed,
)
from events.money import NanoUsd, usd

# LiteLLM's fields, each in every alert; receivers expect them to be there.
_ABSENT = (
    "max_budget", "soft_budget", "token", "customer_id", "user_id", "team_id", "team_alias", "organization_id",
    "user_email", "key_alias", "projected_exceeded_date", "projected_spend", "alert_emails", "max_budget_alert_emails",
)  # fmt: skip
_MARKUP = re.compile(r"[_*`\[\]<>\\\s]+")  # Telegram's, of either kind
_LONGEST_NAME = 60


def alert_payload(alert: Alert) -> dict[str, Any]:
    """Give the JSON object of one alert. Money is in USD; `id` is the same however often the alert is sent."""
    return {
        "alert_type": "key_expiry" if isinstance(alert, KeyExpiring) else "budget_alerts",
        "id": alert.event_id,
        "event": _event(alert),
        "event_group": alert.holder.kind if alert.holder else "proxy",
        "event_message": _message(alert),
        "spend": None if isinstance(alert, KeyExpiring) else usd(alert.spent),
        **dict.fromkeys(_ABSENT),
        **_holder_fields(alert.holder),
        **_own_fields(alert),
        "time": _iso(alert.time),
    }


def _event(alert: Alert) -> str:
    match alert:
        case ThresholdCrossed():
            return "budget_crossed" if alert.percent >= 100 else "threshold_crossed"
        case SoftBudgetCrossed():
            return "soft_budget_crossed"
        case ProjectedExceeded():
            return "projected_limit_exceeded"
        case KeyExpiring():
            return "key_expiring"


def _holder_fields(holder: Holder | None) -> dict[str, Any]:
    """Give LiteLLM's fields of whose budget it is, and `model` where a key's budget is for one."""
    if holder is None:
        return {}
    fields = {
        "token": holder.key_hash,
        "key_alias": holder.key_alias,
        "user_id": holder.user_id,
        "user_email": holder.user_email,
        "team_id": holder.team_id,
        "team_alias": holder.team_alias,
        "customer_id": holder.end_user,
    }
    return fields | ({} if holder.model is None else {"model": holder.model})


def _own_fields(alert: Alert) -> dict[str, Any]:
    match alert:
        case KeyExpiring():
            return {"expires_at": _iso(alert.expires_at), "expires_in_days": alert.days}
        case ThresholdCrossed():
            return {"max_budget": usd(alert.max_budget), **_window(alert), "threshold_percent": alert.percent}
        case SoftBudgetCrossed():
            return {**_limits(alert), **_window(alert)}
        case ProjectedExceeded():
            return {
                **_limits(alert),
                **_window(alert),
                "projected_spend": usd(alert.projected),
                "projected_exceeded_date": alert.exceeded_at.strftime("%Y-%m-%d"),
                "projected_exceeded_at": _iso(alert.exceeded_at),
            }


def _limits(alert: SoftBudgetCrossed | ProjectedExceeded) -> dict[str, Any]:
    """Say both limits as they are; LiteLLM's projection has the soft budget in `max_budget`."""
    limits = {"max_budget": alert.max_budget, "soft_budget": alert.soft_budget}
    return {name: None if amount is None else usd(amount) for name, amount in limits.items()}


def _window(alert: BudgetAlert) -> dict[str, Any]:
    return {
        "budget_id": alert.budget_id,
        "window": alert.window,
        "budget_reset_at": alert.window_ends_at and _iso(alert.window_ends_at),
    }


def _message(alert: Alert) -> str:
    """Say it in one line, without characters that Markdown would take for its own."""
    match alert:
        case ThresholdCrossed():
            return _threshold_message(alert)
        case SoftBudgetCrossed():
            spent = f"{_dollars(alert.spent)} is spent, the soft budget is {_dollars(alert.soft_budget)}"
            return f"Soft budget crossed: of {_budget(alert)} {spent}. Nothing is refused for it.{_next_window(alert)}"
        case ProjectedExceeded():
            limit = alert.soft_budget or alert.max_budget or alert.projected
            spent = f"of {_budget(alert)} {_dollars(alert.spent)} of {_dollars(limit)} is spent"
            projected = f"it passes the limit at {_minute(alert.exceeded_at)} and ends with {_dollars(alert.projected)}"
            return f"Budget alert: {spent}. If it goes on like this, {projected}."
        case KeyExpiring():
            days = "1 day" if alert.days == 1 else f"{alert.days} days"
            key = _named(alert.holder)
            return f"Key expiring: {key} expires in less than {days}, at {_minute(alert.expires_at)}."


def _threshold_message(alert: ThresholdCrossed) -> str:
    reached = f"{alert.percent} % of {_budget(alert)} is reached"
    spent = f"{_dollars(alert.spent)} of {_dollars(alert.max_budget)} is spent"
    if alert.percent >= 100:
        until = _minute(alert.window_ends_at) if alert.window_ends_at else "it is raised"
        if alert.spent < alert.max_budget:
            return f"Budget crossed: of {_budget(alert)} {spent}. Requests that need more are refused until {until}."
        return f"Budget crossed: {reached}, {spent}. Requests are refused until {until}."
    return f"Budget alert: {reached}, {spent}.{_next_window(alert)}"


def _next_window(alert: ThresholdCrossed | SoftBudgetCrossed) -> str:
    return f" The next window begins at {_minute(alert.window_ends_at)}." if alert.window_ends_at else ""


def _budget(alert: BudgetAlert) -> str:
    return f"the budget of {_named(alert.holder)}" if alert.holder else f"the {alert.budget_id} budget"


def _named(holder: Holder) -> str:
    """Name somebody as people do; their full names are in fields of their own."""
    match holder.kind:
        case "key":
            key = f"key {_plain(holder.key_alias or holder.key_name)}"
            return f"{key} for {_plain(holder.model)}" if holder.model else key
        case "user":
            return f"user {_plain(holder.user_email or holder.user_id)}"
        case "team":
            return f"team {_plain(holder.team_alias or holder.team_id)}"
        case "end_user":
            return f"end user {_plain(holder.end_user)}"


def _plain(name: str | None) -> str:
    return _MARKUP.sub(" ", name or "").strip()[:_LONGEST_NAME]


def _dollars(amount: NanoUsd) -> str:
    """Write an amount to the cent; less than a dollar, to the hundredth of a cent."""
    whole, part = f"{usd(amount):.{2 if usd(amount) >= 1 else 4}f}".split(".")
    return f"${whole}.{part.rstrip('0'):0<2}"


def _minute(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")

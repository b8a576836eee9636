"""Budget alerts as the webhook receives them: LiteLLM's fields, and some more that tell one alert from another."""

from typing import Any

from events.budget import ThresholdCrossed
from events.money import usd

# LiteLLM's fields that say nothing about the global budget; receivers expect them to be there.
_ABSENT = (
    "soft_budget", "token", "customer_id", "user_id", "team_id", "team_alias", "organization_id", "user_email",
    "key_alias", "projected_exceeded_date", "projected_spend", "alert_emails", "max_budget_alert_emails",
)  # fmt: skip


def alert_payload(alert: ThresholdCrossed) -> dict[str, Any]:
    """Give the JSON object of one alert. Money is in USD; `id` is the same however often the alert is sent."""
    return {
        "alert_type": "budget_alerts",
        "id": alert.event_id,
        "event": "budget_crossed" if alert.percent >= 100 else "threshold_crossed",
        "event_group": "proxy",
        "event_message": _message(alert),
        "spend": usd(alert.spent),
        "max_budget": usd(alert.max_budget),
        **dict.fromkeys(_ABSENT),
        "budget_id": alert.budget_id,
        "threshold_percent": alert.percent,
        "window": alert.window,
        "budget_reset_at": alert.window_ends_at and alert.window_ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "time": alert.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _message(alert: ThresholdCrossed) -> str:
    """Say it in one line, without characters that Markdown would take for its own."""
    reset_at = alert.window_ends_at and alert.window_ends_at.strftime("%Y-%m-%d %H:%M UTC")
    reached = f"{alert.percent} % of the {alert.budget_id} budget is reached"
    spent = f"${usd(alert.spent):.2f} of ${usd(alert.max_budget):.2f} is spent"
    if alert.percent >= 100:
        until = f"Requests are refused until {reset_at}." if reset_at else "Requests are refused until it is raised."
        return f"Budget crossed: {reached}, {spent}. {until}"
    return f"Budget alert: {reached}, {spent}." + (f" The next window begins at {reset_at}." if reset_at else "")

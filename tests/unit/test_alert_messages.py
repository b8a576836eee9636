"""Alerts: what the webhook receives of each, and when a key's expiry is told of."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from events.alerts import Alert, Holder
from events.codec import decode, encode
from events.money import nano_usd
from functions.gateway.alerts import alert_payload
from functions.gateway.expiry import due_expiry
from tests.builders import (
    HOLDER,
    NOON,
    TODAY,
    key,
    key_expiring,
    projected_exceeded,
    soft_budget_crossed,
    threshold_crossed,
)

LITELLMS_FIELDS = {
    "event", "event_group", "event_message", "spend", "max_budget", "soft_budget", "token", "customer_id", "user_id",
    "user_email", "team_id", "team_alias", "organization_id", "key_alias", "projected_exceeded_date",
    "projected_spend", "alert_emails", "max_budget_alert_emails",
}  # fmt: skip


def test_an_alert_of_the_budget_of_all_is_told_whole() -> None:
    assert alert_payload(threshold_crossed(80)) == {
        "alert_type": "budget_alerts",
        "id": f"{TODAY}:80",
        "event": "threshold_crossed",
        "event_group": "proxy",
        "event_message": "Budget alert: 80 % of the global budget is reached, $8.20 of $10.00 is spent. "
        "The next window begins at 2026-11-25 00:00 UTC.",
        "spend": 8.2,
        "max_budget": 10.0,
        "soft_budget": None,
        "token": None,
        "customer_id": None,
        "user_id": None,
        "team_id": None,
        "team_alias": None,
        "organization_id": None,
        "user_email": None,
        "key_alias": None,
        "projected_exceeded_date": None,
        "projected_spend": None,
        "alert_emails": None,
        "max_budget_alert_emails": None,
        "budget_id": "global",
        "threshold_percent": 80,
        "window": "2026-11-24",
        "budget_reset_at": "2026-11-25T00:00:00Z",
        "time": "2026-11-24T12:00:00Z",
    }


@pytest.mark.parametrize(
    ("alert", "event", "message"),
    [
        (
            replace(threshold_crossed(100), holder=HOLDER),
            "budget_crossed",
            "Budget crossed: of the budget of key ci nightly $8.20 of $10.00 is spent. "
            "Requests that need more are refused until 2026-11-25 00:00 UTC.",
        ),
        (
            replace(threshold_crossed(100), spent=nano_usd(10.004)),
            "budget_crossed",
            "Budget crossed: 100 % of the global budget is reached, $10.00 of $10.00 is spent. "
            "Requests are refused until 2026-11-25 00:00 UTC.",
        ),
        (
            replace(threshold_crossed(100), spent=nano_usd(0.0853), max_budget=nano_usd(0.1), window_ends_at=None),
            "budget_crossed",
            "Budget crossed: of the global budget $0.0853 of $0.10 is spent. "
            "Requests that need more are refused until it is raised.",
        ),
        (
            replace(threshold_crossed(50), window_ends_at=None, holder=replace(HOLDER, model="gpt-4o")),
            "threshold_crossed",
            "Budget alert: 50 % of the budget of key ci nightly for gpt-4o is reached, $8.20 of $10.00 is spent.",
        ),
        (
            soft_budget_crossed(holder=Holder(kind="team", team_id="t-1", team_alias="Red")),
            "soft_budget_crossed",
            "Soft budget crossed: of the budget of team Red $6.00 is spent, the soft budget is $5.00. "
            "Nothing is refused for it. The next window begins at 2026-11-25 00:00 UTC.",
        ),
        (
            projected_exceeded(holder=Holder(kind="user", user_id="ada")),
            "projected_limit_exceeded",
            "Budget alert: of the budget of user ada $6.00 of $10.00 is spent. If it goes on like this, it passes the "
            "limit at 2026-11-24 20:00 UTC and ends with $12.00.",
        ),
        (
            key_expiring(1),
            "key_expiring",
            "Key expiring: key ci nightly expires in less than 1 day, at 2026-12-01 00:00 UTC.",
        ),
    ],
)
def test_each_kind_of_alert_says_what_it_is_about(alert: Alert, event: str, message: str) -> None:
    payload = alert_payload(alert)

    assert (payload["event"], payload["event_message"]) == (event, message)
    assert payload.keys() >= LITELLMS_FIELDS


@pytest.mark.parametrize(
    ("holder", "group", "fields"),
    [
        (
            HOLDER,
            "key",
            {"token": "ab" * 32, "key_alias": "ci_nightly", "user_id": "ada", "team_id": "red", "team_alias": "Red"},
        ),
        (
            Holder(kind="user", user_id="ada", user_email="a@b.c"),
            "user",
            {"user_id": "ada", "user_email": "a@b.c", "token": None},
        ),
        (Holder(kind="team", team_id="red"), "team", {"team_id": "red", "team_alias": None}),
        (Holder(kind="end_user", end_user="bob"), "end_user", {"customer_id": "bob", "user_id": None}),
        (replace(HOLDER, model="gpt-*"), "key", {"model": "gpt-*"}),
    ],
)
def test_an_alert_names_whose_budget_it_is(holder: Holder, group: str, fields: dict[str, Any]) -> None:
    payload = alert_payload(soft_budget_crossed(holder=holder))

    assert payload["event_group"] == group
    assert {name: payload[name] for name in fields} == fields


def test_a_projection_says_both_limits_as_they_are() -> None:
    payload = alert_payload(projected_exceeded(soft_budget=7_000_000_000))

    assert (payload["max_budget"], payload["soft_budget"]) == (10.0, 7.0)
    assert (payload["projected_spend"], payload["projected_exceeded_date"]) == (12.0, "2026-11-24")


def test_a_name_can_not_break_a_message() -> None:
    holder = Holder(kind="end_user", end_user="[bob](http://x)\n`*_" + "x" * 500)

    message = alert_payload(soft_budget_crossed(holder=holder))["event_message"]

    assert "\n" not in message
    assert not set("[]`*_") & set(message)
    assert len(message) < 300


def days_told(*, expires_in: timedelta, made_for: timedelta, **fields: Any) -> int | None:
    expires_at = NOON + expires_in
    alert = due_expiry(key(expires_at=expires_at, created_at=expires_at - made_for, **fields), NOON)
    return alert and alert.days


@pytest.mark.parametrize(
    ("expires_in", "made_for", "days"),
    [
        (timedelta(days=7, seconds=1), timedelta(days=30), None),
        (timedelta(days=7), timedelta(days=30), 7),
        (timedelta(days=1, seconds=1), timedelta(days=30), 7),
        (timedelta(days=1), timedelta(days=30), 1),
        (timedelta(seconds=1), timedelta(days=30), 1),
        (timedelta(), timedelta(days=30), None),
        (timedelta(days=3), timedelta(days=4), None),
        (timedelta(hours=20), timedelta(days=4), 1),
        (timedelta(hours=2), timedelta(hours=3), None),
    ],
)
def test_a_key_is_told_of_a_week_and_a_day_before_unless_it_was_made_for_less(
    expires_in: timedelta, made_for: timedelta, days: int | None
) -> None:
    assert days_told(expires_in=expires_in, made_for=made_for) == days


def test_a_blocked_key_expires_untold() -> None:
    assert days_told(expires_in=timedelta(hours=1), made_for=timedelta(days=30), blocked=True) is None


def test_an_expiry_that_was_put_off_is_another_alert() -> None:
    first, later = (
        due_expiry(key(expires_at=NOON + timedelta(hours=hours), created_at=NOON - timedelta(days=9)), NOON)
        for hours in (2, 3)
    )

    assert first
    assert later
    assert first.event_id != later.event_id
    assert decode(encode(first)) == first


def test_the_longest_id_of_an_alert_is_one_that_every_store_takes() -> None:
    alert = soft_budget_crossed()
    longest = f"key:{'a' * 64}:sha256-{'b' * 64}:2026-11-24T12:00:00Z:projected"

    assert decode(encode(replace(alert, event_id=longest))).event_id == longest

"""Alerts: what somebody is to be told of a budget or a key, each once. An alert's `event_id` says which it is."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from events.money import NanoUsd

HolderKind = Literal["key", "user", "team", "end_user"]
Mark = int | Literal["soft_budget", "projected"]  # what is remembered of a window: which of its alerts are announced


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Whose budget or key an alert is about, as far as it is known. `model` is the one that a key's budget is for."""

    kind: HolderKind
    key_hash: str | None = None
    key_name: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    user_email: str | None = None
    team_id: str | None = None
    team_alias: str | None = None
    end_user: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdCrossed:
    """The spend of a window has reached `percent` of its budget. `event_id` is `budget:window:percent`."""

    type: ClassVar[str] = "budget.threshold_crossed.v1"

    event_id: str
    time: datetime  # aware, UTC: when it was noticed
    budget_id: str
    window: str
    window_ends_at: datetime | None  # `None`: never
    percent: int
    spent: NanoUsd
    max_budget: NanoUsd
    holder: Holder | None = None  # `None`: of all together

    @property
    def mark(self) -> Mark:
        """Give what its window remembers of it."""
        return self.percent


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftBudgetCrossed:
    """The spend of a window has reached its soft budget: nothing is refused. `event_id` is `budget:window:soft`."""

    type: ClassVar[str] = "budget.soft_budget_crossed.v1"

    event_id: str
    time: datetime
    budget_id: str
    window: str
    window_ends_at: datetime | None
    spent: NanoUsd
    soft_budget: NanoUsd
    max_budget: NanoUsd | None
    holder: Holder | None = None

    @property
    def mark(self) -> Mark:
        """Give what its window remembers of it."""
        return "soft_budget"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedExceeded:
    """If it goes on like this, a window's spend will pass its soft budget, or else its budget, before it ends.

    `projected` is the spend that it would end with, `exceeded_at` when the limit would be passed. `event_id` is
    `budget:window:projected`.
    """

    type: ClassVar[str] = "budget.projected_exceeded.v1"

    event_id: str
    time: datetime
    budget_id: str
    window: str
    window_ends_at: datetime
    spent: NanoUsd
    soft_budget: NanoUsd | None
    max_budget: NanoUsd | None
    projected: NanoUsd
    exceeded_at: datetime
    holder: Holder | None = None

    @property
    def mark(self) -> Mark:
        """Give what its window remembers of it."""
        return "projected"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyExpiring:
    """A key will expire within `days` days. `event_id` is `key:id:expiring:days:expiry`."""

    type: ClassVar[str] = "key.expiring.v1"

    event_id: str
    time: datetime
    days: int
    expires_at: datetime
    holder: Holder


BudgetAlert = ThresholdCrossed | SoftBudgetCrossed | ProjectedExceeded
Alert = BudgetAlert | KeyExpiring

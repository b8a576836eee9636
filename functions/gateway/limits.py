"""What a request is held to: the budgets and rate limits of everybody whom it is counted for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from events.accounts import User
from events.budget import Budget, budget_id_of
from events.keys import Key, ModelLimit
from events.money import NanoUsd
from functions.gateway.access import covers
from functions.gateway.ports import Limits, Parties, Rate, RateKind

_MOST_REMEMBERED = 5_000
_OF_THE_CALENDAR = ("1h", "1d", "1w", "1mo")  # other windows are counted from when somebody was made


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the configuration says of all: at which percentages alerts are due, and what an end user may spend.

    `user_budget` is what a user may spend who has no budget of their own.
    """

    thresholds: tuple[int, ...] = ()
    user_budget: NanoUsd | None = None
    user_budget_duration: str | None = None
    end_user_budget: NanoUsd | None = None
    end_user_budget_duration: str | None = None


NO_DEFAULTS = Defaults()


class _Limited(Protocol):
    @property
    def max_budget(self) -> NanoUsd | None: ...
    @property
    def soft_budget(self) -> NanoUsd | None: ...
    @property
    def budget_duration(self) -> str | None: ...
    @property
    def rpm_limit(self) -> int | None: ...
    @property
    def tpm_limit(self) -> int | None: ...
    @property
    def max_parallel_requests(self) -> int | None: ...
    @property
    def created_at(self) -> datetime: ...


Means = Callable[[str, str], bool]  # whether an entry of a list of models stands for an alias


def limits_of(parties: Parties, alias: str, defaults: Defaults, means: Means = covers) -> Limits:
    """Say what a request for an alias is held to."""
    budgets: list[Budget] = []
    rates: list[Rate] = []
    for scope, holder in _holders(parties, defaults):
        budgets.append(_budget(scope, holder, defaults.thresholds))  # without a limit it counts, for when there is one
        rates.extend(_rates(scope, holder))
    budgets.extend(_end_user_budget(parties.end_user, defaults))
    if parties.key is not None:
        budgets.extend(_model_budgets(parties.key, alias, defaults.thresholds, means))
        rates.extend(_model_rates(parties.key, alias, means))
    return Limits(budgets=tuple(budgets), rates=tuple(rates), parties=parties)


class RememberedLimits:
    """`limits_of`, worked out once for as long as the same records of a key, its user and its team are at hand."""

    def __init__(self, defaults: Defaults, means: Means = covers) -> None:
        self._defaults = defaults
        self._means = means
        self._known: dict[tuple[str, str, str | None], Limits] = {}

    def of(self, parties: Parties, alias: str) -> Limits:
        """Say what a request for an alias is held to."""
        if parties.key is None:
            return limits_of(parties, alias, self._defaults, self._means)
        name = (parties.key.key_id, alias, parties.end_user)
        known = self._known.get(name)
        if known is None or not _are_same(known.parties, parties):
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known[name] = limits_of(parties, alias, self._defaults, self._means)
        return known


def with_limits_of_their_own(key: Key | None, aliases: Iterable[str], means: Means) -> frozenset[str]:
    """Give the aliases that a key has a limit for. What counts for one can't be spent on another, so these take over
    from nobody."""
    limited = (*key.model_max_budget, *key.model_rpm_limit, *key.model_tpm_limit) if key else ()
    return frozenset(alias for alias in aliases if any(means(limit.model, alias) for limit in limited))


def _are_same(one: Parties, other: Parties) -> bool:
    """Say whether these are the very same records: comparing what they say would take longer than it saves."""
    return one.key is other.key and one.user is other.user and one.team is other.team


def _holders(parties: Parties, defaults: Defaults) -> Iterator[tuple[str, _Limited]]:
    if parties.team is not None:
        yield budget_id_of("team", parties.team.team_id), parties.team
    if parties.user is not None:
        yield budget_id_of("user", parties.user.user_id), _with_budget(parties.user, defaults)
    elif parties.key is not None and parties.key.user_id is not None and defaults.user_budget is not None:
        yield budget_id_of("user", parties.key.user_id), _unknown_user(parties.key, parties.key.user_id, defaults)
    if parties.key is not None:
        yield budget_id_of("key", parties.key.key_id), parties.key


def _with_budget(user: User, defaults: Defaults) -> User:
    if user.max_budget is not None or defaults.user_budget is None:
        return user
    return replace(user, max_budget=defaults.user_budget, budget_duration=defaults.user_budget_duration)


def _unknown_user(key: Key, user_id: str, defaults: Defaults) -> User:
    """Give a user of whom only a key knows."""
    someone = User(
        user_id=user_id,
        version=0,
        created_at=key.created_at,
        created_by=key.created_by,
        updated_at=key.updated_at,
        updated_by=key.updated_by,
    )
    return _with_budget(someone, defaults)


def _budget(scope: str, holder: _Limited, thresholds: tuple[int, ...]) -> Budget:
    return Budget(
        budget_id=scope,
        max_budget=holder.max_budget,
        soft_budget=holder.soft_budget,
        duration=holder.budget_duration,
        anchor=_anchor(holder.budget_duration, holder.created_at),
        thresholds=thresholds,
    )


def _rates(scope: str, holder: _Limited) -> Iterator[Rate]:
    given: Sequence[tuple[RateKind, int | None]] = (
        ("requests", holder.rpm_limit),
        ("tokens", holder.tpm_limit),
        ("parallel", holder.max_parallel_requests),
    )
    for kind, limit in given:
        if limit is not None:
            yield Rate(scope=scope, kind=kind, limit=limit)


def _end_user_budget(end_user: str | None, defaults: Defaults) -> Iterator[Budget]:
    if end_user is not None and defaults.end_user_budget is not None:
        yield Budget(
            budget_id=budget_id_of("end_user", end_user),
            max_budget=defaults.end_user_budget,
            duration=defaults.end_user_budget_duration,
            thresholds=defaults.thresholds,
        )


def _model_budgets(key: Key, alias: str, thresholds: tuple[int, ...], means: Means) -> Iterator[Budget]:
    for budget in key.model_max_budget:
        if means(budget.model, alias):
            yield Budget(
                budget_id=budget_id_of("key", key.key_id, budget.model),
                max_budget=budget.max_budget,
                duration=budget.budget_duration,
                anchor=_anchor(budget.budget_duration, key.created_at),
                thresholds=thresholds,
            )


def _model_rates(key: Key, alias: str, means: Means) -> Iterator[Rate]:
    given: Sequence[tuple[RateKind, Sequence[ModelLimit]]] = (
        ("requests", key.model_rpm_limit),
        ("tokens", key.model_tpm_limit),
    )
    for kind, limits in given:
        for limit in limits:
            if means(limit.model, alias):
                yield Rate(scope=budget_id_of("key", key.key_id, limit.model), kind=kind, limit=limit.limit)


def _anchor(duration: str | None, created_at: datetime) -> datetime | None:
    return None if duration is None or duration in _OF_THE_CALENDAR else created_at

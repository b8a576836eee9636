"""Holders: whose budget a counter is of, and in which words an alert tells of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from events.alerts import Holder, HolderKind
from events.allowance import counters_of
from events.budget import Budget, budget_id_of, is_counted
from events.keys import Key
from events.spend import Scopes
from events.window import Window
from functions.gateway.limits import Defaults, limits_of
from functions.gateway.ports import Parties


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody for whom a request was counted, as its event names them; `alias` is what it asked for."""

    kind: HolderKind
    name: str
    alias: str


def named_by(events: Iterable[object]) -> dict[str, Named]:
    """Say whose the counters are in which these events were counted as admitted, less those of all together."""
    found: dict[str, Named] = {}
    for event in events:
        if is_counted(event):
            counters = [counters_of(allowance_id)[-1:] for allowance_id in event.allowance_ids]
            for (counter,) in filter(None, counters):
                if named := _named(counter, event.scopes, event.alias):
                    found[counter] = named
    return found


def _named(counter: str, scopes: Scopes, alias: str) -> Named | None:
    names: Mapping[str, str | None] = {
        "key": scopes.key_hash,
        "user": scopes.user,
        "team": scopes.team,
        "end_user": scopes.end_user,
    }
    kind = counter.partition(":")[0]
    name = names.get(kind)
    return None if name is None else Named(cast("HolderKind", kind), name, alias)


def budget_of(counter: str, parties: Parties, alias: str, defaults: Defaults) -> tuple[Budget, Window] | None:
    """Find the budget and the window whose counter this is; none has it, where it was changed or taken away."""
    for budget in limits_of(parties, alias, defaults).budgets:
        if window := budget.window_named(counter):
            return budget, window
    return None


def holder_of(kind: HolderKind, budget: Budget, parties: Parties) -> Holder:
    """Say whose a budget is."""
    match kind:
        case "key" if parties.key:
            return replace(holder_of_key(parties), model=_model(budget, parties.key))
        case "user" if parties.user:
            return Holder(kind=kind, user_id=parties.user.user_id, user_email=parties.user.user_email)
        case "team" if parties.team:
            return Holder(kind=kind, team_id=parties.team.team_id, team_alias=parties.team.team_alias)
        case _:
            return Holder(kind=kind, end_user=parties.end_user)


def holder_of_key(parties: Parties) -> Holder:
    """Say which key it is, and whose."""
    key, user, team = parties.key, parties.user, parties.team
    return Holder(
        kind="key",
        key_hash=key and key.key_hash,
        key_name=key and key.key_name,
        key_alias=key and key.key_alias,
        user_id=key and key.user_id,
        user_email=user and user.user_email,
        team_id=key and key.team_id,
        team_alias=team and team.team_alias,
    )


def _model(budget: Budget, key: Key) -> str | None:
    """Give the model that a key's budget is for, unless it is for all."""
    models = [entry.model for entry in key.model_max_budget]
    return next((model for model in models if budget_id_of("key", key.key_id, model) == budget.budget_id), None)

"""How users and teams change: from what an operator asks for to the event that tells of it. Times are aware UTC."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from events.accounts import (
    Account,
    AccountCreated,
    AccountDeleted,
    AccountKind,
    AccountUpdated,
    Member,
    Team,
    TeamCreated,
    TeamDeleted,
    TeamUpdated,
    User,
    UserCreated,
    UserDeleted,
    UserUpdated,
    event_id_of,
    members_of,
)

Asked = Mapping[str, Any]  # as `account_shapes` reads it

_UNSET: Mapping[str, Any] = {
    "models": (), "metadata": {}, "blocked": False, "max_budget": None, "soft_budget": None, "budget_duration": None,
    "rpm_limit": None, "tpm_limit": None, "max_parallel_requests": None,
}  # fmt: skip
_UNSET_OF: Mapping[AccountKind, Mapping[str, Any]] = {
    "user": {**_UNSET, "user_alias": None, "user_email": None},
    "team": {**_UNSET, "team_alias": None},
}


def created(
    kind: AccountKind, account_id: str, version: int, asked: Asked, actor: str, now: datetime
) -> AccountCreated:
    """Make a user or a team."""
    made: dict[str, Any] = {"version": version, "created_at": now, "created_by": actor, "updated_at": now}
    made |= {"updated_by": actor, **settings_of(kind, asked)}
    if kind == "user":
        user = User(user_id=account_id, **made)
        return UserCreated(after=user, **_told(user, version, actor, now))
    team = Team(team_id=account_id, members=asked.get("members_with_roles") or (), **made)
    return TeamCreated(after=team, **_told(team, version, actor, now))


def updated(before: Account, changes: Mapping[str, Any], actor: str, now: datetime) -> AccountUpdated | None:
    """Change some fields; `None` where that is how they are already."""
    if replace(before, **changes) == before:
        return None
    changed: dict[str, Any] = {"version": before.version + 1, "updated_at": now, "updated_by": actor, **changes}
    told = _told(before, before.version + 1, actor, now)
    if isinstance(before, User):
        return UserUpdated(before=before, after=replace(before, **changed), **told)
    return TeamUpdated(before=before, after=replace(before, **changed), **told)


def deleted(before: Account, actor: str, now: datetime) -> AccountDeleted:
    """Delete a user or a team."""
    told = _told(before, before.version + 1, actor, now)
    return UserDeleted(before=before, **told) if isinstance(before, User) else TeamDeleted(before=before, **told)


def settings_of(kind: AccountKind, asked: Asked) -> dict[str, Any]:
    """Give the fields that are asked for. What is asked to be nothing is as in a new one."""
    unset = _UNSET_OF[kind]
    return {name: unset[name] if asked[name] is None else asked[name] for name in asked.keys() & unset.keys()}


def with_members(team: Account, members: tuple[Member, ...]) -> dict[str, Any]:
    """Give the fields that change where members come to a team."""
    return {"members": (*members_of(team), *members)}


def without_member(team: Account, user_id: str) -> dict[str, Any]:
    """Give the fields that change where a member leaves a team."""
    return {"members": tuple(member for member in members_of(team) if member.user_id != user_id)}


def _told(account: Account, version: int, actor: str, now: datetime) -> dict[str, Any]:
    return {"event_id": event_id_of(account, version), "time": now, "actor": actor}

"""Users and teams: what is known of each, how it changed, and who changed it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal

from events.budget import budget_id_of
from events.money import NanoUsd


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user, who may have several keys. What holds for them holds for all of these together.

    `version` counts the changes from 1. `models` are all that they may use, or where there is none, everything. Times
    are aware UTC. `created_by` and `updated_by` are `master`, or the hash of a key.
    """

    user_id: str
    version: int
    user_alias: str | None = None
    user_email: str | None = None
    models: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    blocked: bool = False
    max_budget: NanoUsd | None = None
    soft_budget: NanoUsd | None = None
    budget_duration: str | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A user of a team."""

    user_id: str
    role: Literal["admin", "user"] = "user"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """One team, which may have several keys. Its fields are as a `User`'s."""

    team_id: str
    version: int
    team_alias: str | None = None
    members: tuple[Member, ...] = ()
    models: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    blocked: bool = False
    max_budget: NanoUsd | None = None
    soft_budget: NanoUsd | None = None
    budget_duration: str | None = None
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCreated:
    """A user was made. `actor` is who did it: `master`, or the hash of a key. `event_id` is `event_id_of(after)`."""

    type: ClassVar[str] = "user.created.v1"

    event_id: str
    time: datetime  # aware, UTC
    actor: str
    after: User


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdated:
    """A user's settings were changed."""

    type: ClassVar[str] = "user.updated.v1"

    event_id: str
    time: datetime
    actor: str
    before: User
    after: User


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDeleted:
    """A user is gone; this is their last version. One with this id may be made again, with the next version."""

    type: ClassVar[str] = "user.deleted.v1"

    event_id: str
    time: datetime
    actor: str
    before: User


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamCreated:
    """A team was made."""

    type: ClassVar[str] = "team.created.v1"

    event_id: str
    time: datetime
    actor: str
    after: Team


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamUpdated:
    """A team's settings or members were changed."""

    type: ClassVar[str] = "team.updated.v1"

    event_id: str
    time: datetime
    actor: str
    before: Team
    after: Team


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamDeleted:
    """A team is gone; this is its last version. One with this id may be made again, with the next version."""

    type: ClassVar[str] = "team.deleted.v1"

    event_id: str
    time: datetime
    actor: str
    before: Team


Account = User | Team
AccountKind = Literal["user", "team"]
AccountCreated = UserCreated | TeamCreated
AccountUpdated = UserUpdated | TeamUpdated
AccountDeleted = UserDeleted | TeamDeleted
AccountEvent = AccountCreated | AccountUpdated | AccountDeleted


def kind_of(account: Account) -> AccountKind:
    """Say what it is."""
    return "user" if isinstance(account, User) else "team"


def id_of(account: Account) -> str:
    """Give a user's or a team's id."""
    return account.user_id if isinstance(account, User) else account.team_id


def members_of(account: Account) -> tuple[Member, ...]:
    """Give a team's members; a user has none."""
    return account.members if isinstance(account, Team) else ()


def alias_of(account: Account) -> str | None:
    """Give a user's or a team's alias."""
    return account.user_alias if isinstance(account, User) else account.team_alias


def event_id_of(account: Account, version: int) -> str:
    """Name a change: of two that follow the same version, only one can be in the ledger."""
    return f"{budget_id_of(kind_of(account), id_of(account))}:{version:06}"


def version_of(event: AccountEvent) -> int:
    """Say which version of its user or team an event makes; the end of one is a version too."""
    return event.before.version + 1 if isinstance(event, AccountDeleted) else event.after.version


def subject_of(event: AccountEvent) -> Account:
    """Give the user or team that an event is about, as it is now or was last."""
    return event.before if isinstance(event, AccountDeleted) else event.after


def account_before(event: AccountEvent) -> Account | None:
    """Give it as it was before, unless it wasn't."""
    return None if isinstance(event, AccountCreated) else event.before


def account_after(event: AccountEvent) -> Account | None:
    """Give it as it is now, unless it is gone."""
    return None if isinstance(event, AccountDeleted) else event.after


def name_of(event: AccountEvent) -> tuple[AccountKind, str]:
    """Say which user or team an event is about."""
    subject = subject_of(event)
    return kind_of(subject), id_of(subject)


def evolve(latest: AccountEvent | None, event: AccountEvent) -> AccountEvent:
    """Follow one event of a user or a team: the later version holds, in whatever order they come, however often."""
    return event if latest is None or version_of(event) > version_of(latest) else latest


def replay_accounts(events: Iterable[object]) -> dict[tuple[AccountKind, str], Account]:
    """Give every user and team that there is, from the events of the whole ledger in any order."""
    latest: dict[tuple[AccountKind, str], AccountEvent] = {}
    for event in events:
        if isinstance(event, AccountEvent):
            latest[name_of(event)] = evolve(latest.get(name_of(event)), event)
    return {name: account for name, event in latest.items() if (account := account_after(event))}

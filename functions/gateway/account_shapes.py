"""The shapes of what an operator sends to make, change and find users and teams, in LiteLLM's names.

What comes of it has the names and types of `events.accounts`. A field that nobody knows is refused; those of LiteLLM's
that there are not here may be there as long as they say nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Required

from annotated_types import MaxLen, MinLen
from pydantic import AfterValidator, TypeAdapter
from typing_extensions import TypedDict

from events.accounts import AccountKind, Member
from functions.gateway.errors import BadRequest
from functions.gateway.key_shapes import Lifetime, OwnKey
from functions.gateway.setting_shapes import (
    Budget,
    Id,
    Limit,
    Metadata,
    Models,
    PageNumber,
    PageSize,
    Period,
    Short,
    as_tuple,
    closed,
    of_query,
    read_settings,
    refused,
    without_what_says_nothing,
)
from functions.gateway.shapes import checked, read_query

KEY_FIELDS = ("key", "key_alias", "duration", "team_id")  # of `/user/new`: what becomes of the user's first key

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_MOST_AT_ONCE = 100
_MOST_NAMED = 30  # in a query
_WITHOUT_MEANING_HERE = frozenset({
    "access_group_ids", "admins", "agent_id", "aliases", "allowed_cache_controls", "allowed_passthrough_routes",
    "allowed_routes", "allowed_vector_store_indexes", "budget_fallbacks", "budget_id", "budget_limits", "config",
    "default_team_member_models", "enforced_params", "guardrails", "max_budget_in_team", "members", "model_aliases",
    "model_max_budget", "model_rpm_limit", "model_tpm_limit", "object_permission", "organization_id", "organizations",
    "password", "permissions", "policies", "prompts", "router_settings", "rpm_limit_type", "secret_manager_settings",
    "send_invite_email", "spend", "sso_user_id", "tags", "team_member_budget", "team_member_budget_duration",
    "team_member_key_duration", "team_member_permissions", "team_member_rpm_limit", "team_member_tpm_limit", "teams",
    "tpd_limit", "tpm_limit_type",
})  # fmt: skip


def _address(email: str) -> str:
    if not _EMAIL.fullmatch(email):
        raise refused("is no address such as ada@example.com")
    return email


def _member(given: Mapping[str, Any]) -> tuple[Member, ...]:
    return (Member(user_id=given["user_id"], role=given.get("role") or "user"),)


def _members(given: list[dict[str, Any]]) -> tuple[Member, ...]:
    members = tuple(member for one in given for member in _member(one))
    if len({member.user_id for member in members}) < len(members):
        raise refused("has somebody twice")
    return members


def _named(written: str) -> tuple[str, ...]:
    names = as_tuple([name for name in written.split(",") if name])
    if not 1 <= len(names) <= _MOST_NAMED:
        raise refused(f"must be from 1 to {_MOST_NAMED} ids with commas between them")
    return names


@closed
class _MemberFields(TypedDict, total=False):
    user_id: Required[Id]
    role: Literal["admin", "user"] | None


_Email = Annotated[str, MaxLen(320), AfterValidator(_address)]
_Member = Annotated[_MemberFields, without_what_says_nothing(("user_email", "user_alias"))]
_Members = Annotated[list[_Member], MaxLen(_MOST_AT_ONCE), AfterValidator(_members)]
_Ids = Annotated[list[Id], MinLen(1), MaxLen(_MOST_AT_ONCE)]
_Named = Annotated[str, MaxLen(8192), AfterValidator(_named)]


@closed
class _Settings(TypedDict, total=False):
    models: Models | None
    metadata: Metadata | None
    blocked: bool | None
    max_budget: Budget | None
    soft_budget: Budget | None
    budget_duration: Period | None
    rpm_limit: Limit | None
    tpm_limit: Limit | None
    max_parallel_requests: Limit | None


@closed
class _UserSettings(_Settings, total=False):
    user_alias: Short | None
    user_email: _Email | None


@closed
class _NewUser(_UserSettings, total=False):
    user_id: Id | None
    auto_create_key: bool | None
    key: OwnKey | None
    key_alias: Short | None
    duration: Lifetime | None
    team_id: Id | None


@closed
class _UserUpdate(_UserSettings, total=False):
    user_id: Required[Id]


@closed
class _TeamSettings(_Settings, total=False):
    team_alias: Short | None


@closed
class _NewTeam(_TeamSettings, total=False):
    team_id: Id | None
    members_with_roles: _Members | None


@closed
class _TeamUpdate(_TeamSettings, total=False):
    team_id: Required[Id]


@closed
class _Users(TypedDict):
    user_ids: _Ids


@closed
class _Teams(TypedDict):
    team_ids: _Ids


@closed
class _OneUser(TypedDict):
    user_id: Id


@closed
class _OneTeam(TypedDict):
    team_id: Id


@closed
class _NewMembers(TypedDict):
    team_id: Id
    member: _Members


@closed
class _NewMember(TypedDict):
    team_id: Id
    member: Annotated[_Member, AfterValidator(_member)]


@closed
class _MemberOfTeam(TypedDict):
    team_id: Id
    user_id: Id


@of_query
class _UserQuery(TypedDict):
    user_id: Id


@of_query
class _TeamQuery(TypedDict):
    team_id: Id


@of_query
class _UserListing(TypedDict, total=False):
    page: PageNumber
    page_size: PageSize
    user_ids: _Named
    user_alias: Short


@of_query
class _TeamListing(TypedDict, total=False):
    page: PageNumber
    page_size: PageSize
    team_ids: _Named
    team_alias: Short
    user_id: Id


_BODY: TypeAdapter[Any] = TypeAdapter(dict[str, Any])
_SILENT = without_what_says_nothing(_WITHOUT_MEANING_HERE, user_role="internal_user")
_NEW: Mapping[AccountKind, TypeAdapter[Any]] = {
    "user": TypeAdapter(Annotated[_NewUser, _SILENT]),
    "team": TypeAdapter(Annotated[_NewTeam, _SILENT]),
}
_UPDATE: Mapping[AccountKind, TypeAdapter[Any]] = {
    "user": TypeAdapter(Annotated[_UserUpdate, _SILENT]),
    "team": TypeAdapter(Annotated[_TeamUpdate, _SILENT]),
}
_SEVERAL: Mapping[AccountKind, TypeAdapter[Any]] = {"user": TypeAdapter(_Users), "team": TypeAdapter(_Teams)}
_ONE: Mapping[AccountKind, TypeAdapter[Any]] = {"user": TypeAdapter(_OneUser), "team": TypeAdapter(_OneTeam)}
_INFO: Mapping[AccountKind, TypeAdapter[Any]] = {"user": TypeAdapter(_UserQuery), "team": TypeAdapter(_TeamQuery)}
_LISTING: Mapping[AccountKind, TypeAdapter[Any]] = {
    "user": TypeAdapter(_UserListing),
    "team": TypeAdapter(_TeamListing),
}
_NEW_MEMBER: TypeAdapter[Any] = TypeAdapter(Annotated[_NewMember, _SILENT])
_NEW_MEMBERS: TypeAdapter[Any] = TypeAdapter(Annotated[_NewMembers, _SILENT])
_MEMBER: TypeAdapter[Any] = TypeAdapter(Annotated[_MemberOfTeam, without_what_says_nothing(("user_email",))])

SETTINGS: Mapping[AccountKind, frozenset[str]] = {
    "user": frozenset(_UserSettings.__annotations__) | frozenset(_Settings.__annotations__),
    "team": frozenset(_TeamSettings.__annotations__) | frozenset(_Settings.__annotations__),
}


def read_new(kind: AccountKind, raw: bytes) -> dict[str, Any]:
    """Read what `/user/new` and `/team/new` are sent. These all raise `BadRequest`, naming the first field at fault."""
    asked = read_settings(_NEW[kind], raw)
    if asked.get("auto_create_key") is False:
        for name in KEY_FIELDS:
            if kind == "user" and asked.get(name) is not None:
                raise BadRequest(f"{name} is of a key, and auto_create_key says that none is made.", param=name)
    return asked


def read_update(kind: AccountKind, raw: bytes) -> dict[str, Any]:
    """Read what `/user/update` and `/team/update` are sent."""
    return read_settings(_UPDATE[kind], raw)


def read_several(kind: AccountKind, raw: bytes) -> list[str]:
    """Read the ids that `/user/delete` and `/team/delete` are sent."""
    return read_settings(_SEVERAL[kind], raw)[f"{kind}_ids"]


def read_one(kind: AccountKind, raw: bytes) -> str:
    """Read the id that `/user/block`, `/team/block` and their opposites are sent."""
    return read_settings(_ONE[kind], raw)[f"{kind}_id"]


def read_new_members(raw: bytes) -> dict[str, Any]:
    """Read what `/team/member_add` is sent: one member, or a list of them."""
    body = read_settings(_BODY, raw)
    return checked(_NEW_MEMBER if isinstance(body.get("member"), dict) else _NEW_MEMBERS, body)


def read_member(raw: bytes) -> dict[str, Any]:
    """Read what `/team/member_delete` is sent."""
    return read_settings(_MEMBER, raw)


def read_info(kind: AccountKind, query: Iterable[tuple[str, str]]) -> str:
    """Read the id in the query of `/user/info` and `/team/info`."""
    return read_query(_INFO[kind], query)[f"{kind}_id"]


def read_listing(kind: AccountKind, query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the query of `/user/list` and `/team/list`."""
    return read_query(_LISTING[kind], query)

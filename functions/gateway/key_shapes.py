"""The shapes of what an operator sends to make, change and find keys, in LiteLLM's names.

What comes of it has the names and types of `events.keys.Key`, apart from `duration`. Unlike with LiteLLM, a field that
nobody knows is refused; those of LiteLLM's that there are not here may be there as long as they say nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from annotated_types import MaxLen, MinLen
from pydantic import AfterValidator, TypeAdapter
from typing_extensions import TypedDict

from events.keys import ModelBudget, ModelLimit
from functions.gateway.access import ROUTE_GROUPS
from functions.gateway.durations import end_of
from functions.gateway.errors import BadRequest
from functions.gateway.keys import LONGEST_KEY, PREFIX
from functions.gateway.setting_shapes import (
    SOME_TIME,
    Budget,
    Duration,
    Id,
    Limit,
    Metadata,
    Model,
    Models,
    PageNumber,
    PageSize,
    Period,
    Short,
    Tags,
    as_tuple,
    closed,
    in_its_own_words,
    of_query,
    read_settings,
    refused,
    without_what_says_nothing,
)
from functions.gateway.shapes import read_query

_KEY = re.compile(rf"{PREFIX}[\x21-\x7e]{{{8 - len(PREFIX)},{LONGEST_KEY - len(PREFIX)}}}")
_WITHOUT_MEANING_HERE = frozenset({
    "access_group_ids", "agent_id", "aliases", "allowed_cache_controls", "allowed_passthrough_routes",
    "allowed_vector_store_indexes", "auto_rotate", "budget_fallbacks", "budget_id", "budget_limits", "config",
    "enforced_params", "guardrails", "key_type", "object_permission",
    "organization_id", "permissions", "policies", "project_id", "prompts", "rotation_interval", "router_settings",
    "rpm_limit_type", "send_invite_email", "spend", "tpd_limit", "tpm_limit_type",
})  # fmt: skip


def _lifetime(written: str) -> str:
    with in_its_own_words():
        end_of(written, SOME_TIME)
    return written


def _like_a_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise refused(
            f"must begin with {PREFIX} and go on in printable ASCII without blanks, 8 to {LONGEST_KEY} in all"
        )
    return key


def _known_route(route: str) -> str:
    if route not in ROUTE_GROUPS and not (route.startswith("/") and "*" not in route.removesuffix("/*")):
        raise refused(f"must be a path, one that ends in /*, or one of {', '.join(ROUTE_GROUPS)}")
    return route


def _model_budgets(budgets: dict[str, dict[str, Any]]) -> tuple[ModelBudget, ...]:
    return tuple(_model_budget(model, given) for model, given in budgets.items())


def _model_budget(model: str, given: Mapping[str, Any]) -> ModelBudget:
    limits = [given[name] for name in ("budget_limit", "max_budget") if given.get(name) is not None]
    periods = [given[name] for name in ("time_period", "budget_duration") if given.get(name) is not None]
    if len(limits) != 1 or len(periods) > 1:
        raise refused(f"of {model!r} needs one budget_limit (or max_budget), and one time_period at most")
    return ModelBudget(model=model, max_budget=limits[0], budget_duration=next(iter(periods), None))


def _model_limits(limits: dict[str, int]) -> tuple[ModelLimit, ...]:
    return tuple(ModelLimit(model=model, limit=limit) for model, limit in limits.items())


_Route = Annotated[Short, AfterValidator(_known_route)]
_ModelLimits = Annotated[dict[Model, Limit], MaxLen(100), AfterValidator(_model_limits)]
Lifetime = Annotated[Duration, AfterValidator(_lifetime)]
_Presented = Annotated[str, MinLen(1), MaxLen(LONGEST_KEY)]
OwnKey = Annotated[str, AfterValidator(_like_a_key)]


@closed
class _ModelBudget(TypedDict, total=False):
    budget_limit: Budget | None
    max_budget: Budget | None
    time_period: Period | None
    budget_duration: Period | None


@closed
class _Settings(TypedDict, total=False):
    key_alias: Short | None
    user_id: Id | None
    team_id: Id | None
    models: Models | None
    allowed_routes: Annotated[list[_Route], MaxLen(100), AfterValidator(as_tuple)] | None
    tags: Annotated[Tags, AfterValidator(as_tuple)] | None
    metadata: Metadata | None
    blocked: bool | None
    duration: Lifetime | None
    max_budget: Budget | None
    soft_budget: Budget | None
    budget_duration: Period | None
    model_max_budget: Annotated[dict[Model, _ModelBudget], MaxLen(100), AfterValidator(_model_budgets)] | None
    rpm_limit: Limit | None
    tpm_limit: Limit | None
    max_parallel_requests: Limit | None
    model_rpm_limit: _ModelLimits | None
    model_tpm_limit: _ModelLimits | None


SETTINGS = frozenset(_Settings.__annotations__)


@closed
class _NewKey(_Settings, total=False):
    key: OwnKey | None


@closed
class _Update(_Settings, total=False):
    key: _Presented


@closed
class _Regeneration(_Settings, total=False):
    key: _Presented
    new_key: OwnKey | None


@closed
class _Deletion(TypedDict, total=False):
    keys: Annotated[list[_Presented], MinLen(1), MaxLen(100)] | None
    key_aliases: Annotated[list[Short], MinLen(1), MaxLen(100)] | None


@closed
class _OneKey(TypedDict):
    key: _Presented


@of_query
class _Listing(TypedDict, total=False):
    page: PageNumber
    size: PageSize
    user_id: Id
    team_id: Id
    key_alias: Short
    key_hash: Id
    return_full_object: bool


@of_query
class _Info(TypedDict, total=False):
    key: _Presented


_SILENT = without_what_says_nothing(_WITHOUT_MEANING_HERE, key_type="default")
_NEW_KEY: TypeAdapter[Any] = TypeAdapter(Annotated[_NewKey, _SILENT])
_UPDATE: TypeAdapter[Any] = TypeAdapter(Annotated[_Update, _SILENT])
_REGENERATION: TypeAdapter[Any] = TypeAdapter(Annotated[_Regeneration, _SILENT])
_DELETION: TypeAdapter[Any] = TypeAdapter(_Deletion)
_ONE_KEY: TypeAdapter[Any] = TypeAdapter(_OneKey)
_LISTING: TypeAdapter[Any] = TypeAdapter(_Listing)
_INFO: TypeAdapter[Any] = TypeAdapter(_Info)


def read_new_key(raw: bytes) -> dict[str, Any]:
    """Read what `/key/generate` is sent. This and the others raise `BadRequest`, naming the first field at fault."""
    return read_settings(_NEW_KEY, raw)


def read_update(raw: bytes) -> dict[str, Any]:
    """Read what `/key/update` is sent."""
    return read_settings(_UPDATE, raw)


def read_regeneration(raw: bytes) -> dict[str, Any]:
    """Read what `/key/regenerate` is sent."""
    return read_settings(_REGENERATION, raw)


def named_key(asked: Mapping[str, Any]) -> str:
    """Give the key that a body names. Raises `BadRequest` where it doesn't."""
    if "key" not in asked:
        raise BadRequest("key is missing.", param="key", code="missing_required_parameter")
    return asked["key"]


def read_deletion(raw: bytes) -> dict[str, Any]:
    """Read what `/key/delete` is sent."""
    return read_settings(_DELETION, raw)


def read_one_key(raw: bytes) -> dict[str, Any]:
    """Read what `/key/block` and `/key/unblock` are sent."""
    return read_settings(_ONE_KEY, raw)


def read_listing(query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the query of `/key/list`."""
    return read_query(_LISTING, query)


def read_info(query: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Read the query of `/key/info`."""
    return read_query(_INFO, query)

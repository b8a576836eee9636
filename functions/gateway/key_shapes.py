"""The shapes of what an operator sends to make, change and find keys, in LiteLLM's names.

What comes of it has the names and types of `events.keys.Key`, apart from `duration`. Unlike with LiteLLM, a field that
nobody knows is refused; those of LiteLLM's that there are not here may be there as long as they say nothing.
"""

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Required, cast

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import AfterValidator, BeforeValidator, ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from events.keys import ModelBudget, ModelLimit
from events.money import NanoUsd, nano_usd
from functions.gateway.access import ROUTE_GROUPS
from functions.gateway.durations import end_of, period
from functions.gateway.errors import BadRequest
from functions.gateway.keys import LONGEST_KEY, PREFIX
from functions.gateway.shapes import checked, read_body

_closed = with_config(ConfigDict(extra="forbid", strict=True))
_of_query = with_config(ConfigDict(extra="forbid"))

_LARGEST_BUDGET_USD = 9_000_000  # what an event's number can hold
_MOST_METADATA_BYTES = 16_384
_KEY = re.compile(rf"{PREFIX}[\x21-\x7e]{{{8 - len(PREFIX)},{LONGEST_KEY - len(PREFIX)}}}")
_SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
_WITHOUT_MEANING_HERE = frozenset({
    "access_group_ids", "agent_id", "aliases", "allowed_cache_controls", "allowed_passthrough_routes",
    "allowed_vector_store_indexes", "auto_rotate", "budget_fallbacks", "budget_id", "budget_limits", "config",
    "enforced_params", "guardrails", "key_type", "object_permission",
    "organization_id", "permissions", "policies", "project_id", "prompts", "rotation_interval", "router_settings",
    "rpm_limit_type", "send_invite_email", "spend", "tpd_limit", "tpm_limit_type",
})  # fmt: skip


def _refused(message: str) -> PydanticCustomError:
    return PydanticCustomError("value", "{reason}", {"reason": message})


@contextmanager
def _in_its_own_words() -> Generator[None]:
    """Have what is raised refuse the field."""
    try:
        yield
    except ValueError as error:
        raise _refused(str(error)) from None


def _lifetime(written: str) -> str:
    with _in_its_own_words():
        end_of(written, _SOME_TIME)
    return written


def _budget_period(written: str) -> str:
    with _in_its_own_words():
        return period(written, _SOME_TIME)


def _in_nano_usd(amount: float) -> NanoUsd:
    nano = nano_usd(Decimal(str(amount)))
    if amount and not nano:
        raise _refused("is less than 0.000000001 USD, and not 0")
    return nano


def _as_tuple(values: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _one_star(model: str) -> str:
    if model.count("*") > 1:
        raise _refused("may have one * at most")
    return model


def _like_a_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise _refused(
            f"must begin with {PREFIX} and go on in printable ASCII without blanks, 8 to {LONGEST_KEY} in all"
        )
    return key


def _known_route(route: str) -> str:
    if route not in ROUTE_GROUPS and not (route.startswith("/") and "*" not in route.removesuffix("/*")):
        raise _refused(f"must be a path, one that ends in /*, or one of {', '.join(ROUTE_GROUPS)}")
    return route


def _small_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(metadata, allow_nan=False))
    except (ValueError, RecursionError):
        raise _refused("has a number that JSON can't hold, or is nested too deeply") from None
    if size > _MOST_METADATA_BYTES:
        raise _refused(f"is over {_MOST_METADATA_BYTES} bytes of JSON")
    if not _are_tags(metadata.get("tags")):
        raise _refused("has tags that are not a list of texts, 100 at most and each of 128 characters at most")
    return metadata


def _are_tags(tags: object) -> bool:
    try:
        _TAGS.validate_python(tags)
    except ValidationError:
        return False
    return True


def _model_budgets(budgets: dict[str, dict[str, Any]]) -> tuple[ModelBudget, ...]:
    return tuple(_model_budget(model, given) for model, given in budgets.items())


def _model_budget(model: str, given: Mapping[str, Any]) -> ModelBudget:
    limits = [given[name] for name in ("budget_limit", "max_budget") if given.get(name) is not None]
    periods = [given[name] for name in ("time_period", "budget_duration") if given.get(name) is not None]
    if len(limits) != 1 or len(periods) > 1:
        raise _refused(f"of {model!r} needs one budget_limit (or max_budget), and one time_period at most")
    return ModelBudget(model=model, max_budget=limits[0], budget_duration=next(iter(periods), None))


def _model_limits(limits: dict[str, int]) -> tuple[ModelLimit, ...]:
    return tuple(ModelLimit(model=model, limit=limit) for model, limit in limits.items())


def _without_what_says_nothing(body: object) -> object:
    if not isinstance(body, dict):
        return body
    given = cast("dict[str, Any]", body)
    silent = {name for name in _WITHOUT_MEANING_HERE & given.keys() if not given[name]}
    if given.get("key_type") == "default":
        silent.add("key_type")
    return {name: value for name, value in given.items() if name not in silent}


_Short = Annotated[str, MinLen(1), MaxLen(128)]
_Id = Annotated[str, MinLen(1), MaxLen(256)]
_Model = Annotated[_Short, AfterValidator(_one_star)]
_Route = Annotated[_Short, AfterValidator(_known_route)]
_Tags = Annotated[list[_Short], MaxLen(100)]
_TAGS: TypeAdapter[Any] = TypeAdapter(_Tags | None, config=ConfigDict(strict=True))
_Limit = Annotated[int, Ge(0), Le(2**31 - 1)]
_Budget = Annotated[float, Ge(0), Le(_LARGEST_BUDGET_USD), AfterValidator(_in_nano_usd)]
_Duration = Annotated[str, MaxLen(16)]  # which is told where it is wrong
_Period = Annotated[_Duration, AfterValidator(_budget_period)]
_ModelLimits = Annotated[dict[_Model, _Limit], MaxLen(100), AfterValidator(_model_limits)]
_Presented = Annotated[str, MinLen(1), MaxLen(LONGEST_KEY)]
_OwnKey = Annotated[str, AfterValidator(_like_a_key)]


@_closed
class _ModelBudget(TypedDict, total=False):
    budget_limit: _Budget | None
    max_budget: _Budget | None
    time_period: _Period | None
    budget_duration: _Period | None


@_closed
class _Settings(TypedDict, total=False):
    key_alias: _Short | None
    user_id: _Id | None
    team_id: _Id | None
    models: Annotated[list[_Model], MaxLen(200), AfterValidator(_as_tuple)] | None
    allowed_routes: Annotated[list[_Route], MaxLen(100), AfterValidator(_as_tuple)] | None
    tags: Annotated[_Tags, AfterValidator(_as_tuple)] | None
    metadata: Annotated[dict[str, Any], AfterValidator(_small_metadata)] | None
    blocked: bool | None
    duration: Annotated[_Duration, AfterValidator(_lifetime)] | None
    max_budget: _Budget | None
    soft_budget: _Budget | None
    budget_duration: _Period | None
    model_max_budget: Annotated[dict[_Model, _ModelBudget], MaxLen(100), AfterValidator(_model_budgets)] | None
    rpm_limit: _Limit | None
    tpm_limit: _Limit | None
    max_parallel_requests: _Limit | None
    model_rpm_limit: _ModelLimits | None
    model_tpm_limit: _ModelLimits | None


SETTINGS = frozenset(_Settings.__annotations__)


@_closed
class _NewKey(_Settings, total=False):
    key: _OwnKey | None


@_closed
class _Update(_Settings, total=False):
    key: _Presented


@_closed
class _Regeneration(_Settings, total=False):
    key: _Presented
    new_key: _OwnKey | None


@_closed
class _Deletion(TypedDict, total=False):
    keys: Annotated[list[_Presented], MinLen(1), MaxLen(100)] | None
    key_aliases: Annotated[list[_Short], MinLen(1), MaxLen(100)] | None


@_closed
class _OneKey(TypedDict):
    key: _Presented


@_of_query
class _Listing(TypedDict, total=False):
    page: Annotated[int, Ge(1), Le(1_000_000)]
    size: Annotated[int, Ge(1), Le(100)]
    user_id: _Id
    team_id: _Id
    key_alias: _Short
    key_hash: _Id
    return_full_object: bool


@_of_query
class _Info(TypedDict):
    key: Required[_Presented]


_SILENT = BeforeValidator(_without_what_says_nothing)
_NEW_KEY: TypeAdapter[Any] = TypeAdapter(Annotated[_NewKey, _SILENT])
_UPDATE: TypeAdapter[Any] = TypeAdapter(Annotated[_Update, _SILENT])
_REGENERATION: TypeAdapter[Any] = TypeAdapter(Annotated[_Regeneration, _SILENT])
_DELETION: TypeAdapter[Any] = TypeAdapter(_Deletion)
_ONE_KEY: TypeAdapter[Any] = TypeAdapter(_OneKey)
_LISTING: TypeAdapter[Any] = TypeAdapter(_Listing)
_INFO: TypeAdapter[Any] = TypeAdapter(_Info)


def read_new_key(raw: bytes) -> dict[str, Any]:
    """Read what `/key/generate` is sent. This and the others raise `BadRequest`, naming the first field at fault."""
    return read_body(_NEW_KEY, raw)


def read_update(raw: bytes) -> dict[str, Any]:
    """Read what `/key/update` is sent."""
    return read_body(_UPDATE, raw)


def read_regeneration(raw: bytes) -> dict[str, Any]:
    """Read what `/key/regenerate` is sent."""
    return read_body(_REGENERATION, raw)


def named_key(asked: Mapping[str, Any]) -> str:
    """Give the key that a body names. Raises `BadRequest` where it doesn't."""
    if "key" not in asked:
        raise BadRequest("key is missing.", param="key", code="missing_required_parameter")
    return asked["key"]


def read_deletion(raw: bytes) -> dict[str, Any]:
    """Read what `/key/delete` is sent."""
    return read_body(_DELETION, raw)


def read_one_key(raw: bytes) -> dict[str, Any]:
    """Read what `/key/block` and `/key/unblock` are sent."""
    return read_body(_ONE_KEY, raw)


def read_listing(query: Mapping[str, str]) -> dict[str, Any]:
    """Read the query of `/key/list`."""
    return checked(_LISTING, dict(query))


def read_info(query: Mapping[str, str]) -> dict[str, Any]:
    """Read the query of `/key/info`."""
    return checked(_INFO, dict(query))

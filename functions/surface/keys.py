"""The operator's paths for virtual keys, in LiteLLM's shapes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from events.keys import Key, ModelLimit
from events.money import NanoUsd, usd
from functions.gateway import key_shapes
from functions.gateway.config import Config
from functions.gateway.exact_json import write_json
from functions.gateway.key_administration import KeyAdministration, ShownKey
from functions.gateway.keys import Keyring, hash_key
from functions.gateway.ports import KeyPage, KeyQuery
from functions.gateway.spending import Spending, Spent
from functions.surface.caller import operator_of
from functions.surface.edge import json_response
from functions.surface.reading import read_json

_MOST_BODY_BYTES = 1024 * 1024
_PAGE_SIZE = 10
KEY_COLUMNS = (
    "token", "key_name", "key_alias", "user_id", "team_id", "spend", "total_spend", "max_budget", "budget_duration",
    "budget_reset_at", "blocked", "expires", "created_at",
)  # fmt: skip


class KeySurface:
    """Everything under `/key`: with the master key, and closed where there is none."""

    def __init__(self, administration: KeyAdministration, keyring: Keyring, config: Config, spending: Spending) -> None:
        self._administration = administration
        self._spending = spending
        self._keyring = keyring
        self._limit_bytes = min(config.max_request_bytes, _MOST_BODY_BYTES)

    async def generate(self, request: Request) -> Response:
        """`POST /key/generate`."""
        actor = await self._operator(request)
        asked = key_shapes.read_new_key(await self._body(request))
        return _json(shown(await self._administration.generate(asked, actor)))

    async def info(self, request: Request) -> Response:
        """`GET /key/info`: of any key with the master key, and of itself with another."""
        identity = await self._keyring.authenticate(request.headers, request.scope["path"])
        if identity.kind != "virtual":
            identity.check_master()
        asked = key_shapes.read_info(request.query_params.multi_items())
        if identity.kind == "virtual":
            asked = {"key": identity.key_hash} | asked
        presented = key_shapes.named_key(asked)
        if identity.key_hash not in (presented, hash_key(presented)):
            identity.check_operator()
        key = await self._administration.find(presented)
        spent = await self._spending.of_keys([key])
        return _json({"key": presented, "info": row_with_spend(key, spent[key.key_id])})

    async def update(self, request: Request) -> Response:
        """`POST /key/update`."""
        actor = await self._operator(request)
        asked = key_shapes.read_update(await self._body(request))
        key = await self._administration.update(asked, actor)
        return _json({"key": asked.get("key", key.key_hash), **row(key)})

    async def delete(self, request: Request) -> Response:
        """`POST /key/delete`: all of them, or none."""
        actor = await self._operator(request)
        asked = key_shapes.read_deletion(await self._body(request))
        return _json({"deleted_keys": await self._administration.delete(asked, actor)})

    async def list(self, request: Request) -> Response:
        """`GET /key/list`."""
        await self._operator(request)
        asked = key_shapes.read_listing(request.query_params.multi_items())
        number, size = asked.pop("page", 1), asked.pop("size", _PAGE_SIZE)
        is_full: bool = asked.pop("return_full_object", False)
        page = await self._administration.page(KeyQuery(**asked, offset=(number - 1) * size, limit=size))
        spent = await self._spending.of_keys(page.keys) if is_full else None
        return _json(listed(page, number, size, spent))

    async def block(self, request: Request) -> Response:
        """`POST /key/block`."""
        return await self._set_blocked(request, is_blocked=True)

    async def unblock(self, request: Request) -> Response:
        """`POST /key/unblock`."""
        return await self._set_blocked(request, is_blocked=False)

    async def regenerate(self, request: Request) -> Response:
        """`POST /key/regenerate`, `/key/{key}/regenerate`: another key in the place of one, with its settings."""
        actor = await self._operator(request)
        asked = key_shapes.read_regeneration(await self._body(request))
        presented = request.path_params.get("key") or key_shapes.named_key(asked)
        return _json(shown(await self._administration.regenerate(presented, asked, actor)))

    async def _set_blocked(self, request: Request, *, is_blocked: bool) -> Response:
        actor = await self._operator(request)
        presented: str = key_shapes.read_one_key(await self._body(request))["key"]
        return _json(row(await self._administration.block(presented, actor, is_blocked=is_blocked)))

    async def _operator(self, request: Request) -> str:
        return await operator_of(request, self._keyring)

    async def _body(self, request: Request) -> bytes:
        return await read_json(request, limit_bytes=self._limit_bytes)


def row(key: Key) -> dict[str, Any]:
    """Give a key as LiteLLM shows it: money in USD, times in UTC."""
    return {
        "token": key.key_hash,
        "key_name": key.key_name,
        "key_alias": key.key_alias,
        "user_id": key.user_id,
        "team_id": key.team_id,
        "models": key.models,
        "allowed_routes": key.allowed_routes,
        "tags": key.tags,
        "metadata": key.metadata,
        "blocked": key.blocked,
        "expires": time_or_none(key.expires_at),
        "max_budget": usd_or_none(key.max_budget),
        "soft_budget": usd_or_none(key.soft_budget),
        "budget_duration": key.budget_duration,
        "model_max_budget": _model_budgets(key),
        "rpm_limit": key.rpm_limit,
        "tpm_limit": key.tpm_limit,
        "max_parallel_requests": key.max_parallel_requests,
        "model_rpm_limit": _model_limits(key.model_rpm_limit),
        "model_tpm_limit": _model_limits(key.model_tpm_limit),
        "created_at": time_or_none(key.created_at),
        "created_by": key.created_by,
        "updated_at": time_or_none(key.updated_at),
        "updated_by": key.updated_by,
    }


def row_with_spend(key: Key, spent: Spent) -> dict[str, Any]:
    """Give a key and what it has spent."""
    return row(key) | spent_fields(spent)


def spent_fields(spent: Spent) -> dict[str, Any]:
    """Give what a key, a user or a team has spent."""
    return {
        "spend": usd(spent.spend),
        "total_spend": usd(spent.total_spend),
        "budget_reset_at": time_or_none(spent.resets_at),
    }


def shown(made: ShownKey) -> dict[str, Any]:
    """Give a key with what nobody is shown again."""
    return {"key": made.presented, "token_id": made.key.key_hash, **row(made.key)}


def listed(page: KeyPage, number: int, size: int, spent: Mapping[str, Spent] | None) -> dict[str, Any]:
    """Give a page of keys: their hashes, or where it is told what they have spent, all that there is of them."""
    return {
        "keys": [key.key_hash if spent is None else row_with_spend(key, spent[key.key_id]) for key in page.keys],
        "total_count": page.total,
        "current_page": number,
        "total_pages": -(-page.total // size),
    }


def key_routes(surface: KeySurface) -> list[Route]:
    """Say what answers where, and to which method."""
    return [
        Route("/key/generate", surface.generate, methods=["POST"]),
        Route("/key/info", surface.info, methods=["GET"]),
        Route("/key/update", surface.update, methods=["POST"]),
        Route("/key/delete", surface.delete, methods=["POST"]),
        Route("/key/list", surface.list, methods=["GET"]),
        Route("/key/block", surface.block, methods=["POST"]),
        Route("/key/unblock", surface.unblock, methods=["POST"]),
        Route("/key/regenerate", surface.regenerate, methods=["POST"]),
        Route("/key/{key}/regenerate", surface.regenerate, methods=["POST"]),
    ]


def _model_budgets(key: Key) -> dict[str, Any]:
    return {
        budget.model: {"budget_limit": usd(budget.max_budget), "time_period": budget.budget_duration}
        for budget in key.model_max_budget
    }


def _model_limits(limits: tuple[ModelLimit, ...]) -> dict[str, int]:
    return {limit.model: limit.limit for limit in limits}


def usd_or_none(amount: NanoUsd | None) -> float | None:
    """Give an amount in USD."""
    return None if amount is None else usd(amount)


def time_or_none(time: datetime | None) -> str | None:
    """Give a time as it is shown."""
    return None if time is None else time.isoformat().replace("+00:00", "Z")


def _json(value: Any) -> Response:
    return json_response(write_json(value))

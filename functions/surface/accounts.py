"""The operator's paths for users and teams, in LiteLLM's shapes."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from events.accounts import Account, AccountKind, Team, User, id_of
from functions.gateway import account_shapes
from functions.gateway.account_administration import AccountAdministration
from functions.gateway.config import Config
from functions.gateway.exact_json import write_json
from functions.gateway.keys import Keyring
from functions.gateway.ports import AccountPage, AccountQuery
from functions.gateway.spending import Spending, Spent
from functions.surface import keys
from functions.surface.caller import operator_of
from functions.surface.edge import json_response
from functions.surface.keys import spent_fields, time_or_none, usd_or_none
from functions.surface.reading import read_json

_MOST_BODY_BYTES = 1024 * 1024
_PAGE_SIZE = 25
_UNPAGED_SIZE = 100
_ROLE = "internal_user"  # LiteLLM's word for somebody who operates nothing
_OF_BUDGET = ("spend", "total_spend", "max_budget", "soft_budget", "budget_duration", "budget_reset_at", "blocked")
COLUMNS: Mapping[AccountKind, tuple[str, ...]] = {
    "user": ("user_id", "user_alias", "user_email", *_OF_BUDGET, "created_at"),
    "team": ("team_id", "team_alias", *_OF_BUDGET, "created_at"),
}


class AccountSurface:
    """Everything under `/user` and `/team`: with the master key, and closed where there is none."""

    def __init__(
        self, administration: AccountAdministration, keyring: Keyring, config: Config, spending: Spending
    ) -> None:
        self._administration = administration
        self._spending = spending
        self._keyring = keyring
        self._limit_bytes = min(config.max_request_bytes, _MOST_BODY_BYTES)

    async def new_user(self, request: Request) -> Response:
        """`POST /user/new`: the user, and the key that is made with them."""
        actor, raw = await self._asked(request)
        new = await self._administration.create_user(account_shapes.read_new("user", raw), actor)
        key = {"key": None} if new.key is None else keys.shown(new.key)
        return _json({**key, **row(new.user)})

    async def new_team(self, request: Request) -> Response:
        """`POST /team/new`."""
        actor, raw = await self._asked(request)
        return _json(row(await self._administration.create("team", account_shapes.read_new("team", raw), actor)))

    async def user_info(self, request: Request) -> Response:
        """`GET /user/info`: the user, with their keys and the teams of which they are a member."""
        await operator_of(request, self._keyring)
        user_id = account_shapes.read_info("user", request.query_params.multi_items())
        user = await self._administration.find("user", user_id)
        teams, held = await asyncio.gather(self._administration.teams_of(user_id), self._key_rows(user))
        (of_user,), of_teams = await asyncio.gather(self._rows("user", [user]), self._rows("team", teams))
        return _json({
            "user_id": user_id,
            "user_info": {**of_user, "teams": [id_of(team) for team in teams]},
            "keys": held,
            "teams": of_teams,
        })  # fmt: skip

    async def team_info(self, request: Request) -> Response:
        """`GET /team/info`: the team, with its keys."""
        await operator_of(request, self._keyring)
        team_id = account_shapes.read_info("team", request.query_params.multi_items())
        team = await self._administration.find("team", team_id)
        (of_team,), held = await asyncio.gather(self._rows("team", [team]), self._key_rows(team))
        return _json({"team_id": team_id, "team_info": of_team, "keys": held})

    async def update(self, kind: AccountKind, request: Request) -> Response:
        """`POST /user/update`, `/team/update`."""
        actor, raw = await self._asked(request)
        account = await self._administration.update(kind, account_shapes.read_update(kind, raw), actor)
        return _json({f"{kind}_id": id_of(account), "data": row(account)})

    async def delete(self, kind: AccountKind, request: Request) -> Response:
        """`POST /user/delete`, `/team/delete`: all of them, or none, with their keys."""
        actor, raw = await self._asked(request)
        ids = account_shapes.read_several(kind, raw)
        await self._administration.delete(kind, ids, actor)
        return _json({f"deleted_{kind}s": ids})

    async def block(self, kind: AccountKind, is_blocked: bool, request: Request) -> Response:
        """`POST /user/block`, `/team/block`, and their opposites."""
        actor, raw = await self._asked(request)
        account_id = account_shapes.read_one(kind, raw)
        return _json(row(await self._administration.block(kind, account_id, actor, is_blocked=is_blocked)))

    async def add_member(self, request: Request) -> Response:
        """`POST /team/member_add`: one or several."""
        actor, raw = await self._asked(request)
        asked = account_shapes.read_new_members(raw)
        return _json(row(await self._administration.add_members(asked["team_id"], asked["member"], actor)))

    async def remove_member(self, request: Request) -> Response:
        """`POST /team/member_delete`."""
        actor, raw = await self._asked(request)
        asked = account_shapes.read_member(raw)
        return _json(row(await self._administration.remove_member(asked["team_id"], asked["user_id"], actor)))

    async def list(self, kind: AccountKind, request: Request) -> Response:
        """`GET /user/list`, `/v2/team/list`."""
        await operator_of(request, self._keyring)
        page, number, size = await self._page(kind, request, _PAGE_SIZE)
        return _json({
            f"{kind}s": await self._rows(kind, page.accounts),
            "total": page.total,
            "page": number,
            "page_size": size,
            "total_pages": -(-page.total // size),
        })  # fmt: skip

    async def list_teams(self, request: Request) -> Response:
        """`GET /team/list`: as LiteLLM's without a frame, so without their number."""
        await operator_of(request, self._keyring)
        page, _, _ = await self._page("team", request, _UNPAGED_SIZE)
        return _json(await self._rows("team", page.accounts))

    async def _rows(self, kind: AccountKind, accounts: Sequence[Account]) -> Sequence[dict[str, Any]]:
        spent = await self._spending.of_accounts(kind, accounts)
        return [row_with_spend(account, spent[id_of(account)]) for account in accounts]

    async def _key_rows(self, account: Account) -> Sequence[dict[str, Any]]:
        held = await self._administration.keys_of(account)
        spent = await self._spending.of_keys(held)
        return [keys.row_with_spend(key, spent[key.key_id]) for key in held]

    async def _page(self, kind: AccountKind, request: Request, usual_size: int) -> tuple[AccountPage, int, int]:
        """Give what the query asks for, with the page's number and size."""
        asked = account_shapes.read_listing(kind, request.query_params.multi_items())
        number, size = asked.get("page", 1), asked.get("page_size", usual_size)
        query = AccountQuery(
            ids=asked.get(f"{kind}_ids"),
            alias=asked.get(f"{kind}_alias"),
            member=asked.get("user_id"),
            offset=(number - 1) * size,
            limit=size,
        )
        return await self._administration.page(kind, query), number, size

    async def _asked(self, request: Request) -> tuple[str, bytes]:
        """Give who asks, for the ledger, and the body. Raises `MasterKeyRequired`, `NotAuthenticated`."""
        actor = await operator_of(request, self._keyring)
        return actor, await read_json(request, limit_bytes=self._limit_bytes)


def row(account: Account) -> dict[str, Any]:
    """Give a user or a team as LiteLLM shows it: money in USD, times in UTC."""
    return {
        **(_user_fields(account) if isinstance(account, User) else _team_fields(account)),
        "models": account.models,
        "metadata": account.metadata,
        "blocked": account.blocked,
        "max_budget": usd_or_none(account.max_budget),
        "soft_budget": usd_or_none(account.soft_budget),
        "budget_duration": account.budget_duration,
        "rpm_limit": account.rpm_limit,
        "tpm_limit": account.tpm_limit,
        "max_parallel_requests": account.max_parallel_requests,
        "created_at": time_or_none(account.created_at),
        "created_by": account.created_by,
        "updated_at": time_or_none(account.updated_at),
        "updated_by": account.updated_by,
    }


def row_with_spend(account: Account, spent: Spent) -> dict[str, Any]:
    """Give a user or a team, and what they have spent."""
    return row(account) | spent_fields(spent)


def _user_fields(user: User) -> dict[str, Any]:
    return {
        "user_id": user.user_id,
        "user_alias": user.user_alias,
        "user_email": user.user_email,
        "user_role": _ROLE,
    }


def _team_fields(team: Team) -> dict[str, Any]:
    members = [{"user_id": member.user_id, "role": member.role} for member in team.members]
    return {"team_id": team.team_id, "team_alias": team.team_alias, "members_with_roles": members}


def account_routes(surface: AccountSurface) -> list[Route]:
    """Say what answers where, and to which method."""
    return [
        Route("/user/new", surface.new_user, methods=["POST"]),
        Route("/user/info", surface.user_info, methods=["GET"]),
        Route("/user/list", partial(surface.list, "user"), methods=["GET"]),
        Route("/team/new", surface.new_team, methods=["POST"]),
        Route("/team/info", surface.team_info, methods=["GET"]),
        Route("/team/list", surface.list_teams, methods=["GET"]),
        Route("/v2/team/list", partial(surface.list, "team"), methods=["GET"]),
        Route("/team/member_add", surface.add_member, methods=["POST"]),
        Route("/team/member_delete", surface.remove_member, methods=["POST"]),
        *_routes_of("user", surface),
        *_routes_of("team", surface),
    ]


def _routes_of(kind: AccountKind, surface: AccountSurface) -> list[Route]:
    return [
        Route(f"/{kind}/update", partial(surface.update, kind), methods=["POST"]),
        Route(f"/{kind}/delete", partial(surface.delete, kind), methods=["POST"]),
        Route(f"/{kind}/block", partial(surface.block, kind, True), methods=["POST"]),
        Route(f"/{kind}/unblock", partial(surface.block, kind, False), methods=["POST"]),
    ]


def _json(value: Any) -> Response:
    return json_response(write_json(value))

"""The operator's paths for what was spent, in LiteLLM's shapes: always from what is folded at the time."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast, get_args

import anyio.to_thread
from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from events.accounts import Account, AccountKind
from events.activity import ALL_TIME, Completion, Dimension, Sums, cell_named
from events.keys import Key
from events.money import usd
from functions.gateway import spend_queries, spend_reports
from functions.gateway.config import Config
from functions.gateway.errors import BadRequest, MasterKeyRequired
from functions.gateway.exact_json import write_json
from functions.gateway.keys import Identity, Keyring, hash_key
from functions.gateway.ports import Accounts, Activity, CellQuery, Keys, SpendQuery
from functions.gateway.shapes import read_query
from functions.gateway.spend_queries import Days, days_of, page_of, usual_days_of
from functions.gateway.spend_reports import MEASURES, Report, Sum, flat, measures
from functions.gateway.spending import Spending, Spent
from functions.surface import accounts as shown_accounts
from functions.surface.csv_table import write_csv
from functions.surface.edge import json_response
from functions.surface.keys import KEY_COLUMNS, row_with_spend

_HASH = re.compile(r"[0-9a-f]{64}")
_MOST_SUMS = 100_000
_USUAL_LIMIT = 100
_CALL_TYPES = {"chat": "acompletion", "embedding": "aembedding"}


class SpendSurface:
    """Everything under `/spend` and `/global/spend`, and `/global/activity`: not with a virtual key.

    But `/spend/logs` gives a virtual key its own requests.
    """

    def __init__(
        self,
        activity: Activity,
        keys: Keys,
        accounts: Accounts,
        spending: Spending,
        keyring: Keyring,
        config: Config,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._activity = activity
        self._keys = keys
        self._accounts = accounts
        self._spending = spending
        self._keyring = keyring
        self._config = config
        self._now = now

    async def logs(self, request: Request) -> Response:
        """`GET /spend/logs`: requests by page, or the sums of days."""
        identity = await self._keyring.authenticate(request.headers, request.scope["path"])
        asked = read_query(spend_queries.LOGS, request.query_params.multi_items())
        if _wants_csv(request, asked):
            asked["format"] = "csv"
        key_id = await self._key_id(asked.get("api_key"), identity)
        if spend_queries.wants_summary(asked):
            return await anyio.to_thread.run_sync(_json_of, await self._summary(asked, key_id))
        return await self._page(asked, key_id)

    async def of_keys(self, request: Request) -> Response:
        """`GET /spend/keys`: keys, the highest spend first."""
        asked = await self._asked(request, spend_queries.OF_KEYS)
        found = await self._highest("key", asked)
        keys = await self._activity.keys([name for name, _ in found if name])
        spent = await self._spending.of_keys(list(keys.values()))
        lines = [_key_line(name, sums, keys.get(name), spent.get(name)) for name, sums in found]
        return _answer(request, asked, flat((*KEY_COLUMNS, *MEASURES), lines))

    async def of_users(self, request: Request) -> Response:
        """`GET /spend/users`: users, the highest spend first."""
        return await self._of_accounts("user", request, await self._asked(request, spend_queries.OF_USERS))

    async def of_teams(self, request: Request) -> Response:
        """`GET /spend/teams`: teams, the highest spend first."""
        return await self._of_accounts("team", request, await self._asked(request, spend_queries.OF_TEAMS))

    async def of_tags(self, request: Request) -> Response:
        """`GET /spend/tags`: tags, the highest spend first."""
        asked = await self._asked(request, spend_queries.RANKING)
        lines = [
            {"individual_request_tag": tag, "log_count": sums.requests, "total_spend": usd(sums.spend)}
            for tag, sums in await self._ranking("tag", asked)
        ]
        return _answer(request, asked, flat(("individual_request_tag", "log_count", "total_spend"), lines))

    async def global_tags(self, request: Request) -> Response:
        """`GET /global/spend/tags`."""
        asked = await self._asked(request, spend_queries.RANKING)
        lines = [
            {"name": tag, "spend": usd(sums.spend), "log_count": sums.requests}
            for tag, sums in await self._ranking("tag", asked)
        ]
        return _answer(request, asked, Report({"spend_per_tag": lines}, ("name", "spend", "log_count"), lines))

    async def global_keys(self, request: Request) -> Response:
        """`GET /global/spend/keys`."""
        asked = await self._asked(request, spend_queries.RANKING)
        found = await self._ranking("key", asked)
        keys = await self._activity.keys([name for name, _ in found if name])
        lines = [{"api_key": name, **_names_of(keys.get(name)), **_total(sums)} for name, sums in found]
        return _answer(request, asked, flat(("api_key", "key_alias", "key_name", "total_spend", *MEASURES), lines))

    async def global_models(self, request: Request) -> Response:
        """`GET /global/spend/models`."""
        asked = await self._asked(request, spend_queries.RANKING)
        lines = [{"model": name, **_total(sums)} for name, sums in await self._ranking("model", asked)]
        return _answer(request, asked, flat(("model", "total_spend", *MEASURES), lines))

    async def global_providers(self, request: Request) -> Response:
        """`GET /global/spend/provider`."""
        asked = await self._asked(request, spend_queries.RANKING)
        lines = [
            {"provider": name, "spend": usd(sums.spend), **measures(sums)}
            for name, sums in await self._ranking("provider", asked)
        ]
        return _answer(request, asked, flat(("provider", "spend", *MEASURES), lines))

    async def global_teams(self, request: Request) -> Response:
        """`GET /global/spend/teams`."""
        asked, days = await self._asked_of_days(request)
        sums = await self._daily("team", days)
        names = {slot.name for slot, _ in sums if slot.name}
        teams = await self._accounts.named("team", sorted(names))
        return await _report(request, asked, partial(spend_reports.of_teams, teams=teams), sums)

    async def global_logs(self, request: Request) -> Response:
        """`GET /global/spend/logs`: the spend of each day."""
        asked, days = await self._asked_of_days(request)
        return await _report(request, asked, spend_reports.by_day, await self._daily("total", days))

    async def global_activity(self, request: Request) -> Response:
        """`GET /global/activity`: how much was asked on each day."""
        asked, days = await self._asked_of_days(request)
        return await _report(request, asked, spend_reports.activity_report, await self._daily("total", days))

    async def report(self, request: Request) -> Response:
        """`GET /global/spend/report`: by day and team, customer or user, or by key."""
        asked = await self._asked(request, spend_queries.REPORT)
        query = _cells(
            usual_days_of(asked, self._now()),
            key=await self._named_key(asked["api_key"]) if "api_key" in asked else None,
            user=asked.get("internal_user_id"),
            team=asked.get("team_id"),
        )
        cells = await self._cells(query)
        told = await self._told(cells, asked.get("group_by", "team"))
        return await _report(request, asked, partial(_cell_report, asked, told), cells)

    async def _told(self, cells: Sequence[Sum], group_by: str) -> Mapping[str, Account]:
        """Give the users or teams of cells, which are grouped by these."""
        if group_by not in get_args(AccountKind):
            return {}
        kind = cast("AccountKind", group_by)
        names: set[str] = {getattr(cell_named(slot.name), kind) for slot, _ in cells}
        return await self._accounts.named(kind, sorted(names - {""}))

    async def _of_accounts(self, kind: AccountKind, request: Request, asked: Mapping[str, Any]) -> Response:
        found = await self._named_or_highest(kind, f"{kind}_id", asked)
        accounts = await self._accounts.named(kind, [name for name, _ in found if name])
        spent = await self._spending.of_accounts(kind, list(accounts.values()))
        lines = [_account_line(kind, name, sums, accounts.get(name), spent.get(name)) for name, sums in found]
        return _answer(request, asked, flat((*shown_accounts.COLUMNS[kind], *MEASURES), lines))

    async def _asked(self, request: Request, shape: TypeAdapter[Any]) -> dict[str, Any]:
        """Read what an operator asks. Raises `NotAuthenticated`, `MasterKeyRequired`, `BadRequest`."""
        identity = await self._keyring.authenticate(request.headers, request.scope["path"])
        identity.check_operator()
        return read_query(shape, request.query_params.multi_items())

    async def _asked_of_days(self, request: Request) -> tuple[dict[str, Any], Days]:
        asked = await self._asked(request, spend_queries.DATED)
        return asked, usual_days_of(asked, self._now())

    async def _key_id(self, presented: str | None, identity: Identity) -> str | None:
        """Say whose requests to list. Raises `MasterKeyRequired` for another's than a virtual key's own."""
        wanted = await self._named_key(presented) if presented else None
        if identity.key is None:
            return wanted
        if wanted not in (None, identity.key.key_id):
            raise MasterKeyRequired("A virtual key is shown its own requests; those of others take the master key.")
        return identity.key.key_id

    async def _named_key(self, presented: str) -> str:
        """Give the first hash of a key that is named by itself or by a hash; one that is gone may be named by that."""
        key_hash = presented if _HASH.fullmatch(presented) else hash_key(presented)
        key = await self._keys.get(key_hash)
        return key.key_id if key else key_hash

    async def _page(self, asked: Mapping[str, Any], key_id: str | None) -> Response:
        number, size = page_of(asked)
        filters = spend_queries.filters_of(asked)
        page = await self._activity.page(SpendQuery(key=key_id, offset=(number - 1) * size, limit=size, **filters))
        rows = await self._rows(page.requests)
        pages = -(-page.total // size)
        if asked.get("format") == "csv":
            counts = {"x-total-count": str(page.total), "x-total-pages": str(pages)}
            return _csv(Report(rows, spend_reports.ROW, rows), counts)
        counts = {"total": page.total, "page": number, "page_size": size, "total_pages": pages}
        return _json({"data": rows, **counts})

    async def _rows(self, requests: Sequence[Completion]) -> list[dict[str, Any]]:
        key_ids = {event.scopes.key_hash for event in requests if event.scopes.key_hash}
        keys = await self._activity.keys(sorted(key_ids))
        return [
            spend_reports.request_row(event, keys.get(event.scopes.key_hash or ""), self._call_type(event.alias))
            for event in requests
        ]

    def _call_type(self, alias: str) -> str:
        """Say what an alias is asked for; of one that is not served any more, chat, as most are."""
        deployments = self._config.deployments.get(alias)
        return _CALL_TYPES[deployments[0].model.mode if deployments else "chat"]

    async def _summary(self, asked: Mapping[str, Any], key_id: str | None) -> Callable[[], Any]:
        """Give what adds it up."""
        days = usual_days_of(asked, self._now())
        user, team = asked.get("user_id"), asked.get("team_id")
        if key_id or user or team:
            cells = await self._cells(_cells(days, key=key_id, user=user, team=team))
            return partial(spend_reports.summary_of_cells, cells)
        dimensions: tuple[Dimension, ...] = ("total", "key", "user", "model")
        return partial(spend_reports.summary, *[await self._daily(dimension, days) for dimension in dimensions])

    async def _ranking(self, dimension: Dimension, asked: Mapping[str, Any]) -> Sequence[tuple[str, Sums]]:
        """Give names by their spend: of all time, or of the days that are asked for."""
        days = days_of(asked)
        if days is None:
            return await self._highest(dimension, asked)
        limit, offset = _part(asked)
        ranked = await anyio.to_thread.run_sync(spend_reports.ranked, await self._daily(dimension, days))
        return ranked[offset : offset + limit]

    async def _highest(self, dimension: Dimension, asked: Mapping[str, Any]) -> Sequence[tuple[str, Sums]]:
        limit, offset = _part(asked)
        return await self._activity.highest(dimension, offset=offset, limit=limit)

    async def _named_or_highest(
        self, dimension: Dimension, param: str, asked: Mapping[str, Any]
    ) -> Sequence[tuple[str, Sums]]:
        if param not in asked:
            return await self._highest(dimension, asked)
        return list((await self._activity.named(ALL_TIME, dimension, [asked[param]])).items())

    async def _daily(self, dimension: Dimension, days: Days) -> Sequence[Sum]:
        first, last = days.first.isoformat(), days.last.isoformat()
        return _all_of(await self._activity.daily(dimension, first, last, limit=_MOST_SUMS + 1))

    async def _cells(self, query: CellQuery) -> Sequence[Sum]:
        return _all_of(await self._activity.cells(query, limit=_MOST_SUMS + 1))


def spend_routes(surface: SpendSurface) -> list[Route]:
    """Say what answers where."""
    return [
        Route("/spend/logs", surface.logs, methods=["GET"]),
        Route("/spend/keys", surface.of_keys, methods=["GET"]),
        Route("/spend/users", surface.of_users, methods=["GET"]),
        Route("/spend/teams", surface.of_teams, methods=["GET"]),
        Route("/spend/tags", surface.of_tags, methods=["GET"]),
        Route("/global/spend/tags", surface.global_tags, methods=["GET"]),
        Route("/global/spend/keys", surface.global_keys, methods=["GET"]),
        Route("/global/spend/models", surface.global_models, methods=["GET"]),
        Route("/global/spend/provider", surface.global_providers, methods=["GET"]),
        Route("/global/spend/teams", surface.global_teams, methods=["GET"]),
        Route("/global/spend/logs", surface.global_logs, methods=["GET"]),
        Route("/global/spend/report", surface.report, methods=["GET"]),
        Route("/global/activity", surface.global_activity, methods=["GET"]),
    ]


def _part(asked: Mapping[str, Any]) -> tuple[int, int]:
    """Give how many are asked for, and how many are passed over."""
    limit: int = asked.get("limit", _USUAL_LIMIT)
    return limit, (asked.get("page", 1) - 1) * limit


def _all_of(sums: Sequence[Sum]) -> Sequence[Sum]:
    """Refuse to answer with a part of what was asked for. Raises `BadRequest`."""
    if len(sums) > _MOST_SUMS:
        message = f"start_date: there is more of these days than {_MOST_SUMS} sums. Ask for fewer days, or for one key."
        raise BadRequest(message, param="start_date")
    return sums


def _cells(days: Days, *, key: str | None, user: str | None, team: str | None) -> CellQuery:
    return CellQuery(first=days.first.isoformat(), last=days.last.isoformat(), key=key, user=user, team=team)


def _key_line(name: str, sums: Sums, key: Key | None, spent: Spent | None) -> dict[str, Any]:
    if key is None or spent is None:
        shown = {"key_name": None, "key_alias": None, "spend": usd(sums.spend)}
    else:
        shown = row_with_spend(key, spent)
    return {**shown, "token": name or None, "total_spend": usd(sums.spend), **measures(sums)}


def _account_line(
    kind: AccountKind, name: str, sums: Sums, account: Account | None, spent: Spent | None
) -> dict[str, Any]:
    if account is None or spent is None:
        shown = {f"{kind}_alias": None, "spend": usd(sums.spend)}
    else:
        shown = shown_accounts.row_with_spend(account, spent)
    return {**shown, f"{kind}_id": name or None, "total_spend": usd(sums.spend), **measures(sums)}


def _names_of(key: Key | None) -> dict[str, str | None]:
    return {"key_alias": key.key_alias if key else None, "key_name": key.key_name if key else None}


def _total(sums: Sums) -> dict[str, Any]:
    return {"total_spend": usd(sums.spend), **measures(sums)}


def _wants_csv(request: Request, asked: Mapping[str, Any]) -> bool:
    """Say whether CSV is asked for, by a parameter or else by a header."""
    if "format" in asked:
        return asked["format"] == "csv"
    return "text/csv" in request.headers.get("accept", "").lower()


async def _report(
    request: Request, asked: Mapping[str, Any], report: Callable[[Sequence[Sum]], Report], sums: Sequence[Sum]
) -> Response:
    """Add up many sums and write them in a thread: answers are streaming meanwhile."""
    return await anyio.to_thread.run_sync(lambda: _answer(request, asked, report(sums)))


def _cell_report(asked: Mapping[str, Any], told: Mapping[str, Account], cells: Sequence[Sum]) -> Report:
    if customer := asked.get("customer_id"):
        cells = [(slot, sums) for slot, sums in cells if cell_named(slot.name).end_user == customer]
    group_by: str = asked.get("group_by", "team")
    if group_by == "api_key":
        return spend_reports.key_report(cells)
    return spend_reports.grouped_report(cells, group_by, told)


def _answer(request: Request, asked: Mapping[str, Any], report: Report) -> Response:
    return _csv(report) if _wants_csv(request, asked) else _json(report.body)


def _csv(report: Report, headers: dict[str, str] | None = None) -> Response:
    body = write_csv(report.columns, report.lines)
    return Response(body, headers=headers, media_type="text/csv; charset=utf-8")


def _json_of(summary: Callable[[], Any]) -> Response:
    return _json(summary())


def _json(value: Any) -> Response:
    return json_response(write_json(value))

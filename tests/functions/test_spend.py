"""What was spent, over HTTP: reports and lists, from a ledger on disk."""

import asyncio
import csv
import io
import json
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from events.accounts import Account
from events.activity import Completion, Slot, Sums
from events.money import nano_usd
from events.spend import Attempt, Scopes, Usage
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.bootstrap import load_catalog
from functions.gateway.config import Credentials, parse_config
from functions.gateway.key_administration import KeyAdministration
from functions.gateway.keys import Keyring, hash_key
from functions.gateway.pipeline import Completions
from functions.gateway.spending import Spending
from functions.surface.edge import at_edge
from functions.surface.keys import KeySurface, key_routes
from functions.surface.router import Surface, build_router
from functions.surface.spend import SpendSurface, spend_routes
from tests.builders import NOON, account_created, failure, spend, team, user

MASTER = "sk-master-of-all-keys"
ADA, BOB = "sk-adas-own-key", "sk-bobs-own-key"
PATHS = [
    "/spend/keys",
    "/spend/users",
    "/spend/teams",
    "/spend/tags",
    "/global/spend/tags",
    "/global/spend/keys",
    "/global/spend/models",
    "/global/spend/provider",
    "/global/spend/teams",
    "/global/spend/logs",
    "/global/spend/report",
    "/global/activity",
]
FILE = {
    "model_list": [
        {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o"}},
        {"model_name": "small", "litellm_params": {"model": "openai/text-embedding-3-small"}},
    ]
}


class Gateway:
    """A client of one instance, whose ledger can be written to."""

    def __init__(self, http: httpx2.AsyncClient, stores: Stores) -> None:
        self.http, self.stores = http, stores

    async def ask(self, path: str, *, by: str = MASTER, **query: Any) -> httpx2.Response:
        return await self.http.get(path, params=query, headers={"authorization": f"Bearer {by}"})

    async def get(self, path: str, **query: Any) -> Any:
        answer = await self.ask(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(path, json=body, headers={"authorization": f"Bearer {MASTER}"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def lines(self, path: str, **query: Any) -> list[dict[str, str]]:
        answer = await self.ask(path, format="csv", **query)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))

    async def know(self, *accounts: Account) -> None:
        await self.stores.accounts.commit([account_created(account) for account in accounts])

    async def record(self, *events: Completion, **counted: int) -> None:
        await self.stores.ledger.commit(events, counted)


Open = Callable[[str | None], Any]


@pytest.fixture
async def open_gateway(tmp_path: Path) -> AsyncGenerator[Open]:
    async with AsyncExitStack() as stack:
        yield lambda master_key: _open(stack, tmp_path, master_key)


@pytest.fixture
async def gateway(open_gateway: Open) -> Gateway:
    """A gateway with a past: two days, two keys of two teams, and a request that nobody answered."""
    opened: Gateway = await open_gateway(MASTER)
    await opened.post("/key/generate", key=ADA, key_alias="ada's", user_id="ada", team_id="red", tags=["t"])
    await opened.post("/key/generate", key=BOB, user_id="bob", team_id="blue")
    await opened.record(*_past())
    return opened


async def _open(stack: AsyncExitStack, state_dir: Path, master_key: str | None) -> Gateway:
    stores = await stack.enter_async_context(open_embedded(state_dir))
    data = FILE | ({"general_settings": {"master_key": master_key}} if master_key else {})
    credentials = {"openai": Credentials(api_key="sk")}
    config = parse_config(data, catalog=load_catalog(), environment={}, credentials=credentials)
    keyring = Keyring(stores.keys, stores.accounts, config.master_key, now=lambda: NOON, clock=lambda: 0.0)
    administration = KeyAdministration(stores.keys, keyring, now=lambda: NOON, new_key=lambda: "sk-made-here-1")
    spending = Spending(stores.activity, stores.counters, now=lambda: NOON)
    keys = key_routes(KeySurface(administration, keyring, config, spending))
    surface = Surface(config, stores.counters, keyring, now=lambda: NOON, is_sandbox=True)
    reports = spend_routes(
        SpendSurface(stores.activity, stores.keys, stores.accounts, spending, keyring, config, now=lambda: NOON)
    )
    router = build_router(surface, cast("Completions", None), config, keyring, *keys, *reports)
    app = httpx2.ASGITransport(app=at_edge(router))
    http = await stack.enter_async_context(httpx2.AsyncClient(transport=app, base_url="http://gateway"))
    return Gateway(http, stores)


def scopes_of(key: str, *tags: str) -> Scopes:
    user, team = ("ada", "red") if key == ADA else ("bob", "blue")
    return Scopes(key_hash=hash_key(key), user=user, team=team, end_user=f"{user}'s", tags=tags)


def cents(amount: int) -> int:
    return nano_usd(amount / 100)


def _past() -> list[Completion]:
    """$0.01 and $0.02 of Ada's, $0.04 of Bob's, and $0.08 of a request without a key."""
    return [
        spend("a", cost=cents(1), scopes=scopes_of(ADA, "t"), response_id="chat-a", time=NOON - timedelta(days=1)),
        spend("b", cost=cents(2), scopes=scopes_of(ADA, "t"), response_id="chat-b", request_id="call-b"),
        spend("c", cost=cents(4), scopes=scopes_of(BOB), provider="gemini", upstream_model="pro", alias="g",
              time=NOON + timedelta(hours=1)),
        failure("d", cost=cents(8)),
    ]  # fmt: skip


def error_of(answer: httpx2.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json()["error"]["param"]


async def test_requests_are_listed_by_page_the_latest_first(gateway: Gateway) -> None:
    first = await gateway.get("/spend/logs", page_size=3)
    second = await gateway.get("/spend/logs", page_size=3, page=2)

    assert [row["metadata"]["event_id"] for row in (*first["data"], *second["data"])] == ["c", "d", "b", "a"]
    assert (first["total"], first["page"], first["page_size"], first["total_pages"]) == (4, 1, 3, 2)
    assert (await gateway.get("/spend/logs", page=99))["data"] == []
    assert (await gateway.get("/spend/logs", page=2000))["data"] == []


async def test_a_request_is_shown_with_litellms_names(gateway: Gateway) -> None:
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4)
    attempts = (
        Attempt(model="anthropic/claude", model_id="c-1", status="529", ms=40, billed=False),
        Attempt(model="openai/gpt-4o", model_id="g-1", status="200", ms=900, billed=True, cost=nano_usd(0.5)),
    )
    await gateway.record(
        spend("e", cost=nano_usd(0.5), scopes=scopes_of(ADA, "t"), usage=usage, attempts=attempts, latency_ms=1500,
              time_to_first_token_ms=500, response_id="chat-e", request_id="call-e")
    )  # fmt: skip

    (row,) = (await gateway.get("/spend/logs", request_id="call-e"))["data"]
    metadata = row.pop("metadata")

    assert row == {
        "request_id": "chat-e",
        "call_type": "acompletion",
        "api_key": hash_key(ADA),
        "spend": 0.5,
        "total_tokens": 15,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "startTime": "2026-11-24T11:59:58.500Z",
        "endTime": "2026-11-24T12:00:00.000Z",
        "request_duration_ms": 1500,
        "completionStartTime": "2026-11-24T11:59:59.000Z",
        "model": "openai/gpt-4o",
        "model_id": "g-1",
        "model_group": "gpt-4o",
        "custom_llm_provider": "openai",
        "user": "ada",
        "team_id": "red",
        "end_user": "ada's",
        "cache_hit": "False",
        "request_tags": ["t"],
        "status": "success",
        "litellm_call_id": "call-e",
    }
    assert metadata["user_api_key_alias"] == "ada's"
    assert [(attempt["model"], attempt["status"]) for attempt in metadata["attempts"]] == [
        ("anthropic/claude", "529"),
        ("openai/gpt-4o", "200"),
    ]
    assert metadata["usage_object"]["cache_read_tokens"] == 4


async def test_a_request_that_nobody_answered_is_shown_with_what_was_billed(gateway: Gateway) -> None:
    (row,) = (await gateway.get("/spend/logs", status="failure"))["data"]

    assert (row["request_id"], row["status"], row["spend"]) == ("d", "failure", 0.08)
    assert (row["model"], row["total_tokens"]) == ("openai/gpt-4o", 0)


async def test_a_request_for_embeddings_is_told_from_a_chat(gateway: Gateway) -> None:
    await gateway.record(spend("e", alias="small"))

    (row,) = (await gateway.get("/spend/logs", model_group="small"))["data"]

    assert row["call_type"] == "aembedding"


@pytest.mark.parametrize(
    ("query", "event_ids"),
    [
        ({"api_key": ADA}, ["b", "a"]),
        ({"api_key": hash_key(BOB)}, ["c"]),
        ({"api_key": "sk-nobody-has-this"}, []),
        ({"user_id": "bob"}, ["c"]),
        ({"team_id": "red"}, ["b", "a"]),
        ({"end_user": "ada's"}, ["b", "a"]),
        ({"model": "gemini/pro"}, ["c"]),
        ({"model_group": "g"}, ["c"]),
        ({"custom_llm_provider": "gemini"}, ["c"]),
        ({"status": "failure"}, ["d"]),
        ({"request_id": "chat-a"}, ["a"]),
        ({"request_id": "call-b"}, ["b"]),
        ({"start_date": "2026-11-23", "end_date": "2026-11-23", "summarize": "false"}, ["a"]),
        ({"start_date": "2026-11-23", "end_date": "2026-11-24", "page": 1}, ["c", "d", "b", "a"]),
        ({"start_date": "2026-11-24", "end_date": "2026-11-24", "status": "success"}, ["c", "b"]),
        ({"api_key": ADA, "user_id": "bob"}, []),
    ],
)
async def test_requests_are_chosen(gateway: Gateway, query: dict[str, Any], event_ids: list[str]) -> None:
    found = await gateway.get("/spend/logs", **query)

    assert [row["metadata"]["event_id"] for row in found["data"]] == event_ids
    assert found["total"] == len(event_ids)


async def test_days_alone_give_their_sums(gateway: Gateway) -> None:
    ada, bob = hash_key(ADA), hash_key(BOB)

    assert await gateway.get("/spend/logs", start_date="2026-11-01", end_date="2026-11-30") == [
        {
            "startTime": "2026-11-23",
            "spend": 0.01,
            ada: 0.01,
            "users": {"ada": 0.01},
            "models": {"openai/gpt-4o": 0.01},
        },
        {
            "startTime": "2026-11-24",
            "spend": 0.14,
            "": 0.08,
            ada: 0.02,
            bob: 0.04,
            "users": {"": 0.08, "ada": 0.02, "bob": 0.04},
            "models": {"gemini/pro": 0.04, "openai/gpt-4o": 0.1},
        },
    ]


@pytest.mark.parametrize("query", [{"api_key": BOB}, {"user_id": "bob"}, {"team_id": "blue"}])
async def test_the_days_of_some_are_summed_by_themselves(gateway: Gateway, query: dict[str, str]) -> None:
    days = await gateway.get("/spend/logs", start_date="2026-11-01", end_date="2026-11-30", **query)

    assert days == [
        {"startTime": "2026-11-24", "spend": 0.04, hash_key(BOB): 0.04, "users": {"bob": 0.04},
         "models": {"gemini/pro": 0.04}}
    ]  # fmt: skip


async def test_what_is_folded_is_seen_by_the_next_request(gateway: Gateway) -> None:
    for paid, spent in ((1, 0.03 + 0.01), (2, 0.03 + 0.03)):
        await gateway.record(spend(f"more-{paid}", cost=cents(paid), scopes=scopes_of(ADA)))

        (found,) = await gateway.get("/spend/users", user_id="ada")
        assert found["spend"] == pytest.approx(spent)


async def test_keys_are_listed_by_their_spend(gateway: Gateway) -> None:
    nobody, bob, ada = await gateway.get("/spend/keys")

    assert (nobody["token"], nobody["spend"], nobody["key_alias"]) == (None, 0.08, None)
    assert (bob["token"], bob["spend"], bob["user_id"]) == (hash_key(BOB), 0.04, "bob")
    assert (ada["token"], ada["total_spend"], ada["key_alias"]) == (hash_key(ADA), 0.03, "ada's")
    assert [line["token"] for line in await gateway.get("/spend/keys", limit=1, page=2)] == [hash_key(BOB)]


async def test_the_spend_of_a_key_goes_on_when_it_is_replaced(gateway: Gateway) -> None:
    renewed = (await gateway.post("/key/regenerate", key=ADA))["key"]

    *_, ada = await gateway.get("/spend/keys")
    assert (ada["key_alias"], ada["total_spend"]) == ("ada's", 0.03)
    assert (await gateway.get("/spend/logs", api_key=renewed))["total"] == 2
    assert (await gateway.get("/key/info", key=renewed))["info"]["spend"] == 0.03


async def test_the_spend_of_a_key_is_kept_when_it_is_gone(gateway: Gateway) -> None:
    await gateway.post("/key/delete", keys=[ADA])

    *_, ada = await gateway.get("/spend/keys")
    assert (ada["token"], ada["total_spend"], ada["key_alias"]) == (hash_key(ADA), 0.03, None)
    assert (await gateway.get("/spend/logs", api_key=ADA))["total"] == 2


async def test_a_key_shows_what_it_has_spent_in_its_window(gateway: Gateway) -> None:
    await gateway.post("/key/update", key=ADA, max_budget=10, budget_duration="1d")
    counter = f"key:{hash_key(ADA)}:2026-11-24"
    await gateway.record(spend("e", cost=cents(2), scopes=scopes_of(ADA)), **{counter: cents(2)})

    info = (await gateway.get("/key/info", key=ADA))["info"]

    assert (info["spend"], info["total_spend"], info["budget_reset_at"]) == (0.02, 0.05, "2026-11-25T00:00:00Z")
    listed = await gateway.get("/key/list", return_full_object=True)
    assert {key["token"]: (key["spend"], key["total_spend"]) for key in listed["keys"]} == {
        hash_key(ADA): (0.02, 0.05),
        hash_key(BOB): (0.04, 0.04),
    }


async def test_users_teams_and_tags_are_listed_by_their_spend(gateway: Gateway) -> None:
    users = await gateway.get("/spend/users")
    teams = await gateway.get("/spend/teams")

    assert [(user["user_id"], user["spend"]) for user in users] == [(None, 0.08), ("bob", 0.04), ("ada", 0.03)]
    assert [(team["team_id"], team["spend"]) for team in teams] == [(None, 0.08), ("blue", 0.04), ("red", 0.03)]
    assert [team["spend"] for team in await gateway.get("/spend/teams", team_id="red")] == [0.03]
    assert await gateway.get("/spend/tags") == [{"individual_request_tag": "t", "log_count": 2, "total_spend": 0.03}]
    assert await gateway.get("/global/spend/tags", start_date="2026-11-24", end_date="2026-11-24") == {
        "spend_per_tag": [{"name": "t", "spend": 0.02, "log_count": 1}]
    }


async def test_what_was_spent_is_told_by_model_provider_and_key(gateway: Gateway) -> None:
    models = await gateway.get("/global/spend/models")
    providers = await gateway.get("/global/spend/provider", start_date="2026-11-24", end_date="2026-11-24")
    keys = await gateway.get("/global/spend/keys", limit=2)

    assert [(line["model"], line["total_spend"]) for line in models] == [("openai/gpt-4o", 0.11), ("gemini/pro", 0.04)]
    assert [(line["provider"], line["spend"]) for line in providers] == [("openai", 0.1), ("gemini", 0.04)]
    assert [(line["api_key"], line["key_alias"], line["total_spend"]) for line in keys] == [
        ("", None, 0.08),
        (hash_key(BOB), None, 0.04),
    ]


async def test_the_days_are_told_with_their_teams(gateway: Gateway) -> None:
    days = await gateway.get("/global/spend/logs")

    assert [(day["date"], day["spend"]) for day in days] == [("2026-11-23", 0.01), ("2026-11-24", 0.14)]
    assert await gateway.get("/global/spend/teams") == {
        "daily_spend": [
            {"date": "2026-11-23", "red": 0.01},
            {"date": "2026-11-24", "Unassigned": 0.08, "blue": 0.04, "red": 0.02},
        ],
        "teams": ["Unassigned", "blue", "red"],
        "total_spend_per_team": [
            {"team_id": "Unassigned", "team_alias": None, "total_spend": 0.08},
            {"team_id": "blue", "team_alias": None, "total_spend": 0.04},
            {"team_id": "red", "team_alias": None, "total_spend": 0.03},
        ],
    }


async def test_teams_are_named_by_their_aliases_where_these_tell_them_apart(gateway: Gateway) -> None:
    await gateway.know(team("red", team_alias="The Reds"), team("blue", team_alias="Blues"))

    found = await gateway.get("/global/spend/teams")
    assert found["daily_spend"][1] == {"date": "2026-11-24", "Unassigned": 0.08, "Blues": 0.04, "The Reds": 0.02}
    assert found["teams"] == ["Unassigned", "Blues", "The Reds"]
    assert [(one["team_id"], one["team_alias"]) for one in found["total_spend_per_team"]] == [
        ("Unassigned", None), ("blue", "Blues"), ("red", "The Reds")
    ]  # fmt: skip
    assert {line["team_alias"] for line in await gateway.lines("/global/spend/teams")} == {"", "Blues", "The Reds"}


@pytest.mark.parametrize(("red", "blue"), [("same", "same"), ("blue", "red"), ("Unassigned", "Unassigned")])
async def test_teams_that_an_alias_could_confuse_are_named_by_their_ids(gateway: Gateway, red: str, blue: str) -> None:
    await gateway.know(team("red", team_alias=red), team("blue", team_alias=blue))

    found = await gateway.get("/global/spend/teams")
    assert found["daily_spend"][1] == {"date": "2026-11-24", "Unassigned": 0.08, "blue": 0.04, "red": 0.02}


async def test_a_report_names_teams_and_users(gateway: Gateway) -> None:
    await gateway.know(team("red", team_alias="The Reds"), user("ada", user_alias="Ada", user_email="a@example.com"))

    first, second = await gateway.get("/global/spend/report")
    assert [(one["team_name"], one["team_id"]) for one in first["teams"]] == [("The Reds", "red")]
    assert [(one["team_name"], one["team_id"]) for one in second["teams"]] == [
        ("Unassigned", None), ("blue", "blue"), ("The Reds", "red")
    ]  # fmt: skip
    (of_first,) = (await gateway.get("/global/spend/report", group_by="user"))[0]["users"]
    assert (of_first["user_id"], of_first["user_alias"], of_first["user_email"]) == ("ada", "Ada", "a@example.com")
    lines = await gateway.lines("/global/spend/report", group_by="user")
    assert {line["user_email"] for line in lines} == {"", "a@example.com"}


async def test_users_and_teams_are_listed_with_what_is_known_of_them(gateway: Gateway) -> None:
    ada = user("ada", user_alias="Ada", user_email="a@example.com", max_budget=cents(500), budget_duration="1d")
    await gateway.know(ada, team("red", team_alias="The Reds", soft_budget=cents(100)))

    (found,) = await gateway.get("/spend/users", user_id="ada")
    assert (found["user_alias"], found["user_email"], found["max_budget"]) == ("Ada", "a@example.com", 5)
    assert (found["spend"], found["total_spend"], found["budget_reset_at"]) == (0, 0.03, "2026-11-25T00:00:00Z")
    (red,) = await gateway.get("/spend/teams", team_id="red")
    assert (red["team_alias"], red["soft_budget"], red["spend"], red["total_spend"]) == ("The Reds", 1, 0.03, 0.03)
    assert (await gateway.lines("/spend/users", user_id="ada"))[0]["user_email"] == "a@example.com"


async def test_activity_is_counted_by_day(gateway: Gateway) -> None:
    found = await gateway.get("/global/activity", start_date="2026-11-01", end_date="2026-11-30")

    assert (found["sum_api_requests"], found["sum_total_tokens"]) == (4, 45)
    assert [(day["date"], day["api_requests"], day["failed_requests"]) for day in found["daily_data"]] == [
        ("2026-11-23", 1, 0),
        ("2026-11-24", 3, 1),
    ]


@pytest.mark.parametrize(
    ("group_by", "listed", "named", "names"),
    [
        ("team", "teams", "team_name", ["Unassigned", "blue", "red"]),
        ("customer", "customers", "customer", ["Unassigned", "ada's", "bob's"]),
        ("user", "users", "user_id", ["Unassigned", "ada", "bob"]),
    ],
)
async def test_a_report_groups_each_day(
    gateway: Gateway, group_by: str, listed: str, named: str, names: list[str]
) -> None:
    first, second = await gateway.get("/global/spend/report", group_by=group_by)

    assert (first["group_by_day"], second["group_by_day"]) == ("2026-11-23T00:00:00+00:00", "2026-11-24T00:00:00+00:00")
    assert [line[named] for line in second[listed]] == names
    assert {line[named]: line["total_spend"] for line in first[listed]} == {
        names[-1 if group_by == "team" else 1]: 0.01
    }
    (detail,) = first[listed][0]["metadata"]
    assert (detail["model"], detail["api_key"], detail["spend"], detail["total_tokens"]) == (
        "openai/gpt-4o", hash_key(ADA), 0.01, 15
    )  # fmt: skip


async def test_a_report_by_key_adds_up_the_days(gateway: Gateway) -> None:
    (ada,) = await gateway.get("/global/spend/report", group_by="api_key", api_key=ADA)

    costs = {"total_cost": 0.03, "total_input_tokens": 20, "total_output_tokens": 10}
    assert ada == {"api_key": hash_key(ADA), **costs, "model_details": [{"model": "openai/gpt-4o", **costs}]}


@pytest.mark.parametrize(
    "query", [{"api_key": BOB}, {"team_id": "blue"}, {"internal_user_id": "bob"}, {"customer_id": "bob's"}]
)
async def test_a_report_can_be_of_some(gateway: Gateway, query: dict[str, str]) -> None:
    (day,) = await gateway.get("/global/spend/report", **query)

    assert [(team["team_name"], team["total_spend"]) for team in day["teams"]] == [("blue", 0.04)]


@pytest.mark.parametrize("path", PATHS)
async def test_a_virtual_key_is_shown_no_report(gateway: Gateway, path: str) -> None:
    assert (await gateway.ask(path, by=ADA)).status_code == 403
    assert (await gateway.ask(path, by="sk-nobody-has-this")).status_code == 401
    assert (await gateway.http.get(path)).status_code == 401


async def test_a_virtual_key_is_shown_its_own_requests(gateway: Gateway) -> None:
    for query in ({}, {"api_key": ADA}, {"api_key": hash_key(ADA)}):
        found = (await gateway.ask("/spend/logs", by=ADA, **query)).json()
        assert [row["metadata"]["event_id"] for row in found["data"]] == ["b", "a"]

    days = (await gateway.ask("/spend/logs", by=ADA, start_date="2026-11-24", end_date="2026-11-24")).json()
    assert [day["spend"] for day in days] == [0.02]


async def test_a_virtual_key_is_shown_no_requests_of_others(gateway: Gateway) -> None:
    assert (await gateway.ask("/spend/logs", by=ADA, api_key=BOB)).status_code == 403
    assert (await gateway.ask("/spend/logs", by=ADA, user_id="bob")).json()["data"] == []


async def test_without_a_master_key_anyone_is_shown_what_was_spent(open_gateway: Open) -> None:
    opened: Gateway = await open_gateway(None)
    await opened.record(*_past())

    for path in [*PATHS, "/spend/logs"]:
        assert (await opened.http.get(path)).status_code == 200


async def test_nothing_was_spent_before_the_first_request(open_gateway: Open) -> None:
    opened: Gateway = await open_gateway(MASTER)

    for path in [*PATHS, "/spend/logs"]:
        await opened.get(path)
        await opened.lines(path)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"start_date": "2026-13-01", "end_date": "2026-11-24"}, "start_date"),
        ({"start_date": "yesterday", "end_date": "2026-11-24"}, "start_date"),
        ({"start_date": "2026-11-24", "end_date": "20261124"}, "end_date"),
        ({"start_date": "2026-11-24", "end_date": "2026-11-24 00:00:00"}, "end_date"),
        ({"start_date": "0001-01-01", "end_date": "0001-01-01"}, "start_date"),
        ({"start_date": "9999-12-31", "end_date": "9999-12-31"}, "start_date"),
        ({"start_date": "", "end_date": "2026-11-24"}, "start_date"),
        ({"start_date": "2026-11-24"}, "end_date"),
        ({"end_date": "2026-11-24"}, "start_date"),
        ({"start_date": "2026-11-24", "end_date": "2026-11-23"}, "end_date"),
        ({"start_date": "2025-11-24", "end_date": "2026-11-25"}, "end_date"),
        ({"since": "2026-11-24"}, "since"),
        ({"format": "xml"}, "format"),
    ],
)
@pytest.mark.parametrize("path", ["/spend/logs", "/spend/tags", "/global/activity", "/global/spend/report"])
async def test_days_that_are_none_are_refused_by_name(
    gateway: Gateway, path: str, query: dict[str, str], param: str
) -> None:
    assert error_of(await gateway.ask(path, **query)) == (400, param)


async def test_a_year_may_be_asked_for(gateway: Gateway) -> None:
    assert await gateway.get("/spend/logs", start_date="2025-11-24", end_date="2026-11-24")


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("/spend/logs", {"page": 0}, "page"),
        ("/spend/logs", {"page": "-1"}, "page"),
        ("/spend/logs", {"page": "x"}, "page"),
        ("/spend/logs", {"page": 10**9}, "page"),
        ("/spend/logs", {"page": 2001}, "page"),
        ("/spend/logs", {"page": 101, "page_size": 1000}, "page"),
        ("/spend/logs", {"page_size": 1001}, "page_size"),
        ("/spend/logs", {"page_size": 0}, "page_size"),
        ("/spend/logs", {"status": "ok"}, "status"),
        ("/spend/logs", {"user": "ada"}, "user"),
        ("/spend/logs", {"user_id": ""}, "user_id"),
        ("/spend/logs", {"summarize": "perhaps"}, "summarize"),
        ("/spend/logs", {"summarize": "true"}, "summarize"),
        ("/spend/keys", {"limit": 1001}, "limit"),
        ("/spend/keys", {"start_date": "2026-11-24"}, "start_date"),
        ("/spend/users", {"team_id": "red"}, "team_id"),
        ("/global/spend/report", {"group_by": "colour"}, "group_by"),
        ("/global/spend/logs", {"limit": 5}, "limit"),
    ],
)
async def test_what_can_not_be_asked_is_refused_by_name(
    gateway: Gateway, path: str, query: dict[str, Any], param: str
) -> None:
    assert error_of(await gateway.ask(path, **query)) == (400, param)


@pytest.mark.parametrize("path", [*PATHS, "/spend/logs", "/key/info", "/key/list"])
async def test_a_parameter_that_is_there_twice_is_refused_by_name(gateway: Gateway, path: str) -> None:
    headers = {"authorization": f"Bearer {MASTER}"}
    answer = await gateway.http.get(f"{path}?page=1&page=2", headers=headers)

    assert error_of(answer) == (400, "page")


async def test_requests_are_exported_by_page(gateway: Gateway) -> None:
    answer = await gateway.ask("/spend/logs", format="csv", page_size=3)
    lines = list(csv.DictReader(io.StringIO(answer.text, newline="")))

    assert (answer.headers["x-total-count"], answer.headers["x-total-pages"]) == ("4", "2")
    assert [line["spend"] for line in lines] == ["0.04", "0.08", "0.02"]
    assert json.loads(lines[2]["request_tags"]) == ["t"]
    assert json.loads(lines[2]["metadata"])["event_id"] == "b"
    assert answer.text.endswith("\r\n")


async def test_a_table_is_given_to_who_accepts_one(gateway: Gateway) -> None:
    headers = {"authorization": f"Bearer {MASTER}", "accept": "text/csv"}

    answer = await gateway.http.get("/spend/users", headers=headers)
    as_asked = await gateway.http.get("/spend/users?format=json", headers=headers)

    assert answer.text.splitlines()[1].startswith(",,,0.08,")
    assert as_asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", [path for path in PATHS if path not in ("/spend/tags", "/global/spend/tags")])
async def test_every_table_adds_up_to_all_that_was_spent(gateway: Gateway, path: str) -> None:
    lines = await gateway.lines(path)

    column = next((name for name in ("total_spend", "spend") if name in lines[0]), "api_requests")
    assert sum(float(line[column]) for line in lines) == pytest.approx(4 if column == "api_requests" else 0.15)


async def test_a_report_by_key_is_exported_too(gateway: Gateway) -> None:
    lines = await gateway.lines("/global/spend/report", group_by="api_key")

    assert sum(float(line["total_cost"]) for line in lines) == pytest.approx(0.15)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@sum(a1)", "\t=1"])
async def test_no_name_becomes_a_formula(gateway: Gateway, name: str) -> None:
    await gateway.record(spend("e", cost=cents(50), scopes=Scopes(end_user=name, user=name)))

    (request,) = await gateway.lines("/spend/logs", end_user=name)
    users = await gateway.lines("/spend/users")

    assert request["end_user"] == users[0]["user_id"] == f"'{name}"


async def test_quotes_commas_and_lines_in_a_name_survive_the_table(gateway: Gateway) -> None:
    name = 'a "b", c\nd;ü'
    await gateway.record(spend("e", cost=cents(50), scopes=Scopes(user=name)))

    assert (await gateway.lines("/spend/users"))[0]["user_id"] == name


class SlowSums(list[tuple[Slot, Sums]]):
    """Sums that can only be added up while others are served."""

    def __init__(self, served: threading.Event) -> None:
        super().__init__([(Slot("2026-11-24", "total", ""), Sums(requests=1))])
        self.begun = threading.Event()
        self._served = served

    def __iter__(self) -> Iterator[tuple[Slot, Sums]]:
        self.begun.set()
        assert self._served.wait(5), "nobody is served meanwhile"
        return super().__iter__()


async def test_others_are_served_while_sums_are_added_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    served = threading.Event()
    sums = SlowSums(served)

    async def daily(*_: object, **__: object) -> SlowSums:
        return sums

    monkeypatch.setattr(gateway.stores.activity, "daily", daily)
    async with asyncio.TaskGroup() as tasks:
        report = tasks.create_task(gateway.get("/global/activity"))
        await asyncio.to_thread(sums.begun.wait, 5)
        await gateway.get("/spend/logs")
        served.set()

    assert report.result()["sum_api_requests"] == 1

"""Users and teams over HTTP: two instances on one store, with the sandbox behind them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest

from events.accounts import (
    Account,
    AccountEvent,
    AccountKind,
    UserCreated,
    UserDeleted,
    UserUpdated,
    id_of,
    kind_of,
    replay_accounts,
)
from events.keys import KeyDeleted
from events.money import nano_usd
from events.spend import Scopes
from functions.gateway.account_administration import AccountAdministration
from functions.gateway.errors import AccountConflict, StoreUnavailable
from functions.gateway.key_administration import KeyAdministration
from functions.gateway.keys import Keyring
from functions.gateway.ports import AccountChangedMeanwhile, AccountPage, AccountQuery, Accounts, Keys, Rate
from tests.builders import NOON, key, spend, team, user
from tests.functions.instances import MASTER, MODELS, Clock, Gateway, error_of, hash_of, open_instance
from tests.functions.stand_ins import CountedKeys

Open = Callable[..., Any]
KINDS: list[AccountKind] = ["user", "team"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_gateway(tmp_path: Path, clock: Clock) -> AsyncGenerator[Open]:
    async with AsyncExitStack() as stack:
        yield lambda master_key=MASTER, **settings: open_instance(stack, tmp_path, clock, master_key, **settings)


@pytest.fixture
async def gateway(open_gateway: Open) -> Gateway:
    return await open_gateway()


async def post(gateway: Gateway, path: str, **body: Any) -> Any:
    answer = await gateway.post(path, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def get(gateway: Gateway, path: str, **query: Any) -> Any:
    answer = await gateway.get(path, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def make(gateway: Gateway, kind: AccountKind, name: str = "red", **fields: Any) -> Any:
    return await post(gateway, f"/{kind}/new", **{f"{kind}_id": name}, **_without_a_key(kind), **fields)


async def key_of(gateway: Gateway, kind: AccountKind, name: str = "red", **fields: Any) -> str:
    return await gateway.make(**{f"{kind}_id": name}, **fields)


def _without_a_key(kind: AccountKind) -> dict[str, Any]:
    return {"auto_create_key": False} if kind == "user" else {}


async def account_events(gateway: Gateway) -> list[AccountEvent]:
    return [event async for event in gateway.stores.ledger.replay() if isinstance(event, AccountEvent)]


# --- what holds for their keys ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_the_keys_of_who_is_blocked_are_refused_until_they_are_unblocked(
    gateway: Gateway, kind: AccountKind
) -> None:
    await make(gateway, kind)
    key = await key_of(gateway, kind)
    assert (await gateway.chat(key)).status_code == 200

    assert (await post(gateway, f"/{kind}/block", **{f"{kind}_id": "red"}))["blocked"] is True
    assert error_of(await gateway.chat(key)) == (401, "auth_error", f"{kind}_blocked", None)
    assert (await gateway.get("/v1/models", by=key)).status_code == 401
    assert (await gateway.chat(MASTER)).status_code == 200

    await post(gateway, f"/{kind}/unblock", **{f"{kind}_id": "red"})
    assert (await gateway.chat(key)).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_nobody_known_works_and_is_theirs_as_soon_as_they_are_made(
    open_gateway: Open, clock: Clock, kind: AccountKind
) -> None:
    here, there = await open_gateway(), await open_gateway()
    key = await key_of(here, kind)
    assert (await there.chat(key)).status_code == 200

    await make(here, kind, blocked=True)
    assert (await here.chat(key)).status_code == 401
    clock.passed_s += 5

    assert (await there.chat(key)).status_code == 401


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_takes_effect_on_another_instance_within_five_seconds(
    open_gateway: Open, clock: Clock, kind: AccountKind
) -> None:
    here, there = await open_gateway(), await open_gateway()
    await make(here, kind)
    key = await key_of(here, kind)
    assert (await there.chat(key)).status_code == 200

    await post(here, f"/{kind}/block", **{f"{kind}_id": "red"})
    clock.passed_s += 5

    assert (await there.chat(key)).status_code == 401


@pytest.mark.parametrize(
    ("key", "user", "team", "usable"),
    [
        ([], [], [], [*MODELS, "small"]),
        ([], ["gpt-4o*"], ["openai/*4o"], ["gpt-4o"]),
        (["gpt-4o-mini", "small"], [], ["gpt-*"], ["gpt-4o-mini"]),
        (["all-team-models"], [], ["gpt-4o-mini"], ["gpt-4o-mini"]),
        (["all-team-models"], [], [], [*MODELS, "small"]),
        (["gpt-4o"], ["small"], [], []),
    ],
)
async def test_a_key_may_use_what_its_user_and_its_team_may_use_too(
    gateway: Gateway, key: list[str], user: list[str], team: list[str], usable: list[str]
) -> None:
    await make(gateway, "user", models=user)
    await make(gateway, "team", models=team)
    asking = await gateway.make(user_id="red", team_id="red", models=key)

    listed = [model["id"] for model in (await get(gateway, "/v1/models", by=asking))["data"]]
    answers = {model: (await gateway.chat(asking, model=model)).status_code for model in MODELS}

    assert listed == usable
    assert answers == {model: 200 if model in usable else 403 for model in MODELS}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refused_model_says_whose_list_refuses_it(gateway: Gateway, kind: AccountKind) -> None:
    await make(gateway, kind, models=["gpt-4o-mini"])

    refused = await gateway.chat(await key_of(gateway, kind))

    assert error_of(refused) == (403, f"{kind}_model_access_denied", "model_not_allowed", "model")
    assert f"The {kind} of this API key" in refused.json()["error"]["message"]
    assert refused.json()["error"]["models"] == ["gpt-4o-mini"]


async def test_nobody_takes_over_whom_the_team_may_not_use(gateway: Gateway) -> None:
    await make(gateway, "team", models=["gpt-4o"])
    fails = [{"role": "user", "content": "[sandbox: openai=500]"}]

    answer = await gateway.post(
        "/v1/chat/completions", by=await key_of(gateway, "team"), model="gpt-4o", messages=fails, num_retries=0
    )

    assert {attempt["model"] for attempt in answer.json()["error"]["attempts"]} == {"openai/gpt-4o"}


async def test_the_limits_of_user_and_team_hold_for_each_of_their_keys(gateway: Gateway) -> None:
    await make(gateway, "user", max_budget=2, rpm_limit=10)
    await make(gateway, "team", max_budget=1, budget_duration="1d", tpm_limit=20)
    keys = [await gateway.make(user_id="red", team_id="red", max_budget=3) for _ in range(2)]

    for asking in keys:
        assert (await gateway.chat(asking)).status_code == 200

    for limits, asking in zip(gateway.admission.limits, keys, strict=True):
        assert [(budget.budget_id, budget.max_budget, budget.duration) for budget in limits.budgets] == [
            ("team:red", 10**9, "1d"),
            ("user:red", 2 * 10**9, None),
            (f"key:{hash_of(asking)}", 3 * 10**9, None),
        ]
        assert limits.rates == (
            Rate(scope="team:red", kind="tokens", limit=20),
            Rate(scope="user:red", kind="requests", limit=10),
        )


async def test_a_user_without_a_budget_has_that_of_the_configuration(open_gateway: Open) -> None:
    gateway = await open_gateway(max_internal_user_budget=5, internal_user_budget_duration="1mo")
    await make(gateway, "user")
    await make(gateway, "user", "rich", max_budget=100)

    for name in ("red", "rich", "unknown"):
        await gateway.chat(await key_of(gateway, "user", name))

    held = [
        [(b.budget_id, b.max_budget, b.duration) for b in limits.budgets if b.max_budget]
        for limits in gateway.admission.limits
    ]
    mine = [("user:red", 5 * 10**9, "1mo")]
    assert held == [mine, [("user:rich", 100 * 10**9, None)], [("user:unknown", 5 * 10**9, "1mo")]]


@pytest.mark.parametrize("name", ["somebody", "a/b:c", "漢" * 512, " ", "sha256-0"])
async def test_an_end_user_has_the_budget_of_the_configuration(open_gateway: Open, name: str) -> None:
    gateway = await open_gateway(max_end_user_budget=0.5)

    await gateway.chat(MASTER, user=name)
    await gateway.chat(MASTER, user="another")

    (first,), (second,) = (limits.budgets for limits in gateway.admission.limits)
    assert (first.max_budget, first.duration) == (5 * 10**8, None)
    assert first.budget_id.startswith("end_user:")
    assert first.budget_id != second.budget_id
    assert len(first.budget_id) < 200


async def test_an_end_user_without_a_name_is_none(open_gateway: Open) -> None:
    gateway = await open_gateway(max_end_user_budget=0.5)

    await gateway.chat(MASTER, user="")
    await gateway.chat(MASTER)

    assert [limits.budgets for limits in gateway.admission.limits] == [(), ()]


# --- reading them ----------------------------------------------------------------------------------


class CountedAccounts:
    """Users and teams to read, each of whose readings waits for the other kind's."""

    def __init__(self, *accounts: Account) -> None:
        self.readings: list[str] = []
        self.read_twice = asyncio.Event()
        self.is_down = False
        self._accounts = {(kind_of(account), id_of(account)): account for account in accounts}
        self.both = asyncio.Barrier(2)

    async def get(self, kind: AccountKind, account_id: str) -> Account | None:
        self.readings.append(kind)
        if len(self.readings) == 4:
            self.read_twice.set()
        if self.is_down:
            raise StoreUnavailable("the store is down")
        async with asyncio.timeout(5):
            await self.both.wait()
        return self._accounts.get((kind, account_id))

    async def next_version(self, kind: AccountKind, account_id: str) -> int:
        return 1

    async def named(self, kind: AccountKind, account_ids: Sequence[str]) -> dict[str, Account]:
        raise AssertionError("nothing is listed here")

    async def page(self, kind: AccountKind, query: AccountQuery) -> AccountPage:
        raise AssertionError("nothing is listed here")

    async def commit(self, events: Sequence[AccountEvent]) -> None:
        raise AssertionError("nothing is changed here")

    async def restore(self, kind: AccountKind, account_id: str, last: AccountEvent | None) -> None:
        raise AssertionError("nothing is changed here")


class Reading:
    """A keyring with one key, of a user and a team."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.keys, self.accounts = CountedKeys(), CountedAccounts(user("ada"), team("core"))
        self.keys.put(key("a", key_hash=hash_of("sk-of-ada"), user_id="ada", team_id="core"))
        self.keyring = Keyring(
            cast("Keys", self.keys), self.accounts, MASTER, now=lambda: NOON, clock=lambda: self.passed_s
        )

    async def identity(self) -> Any:
        return await self.keyring.authenticate({"x-api-key": "sk-of-ada"}, "/v1/models")


async def test_a_user_and_a_team_are_read_once_in_a_few_seconds_and_both_at_once() -> None:
    reading = Reading()

    identities = [await reading.identity() for _ in range(3)]

    assert {(identity.user.user_id, identity.team.team_id) for identity in identities} == {("ada", "core")}
    assert sorted(reading.accounts.readings) == ["team", "user"]


async def test_what_is_known_of_a_key_is_read_anew_beside_it_not_after_it() -> None:
    reading = Reading()
    await reading.identity()
    reading.passed_s = 4
    reading.keys.asked.clear()
    reading.keys.open.clear()

    again = asyncio.create_task(reading.identity())
    await reading.keys.asked.wait()
    await asyncio.wait_for(reading.accounts.read_twice.wait(), 5)  # with the key's reading still under way
    reading.keys.open.set()

    assert (await again).team == team("core")
    assert len(reading.accounts.readings) == 4


async def test_a_user_who_can_not_be_looked_up_lets_nobody_in() -> None:
    reading = Reading()
    reading.accounts.is_down = True

    with pytest.raises(StoreUnavailable, match="key's user"):
        await reading.identity()


async def test_who_always_comes_too_late_is_told_so() -> None:
    class AlwaysChanged(CountedAccounts):
        async def get(self, kind: AccountKind, account_id: str) -> Account | None:
            return user("ada")

        async def commit(self, events: Sequence[AccountEvent]) -> None:
            raise AccountChangedMeanwhile

    accounts = cast("Accounts", AlwaysChanged())
    keyring = Keyring(cast("Keys", CountedKeys()), accounts, MASTER, now=lambda: NOON, clock=lambda: 0)
    administration = AccountAdministration(
        accounts, cast("KeyAdministration", None), keyring, now=lambda: NOON, new_id=lambda: "x"
    )

    with pytest.raises(AccountConflict) as late:
        await administration.block("user", "ada", "master", is_blocked=True)

    assert (late.value.status, late.value.code) == (409, "user_conflict")


# --- making and changing them ----------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "models": ["gpt-4o"],
    "metadata": {"env": {"name": "dev"}, "big": 10**30},
    "max_budget": 10.5,
    "soft_budget": 5,
    "budget_duration": "30d",
    "rpm_limit": 100,
    "tpm_limit": 10_000,
    "max_parallel_requests": 5,
}
NOTHING_SPENT = {"spend": 0.0, "total_spend": 0.0, "budget_reset_at": None}


async def test_a_user_has_what_they_were_made_with_and_a_key(gateway: Gateway) -> None:
    fields = SETTINGS | {"user_id": "ada", "user_alias": "Ada", "user_email": "ada@example.com"}

    made = await post(gateway, "/user/new", **fields, user_role="internal_user", key_alias="ada-1", duration="30d")

    assert {name: made[name] for name in fields} == fields
    assert (made["key_alias"], made["expires"], made["user_role"]) == ("ada-1", "2026-12-24T12:00:00Z", "internal_user")
    assert (made["created_by"], made["created_at"], made["blocked"]) == ("master", "2026-11-24T12:00:00Z", False)
    assert (await gateway.chat(made["key"])).status_code == 200
    info = await get(gateway, "/user/info", user_id="ada")
    assert (info["user_id"], info["teams"]) == ("ada", [])
    assert {name: info["user_info"][name] for name in fields} == fields
    assert [held["token"] for held in info["keys"]] == [hash_of(made["key"])]
    assert (info["keys"][0]["models"], info["keys"][0]["max_budget"]) == ([], None)


async def test_a_user_may_be_made_without_a_key_and_without_an_id(gateway: Gateway) -> None:
    made = await post(gateway, "/user/new", auto_create_key=False)

    assert (made["key"], made["user_id"][:9]) == (None, "made-here")
    assert (await get(gateway, "/user/info", user_id=made["user_id"]))["keys"] == []


async def test_a_team_has_what_it_was_made_with(gateway: Gateway) -> None:
    members = [{"user_id": "ada", "role": "admin"}, {"user_id": "bob", "role": "user"}]
    fields = SETTINGS | {"team_id": "core", "team_alias": "Core", "blocked": True}

    resets = NOTHING_SPENT | {"budget_reset_at": "2026-12-24T12:00:00Z"}

    made = await post(gateway, "/team/new", **fields, members_with_roles=[members[0], {"user_id": "bob"}])
    key = await key_of(gateway, "team", "core")

    assert {name: made[name] for name in fields} == fields
    assert made["members_with_roles"] == members
    info = await get(gateway, "/team/info", team_id="core")
    assert (info["team_id"], info["team_info"]) == ("core", made | resets)
    assert [held["token"] for held in info["keys"]] == [hash_of(key)]
    await make(gateway, "user", "ada")
    assert (await get(gateway, "/user/info", user_id="ada"))["teams"] == [made | resets]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_keeps_what_it_does_not_name(gateway: Gateway, kind: AccountKind) -> None:
    await make(gateway, kind, models=["gpt-4o"], rpm_limit=5, metadata={"a": 1, "b": 2})

    changed = await post(
        gateway, f"/{kind}/update", **{f"{kind}_id": "red"}, max_budget=20, metadata={"c": 3}, rpm_limit=None
    )

    assert changed[f"{kind}_id"] == "red"
    data = changed["data"]
    assert (data["models"], data["max_budget"], data["metadata"], data["rpm_limit"]) == (["gpt-4o"], 20, {"c": 3}, None)
    assert (await get(gateway, f"/{kind}/info", **{f"{kind}_id": "red"}))[f"{kind}_info"] == (
        data | NOTHING_SPENT | ({"teams": []} if kind == "user" else {})
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_parameter_that_is_there_twice_is_refused_by_name(gateway: Gateway, kind: AccountKind) -> None:
    for path in (f"/{kind}/info", f"/{kind}/list"):
        answer = await gateway.http.get(
            f"{path}?{kind}_id=a&{kind}_id=b", headers={"authorization": f"Bearer {MASTER}"}
        )
        assert error_of(answer)[::3] == (400, f"{kind}_id")


async def spent(gateway: Gateway, key: str, usd: float, *windows: str) -> None:
    """Have been spent what an answer cost, as folding writes it."""
    found = (await get(gateway, "/key/info", key=key))["info"]
    scopes = Scopes(key_hash=hash_of(key), user=found["user_id"], team=found["team_id"])
    event = spend(f"{key}{usd}{windows}", cost=nano_usd(usd), scopes=scopes)
    await gateway.stores.ledger.commit([event], dict.fromkeys(windows, nano_usd(usd)))


def shown_spend(found: Any) -> tuple[float, float, str | None]:
    return found["spend"], found["total_spend"], found["budget_reset_at"]


@pytest.mark.parametrize("kind", KINDS)
async def test_they_are_shown_with_what_was_spent_in_their_window_and_in_all(
    gateway: Gateway, kind: AccountKind
) -> None:
    await make(gateway, kind, max_budget=10, budget_duration="1d")
    await make(gateway, kind, "blue", max_budget=10)
    red, blue = [await key_of(gateway, kind, name) for name in ("red", "blue")]
    await spent(gateway, red, 1, f"{kind}:red:2026-11-23")
    await spent(gateway, red, 2, f"{kind}:red:2026-11-24")
    await spent(gateway, blue, 4, f"{kind}:blue:all")
    expected = {"red": (2, 3, "2026-11-25T00:00:00Z"), "blue": (4, 4, None)}

    listing = await get(gateway, "/user/list" if kind == "user" else "/v2/team/list")
    assert {one[f"{kind}_id"]: shown_spend(one) for one in listing[f"{kind}s"]} == expected
    info = await get(gateway, f"/{kind}/info", **{f"{kind}_id": "red"})
    assert shown_spend(info[f"{kind}_info"]) == expected["red"]
    assert [shown_spend(held) for held in info["keys"]] == [(3, 3, None)]
    ranking = await get(gateway, f"/spend/{kind}s")
    assert [(one[f"{kind}_id"], shown_spend(one)) for one in ranking] == [
        ("blue", expected["blue"]), ("red", expected["red"])
    ]  # fmt: skip


async def test_a_user_is_shown_with_the_spend_of_their_teams(gateway: Gateway) -> None:
    await make(gateway, "user", "ada")
    await make(gateway, "team", "red", members_with_roles=[{"user_id": "ada"}])
    await spent(gateway, await key_of(gateway, "team", "red"), 5)

    info = await get(gateway, "/user/info", user_id="ada")
    assert [shown_spend(one) for one in info["teams"]] == [(5, 5, None)]
    assert shown_spend(info["user_info"]) == (0, 0, None)
    assert [shown_spend(one) for one in await get(gateway, "/team/list")] == [(5, 5, None)]


async def test_a_user_without_a_budget_is_shown_in_the_window_of_the_one_that_all_have(open_gateway: Open) -> None:
    opened = await open_gateway(max_internal_user_budget=10, internal_user_budget_duration="1d")
    await make(opened, "user", "ada")
    await spent(opened, await key_of(opened, "user", "ada"), 2, "user:ada:2026-11-24")

    info = await get(opened, "/user/info", user_id="ada")
    assert shown_spend(info["user_info"]) == (2, 2, "2026-11-25T00:00:00Z")


async def test_changes_made_at_once_all_hold(open_gateway: Open) -> None:
    here, there = await open_gateway(), await open_gateway()
    await make(here, "team")
    members = [{"user_id": name} for name in "abcd"]

    await asyncio.gather(*(
        post(gateway, "/team/member_add", team_id="red", member=member)
        for gateway, member in zip((here, there, here, there), members, strict=True)
    ))  # fmt: skip

    info = (await get(here, "/team/info", team_id="red"))["team_info"]
    assert sorted(member["user_id"] for member in info["members_with_roles"]) == list("abcd")
    assert len(await account_events(here)) == 5


async def test_members_come_and_go(gateway: Gateway) -> None:
    await make(gateway, "team")

    await post(gateway, "/team/member_add", team_id="red", member={"user_id": "ada", "role": "admin"})
    await post(gateway, "/team/member_add", team_id="red", member=[{"user_id": "bob"}, {"user_id": "eve"}])
    row = await post(gateway, "/team/member_delete", team_id="red", user_id="bob")

    assert row["members_with_roles"] == [{"user_id": "ada", "role": "admin"}, {"user_id": "eve", "role": "user"}]
    again = await gateway.post("/team/member_add", team_id="red", member=[{"user_id": "new"}, {"user_id": "ada"}])
    assert error_of(again) == (400, "invalid_request_error", "member_exists", "member")
    gone = await gateway.post("/team/member_delete", team_id="red", user_id="bob")
    assert error_of(gone) == (400, "invalid_request_error", "no_member", "user_id")
    assert len(await account_events(gateway)) == 4


# --- deleting them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_who_is_deleted_is_gone_with_all_their_keys(gateway: Gateway, kind: AccountKind) -> None:
    for name in ("red", "blue"):
        await make(gateway, kind, name)
    keys = [await key_of(gateway, kind, name) for name in ("red", "red", "blue")]
    other = await key_of(gateway, kind, "green")
    for asking in (*keys, other):
        assert (await gateway.chat(asking)).status_code == 200

    deleted = await post(gateway, f"/{kind}/delete", **{f"{kind}_ids": ["red", "blue"]})

    assert deleted == {f"deleted_{kind}s": ["red", "blue"]}
    assert [(await gateway.chat(asking)).status_code for asking in (*keys, other)] == [401, 401, 401, 200]
    assert error_of(await gateway.get(f"/{kind}/info", **{f"{kind}_id": "red"}))[2] == f"{kind}_not_found"
    events = [event async for event in gateway.stores.ledger.replay() if isinstance(event, KeyDeleted)]
    assert {event.before.key_hash for event in events} == {hash_of(asking) for asking in keys}


async def test_more_keys_than_fit_into_one_commit_are_deleted(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("functions.gateway.key_administration._DELETED_TOGETHER", 2)
    await make(gateway, "team")
    for _ in range(5):
        await key_of(gateway, "team")

    await post(gateway, "/team/delete", team_ids=["red"])

    assert (await get(gateway, "/key/list"))["total_count"] == 0


async def test_a_deletion_that_broke_off_leaves_nobody_without_their_limits_and_may_go_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(gateway, "team", max_budget=1)
    await key_of(gateway, "team")

    async def down(events: Sequence[AccountEvent]) -> None:
        raise StoreUnavailable("the store is down")

    with monkeypatch.context() as broken:
        broken.setattr(gateway.stores.accounts, "commit", down)
        assert (await gateway.post("/team/delete", team_ids=["red"])).status_code == 503
    assert (await get(gateway, "/team/info", team_id="red"))["keys"] == []

    await post(gateway, "/team/delete", team_ids=["red"])

    assert (await get(gateway, "/team/list")) == []


@pytest.mark.parametrize("kind", KINDS)
async def test_of_several_all_are_deleted_or_none(gateway: Gateway, kind: AccountKind) -> None:
    await make(gateway, kind)
    asking = await key_of(gateway, kind)

    ids: dict[str, Any] = {f"{kind}_ids": ["red", "nobody"]}
    refused = await gateway.post(f"/{kind}/delete", **ids)

    assert error_of(refused) == (404, "not_found_error", f"{kind}_not_found", f"{kind}_ids")
    assert (await gateway.chat(asking)).status_code == 200
    assert len(await account_events(gateway)) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["update", "block", "unblock"])
async def test_who_is_gone_can_not_be_changed(gateway: Gateway, kind: AccountKind, path: str) -> None:
    await make(gateway, kind)
    await post(gateway, f"/{kind}/delete", **{f"{kind}_ids": ["red"]})

    refused = await gateway.post(f"/{kind}/{path}", **{f"{kind}_id": "red"})

    assert error_of(refused) == (404, "not_found_error", f"{kind}_not_found", f"{kind}_id")
    assert len(await account_events(gateway)) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_who_was_deleted_may_be_made_again_with_nothing_of_before(gateway: Gateway, kind: AccountKind) -> None:
    await make(gateway, kind, rpm_limit=5)
    await post(gateway, f"/{kind}/delete", **{f"{kind}_ids": ["red"]})

    made = await make(gateway, kind)

    assert made["rpm_limit"] is None
    assert (await account_events(gateway))[-1].event_id == f"{kind}:red:000003"


# --- listing them ----------------------------------------------------------------------------------


async def test_users_are_listed_page_by_page_the_newest_first(gateway: Gateway, clock: Clock) -> None:
    for number, name in enumerate("abc"):
        clock.passed_s = number
        await make(gateway, "user", name, user_alias="x" if name == "b" else None)

    first = await get(gateway, "/user/list", page_size=2)

    assert [row["user_id"] for row in first.pop("users")] == ["c", "b"]
    assert first == {"total": 3, "page": 1, "page_size": 2, "total_pages": 2}
    for query, found in [({"page_size": 2, "page": 2}, "a"), ({"user_ids": "a,c,x"}, "ca"), ({"user_alias": "x"}, "b")]:
        assert [row["user_id"] for row in (await get(gateway, "/user/list", **query))["users"]] == list(found)


async def test_teams_are_listed_with_and_without_a_frame(gateway: Gateway, clock: Clock) -> None:
    for number, name in enumerate("ab"):
        clock.passed_s = number
        await make(gateway, "team", name, members_with_roles=[{"user_id": f"of-{name}"}])

    assert [row["team_id"] for row in await get(gateway, "/team/list")] == ["b", "a"]
    assert [row["team_id"] for row in await get(gateway, "/team/list", user_id="of-a")] == ["a"]
    framed = await get(gateway, "/v2/team/list", page_size=1)
    assert ([row["team_id"] for row in framed["teams"]], framed["total"], framed["total_pages"]) == (["b"], 2, 2)


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("new", {"max_budget": -1}, "max_budget"),
        ("new", {"max_budget": 1e12}, "max_budget"),
        ("new", {"budget_duration": "sometimes"}, "budget_duration"),
        ("new", {"invented": 1}, "invented"),
        ("new", {"tags": ["a"]}, "tags"),
        ("new", {"spend": 5}, "spend"),
        ("new", {"user_role": "proxy_admin"}, "user_role"),
        ("new", {"models": "gpt-4o"}, "models"),
        ("new", {"models": ["a*b*"]}, "models[0]"),
        ("new", {"rpm_limit": 1.5}, "rpm_limit"),
        ("new", {"blocked": "yes"}, "blocked"),
        ("new", {"metadata": {"x": "y" * 20_000}}, "metadata"),
        ("new", {"{kind}_id": "x" * 257}, "{kind}_id"),
        ("new", {"{kind}_id": "a\nb"}, "{kind}_id"),
        ("new", {"{kind}_id": ""}, "{kind}_id"),
        ("new", {"{kind}_id": 5}, "{kind}_id"),
        ("update", {"{kind}_id": "red", "max_budget": -1}, "max_budget"),
        ("update", {"rpm_limit": 5}, "{kind}_id"),
        ("update", {"{kind}_id": "red", "created_by": "me"}, "created_by"),
        ("update", {"{kind}_id": "red", "version": 7}, "version"),
        ("delete", {}, "{kind}_ids"),
        ("delete", {"{kind}_ids": []}, "{kind}_ids"),
        ("delete", {"{kind}_ids": ["a"] * 101}, "{kind}_ids"),
        ("block", {}, "{kind}_id"),
        ("unblock", {"{kind}_id": None}, "{kind}_id"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name_and_changes_nothing(
    gateway: Gateway, kind: AccountKind, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await gateway.post(f"/{kind}/{path}", **{name.format(kind=kind): body[name] for name in body})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param.format(kind=kind))
    assert await account_events(gateway) == []


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/user/new", {"user_email": "nowhere"}, "user_email"),
        ("/user/new", {"team_alias": "x"}, "team_alias"),
        ("/user/new", {"teams": ["core"]}, "teams"),
        ("/user/new", {"auto_create_key": False, "key_alias": "x"}, "key_alias"),
        ("/user/new", {"key": "no-key"}, "key"),
        ("/user/new", {"key": MASTER}, "key"),
        ("/team/new", {"user_email": "a@b.c"}, "user_email"),
        ("/team/new", {"members_with_roles": [{"user_id": "a"}, {"user_id": "a"}]}, "members_with_roles"),
        ("/team/new", {"members_with_roles": [{"user_id": "a", "role": "king"}]}, "members_with_roles[0].role"),
        ("/team/member_add", {"team_id": "red"}, "member"),
        ("/team/member_add", {"team_id": "red", "member": {"user_email": "a@b.c"}}, "member.user_id"),
        ("/team/member_add", {"team_id": "red", "member": [{"user_id": "a"}, {}]}, "member[1].user_id"),
        ("/team/member_add", {"team_id": "red", "member": "a"}, "member"),
        ("/team/member_add", {"member": {"user_id": "a"}}, "team_id"),
        ("/team/member_delete", {"team_id": "red"}, "user_id"),
    ],
)
async def test_what_is_not_of_a_user_or_a_team_is_refused(
    gateway: Gateway, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await gateway.post(path, **body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert await gateway.key_events() == []
    assert (await get(gateway, "/user/list"))["total"] == (await get(gateway, "/v2/team/list"))["total"] == 0


@pytest.mark.parametrize(
    "raw",
    [
        b'{"team_id": "red", "team_id": "blue", "member": {"user_id": "a"}}',
        b'{"team_id": "red", "member": {"user_id": "a", "role": "user", "role": "admin"}}',
        b'{"team_id": "red", "member": {"user_id": ' + b"9" * 5000 + b"}}",
        b'{"team_id": "red", "member": {"user_id": "\\ud800"}}',
        b'["team_id"]',
    ],
)
async def test_a_body_that_says_nothing_for_sure_is_refused(gateway: Gateway, raw: bytes) -> None:
    await make(gateway, "team")

    answer = await gateway.http.post("/team/member_add", content=raw, headers={"x-api-key": MASTER})

    assert answer.status_code == 400
    assert len(await account_events(gateway)) == 1


async def test_without_their_key_a_user_is_not_made_either(gateway: Gateway) -> None:
    await gateway.make(key_alias="ci")

    refused = await gateway.post("/user/new", user_id="ada", key_alias="ci")

    assert error_of(refused)[2] == "key_alias_taken"
    assert (await gateway.get("/user/info", user_id="ada")).status_code == 404
    assert (await post(gateway, "/user/new", user_id="ada", key_alias="cd"))["user_id"] == "ada"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_id_is_of_one(gateway: Gateway, kind: AccountKind) -> None:
    await make(gateway, kind)

    refused = await gateway.post(f"/{kind}/new", **{f"{kind}_id": "red"})

    assert error_of(refused) == (400, "invalid_request_error", f"{kind}_exists", f"{kind}_id")
    assert len(await account_events(gateway)) == 1
    assert await gateway.key_events() == []


async def test_of_two_made_at_once_with_one_id_one_is_there(open_gateway: Open) -> None:
    here, there = await open_gateway(), await open_gateway()

    answers = await asyncio.gather(
        *(gateway.post("/team/new", team_id="red", team_alias=alias) for gateway, alias in ((here, "a"), (there, "b")))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 400]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/user/info", {}),
        ("/team/info", {"team_id": "x", "invented": "1"}),
        ("/user/list", {"page": "0"}),
        ("/user/list", {"page_size": "101"}),
        ("/user/list", {"user_ids": ","}),
        ("/team/list", {"team_ids": ",".join(map(str, range(31)))}),
        ("/v2/team/list", {"role": "x"}),
    ],
)
async def test_a_query_that_makes_no_sense_is_refused(gateway: Gateway, path: str, query: dict[str, str]) -> None:
    assert (await gateway.get(path, **query)).status_code == 400


PATHS = [
    *[("POST", f"/{kind}/{path}") for kind in KINDS for path in ("new", "update", "delete", "block", "unblock")],
    *[("GET", f"/{kind}/{path}") for kind in KINDS for path in ("info", "list")],
    ("GET", "/v2/team/list"),
    ("POST", "/team/member_add"),
    ("POST", "/team/member_delete"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_their_paths_take_no_virtual_key(gateway: Gateway, method: str, path: str) -> None:
    asking = await gateway.make()

    refused = await gateway.http.request(method, path, headers={"x-api-key": asking}, json={})

    assert error_of(refused) == (403, "auth_error", "master_key_required", None)


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_without_a_master_key_their_paths_are_closed(open_gateway: Open, method: str, path: str) -> None:
    gateway = await open_gateway(None)

    refused: httpx2.Response = await gateway.http.request(method, path, json={})

    assert error_of(refused) == (403, "auth_error", "master_key_required", None)


# --- the ledger ------------------------------------------------------------------------------------


async def test_every_change_is_in_the_ledger_with_who_made_it_and_what_was_before(gateway: Gateway) -> None:
    await make(gateway, "user")
    await post(gateway, "/user/update", user_id="red", rpm_limit=5)
    await post(gateway, "/user/update", user_id="red", rpm_limit=5)
    await post(gateway, "/user/block", user_id="red")
    await post(gateway, "/user/block", user_id="red")
    await post(gateway, "/user/delete", user_ids=["red"])

    events = await account_events(gateway)

    assert [event.type.split(".")[1] for event in events] == ["created", "updated", "updated", "deleted"]
    assert {(event.actor, event.time) for event in events} == {("master", NOON)}
    created, updated, blocked, deleted = events
    assert isinstance(created, UserCreated)
    assert isinstance(updated, UserUpdated)
    assert isinstance(blocked, UserUpdated)
    assert isinstance(deleted, UserDeleted)
    assert (updated.before, updated.before.rpm_limit, updated.after.rpm_limit) == (created.after, None, 5)
    assert (blocked.before.blocked, blocked.after.blocked, deleted.before) == (False, True, blocked.after)


async def test_a_replay_of_the_ledger_gives_the_users_and_teams_that_there_are(gateway: Gateway) -> None:
    await make(gateway, "user", "ada", rpm_limit=5)
    await make(gateway, "user", "gone")
    await make(gateway, "team", "core")
    await post(gateway, "/team/member_add", team_id="core", member={"user_id": "ada"})
    await post(gateway, "/user/delete", user_ids=["gone"])

    pages = [await gateway.stores.accounts.page(kind, AccountQuery()) for kind in KINDS]

    there = {(kind_of(account), id_of(account)): account for page in pages for account in page.accounts}
    assert replay_accounts(await account_events(gateway)) == there

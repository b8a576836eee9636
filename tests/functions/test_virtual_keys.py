"""Virtual keys over HTTP: two instances on one store, with the sandbox behind them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from openai import AuthenticationError, PermissionDeniedError

from events.codec import encode
from events.keys import Key, KeyCreated, KeyDeleted, KeyEvent, KeyUpdated, replay_keys
from functions.gateway.errors import KeyConflict
from functions.gateway.key_administration import KeyAdministration
from functions.gateway.keys import Keyring
from functions.gateway.ports import Accounts, KeyChangedMeanwhile, KeyQuery
from tests.builders import NOON, key
from tests.functions.instances import (
    MASTER,
    MESSAGES,
    MODELS,
    Clock,
    Gateway,
    error_of,
    files_in,
    hash_of,
    open_instance,
)
from tests.functions.stand_ins import CountedKeys

Open = Callable[[str | None], Any]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def open_gateway(tmp_path: Path, clock: Clock) -> AsyncGenerator[Open]:
    async with AsyncExitStack() as stack:
        yield lambda master_key: open_instance(stack, tmp_path, clock, master_key)


@pytest.fixture
async def gateway(open_gateway: Open) -> Gateway:
    return await open_gateway(MASTER)


class AlwaysChangedKeys(CountedKeys):
    """Keys of which somebody else changes each first."""

    async def get(self, key_hash: str) -> Key | None:
        return key("a")

    async def commit(self, events: Sequence[KeyEvent]) -> None:
        raise KeyChangedMeanwhile


# --- getting in ------------------------------------------------------------------------------------


async def test_the_stock_client_gets_in_with_a_key(gateway: Gateway) -> None:
    key = await gateway.make()

    answer = await gateway.openai(key).chat.completions.create(model="gpt-4o", messages=MESSAGES)

    assert answer.choices[0].message.content


async def test_a_key_s_spend_is_its_user_s_and_team_s_and_of_its_tags(gateway: Gateway) -> None:
    key = await gateway.make(user_id="ada", team_id="core", tags=["ci"], metadata={"tags": ["ci", "nightly"]})

    await gateway.chat(key, user="somebody")

    scopes = gateway.bus.spend.scopes
    assert (scopes.key_hash, scopes.user, scopes.team, scopes.tags) == (hash_of(key), "ada", "core", ("ci", "nightly"))


async def test_the_user_of_a_request_is_an_end_user(gateway: Gateway) -> None:
    await gateway.chat(await gateway.make(), user="somebody")

    scopes = gateway.bus.spend.scopes
    assert (scopes.user, scopes.end_user) == (None, "somebody")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Authorization", "Bearer {}"),
        ("Authorization", "bearer {}"),
        ("x-api-key", "{}"),
        ("api-key", "{}"),
        ("x-litellm-api-key", "{}"),
        ("x-litellm-api-key", "Bearer {}"),
    ],
)
async def test_a_key_may_be_sent_in_any_of_the_headers(gateway: Gateway, header: str, value: str) -> None:
    key = await gateway.make()

    answer = await gateway.http.get("/v1/models", headers={header: value.format(key)})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "others",
    [
        {"authorization": "Bearer"},
        {"authorization": "Basic YWRhOmxvdmVsYWNl"},
        {"x-litellm-api-key": " "},
        {"x-litellm-api-key": "Bearer "},
        {"api-key": " "},
    ],
)
async def test_a_header_without_a_key_is_passed_over(gateway: Gateway, others: dict[str, str]) -> None:
    headers = {"x-api-key": await gateway.make(), **others}

    assert (await gateway.http.get("/v1/models", headers=headers)).status_code == 200


async def test_litellm_s_own_header_goes_before_the_others(gateway: Gateway) -> None:
    headers = {"x-litellm-api-key": await gateway.make(), "authorization": "Bearer sk-somebody-else", "api-key": "no"}

    assert (await gateway.http.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_nobody_gets_in_without_a_key(gateway: Gateway, path: str) -> None:
    answer = await gateway.http.post(path, json={"model": "gpt-4o"})

    assert error_of(answer) == (401, "auth_error", "missing_api_key", None)


@pytest.mark.parametrize("key", ["sk-nobody-has-this", "no-key-at-all", "sk-" + "x" * 10_000, "sk-\u00e9"])
async def test_nobody_gets_in_with_an_unknown_key(gateway: Gateway, key: str) -> None:
    answer = await gateway.http.get("/v1/models", headers=[(b"x-api-key", key.encode())])

    assert error_of(answer) == (401, "auth_error", "invalid_api_key", None)
    assert key not in answer.text


async def test_nobody_gets_in_with_a_hash(gateway: Gateway) -> None:
    key_hash = hash_of(await gateway.make())

    for presented in (key_hash, f"sk-{key_hash}"):
        assert (await gateway.get("/v1/models", by=presented)).status_code == 401


async def test_a_key_expires(gateway: Gateway, clock: Clock) -> None:
    key = await gateway.make(duration="30s")
    assert (await gateway.chat(key)).status_code == 200

    clock.passed_s = 30

    assert error_of(await gateway.chat(key)) == (401, "expired_key", "key_expired", f"sk-...{key[-4:]}")
    with pytest.raises(AuthenticationError):
        await gateway.openai(key).models.list()


async def test_a_blocked_key_is_refused_until_it_is_unblocked(gateway: Gateway) -> None:
    key = await gateway.make()

    assert (await gateway.post("/key/block", key=key)).json()["blocked"] is True
    assert error_of(await gateway.chat(key)) == (401, "auth_error", "key_blocked", None)

    assert (await gateway.post("/key/unblock", key=key)).json()["blocked"] is False
    assert (await gateway.chat(key)).status_code == 200


async def test_a_change_takes_effect_on_another_instance_within_five_seconds(open_gateway: Open, clock: Clock) -> None:
    here, there = await open_gateway(MASTER), await open_gateway(MASTER)
    assert (await there.chat("sk-not-made-yet")).status_code == 401
    key = await here.make(key="sk-not-made-yet")
    clock.passed_s += 5
    assert (await there.chat(key)).status_code == 200

    await here.post("/key/block", key=key)
    assert (await here.chat(key)).status_code == 401
    clock.passed_s += 5

    assert (await there.chat(key)).status_code == 401


async def test_a_store_that_is_down_is_a_503_and_no_matter_to_the_master_key(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").unlink()

    assert error_of(await gateway.chat("sk-unknown-key"))[:3] == (503, "store_unavailable", "store_unavailable")
    assert (await gateway.chat(MASTER)).status_code == 200


# --- what a key may use ----------------------------------------------------------------------------


async def test_a_model_that_the_key_may_not_use_is_refused(gateway: Gateway) -> None:
    key = await gateway.make(models=["gpt-4o-mini"])

    answer = await gateway.chat(key, model="gpt-4o")

    assert error_of(answer) == (403, "key_model_access_denied", "model_not_allowed", "model")
    assert answer.json()["error"]["models"] == ["gpt-4o-mini"]
    assert gateway.bus.published == []
    with pytest.raises(PermissionDeniedError):
        await gateway.openai(key).embeddings.create(model="small", input="x")


@pytest.mark.parametrize(("models", "asked"), [([], {"gpt-4o", "gpt-4o-mini"}), (["gpt-4o"], {"gpt-4o"})])
async def test_nobody_takes_over_whom_the_key_may_not_use(gateway: Gateway, models: list[str], asked: set[str]) -> None:
    key = await gateway.make(models=models)
    fails = [{"role": "user", "content": "[sandbox: openai=500]"}]

    answer = await gateway.post("/v1/chat/completions", by=key, model="gpt-4o", messages=fails, num_retries=0)

    assert {attempt["model"] for attempt in answer.json()["error"]["attempts"]} == {f"openai/{name}" for name in asked}


@pytest.mark.parametrize("models", [[], ["all-proxy-models"], ["gpt-4o*"], ["openai/gpt-*"]])
async def test_a_pattern_allows_what_it_fits(gateway: Gateway, models: list[str]) -> None:
    key = await gateway.make(models=models)

    assert (await gateway.chat(key, model="gpt-4o-mini")).status_code == 200


async def test_only_the_models_that_the_key_may_use_are_listed(gateway: Gateway) -> None:
    key = await gateway.make(models=["gpt-*"])

    listed = [model.id async for model in gateway.openai(key).models.list()]

    assert listed == MODELS
    assert {row["model_name"] for row in (await gateway.get("/v1/model/info", by=key)).json()["data"]} == set(MODELS)
    assert (await gateway.get("/v1/models/gpt-4o", by=key)).status_code == 200
    assert error_of(await gateway.get("/v1/models/small", by=key))[:3] == (
        404, "invalid_request_error", "model_not_found"
    )  # fmt: skip


async def test_a_path_that_the_key_may_not_use_is_refused(gateway: Gateway) -> None:
    key = await gateway.make(allowed_routes=["/v1/chat/completions"])

    assert (await gateway.chat(key)).status_code == 200
    refused = await gateway.post("/v1/embeddings", by=key, model="small", input="x")
    assert error_of(refused) == (403, "auth_error", "route_not_allowed", None)
    assert "/v1/chat/completions" in refused.json()["error"]["message"]


# --- making keys and changing them -----------------------------------------------------------------


async def test_a_key_has_what_it_was_made_with(gateway: Gateway) -> None:
    fields = {
        "key_alias": "ci",
        "user_id": "ada",
        "team_id": "core",
        "models": ["gpt-4o"],
        "allowed_routes": ["llm_api_routes"],
        "tags": ["nightly"],
        "metadata": {"env": {"name": "dev"}, "big": 10**30},
        "max_budget": 10.5,
        "soft_budget": 5,
        "budget_duration": "1d",
        "model_max_budget": {"gpt-4o": {"budget_limit": 0.1, "time_period": "1d"}},
        "rpm_limit": 100,
        "tpm_limit": 10_000,
        "max_parallel_requests": 5,
        "model_rpm_limit": {"gpt-4o": 10},
        "model_tpm_limit": {"gpt-4o": 0},
    }

    made = (await gateway.post("/key/generate", **fields, duration="30d")).json()

    key = made.pop("key")
    assert key.startswith("sk-")
    assert made.pop("token_id") == made["token"] == hash_of(key)
    assert {name: made[name] for name in fields} == fields
    assert (made["key_name"], made["blocked"], made["created_by"]) == (f"sk-...{key[-4:]}", False, "master")
    assert (made["created_at"], made["expires"]) == ("2026-11-24T12:00:00Z", "2026-12-24T12:00:00Z")
    assert await gateway.info(key) == await gateway.info(hash_of(key)) == made


async def test_a_key_is_told_of_itself(gateway: Gateway) -> None:
    key = await gateway.make(rpm_limit=5)

    told = (await gateway.get("/key/info", by=key)).json()

    assert told["key"] == hash_of(key)
    assert told["info"].items() >= (await gateway.info(key)).items()
    for name in (key, hash_of(key)):
        assert (await gateway.get("/key/info", by=key, key=name)).json()["info"] == told["info"]
    assert error_of(await gateway.get("/key/info"))[2:] == ("missing_required_parameter", "key")


async def test_a_key_is_nowhere_in_clear(gateway: Gateway, tmp_path: Path) -> None:
    key = await gateway.make()
    renewed = (await gateway.post("/key/regenerate", key=key)).json()["key"]
    await gateway.chat(renewed)

    kept = files_in(tmp_path)
    assert gateway.bus.published
    published = b"".join(encode(event) for event in [*gateway.bus.published, *await gateway.key_events()])
    for secret in (key, renewed, MASTER):
        assert secret.encode() not in kept + published
    assert (await gateway.get("/key/list", return_full_object=True)).text.count(renewed) == 0


async def test_a_change_keeps_what_it_does_not_name(gateway: Gateway) -> None:
    key = await gateway.make(models=["gpt-4o"], rpm_limit=5, metadata={"a": 1, "b": 2})

    changed = (await gateway.post("/key/update", key=key, max_budget=20, metadata={"c": 3}, rpm_limit=None)).json()

    assert (changed["key"], changed["models"], changed["max_budget"]) == (key, ["gpt-4o"], 20.0)
    assert (changed["metadata"], changed["rpm_limit"]) == ({"c": 3}, None)
    assert await gateway.info(key) == {name: value for name, value in changed.items() if name != "key"}


async def test_changes_made_at_once_all_hold(open_gateway: Open) -> None:
    here, there = await open_gateway(MASTER), await open_gateway(MASTER)
    key = await here.make()
    changes = [{"rpm_limit": 1}, {"tpm_limit": 2}, {"max_budget": 3.0}, {"user_id": "ada"}]

    asked = [gateway.post("/key/update", key=key, **change) for gateway in (here, there) for change in changes]
    answers = await asyncio.gather(*asked)

    assert {answer.status_code for answer in answers} == {200}
    info = await here.info(key)
    assert {name: info[name] for change in changes for name in change} == {
        name: value for change in changes for name, value in change.items()
    }
    assert len(await here.key_events()) == 5


async def test_who_always_comes_too_late_is_told_so_and_has_changed_nothing() -> None:
    keys = AlwaysChangedKeys()
    keyring = Keyring(keys, cast("Accounts", None), MASTER, now=lambda: NOON, clock=lambda: 0)
    administration = KeyAdministration(keys, keyring, now=lambda: NOON, new_key=lambda: "sk-not-used-here")

    with pytest.raises(KeyConflict) as late:
        await administration.block(key("a").key_hash, "master", is_blocked=True)

    assert late.value.status == 409


async def test_a_key_may_be_changed_by_its_alias(gateway: Gateway) -> None:
    key = await gateway.make(key_alias="ci")

    assert (await gateway.post("/key/update", key_alias="ci", rpm_limit=7)).json()["token"] == hash_of(key)
    assert (await gateway.info(key))["rpm_limit"] == 7


async def test_a_regenerated_key_takes_the_place_of_the_old_one(gateway: Gateway) -> None:
    old = await gateway.make(models=["gpt-4o"], key_alias="ci")
    await gateway.chat(old)

    made = (await gateway.post("/key/regenerate", key=old, rpm_limit=3)).json()

    assert (made["models"], made["key_alias"], made["rpm_limit"]) == (["gpt-4o"], "ci", 3)
    assert error_of(await gateway.chat(old))[0] == 401
    assert error_of(await gateway.get("/key/info", key=old))[0] == 404
    gateway.bus.published.clear()
    assert (await gateway.chat(made["key"])).status_code == 200
    assert gateway.bus.spend.scopes.key_hash == hash_of(old)


async def test_a_key_is_not_regenerated_to_itself(gateway: Gateway) -> None:
    key = await gateway.make()

    for name in (key, hash_of(key)):
        refused = await gateway.post("/key/regenerate", key=name, new_key=key)
        assert error_of(refused) == (400, "invalid_request_error", "key_taken", "new_key")
    assert len(await gateway.key_events()) == 1


async def test_of_two_who_regenerate_a_key_at_once_one_has_the_key(open_gateway: Open) -> None:
    here, there = await open_gateway(MASTER), await open_gateway(MASTER)
    old = await here.make()

    answers = await asyncio.gather(*(gateway.post("/key/regenerate", key=old) for gateway in (here, there)))

    assert sorted(answer.status_code for answer in answers) == [200, 404]
    assert (await here.get("/key/list")).json()["total_count"] == 1


async def test_a_key_that_is_blocked_and_expired_is_told_that_it_is_blocked(gateway: Gateway, clock: Clock) -> None:
    key = await gateway.make(duration="30s", blocked=True)
    clock.passed_s = 60

    assert error_of(await gateway.chat(key))[2] == "key_blocked"


async def test_a_key_is_deleted_once(gateway: Gateway) -> None:
    key = await gateway.make()
    await gateway.post("/key/delete", keys=[key])

    assert error_of(await gateway.post("/key/delete", keys=[key]))[0] == 404
    assert len(await gateway.key_events()) == 2


async def test_a_key_is_regenerated_by_its_path_and_to_one_of_choice(gateway: Gateway) -> None:
    old = await gateway.make()

    made = await gateway.post(f"/key/{hash_of(old)}/regenerate", new_key="sk-of-my-own-choice")

    assert made.json()["key"] == "sk-of-my-own-choice"
    assert (await gateway.chat("sk-of-my-own-choice")).status_code == 200


async def test_a_deleted_key_is_gone(gateway: Gateway) -> None:
    key, aliased = await gateway.make(), await gateway.make(key_alias="ci")

    deleted = await gateway.post("/key/delete", keys=[key, hash_of(key)], key_aliases=["ci"])

    assert deleted.json() == {"deleted_keys": [key, hash_of(key), "ci"]}
    for gone in (key, aliased):
        assert error_of(await gateway.chat(gone)) == (401, "auth_error", "invalid_api_key", None)
    assert (await gateway.get("/key/list")).json()["total_count"] == 0


@pytest.mark.parametrize("path", ["update", "block", "unblock", "regenerate"])
async def test_a_deleted_key_can_not_be_changed(gateway: Gateway, path: str) -> None:
    key = await gateway.make()
    await gateway.post("/key/delete", keys=[key])

    assert error_of(await gateway.post(f"/key/{path}", key=key)) == (404, "not_found_error", "key_not_found", "key")


async def test_of_several_keys_all_are_deleted_or_none(gateway: Gateway) -> None:
    key, gone = await gateway.make(), await gateway.make()
    await gateway.post("/key/delete", keys=[gone])

    refused = await gateway.post("/key/delete", keys=[key, gone])

    assert error_of(refused) == (404, "not_found_error", "key_not_found", "keys")
    assert (await gateway.chat(key)).status_code == 200


async def test_keys_are_listed_page_by_page_the_newest_first(gateway: Gateway, clock: Clock) -> None:
    made: list[str] = []
    for number in range(3):
        clock.passed_s = number
        made.insert(0, hash_of(await gateway.make(user_id="ada")))

    first = (await gateway.get("/key/list", size=2)).json()
    assert first == {"keys": made[:2], "total_count": 3, "current_page": 1, "total_pages": 2}
    assert (await gateway.get("/key/list", size=2, page=2)).json()["keys"] == made[2:]
    full = (await gateway.get("/key/list", user_id="ada", return_full_object=True)).json()["keys"]
    assert [row["token"] for row in full] == made
    assert (await gateway.get("/key/list", user_id="bob")).json()["keys"] == []


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("generate", {"max_budget": -1}, "max_budget"),
        ("generate", {"budget_duration": "sometimes"}, "budget_duration"),
        ("generate", {"invented": 1}, "invented"),
        ("generate", {"key": MASTER}, "key"),
        ("generate", {"max_budget": 10**400}, "max_budget"),
        ("generate", {"rpm_limit": 10**30}, "rpm_limit"),
        ("generate", {"rpm_limit": True}, "rpm_limit"),
        ("generate", {"user_id": "a\u0000b"}, "user_id"),
        ("update", {"max_budget": -1}, "max_budget"),
        ("update", {"rpm_limit": 5}, "key"),
        ("delete", {}, "keys"),
        ("delete", {"keys": []}, "keys"),
        ("block", {}, "key"),
        ("regenerate", {}, "key"),
        ("regenerate", {"key": "sk-unknown", "grace_period": "1h"}, "grace_period"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_its_name_and_changes_nothing(
    gateway: Gateway, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await gateway.post(f"/key/{path}", **body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert await gateway.key_events() == []


@pytest.mark.parametrize(
    "raw",
    [
        b'{"max_budget": NaN}',
        b'{"max_budget": 1e400}',
        b'{"max_budget": -Infinity}',
        b'{"metadata": {"n": ' + b"9" * 5000 + b"}}",
        b'{"user_id": "\\ud800"}',
        b'{"user_id": "\xff"}',
        b'{"max_budget": 1, "max_budget": 1000000}',
        b'{"metadata": {"a": 1, "a": 2}}',
        b'{"metadata": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001,
        b"[]",
        b"",
    ],
)
async def test_a_body_that_says_nothing_for_sure_is_refused(gateway: Gateway, raw: bytes) -> None:
    answer = await gateway.http.post("/key/generate", content=raw, headers={"x-api-key": MASTER})

    assert answer.status_code == 400
    assert await gateway.key_events() == []


@pytest.mark.parametrize("size", ["0", "101", "-1", "1.5", "9" * 5000, "x"])
async def test_a_page_has_a_size_from_1_to_100(gateway: Gateway, size: str) -> None:
    for query in ({"size": size}, {"page": size} if size != "101" else {"page": "0"}):
        assert (await gateway.get("/key/list", **query)).status_code == 400


@pytest.mark.parametrize("query", [{}, {"key": "sk-x", "invented": "1"}])
async def test_a_query_that_makes_no_sense_is_refused(gateway: Gateway, query: dict[str, str]) -> None:
    assert (await gateway.get("/key/info", **query)).status_code == 400


async def test_an_alias_is_of_one_key(gateway: Gateway) -> None:
    await gateway.make(key_alias="ci")
    other = await gateway.make()

    for answer in (
        await gateway.post("/key/generate", key_alias="ci"),
        await gateway.post("/key/update", key=other, key_alias="ci"),
    ):
        assert error_of(answer) == (400, "invalid_request_error", "key_alias_taken", "key_alias")
    assert len(await gateway.key_events()) == 2


async def test_a_key_that_was_deleted_is_never_made_again(gateway: Gateway, clock: Clock) -> None:
    await gateway.make(key="sk-of-my-own-choice")
    await gateway.post("/key/delete", keys=["sk-of-my-own-choice"])
    clock.passed_s = 1

    again = await gateway.post("/key/generate", key="sk-of-my-own-choice")

    assert error_of(again) == (400, "invalid_request_error", "key_taken", "key")


PATHS = [
    ("POST", "/key/generate"),
    ("GET", "/key/info?key=sk-of-another"),
    ("POST", "/key/update"),
    ("POST", "/key/delete"),
    ("GET", "/key/list"),
    ("POST", "/key/block"),
    ("POST", "/key/unblock"),
    ("POST", "/key/regenerate"),
    ("GET", "/global/spend"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_the_operator_s_paths_take_no_virtual_key(gateway: Gateway, method: str, path: str) -> None:
    key = await gateway.make()

    refused = await gateway.http.request(method, path, headers={"x-api-key": key}, json={})
    assert error_of(refused) == (403, "auth_error", "master_key_required", None)

    unknown = await gateway.http.request(method, path, headers={"x-api-key": "sk-unknown"}, json={})
    assert error_of(unknown)[0] == 401


@pytest.mark.parametrize(("method", "path"), PATHS[:-1])
async def test_without_a_master_key_the_operator_s_paths_are_closed(open_gateway: Open, method: str, path: str) -> None:
    gateway = await open_gateway(None)

    refused = await gateway.http.request(method, path, json={})

    assert error_of(refused) == (403, "auth_error", "master_key_required", None)
    assert "LITELLM_MASTER_KEY" in refused.json()["error"]["message"]


# --- the ledger ------------------------------------------------------------------------------------


async def test_every_change_is_in_the_ledger_with_who_made_it_and_what_was_before(gateway: Gateway) -> None:
    key = await gateway.make()
    await gateway.post("/key/update", key=key, rpm_limit=5)
    await gateway.post("/key/block", key=key)
    await gateway.post("/key/block", key=key)
    await gateway.post("/key/unblock", key=key)
    renewed = (await gateway.post("/key/regenerate", key=key)).json()["key"]
    await gateway.post("/key/delete", keys=[renewed])

    events = await gateway.key_events()

    assert [event.type.split(".")[1] for event in events] == [
        "created", "updated", "blocked", "unblocked", "regenerated", "deleted"
    ]  # fmt: skip
    assert {(event.actor, event.time) for event in events} == {("master", NOON)}
    created, updated, deleted = events[0], events[1], events[-1]
    assert isinstance(created, KeyCreated)
    assert isinstance(updated, KeyUpdated)
    assert isinstance(deleted, KeyDeleted)
    assert (updated.before, updated.before.rpm_limit, updated.after.rpm_limit) == (created.after, None, 5)
    assert deleted.before.key_hash == hash_of(renewed)


async def test_a_replay_of_the_ledger_gives_the_keys_that_there_are(gateway: Gateway) -> None:
    kept, deleted = await gateway.make(key_alias="ci"), await gateway.make()
    await gateway.post("/key/update", key=kept, tags=["a"])
    await gateway.post("/key/delete", keys=[deleted])

    there = await gateway.stores.keys.page(KeyQuery())

    assert replay_keys(await gateway.key_events()) == {key.key_hash: key for key in there.keys}

"""Virtual keys on the running stack, with two instances and the stock client."""

import hashlib
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import AuthenticationError, NotFoundError, OpenAI, PermissionDeniedError

from events.spend import SpendRecorded
from functions.adapters.embedded.stores import open_embedded
from tests.e2e.stack import Stack, running, wait_for

MASTER = "sk-master-key-of-the-e2e-tests"
MESSAGES: Any = [{"role": "user", "content": "Say hello"}]
_EFFECTIVE_WITHIN_S = 5


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def stack(state_dir: Path) -> Generator[Stack]:
    with running(state_dir, {"LITELLM_MASTER_KEY": MASTER, "INSTANCES": "2"}) as started:
        yield started


def operate(stack: Stack, path: str, **body: Any) -> Any:
    headers = {"authorization": f"Bearer {MASTER}"}
    answer = httpx2.post(f"{stack.url}/key/{path}", json=body, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def client(stack: Stack, key: str, *, instance: int = 0) -> OpenAI:
    return OpenAI(base_url=f"http://127.0.0.1:{stack.port + instance}/v1", api_key=key, max_retries=0, timeout=20)


def is_let_in(asking: OpenAI) -> bool:
    try:
        asking.models.list()
    except AuthenticationError:
        return False
    return True


def test_the_stock_client_works_with_a_key_on_every_instance(stack: Stack) -> None:
    key = operate(stack, "generate", models=["gpt-4o"], allowed_routes=["llm_api_routes"])["key"]

    for instance in (0, 1):
        asking = client(stack, key, instance=instance)
        assert [model.id for model in asking.models.list()] == ["gpt-4o"]
        assert asking.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices[0].message.content
        streamed = asking.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        assert any(chunk.choices[0].delta.content for chunk in streamed if chunk.choices)
        with pytest.raises(PermissionDeniedError):
            asking.chat.completions.create(model="claude-sonnet", messages=MESSAGES)


@pytest.mark.parametrize("change", ["block", "delete", "regenerate"])
def test_a_key_that_is_taken_back_is_refused_everywhere_within_five_seconds(stack: Stack, change: str) -> None:
    key = operate(stack, "generate")["key"]
    here, there = client(stack, key), client(stack, key, instance=1)
    assert is_let_in(here)
    assert is_let_in(there)

    operate(stack, change, **({"keys": [key]} if change == "delete" else {"key": key}))
    changed = time.monotonic()

    assert not is_let_in(here)
    wait_for(lambda: not is_let_in(there), within_s=_EFFECTIVE_WITHIN_S)
    assert time.monotonic() - changed < _EFFECTIVE_WITHIN_S


def test_a_key_is_let_in_within_five_seconds_where_it_was_unknown(stack: Stack) -> None:
    asking = client(stack, "sk-made-after-it-was-asked-for", instance=1)
    assert not is_let_in(asking)

    operate(stack, "generate", key="sk-made-after-it-was-asked-for")

    wait_for(lambda: is_let_in(asking), within_s=_EFFECTIVE_WITHIN_S)


def test_a_key_that_is_no_master_key_operates_nothing(stack: Stack) -> None:
    key = operate(stack, "generate")["key"]

    answer = httpx2.post(f"{stack.url}/key/generate", json={}, headers={"x-api-key": key}, timeout=10)

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "master_key_required")


def test_a_model_beyond_the_key_is_not_found(stack: Stack) -> None:
    key = operate(stack, "generate", models=["gpt-4o"])["key"]

    with pytest.raises(NotFoundError):
        client(stack, key).models.retrieve("claude-sonnet")


async def test_the_spend_of_a_key_is_recorded_for_it(stack: Stack, state_dir: Path) -> None:
    key = operate(stack, "generate", user_id="ada", team_id="core", tags=["ci"])["key"]
    key_hash = hashlib.sha256(key.encode()).hexdigest()
    client(stack, key).chat.completions.create(model="gpt-4o", messages=MESSAGES)

    async with open_embedded(state_dir) as stores:
        recorded: list[SpendRecorded] = []
        until = time.monotonic() + 20
        while not recorded and time.monotonic() < until:
            events = [event async for event in stores.ledger.replay()]
            recorded = [e for e in events if isinstance(e, SpendRecorded) and e.scopes.key_hash == key_hash]

    (spend,) = recorded
    assert (spend.scopes.user, spend.scopes.team, spend.scopes.tags) == ("ada", "core", ("ci",))


def test_no_key_is_in_the_log(stack: Stack) -> None:
    key = operate(stack, "generate")["key"]
    info = httpx2.get(f"{stack.url}/key/info", params={"key": key}, headers={"x-api-key": MASTER}, timeout=10)
    assert info.status_code == 200
    client(stack, key).models.list()

    assert key not in "".join(stack.log)
    assert MASTER not in "".join(stack.log)

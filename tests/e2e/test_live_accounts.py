"""Users and teams on the running stack, with two instances and the stock client."""

import time
from collections.abc import Callable, Generator
from typing import Any

import httpx2
import pytest
from openai import AuthenticationError, OpenAI, PermissionDeniedError

from tests.e2e.stack import Stack, running, wait_for

MASTER = "sk-master-key-of-the-e2e-tests"
MESSAGES: Any = [{"role": "user", "content": "Say hello"}]
_EFFECTIVE_WITHIN_S = 5


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with running(tmp_path_factory.mktemp("state"), {"LITELLM_MASTER_KEY": MASTER, "INSTANCES": "2"}) as started:
        yield started


def operate(stack: Stack, path: str, **body: Any) -> Any:
    headers = {"authorization": f"Bearer {MASTER}"}
    answer = httpx2.post(f"{stack.url}/{path}", json=body, headers=headers, timeout=10)
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


def usable(asking: OpenAI) -> list[str]:
    return [model.id for model in asking.models.list()]


def holds_everywhere_in_time(is_so: Callable[[OpenAI], bool], here: OpenAI, there: OpenAI) -> None:
    """The change that was just made holds here at once, and there within five seconds."""
    changed = time.monotonic()
    assert is_so(here)
    wait_for(lambda: is_so(there), within_s=_EFFECTIVE_WITHIN_S)
    assert time.monotonic() - changed < _EFFECTIVE_WITHIN_S


@pytest.mark.parametrize("kind", ["user", "team"])
def test_who_is_blocked_is_refused_everywhere_within_five_seconds(stack: Stack, kind: str) -> None:
    own: dict[str, Any] = {f"{kind}_id": f"blocked-{kind}"}
    operate(stack, f"{kind}/new", **own)
    key = operate(stack, "key/generate", **own)["key"]
    here, there = client(stack, key), client(stack, key, instance=1)
    assert is_let_in(here)
    assert is_let_in(there)

    operate(stack, f"{kind}/block", **own)
    holds_everywhere_in_time(lambda asking: not is_let_in(asking), here, there)

    operate(stack, f"{kind}/unblock", **own)
    holds_everywhere_in_time(is_let_in, here, there)


def test_a_team_that_is_made_later_limits_its_keys_within_five_seconds(stack: Stack) -> None:
    key = operate(stack, "key/generate", team_id="late")["key"]
    here, there = client(stack, key), client(stack, key, instance=1)
    assert len(usable(here)) == len(usable(there)) > 1

    operate(stack, "team/new", team_id="late", models=["gpt-4o"])

    holds_everywhere_in_time(lambda asking: usable(asking) == ["gpt-4o"], here, there)
    with pytest.raises(PermissionDeniedError):
        there.chat.completions.create(model="claude-sonnet", messages=MESSAGES)
    assert there.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices[0].message.content


@pytest.mark.parametrize("kind", ["user", "team"])
def test_the_keys_of_who_is_deleted_are_refused_everywhere_within_five_seconds(stack: Stack, kind: str) -> None:
    name = f"deleted-{kind}"
    operate(stack, f"{kind}/new", **{f"{kind}_id": name})
    key = operate(stack, "key/generate", **{f"{kind}_id": name})["key"]
    here, there = client(stack, key), client(stack, key, instance=1)
    assert is_let_in(here)
    assert is_let_in(there)

    operate(stack, f"{kind}/delete", **{f"{kind}_ids": [name]})

    holds_everywhere_in_time(lambda asking: not is_let_in(asking), here, there)


def test_the_key_of_a_new_user_works_on_every_instance(stack: Stack) -> None:
    made = operate(stack, "user/new", user_id="ada", models=["gpt-4o"], key_alias="ada")

    for instance in (0, 1):
        assert usable(client(stack, made["key"], instance=instance)) == ["gpt-4o"]

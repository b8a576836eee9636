"""The replay: what the ledger says, against what the counters say."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from events.accounts import Member
from events.activity import ALL_TIME, Slot, Sums
from events.budget import BudgetWindow
from events.money import NanoUsd
from functions.adapters.embedded.stores import open_embedded
from functions.adapters.stores import Stores
from functions.gateway.ports import AccountQuery, AliasTaken
from functions.gateway.replaying import replayed
from functions.replay import compare
from tests.builders import (
    TODAY,
    account_created,
    account_deleted,
    account_updated,
    allowance,
    budget,
    key,
    key_created,
    key_deleted,
    key_updated,
    spend,
    team,
    user,
)
from tests.e2e.stack import ROOT, clean_environment


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncGenerator[Stores]:
    async with open_embedded(tmp_path) as stores:
        yield stores


async def replay(stores: Stores, *, repair: bool = False) -> int:
    return await compare(stores, [budget()], repair=repair)


async def test_counters_that_agree_are_no_difference(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    await stores.ledger.commit([spend("a", cost=5), spend("b", cost=7)], {TODAY: 12})

    assert await replay(stores) == 0
    assert capsys.readouterr().out == "1 counters replayed, 0 differ\n"


async def test_a_threshold_that_was_announced_or_not_is_no_difference(stores: Stores) -> None:
    await stores.ledger.commit([spend("a", cost=5)], {TODAY: 5})
    await stores.counters.mark_announced(TODAY, [50, 75])

    assert await replay(stores) == 0


async def test_a_counter_that_says_another_sum_differs(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    await stores.ledger.commit([spend("a", cost=5)], {TODAY: 6})
    await stores.counters.set_spent("global:2026-11-23", NanoUsd(1))

    assert await replay(stores) == 1
    assert capsys.readouterr().out == (
        "global:2026-11-23: counter $0.000000001, ledger $0.000000000\n"
        f"{TODAY}: counter $0.000000006, ledger $0.000000005\n"
        "1 counters replayed, 2 differ\n"
    )
    assert (await stores.counters.read(TODAY)).spent == 6


async def test_a_repair_corrects_the_sum_and_keeps_what_was_announced(stores: Stores) -> None:
    await stores.ledger.commit([spend("a", cost=5)], {TODAY: 6})
    await stores.counters.mark_announced(TODAY, [50, 75])

    assert await replay(stores, repair=True) == 0
    assert await stores.counters.read(TODAY) == BudgetWindow(NanoUsd(5), frozenset({50, 75}))
    assert await replay(stores) == 0


async def test_a_counter_of_another_configuration_is_listed_and_left_alone(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    await stores.counters.set_spent("global:2026-11", NanoUsd(9))

    assert await replay(stores, repair=True) == 0
    assert capsys.readouterr().out == (
        "global:2026-11: counter $0.000000009, not of this configuration; left alone\n0 counters replayed, 0 differ\n"
    )
    assert (await stores.counters.read("global:2026-11")).spent == 9


async def test_counters_of_any_scope_are_replayed(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    of_red = spend("a", cost=5, allowance_ids=("team:red:2026-11|a",))
    await stores.ledger.commit([of_red], {TODAY: 5, "team:red:2026-11": 6, "team:red:2026-11|a": 5})
    await stores.counters.set_spent("user:ada:all", NanoUsd(3))

    assert await replay(stores) == 1
    assert capsys.readouterr().out == (
        "team:red:2026-11: counter $0.000000006, ledger $0.000000005\n"
        "user:ada:all: counter $0.000000003, ledger $0.000000000\n"
        "2 counters replayed, 2 differ\n"
    )
    assert await replay(stores, repair=True) == await replay(stores) == 0


async def test_the_counter_of_an_allowance_differs_while_the_gate_knows_it(stores: Stores) -> None:
    held = allowance("a", 10)
    await stores.ledger.commit([spend("a", cost=5, allowance_ids=(held.allowance_id,))], {TODAY: 5})
    assert await replay(stores) == 0

    await stores.gate.take(held, limit=NanoUsd(10))
    assert await replay(stores) == 1
    assert await replay(stores, repair=True) == 0
    assert (await stores.counters.read(held.allowance_id)).spent == 5


async def test_what_the_gate_has_forgotten_is_not_kept_in_memory(stores: Stores) -> None:
    held = allowance("held", 10)
    await stores.gate.take(held, limit=NanoUsd(10))
    names = [held.allowance_id, *(allowance(str(number)).allowance_id for number in range(50))]
    await stores.ledger.commit([spend(name, cost=2, allowance_ids=(name,)) for name in names], {})

    truth = await replayed(stores.ledger.replay(), [budget()], stores.gate, at_once=5)

    assert (truth.counters[TODAY], truth.counters[held.allowance_id]) == (102, 2)
    assert len(truth.counters) <= 2 + 5


async def test_keys_that_say_what_the_ledger_says_are_no_difference(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    await stores.keys.commit([key_created(key(str(number), key_alias=f"k{number}")) for number in range(250)])
    await stores.keys.commit(
        [key_deleted(key("7", key_alias="k7")), key_updated(key("8", key_alias="k8"), blocked=True)]
    )

    assert await replay(stores) == 0
    assert capsys.readouterr().out == "0 counters and 249 keys replayed, 0 differ\n"


async def test_keys_that_say_something_else_differ_and_are_repaired(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b, c = (key(name, key_alias=name) for name in "abc")
    swapped = replace(b, key_alias="a", blocked=True)
    await stores.keys.commit([key_created(a), key_created(b)])
    await stores.keys.restore(a, None)
    await stores.keys.restore(b, swapped)
    await stores.keys.restore(None, c)

    assert await replay(stores) == 1
    assert capsys.readouterr().out == (
        f"key {c.key_hash}: store version 1, ledger none\n"
        f"key {a.key_hash}: store none, ledger version 1\n"
        f'key {b.key_hash}: store {{"key_alias": "a", "blocked": true}}, '
        'ledger {"key_alias": "b", "blocked": false}\n'
        "0 counters and 2 keys replayed, 3 differ\n"
    )
    assert await replay(stores, repair=True) == await replay(stores) == 0
    assert [await stores.keys.get(k.key_hash) for k in (a, b, c)] == [a, b, None]


async def test_a_repaired_alias_is_taken(stores: Stores) -> None:
    a = key("a", key_alias="ci")
    await stores.keys.commit([key_created(a)])
    await stores.keys.restore(a, None)
    await replay(stores, repair=True)

    with pytest.raises(AliasTaken):
        await stores.keys.commit([key_created(key("b", key_alias="ci"))])


async def test_sums_of_activity_differ_and_are_repaired(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    await stores.ledger.commit([spend("a", cost=5)], {TODAY: 5})
    total, made_up = Slot(ALL_TIME, "total", ""), Slot("2026-11-24", "tag", "x")
    await stores.activity.put({total: Sums(requests=2), made_up: Sums(spend=NanoUsd(7))})

    assert await replay(stores) == 1
    assert capsys.readouterr().out == (
        "2026-11-24 tag x: sums $0.000000007 spend, ledger none\n"
        "all total: sums 2 requests, ledger 1 requests, $0.000000005 spend, 10 input_tokens, 5 output_tokens\n"
        "1 counters replayed, 2 differ\n"
    )
    assert await replay(stores, repair=True) == await replay(stores) == 0


async def test_users_and_teams_that_say_what_the_ledger_says_are_no_difference(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [make(f"{number:03}") for number in range(120) for make in (user, team)]
    for start in range(0, len(made), 60):
        await stores.accounts.commit([account_created(one) for one in made[start : start + 60]])
    await stores.accounts.commit([account_deleted(made[0]), account_updated(made[1], blocked=True)])

    assert await replay(stores) == 0
    assert capsys.readouterr().out == "0 counters replayed, 0 differ\n"


async def test_one_that_is_gone_and_forgotten_can_be_made_again_after_a_repair(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    await stores.accounts.commit([account_created(user("ada"))])
    await stores.accounts.commit([account_deleted(user("ada"))])
    await stores.accounts.restore("user", "ada", None)

    assert await replay(stores) == 1
    assert capsys.readouterr().out.startswith("user ada: store gone with version 0, ledger with version 2\n")
    assert await replay(stores, repair=True) == await replay(stores) == 0
    assert await stores.accounts.next_version("user", "ada") == 3


async def test_users_and_teams_that_say_something_else_differ_and_are_repaired(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    ada, bob, gone, red = user("ada"), user("bob"), user("gone"), team("red", members=(Member(user_id="ada"),))
    await stores.accounts.commit([account_created(one) for one in (ada, bob, gone, red)])
    await stores.accounts.commit([account_deleted(gone)])
    await stores.accounts.restore("user", "ada", account_created(replace(ada, blocked=True)))
    await stores.accounts.restore("user", "bob", None)
    await stores.accounts.restore("user", "gone", account_created(gone))
    await stores.accounts.restore("team", "red", account_created(replace(red, members=())))
    await stores.accounts.restore("team", "unheard-of", account_created(team("unheard-of", version=2)))

    assert await replay(stores) == 1
    assert capsys.readouterr().out == (
        'team red: store {"members": []}, ledger {"members": [{"user_id": "ada", "role": "user"}]}\n'
        "team unheard-of: store version 2, ledger none\n"
        'user ada: store {"blocked": true}, ledger {"blocked": false}\n'
        "user bob: store none, ledger version 1\n"
        "user gone: store version 1, ledger none\n"
        "0 counters replayed, 5 differ\n"
    )
    assert await replay(stores, repair=True) == await replay(stores) == 0
    assert (await stores.accounts.page("user", AccountQuery())).accounts == (bob, ada)
    assert (await stores.accounts.page("team", AccountQuery(member="ada"))).accounts == (red,)
    assert await stores.accounts.next_version("user", "gone") == 3


def command(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the command as an operator does; gives its code and what it said of errors."""
    done = subprocess.run(
        [sys.executable, "-m", "functions.replay", *arguments],
        cwd=ROOT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_folder_without_a_ledger_is_refused_rather_than_made(tmp_path: Path) -> None:
    refused = command(GATEWAY_BACKEND="embedded", STATE_DIR=str(tmp_path / "typo"))

    path = tmp_path / "typo" / "ledger.sqlite3"
    assert refused == (2, f"There is no ledger at {path}. Set STATE_DIR to the folder that has it.\n")
    assert not (tmp_path / "typo").exists()


def test_a_file_that_is_no_ledger_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").write_bytes(b"no database at all " * 100)

    code, said = command(GATEWAY_BACKEND="embedded", STATE_DIR=str(tmp_path))

    assert (code, said.count("\n")) == (2, 1)
    assert "(file is not a database)" in said


def test_a_wrong_configuration_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model_list: [")

    code, said = command(GATEWAY_BACKEND="embedded", GATEWAY_CONFIG=str(tmp_path / "mine.yaml"))

    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"{tmp_path}/mine.yaml: is not YAML at line 1, column 14: ")


def test_a_wrong_variable_is_refused_in_one_line() -> None:
    refused = command(GATEWAY_BACKEND="foo")

    assert refused == (2, "GATEWAY_BACKEND: 'foo' is not accepted; write embedded or google\n")


def test_a_mistyped_flag_is_refused(tmp_path: Path) -> None:
    asyncio.run(_made(tmp_path))

    code, said = command("--repare", GATEWAY_BACKEND="embedded", STATE_DIR=str(tmp_path))

    assert code == 2
    assert said.endswith("unrecognized arguments: --repare\n")


async def _made(state_dir: Path) -> None:
    async with open_embedded(state_dir):
        pass

"""`Accounts`, on both backends."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.accounts import (
    Account,
    AccountKind,
    Member,
    account_after,
    event_id_of,
    id_of,
    kind_of,
    replay_accounts,
)
from functions.gateway.ports import AccountChangedMeanwhile, AccountPage, AccountQuery
from tests.builders import NOON, account_created, account_deleted, account_updated, team, user
from tests.contract.conftest import Backend

EVERYTHING = AccountQuery(limit=1000)
NOBODY = AccountPage(accounts=(), total=0)
BOTH = [user("a"), team("a")]


async def recorded(backend: Backend) -> list[str]:
    return sorted([event.event_id async for event in backend.stores.ledger.replay()])


async def ids(backend: Backend, kind: AccountKind, query: AccountQuery = EVERYTHING) -> list[str]:
    return [id_of(account) for account in (await backend.stores.accounts.page(kind, query)).accounts]


@pytest.mark.parametrize(
    "account",
    [
        user("ada", user_alias="Ada", user_email="ada@example.com", models=("gpt-4o",), metadata={"env": "dev"}),
        team("core", team_alias="Core", members=(Member(user_id="ada", role="admin"), Member(user_id="bob"))),
    ],
)
async def test_one_is_read_as_it_was_committed(backend: Backend, account: Account) -> None:
    await backend.stores.accounts.commit([account_created(account)])

    async with backend.open() as other:
        assert await other.accounts.get(kind_of(account), id_of(account)) == account
    assert await recorded(backend) == [event_id_of(account, 1)]


@pytest.mark.parametrize("name", ["a/b", ".", "..", "__x__", "Ünï 漢字", "user:a", " ", "%2F", "漢" * 256, "sha256-0"])
async def test_an_id_may_be_any_text(backend: Backend, name: str) -> None:
    await backend.stores.accounts.commit([account_created(user(name)), account_created(team(name))])
    await backend.stores.accounts.commit([account_updated(user(name), blocked=True)])

    assert await backend.stores.accounts.get("user", name) == user(name, version=2, blocked=True)
    assert await backend.stores.accounts.get("team", name) == team(name)


async def test_an_unknown_one_is_none_and_begins_with_version_1(backend: Backend) -> None:
    assert await backend.stores.accounts.get("user", "a") is None
    assert await backend.stores.accounts.next_version("user", "a") == 1
    assert await backend.stores.accounts.page("team", EVERYTHING) == NOBODY


async def test_a_user_is_no_team(backend: Backend) -> None:
    await backend.stores.accounts.commit([account_created(user("a"))])

    assert await backend.stores.accounts.get("team", "a") is None
    assert await backend.stores.accounts.page("team", EVERYTHING) == NOBODY


@pytest.mark.parametrize("account", BOTH)
async def test_a_change_is_in_the_record_with_its_event(backend: Backend, account: Account) -> None:
    update = account_updated(account, blocked=True, rpm_limit=5)
    await backend.stores.accounts.commit([account_created(account)])
    await backend.stores.accounts.commit([update])

    assert await backend.stores.accounts.get(kind_of(account), "a") == account_after(update)
    assert await recorded(backend) == [event_id_of(account, version) for version in (1, 2)]
    assert await backend.stores.accounts.next_version(kind_of(account), "a") == 3


async def test_of_two_changes_of_one_version_one_holds(backend: Backend) -> None:
    await backend.stores.accounts.commit([account_created(user("a"))])
    changes = [account_updated(user("a"), user_alias=alias) for alias in ("x", "y")]
    async with backend.open() as other:
        stores = (backend.stores.accounts, other.accounts)
        commits = [accounts.commit([change]) for accounts, change in zip(stores, changes, strict=True)]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes if outcome] == [AccountChangedMeanwhile]
    assert await backend.stores.accounts.get("user", "a") == account_after(changes[outcomes.index(None)])
    assert len(await recorded(backend)) == 2


async def test_committing_again_is_harmless(backend: Backend) -> None:
    """A commit whose answer was lost is made again."""
    events = [account_created(user("a")), account_created(team("a"))]
    await backend.stores.accounts.commit(events)
    await backend.stores.accounts.commit(events)

    assert len(await recorded(backend)) == 2
    assert await ids(backend, "user") == await ids(backend, "team") == ["a"]


async def test_committing_again_takes_no_later_change_back(backend: Backend) -> None:
    await backend.stores.accounts.commit([account_created(user("a"))])
    await backend.stores.accounts.commit([account_updated(user("a"), blocked=True)])

    await backend.stores.accounts.commit([account_created(user("a"))])

    assert await backend.stores.accounts.get("user", "a") == user("a", version=2, blocked=True)


async def test_none_is_made_where_there_is_one(backend: Backend) -> None:
    await backend.stores.accounts.commit([account_created(team("a"))])

    with pytest.raises(AccountChangedMeanwhile):
        await backend.stores.accounts.commit([account_created(team("a", team_alias="another"))])
    assert await backend.stores.accounts.get("team", "a") == team("a")


@pytest.mark.parametrize("account", BOTH)
async def test_a_deleted_one_is_gone_and_made_again_goes_on_counting_versions(
    backend: Backend, account: Account
) -> None:
    kind = kind_of(account)
    await backend.stores.accounts.commit([account_created(account)])
    await backend.stores.accounts.commit([account_deleted(account)])
    assert await backend.stores.accounts.get(kind, "a") is None
    assert await backend.stores.accounts.page(kind, EVERYTHING) == NOBODY
    with pytest.raises(AccountChangedMeanwhile):
        await backend.stores.accounts.commit([account_updated(account, blocked=True)])

    assert await backend.stores.accounts.next_version(kind, "a") == 3
    again = user("a", version=3) if kind == "user" else team("a", version=3)
    await backend.stores.accounts.commit([account_created(again)])

    assert await backend.stores.accounts.get(kind, "a") == again


async def test_of_several_changes_all_hold_or_none(backend: Backend) -> None:
    await backend.stores.accounts.commit([account_created(user("a")), account_created(user("b"))])
    await backend.stores.accounts.commit([account_deleted(user("b"))])

    with pytest.raises(AccountChangedMeanwhile):
        await backend.stores.accounts.commit([account_deleted(user("a")), account_updated(user("b"))])

    assert await backend.stores.accounts.get("user", "a") == user("a")


async def test_they_are_listed_the_newest_first_page_by_page(backend: Backend) -> None:
    for number, name in enumerate("abc"):
        made = user(name, created_at=NOON + timedelta(seconds=number))
        await backend.stores.accounts.commit([account_created(made)])
    await backend.stores.accounts.commit([account_created(user("gone")), account_created(team("other"))])
    await backend.stores.accounts.commit([account_deleted(user("gone"))])

    pages = [await backend.stores.accounts.page("user", AccountQuery(offset=offset, limit=2)) for offset in (0, 2, 4)]

    assert [[id_of(one) for one in page.accounts] for page in pages] == [["c", "b"], ["a"], []]
    assert [page.total for page in pages] == [3, 3, 3]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (AccountQuery(ids=("a", "c", "x")), "ca"),
        (AccountQuery(ids=("a", "c"), alias="red"), "a"),
        (AccountQuery(alias="red"), "ba"),
        (AccountQuery(alias="red", limit=1), "b"),
        (AccountQuery(alias="nobody"), ""),
        (AccountQuery(member="ada"), "cb"),
        (AccountQuery(member="nobody"), ""),
    ],
)
async def test_only_those_of_which_all_that_is_asked_is_so_are_listed(
    backend: Backend, query: AccountQuery, found: str
) -> None:
    ada, bob = Member(user_id="ada"), Member(user_id="bob")
    teams = [
        team("a", team_alias="red", members=(bob,)),
        team("b", team_alias="red", members=(ada, bob), created_at=NOON + timedelta(seconds=1)),
        team("c", members=(ada,), created_at=NOON + timedelta(seconds=2)),
        team("d", team_alias="blue", members=(ada,)),
    ]
    await backend.stores.accounts.commit([account_created(one) for one in teams])
    await backend.stores.accounts.commit([account_updated(teams[3], members=())])

    assert await ids(backend, "team", query) == list(found)


async def test_those_that_there_are_are_given_by_their_ids(backend: Backend) -> None:
    accounts = backend.stores.accounts
    names = [f"a/{number} ü" for number in range(40)]
    await accounts.commit([account_created(user(name)) for name in names])
    await accounts.commit([account_deleted(user(names[7]))])

    assert await accounts.named("user", [*names, "unknown"]) == {name: user(name) for name in names if name != names[7]}
    assert await accounts.named("team", names) == {}
    assert await accounts.named("user", []) == {}


@pytest.mark.parametrize("account", BOTH)
async def test_one_can_be_restored_by_its_last_event(backend: Backend, account: Account) -> None:
    accounts, kind = backend.stores.accounts, kind_of(account)
    created, deleted = account_created(account), account_deleted(account)
    await accounts.commit([created])

    await accounts.restore(kind, "a", account_updated(account, blocked=True))
    assert await accounts.get(kind, "a") == account_after(account_updated(account, blocked=True))

    await accounts.restore(kind, "a", deleted)
    assert await accounts.get(kind, "a") is None
    assert await accounts.next_version(kind, "a") == 3

    await accounts.restore(kind, "a", created)
    assert await ids(backend, kind) == ["a"]
    assert await recorded(backend) == [event_id_of(account, 1)]


async def test_one_that_is_restored_to_nothing_is_as_if_it_never_was(backend: Backend) -> None:
    accounts = backend.stores.accounts
    core = team("core", members=(Member(user_id="ada"),))
    await accounts.restore("team", "core", account_created(core))
    assert (await accounts.page("team", AccountQuery(member="ada"))).accounts == (core,)

    await accounts.restore("team", "core", None)
    assert await accounts.page("team", AccountQuery(member="ada")) == NOBODY
    assert await accounts.next_version("team", "core") == 1
    await accounts.commit([account_created(core)])


_CHANGES = st.lists(
    st.tuples(st.sampled_from(["user", "team"]), st.sampled_from("ab"), st.sampled_from(["change", "delete"])),
    max_size=8,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=_CHANGES)
async def test_a_replay_of_the_ledger_gives_the_same_users_and_teams(
    backend: Backend, changes: list[tuple[AccountKind, str, str]]
) -> None:
    for number, (kind, name, change) in enumerate(changes):
        last = await backend.stores.accounts.get(kind, name)
        if last is None:
            version = await backend.stores.accounts.next_version(kind, name)
            event = account_created((user if kind == "user" else team)(name, version=version))
        else:
            event = account_deleted(last) if change == "delete" else account_updated(last, rpm_limit=number)
        await backend.stores.accounts.commit([event])

    events = [event async for event in backend.stores.ledger.replay()]
    there = [
        one for kind in ("user", "team") for one in (await backend.stores.accounts.page(kind, EVERYTHING)).accounts
    ]
    assert {(kind_of(one), id_of(one)): one for one in there} == replay_accounts(events)

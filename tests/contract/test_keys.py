"""`Keys`, on both backends."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.keys import Key, KeyRegenerated, event_id_of, key_after, replay_keys
from functions.gateway.ports import AliasTaken, KeyChangedMeanwhile, KeyPage, KeyQuery, KeyTaken
from tests.builders import NOON, key, key_created, key_deleted, key_updated
from tests.contract.conftest import Backend

EVERYTHING = KeyQuery(limit=1000)


def regenerated(before: Key, name: str) -> KeyRegenerated:
    """The replacing of a key by another."""
    after = replace(before, key_hash=key(name).key_hash, version=before.version + 1)
    event_id = event_id_of(before.key_id, after.version)
    return KeyRegenerated(event_id=event_id, time=NOON, actor="master", before=before, after=after)


async def recorded(backend: Backend) -> list[str]:
    return sorted([event.event_id async for event in backend.stores.ledger.replay()])


async def test_a_key_is_read_as_it_was_committed(backend: Backend) -> None:
    a = key("a", key_alias="ci", models=("gpt-4o",), metadata={"env": "dev"}, expires_at=NOON)
    await backend.stores.keys.commit([key_created(a)])

    assert await backend.stores.keys.get(a.key_hash) == a
    assert await recorded(backend) == [event_id_of(a.key_id, 1)]


async def test_another_process_reads_what_was_committed(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a"))])

    async with backend.open() as other:
        assert await other.keys.get(key("a").key_hash) == key("a")


async def test_an_unknown_key_is_none(backend: Backend) -> None:
    assert await backend.stores.keys.get(key("a").key_hash) is None


async def test_a_change_is_in_the_record_with_its_event(backend: Backend) -> None:
    update = key_updated(key("a"), blocked=True)
    await backend.stores.keys.commit([key_created(key("a"))])
    await backend.stores.keys.commit([update])

    assert await backend.stores.keys.get(key("a").key_hash) == update.after
    assert await recorded(backend) == [event_id_of(key("a").key_id, version) for version in (1, 2)]


async def test_of_two_changes_of_one_version_one_holds(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a"))])
    changes = [key_updated(key("a"), user_id=user) for user in ("ada", "bob")]
    async with backend.open() as other:
        commits = [
            keys.commit([change]) for keys, change in zip((backend.stores.keys, other.keys), changes, strict=True)
        ]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes if outcome] == [KeyChangedMeanwhile]
    assert await backend.stores.keys.get(key("a").key_hash) == changes[outcomes.index(None)].after
    assert len(await recorded(backend)) == 2


async def test_committing_again_is_harmless(backend: Backend) -> None:
    """A commit whose answer was lost is made again."""
    events = [key_created(key("a", key_alias="ci")), key_created(key("b"))]
    await backend.stores.keys.commit(events)
    await backend.stores.keys.commit(events)

    assert (await backend.stores.keys.page(EVERYTHING)).total == 2


async def test_a_deleted_key_is_gone(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a"))])
    await backend.stores.keys.commit([key_deleted(key("a"))])

    assert await backend.stores.keys.get(key("a").key_hash) is None
    assert await backend.stores.keys.page(EVERYTHING) == KeyPage(keys=(), total=0)


async def test_a_deleted_key_can_not_be_changed(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a"))])
    await backend.stores.keys.commit([key_deleted(key("a"))])

    with pytest.raises(KeyChangedMeanwhile):
        await backend.stores.keys.commit([key_updated(key("a"), blocked=True)])


async def test_a_deleted_key_never_comes_again(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a"))])
    await backend.stores.keys.commit([key_deleted(key("a"))])

    with pytest.raises((KeyTaken, KeyChangedMeanwhile)):
        await backend.stores.keys.commit([key_created(key("a", user_id="mallory"))])


async def test_a_key_that_was_replaced_never_comes_again(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a"))])
    first = regenerated(key("a"), "b")
    await backend.stores.keys.commit([first])
    await backend.stores.keys.commit([regenerated(first.after, "c")])

    with pytest.raises(KeyTaken):
        await backend.stores.keys.commit([key_created(key("b"))])
    assert await backend.stores.keys.get(key("b").key_hash) is None


async def test_a_key_is_not_replaced_by_one_that_is_there(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a")), key_created(key("b"))])

    with pytest.raises(KeyTaken):
        await backend.stores.keys.commit([regenerated(key("a"), "b")])
    assert await backend.stores.keys.get(key("a").key_hash) == key("a")


async def test_a_replaced_key_keeps_its_alias(backend: Backend) -> None:
    a = key("a", key_alias="ci")
    await backend.stores.keys.commit([key_created(a)])
    await backend.stores.keys.commit([regenerated(a, "b")])

    found = await backend.stores.keys.page(KeyQuery(key_alias="ci"))
    assert [k.key_hash for k in found.keys] == [key("b").key_hash]
    with pytest.raises(AliasTaken):
        await backend.stores.keys.commit([key_created(key("c", key_alias="ci"))])


async def test_an_alias_is_of_one_key(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a", key_alias="ci")), key_created(key("b"))])

    with pytest.raises(AliasTaken):
        await backend.stores.keys.commit([key_created(key("c", key_alias="ci"))])
    with pytest.raises(AliasTaken):
        await backend.stores.keys.commit([key_updated(key("b"), key_alias="ci")])
    assert await backend.stores.keys.get(key("b").key_hash) == key("b")
    assert len(await recorded(backend)) == 2


async def test_of_two_keys_made_at_once_with_one_alias_one_is_there(backend: Backend) -> None:
    async with backend.open() as other:
        commits = [
            keys.commit([key_created(key(name, key_alias="ci"))])
            for keys, name in ((backend.stores.keys, "a"), (other.keys, "b"))
        ]
        outcomes = await asyncio.gather(*commits, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes if outcome] == [AliasTaken]
    assert (await backend.stores.keys.page(EVERYTHING)).total == 1


@pytest.mark.parametrize("change", ["delete", "rename"])
async def test_an_alias_that_was_given_up_is_free(backend: Backend, change: str) -> None:
    a = key("a", key_alias="ci")
    await backend.stores.keys.commit([key_created(a)])
    await backend.stores.keys.commit([key_deleted(a) if change == "delete" else key_updated(a, key_alias="cd")])

    await backend.stores.keys.commit([key_created(key("b", key_alias="ci"))])

    assert await backend.stores.keys.get(key("b").key_hash) == key("b", key_alias="ci")


async def test_of_several_changes_all_hold_or_none(backend: Backend) -> None:
    await backend.stores.keys.commit([key_created(key("a")), key_created(key("b"))])
    await backend.stores.keys.commit([key_deleted(key("b"))])

    with pytest.raises(KeyChangedMeanwhile):
        await backend.stores.keys.commit([key_deleted(key("a")), key_updated(key("b"))])

    assert await backend.stores.keys.get(key("a").key_hash) == key("a")


async def test_keys_are_listed_the_newest_first_page_by_page(backend: Backend) -> None:
    for number, name in enumerate("abc"):
        made = key(name, created_at=NOON + timedelta(seconds=number))
        await backend.stores.keys.commit([key_created(made)])
    await backend.stores.keys.commit([key_created(key("gone"))])
    await backend.stores.keys.commit([key_deleted(key("gone"))])

    pages = [await backend.stores.keys.page(KeyQuery(offset=offset, limit=2)) for offset in (0, 2, 4)]

    shown = [[k.key_hash for k in page.keys] for page in pages]
    assert shown == [[key("c").key_hash, key("b").key_hash], [key("a").key_hash], []]
    assert [page.total for page in pages] == [3, 3, 3]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (KeyQuery(user_id="ada"), "ba"),
        (KeyQuery(user_id="ada", team_id="core"), "b"),
        (KeyQuery(user_id="ada", limit=1), "b"),
        (KeyQuery(key_alias="ci"), "a"),
        (KeyQuery(key_hash=key("c").key_hash), "c"),
        (KeyQuery(team_id="nobody"), ""),
    ],
)
async def test_only_keys_of_which_all_that_is_asked_is_so_are_listed(
    backend: Backend, query: KeyQuery, found: str
) -> None:
    keys = [
        key("a", key_alias="ci", user_id="ada"),
        key("b", user_id="ada", team_id="core", created_at=NOON + timedelta(seconds=1)),
        key("c", team_id="core"),
    ]
    await backend.stores.keys.commit([key_created(k) for k in keys])

    page = await backend.stores.keys.page(query)

    assert [k.key_hash for k in page.keys] == [key(name).key_hash for name in found]


async def test_a_record_can_be_restored_with_its_alias(backend: Backend) -> None:
    a, b = key("a", key_alias="ci"), key("b", key_alias="cd")
    keys = backend.stores.keys
    await keys.commit([key_created(a), key_created(b)])
    await keys.restore(a, None)
    changed = replace(b, blocked=True, key_alias="ci")
    await keys.restore(b, changed)

    assert [await keys.get(k.key_hash) for k in (a, b)] == [None, changed]
    assert await keys.page(KeyQuery(key_alias="ci")) == KeyPage(keys=(changed,), total=1)
    with pytest.raises(AliasTaken):
        await keys.commit([key_created(key("c", key_alias="ci"))])
    with pytest.raises(KeyTaken):
        await keys.commit([regenerated(changed, "a")])
    await keys.commit([key_created(key("c", key_alias="cd"))])
    assert len(await recorded(backend)) == 3


@pytest.mark.parametrize("is_first", [True, False])
async def test_an_alias_that_goes_from_one_key_to_another_is_taken_whichever_is_restored_first(
    backend: Backend, *, is_first: bool
) -> None:
    a, b = key("a", key_alias="ci"), key("b", key_alias="cd")
    keys = backend.stores.keys
    await keys.commit([key_created(a), key_created(b)])
    changes = [(a, replace(a, key_alias="ce")), (b, replace(b, key_alias="ci"))]
    for before, after in changes if is_first else reversed(changes):
        await keys.restore(before, after)

    for before, after in changes:
        assert await keys.get(before.key_hash) == after
    for alias in ("ci", "ce"):
        with pytest.raises(AliasTaken):
            await keys.commit([key_created(key("c", key_alias=alias))])
    await keys.commit([key_created(key("c", key_alias="cd"))])


async def test_every_key_there_is_can_be_read(backend: Backend) -> None:
    keys = [key(str(number)) for number in range(7)]
    await backend.stores.keys.commit([key_created(one) for one in keys])
    await backend.stores.keys.commit([key_deleted(keys[3])])

    found = [one async for one in backend.stores.keys.all()]
    assert sorted(one.key_hash for one in found) == sorted(one.key_hash for one in keys if one is not keys[3])


async def test_a_key_is_found_by_its_id_whatever_became_of_it(backend: Backend) -> None:
    keys = backend.stores.keys
    await keys.commit([key_created(key("a")), key_created(key("other"))])
    assert await keys.by_id(key("a").key_id) == key("a")

    renewed = regenerated(key("a"), "b")
    await keys.commit([renewed])
    assert await keys.by_id(key("a").key_id) == renewed.after
    assert await keys.by_id(key("b").key_hash) is None

    await keys.commit([key_deleted(renewed.after)])
    assert await keys.by_id(key("a").key_id) is None


async def test_keys_that_expire_in_some_time_are_found(backend: Backend) -> None:
    keys = backend.stores.keys
    moments = {"a": -1.0, "b": 0.0, "c": 0.5, "d": 60.0, "e": 60.5, "f": 10**6}
    made = [key(name, expires_at=NOON + timedelta(seconds=after)) for name, after in moments.items()]
    await keys.commit([key_created(k) for k in (*made, key("never"))])
    await keys.commit([key_updated(made[5], expires_at=NOON + timedelta(seconds=30))])

    found = await keys.expiring(NOON, NOON + timedelta(seconds=60))

    assert {k.key_hash for k in found} == {key(name).key_hash for name in "cdf"}


_CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["make", "change", "renew", "delete"])), max_size=8
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=_CHANGES)
async def test_a_replay_of_the_ledger_gives_the_same_keys(backend: Backend, changes: list[tuple[str, str]]) -> None:
    there = (await backend.stores.keys.page(EVERYTHING)).total
    current: dict[str, Key] = {}
    for number, (name, change) in enumerate(changes):
        unique = f"{name}{number}-{len(await recorded(backend))}"
        last = current.pop(name, None)
        if last is None:
            event = key_created(key(unique))
        elif change == "delete":
            event = key_deleted(last)
        else:
            event = regenerated(last, unique) if change == "renew" else key_updated(last, key_alias=unique)
        await backend.stores.keys.commit([event])
        if after := key_after(event):
            current[name] = after

    events = [event async for event in backend.stores.ledger.replay()]
    page = await backend.stores.keys.page(EVERYTHING)
    assert {k.key_hash: k for k in page.keys} == replay_keys(events)
    assert page.total == there + len(current)

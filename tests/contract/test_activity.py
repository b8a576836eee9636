"""`Activity`, on both backends."""

from datetime import timedelta
from typing import Any

import pytest

from events.activity import ALL_TIME, ZERO, Cell, Completion, Slot, Sums, activity
from events.money import NanoUsd
from events.spend import Scopes
from functions.gateway.ports import AlreadyRecorded, CellQuery, SpendPage, SpendQuery
from tests.builders import NOON, failure, key, key_created, key_updated, spend
from tests.contract.conftest import Backend

ADA = Scopes(key_hash="ada's", user="ada", team="red/green", end_user="x", tags=("t/1",))
BOB = Scopes(key_hash="bob's", user="bob", team="red/green")
EVENTS = (
    spend("a", cost=5, scopes=ADA, time=NOON - timedelta(days=1), response_id="chat-a", request_id="call-a"),
    spend("b", cost=7, scopes=ADA, response_id="chat-b", request_id="call-b"),
    spend("c", cost=20, scopes=BOB, time=NOON + timedelta(hours=1), provider="gemini", upstream_model="pro", alias="g"),
    failure("d", cost=2),
)


async def recorded(backend: Backend, *events: Completion) -> None:
    await backend.stores.ledger.commit(events, {"global:x": 1})


async def stored(backend: Backend) -> dict[Slot, Sums]:
    return {slot: sums async for slot, sums in backend.stores.activity.stored()}


async def listed(backend: Backend, **query: Any) -> list[str]:
    page = await backend.stores.activity.page(SpendQuery(**query))
    assert page.total == len(page.requests)
    return [event.event_id for event in page.requests]


async def test_commits_grow_the_sums_as_the_fold_says(backend: Backend) -> None:
    await recorded(backend, *EVENTS[:2])
    await recorded(backend, *EVENTS[2:])

    assert await stored(backend) == activity(EVENTS)


async def test_a_refused_commit_adds_nothing(backend: Backend) -> None:
    await recorded(backend, EVENTS[0])

    with pytest.raises(AlreadyRecorded):
        await recorded(backend, EVENTS[0], EVENTS[1])

    assert await stored(backend) == activity(EVENTS[:1])
    assert await listed(backend) == ["a"]


async def test_a_full_group_of_strangers_is_one_commit(backend: Backend) -> None:
    """As many as the folder takes at once, with nothing in common."""
    events = [
        spend(f"s-{n:03}", scopes=Scopes(key_hash=f"k{n}", user=f"u{n}", team=f"t{n}", end_user=f"e{n}"))
        for n in range(200)
    ]

    await recorded(backend, *events)

    assert await stored(backend) == activity(events)


async def test_sums_are_given_by_name(backend: Backend) -> None:
    await recorded(backend, *EVENTS)

    found = await backend.stores.activity.named(ALL_TIME, "key", ["ada's", "nobody's"])

    assert {name: sums.spend for name, sums in found.items()} == {"ada's": 12}
    assert await backend.stores.activity.named(ALL_TIME, "key", []) == {}


async def test_the_highest_spend_comes_first(backend: Backend) -> None:
    await recorded(backend, *EVENTS)

    first = await backend.stores.activity.highest("user", offset=0, limit=2)
    rest = await backend.stores.activity.highest("user", offset=2, limit=2)

    assert [(name, sums.spend) for name, sums in [*first, *rest]] == [("bob", 20), ("ada", 12), ("", 2)]


async def test_days_are_given_from_first_to_last(backend: Backend) -> None:
    await recorded(backend, *EVENTS)
    daily = backend.stores.activity.daily

    both = await daily("team", "2026-11-23", "2026-11-24", limit=10)

    assert sorted((slot.period, slot.name, sums.spend) for slot, sums in both) == [
        ("2026-11-23", "red/green", 5),
        ("2026-11-24", "", 2),
        ("2026-11-24", "red/green", 27),
    ]
    assert [slot.period for slot, _ in both] == sorted(slot.period for slot, _ in both)
    assert len(await daily("team", "2026-11-23", "2026-11-23", limit=10)) == 1
    assert len(await daily("team", "2026-11-23", "2026-11-24", limit=2)) == 2
    assert await daily("team", "2026-11-25", "2026-12-31", limit=10) == []


@pytest.mark.parametrize(
    ("query", "spent"),
    [
        ({}, 34),
        ({"key": "ada's"}, 12),
        ({"user": "bob"}, 20),
        ({"team": "red/green"}, 32),
        ({"team": "red/green", "user": "ada"}, 12),
        ({"key": "ada's", "user": "bob"}, 0),
    ],
)
async def test_cells_are_those_of_who_is_asked_for(backend: Backend, query: dict[str, str], spent: int) -> None:
    await recorded(backend, *EVENTS)

    found = await backend.stores.activity.cells(CellQuery(first="2026-11-23", last="2026-11-24", **query), limit=10)

    assert sum(sums.spend for _, sums in found) == spent


@pytest.mark.parametrize(
    ("query", "event_ids"),
    [
        ({}, ["c", "d", "b", "a"]),
        ({"key": "ada's"}, ["b", "a"]),
        ({"user": "bob"}, ["c"]),
        ({"team": "red/green"}, ["c", "b", "a"]),
        ({"end_user": "x"}, ["b", "a"]),
        ({"model": "gemini/pro"}, ["c"]),
        ({"alias": "g"}, ["c"]),
        ({"provider": "gemini"}, ["c"]),
        ({"status": "failure"}, ["d"]),
        ({"name": "chat-b"}, ["b"]),
        ({"name": "call-a"}, ["a"]),
        ({"since": NOON}, ["c", "d", "b"]),
        ({"until": NOON}, ["a"]),
        ({"since": NOON, "until": NOON + timedelta(hours=1), "status": "success"}, ["b"]),
        ({"key": "ada's", "user": "bob"}, []),
    ],
)
async def test_requests_are_listed_by_what_is_asked_for(
    backend: Backend, query: dict[str, Any], event_ids: list[str]
) -> None:
    await recorded(backend, *EVENTS)

    assert await listed(backend, **query) in (event_ids, _with_equal_times_turned(event_ids))


def _with_equal_times_turned(event_ids: list[str]) -> list[str]:
    """Two of the requests were answered at the same time."""
    return [{"b": "d", "d": "b"}.get(name, name) if {"b", "d"} <= set(event_ids) else name for name in event_ids]


async def test_pages_part_the_list(backend: Backend) -> None:
    events = [spend(f"e-{n}", time=NOON + timedelta(seconds=n)) for n in range(7)]
    await recorded(backend, *events)

    pages = [await backend.stores.activity.page(SpendQuery(offset=at, limit=2)) for at in (0, 2, 4, 6, 8)]

    assert [[event.event_id for event in page.requests] for page in pages] == [
        ["e-6", "e-5"], ["e-4", "e-3"], ["e-2", "e-1"], ["e-0"], []
    ]  # fmt: skip
    assert {page.total for page in pages} == {7}


async def test_requests_come_as_they_were_recorded(backend: Backend) -> None:
    await recorded(backend, EVENTS[0])

    assert await backend.stores.activity.page(SpendQuery()) == SpendPage(requests=(EVENTS[0],), total=1)


async def test_a_key_is_found_by_its_first_hash(backend: Backend) -> None:
    kept, before = key("a"), key("b")
    renewal = key_updated(before, key_hash="f" * 64)
    for event in (key_created(kept), key_created(before), renewal):
        await backend.stores.keys.commit([event])

    found = await backend.stores.activity.keys([kept.key_id, before.key_id, "0" * 64])

    assert found == {kept.key_id: kept, before.key_id: renewal.after}


async def test_sums_can_be_replaced(backend: Backend) -> None:
    await recorded(backend, EVENTS[0])
    wrong, made_up = next(iter(activity(EVENTS[:1]))), Slot("2026-11-24", "tag", "made/up")

    await backend.stores.activity.put({made_up: Sums(requests=3, spend=NanoUsd(9)), wrong: ZERO})

    expected = activity(EVENTS[:1]) | {made_up: Sums(requests=3, spend=NanoUsd(9))}
    del expected[wrong]
    assert await stored(backend) == expected


async def test_replaced_cells_are_found_by_whom_they_are_for(backend: Backend) -> None:
    slot = Slot("2026-11-24", "cell", Cell(key="k").name)

    await backend.stores.activity.put({slot: Sums(requests=1)})

    query = CellQuery(first="2026-11-24", last="2026-11-24", key="k")
    assert await backend.stores.activity.cells(query, limit=5) == [(slot, Sums(requests=1))]


async def test_requests_of_an_older_version_are_found_and_enlisted(backend: Backend) -> None:
    await recorded(backend, *EVENTS[:2])
    await _forget_listing(backend, "a")
    assert await listed(backend) == ["b"]

    lacking = await backend.stores.activity.unlisted(EVENTS[:2])
    await backend.stores.activity.enlist(lacking)
    await backend.stores.activity.enlist(lacking)

    assert lacking == [EVENTS[0]]
    assert await listed(backend) == ["b", "a"]


async def _forget_listing(backend: Backend, event_id: str) -> None:
    """Leave what a version without lists would have left."""
    activity_port: Any = backend.stores.activity
    if hasattr(activity_port, "_database"):
        statement = "DELETE FROM requests WHERE position = (SELECT position FROM events WHERE event_id = ?)"
        await activity_port._database.run(lambda connection: connection.execute(statement, (event_id,)))
    else:
        document = activity_port._events.document(event_id)
        kept = (await document.get()).to_dict()
        await document.set({name: kept[name] for name in ("type", "time", "event")})

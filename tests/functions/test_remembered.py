"""Reading from a store that can be slow, or down, and counts its readings."""

import asyncio

import pytest

from events.keys import Key
from functions.gateway import remembered
from functions.gateway.errors import StoreUnavailable
from functions.gateway.remembered import Remembered
from tests.builders import key
from tests.functions.stand_ins import CountedKeys


class Bench:
    """A store and what remembers it; `now` is the clock's time in seconds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = CountedKeys()
        self.remembered = Remembered(self.store.get, kind="key", clock=lambda: self.now)

    async def get(self, name: str = "a") -> Key | None:
        return await self.remembered.get(key(name).key_hash)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_key_is_read_once_in_a_few_seconds(bench: Bench) -> None:
    bench.store.put(key("a"))

    assert [await bench.get() for _ in range(3)] == [key("a")] * 3
    assert bench.store.readings == 1


async def test_a_change_is_seen_within_five_seconds(bench: Bench) -> None:
    bench.store.put(key("a"))
    await bench.get()
    bench.store.put(key("a", blocked=True))

    bench.now += 5

    assert await bench.get() == key("a", blocked=True)


async def test_an_unknown_key_costs_one_reading_in_a_few_seconds(bench: Bench) -> None:
    assert [await bench.get() for _ in range(50)] == [None] * 50
    assert bench.store.readings == 1


async def test_a_key_that_was_unknown_is_known_within_five_seconds_of_its_making(bench: Bench) -> None:
    await bench.get()
    bench.store.put(key("a"))

    bench.now += 5

    assert await bench.get() == key("a")


async def test_many_who_ask_at_once_share_a_reading(bench: Bench) -> None:
    bench.store.put(key("a"))
    bench.store.open.clear()
    asking = [asyncio.create_task(bench.get()) for _ in range(20)]
    await bench.store.asked.wait()
    bench.store.open.set()

    assert await asyncio.gather(*asking) == [key("a")] * 20
    assert bench.store.readings == 1


async def test_who_leaves_while_reading_leaves_the_others_their_answer(bench: Bench) -> None:
    bench.store.put(key("a"))
    bench.store.open.clear()
    first = asyncio.create_task(bench.get())
    await bench.store.asked.wait()
    second = asyncio.create_task(bench.get())
    await asyncio.sleep(0)

    first.cancel()
    bench.store.open.set()

    assert await second == key("a")


async def test_what_is_changed_here_is_seen_at_once(bench: Bench) -> None:
    bench.store.put(key("a"))
    await bench.get()
    bench.store.put(key("a", blocked=True))

    bench.remembered.forget(key("a").key_hash)

    assert await bench.get() == key("a", blocked=True)


async def test_a_reading_from_before_a_change_is_not_remembered(bench: Bench) -> None:
    bench.store.put(key("a"))
    bench.store.open.clear()
    reading = asyncio.create_task(bench.get())
    await bench.store.asked.wait()

    bench.remembered.forget(key("a").key_hash)
    bench.store.open.set()
    await reading
    bench.store.put(key("a", blocked=True))

    assert await bench.get() == key("a", blocked=True)


async def test_a_reading_is_as_old_as_its_question(bench: Bench) -> None:
    bench.store.put(key("a"))
    bench.store.open.clear()
    reading = asyncio.create_task(bench.get())
    await bench.store.asked.wait()
    bench.now += 5
    bench.store.open.set()
    await reading

    await bench.get()

    assert bench.store.readings == 2


async def test_a_store_that_is_down_is_asked_once_a_second_for_a_key(bench: Bench) -> None:
    bench.store.is_down = True
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await bench.get()
    assert bench.store.readings == 1

    bench.store.is_down = False
    bench.store.put(key("a"))
    bench.now += 1

    assert await bench.get() == key("a")


async def test_a_key_that_is_remembered_needs_no_store(bench: Bench) -> None:
    bench.store.put(key("a"))
    await bench.get()
    bench.store.is_down = True

    assert await bench.get() == key("a")


async def test_a_store_that_does_not_answer_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_READ_WITHIN_S", 0.01)
    bench.store.open.clear()

    with pytest.raises(StoreUnavailable):
        await bench.get()


async def test_guesses_push_out_no_key_and_stay_few(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST_REMEMBERED", 10)
    bench.store.put(key("a"))
    await bench.get()
    for number in range(30):
        await bench.get(f"guess-{number}")

    before = bench.store.readings
    await bench.get()
    await bench.get("guess-29")
    assert bench.store.readings == before
    await bench.get("guess-0")
    assert bench.store.readings == before + 1

"""`Cooldowns`, on both backends."""

import asyncio
from datetime import UTC, datetime, timedelta

from tests.builders import NOON
from tests.contract.conftest import Backend

SOON = NOON + timedelta(seconds=5, microseconds=123_457)
LATER = NOON + timedelta(seconds=40)


async def test_nothing_rests_before_something_was_told(backend: Backend) -> None:
    assert await backend.stores.cooldowns.read(NOON) == {}


async def test_what_one_instance_tells_another_reads(backend: Backend) -> None:
    await backend.stores.cooldowns.announce({"gpt-4o-1": SOON, "gpt-4o-2": LATER})

    async with backend.open() as other:
        assert await other.cooldowns.read(NOON) == {"gpt-4o-1": SOON, "gpt-4o-2": LATER}


async def test_a_rest_that_is_over_is_not_given(backend: Backend) -> None:
    await backend.stores.cooldowns.announce({"gpt-4o-1": SOON, "gpt-4o-2": LATER})

    assert await backend.stores.cooldowns.read(SOON) == {"gpt-4o-2": LATER}


async def test_of_a_deployment_what_was_told_last_holds(backend: Backend) -> None:
    await backend.stores.cooldowns.announce({"gpt-4o-1": LATER, "gpt-4o-2": LATER})
    await backend.stores.cooldowns.announce({"gpt-4o-1": SOON})

    assert await backend.stores.cooldowns.read(NOON) == {"gpt-4o-1": SOON, "gpt-4o-2": LATER}


async def test_two_instances_that_tell_at_once_are_both_heard(backend: Backend) -> None:
    async with backend.open() as other:
        one, two = backend.stores.cooldowns, other.cooldowns
        await asyncio.gather(one.announce({"gpt-4o-1": SOON}), two.announce({"gpt-4o-2": LATER}))

    assert await backend.stores.cooldowns.read(NOON) == {"gpt-4o-1": SOON, "gpt-4o-2": LATER}


async def test_an_id_may_have_any_characters(backend: Backend) -> None:
    rests = {"eu/gpt-4o.1 `a\\b` é": SOON, "..": LATER}
    await backend.stores.cooldowns.announce(rests)

    assert await backend.stores.cooldowns.read(NOON) == rests


async def test_times_are_given_in_utc(backend: Backend) -> None:
    await backend.stores.cooldowns.announce({"gpt-4o-1": datetime.fromisoformat("2026-11-24T14:00:00+01:00")})

    (until,) = (await backend.stores.cooldowns.read(NOON)).values()
    assert (until, until.utcoffset()) == (datetime(2026, 11, 24, 13, tzinfo=UTC), timedelta())

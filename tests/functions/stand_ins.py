"""What stands in for the bus and for admission, where a test is about neither."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import cast

from events.accounts import Account, AccountEvent, AccountKind, id_of, kind_of
from events.codec import Event
from events.keys import Key, KeyEvent
from events.money import NanoUsd
from events.spend import SpendRecorded
from functions.gateway.errors import StoreUnavailable
from functions.gateway.keys import Keyring
from functions.gateway.ports import (
    AccountPage,
    AccountQuery,
    Accounts,
    Deployment,
    KeyPage,
    KeyQuery,
    Keys,
    Limits,
    Request,
)
from tests.builders import NOON


class HeldBus:
    """A bus whose acknowledgement can be held back or refused."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.is_down = False

    async def publish(self, topic: str, event: Event) -> None:
        self.asked.set()
        await self.open.wait()
        if self.is_down:
            raise StoreUnavailable("the bus is down")
        self.published.append(event)

    async def dead_letter(self, topic: str, data: bytes, *, reason: str) -> None:
        raise AssertionError("nothing is dead-lettered here")

    @property
    def spend(self) -> SpendRecorded:
        (event,) = self.published
        assert isinstance(event, SpendRecorded)
        return event


class CountedKeys:
    """Keys to read, whose answer can be held back or refused, and that counts how often it is asked."""

    def __init__(self) -> None:
        self.readings = 0
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.is_down = False
        self._keys: dict[str, Key] = {}

    def put(self, key: Key) -> None:
        self._keys[key.key_hash] = key

    async def get(self, key_hash: str) -> Key | None:
        self.readings += 1
        self.asked.set()
        found = self._keys.get(key_hash)
        await self.open.wait()
        if self.is_down:
            raise StoreUnavailable("the store is down")
        return found

    async def by_id(self, key_id: str) -> Key | None:
        raise AssertionError("nothing is looked up by its id here")

    async def expiring(self, after: datetime, before: datetime) -> Sequence[Key]:
        raise AssertionError("nothing is listed here")

    async def page(self, query: KeyQuery) -> KeyPage:
        raise AssertionError("nothing is listed here")

    def all(self) -> AsyncIterator[Key]:
        raise AssertionError("nothing is listed here")

    async def commit(self, events: Sequence[KeyEvent]) -> None:
        raise AssertionError("nothing is changed here")

    async def restore(self, before: Key | None, after: Key | None) -> None:
        raise AssertionError("nothing is changed here")


class WatchedKeys:
    """Real keys whose looking up by id may fail, and that count how often that is asked."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.readings = 0
        self.failure: Exception | None = None
        self.get = keys.get
        self.expiring = keys.expiring
        self.page = keys.page
        self.all = keys.all
        self.commit = keys.commit
        self.restore = keys.restore

    async def by_id(self, key_id: str) -> Key | None:
        self.readings += 1
        if self.failure:
            raise self.failure
        return await self._keys.by_id(key_id)


class FewAccounts:
    """Users and teams to read, as they were put there."""

    def __init__(self) -> None:
        self._accounts: dict[tuple[AccountKind, str], Account] = {}

    def put(self, account: Account) -> None:
        self._accounts[kind_of(account), id_of(account)] = account

    async def get(self, kind: AccountKind, account_id: str) -> Account | None:
        return self._accounts.get((kind, account_id))

    async def next_version(self, kind: AccountKind, account_id: str) -> int:
        raise AssertionError("nothing is changed here")

    async def named(self, kind: AccountKind, account_ids: Sequence[str]) -> dict[str, Account]:
        raise AssertionError("nothing is listed here")

    async def page(self, kind: AccountKind, query: AccountQuery) -> AccountPage:
        raise AssertionError("nothing is listed here")

    async def commit(self, events: Sequence[AccountEvent]) -> None:
        raise AssertionError("nothing is changed here")

    async def restore(self, kind: AccountKind, account_id: str, last: AccountEvent | None) -> None:
        raise AssertionError("nothing is changed here")


def open_keyring() -> Keyring:
    """The keyring of a gateway without a master key, which lets everyone in and asks no store."""
    return Keyring(cast("Keys", CountedKeys()), cast("Accounts", None), None, now=lambda: NOON, clock=lambda: 0.0)


class OpenAdmission:
    """Lets everyone in, and knows what they spent, and what they were held to."""

    def __init__(self) -> None:
        self.settled: list[int] = []
        self.limits: list[Limits] = []
        self.allowance_ids: tuple[str, ...] = ()
        self.max_tokens: int | None = None
        self.headers: dict[str, str] = {}

    @asynccontextmanager
    async def hold(
        self, request: Request, chain: Sequence[Deployment], limits: Limits
    ) -> AsyncGenerator["OpenAdmission"]:
        self.limits.append(limits)
        yield self

    def settle(self, cost: NanoUsd, tokens: int) -> None:
        self.settled.append(cost)

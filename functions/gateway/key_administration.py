"""What an operator does with keys. Each change is in the ledger, with who made it, before it is answered for."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from events.accounts import AccountKind
from events.keys import Key, KeyChanged, KeyEvent, key_after, key_before
from functions.gateway import key_changes
from functions.gateway.errors import BadRequest, KeyConflict, KeyNotFound
from functions.gateway.key_changes import Asked
from functions.gateway.keys import Keyring, hash_key
from functions.gateway.ports import AliasTaken, KeyChangedMeanwhile, KeyPage, KeyQuery, Keys, KeyTaken

_HASH = re.compile(r"[0-9a-f]{64}")
_TRIES = 40  # of as many changes at once, one succeeds each time
_DELETED_TOGETHER = 100


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key as it is shown once, `presented`, and what is kept of it."""

    presented: str = field(repr=False)
    key: Key


class KeyAdministration:
    """Makes, changes and finds keys. `now` gives aware UTC time, `new_key` a key that nobody can guess."""

    def __init__(
        self, keys: Keys, keyring: Keyring, *, now: Callable[[], datetime], new_key: Callable[[], str]
    ) -> None:
        self._keys = keys
        self._keyring = keyring
        self._now = now
        self._new_key = new_key

    async def generate(self, asked: Asked, actor: str) -> ShownKey:
        """Make a key. Raises `BadRequest` for one, or an alias, that is taken."""
        presented = self._chosen(asked, "key")
        event = key_changes.created(presented, asked, actor, self._now())
        try:
            await self._commit([event], "key")
        except KeyChangedMeanwhile:
            raise _taken("key") from None
        return ShownKey(presented, event.after)

    async def update(self, asked: Asked, actor: str) -> Key:
        """Change a key's settings; without a `key` it is the alias that says which one. Raises `KeyNotFound`."""
        if "key" not in asked and not asked.get("key_alias"):
            raise _missing("key")
        find = partial(self.find, asked["key"]) if "key" in asked else partial(self._aliased, asked["key_alias"])
        return await self._change(find, lambda key: key_changes.updated(key, asked, actor, self._now()))

    async def block(self, presented: str, actor: str, *, is_blocked: bool) -> Key:
        """Block a key, or no longer. Raises `KeyNotFound`."""
        find = partial(self.find, presented)
        return await self._change(find, lambda key: key_changes.blocked(key, actor, self._now(), is_blocked=is_blocked))

    async def regenerate(self, presented: str, asked: Asked, actor: str) -> ShownKey:
        """Put another key in the place of one. Raises `KeyNotFound`."""
        renewed = self._chosen(asked, "new_key")
        if hash_key(renewed) == _hash_of(presented):
            raise _taken("new_key")
        key = await self._change(
            partial(self.find, presented),
            lambda key: key_changes.regenerated(key, renewed, asked, actor, self._now()),
        )
        return ShownKey(renewed, key)

    async def delete(self, asked: Asked, actor: str) -> list[str]:
        """Delete all of the keys, or none of them; gives their names as they came. Raises `KeyNotFound`."""
        named: list[str] = asked.get("keys") or []
        aliases: list[str] = asked.get("key_aliases") or []
        if not named and not aliases:
            raise _missing("keys")
        for _ in range(_TRIES):
            keys = [await self.find(name, param="keys") for name in named]
            keys += [await self._aliased(alias, param="key_aliases") for alias in aliases]
            distinct = {key.key_id: key for key in keys}.values()
            try:
                await self._commit([key_changes.deleted(key, actor, self._now()) for key in distinct], "keys")
            except KeyChangedMeanwhile:
                continue
            return [*named, *aliases]
        raise _conflict()

    async def delete_of(self, kind: AccountKind, account_id: str, actor: str) -> None:
        """Delete every key of a user or a team, some at a time; what is deleted stays so if that breaks off.

        Raises `KeyConflict`.
        """
        query = of_account(kind, account_id, limit=_DELETED_TOGETHER)
        conflicts = 0
        while keys := (await self._keys.page(query)).keys:
            try:
                await self._commit([key_changes.deleted(key, actor, self._now()) for key in keys], "key")
            except KeyChangedMeanwhile:
                conflicts += 1
                if conflicts == _TRIES:
                    raise KeyConflict("Keys are being changed by others; not all were deleted. Try again.") from None

    async def find(self, presented: str, *, param: str = "key") -> Key:
        """Give a key, by itself or by its hash. Raises `KeyNotFound`."""
        key_hash = _hash_of(presented)
        key = await self._keys.get(key_hash)
        if key is None:
            raise KeyNotFound(f"with the hash {key_hash}", param=param)
        return key

    async def page(self, query: KeyQuery) -> KeyPage:
        """Give some of the keys."""
        return await self._keys.page(query)

    async def _aliased(self, alias: str, *, param: str = "key_alias") -> Key:
        found = (await self._keys.page(KeyQuery(key_alias=alias, limit=1))).keys
        if not found:
            raise KeyNotFound(f"with the alias {alias!r}", param=param)
        return found[0]

    async def _change(self, find: Callable[[], Awaitable[Key]], decide: Callable[[Key], KeyChanged | None]) -> Key:
        """Have a key changed as `decide` says, which is asked again where somebody else's change came first."""
        for _ in range(_TRIES):
            before = await find()
            event = decide(before)
            if event is None:
                return before
            try:
                await self._commit([event], "new_key")
            except KeyChangedMeanwhile:
                continue
            return event.after
        raise _conflict()

    async def _commit(self, events: Sequence[KeyEvent], param: str) -> None:
        try:
            await self._keys.commit(events)
        except KeyTaken as error:
            raise _taken(param) from error
        except AliasTaken as error:
            raise BadRequest(
                "key_alias: another key has this alias. Choose another, or give that key another one.",
                param="key_alias",
                code="key_alias_taken",
            ) from error
        finally:
            for key in (state(event) for event in events for state in (key_before, key_after)):
                if key is not None:
                    self._keyring.forget(key.key_hash)

    def _chosen(self, asked: Asked, param: str) -> str:
        """Give the key that the operator wants, or a new one."""
        chosen: str = asked.get(param) or self._new_key()
        if self._keyring.is_master(chosen):
            raise _taken(param)
        return chosen


def _hash_of(presented: str) -> str:
    return presented if _HASH.fullmatch(presented) else hash_key(presented)


def of_account(kind: AccountKind, account_id: str, *, limit: int) -> KeyQuery:
    """Ask for the keys of a user or a team."""
    if kind == "user":
        return KeyQuery(user_id=account_id, limit=limit)
    return KeyQuery(team_id=account_id, limit=limit)


def _taken(param: str) -> BadRequest:
    return BadRequest(f"{param}: this key is in use, or was once. Choose another.", param=param, code="key_taken")


def _missing(param: str) -> BadRequest:
    return BadRequest(f"{param} is missing.", param=param, code="missing_required_parameter")


def _conflict() -> KeyConflict:
    return KeyConflict("The key is being changed by others; nothing was changed here. Try again.")

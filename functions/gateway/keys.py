"""Who is asking: the key a client presents, and what it is allowed."""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal, TypeVar

import anyio

from events.accounts import AccountKind, Team, User, kind_of
from events.keys import Key
from events.money import NanoUsd
from events.spend import Scopes
from functions.gateway.access import ModelList, may_use_route
from functions.gateway.errors import (
    AccountIsBlocked,
    KeyIsBlocked,
    KeyIsExpired,
    MasterKeyRequired,
    NotAuthenticated,
    RouteNotAllowed,
    StoreUnavailable,
)
from functions.gateway.limits import Parties
from functions.gateway.ports import Accounts, Keys
from functions.gateway.remembered import Remembered

_BARE_HEADERS = ("api-key", "x-api-key")  # as the Azure and Anthropic SDKs send it
PREFIX = "sk-"
LONGEST_KEY = 256
MASTER = "master"
_SPEND_WITHIN_S = 1.0  # it is only told
A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks: the operator with the master key, a virtual `key`, or anyone, where the gateway is open."""

    kind: Literal["master", "virtual", "anyone"]
    key_hash: str | None = None
    key: Key | None = None
    user: User | None = None  # whose key it is
    team: Team | None = None
    spent: NanoUsd | None = None  # by the key in all, as far as it is known

    @property
    def models(self) -> tuple[ModelList, ...]:
        """The lists that a model must be on: the key's, its user's and its team's."""
        key, user, team = self.key, self.user, self.team
        lists = (
            ModelList("key", key.models if key else ()),
            ModelList("user", user.models if user else ()),
            ModelList("team", team.models if team else ()),
        )
        return tuple(one for one in lists if one.models)

    @property
    def actor(self) -> str:
        """Who did it, as the ledger says it."""
        return MASTER if self.kind == "master" else self.key_hash or self.kind

    def scopes(self, end_user: str | None) -> Scopes:
        """Say whom spend is counted for; `end_user` is whom the request names."""
        if self.key is None:
            return Scopes(key_hash=self.key_hash, end_user=end_user)
        key = self.key
        return Scopes(key_hash=key.key_id, user=key.user_id, team=key.team_id, end_user=end_user, tags=tags_of(key))

    def parties(self, end_user: str | None) -> Parties:
        """Say whose limits hold."""
        return Parties(key=self.key, user=self.user, team=self.team, end_user=end_user)

    def check_operator(self) -> None:
        """Refuse a virtual key. Raises `MasterKeyRequired`."""
        if self.kind == "virtual":
            raise MasterKeyRequired("This path takes the master key, not a virtual key.")

    def check_master(self) -> None:
        """Refuse everyone without the master key, also where the gateway is open. Raises `MasterKeyRequired`."""
        self.check_operator()
        if self.kind == "anyone":
            raise MasterKeyRequired("This path is closed while there is no master key. Set LITELLM_MASTER_KEY.")


async def _unread(_: str) -> NanoUsd | None:
    return None


class Keyring:
    """Knows who presents which key. Keys, users and teams are as the store had them a few seconds ago at most.

    `now` gives aware UTC time, `clock` monotonic seconds, `read_spend` what the key of an id has spent.
    """

    def __init__(
        self,
        keys: Keys,
        accounts: Accounts,
        master_key: str | None,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        read_spend: Callable[[str], Awaitable[NanoUsd | None]] = _unread,
    ) -> None:
        self._spent = Remembered(partial(_spend_if_known, read_spend), kind="key's spend", clock=clock)
        self._keys = Remembered(keys.get, kind="key", clock=clock)
        self._users = Remembered(partial(_user, accounts), kind="key's user", clock=clock)
        self._teams = Remembered(partial(_team, accounts), kind="key's team", clock=clock)
        self._master_hash = None if master_key is None else hash_key(master_key)
        self._now = now

    async def authenticate(self, headers: Mapping[str, str], path: str) -> Identity:
        """Say who asks for a path. Without a master key the gateway is open to anyone.

        Accepted are `x-litellm-api-key`, `Authorization: Bearer`, `api-key` and `x-api-key`, in this order. Raises
        `NotAuthenticated`, `KeyIsBlocked`, `KeyIsExpired`, `RouteNotAllowed`, `AccountIsBlocked`, and for what this
        instance would have to look up, `StoreUnavailable`.
        """
        if self._master_hash is None:
            return Identity(kind="anyone")
        presented = _presented(headers)
        key_hash = hash_key(presented)
        if self.is_master(presented):
            return Identity(kind="master", key_hash=key_hash)
        key = await self._key(key_hash) if is_well_formed(presented) else None
        if key is None:
            raise NotAuthenticated("This API key is not known. Check it, or ask the operator for one.")
        check_usable(key, path, self._now())
        (user, team), spent = await self._belongings_of(key)
        check_open(user, team)
        return Identity(kind="virtual", key_hash=key_hash, key=key, user=user, team=team, spent=spent)

    def is_master(self, presented: str) -> bool:
        """Say whether this is the master key."""
        return self._master_hash is not None and hmac.compare_digest(hash_key(presented), self._master_hash)

    def forget(self, key_hash: str) -> None:
        """Have a key looked up anew: it was changed here."""
        self._keys.forget(key_hash)

    def forget_account(self, kind: AccountKind, account_id: str) -> None:
        """Have a user or a team looked up anew: it was changed here."""
        (self._users if kind == "user" else self._teams).forget(account_id)

    async def _key(self, key_hash: str) -> Key | None:
        """Give the key. Whose it was when it was last read, and its spend, are read anew beside it, not after it."""
        last = None if self._keys.is_fresh(key_hash) else self._keys.last(key_hash)
        if last is None:
            return await self._keys.get(key_hash)
        reading = asyncio.gather(self._keys.get(key_hash), self._belongings_of(last), return_exceptions=True)
        key, _ = await reading  # what is wrong with the second is told where it is still wanted
        if isinstance(key, BaseException):
            raise key
        return key

    async def _belongings_of(self, key: Key) -> tuple[tuple[User | None, Team | None], NanoUsd | None]:
        """Give the user and the team of a key, and what it has spent."""
        if self._spent.is_fresh(key.key_id):
            return await self._accounts_of(key), await self._spent.get(key.key_id)
        return await _together(self._accounts_of(key), self._spent.get(key.key_id))

    async def _accounts_of(self, key: Key) -> tuple[User | None, Team | None]:
        """Give the user and the team of a key, as far as there are records of them."""
        user_id, team_id = key.user_id, key.team_id
        if user_id is None or team_id is None or self._users.is_fresh(user_id) or self._teams.is_fresh(team_id):
            user = None if user_id is None else await self._users.get(user_id)
            return user, None if team_id is None else await self._teams.get(team_id)
        return await _together(self._users.get(user_id), self._teams.get(team_id))


async def _user(accounts: Accounts, user_id: str) -> User | None:
    user = await accounts.get("user", user_id)
    return user if isinstance(user, User) else None


async def _team(accounts: Accounts, team_id: str) -> Team | None:
    team = await accounts.get("team", team_id)
    return team if isinstance(team, Team) else None


async def _spend_if_known(read: Callable[[str], Awaitable[NanoUsd | None]], key_id: str) -> NanoUsd | None:
    """Give what a key has spent; no request waits long for that, or fails for it."""
    try:
        with anyio.fail_after(_SPEND_WITHIN_S):
            return await read(key_id)
    except (StoreUnavailable, TimeoutError):
        return None


async def _together(first: Awaitable[A], second: Awaitable[B]) -> tuple[A, B]:
    """Wait for both. Raises what the first raises, or else the second."""
    one, other = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(one, BaseException):
        raise one
    if isinstance(other, BaseException):
        raise other
    return one, other


def check_open(user: User | None, team: Team | None) -> None:
    """Refuse a key whose user or team is blocked. Raises `AccountIsBlocked`."""
    for account in (user, team):
        if account is not None and account.blocked:
            raise AccountIsBlocked(kind_of(account))


def check_usable(key: Key, path: str, now: datetime) -> None:
    """Refuse a key that is blocked, expired, or not for this path. Raises what says so."""
    if key.blocked:
        raise KeyIsBlocked
    if key.expires_at is not None and now >= key.expires_at:
        raise KeyIsExpired(key.key_name, key.expires_at)
    if not may_use_route(key.allowed_routes, path):
        raise RouteNotAllowed(path, key.allowed_routes)


def tags_of(key: Key) -> tuple[str, ...]:
    """Give the tags of a key's requests: its own, and those of its metadata, where LiteLLM has them."""
    return tuple(dict.fromkeys([*key.tags, *(key.metadata.get("tags") or ())]))


def is_well_formed(key: str) -> bool:
    """Say whether this may be a virtual key at all; for what can't, nobody needs to ask the store."""
    return key.startswith(PREFIX) and len(key) <= LONGEST_KEY


def hash_key(key: str) -> str:
    """Give hex SHA-256: all that is ever stored or published of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _presented(headers: Mapping[str, str]) -> str:
    """Give the key that a client sends. Raises `NotAuthenticated` where there is none."""
    key = _of_scheme(headers) or next((key for name in _BARE_HEADERS if (key := headers.get(name, "").strip())), "")
    if not key:
        raise NotAuthenticated("No API key was given. Send it as `Authorization: Bearer sk-…`.", code="missing_api_key")
    return key


def _of_scheme(headers: Mapping[str, str]) -> str:
    for name in ("x-litellm-api-key", "authorization"):
        scheme, _, key = headers.get(name, "").strip().partition(" ")
        is_bearer = scheme.lower() == "bearer"
        if is_bearer and key:
            return key.strip()
        if scheme and not is_bearer and name != "authorization":
            return f"{scheme} {key}".strip()
    return ""

"""Who is asking: the key a client presents, and what it is allowed."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from events.accounts import Team, User
from events.keys import Key
from events.spend import Scopes
from functions.gateway.access import may_use_route
from functions.gateway.errors import (
    KeyIsBlocked,
    KeyIsExpired,
    MasterKeyRequired,
    NotAuthenticated,
    RouteNotAllowed,
)
from functions.gateway.limits import Parties
from functions.gateway.ports import Keys
from functions.gateway.remembered_keys import RememberedKeys

_BARE_HEADERS = ("api-key", "x-api-key")  # as the Azure and Anthropic SDKs send it
PREFIX = "sk-"
LONGEST_KEY = 256
MASTER = "master"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who asks: the operator with the master key, a virtual `key`, or anyone, where the gateway is open."""

    kind: Literal["master", "virtual", "anyone"]
    key_hash: str | None = None
    key: Key | None = None
    user: User | None = None  # whose key it is
    team: Team | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The models that may be used; none: all."""
        return self.key.models if self.key else ()

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


class Keyring:
    """Knows who presents which key. Virtual keys are as the store had them a few seconds ago at most.

    `now` gives aware UTC time, `clock` monotonic seconds.
    """

    def __init__(
        self, keys: Keys, master_key: str | None, *, now: Callable[[], datetime], clock: Callable[[], float]
    ) -> None:
        self._remembered = RememberedKeys(keys, clock=clock)
        self._master_hash = None if master_key is None else hash_key(master_key)
        self._now = now

    async def authenticate(self, headers: Mapping[str, str], path: str) -> Identity:
        """Say who asks for a path. Without a master key the gateway is open to anyone.

        Accepted are `x-litellm-api-key`, `Authorization: Bearer`, `api-key` and `x-api-key`, in this order. Raises
        `NotAuthenticated`, `KeyIsBlocked`, `KeyIsExpired`, `RouteNotAllowed`, and for keys that this instance would
        have to look up, `StoreUnavailable`.
        """
        if self._master_hash is None:
            return Identity(kind="anyone")
        presented = _presented(headers)
        key_hash = hash_key(presented)
        if self.is_master(presented):
            return Identity(kind="master", key_hash=key_hash)
        key = await self._remembered.get(key_hash) if is_well_formed(presented) else None
        if key is None:
            raise NotAuthenticated("This API key is not known. Check it, or ask the operator for one.")
        check_usable(key, path, self._now())
        return Identity(kind="virtual", key_hash=key_hash, key=key)

    def is_master(self, presented: str) -> bool:
        """Say whether this is the master key."""
        return self._master_hash is not None and hmac.compare_digest(hash_key(presented), self._master_hash)

    def forget(self, key_hash: str) -> None:
        """Have a key looked up anew: it was changed here."""
        self._remembered.forget(key_hash)


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
    key = _of_scheme(headers) or next((headers[name].strip() for name in _BARE_HEADERS if headers.get(name)), "")
    if not key:
        raise NotAuthenticated("No API key was given. Send it as `Authorization: Bearer sk-…`.", code="missing_api_key")
    return key


def _of_scheme(headers: Mapping[str, str]) -> str:
    for name in ("x-litellm-api-key", "authorization"):
        scheme, _, key = headers.get(name, "").strip().partition(" ")
        if scheme.lower() == "bearer":
            return key.strip()
        if scheme and name != "authorization":
            return scheme
    return ""

"""Keys, users and teams as alerts need them: a few seconds old at most, one read for all events of a group."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from events.accounts import Team, User
from events.alerts import HolderKind
from events.keys import Key
from functions.gateway.errors import StoreUnavailable
from functions.gateway.limits import Parties
from functions.gateway.ports import Accounts, Keys

_FRESH_S = 5.0
_READ_WITHIN_S = 2.0  # folding waits for it
_MOST_REMEMBERED = 5_000
_Name = tuple[HolderKind, str]


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the store said; `until` is in the clock's seconds."""

    found: Key | User | Team | None
    until: float


class RememberedHolders:
    """Reads each key, user and team once in a few seconds. `clock` gives monotonic seconds."""

    def __init__(self, keys: Keys, accounts: Accounts, *, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._accounts = accounts
        self._clock = clock
        self._findings: dict[_Name, _Finding] = {}

    async def read(self, names: Iterable[_Name]) -> dict[_Name, Exception]:
        """Read, all at once, those that aren't remembered; gives those that could not be read, with the reason."""
        if len(self._findings) > _MOST_REMEMBERED:
            self._findings.clear()
        missing = [name for name in dict.fromkeys(names) if not self._is_fresh(name)]
        outcomes = await asyncio.gather(*(self._read(name) for name in missing), return_exceptions=True)
        failed = {name: outcome for name, outcome in zip(missing, outcomes, strict=True) if outcome is not None}
        return {name: _failure(error) for name, error in failed.items()}

    def party(self, kind: HolderKind, name: str) -> Parties:
        """Give one that was read, and nobody else; nobody where there is none."""
        finding = self._findings.get((kind, name))
        match finding and finding.found:
            case Key() as key:
                return Parties(key=key)
            case User() as user:
                return Parties(user=user)
            case Team() as team:
                return Parties(team=team)
            case _:
                return Parties(end_user=name if kind == "end_user" else None)

    async def with_owners(self, party: Parties) -> Parties:
        """Add a key's user and team, as far as they can be read: what is missing costs an alert a name."""
        key = party.key
        if key is None:
            return party
        named: tuple[tuple[HolderKind, str | None], ...] = (("user", key.user_id), ("team", key.team_id))
        owners: list[_Name] = [(kind, name) for kind, name in named if name is not None]
        await self.read(owners)
        found = [self.party(*owner) for owner in owners]
        user = next((party.user for party in found if party.user), None)
        team = next((party.team for party in found if party.team), None)
        return Parties(key=key, user=user, team=team)

    def _is_fresh(self, name: _Name) -> bool:
        finding = self._findings.get(name)
        return finding is not None and finding.until > self._clock()

    async def _read(self, name: _Name) -> None:
        kind, holder_id = name
        started = self._clock()
        async with asyncio.timeout(_READ_WITHIN_S):
            match kind:
                case "key":
                    found = await self._keys.by_id(holder_id)
                case "user" | "team":
                    found = await self._accounts.get(kind, holder_id)
                case "end_user":
                    found = None  # nothing is kept of them
        self._findings[name] = _Finding(found, started + _FRESH_S)


def _failure(error: BaseException) -> Exception:
    """Give what a read ended with; one that took too long, as the store's own failure."""
    if isinstance(error, TimeoutError):
        return StoreUnavailable("Whose budget this is could not be read in time. Try again shortly.")
    if not isinstance(error, Exception):
        raise error
    return error

"""What an operator does with users and teams. Each change is in the ledger, with its actor, before its answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from events.accounts import Account, AccountEvent, AccountKind, Member, id_of, kind_of, members_of, subject_of
from events.keys import Key
from functions.gateway import account_changes
from functions.gateway.account_changes import Asked
from functions.gateway.account_shapes import KEY_FIELDS
from functions.gateway.errors import AccountConflict, AccountNotFound, BadRequest, GatewayError
from functions.gateway.key_administration import KeyAdministration, ShownKey, of_account
from functions.gateway.keys import Keyring
from functions.gateway.ports import AccountChangedMeanwhile, AccountPage, AccountQuery, Accounts

_TRIES = 40  # of as many changes at once, one succeeds each time
_MOST_KEYS_SHOWN = 1000
_MOST_TEAMS_SHOWN = 1000
_MOST_MEMBERS = 1000  # what fits into an event


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user, and the key that was made with them."""

    user: Account
    key: ShownKey | None


class AccountAdministration:
    """Makes, changes and finds users and teams. `now` gives aware UTC time, `new_id` an id that nobody has."""

    def __init__(
        self,
        accounts: Accounts,
        keys: KeyAdministration,
        keyring: Keyring,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._accounts = accounts
        self._keys = keys
        self._keyring = keyring
        self._now = now
        self._new_id = new_id

    async def create(self, kind: AccountKind, asked: Asked, actor: str) -> Account:
        """Make a user or a team. Raises `BadRequest` where there is one of this id, `AccountConflict`."""
        account_id: str = asked.get(f"{kind}_id") or self._new_id()
        for _ in range(_TRIES):
            version = await self._accounts.next_version(kind, account_id)
            if await self._accounts.get(kind, account_id) is not None:  # asked after: one made since has that version
                raise _exists(kind, account_id)
            event = account_changes.created(kind, account_id, version, asked, actor, self._now())
            if await self._is_committed([event]):
                return event.after
        raise AccountConflict(kind)

    async def create_user(self, asked: Asked, actor: str) -> NewUser:
        """Make a user, and unless that isn't wanted a key of theirs; where the key is refused, so is the user.

        Raises what `create` and `KeyAdministration.generate` do. Where the store fails in between, the user is there.
        """
        user = await self.create("user", asked, actor)
        if asked.get("auto_create_key") is False:
            return NewUser(user, None)
        settings = {name: asked[name] for name in KEY_FIELDS if name in asked}
        try:
            key = await self._keys.generate({**settings, "user_id": id_of(user)}, actor)
        except BadRequest:
            await self._is_committed([account_changes.deleted(user, actor, self._now())])
            raise
        return NewUser(user, key)

    async def update(self, kind: AccountKind, asked: Asked, actor: str) -> Account:
        """Change the settings of a user or a team. Raises `AccountNotFound`, `AccountConflict`."""
        settings = account_changes.settings_of(kind, asked)
        return await self._change(kind, asked[f"{kind}_id"], actor, lambda _: settings)

    async def block(self, kind: AccountKind, account_id: str, actor: str, *, is_blocked: bool) -> Account:
        """Block a user or a team, or no longer. Raises `AccountNotFound`, `AccountConflict`."""
        return await self._change(kind, account_id, actor, lambda _: {"blocked": is_blocked})

    async def add_members(self, team_id: str, members: tuple[Member, ...], actor: str) -> Account:
        """Have users be members of a team, all of them or none. Raises `BadRequest`, `AccountNotFound`."""

        def decide(team: Account) -> Mapping[str, Any]:
            _check_new_members(team, members)
            return account_changes.with_members(team, members)

        return await self._change("team", team_id, actor, decide)

    async def remove_member(self, team_id: str, user_id: str, actor: str) -> Account:
        """Have a user be no member of a team any more. Raises `BadRequest`, `AccountNotFound`."""

        def decide(team: Account) -> Mapping[str, Any]:
            if user_id not in {member.user_id for member in members_of(team)}:
                raise BadRequest(f"user_id: {user_id!r} is no member of the team.", param="user_id", code="no_member")
            return account_changes.without_member(team, user_id)

        return await self._change("team", team_id, actor, decide)

    async def delete(self, kind: AccountKind, account_ids: Sequence[str], actor: str) -> None:
        """Delete users or teams, all of them or none, and first their keys.

        As none goes before its keys, no key is ever free of limits because of it; where this breaks off, asking again
        goes on with it. Raises `AccountNotFound` before anything is changed, `AccountConflict`, `KeyConflict`.
        """
        for _ in range(_TRIES):
            found = [await self.find(kind, name, param=f"{kind}_ids") for name in dict.fromkeys(account_ids)]
            for account in found:
                await self._keys.delete_of(kind, id_of(account), actor)
            if await self._is_committed([account_changes.deleted(one, actor, self._now()) for one in found]):
                return
        raise AccountConflict(kind, f"no {kind} was deleted, but keys may have been")

    async def find(self, kind: AccountKind, account_id: str, *, param: str | None = None) -> Account:
        """Give a user or a team. Raises `AccountNotFound`."""
        account = await self._accounts.get(kind, account_id)
        if account is None:
            raise AccountNotFound(kind, account_id, param=param or f"{kind}_id")
        return account

    async def page(self, kind: AccountKind, query: AccountQuery) -> AccountPage:
        """Give some users or teams."""
        return await self._accounts.page(kind, query)

    async def keys_of(self, account: Account) -> tuple[Key, ...]:
        """Give the keys of a user or a team, the newest first, a thousand at most."""
        query = of_account(kind_of(account), id_of(account), limit=_MOST_KEYS_SHOWN)
        return (await self._keys.page(query)).keys

    async def teams_of(self, user_id: str) -> tuple[Account, ...]:
        """Give the teams of which a user is a member, the newest first, a thousand at most."""
        return (await self._accounts.page("team", AccountQuery(member=user_id, limit=_MOST_TEAMS_SHOWN))).accounts

    async def _change(
        self, kind: AccountKind, account_id: str, actor: str, decide: Callable[[Account], Mapping[str, Any]]
    ) -> Account:
        """Change the fields that `decide` says; it is asked again where somebody else's change came first."""
        for _ in range(_TRIES):
            before = await self.find(kind, account_id)
            event = account_changes.updated(before, decide(before), actor, self._now())
            if event is None:
                return before
            if await self._is_committed([event]):
                return event.after
        raise AccountConflict(kind)

    async def _is_committed(self, events: Sequence[AccountEvent]) -> bool:
        """Commit the events, and say whether that was done: somebody else's change may have come first."""
        try:
            await self._accounts.commit(events)
        except AccountChangedMeanwhile:
            return False
        finally:
            for subject in map(subject_of, events):
                self._keyring.forget_account(kind_of(subject), id_of(subject))
        return True


def _check_new_members(team: Account, members: tuple[Member, ...]) -> None:
    known = {member.user_id for member in members_of(team)}
    if again := [member.user_id for member in members if member.user_id in known]:
        raise BadRequest(f"member: {again[0]!r} is a member already.", param="member", code="member_exists")
    if len(known) + len(members) > _MOST_MEMBERS:
        raise BadRequest(f"member: a team has {_MOST_MEMBERS} members at most.", param="member")


def _exists(kind: AccountKind, account_id: str) -> GatewayError:
    param = f"{kind}_id"
    message = f"{param}: there is a {kind} {account_id!r}. Choose another id, or change it with /{kind}/update."
    return BadRequest(message, param=param, code=f"{kind}_exists")

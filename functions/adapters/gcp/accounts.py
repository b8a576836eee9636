"""Users and teams, in Firestore.

`users/{user:id}` and `teams/{team:id}` hold `{version, record, created_at, account_id, alias, members}` with the user
or team, encoded; one that is gone leaves only its version, and made again goes on from there. That `events/{event_id}`
can be created but once is what makes one change follow another.
"""

# Google's libraries leave parts of their types open.
# pyright: reportUnknownMemberType=false

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.api_core.exceptions import AlreadyExists
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.query import Query

from events.accounts import (
    Account,
    AccountEvent,
    AccountKind,
    account_after,
    alias_of,
    id_of,
    kind_of,
    members_of,
    subject_of,
    version_of,
)
from events.budget import budget_id_of
from events.codec import decode_account, encode_account
from functions.adapters.gcp.failures import CALL_S, RETRY, store_failures
from functions.adapters.gcp.firestore import event_document
from functions.gateway.ports import AccountChangedMeanwhile, AccountPage, AccountQuery


class FirestoreAccounts:
    """`Accounts`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._events = client.collection("events")
        self._accounts = {"user": client.collection("users"), "team": client.collection("teams")}

    async def get(self, kind: AccountKind, account_id: str) -> Account | None:
        """Give the user or team."""
        return _account(kind, await self._read(kind, account_id))

    async def next_version(self, kind: AccountKind, account_id: str) -> int:
        """Give what follows the last version."""
        return (await self._read(kind, account_id)).get("version", 0) + 1

    async def named(self, kind: AccountKind, account_ids: Sequence[str]) -> Mapping[str, Account]:
        """Look them up together."""
        references = [self._document(kind, account_id) for account_id in account_ids]
        with store_failures():
            found = self._client.get_all(references, retry=RETRY, timeout=CALL_S)
            accounts = _found(kind, [snapshot async for snapshot in found if snapshot.exists])
        return {id_of(account): account for account in accounts}

    async def page(self, kind: AccountKind, query: AccountQuery) -> AccountPage:
        """Give some users or teams.

        Those of a filter are put in order here: Firestore would want an index for each combination of filters.
        """
        filters = list(_filters(query))
        return await (self._filtered(kind, query, filters) if filters else self._all(kind, query))

    async def commit(self, events: Sequence[AccountEvent]) -> None:
        """Append and write, or nothing."""
        batch = self._client.batch()
        for event in events:
            batch.create(self._events.document(event.event_id), event_document(event))
            subject = subject_of(event)
            batch.set(self._document(kind_of(subject), id_of(subject)), _document_after(event))
        try:
            with store_failures():
                await batch.commit(retry=RETRY, timeout=CALL_S)
        except AlreadyExists as error:
            if not await self._are_recorded(events):  # they are where it was a commit whose answer was lost
                raise AccountChangedMeanwhile from error

    async def restore(self, kind: AccountKind, account_id: str, last: AccountEvent | None) -> None:
        """Replace the document."""
        document = self._document(kind, account_id)
        with store_failures():
            if last is None:
                await document.delete(retry=RETRY, timeout=CALL_S)
            else:
                await document.set(_document_after(last), retry=RETRY, timeout=CALL_S)

    async def _read(self, kind: AccountKind, account_id: str) -> dict[str, Any]:
        with store_failures():
            snapshot = await self._document(kind, account_id).get(retry=RETRY, timeout=CALL_S)
        return snapshot.to_dict() or {}

    def _document(self, kind: AccountKind, account_id: str) -> AsyncDocumentReference:
        return self._accounts[kind].document(budget_id_of(kind, account_id))

    async def _are_recorded(self, events: Sequence[AccountEvent]) -> bool:
        references = [self._events.document(event.event_id) for event in events]
        with store_failures():
            found = self._client.get_all(references, retry=RETRY, timeout=CALL_S)
            recorded = {snapshot.id: snapshot.get("event") async for snapshot in found if snapshot.exists}
        return recorded == {event.event_id: event_document(event)["event"] for event in events}

    async def _filtered(self, kind: AccountKind, query: AccountQuery, filters: Sequence[FieldFilter]) -> AccountPage:
        found: Any = self._accounts[kind]
        for one in filters:
            found = found.where(filter=one)
        with store_failures():
            snapshots = await found.get(retry=RETRY, timeout=CALL_S)
        accounts = sorted(_found(kind, snapshots), key=lambda one: (one.created_at, id_of(one)), reverse=True)
        return AccountPage(accounts=tuple(accounts[query.offset : query.offset + query.limit]), total=len(accounts))

    async def _all(self, kind: AccountKind, query: AccountQuery) -> AccountPage:
        newest_first = Query.DESCENDING
        found: Any = self._accounts[kind].order_by(
            "created_at", direction=newest_first
        )  # those that are gone have none
        with store_failures():
            counted = await found.count().get(retry=RETRY, timeout=CALL_S)
            snapshots = await found.offset(query.offset).limit(query.limit).get(retry=RETRY, timeout=CALL_S)
        return AccountPage(accounts=tuple(_found(kind, snapshots)), total=int(counted[0][0].value))


def _filters(query: AccountQuery) -> Iterable[FieldFilter]:
    if query.ids is not None:
        yield FieldFilter("account_id", "in", list(query.ids))
    if query.alias is not None:
        yield FieldFilter("alias", "==", query.alias)
    if query.member is not None:
        yield FieldFilter("members", "array_contains", query.member)


def _document_after(event: AccountEvent) -> dict[str, Any]:
    after = account_after(event)
    if after is None:
        return {"version": version_of(event)}
    return {
        "version": after.version,
        "record": encode_account(after).decode(),
        "created_at": after.created_at,
        "account_id": id_of(after),
        "alias": alias_of(after),
        "members": [member.user_id for member in members_of(after)],
    }


def _found(kind: AccountKind, snapshots: Iterable[Any]) -> list[Account]:
    return [account for snapshot in snapshots if (account := _account(kind, snapshot.to_dict()))]


def _account(kind: AccountKind, document: Mapping[str, Any]) -> Account | None:
    return decode_account(kind, document["record"].encode()) if "record" in document else None

"""Virtual keys, in Firestore.

`keys/{key_hash}` holds `{record, created_at, expires_at, key_id, key_hash, key_alias, user_id, team_id}` with the
encoded key; one that is gone leaves an empty document, and is never a key again. `key_aliases/{hash of the alias}` is
empty: that it can be created but once is what makes an alias unique, as `events/{event_id}` is what makes one change
follow another.
"""

# Google's libraries leave parts of their types open.
# pyright: reportUnknownMemberType=false

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from google.api_core.exceptions import AlreadyExists
from google.cloud.firestore_v1.async_batch import AsyncWriteBatch
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.field_path import FieldPath
from google.cloud.firestore_v1.query import Query

from events.codec import decode_key, encode_key
from events.keys import Key, KeyEvent, is_renewed, key_after, key_before
from functions.adapters.gcp.failures import CALL_S, RETRY, store_failures
from functions.adapters.gcp.firestore import event_document
from functions.gateway.ports import AliasTaken, KeyChangedMeanwhile, KeyPage, KeyQuery, KeyTaken

_PAGE = 300
_FILTERS = ("key_hash", "key_alias", "user_id", "team_id")


class FirestoreKeys:
    """`Keys`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._events = client.collection("events")
        self._keys = client.collection("keys")
        self._aliases = client.collection("key_aliases")

    async def get(self, key_hash: str) -> Key | None:
        """Give the key."""
        with store_failures():
            snapshot = await self._keys.document(key_hash).get(retry=RETRY, timeout=CALL_S)
        return _key(snapshot.to_dict())

    async def by_id(self, key_id: str) -> Key | None:
        """Give the key: it mostly has its first hash still, and else there is an index of ids."""
        if (key := await self.get(key_id)) and key.key_id == key_id:
            return key
        with store_failures():
            query = self._keys.where(filter=FieldFilter("key_id", "==", key_id)).limit(1)
            found = _keys(await query.get(retry=RETRY, timeout=CALL_S))
        return found[0] if found else None

    async def expiring(self, after: datetime, before: datetime) -> Sequence[Key]:
        """Give those that the index of expiries has in between."""
        query = self._keys.where(filter=FieldFilter("expires_at", ">", after))
        with store_failures():
            found = query.where(filter=FieldFilter("expires_at", "<=", before))
            return _keys(await found.get(retry=RETRY, timeout=CALL_S))

    async def page(self, query: KeyQuery) -> KeyPage:
        """Give some keys.

        Those of a filter are put in order here: Firestore would want an index for each combination of filters.
        """
        wanted = {name: getattr(query, name) for name in _FILTERS if getattr(query, name) is not None}
        return await (self._filtered(query, wanted) if wanted else self._all(query))

    async def all(self) -> AsyncIterator[Key]:
        """Give every key, a page at a time."""
        query: Any = self._keys.order_by(FieldPath.document_id()).limit(_PAGE)
        page: list[Any] | None = None
        while page is None or page:
            with store_failures():
                after = query.start_after(page[-1]) if page else query
                page = await after.get(retry=RETRY, timeout=CALL_S)
            for key in _keys(page or ()):
                yield key

    async def commit(self, events: Sequence[KeyEvent]) -> None:
        """Append and write, or nothing."""
        batch = self._client.batch()
        for event in events:
            batch.create(self._events.document(event.event_id), event_document(event))
            self._write(batch, key_before(event), key_after(event))
        try:
            with store_failures():
                await batch.commit(retry=RETRY, timeout=CALL_S)
        except AlreadyExists as error:
            await self._refuse(events, error)

    async def restore(self, before: Key | None, after: Key | None) -> None:
        """Replace the document, and the aliases with it: but one that another key has been restored with is its own."""
        batch = self._client.batch()
        if before and before.key_alias and not await self._is_of_another(before.key_alias, before):
            batch.delete(self._aliases.document(_alias_id(before.key_alias)))
        if after and after.key_alias:
            batch.set(self._aliases.document(_alias_id(after.key_alias)), {})
        if either := after or before:
            batch.set(self._keys.document(either.key_hash), _document(after) if after else {})
        with store_failures():
            await batch.commit(retry=RETRY, timeout=CALL_S)

    async def _is_of_another(self, alias: str, key: Key) -> bool:
        with store_failures():
            query = self._keys.where(filter=FieldFilter("key_alias", "==", alias)).limit(2)
            found = await query.get(retry=RETRY, timeout=CALL_S)
        return any(snapshot.id != key.key_hash for snapshot in found)

    def _write(self, batch: AsyncWriteBatch, before: Key | None, after: Key | None) -> None:
        if before and (after is None or is_renewed(before, after)):
            batch.set(self._keys.document(before.key_hash), {})
        if after and before and not is_renewed(before, after):
            batch.set(self._keys.document(after.key_hash), _document(after))
        elif after:
            batch.create(self._keys.document(after.key_hash), _document(after))
        old, new = before and before.key_alias, after and after.key_alias
        if old and old != new:
            batch.delete(self._aliases.document(_alias_id(old)))
        if new and old != new:
            batch.create(self._aliases.document(_alias_id(new)), {})

    async def _refuse(self, events: Sequence[KeyEvent], error: AlreadyExists) -> None:
        """Find out why the commit was refused; nothing is wrong where it was one whose answer was lost."""
        recorded = await self._recorded(events)
        if recorded == {event.event_id: event_document(event)["event"] for event in events}:
            return
        if recorded:
            raise KeyChangedMeanwhile from error
        raise (KeyTaken if await self._has_any(_new_hashes(events)) else AliasTaken) from error

    async def _has_any(self, key_hashes: Sequence[str]) -> bool:
        references = [self._keys.document(key_hash) for key_hash in key_hashes]
        with store_failures():
            found = self._client.get_all(references, retry=RETRY, timeout=CALL_S)
            return any([snapshot.exists async for snapshot in found])

    async def _recorded(self, events: Sequence[KeyEvent]) -> dict[str, str]:
        references = [self._events.document(event.event_id) for event in events]
        with store_failures():
            found = self._client.get_all(references, retry=RETRY, timeout=CALL_S)
            return {snapshot.id: snapshot.get("event") async for snapshot in found if snapshot.exists}

    async def _filtered(self, query: KeyQuery, wanted: Mapping[str, str]) -> KeyPage:
        found: Any = self._keys
        for name, value in wanted.items():
            found = found.where(filter=FieldFilter(name, "==", value))
        with store_failures():
            snapshots = await found.get(retry=RETRY, timeout=CALL_S)
        keys = sorted(_keys(snapshots), key=lambda key: (key.created_at, key.key_hash), reverse=True)
        return KeyPage(keys=tuple(keys[query.offset : query.offset + query.limit]), total=len(keys))

    async def _all(self, query: KeyQuery) -> KeyPage:
        found: Any = self._keys.order_by(
            "created_at", direction=Query.DESCENDING
        )  # which those that are gone don't have
        with store_failures():
            counted = await found.count().get(retry=RETRY, timeout=CALL_S)
            snapshots = await found.offset(query.offset).limit(query.limit).get(retry=RETRY, timeout=CALL_S)
        return KeyPage(keys=tuple(_keys(snapshots)), total=int(counted[0][0].value))


def _document(key: Key) -> dict[str, Any]:
    return {
        "record": encode_key(key).decode(),
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "key_id": key.key_id,
        **{name: getattr(key, name) for name in _FILTERS},
    }


def _keys(snapshots: Iterable[Any]) -> list[Key]:
    return [key for snapshot in snapshots if (key := _key(snapshot.to_dict()))]


def _key(document: Mapping[str, Any] | None) -> Key | None:
    return decode_key(document["record"].encode()) if document else None


def _new_hashes(events: Sequence[KeyEvent]) -> list[str]:
    changes = [(key_before(event), key_after(event)) for event in events]
    return [after.key_hash for before, after in changes if after and (before is None or is_renewed(before, after))]


def _alias_id(alias: str) -> str:
    return hashlib.sha256(alias.encode()).hexdigest()

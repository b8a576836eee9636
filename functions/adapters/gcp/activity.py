"""What was asked and spent, in Firestore.

`activity/{hash of the slot}` holds the slot, its sums, and the fields that are searched: `slot` is `dimension|period`,
and of cells `by_key`, `by_user`, `by_team` are `name|period`. Of a request, `events/{event_id}` holds beside the event
what it is listed by; those of other events have no `answered_at`, which keeps them out of the lists. The indexes that a
project needs are in `infra/firestore.indexes.json`.
"""

# Google's libraries leave parts of their types open.
# pyright: reportUnknownMemberType=false

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any, cast

from google.cloud.firestore_v1 import Increment
from google.cloud.firestore_v1.async_batch import AsyncWriteBatch
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.field_path import FieldPath
from google.cloud.firestore_v1.query import Query

from events.activity import (
    ALL_TIME,
    SUM_NAMES,
    ZERO,
    Completion,
    Dimension,
    Slot,
    Sums,
    cell_named,
    cell_of,
    response_id_of,
    status_of,
    sums_of,
)
from events.codec import decode, decode_key
from events.keys import Key
from functions.adapters.gcp.failures import CALL_S, RETRY, store_failures
from functions.gateway.ports import CellQuery, SpendPage, SpendQuery

_LISTED_BY = ("key", "user", "team", "end_user", "model", "alias", "provider", "status")
_PAGE = 300
_MOST_AT_ONCE = 30  # values of one `in`


class FirestoreActivity:
    """`Activity`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._activity = client.collection("activity")
        self._events = client.collection("events")
        self._keys = client.collection("keys")

    async def named(self, period: str, dimension: Dimension, names: Sequence[str]) -> Mapping[str, Sums]:
        """Give the sums of some names."""
        references = [self._activity.document(_document_id(Slot(period, dimension, name))) for name in names]
        with store_failures():
            found = self._client.get_all(references, retry=RETRY, timeout=CALL_S)
            documents = [snapshot.to_dict() async for snapshot in found if snapshot.exists]
        return {slot.name: sums for slot, sums in map(_stored, documents)}

    async def highest(self, dimension: Dimension, *, offset: int, limit: int) -> Sequence[tuple[str, Sums]]:
        """Give names, the highest spend first."""
        query: Any = self._activity.where(filter=FieldFilter("slot", "==", f"{dimension}|{ALL_TIME}"))
        query = query.order_by("spend", direction=Query.DESCENDING)
        return [(slot.name, sums) for slot, sums in await self._sums(query.offset(offset).limit(limit))]

    async def daily(self, dimension: Dimension, first: str, last: str, *, limit: int) -> Sequence[tuple[Slot, Sums]]:
        """Give every day's sums."""
        return await self._sums(self._between("slot", dimension, first, last).limit(limit))

    async def cells(self, query: CellQuery, *, limit: int) -> Sequence[tuple[Slot, Sums]]:
        """Give the days' cells: those of one of the holders that are asked for, and of these, those of the others."""
        given = {name: value for name in ("key", "user", "team") if (value := getattr(query, name)) is not None}
        if not given:
            return await self.daily("cell", query.first, query.last, limit=limit)
        name, value = next(iter(given.items()))
        found = await self._sums(self._between(f"by_{name}", value, query.first, query.last).limit(limit))
        return [(slot, sums) for slot, sums in found if given.items() <= asdict(cell_named(slot.name)).items()]

    async def page(self, query: SpendQuery) -> SpendPage:
        """List requests."""
        found = self._listed(query)
        with store_failures():
            counted = await found.count().get(retry=RETRY, timeout=CALL_S)
            snapshots = await found.offset(query.offset).limit(query.limit).get(retry=RETRY, timeout=CALL_S)
        requests = tuple(cast("Completion", decode(snapshot.get("event").encode())) for snapshot in snapshots)
        return SpendPage(requests=requests, total=int(counted[0][0].value))

    async def keys(self, key_ids: Sequence[str]) -> Mapping[str, Key]:
        """Give keys by their first hashes: a key that was never replaced has that for its document's name."""
        references = [self._keys.document(key_id) for key_id in key_ids]
        with store_failures():
            found = self._client.get_all(references, retry=RETRY, timeout=CALL_S)
            keys = _by_id([snapshot async for snapshot in found])
        replaced = [key_id for key_id in key_ids if key_id not in keys]
        for start in range(0, len(replaced), _MOST_AT_ONCE):
            some = replaced[start : start + _MOST_AT_ONCE]
            query = self._keys.where(filter=FieldFilter("key_id", "in", some))
            keys |= _by_id(await self._get(query))
        return keys

    async def stored(self) -> AsyncIterator[tuple[Slot, Sums]]:
        """Give every sum, a page at a time."""
        query = self._activity.order_by(FieldPath.document_id()).limit(_PAGE)
        page = await self._get(query)
        while page:
            for snapshot in page:
                yield _stored(snapshot.to_dict())
            page = await self._get(query.start_after(page[-1]))

    async def put(self, sums: Mapping[Slot, Sums]) -> None:
        """Replace sums; those of nothing go."""
        slots = list(sums)
        for start in range(0, len(slots), _PAGE):
            batch = self._client.batch()
            for slot in slots[start : start + _PAGE]:
                reference = self._activity.document(_document_id(slot))
                if sums[slot] == ZERO:
                    batch.delete(reference)
                else:
                    batch.set(reference, _slot_fields(slot) | asdict(sums[slot]))
            with store_failures():
                await batch.commit(retry=RETRY, timeout=CALL_S)

    async def unlisted(self, requests: Sequence[Completion]) -> Sequence[Completion]:
        """Give the requests whose documents lack what they are listed by."""
        references = [self._events.document(request.event_id) for request in requests]
        with store_failures():
            found = self._client.get_all(references, field_paths=["answered_at"], retry=RETRY, timeout=CALL_S)
            listed = {snapshot.id async for snapshot in found if "answered_at" in (snapshot.to_dict() or {})}
        return [request for request in requests if request.event_id not in listed]

    async def enlist(self, requests: Sequence[Completion]) -> None:
        """Put in the requests' documents what they are listed by."""
        batch = self._client.batch()
        for request in requests:
            batch.set(self._events.document(request.event_id), listing(request), merge=True)
        with store_failures():
            await batch.commit(retry=RETRY, timeout=CALL_S)

    def _between(self, field: str, name: str, first: str, last: str) -> Any:
        query: Any = self._activity.where(filter=FieldFilter(field, ">=", f"{name}|{first}"))
        return query.where(filter=FieldFilter(field, "<=", f"{name}|{last}")).order_by(field)

    def _listed(self, query: SpendQuery) -> Any:
        found: Any = self._events
        for name in _LISTED_BY:
            if (value := getattr(query, name)) is not None:
                found = found.where(filter=FieldFilter(name, "==", value))
        if query.name is not None:
            found = found.where(filter=FieldFilter("names", "array_contains", query.name))
        if query.since is not None:
            found = found.where(filter=FieldFilter("answered_at", ">=", query.since))
        if query.until is not None:
            found = found.where(filter=FieldFilter("answered_at", "<", query.until))
        return found.order_by("answered_at", direction=Query.DESCENDING)

    async def _sums(self, query: Any) -> list[tuple[Slot, Sums]]:
        return [_stored(snapshot.to_dict()) for snapshot in await self._get(query)]

    async def _get(self, query: Any) -> list[Any]:
        with store_failures():
            return await query.get(retry=RETRY, timeout=CALL_S)


def grow(client: AsyncClient, batch: AsyncWriteBatch, sums: Mapping[Slot, Sums]) -> None:
    """Add to the sums, with the rest of a commit."""
    collection = client.collection("activity")
    for slot, added in sums.items():
        increments = {name: Increment(by) for name, by in asdict(added).items()}
        batch.set(collection.document(_document_id(slot)), _slot_fields(slot) | increments, merge=True)


def listing(event: Completion) -> dict[str, Any]:
    """Give what a request is listed by, beside the event itself."""
    cell = asdict(cell_of(event))
    return {
        **{name: value or None for name, value in cell.items()},
        "status": status_of(event),
        "names": [response_id_of(event), event.request_id],
        "answered_at": event.time,
    }


def _document_id(slot: Slot) -> str:
    """Name a slot's document: a name that somebody chose may be none of a document."""
    return hashlib.sha256(json.dumps(astuple(slot)).encode()).hexdigest()


def _slot_fields(slot: Slot) -> dict[str, Any]:
    fields = {**asdict(slot), "slot": f"{slot.dimension}|{slot.period}"}
    if slot.dimension == "cell":
        cell = cell_named(slot.name)
        holders = {"by_key": cell.key, "by_user": cell.user, "by_team": cell.team}
        fields |= {field: f"{name}|{slot.period}" for field, name in holders.items() if name}
    return fields


def _stored(document: dict[str, Any] | None) -> tuple[Slot, Sums]:
    fields = document or {}
    sums = sums_of(int(fields.get(name, 0)) for name in SUM_NAMES)
    return Slot(fields["period"], fields["dimension"], fields["name"]), sums


def _by_id(snapshots: Sequence[Any]) -> dict[str, Key]:
    documents = [snapshot.to_dict() for snapshot in snapshots]
    keys = [decode_key(document["record"].encode()) for document in documents if document]
    return {key.key_id: key for key in keys}

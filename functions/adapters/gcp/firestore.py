"""The ledger and what is folded from it, in Firestore.

`events/{event_id}` holds `{type, time, event}` with the encoded event, and of a request what it is listed by;
`counters/{counter}` holds `{spent, crossed, announced}`, `delivered_alerts/{event_id}` is empty.
"""

# Google's libraries leave parts of their types open.
# pyright: reportUnknownMemberType=false

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from google.api_core.exceptions import AlreadyExists
from google.cloud.firestore_v1 import ArrayUnion, Increment
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.field_path import FieldPath

from events.activity import activity, is_completion
from events.alerts import Mark
from events.budget import BudgetWindow
from events.codec import Event, decode, encode
from events.money import NanoUsd
from functions.adapters.gcp.activity import grow, listing
from functions.adapters.gcp.failures import CALL_S, RETRY, store_failures
from functions.gateway.ports import AlreadyRecorded

_PAGE = 300


class FirestoreLedger:
    """`Ledger`: each event is created under its id, so a second creation fails its whole commit.

    A commit whose answer was lost is repeated by the client and fails in the same way: nothing counts twice.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._events = client.collection("events")
        self._counters = client.collection("counters")

    async def commit(self, events: Sequence[Event], increments: Mapping[str, int]) -> dict[str, int]:
        """Append and grow, or nothing; the totals come with the commit's own answer."""
        batch = self._client.batch()
        for event in events:
            batch.create(self._events.document(event.event_id), event_document(event))
        for counter, by in increments.items():
            batch.set(self._counters.document(counter), {"spent": Increment(by)}, merge=True)
        grow(self._client, batch, activity(events))
        try:
            with store_failures():
                results = await batch.commit(retry=RETRY, timeout=CALL_S)
        except AlreadyExists as error:
            raise AlreadyRecorded(await self.known([event.event_id for event in events])) from error
        counted = results[len(events) : len(events) + len(increments)]
        totals = [result.transform_results[0].integer_value for result in counted]
        return dict(zip(increments, totals, strict=True))

    async def known(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Look them up together."""
        references = [self._events.document(event_id) for event_id in event_ids]
        with store_failures():
            found = self._client.get_all(references, field_paths=["type"], retry=RETRY, timeout=CALL_S)
            return frozenset([snapshot.id async for snapshot in found if snapshot.exists])

    async def replay(self) -> AsyncIterator[Event]:
        """Give every event in the order of its id, a page at a time."""
        query = self._events.order_by(FieldPath.document_id()).limit(_PAGE)
        page = await self._page(query)
        while page:
            for snapshot in page:
                yield decode(snapshot.get("event").encode())
            page = await self._page(query.start_after(page[-1]))

    async def _page(self, query: Any) -> list[Any]:
        with store_failures():
            return await query.get(retry=RETRY, timeout=CALL_S)


class FirestoreCounters:
    """`Counters`."""

    def __init__(self, client: AsyncClient) -> None:
        self._counters = client.collection("counters")

    async def read(self, counter: str) -> BudgetWindow:
        """Give the counter and its marks."""
        with store_failures():
            snapshot = await self._counters.document(counter).get(retry=RETRY, timeout=CALL_S)
        state: dict[str, Any] = snapshot.to_dict() or {}
        return BudgetWindow(
            NanoUsd(state.get("spent", 0)),
            frozenset(state.get("crossed", ())),
            frozenset(state.get("announced", ())),
        )

    async def mark_announced(self, counter: str, marks: Sequence[Mark]) -> None:
        """Remember announced alerts."""
        crossed = [mark for mark in marks if isinstance(mark, int)]
        announced = [mark for mark in marks if not isinstance(mark, int)]
        fields = {"crossed": crossed, "announced": announced}
        await self._set(counter, {name: ArrayUnion(added) for name, added in fields.items() if added})

    async def set_spent(self, counter: str, spent: NanoUsd) -> None:
        """Replace the counter."""
        await self._set(counter, {"spent": int(spent)})

    async def all(self) -> AsyncIterator[tuple[str, NanoUsd]]:
        """Give every counter, a page at a time."""
        query = self._counters.order_by(FieldPath.document_id()).limit(_PAGE)
        page = await self._page(query)
        while page:
            for snapshot in page:
                yield snapshot.id, NanoUsd(snapshot.to_dict().get("spent", 0))
            page = await self._page(query.start_after(page[-1]))

    async def _page(self, query: Any) -> list[Any]:
        with store_failures():
            return await query.get(retry=RETRY, timeout=CALL_S)

    async def _set(self, counter: str, fields: Mapping[str, Any]) -> None:
        with store_failures():
            await self._counters.document(counter).set(dict(fields), merge=True, retry=RETRY, timeout=CALL_S)


class FirestoreDeliveredAlerts:
    """`DeliveredAlerts`."""

    def __init__(self, client: AsyncClient) -> None:
        self._alerts = client.collection("delivered_alerts")

    async def has(self, event_id: str) -> bool:
        """Say whether the alert was delivered."""
        with store_failures():
            return (await self._alerts.document(event_id).get(retry=RETRY, timeout=CALL_S)).exists

    async def add(self, event_id: str) -> None:
        """Remember it."""
        with store_failures():
            await self._alerts.document(event_id).set({}, retry=RETRY, timeout=CALL_S)


def event_document(event: Event) -> dict[str, Any]:
    """Give what is kept of an event, under its id."""
    listed = listing(event) if is_completion(event) else {}
    return {"type": event.type, "time": event.time, "event": encode(event).decode(), **listed}

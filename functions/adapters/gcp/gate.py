"""What is handed out of each budget, in Firestore.

`gates/{counter}` holds `{admitted, expires_at}` and is only ever incremented: it is the hot one.
`allowances/{allowance_id}` holds `{granted, settled_by, returned, watched, watched_since, expires_at}`, and `due`,
which is `settled_by` until its rest is given back, and `swept_from`, which is `expires_at` from then on: one index each
finds those that are late, and those to forget. One that lapses with its window has no `due`, and its `swept_from` from
the first. So TTL policies on `allowances.swept_from` and on `gates.expires_at` would forget what `sweep` forgets.
Each write to an allowance depends on what it was before, so that a commit that is repeated, or comes second, fails and
changes no `admitted`.
"""

# Google's libraries leave parts of their types open.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.cloud.firestore_v1 import Increment
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.field_path import FieldPath

from events.allowance import Allowance, granted_of
from events.money import NanoUsd
from functions.adapters.gcp.failures import CALL_S, RETRY, store_failures
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import Grant

_ATTEMPTS = 5
_WRITES = 400  # in one commit


class FirestoreGate:
    """`Gate`. Between an increment and its correction `admitted` may be over the limit, though nobody may spend that.

    An instance that dies in between leaves an allowance that was never used, which is reconciled like any other.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._gates = client.collection("gates")
        self._allowances = client.collection("allowances")
        self._counters = client.collection("counters")

    async def take(self, asked: Allowance, *, limit: NanoUsd, gate_expires_at: datetime | None = None) -> Grant:
        """Add all of it, and take off again what is over the limit."""
        batch = self._client.batch()
        batch.create(self._allowances.document(asked.allowance_id), _document(asked))
        self._admit(batch, asked.counter, asked.granted, gate_expires_at)
        try:
            with store_failures():
                results = await batch.commit(retry=RETRY, timeout=CALL_S)
        except AlreadyExists:
            return await self._taken(asked, limit)
        total: int = results[1].transform_results[0].integer_value
        if total <= limit:
            return Grant(asked.granted, NanoUsd(total))
        granted = granted_of(asked.granted, total=total, limit=limit)
        return await self._cut(asked, granted, total, results[0].update_time)

    async def give_back(self, allowance_id: str, rest: NanoUsd) -> None:
        """Note it as it was read, and take its rest off."""
        for _ in range(_ATTEMPTS):
            snapshot = await self._snapshot(allowance_id)
            if not snapshot.exists or snapshot.get("returned") is not None:
                return
            document = _document(replace(_allowance(snapshot), returned=rest))
            if await self._write(snapshot.reference, document, rest, snapshot.update_time):
                return
        raise StoreUnavailable(f"The allowance {allowance_id} changes too often to be given back. Try again.")

    async def admitted(self, counter: str) -> NanoUsd:
        """Say how much is handed out."""
        with store_failures():
            snapshot = await self._gates.document(counter).get(retry=RETRY, timeout=CALL_S)
        return NanoUsd((snapshot.to_dict() or {}).get("admitted", 0))

    async def unsettled(self, now: datetime, *, limit: int = 500) -> Sequence[Allowance]:
        """Give those that are late, in the order of the index."""
        query = self._allowances.where(filter=FieldFilter("due", "<=", now)).order_by("due").limit(limit)
        with store_failures():
            return [_allowance(snapshot) for snapshot in await query.get(retry=RETRY, timeout=CALL_S)]

    async def known(self, allowance_ids: Sequence[str]) -> Sequence[Allowance]:
        """Give those that there are."""
        references = [self._allowances.document(name) for name in allowance_ids]
        with store_failures():
            found = self._client.get_all(references, retry=RETRY, timeout=CALL_S)
            return [_allowance(snapshot) async for snapshot in found if snapshot.exists]

    async def amend(self, before: Allowance, after: Allowance) -> bool:
        """Replace it, if it is as it was."""
        snapshot = await self._snapshot(before.allowance_id)
        if not snapshot.exists or _allowance(snapshot) != before:
            return False
        freed = NanoUsd(before.admitted - after.admitted)
        return await self._write(snapshot.reference, _document(after), freed, snapshot.update_time)

    async def sweep(self, now: datetime, *, limit: int) -> int:
        """Delete what has expired, the counters of allowances too."""
        expired = self._allowances.where(filter=FieldFilter("swept_from", "<=", now)).limit(limit)
        with store_failures():
            found: list[Any] = await expired.get(retry=RETRY, timeout=CALL_S)
        allowances = [snapshot.reference for snapshot in found]
        counted = [snapshot.id for snapshot in found if not _allowance(snapshot).lapses]
        await self._delete([*allowances, *(self._counters.document(name) for name in counted)])
        gates = await self._gates_over(now, limit - len(allowances)) if len(allowances) < limit else []
        await self._delete(gates)
        return len(allowances) + len(gates)

    async def _gates_over(self, now: datetime, limit: int) -> list[Any]:
        """Give the gates that have expired and of which no allowance is left."""
        expired = self._gates.where(filter=FieldFilter("expires_at", "<=", now)).limit(limit)
        with store_failures():
            found: list[Any] = await expired.get(retry=RETRY, timeout=CALL_S)
            return [snapshot.reference for snapshot in found if not await self._has_allowances(snapshot.id)]

    async def _has_allowances(self, counter: str) -> bool:
        by_name = self._allowances.order_by(FieldPath.document_id())
        after, before = (self._allowances.document(f"{counter}{mark}") for mark in "|}")  # `}` comes after `|`
        query = by_name.start_at({"__name__": after}).end_before({"__name__": before}).limit(1)
        return bool(await query.get(retry=RETRY, timeout=CALL_S))

    async def _delete(self, references: Sequence[Any]) -> None:
        """Delete them in turn: who stops midway leaves the rest to the next one."""
        for start in range(0, len(references), _WRITES):
            batch = self._client.batch()
            for reference in references[start : start + _WRITES]:
                batch.delete(reference)
            with store_failures():
                await batch.commit(retry=RETRY, timeout=CALL_S)

    async def _taken(self, asked: Allowance, limit: NanoUsd) -> Grant:
        """Give what an earlier commit of the same allowance was granted; its answer was lost.

        Who knows no more than today's total may be granted less than was left then, never more.
        """
        snapshot = await self._snapshot(asked.allowance_id)
        total = await self.admitted(asked.counter)
        if not snapshot.exists:
            return Grant(NanoUsd(0), total)
        known = _allowance(snapshot)
        if known.returned is not None:
            return Grant(NanoUsd(0), total)
        granted = granted_of(known.granted, total=total, limit=limit)
        if granted == known.granted:
            return Grant(granted, total)
        return await self._cut(known, granted, total, snapshot.update_time)

    async def _cut(self, allowance: Allowance, granted: NanoUsd, total: int, update_time: Any) -> Grant:
        """Take off what is over the limit; an allowance of nothing is none."""
        excess = NanoUsd(allowance.granted - granted)
        reference = self._allowances.document(allowance.allowance_id)
        document = {"granted": int(granted)} if granted else None
        if not await self._write(reference, document, excess, update_time):
            snapshot = await self._snapshot(allowance.allowance_id)  # an earlier commit of this did it
            granted = _allowance(snapshot).granted if snapshot.exists else NanoUsd(0)
        return Grant(granted, NanoUsd(total - excess))

    async def _write(self, reference: Any, document: dict[str, Any] | None, freed: NanoUsd, update_time: Any) -> bool:
        """Update or delete an allowance and free a part of its budget, or nothing where it has changed."""
        batch = self._client.batch()
        unchanged = self._client.write_option(last_update_time=update_time)
        if document is None:
            batch.delete(reference, option=unchanged)
        else:
            batch.update(reference, document, option=unchanged)
        if freed:
            self._admit(batch, reference.id.rpartition("|")[0], -freed)
        with store_failures():
            try:
                await batch.commit(retry=RETRY, timeout=CALL_S)
            except (FailedPrecondition, NotFound):
                return False
        return True

    def _admit(self, batch: Any, counter: str, by: int, expires_at: datetime | None = None) -> None:
        until = {} if expires_at is None else {"expires_at": expires_at}
        batch.set(self._gates.document(counter), {"admitted": Increment(by), **until}, merge=True)

    async def _snapshot(self, allowance_id: str) -> Any:
        with store_failures():
            return await self._allowances.document(allowance_id).get(retry=RETRY, timeout=CALL_S)


def _document(allowance: Allowance) -> dict[str, Any]:
    return {
        "granted": int(allowance.granted),
        "settled_by": allowance.settled_by,
        "returned": allowance.returned,
        "watched": allowance.watched,
        "watched_since": allowance.watched_since,
        "expires_at": allowance.expires_at,
        "due": allowance.settled_by if allowance.returned is None and not allowance.lapses else None,
        "swept_from": None if allowance.returned is None and not allowance.lapses else allowance.expires_at,
    }


def _allowance(snapshot: Any) -> Allowance:
    fields: dict[str, Any] = snapshot.to_dict()
    del fields["due"], fields["swept_from"]
    return Allowance(allowance_id=snapshot.id, **fields)

"""What instances tell each other of their cooldowns, in one Firestore document: a reading costs one.

`cooldowns/told` holds `{model_id: until}`.
"""

# Google's libraries leave parts of their types open.
# pyright: reportUnknownMemberType=false

from collections.abc import Mapping
from datetime import datetime

from google.cloud.firestore_v1.async_client import AsyncClient

from functions.adapters.gcp.failures import CALL_S, store_failures


class FirestoreCooldowns:
    """`Cooldowns`. Nothing is tried again: a hint is read again soon, and a lost one costs little."""

    def __init__(self, client: AsyncClient) -> None:
        self._told = client.collection("cooldowns").document("told")

    async def announce(self, rests: Mapping[str, datetime]) -> None:
        """Tell the others."""
        with store_failures():
            await self._told.set(dict(rests), merge=True, retry=None, timeout=CALL_S)

    async def read(self, now: datetime) -> Mapping[str, datetime]:
        """Give what was told and isn't over."""
        with store_failures():
            snapshot = await self._told.get(retry=None, timeout=CALL_S)
        told: dict[str, datetime] = snapshot.to_dict() or {}
        return {model_id: until for model_id, until in told.items() if until > now}

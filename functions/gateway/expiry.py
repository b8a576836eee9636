"""Expiry: when somebody is to be told that a key will expire."""

from datetime import datetime, timedelta

from events.alerts import Holder, KeyExpiring
from events.keys import Key

_DAYS = (1, 7)  # before it expires
FURTHEST = timedelta(days=_DAYS[-1])


def due_expiry(key: Key, now: datetime) -> KeyExpiring | None:
    """Decide whether it is to be told now, and in which of the warnings; of two that are due, the later says it all.

    A key that was made for less time than a warning's has no such warning. A blocked one has none.
    """
    if key.expires_at is None or key.blocked or key.expires_at <= now:
        return None
    for days in _DAYS:
        due_at = key.expires_at - timedelta(days=days)
        if due_at <= now:
            return _expiring(key, now, days, key.expires_at) if due_at >= key.created_at else None
    return None


def _expiring(key: Key, now: datetime, days: int, expires_at: datetime) -> KeyExpiring:
    return KeyExpiring(
        event_id=f"key:{key.key_id}:expiring:{days}:{expires_at:%Y-%m-%dT%H:%M:%SZ}",
        time=now,
        days=days,
        expires_at=expires_at,
        holder=Holder(kind="key", key_hash=key.key_hash, key_name=key.key_name),
    )

"""How keys change: from what an operator asks for to the event that tells of it. Times are aware UTC."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from events.keys import (
    Key,
    KeyBlocked,
    KeyCreated,
    KeyDeleted,
    KeyRegenerated,
    KeyUnblocked,
    KeyUpdated,
    event_id_of,
)
from functions.gateway.durations import end_of
from functions.gateway.keys import hash_key

Asked = Mapping[str, Any]  # as `key_shapes` reads it

_LAST_SHOWN = 4  # characters
_UNSET: Mapping[str, Any] = {
    "key_alias": None, "user_id": None, "team_id": None, "models": (), "allowed_routes": (), "tags": (), "metadata": {},
    "blocked": False, "max_budget": None, "soft_budget": None, "budget_duration": None, "model_max_budget": (),
    "rpm_limit": None, "tpm_limit": None, "max_parallel_requests": None, "model_rpm_limit": (),
    "model_tpm_limit": (),
}  # fmt: skip


def created(presented: str, asked: Asked, actor: str, now: datetime) -> KeyCreated:
    """Make a key."""
    key_hash = hash_key(presented)
    key = Key(
        key_id=key_hash,
        key_hash=key_hash,
        key_name=key_name_of(presented),
        version=1,
        created_at=now,
        created_by=actor,
        updated_at=now,
        updated_by=actor,
        **settings_of(asked, now),
    )
    return KeyCreated(event_id=event_id_of(key_hash, 1), time=now, actor=actor, after=key)


def updated(before: Key, asked: Asked, actor: str, now: datetime) -> KeyUpdated | None:
    """Change what is asked for; `None` where that is how it is already."""
    settings = settings_of(asked, now)
    if replace(before, **settings) == before:
        return None
    return KeyUpdated(**_change(before, actor, now, **settings))


def blocked(before: Key, actor: str, now: datetime, *, is_blocked: bool) -> KeyBlocked | KeyUnblocked | None:
    """Block a key, or no longer; `None` where that is how it is already."""
    if before.blocked == is_blocked:
        return None
    cls = KeyBlocked if is_blocked else KeyUnblocked
    return cls(**_change(before, actor, now, blocked=is_blocked))


def regenerated(before: Key, presented: str, asked: Asked, actor: str, now: datetime) -> KeyRegenerated:
    """Put another key in the place of one, with its settings and what else is asked for."""
    renewed = {"key_hash": hash_key(presented), "key_name": key_name_of(presented)}
    return KeyRegenerated(**_change(before, actor, now, **renewed, **settings_of(asked, now)))


def deleted(before: Key, actor: str, now: datetime) -> KeyDeleted:
    """Delete a key."""
    event_id = event_id_of(before.key_id, before.version + 1)
    return KeyDeleted(event_id=event_id, time=now, actor=actor, before=before)


def settings_of(asked: Asked, now: datetime) -> dict[str, Any]:
    """Give the fields of a key that are asked for. What is asked to be nothing is as in a new key."""
    given = {name: _UNSET[name] if asked[name] is None else asked[name] for name in asked.keys() & _UNSET.keys()}
    if "duration" in asked:
        given["expires_at"] = None if asked["duration"] is None else end_of(asked["duration"], now)
    return given


def key_name_of(presented: str) -> str:
    """Give what is shown of a key."""
    return f"sk-...{presented[-_LAST_SHOWN:]}"


def _change(before: Key, actor: str, now: datetime, **changes: Any) -> dict[str, Any]:
    """Give the fields of the event of a change."""
    after = replace(before, version=before.version + 1, updated_at=now, updated_by=actor, **changes)
    event_id = event_id_of(before.key_id, after.version)
    return {"event_id": event_id, "time": now, "actor": actor, "before": before, "after": after}

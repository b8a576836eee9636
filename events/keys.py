"""Virtual keys: what is known of each, how it changed, and who changed it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from events.money import NanoUsd


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBudget:
    """What may be spent on one model; without a duration, once and for all."""

    model: str
    max_budget: NanoUsd
    budget_duration: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimit:
    """How many requests or tokens a minute one model may be asked."""

    model: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One virtual key. Of the key itself there is only its hash, hex SHA-256, and its last characters in `key_name`.

    `key_id` is the hash that it had at first: it stays when the key is regenerated, so that its spend goes on.
    `version` counts its changes from 1. `models` and `allowed_routes` are all that it may use, or where there is none,
    everything. Times are aware UTC. `created_by` and `updated_by` are `master`, or the hash of a key.
    """

    key_id: str
    key_hash: str
    key_name: str
    version: int
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    models: tuple[str, ...] = ()
    allowed_routes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    blocked: bool = False
    expires_at: datetime | None = None
    max_budget: NanoUsd | None = None
    soft_budget: NanoUsd | None = None
    budget_duration: str | None = None
    model_max_budget: tuple[ModelBudget, ...] = ()
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    model_rpm_limit: tuple[ModelLimit, ...] = ()
    model_tpm_limit: tuple[ModelLimit, ...] = ()
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyCreated:
    """A key was made. `actor` is who did it: `master`, or the hash of a key. `event_id` is `event_id_of(after)`."""

    type: ClassVar[str] = "key.created.v1"

    event_id: str
    time: datetime  # aware, UTC
    actor: str
    after: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUpdated:
    """A key's settings were changed."""

    type: ClassVar[str] = "key.updated.v1"

    event_id: str
    time: datetime
    actor: str
    before: Key
    after: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyBlocked:
    """A key was blocked: nobody gets in with it."""

    type: ClassVar[str] = "key.blocked.v1"

    event_id: str
    time: datetime
    actor: str
    before: Key
    after: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUnblocked:
    """A key is no longer blocked."""

    type: ClassVar[str] = "key.unblocked.v1"

    event_id: str
    time: datetime
    actor: str
    before: Key
    after: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRegenerated:
    """A key was replaced: `after` has another hash, and the one before is never a key again."""

    type: ClassVar[str] = "key.regenerated.v1"

    event_id: str
    time: datetime
    actor: str
    before: Key
    after: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDeleted:
    """A key is gone, and never a key again. This is its last version."""

    type: ClassVar[str] = "key.deleted.v1"

    event_id: str
    time: datetime
    actor: str
    before: Key


KeyChanged = KeyUpdated | KeyBlocked | KeyUnblocked | KeyRegenerated
KeyEvent = KeyCreated | KeyChanged | KeyDeleted


def key_before(event: KeyEvent) -> Key | None:
    """Give the key as it was before, unless it wasn't."""
    return None if isinstance(event, KeyCreated) else event.before


def key_after(event: KeyEvent) -> Key | None:
    """Give the key as it is now, unless it is gone."""
    return None if isinstance(event, KeyDeleted) else event.after


def is_renewed(before: Key, after: Key) -> bool:
    """Say whether the key itself is another one now: it was regenerated."""
    return before.key_hash != after.key_hash


def event_id_of(key_id: str, version: int) -> str:
    """Name a key's change: of two that follow the same version, only one can be in the ledger."""
    return f"key:{key_id}:{version:06}"


def evolve(latest: KeyEvent | None, event: KeyEvent) -> KeyEvent:
    """Follow one event of a key: the later version holds, in whatever order they come, however often."""
    return event if latest is None or version_of(event) > version_of(latest) else latest


def replay_keys(events: Iterable[object]) -> dict[str, Key]:
    """Give every key that there is, by its hash, from the events of the whole ledger in any order."""
    latest: dict[str, KeyEvent] = {}
    for event in events:
        if isinstance(event, KeyEvent):
            key_id = subject_of(event).key_id
            latest[key_id] = evolve(latest.get(key_id), event)
    return {key.key_hash: key for event in latest.values() if (key := key_after(event))}


def version_of(event: KeyEvent) -> int:
    """Say which version of its key an event makes; the end of one is a version too."""
    return event.before.version + 1 if isinstance(event, KeyDeleted) else event.after.version


def subject_of(event: KeyEvent) -> Key:
    """Give the key that an event is about, as it is now or was last."""
    return event.before if isinstance(event, KeyDeleted) else event.after

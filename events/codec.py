"""Events on the wire: structured-mode CloudEvents 1.0 in JSON, encoded and decoded here and nowhere else.

Every version that was ever published decodes for good: a newer shape gets a new type and an entry in
`_UPCASTS` that turns the older `data` into it. `schemas/` holds the JSON Schema of each type's `data`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NewType, NoReturn, Union, cast, get_args, get_origin, get_type_hints

from events.accounts import (
    Account,
    AccountEvent,
    AccountKind,
    Team,
    TeamCreated,
    TeamDeleted,
    TeamUpdated,
    User,
    UserCreated,
    UserDeleted,
    UserUpdated,
)
from events.alerts import Alert, KeyExpiring, ProjectedExceeded, SoftBudgetCrossed, ThresholdCrossed
from events.keys import Key, KeyBlocked, KeyCreated, KeyDeleted, KeyEvent, KeyRegenerated, KeyUnblocked, KeyUpdated
from events.spend import CompletionFailed, SpendRecorded
from events.tick import Ticked

Event = SpendRecorded | CompletionFailed | Alert | Ticked | KeyEvent | AccountEvent

SOURCE = "//litellm-gateway"
_CLASSES: tuple[type[Event], ...] = (
    SpendRecorded, CompletionFailed, Ticked,
    ThresholdCrossed, SoftBudgetCrossed, ProjectedExceeded, KeyExpiring,
    KeyCreated, KeyUpdated, KeyBlocked, KeyUnblocked, KeyRegenerated, KeyDeleted,
    UserCreated, UserUpdated, UserDeleted, TeamCreated, TeamUpdated, TeamDeleted,
)  # fmt: skip
_TYPES: Mapping[str, type[Event]] = {cls.type: cls for cls in _CLASSES}
_UPCASTS: Mapping[str, Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]] = {}
Reader = Callable[[Any, str], Any]  # of a value at a path
_ENVELOPE = ("event_id", "time")  # these two travel as the envelope's `id` and `time`
_EVENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:|@=+%~-]{0,254}")  # every store takes these as a key
_LARGEST = (
    2**53 - 1
)  # https://www.rfc-editor.org/rfc/rfc7493#section-2.2; a counter of 63 bits takes a thousand of them
_YEARS = range(2000, 9000)


class UndecodableEvent(ValueError):
    """These bytes are no event that this version knows; asking again can't help. The message says why."""


def encode(event: Event) -> bytes:
    """Give the event as one JSON object: a CloudEvents envelope with the rest of the fields in `data`."""
    data = {f.name: _plain(getattr(event, f.name)) for f in fields(event) if f.name not in _ENVELOPE}
    envelope = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": SOURCE,
        "type": event.type,
        "time": _plain(event.time),
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def decode(raw: bytes) -> Event:
    """Read an event of any known version. Raises `UndecodableEvent`, naming the field."""
    envelope = _json_object(raw)
    if not isinstance(envelope.get("data"), dict):
        raise UndecodableEvent("'data' is not an object")
    name, data = str(envelope.get("type")), cast("dict[str, Any]", envelope["data"])
    while name in _UPCASTS:
        name, data = _UPCASTS[name](data)
    if name not in _TYPES:
        raise UndecodableEvent(f"unknown event type {name!r}; known are {', '.join(sorted(_TYPES))}")
    if not _EVENT_ID.fullmatch(str(envelope.get("id"))):
        raise UndecodableEvent(f"'id' does not match {_EVENT_ID.pattern}")
    known = {**data, "event_id": envelope.get("id"), "time": envelope.get("time")}
    return cast("Event", _object(_TYPES[name], known, "data"))


def encode_key(key: Key) -> bytes:
    """Give a key's record as one JSON object."""
    return json.dumps(_plain(key), separators=(",", ":")).encode()


def decode_key(raw: bytes) -> Key:
    """Read a key's record. Raises `UndecodableEvent`, naming the field."""
    return _object(Key, _json_object(raw), "key")


def encode_account(account: Account) -> bytes:
    """Give a user's or a team's record as one JSON object."""
    return json.dumps(_plain(account), separators=(",", ":")).encode()


def decode_account(kind: AccountKind, raw: bytes) -> Account:
    """Read a user's or a team's record. Raises `UndecodableEvent`, naming the field."""
    return _object(User if kind == "user" else Team, _json_object(raw), kind)


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UndecodableEvent(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UndecodableEvent(f"not a JSON object but {type(value).__name__}")
    return cast("dict[str, Any]", value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, tuple):
        return [_plain(item) for item in cast("tuple[Any, ...]", value)]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    return value


@cache
def _reader(hint: Any) -> Reader:
    """Give what reads values of a type hint: a ledger has many of each."""
    hint = hint.__supertype__ if isinstance(hint, NewType) else hint
    origin = get_origin(hint)
    if origin is Literal:
        return _choice(hint, frozenset(get_args(hint)))
    if origin in (UnionType, Union):
        (inner,) = [arg for arg in get_args(hint) if arg is not NoneType]
        return _optional(_reader(inner))
    if origin is tuple:
        return _several(hint, _reader(get_args(hint)[0]))
    if origin is Mapping:
        return _instance(hint, dict)
    if hint is datetime:
        return lambda value, path: _time(value, path) if isinstance(value, str) else _refuse(hint, value, path)
    if is_dataclass(hint):
        return lambda value, path: (
            _object(hint, cast("dict[str, Any]", value), path)
            if isinstance(value, dict)
            else _refuse(hint, value, path)
        )
    return _count if hint is int else _instance(hint, hint)


def _choice(hint: Any, choices: frozenset[Any]) -> Reader:
    def read(value: Any, path: str) -> Any:
        return value if isinstance(value, str) and value in choices else _refuse(hint, value, path)

    return read


def _optional(inner: Reader) -> Reader:
    return lambda value, path: None if value is None else inner(value, path)


def _several(hint: Any, item: Reader) -> Reader:
    def read(value: Any, path: str) -> Any:
        if not isinstance(value, list):
            return _refuse(hint, value, path)
        return tuple([item(entry, f"{path}[{i}]") for i, entry in enumerate(cast("list[Any]", value))])

    return read


def _instance(hint: Any, cls: type) -> Reader:
    return lambda value, path: value if type(value) is cls else _refuse(hint, value, path)


def _count(value: Any, path: str) -> int:
    if type(value) is not int:
        return _refuse(int, value, path)
    if not 0 <= value <= _LARGEST:
        raise UndecodableEvent(f"{path} is not between 0 and {_LARGEST}")
    return value


def _refuse(hint: Any, value: Any, path: str) -> NoReturn:
    raise UndecodableEvent(f"{path} is not {getattr(hint, '__name__', hint)} but {type(value).__name__}")


def _object(cls: Any, value: dict[str, Any], path: str) -> Any:
    given: dict[str, Any] = {}
    for name, read, is_required in _fields_of(cls):
        if name in value:
            given[name] = read(value[name], f"{path}.{name}")
        elif is_required:
            raise UndecodableEvent(f"{path}.{name} is missing")
    return cls(**given)


@cache
def _fields_of(cls: Any) -> tuple[tuple[str, Reader, bool], ...]:
    hints = get_type_hints(cls)
    return tuple(
        (field.name, _reader(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(cls)
    )


def _time(value: str, path: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError as error:
        raise UndecodableEvent(f"{path} is not an RFC 3339 time") from error
    if time.tzinfo is None:
        raise UndecodableEvent(f"{path} has no time zone")
    if time.year not in _YEARS:
        raise UndecodableEvent(f"{path} is not in the years {_YEARS.start} to {_YEARS.stop - 1}")
    return time.astimezone(UTC)

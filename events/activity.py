"""Activity: what was asked and spent, added up by UTC day and for good, by whom it was for and who answered."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import add, attrgetter
from typing import Literal, TypeGuard

from events.money import NOTHING, NanoUsd
from events.spend import CompletionFailed, SpendRecorded

Dimension = Literal["total", "key", "user", "team", "end_user", "model", "provider", "tag", "cell"]
Status = Literal["success", "failure"]
Completion = SpendRecorded | CompletionFailed

ALL_TIME = "all"  # the period that is no day
NOBODY = ""  # the name in a dimension of what has none there
_write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Sums:
    """What some requests come to. `input_tokens` include the cached ones, as in `Usage`."""

    requests: int = 0
    failures: int = 0
    spend: NanoUsd = NOTHING
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        """Give what both come to."""
        return sums_of(map(add, self.values, other.values))

    @property
    def values(self) -> tuple[int, ...]:
        """Give all that is summed, in the order of `SUM_NAMES`."""
        return _values_of(self)

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.input_tokens + self.output_tokens


SUM_NAMES = tuple(field.name for field in fields(Sums))
ZERO = Sums()
_values_of: Callable[[Sums], tuple[int, ...]] = attrgetter(*SUM_NAMES)


@dataclass(frozen=True, slots=True)
class Slot:
    """What a sum is of: one period (a UTC day such as `2026-11-24`, or `ALL_TIME`), and one name in a dimension."""

    period: str
    dimension: Dimension
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All that requests are grouped by at once; `NOBODY` where a request has none. A slot's name says it as `name`.

    `key` is a key's first hash, `model` is `provider/upstream_model` of the answer, or of the last attempt where nobody
    answered.
    """

    key: str = NOBODY
    user: str = NOBODY
    team: str = NOBODY
    end_user: str = NOBODY
    alias: str = NOBODY
    model: str = NOBODY
    provider: str = NOBODY

    @property
    def name(self) -> str:
        """Write it as one text."""
        values = (self.key, self.user, self.team, self.end_user, self.alias, self.model, self.provider)
        return _write(values)


def sums_of(values: Iterable[int]) -> Sums:
    """Read what `Sums.values` gave."""
    requests, failures, spend, *tokens = values
    return Sums(requests, failures, NanoUsd(spend), *tokens)


def cell_named(name: str) -> Cell:
    """Read what `Cell.name` wrote."""
    key, user, team, end_user, alias, model, provider = json.loads(name)
    return Cell(key=key, user=user, team=team, end_user=end_user, alias=alias, model=model, provider=provider)


def is_completion(event: object) -> TypeGuard[Completion]:
    """Say whether an event is of a request, answered or not."""
    return isinstance(event, SpendRecorded | CompletionFailed)


def activity(events: Iterable[object]) -> dict[Slot, Sums]:
    """Add up events, each counted once; in whatever order and portions, the sums of the portions are the whole's."""
    grown: dict[tuple[str, Dimension, str], tuple[int, ...]] = {}  # plain, as a commit of strangers has thousands
    for event in events:
        if is_completion(event):
            values = _sums(event).values
            for slot in slots_of(event):
                known = grown.get(slot)
                grown[slot] = values if known is None else tuple(map(add, known, values))
    return {Slot(*slot): sums_of(values) for slot, values in grown.items()}


def merged(one: Mapping[Slot, Sums], other: Mapping[Slot, Sums]) -> dict[Slot, Sums]:
    """Give the sums of two portions together."""
    return {slot: one.get(slot, ZERO) + other.get(slot, ZERO) for slot in one.keys() | other.keys()}


def cell_of(event: Completion) -> Cell:
    """Say whom a request was for, and who answered."""
    model = _model(event)
    scopes = event.scopes
    return Cell(
        key=scopes.key_hash or NOBODY,
        user=scopes.user or NOBODY,
        team=scopes.team or NOBODY,
        end_user=scopes.end_user or NOBODY,
        alias=event.alias,
        model=model,
        provider=model.partition("/")[0],
    )


def status_of(event: Completion) -> Status:
    """Say whether somebody answered."""
    return "success" if isinstance(event, SpendRecorded) else "failure"


def response_id_of(event: Completion) -> str:
    """Give the name of the answer as its client knows it; of a request without one, the event's."""
    if isinstance(event, CompletionFailed):
        return event.event_id
    return event.response_id or f"chatcmpl-{event.event_id}"


def day_of(time: datetime) -> str:
    """Give the UTC day of a time, such as `2026-11-24`."""
    return time.astimezone(UTC).date().isoformat()


def slots_of(event: Completion) -> Iterator[tuple[str, Dimension, str]]:
    """Say in which slots a request is counted; plain, as a commit of strangers has thousands."""
    day, cell = day_of(event.time), cell_of(event)
    yield day, "cell", cell.name
    for period in (day, ALL_TIME):
        yield period, "total", NOBODY
        yield period, "key", cell.key
        yield period, "user", cell.user
        yield period, "team", cell.team
        yield period, "end_user", cell.end_user
        yield period, "model", cell.model
        yield period, "provider", cell.provider
        for tag in dict.fromkeys(event.scopes.tags):
            yield period, "tag", tag


def _sums(event: Completion) -> Sums:
    if isinstance(event, CompletionFailed):
        return Sums(requests=1, failures=1, spend=event.cost)
    usage = event.usage
    return Sums(
        requests=1,
        spend=event.cost,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
    )


def _model(event: Completion) -> str:
    if isinstance(event, SpendRecorded):
        return f"{event.provider}/{event.upstream_model}"
    return event.attempts[-1].model if event.attempts else NOBODY

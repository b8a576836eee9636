"""Valid values, of which a test names only what it is about."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from events.accounts import (
    Account,
    AccountEvent,
    Team,
    TeamCreated,
    TeamDeleted,
    TeamUpdated,
    User,
    UserCreated,
    UserDeleted,
    UserUpdated,
)
from events.accounts import event_id_of as account_event_id_of
from events.alerts import Holder, KeyExpiring, ProjectedExceeded, SoftBudgetCrossed, ThresholdCrossed
from events.allowance import Allowance, allowance_id
from events.budget import Budget
from events.keys import Key, KeyCreated, KeyDeleted, KeyUpdated, event_id_of
from events.money import NanoUsd, nano_usd
from events.spend import Attempt, CompletionFailed, Scopes, SpendRecorded, Usage
from functions.gateway.catalog import Mode, Model, Prices
from functions.gateway.ports import AS_CONFIGURED, Answer, ChatRequest, Chunk, Deployment, EmbeddingRequest, Wishes
from functions.gateway.run import Caller

CALLER = Caller(request_id="call-1", scopes=Scopes(user="ada"))
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = "global:2026-11-24"


def spend(event_id: str = "evt-1", *, cost: int = 1, **fields: Any) -> SpendRecorded:
    """One answered request."""
    given: dict[str, Any] = {
        "time": NOON,
        "request_id": "req-1",
        "response_id": "chatcmpl-1",
        "alias": "gpt-4o",
        "upstream_model": "gpt-4o",
        "response_model": "gpt-4o-2024-08-06",
        "provider": "openai",
        "usage": Usage(input_tokens=10, output_tokens=5),
        "usage_is_estimated": False,
        "catalog_version": "2026-11-23",
        "scopes": Scopes(),
        "outcome": "completed",
        "attempts": (Attempt(model="openai/gpt-4o", status="200", ms=12, billed=True),),
        "latency_ms": 15,
        "time_to_first_token_ms": None,
        **fields,
    }
    return SpendRecorded(event_id=event_id, cost=NanoUsd(cost), **given)


def allowance(name: str = "a", granted: int = 10, *, counter: str = TODAY, **fields: Any) -> Allowance:
    """A part of today's global budget, all of whose requests are over by noon."""
    given: dict[str, Any] = {"settled_by": NOON, **fields}
    return Allowance(allowance_id=allowance_id(counter, name), granted=NanoUsd(granted), **given)


def failure(event_id: str = "evt-1", *, cost: int = 0) -> CompletionFailed:
    """One request that nobody answered."""
    attempt = Attempt(model="openai/gpt-4o", status="500", ms=12, billed=cost > 0, cost=NanoUsd(cost))
    return CompletionFailed(
        event_id=event_id,
        time=NOON,
        request_id="req-1",
        alias="gpt-4o",
        scopes=Scopes(),
        attempts=(attempt,),
        latency_ms=15,
        cost=NanoUsd(cost),
    )


def budget(*, max_budget: float = 10, thresholds: tuple[int, ...] = (50, 80, 95, 100), duration: str = "1d") -> Budget:
    """The global budget."""
    return Budget(budget_id="global", max_budget=nano_usd(max_budget), duration=duration, thresholds=thresholds)


UNCAPPED = Budget(budget_id="global", max_budget=None, duration="1d")


def threshold_crossed(percent: int = 80) -> ThresholdCrossed:
    """An alert of the global budget of $10."""
    return ThresholdCrossed(
        event_id=f"{TODAY}:{percent}",
        time=NOON,
        budget_id="global",
        window="2026-11-24",
        window_ends_at=datetime(2026, 11, 25, tzinfo=UTC),
        percent=percent,
        spent=nano_usd(8.2),
        max_budget=nano_usd(10),
    )


HOLDER = Holder(
    kind="key",
    key_hash="ab" * 32,
    key_name="sk-...abcd",
    key_alias="ci_nightly",
    user_id="ada",
    user_email="ada@example.com",
    team_id="red",
    team_alias="Red",
)
_OF_A_KEY: dict[str, Any] = {
    "time": NOON,
    "budget_id": "key:1",
    "window": "2026-11-24",
    "window_ends_at": datetime(2026, 11, 25, tzinfo=UTC),
    "holder": HOLDER,
}


def soft_budget_crossed(**fields: Any) -> SoftBudgetCrossed:
    """An alert of a key's soft budget of $5."""
    given: dict[str, Any] = {
        **_OF_A_KEY,
        "spent": nano_usd(6),
        "soft_budget": nano_usd(5),
        "max_budget": None,
        **fields,
    }
    return SoftBudgetCrossed(event_id="key:1:2026-11-24:soft", **given)


def projected_exceeded(**fields: Any) -> ProjectedExceeded:
    """An alert of a key that goes on to spend $12 of $10."""
    given: dict[str, Any] = {
        **_OF_A_KEY,
        "spent": nano_usd(6),
        "soft_budget": None,
        "max_budget": nano_usd(10),
        "projected": nano_usd(12),
        "exceeded_at": datetime(2026, 11, 24, 20, tzinfo=UTC),
        **fields,
    }
    return ProjectedExceeded(event_id="key:1:2026-11-24:projected", **given)


def key_expiring(days: int = 7) -> KeyExpiring:
    """An alert of a key that expires in December."""
    expires_at = datetime(2026, 12, 1, tzinfo=UTC)
    event_id = f"key:1:expiring:{days}:2026-12-01T00:00:00Z"
    return KeyExpiring(event_id=event_id, time=NOON, days=days, expires_at=expires_at, holder=HOLDER)


def key(name: str = "a", *, version: int = 1, **fields: Any) -> Key:
    """A virtual key that may do everything; its hash says its name."""
    key_hash = name.encode().hex().ljust(64, "0")
    given: dict[str, Any] = {
        "key_id": key_hash,
        "key_hash": key_hash,
        "key_name": "sk-...abcd",
        "created_at": NOON,
        "created_by": "master",
        "updated_at": NOON,
        "updated_by": "master",
        **fields,
    }
    return Key(version=version, **given)


def key_created(after: Key) -> KeyCreated:
    """The making of a key."""
    event_id = event_id_of(after.key_id, after.version)
    return KeyCreated(event_id=event_id, time=NOON, actor="master", after=after)


def key_updated(before: Key, **fields: Any) -> KeyUpdated:
    """The change of some of a key's settings."""
    after = replace(before, version=before.version + 1, **fields)
    event_id = event_id_of(before.key_id, after.version)
    return KeyUpdated(event_id=event_id, time=NOON, actor="master", before=before, after=after)


def key_deleted(before: Key) -> KeyDeleted:
    """The end of a key."""
    event_id = event_id_of(before.key_id, before.version + 1)
    return KeyDeleted(event_id=event_id, time=NOON, actor="master", before=before)


_MADE: dict[str, Any] = {"created_at": NOON, "created_by": "master", "updated_at": NOON, "updated_by": "master"}


def user(user_id: str = "ada", *, version: int = 1, **fields: Any) -> User:
    """A user without limits."""
    return User(user_id=user_id, version=version, **(_MADE | fields))


def team(team_id: str = "core", *, version: int = 1, **fields: Any) -> Team:
    """A team without members or limits."""
    return Team(team_id=team_id, version=version, **(_MADE | fields))


def account_created(after: Account) -> AccountEvent:
    """The making of a user or a team."""
    given: dict[str, Any] = {"event_id": account_event_id_of(after, after.version), "time": NOON, "actor": "master"}
    return UserCreated(after=after, **given) if isinstance(after, User) else TeamCreated(after=after, **given)


def account_updated(before: Account, **fields: Any) -> AccountEvent:
    """The change of some of its settings."""
    version = before.version + 1
    given: dict[str, Any] = {"event_id": account_event_id_of(before, version), "time": NOON, "actor": "master"}
    if isinstance(before, User):
        return UserUpdated(before=before, after=replace(before, version=version, **fields), **given)
    return TeamUpdated(before=before, after=replace(before, version=version, **fields), **given)


def account_deleted(before: Account) -> AccountEvent:
    """The end of a user or a team."""
    given: dict[str, Any] = {"event_id": account_event_id_of(before, before.version + 1), "time": NOON}
    given["actor"] = "master"
    return UserDeleted(before=before, **given) if isinstance(before, User) else TeamDeleted(before=before, **given)


def model(
    *,
    input: str = "2.5",
    output: str = "10",
    mode: Mode = "chat",
    max_input_tokens: int | None = None,
    **prices: Any,
) -> Model:
    """A model at these prices, in USD per 1M tokens."""
    from decimal import Decimal

    kinds = {name: Decimal(price) for name, price in prices.items()}
    priced = Prices(input=Decimal(input), output=Decimal(output), **kinds)
    return Model(upstream_model="gpt-4o", prices=priced, mode=mode, max_input_tokens=max_input_tokens)


def deployment(provider: str = "openai", upstream_model: str = "gpt-4o", **fields: Any) -> Deployment:
    """A configured deployment with a key."""
    given: dict[str, Any] = {
        "model_id": f"{upstream_model}-1",
        "group": upstream_model,
        "model": model(),
        "api_key": "sk-upstream",
        "timeout_s": 5,
        "first_token_timeout_s": 5,
        "idle_timeout_s": 5,
        **fields,
    }
    return Deployment(provider=provider, upstream_model=upstream_model, **given)


def chat_request(
    alias: str = "gpt-4o",
    *,
    stream: bool = False,
    wants_usage: bool = False,
    wishes: Wishes = AS_CONFIGURED,
    **body: Any,
) -> ChatRequest:
    """A question of one line."""
    messages = [{"role": "user", "content": "Say hello"}]
    return ChatRequest(
        alias=alias,
        body={"model": alias, "messages": messages} | body,
        is_stream=stream,
        wants_usage=wants_usage,
        wishes=wishes,
    )


def embedding_request(alias: str = "text-embedding-3-small", **body: Any) -> EmbeddingRequest:
    """One text to embed."""
    return EmbeddingRequest(alias=alias, body={"model": alias, "input": "Say hello", **body})


def answer(text: str = "Hello", **fields: Any) -> Answer:
    """A whole answer of one line."""
    message = {"role": "assistant", "content": text}
    given: dict[str, Any] = {
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": Usage(input_tokens=10, output_tokens=5),
        "response_id": "chatcmpl-1",
        "response_model": "gpt-4o-2024-08-06",
        **fields,
    }
    return Answer(**given)


def chunk(content: str | None = None, *, finish_reason: str | None = None, usage: Usage | None = None) -> Chunk:
    """A chunk with one choice, or with usage alone."""
    if content is None and finish_reason is None:
        return Chunk(choices=[], usage=usage)
    delta = {} if content is None else {"content": content}
    return Chunk(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}], usage=usage)

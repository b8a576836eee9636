"""What a completion leaves behind: `spend.recorded.v1` when it was answered, `completion.failed.v1` when not."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import ClassVar, Literal

from events.money import NOTHING, NanoUsd

Outcome = Literal["completed", "client_disconnected", "truncated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer, by kind.

    `input_tokens` includes cached reads, cache writes and audio; `output_tokens` includes reasoning and audio
    (OpenTelemetry GenAI). The other fields say how much of those two was of which kind.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    web_searches: int = 0  # not tokens: calls of a search that the provider ran, which it bills apart

    def __add__(self, other: "Usage") -> "Usage":
        """Give the usage of two answers together."""
        return Usage(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Usage)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to one deployment.

    `status` is the provider's HTTP status as text, or what happened instead of one: `timeout`,
    `connection_error`, `no_api_key`, `broken_stream`, `invalid_response`, `content_filter`, `unsupported`,
    `client_disconnected`, or `outrun` where another answered sooner. `model` is `provider/upstream_model`, `model_id`
    the deployment's own name. `cost` is what its provider bills for it, as far as `billed` says that it does.
    `malformed_chunks` of its stream were passed over. Events from before the last three were kept have their defaults.
    """

    model: str
    status: str
    ms: int
    billed: bool
    cost: NanoUsd = NOTHING
    model_id: str | None = None
    malformed_chunks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scopes:
    """Whom the spend is counted for. `key_hash` is hex SHA-256; a key in clear is never here.

    Of a key that was regenerated it is the hash that it had at first: its spend goes on. `user` is whose key it is,
    `end_user` whom the request names. Events from before the latter was kept have that in `user`, of a key that is
    nobody's.
    """

    key_hash: str | None = None
    user: str | None = None
    team: str | None = None
    end_user: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendRecorded:
    """One answered request, priced.

    `cost` is nano-USD at `catalog_version`: that of the answer, whose `usage` this is (of a stream that another
    deployment went on with, that of both), and of the attempts that failed before it and were billed.
    `usage_is_estimated` says that a stream ended before its provider reported its token counts, so that some of them
    are bounds computed from the text.
    """

    type: ClassVar[str] = "spend.recorded.v1"

    event_id: str  # CloudEvents `id`, and the idempotency key of every fold
    time: datetime  # aware, UTC: when the answer was complete; decides the budget window
    request_id: str
    response_id: str | None  # the provider's
    alias: str  # what the client asked for
    upstream_model: str  # what was called
    response_model: str | None  # what says it answered
    provider: str
    usage: Usage
    usage_is_estimated: bool
    cost: NanoUsd
    catalog_version: str
    scopes: Scopes
    allowance_ids: tuple[str, ...] = ()
    outcome: Outcome
    attempts: tuple[Attempt, ...]
    latency_ms: int
    time_to_first_token_ms: int | None
    cache_hit: bool = False
    trace_context: str | None = None  # W3C `traceparent`


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionFailed:
    """One request that nobody answered: every deployment of its chain failed, or its client left before that.

    `cost` is what its attempts were billed all the same, in nano-USD at `catalog_version`.
    """

    type: ClassVar[str] = "completion.failed.v1"

    event_id: str
    time: datetime  # aware, UTC
    request_id: str
    alias: str
    scopes: Scopes
    attempts: tuple[Attempt, ...]
    latency_ms: int
    trace_context: str | None = None
    cost: NanoUsd = NOTHING
    catalog_version: str | None = None
    allowance_ids: tuple[str, ...] = ()

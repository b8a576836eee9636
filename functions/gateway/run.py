"""One request on its way: what is known of it so far, and the event it ends in."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from events.money import NanoUsd
from events.spend import Attempt, CompletionFailed, Outcome, Scopes, SpendRecorded, Usage
from functions.gateway.catalog import cost_of
from functions.gateway.estimates import interrupted_usage
from functions.gateway.ports import Answer, Chunk, Deployment, Embeddings, Request

_LONGEST_NAME = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and how their request is known. `trace_context` is a W3C `traceparent`."""

    request_id: str
    scopes: Scopes
    trace_context: str | None = None


class Run:
    """Follows one request from its arrival to its event. Times are `clock` seconds of one process."""

    def __init__(self, request: Request, caller: Caller, *, started: float) -> None:
        self.request = request
        self.caller = caller
        self.attempts: list[Attempt] = []
        self.usage_details: dict[str, Any] = {}
        self.started = started
        self._event_id = str(uuid.uuid4())
        self._deployment: Deployment | None = None
        self._first_content: float | None = None
        self._reported: Usage | None = None
        self._produced: list[str] = []
        self._response_id: str | None = None
        self._response_model: str | None = None
        self._event: SpendRecorded | None = None

    @property
    def fallback_id(self) -> str:
        """The answer's `id` where the provider gave none."""
        return f"chatcmpl-{self._event_id}"

    @property
    def usage(self) -> Usage:
        """The usage that is billed, or until then as last reported."""
        return self._event.usage if self._event else self._reported or Usage()

    @property
    def is_billed(self) -> bool:
        """Say whether the deployment that was asked last has reported what it bills."""
        return self._reported is not None

    @property
    def is_concluded(self) -> bool:
        """Say whether the event is made."""
        return self._event is not None

    @property
    def cost(self) -> NanoUsd:
        """What the attempts that have ended cost, failed ones included."""
        return NanoUsd(sum(attempt.cost for attempt in self.attempts))

    def ask(self, deployment: Deployment) -> None:
        """A deployment is asked; of what another one said before it failed, only its bill is kept."""
        self._bill_failure()
        self._deployment = deployment
        self._reported, self.usage_details, self._produced = None, {}, []
        self._response_id = self._response_model = None

    def see_first_content(self, clock: float) -> None:
        """The first content of a stream has arrived."""
        self._first_content = clock

    def follow_answer(self, answer: Answer) -> None:
        """Take what a whole answer says of itself."""
        self._reported, self.usage_details = answer.usage, answer.usage_details
        self._response_id, self._response_model = answer.response_id, answer.response_model
        for choice in answer.choices:
            self._produced.extend(_texts(choice.get("message") or {}))

    def follow_embeddings(self, embeddings: Embeddings) -> None:
        """Take what embeddings say of themselves."""
        self._reported, self._response_model = embeddings.usage, embeddings.response_model

    def follow(self, chunk: Chunk) -> None:
        """Take what a chunk says of its answer."""
        self._reported = chunk.usage or self._reported
        self.usage_details = chunk.usage_details or self.usage_details
        self._response_id = chunk.response_id or self._response_id
        self._response_model = chunk.response_model or self._response_model
        for choice in chunk.choices:
            self._produced.extend(_texts(choice.get("delta") or {}))

    def break_off(self, status: str, clock: float) -> None:
        """The serving attempt ended early; what it consumed is billed."""
        ms = self.attempts[-1].ms + self._ms_since(self._first_content, clock)
        self.attempts[-1] = replace(self.attempts[-1], status=status, ms=ms)

    def conclude(self, outcome: Outcome, *, version: str, time: datetime, clock: float) -> SpendRecorded:
        """Make the request's event."""
        self._event = self._spend(outcome, version, time, clock)
        return self._event

    def failed(self, *, version: str, time: datetime, clock: float) -> CompletionFailed:
        """Make the event of a request that nobody answered."""
        self._bill_failure()
        return CompletionFailed(
            event_id=self._event_id,
            time=time,
            request_id=self.caller.request_id,
            alias=self.request.alias,
            scopes=self.caller.scopes,
            attempts=tuple(self.attempts),
            latency_ms=self._ms_since(self.started, clock),
            trace_context=self.caller.trace_context,
            cost=self.cost,
            catalog_version=version,
        )

    def _bill_failure(self) -> None:
        """Keep what the last attempt costs, which has failed, where its provider has reported that it bills it."""
        if self._deployment is not None and self._reported is not None:
            self._bill(self._interrupted_usage(), self._deployment)
            self._reported = None

    def _bill(self, usage: Usage, deployment: Deployment) -> None:
        self.attempts[-1] = replace(self.attempts[-1], billed=True, cost=cost_of(usage, deployment.model))

    def _interrupted_usage(self) -> Usage:
        return interrupted_usage(self._reported, self.request.body, "".join(self._produced))

    def _spend(self, outcome: Outcome, version: str, time: datetime, clock: float) -> SpendRecorded:
        deployment = self._deployment
        if deployment is None:
            raise RuntimeError("a request that nobody serves can't be concluded")
        usage, is_estimated = self.usage, self._reported is None
        if outcome != "completed" or is_estimated:
            usage, is_estimated = self._interrupted_usage(), True
        self._bill(usage, deployment)
        return SpendRecorded(
            event_id=self._event_id,
            time=time,
            request_id=self.caller.request_id,
            response_id=_bounded(self._response_id),
            alias=self.request.alias,
            upstream_model=deployment.upstream_model,
            response_model=_bounded(self._response_model),
            provider=deployment.provider,
            usage=usage,
            usage_is_estimated=is_estimated,
            cost=self.cost,
            catalog_version=version,
            scopes=self.caller.scopes,
            outcome=outcome,
            attempts=tuple(self.attempts),
            latency_ms=self._ms_since(self.started, clock),
            time_to_first_token_ms=self._time_to_first_token_ms(),
            trace_context=self.caller.trace_context,
        )

    def _time_to_first_token_ms(self) -> int | None:
        return None if self._first_content is None else self._ms_since(self.started, self._first_content)

    @staticmethod
    def _ms_since(since: float | None, clock: float) -> int:
        return 0 if since is None else round((clock - since) * 1000)


def _bounded(said: str | None) -> str | None:
    """Keep what a provider says of itself from filling the ledger."""
    return None if said is None else said[:_LONGEST_NAME]


def _texts(delta: dict[str, Any]) -> list[str]:
    """Give what the model wrote in one delta or message: text, reasoning, refusal, the arguments of tool calls."""
    calls: list[dict[str, Any]] = delta.get("tool_calls") or []
    functions: list[dict[str, Any]] = [call.get("function") or {} for call in calls]
    written = [delta.get(name) for name in ("content", "reasoning_content", "refusal")]
    functions.append(delta.get("function_call") or {})
    written += [function.get("arguments") for function in functions]
    return [text for text in written if isinstance(text, str)]

"""One request on its way: what is known of it so far, and the event it ends in."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from events.money import NOTHING, NanoUsd
from events.spend import Attempt, CompletionFailed, Outcome, Scopes, SpendRecorded, Usage
from functions.gateway.access import ModelList
from functions.gateway.catalog import cost_of
from functions.gateway.estimates import interrupted_usage
from functions.gateway.ports import NOBODY, Answer, Chunk, Deployment, Embeddings, Parties, Request

_LONGEST_NAME = 256
_ANSWERED = "200"
_NO_TEXT = ("tool_calls", "function_call", "refusal", "audio", "images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and how their request is known. `trace_context` is a W3C `traceparent`.

    They may use what is on all lists of `models`; where there is none, everything. `parties` are whose limits hold;
    `key_spent` is what their key has spent in all, as far as it is known.
    """

    request_id: str
    scopes: Scopes
    parties: Parties = NOBODY
    trace_context: str | None = None
    models: tuple[ModelList, ...] = ()
    key_spent: NanoUsd | None = None


class OpenAttempt:
    """One call to one deployment, under way: what it has said so far. Times are `clock` seconds of one process."""

    def __init__(self, deployment: Deployment, request: Request, *, started: float) -> None:
        self.deployment = deployment
        self.started = started
        self.first_content: float | None = None
        self.reported: Usage | None = None
        self.usage_details: dict[str, Any] = {}
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.malformed_chunks = 0
        self.has_only_text = True  # and thoughts, in one choice: what another model can go on with
        self.is_interrupted = False
        self._request = request
        self._content: list[str] = []
        self._beside: list[str] = []  # reasoning, refusals, the arguments of calls

    @property
    def content(self) -> str:
        """The text of the answer so far."""
        return "".join(self._content)

    @property
    def has_produced(self) -> bool:
        """Say whether anything was generated."""
        return bool(self._content or self._beside or not self.has_only_text)

    def follow_answer(self, answer: Answer) -> None:
        """Take what a whole answer says of itself."""
        self.reported, self.usage_details = answer.usage, answer.usage_details
        self.response_id, self.response_model = answer.response_id, answer.response_model
        for choice in answer.choices:
            self._follow_delta(choice.get("message") or {})

    def follow_embeddings(self, embeddings: Embeddings) -> None:
        """Take what embeddings say of themselves."""
        self.reported, self.response_model = embeddings.usage, embeddings.response_model

    def follow(self, chunk: Chunk) -> None:
        """Take what a chunk says of its answer."""
        self.malformed_chunks += chunk.malformed
        self.reported = chunk.usage or self.reported
        self.usage_details = chunk.usage_details or self.usage_details
        self.response_id = chunk.response_id or self.response_id
        self.response_model = chunk.response_model or self.response_model
        for choice in chunk.choices:
            self._follow_delta(choice.get("delta") or {})
            if choice["index"]:
                self.has_only_text = False

    @property
    def is_estimated(self) -> bool:
        """Say whether the provider did not get to report its usage whole."""
        return self.is_interrupted or self.reported is None

    @property
    def final_usage(self) -> Usage:
        """What is billed: as reported, or estimated where the provider did not get to say it all."""
        if self.reported is not None and not self.is_interrupted:
            return self.reported
        return interrupted_usage(self.reported, self._request.body, "".join((*self._content, *self._beside)))

    def _follow_delta(self, delta: dict[str, Any]) -> None:
        if isinstance(text := delta.get("content"), str) and text:
            self._content.append(text)
        if isinstance(thought := delta.get("reasoning_content"), str) and thought:
            self._beside.append(thought)
        if any(delta.get(name) for name in _NO_TEXT):
            self.has_only_text = False
            self._beside += _written_beside(delta)


class Run:
    """Follows one request from its arrival to its event."""

    def __init__(self, request: Request, caller: Caller, *, started: float) -> None:
        self.request = request
        self.caller = caller
        self.started = started
        self.allowance_ids: tuple[str, ...] = ()
        self.max_tokens: int | None = None  # that the budget allows an answer
        self._attempts: dict[OpenAttempt, Attempt] = {}  # in the order of their ends
        self._told: list[OpenAttempt] = []  # whose content the client has been given
        self._event_id = str(uuid.uuid4())
        self._event: SpendRecorded | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Those that have ended, or answer."""
        return tuple(self._attempts.values())

    @property
    def fallback_id(self) -> str:
        """The answer's `id` where the provider gave none."""
        return f"chatcmpl-{self._event_id}"

    @property
    def is_concluded(self) -> bool:
        """Say whether the event is made."""
        return self._event is not None

    @property
    def is_billed(self) -> bool:
        """Say whether an attempt is known to be billed."""
        return any(attempt.billed for attempt in self.attempts)

    @property
    def cost(self) -> NanoUsd:
        """What the attempts that have ended cost, failed ones included."""
        return NanoUsd(sum(attempt.cost for attempt in self.attempts))

    @property
    def usage(self) -> Usage:
        """The usage of what the client was given; of a stream that another deployment went on with, of both."""
        return sum((attempt.final_usage for attempt in self._told), Usage())

    @property
    def tokens(self) -> int:
        """How many tokens went in and out, of what the client was given."""
        usage = self.usage
        return usage.input_tokens + usage.output_tokens

    @property
    def usage_details(self) -> dict[str, Any]:
        """Further fields of OpenAI's `usage`, as the deployment that answered reported them."""
        return self._told[-1].usage_details if len(self._told) == 1 else {}

    def answers(self, attempt: OpenAttempt, clock: float) -> None:
        """This attempt is the one that answers: what it says, the client is given."""
        self._told.append(attempt)
        self._put(attempt, _ANSWERED, clock, billed=None)

    def fails(self, attempt: OpenAttempt, status: int | str, clock: float, *, usage: Usage | None = None) -> None:
        """An attempt has failed, before its first content or after. It costs what it is known to be billed for.

        `usage` is what the failure itself reports.
        """
        attempt.is_interrupted = True
        attempt.reported = usage or attempt.reported
        is_billed = attempt.reported is not None or attempt.has_produced
        self._put(attempt, str(status), clock, billed=attempt.final_usage if is_billed else None)

    def conclude(self, outcome: Outcome, *, version: str, time: datetime, clock: float) -> SpendRecorded:
        """Make the request's event."""
        self._event = self._spend(outcome, version, time, clock)
        return self._event

    def failed(self, *, version: str, time: datetime, clock: float) -> CompletionFailed:
        """Make the event of a request that nobody answered."""
        return CompletionFailed(
            event_id=self._event_id,
            time=time,
            request_id=self.caller.request_id,
            alias=self.request.alias,
            scopes=self.caller.scopes,
            attempts=self.attempts,
            latency_ms=_ms(self.started, clock),
            trace_context=self.caller.trace_context,
            cost=self.cost,
            catalog_version=version,
            allowance_ids=self.allowance_ids,
        )

    def _put(self, attempt: OpenAttempt, status: str, clock: float, *, billed: Usage | None) -> None:
        """Write an attempt down, in place of what was written of it before."""
        deployment = attempt.deployment
        self._attempts[attempt] = Attempt(
            model=deployment.name,
            model_id=deployment.model_id,
            status=status,
            ms=_ms(attempt.started, clock),
            billed=billed is not None or status == _ANSWERED,
            cost=NOTHING if billed is None else cost_of(billed, deployment.model),
            malformed_chunks=attempt.malformed_chunks,
        )

    def _spend(self, outcome: Outcome, version: str, time: datetime, clock: float) -> SpendRecorded:
        attempt = self._paid_for()
        if outcome != "completed":
            attempt.is_interrupted = True
        if self._attempts[attempt].status == _ANSWERED:
            self._put(attempt, _ANSWERED, clock, billed=attempt.final_usage)
        return SpendRecorded(
            event_id=self._event_id,
            time=time,
            request_id=self.caller.request_id,
            response_id=_bounded(attempt.response_id),
            alias=self.request.alias,
            upstream_model=attempt.deployment.upstream_model,
            response_model=_bounded(attempt.response_model),
            provider=attempt.deployment.provider,
            usage=self.usage if self._told else attempt.final_usage,
            usage_is_estimated=any(told.is_estimated for told in self._told or [attempt]),
            cost=self.cost,
            catalog_version=version,
            scopes=self.caller.scopes,
            allowance_ids=self.allowance_ids,
            outcome=outcome,
            attempts=self.attempts,
            latency_ms=_ms(self.started, clock),
            time_to_first_token_ms=self._time_to_first_token_ms(),
            trace_context=self.caller.trace_context,
        )

    def _paid_for(self) -> OpenAttempt:
        """Give the attempt whose usage the event tells: the one that answered last, or that is billed all the same."""
        billed = [attempt for attempt, written in self._attempts.items() if written.billed]
        if not billed:
            raise RuntimeError("a request that nobody serves can't be concluded")
        return self._told[-1] if self._told else billed[-1]

    def _time_to_first_token_ms(self) -> int | None:
        first = self._told[0].first_content if self._told else None
        return None if first is None else _ms(self.started, first)


def _ms(started: float, ended: float) -> int:
    return round((ended - started) * 1000)


def _bounded(said: str | None) -> str | None:
    """Keep what a provider says of itself from filling the ledger."""
    return None if said is None else said[:_LONGEST_NAME]


def _written_beside(delta: dict[str, Any]) -> list[str]:
    """Give what the model wrote in a refusal or in the arguments of calls, in one delta or message."""
    calls: list[dict[str, Any]] = delta.get("tool_calls") or []
    functions: list[dict[str, Any]] = [call.get("function") or {} for call in calls]
    functions.append(delta.get("function_call") or {})
    written = [delta.get("refusal"), *(function.get("arguments") for function in functions)]
    return [text for text in written if isinstance(text, str)]

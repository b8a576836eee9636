"""What the gateway needs from the world. Adapters fulfil these; `bootstrap.py` chooses which."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol

from events.accounts import Account, AccountEvent, AccountKind, Team, User
from events.activity import Completion, Dimension, Slot, Status, Sums
from events.alerts import Alert, Mark
from events.allowance import Allowance
from events.budget import Budget, BudgetWindow
from events.codec import Event
from events.keys import Key, KeyEvent
from events.money import NanoUsd
from events.spend import Usage
from functions.gateway.catalog import Mode, Model

SPEND_EVENTS = "spend-events"
BUDGET_ALERTS = "budget-alerts"
TOPICS = (SPEND_EVENTS, BUDGET_ALERTS)

PASSED_HEADERS = ("anthropic-beta",)  # of a request's headers: what the provider whose they are may be sent


# --- upstreams -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One configured provider + model + credentials. Several may share a `group`, the alias clients ask for.

    Timeouts are in seconds: `timeout_s` bounds a whole non-streamed attempt, `first_token_timeout_s` the wait for
    a stream's first content, `idle_timeout_s` each silence after it. Of a group, those of the lowest `order` are asked
    first; `weight`, or else `rpm`, or else `tpm`, is a share of its traffic. `allowed_fails` is how many failures in a
    minute it may have before it is rested for `cooldown_s`; `None`: the rule of `health.py`.
    """

    model_id: str
    group: str
    provider: str  # openai, anthropic, gemini
    upstream_model: str
    model: Model  # prices, limits and abilities, from the catalog
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float
    first_token_timeout_s: float
    idle_timeout_s: float
    order: int = 0
    weight: float | None = None
    rpm: int | None = None  # requests and tokens a minute that it may be asked
    tpm: int | None = None
    max_parallel_requests: int | None = None
    num_retries: int | None = None  # instead of the router's
    allowed_fails: int | None = None
    cooldown_s: float = 5  # 0: it is never rested

    @property
    def name(self) -> str:
        """`provider/upstream_model`, as LiteLLM writes it."""
        return f"{self.provider}/{self.upstream_model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """How a request wants to be routed, where it says so, instead of as configured. Times are in seconds.

    The three chains: aliases to ask after the request's own has failed, found the input too long, or refused the
    content. `timeout_s` bounds a whole attempt, `stream_timeout_s` each silence of a streamed one, `request_timeout_s`
    the request over all its attempts.
    """

    fallbacks: tuple[str, ...] | None = None
    context_window_fallbacks: tuple[str, ...] | None = None
    content_policy_fallbacks: tuple[str, ...] | None = None
    num_retries: int | None = None
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    request_timeout_s: float | None = None


AS_CONFIGURED = Wishes()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A Chat Completions request, validated. `body` is the client's own JSON object, less the gateway's own fields.

    `drop_params` says what to do with a parameter that an upstream can't take: leave it out, or refuse. `headers` are
    those of the client's that a provider may be sent (`PASSED_HEADERS`), in lower case.
    """

    alias: str
    body: Mapping[str, Any]
    is_stream: bool
    wants_usage: bool  # stream_options.include_usage
    drop_params: bool = True
    wishes: Wishes = AS_CONFIGURED
    legacy_body: Mapping[str, Any] | None = None  # as it came, where `body` has its `functions` as `tools`
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    mode: ClassVar[Mode] = "chat"

    @property
    def offers_functions(self) -> bool:
        """Say whether the answer is to call a function in the older form, as the request offers them."""
        return self.legacy_body is not None and bool(self.legacy_body.get("functions"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingRequest:
    """An Embeddings request, validated. `body` is the client's own JSON object, less the gateway's own fields."""

    alias: str
    body: Mapping[str, Any]
    drop_params: bool = True
    wishes: Wishes = AS_CONFIGURED

    mode: ClassVar[Mode] = "embedding"
    is_stream: ClassVar[bool] = False


Request = ChatRequest | EmbeddingRequest


@dataclass(slots=True, kw_only=True)
class Answer:
    """A whole answer. `choices` are OpenAI's `choices` of a `chat.completion`.

    `usage` is `None` where the provider reports none; `usage_details` are further fields of OpenAI's `usage`, in its
    nesting; `created` is in Unix seconds.
    """

    choices: list[dict[str, Any]]
    usage: Usage | None
    response_id: str | None
    response_model: str | None
    created: int | None = None
    usage_details: dict[str, Any] = field(default_factory=dict[str, Any])
    extra: dict[str, Any] = field(default_factory=dict[str, Any])  # further top-level fields (system_fingerprint …)


@dataclass(slots=True, kw_only=True)
class Embeddings:
    """The vectors of an `EmbeddingRequest`, in the order of its inputs: numbers, or base64 of little-endian floats."""

    vectors: Sequence[list[float] | str]
    usage: Usage | None
    response_model: str | None = None


@dataclass(slots=True, kw_only=True)
class Chunk:
    """One piece of a streamed answer. `choices` are OpenAI's `choices` of a `chat.completion.chunk`.

    `usage` is the whole usage so far as the provider last reported it, in whichever chunk it came. `malformed` events
    were passed over since the last chunk; a chunk may say nothing else.
    """

    choices: list[dict[str, Any]]
    usage: Usage | None = None
    response_id: str | None = None
    response_model: str | None = None
    created: int | None = None
    usage_details: dict[str, Any] = field(default_factory=dict[str, Any])
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    malformed: int = 0

    @property
    def has_content(self) -> bool:
        """Say whether a client would see something: text, reasoning, a refusal, a tool call, or the end."""
        for choice in self.choices:
            delta: dict[str, Any] = choice.get("delta") or {}
            if choice.get("finish_reason") or any(value for name, value in delta.items() if name != "role"):
                return True
        return False


class Upstream(Protocol):
    """One provider's wire. Raises `UpstreamError` for every failure, timeouts included, at any point."""

    async def complete(self, request: ChatRequest, deployment: Deployment) -> Answer:
        """Answer whole."""
        ...

    def stream(self, request: ChatRequest, deployment: Deployment) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """Answer in chunks. The iterator ends only after the provider's own end of stream.

        A wire that ends early raises. Leaving the context closes the connection, which stops the meter.
        """
        ...

    def dropped_params(self, request: ChatRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name the parameters of the request that this deployment can't take, sorted."""
        ...

    async def warm_up(self) -> None:
        """Import and set up what the first request would wait for."""
        ...


class Embedder(Protocol):
    """One provider's embeddings. Raises `UpstreamError` for every failure, timeouts included."""

    async def embed(self, request: EmbeddingRequest, deployment: Deployment) -> Embeddings:
        """Give one vector for each input."""
        ...

    def dropped_params(self, request: EmbeddingRequest, deployment: Deployment) -> tuple[str, ...]:
        """Name the parameters of the request that this deployment can't take, sorted."""
        ...


# --- store and bus ---------------------------------------------------------------------------------


class AlreadyRecorded(Exception):
    """Some of the events of a commit are in the ledger; nothing of the commit was written."""

    def __init__(self, event_ids: frozenset[str]) -> None:
        super().__init__(f"{len(event_ids)} events are already recorded")
        self.event_ids = event_ids


class Ledger(Protocol):
    """The durable append-only list of events, and in the same commits the counters folded from it."""

    async def commit(self, events: Sequence[Event], increments: Mapping[str, int]) -> dict[str, int]:
        """Append all events and grow all counters, or nothing. Gives the counters' new totals.

        Event ids must differ within a call. Raises `AlreadyRecorded` with the known ids, `Unstorable`,
        `StoreUnavailable`.
        """
        ...

    async def known(self, event_ids: Sequence[str]) -> frozenset[str]:
        """Give those of the ids whose events are in it. Raises `StoreUnavailable`."""
        ...

    def replay(self) -> AsyncIterator[Event]:
        """Give every event once, in no particular order."""
        ...


class Counters(Protocol):
    """What is computed from the ledger. Counters are named by `Budget.counter`; an unknown one is at zero."""

    async def read(self, counter: str) -> BudgetWindow:
        """Give the money spent and what is marked as announced. Raises `StoreUnavailable`."""
        ...

    async def mark_announced(self, counter: str, marks: Sequence[Mark]) -> None:
        """Remember that these alerts of a window were announced; doing it twice is harmless."""
        ...

    async def set_spent(self, counter: str, spent: NanoUsd) -> None:
        """Have a counter say what a replay says; its marks stay. Raises `StoreUnavailable`."""
        ...

    def all(self) -> AsyncIterator[tuple[str, NanoUsd]]:
        """Give the name of every counter there is, and the money spent."""
        ...


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted of an amount that was asked for, and how much of its window's budget is handed out with it."""

    granted: NanoUsd
    admitted: NanoUsd


class Gate(Protocol):
    """How much of each window's budget is handed out (`admitted`), and to whom.

    Where two ask at once, what they are granted together stays within the limit. Each call raises `StoreUnavailable`,
    whether it was done or not; asking again is harmless.
    """

    async def take(self, asked: Allowance, *, limit: NanoUsd, gate_expires_at: datetime | None = None) -> Grant:
        """Hand out `asked.granted`, or as much as keeps `admitted` within the limit.

        An allowance that is known by its id already is taken once: the answer says what it was granted, or nothing
        where its rest was given back. From `gate_expires_at` on nobody asks for `admitted` any more; `None`: somebody
        always may. One whose `returned` is given was given back with that: it takes up the rest and is never late.
        """
        ...

    async def give_back(self, allowance_id: str, rest: NanoUsd) -> None:
        """Take an allowance's rest back; nothing where that was done, or it is forgotten."""
        ...

    async def admitted(self, counter: str) -> NanoUsd:
        """Say how much of a window's budget is handed out."""
        ...

    async def unsettled(self, now: datetime, *, limit: int = 500) -> Sequence[Allowance]:
        """Give the allowances past their `settled_by` that were neither given back nor reconciled, and don't lapse.

        No more than `limit`, those that are late for longest.
        """
        ...

    async def known(self, allowance_ids: Sequence[str]) -> Sequence[Allowance]:
        """Give those of the allowances that are not forgotten."""
        ...

    async def amend(self, before: Allowance, after: Allowance) -> bool:
        """Put `after` in the place of `before`, and what it has returned at others' disposal.

        Does nothing, and says so, where the allowance is not as `before` any more.
        """
        ...

    async def sweep(self, now: datetime, *, limit: int) -> int:
        """Forget allowances that have expired and were given back or lapse, and gates that have none left.

        With them go the counters of their spend. Forgets no more than `limit` of both, and says how many. Stopping
        midway, or doing it again, is harmless.
        """
        ...


class KeyChangedMeanwhile(Exception):
    """Somebody else's change of a key came first; nothing of the commit was written. Read it again."""


class KeyTaken(Exception):
    """A key with this hash is there, or was once; nothing of the commit was written."""


class AliasTaken(Exception):
    """Another key has this alias; nothing of the commit was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyQuery:
    """Which keys to list: those of which all that is given here is so. `offset` of them are passed over."""

    key_hash: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    offset: int = 0
    limit: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPage:
    """Some of the keys that were asked for, the newest first, and how many there are in all."""

    keys: tuple[Key, ...]
    total: int


class Keys(Protocol):
    """Virtual keys: what the ledger's events of them come to, written in the same commits as the events."""

    async def get(self, key_hash: str) -> Key | None:
        """Give the key as it is, or `None` where there is none. Raises `StoreUnavailable`."""
        ...

    async def by_id(self, key_id: str) -> Key | None:
        """Give the key that had this hash at first, whatever it has now. Raises `StoreUnavailable`."""
        ...

    async def expiring(self, after: datetime, before: datetime) -> Sequence[Key]:
        """Give the keys that expire after the one time and not after the other. Raises `StoreUnavailable`."""
        ...

    async def page(self, query: KeyQuery) -> KeyPage:
        """Give some keys. Raises `StoreUnavailable`."""
        ...

    def all(self) -> AsyncIterator[Key]:
        """Give every key, in no particular order."""
        ...

    async def commit(self, events: Sequence[KeyEvent]) -> None:
        """Append the events to the ledger and bring the keys to what they say, or nothing; each of another key.

        Committing again what is committed already is harmless. Raises `KeyChangedMeanwhile`, `KeyTaken`, `AliasTaken`,
        `Unstorable`, `StoreUnavailable`.
        """
        ...

    async def restore(self, before: Key | None, after: Key | None) -> None:
        """Have the record of a hash, which says `before`, say what a replay says. Raises `StoreUnavailable`."""
        ...


class AccountChangedMeanwhile(Exception):
    """Somebody else's change of a user or a team came first; nothing of the commit was written. Read it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountQuery:
    """Which users or teams to list: those of which all that is given here is so. `offset` of them are passed over.

    `ids` are 30 at most; `member` is whom a team has as one.
    """

    ids: tuple[str, ...] | None = None
    alias: str | None = None
    member: str | None = None
    offset: int = 0
    limit: int = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountPage:
    """Some of the users or teams that were asked for, the newest first, and how many there are in all."""

    accounts: tuple[Account, ...]
    total: int


class Accounts(Protocol):
    """Users and teams: what the ledger's events of them come to, written in the same commits as the events."""

    async def get(self, kind: AccountKind, account_id: str) -> Account | None:
        """Give one as it is, or `None` where there is none. Raises `StoreUnavailable`."""
        ...

    async def next_version(self, kind: AccountKind, account_id: str) -> int:
        """Give the next change's version: 1, or more where there is one, or was once. Raises `StoreUnavailable`."""
        ...

    async def named(self, kind: AccountKind, account_ids: Sequence[str]) -> Mapping[str, Account]:
        """Give those that there are, by their ids. Raises `StoreUnavailable`."""
        ...

    async def page(self, kind: AccountKind, query: AccountQuery) -> AccountPage:
        """Give some. Raises `StoreUnavailable`."""
        ...

    async def commit(self, events: Sequence[AccountEvent]) -> None:
        """Append the events to the ledger and bring users and teams to what they say, or nothing; each of another one.

        Committing again what is committed already is harmless. Raises `AccountChangedMeanwhile`, `Unstorable`,
        `StoreUnavailable`.
        """
        ...

    async def restore(self, kind: AccountKind, account_id: str, last: AccountEvent | None) -> None:
        """Have one say what its last event in the ledger says; without one, be as if it never was.

        Raises `StoreUnavailable`.
        """
        ...


class DeliveredAlerts(Protocol):
    """Which alerts have reached the webhook, so that a repeated delivery is not a repeated message."""

    async def has(self, event_id: str) -> bool:
        """Say whether this alert was delivered. Raises `StoreUnavailable`."""
        ...

    async def add(self, event_id: str) -> None:
        """Remember a delivered alert; doing it twice is harmless."""
        ...


class Cooldowns(Protocol):
    """Until when deployments rest, by `model_id`, as instances tell each other: hints, which may be late or lost."""

    async def announce(self, rests: Mapping[str, datetime]) -> None:
        """Tell the others; of a deployment, what was told last holds. Raises `StoreUnavailable`."""
        ...

    async def read(self, now: datetime) -> Mapping[str, datetime]:
        """Give what was told and isn't over. Raises `StoreUnavailable`."""
        ...


class Bus(Protocol):
    """At-least-once topics."""

    async def publish(self, topic: str, event: Event) -> None:
        """Return once the event is durable. Raises `Unstorable`, `StoreUnavailable`."""
        ...

    async def dead_letter(self, topic: str, data: bytes, *, reason: str) -> None:
        """Keep what can never be handled, with its reason, where an operator finds it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One arrival of an event from a topic. `attempt` counts from 1; `token` identifies it to its subscription."""

    token: str
    message_id: str
    topic: str
    data: bytes
    attempt: int
    published_at: datetime


class Subscription(Protocol):
    """The receiving end of a topic, as the local relay needs it. In Google Cloud Eventarc has this role."""

    async def take(self, limit: int) -> list[Delivery]:
        """Lease up to `limit` deliveries; waits a moment for the first. Not acknowledged in time, they come again."""
        ...

    async def acknowledge(self, delivery: Delivery) -> None:
        """Done: it never comes again."""
        ...

    async def retry_later(self, delivery: Delivery, *, delay_s: float) -> None:
        """Not done: it comes again, not before `delay_s` from now."""
        ...

    async def dead_letter(self, delivery: Delivery, *, reason: str) -> None:
        """Given up: it never comes again, and is kept with its reason."""
        ...


class AlertWebhook(Protocol):
    """Where alerts go."""

    async def send(self, alert: Alert) -> None:
        """Return once the receiver has answered 2xx. Raises `AlertNotDelivered`."""
        ...


class AlertNotDelivered(Exception):
    """The webhook refused or fell silent; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendQuery:
    """Which requests to list: those of which all that is given here is so. `offset` of them are passed over.

    `name` is that of the answer or of the call, `alias` what was asked for, `[since, until)` when it was answered.
    """

    key: str | None = None
    user: str | None = None
    team: str | None = None
    end_user: str | None = None
    model: str | None = None
    alias: str | None = None
    provider: str | None = None
    status: Status | None = None
    name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendPage:
    """Some of the requests that were asked for, the latest first, and how many there are in all."""

    requests: tuple[Completion, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CellQuery:
    """Which cells to give: those of the days `first` to `last`, and of all that is given here."""

    first: str
    last: str
    key: str | None = None
    user: str | None = None
    team: str | None = None


class Activity(Protocol):
    """What `events.activity` makes of the ledger, written in the ledger's own commits. Each raises `StoreUnavailable`.

    Who reads many sums says how many at most; where there are more, some of them are missing.
    """

    async def named(self, period: str, dimension: Dimension, names: Sequence[str]) -> Mapping[str, Sums]:
        """Give the sums of some names; what is missing has none."""
        ...

    async def highest(self, dimension: Dimension, *, offset: int, limit: int) -> Sequence[tuple[str, Sums]]:
        """Give names and their sums of all time, the highest spend first."""
        ...

    async def daily(self, dimension: Dimension, first: str, last: str, *, limit: int) -> Sequence[tuple[Slot, Sums]]:
        """Give every day's sums by name, the earliest day first."""
        ...

    async def cells(self, query: CellQuery, *, limit: int) -> Sequence[tuple[Slot, Sums]]:
        """Give the days' sums by everything at once, the earliest day first."""
        ...

    async def page(self, query: SpendQuery) -> SpendPage:
        """List requests."""
        ...

    async def keys(self, key_ids: Sequence[str]) -> Mapping[str, Key]:
        """Give those of the keys that there are, by the hash that each had at first."""
        ...

    def stored(self) -> AsyncIterator[tuple[Slot, Sums]]:
        """Give every sum there is, for a replay to compare."""
        ...

    async def put(self, sums: Mapping[Slot, Sums]) -> None:
        """Have sums say what a replay says."""
        ...

    async def unlisted(self, requests: Sequence[Completion]) -> Sequence[Completion]:
        """Give those requests of the ledger that `page` doesn't know: they were recorded by a version without it."""
        ...

    async def enlist(self, requests: Sequence[Completion]) -> None:
        """Have `page` know requests of the ledger; doing it twice is harmless."""
        ...


# --- admission -------------------------------------------------------------------------------------


RateKind = Literal["requests", "tokens", "parallel"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests or tokens a minute, or so many requests at once. `scope` says whose, as a budget's id does."""

    scope: str
    kind: RateKind
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """Everybody whom a request is counted for. `end_user` is whom it names itself."""

    key: Key | None = None
    user: User | None = None
    team: Team | None = None
    end_user: str | None = None


NOBODY = Parties()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """All that holds for one request, beside the global budget; the widest come first. `parties` are whose it is."""

    budgets: tuple[Budget, ...] = ()
    rates: tuple[Rate, ...] = ()
    parties: Parties = field(default=NOBODY, compare=False)


NO_LIMITS = Limits()


class Hold(Protocol):
    """What one request may spend. Whatever isn't settled when it ends was not spent."""

    @property
    def allowance_ids(self) -> tuple[str, ...]:
        """What its spend is counted in, besides the budgets that it was admitted to."""
        ...

    @property
    def max_tokens(self) -> int | None:
        """How many tokens its answer may have, where that is fewer than were asked for."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What the client is told of its rate limits."""
        ...

    def settle(self, cost: NanoUsd, tokens: int) -> None:
        """Say what the request really cost, and how many tokens it had; once, as soon as it is known."""
        ...


class Admission(Protocol):
    """Decides whether a request may start to spend."""

    def hold(self, request: Request, chain: Sequence[Deployment], limits: Limits) -> AbstractAsyncContextManager[Hold]:
        """Set aside what the request may cost on any deployment of its chain, and count it in its rates.

        Raises `RateLimited`, `BudgetExceeded`.
        """
        ...

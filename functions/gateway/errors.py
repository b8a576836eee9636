"""What goes wrong, as a caller sees it.

GatewayError                    has `status`, `code`; its message tells the caller what to do
├─ BadRequest            400    names the field
├─ BodyTooLarge          413    says the limit
├─ UnsupportedMediaType  415
├─ RequestTimeout        408    the body stopped arriving
├─ NotAuthenticated      401
├─ KeyIsBlocked          401
├─ KeyIsExpired          401    says since when
├─ AccountIsBlocked      401    says whether it is the key's user or team
├─ MasterKeyRequired     403
├─ ModelNotAllowed       403    says whose list refuses it, and lists the models that may be used
├─ RouteNotAllowed       403    lists the paths that the key may use
├─ ModelNotFound         404    lists the models
├─ KeyNotFound           404
├─ AccountNotFound       404
├─ KeyConflict           409    other changes came first
├─ AccountConflict       409
├─ BudgetExceeded        429    says whose, and when the window ends; `x-should-retry: false`
├─ BudgetReserved        429    requests under way have what is left; `x-should-retry: true`
├─ RateLimited           429    says which limit, and when to ask again
├─ AllModelsFailed       503    every attempt: model and status
├─ StreamBroken          503    in the band: the stream ended early
└─ StoreUnavailable      503    the ledger or the bus can't be reached
   └─ Unstorable                they will never take this

UpstreamError                   a provider refused or fell silent; never leaves `gateway/`
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from events.accounts import AccountKind
from events.budget import Budget, scope_of
from events.money import NanoUsd, usd
from events.spend import Attempt, Usage
from events.window import Window
from functions.gateway.headers import attempts_header

_LONGEST_RETRY_AFTER_S = 3600
_RESERVED_S = 2  # most requests under way are over by then


class GatewayError(Exception):
    """An error with an answer: `status` is HTTP's, `code` and `type` are for programs, the message for people."""

    status = 500
    type = "internal_error"
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.headers: dict[str, str] = {}
        self.details: dict[str, Any] = {}


class BadRequest(GatewayError):
    """The request itself is at fault; `param` is the path of the field, such as `messages[0].role`."""

    status = 400
    type = "invalid_request_error"

    def __init__(self, message: str, *, param: str | None = None, code: str = "invalid_value") -> None:
        super().__init__(message, param=param)
        self.code = code


class BodyTooLarge(GatewayError):
    """The body is over the configured limit."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The request body is larger than {limit_bytes} bytes. Send less, or raise "
            "general_settings.max_request_size_mb.",
        )


class UnsupportedMediaType(GatewayError):
    """The body is not declared as JSON."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"

    def __init__(self, content_type: str) -> None:
        super().__init__(f"Content-Type {content_type!r} is not supported. Send application/json.")


class RequestTimeout(GatewayError):
    """The body did not arrive in time; what may still come of it is not read."""

    status = 408
    type = "invalid_request_error"
    code = "request_timeout"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.headers = {"connection": "close"}


class NotAuthenticated(GatewayError):
    """No key, or not the right one."""

    status = 401
    type = "auth_error"

    def __init__(self, message: str, *, code: str = "invalid_api_key") -> None:
        super().__init__(message)
        self.code = code


class KeyIsBlocked(GatewayError):
    """The operator has blocked this key."""

    status = 401
    type = "auth_error"
    code = "key_blocked"

    def __init__(self) -> None:
        super().__init__("This API key is blocked. Its operator can unblock it with /key/unblock.")


class KeyIsExpired(GatewayError):
    """This key's time is over."""

    status = 401
    type = "expired_key"
    code = "key_expired"

    def __init__(self, key_name: str, expired_at: datetime) -> None:
        at = expired_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        super().__init__(f"This API key, {key_name}, expired at {at}. Ask the operator for another.", param=key_name)


class AccountIsBlocked(GatewayError):
    """The operator has blocked this key's user or team."""

    status = 401
    type = "auth_error"

    def __init__(self, kind: AccountKind) -> None:
        super().__init__(f"The {kind} of this API key is blocked. Its operator can unblock it with /{kind}/unblock.")
        self.code = f"{kind}_blocked"


class MasterKeyRequired(GatewayError):
    """The path is the operator's."""

    status = 403
    type = "auth_error"
    code = "master_key_required"


class ModelNotAllowed(GatewayError):
    """The key, or its user or team (the `holder`), may not use this model; `models` says which may be used."""

    status = 403
    code = "model_not_allowed"

    def __init__(self, alias: str, models: Sequence[str], *, holder: str = "key", param: str = "model") -> None:
        usable = f"Use one of: {', '.join(models)}." if models else "It may use none of those that there are."
        refused_by = "This API key" if holder == "key" else f"The {holder} of this API key"
        super().__init__(f"{refused_by} may not use the model {alias!r}. {usable}", param=param)
        self.type = f"{holder}_model_access_denied"
        self.details = {"models": list(models)}


class RouteNotAllowed(GatewayError):
    """The key may not use this path."""

    status = 403
    type = "auth_error"
    code = "route_not_allowed"

    def __init__(self, path: str, routes: Sequence[str]) -> None:
        super().__init__(f"This API key may not use {path}. Its allowed_routes are: {', '.join(routes)}.")


class KeyNotFound(GatewayError):
    """There is no such virtual key, or not any more."""

    status = 404
    type = "not_found_error"
    code = "key_not_found"

    def __init__(self, shown: str, *, param: str = "key") -> None:
        super().__init__(f"There is no key {shown}; /key/list shows those that there are.", param=param)


class AccountNotFound(GatewayError):
    """There is no such user or team, or not any more."""

    status = 404
    type = "not_found_error"

    def __init__(self, kind: AccountKind, account_id: str, *, param: str) -> None:
        super().__init__(f"There is no {kind} {account_id!r}; /{kind}/list shows those that there are.", param=param)
        self.code = f"{kind}_not_found"


class AccountConflict(GatewayError):
    """A user or a team was changed by others again and again; `outcome` says what was changed here."""

    status = 409
    type = "conflict_error"

    def __init__(self, kind: AccountKind, outcome: str = "nothing was changed here") -> None:
        super().__init__(f"The {kind} is being changed by others; {outcome}. Try again.")
        self.code = f"{kind}_conflict"


class KeyConflict(GatewayError):
    """A virtual key was changed by others again and again; nothing was changed here."""

    status = 409
    type = "conflict_error"
    code = "key_conflict"


class ModelNotFound(GatewayError):
    """Nobody serves this model; `models` says what is served."""

    status = 404
    type = "invalid_request_error"
    code = "model_not_found"

    def __init__(self, alias: str, models: Sequence[str]) -> None:
        super().__init__(f"Model {alias!r} not found. Use one of: {', '.join(models)}.", param="model")
        self.details = {"models": list(models)}


class BudgetExceeded(GatewayError):
    """What is not spent of the window's budget can't pay for this. Its status is `budget_exceeded_status_code`'s."""

    type = "budget_exceeded"
    code = "budget_exceeded"

    def __init__(
        self, budget: Budget, *, spent: NanoUsd, max_budget: NanoUsd, window: Window, now: datetime, status: int
    ) -> None:
        until = _reset_at(window)
        opens = f"It opens again at {until}; until then" if until else "It has no duration and doesn't open by itself:"
        left = "" if spent >= max_budget else " What is left doesn't cover this request."
        super().__init__(
            f"Budget has been exceeded! {_whose(budget)}: Current cost: {usd(spent)}, Max budget: "
            f"{usd(max_budget)} (USD).{left} {opens} raise max_budget{' or wait' if until else ''}.",
        )
        self.budget, self.window, self.spent = budget, window, spent
        self.status = status
        self.headers = {"x-should-retry": "false"}
        if until:
            self.headers["retry-after"] = str(max(1, math.ceil((window.ends_at - now).total_seconds())))
        self.details = _budget_details(budget, spent, max_budget, window)


class BudgetReserved(GatewayError):
    """What is left of a budget is set aside for requests under way, which mostly need less: it is not spent."""

    status = 429
    type = "budget_reserved"
    code = "budget_reserved"

    def __init__(self, budget: Budget, *, spent: NanoUsd, max_budget: NanoUsd, window: Window) -> None:
        super().__init__(
            f"{_whose(budget)} is not spent (current cost: {usd(spent)}, max budget: {usd(max_budget)} USD), but what "
            f"is left is set aside for requests under way. Try again in {_RESERVED_S} s, or ask for fewer max_tokens.",
        )
        self.headers = {"x-should-retry": "true", "retry-after": str(_RESERVED_S)}
        self.details = _budget_details(budget, spent, max_budget, window)


class RateLimited(GatewayError):
    """The request is over a limit of requests or tokens a minute, or of requests at once. It has used nothing up.

    `scope` and `name` say whose limit it is. Where a request can never pass, a client has no use for asking again.
    """

    status = 429
    type = "throttling_error"
    code = "rate_limit_exceeded"

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        rate_limit_type: str,
        limit: int,
        remaining: int,
        asked: int,
        ends_at: datetime | None,
        retry_after_s: int,
        can_pass: bool,
    ) -> None:
        at = ends_at.strftime("%Y-%m-%d %H:%M:%S UTC") if ends_at else None
        super().__init__(
            f"Rate limit exceeded for {scope}: {name}. Limit type: {rate_limit_type}. Current limit: {limit}, "
            f"Remaining: {remaining}. {_advice(limit, asked, at, can_pass=can_pass)}",
        )
        self.headers = {"rate_limit_type": rate_limit_type}
        if can_pass:
            self.headers["retry-after"] = str(retry_after_s)
        else:
            self.headers["x-should-retry"] = "false"
        if at is not None:
            self.headers["reset_at"] = at
        self.details = {
            "scope": f"{scope}:{name}",
            "rate_limit_type": rate_limit_type,
            "limit": limit,
            "used": max(0, limit - remaining),
            "reset_at": ends_at.strftime("%Y-%m-%dT%H:%M:%SZ") if ends_at else None,
        }


def _advice(limit: int, asked: int, reset_at: str | None, *, can_pass: bool) -> str:
    """Say what to do about a limit that a request has met."""
    if not limit:
        return "Nothing passes a limit of 0; its operator can raise it."
    if not can_pass:
        return f"The request's input alone is about {asked} tokens, so that it never passes. Send less."
    if reset_at is None:
        return "There is room again as soon as another request is over."
    needs = f"This request needs {asked}. " if asked > 1 else ""
    return f"{needs}Limit resets at: {reset_at}. Ask again then."


class AllModelsFailed(GatewayError):
    """Nobody of the chain answered, or not in the request's time; `attempts` says what those said who were asked.

    The gateway has done the retrying: a client that did it as well would multiply the traffic of an outage.
    """

    status = 503
    type = "all_models_failed"
    code = "all_models_failed"

    def __init__(self, attempts: Sequence[Attempt], *, retry_after_s: float | None = None) -> None:
        asked = attempts_header(attempts)
        super().__init__(f"No model of the fallback chain answered ({asked}). Try again shortly.")
        self.headers = {"x-gateway-attempts": asked, "x-should-retry": "false"}
        if retry_after_s is not None:
            self.headers["retry-after"] = str(math.ceil(min(retry_after_s, _LONGEST_RETRY_AFTER_S)))
        self.details = _details(attempts)


class StreamBroken(GatewayError):
    """The upstream broke off after content had left; what left is not a whole answer."""

    status = 503
    type = "stream_broken"
    code = "stream_broken"

    def __init__(self, model: str, status: int | str, attempts: Sequence[Attempt]) -> None:
        super().__init__(f"The answer of {model} broke off ({status}); it is not complete. Try again.")
        self.details = _details(attempts)


class StoreUnavailable(GatewayError):
    """The ledger, the counters or the bus did not answer in time; nothing was half done."""

    status = 503
    type = "store_unavailable"
    code = "store_unavailable"


class Unstorable(StoreUnavailable):
    """The store will never take this, however often it is asked: it is too large, or of a kind that it refuses."""


def _whose(budget: Budget) -> str:
    scope, scope_id = scope_of(budget.budget_id)
    return f"The {scope.replace('_', ' ')} budget{'' if scope_id is None else f' of {scope_id!r}'}"


def _reset_at(window: Window) -> str | None:
    return None if window.is_endless else window.ends_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _budget_details(budget: Budget, spent: NanoUsd, max_budget: NanoUsd, window: Window) -> dict[str, Any]:
    scope, scope_id = scope_of(budget.budget_id)
    return {
        "scope": scope,
        "scope_id": scope_id,
        "spend": usd(spent),
        "max_budget": usd(max_budget),
        "budget_reset_at": _reset_at(window),
    }


def _details(attempts: Sequence[Attempt]) -> dict[str, Any]:
    return {"attempts": [{"model": a.model, "status": a.status, "ms": a.ms} for a in attempts]}


# Codes of the gateway's own.
NOTHING_SAID = "nothing_said"  # an answer that is over and has said nothing
NO_STREAM = "no_stream"  # a server that doesn't stream, however often it is asked
STALE_CONNECTION = "stale_connection"  # one that was kept open, and that the provider had given up meanwhile


class UpstreamError(Exception):
    """A provider refused or fell silent.

    `status` is its HTTP status or one of `Attempt.status`'s words; `kind`, `code` and `param` are the error's own
    type, code and parameter, lower case as sent, where the body has them; `message` is the provider's own
    text, shortened. `retry_after_s` is its wish, if it had one; `is_lasting` says of a limit that it will not have
    passed in a request's time whatever the wish says, such as a day's quota. `usage` is what it bills all the same.
    """

    usage: Usage | None = None

    def __init__(
        self,
        status: int | str,
        message: str,
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        is_lasting: bool = False,
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.is_lasting = is_lasting

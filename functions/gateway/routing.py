"""Which deployments a request may use, what an upstream's error means, and the walk along the chain."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from events.spend import Attempt
from functions.gateway.errors import AllModelsFailed, BadRequest, ModelNotFound, UpstreamError
from functions.gateway.ports import Deployment, Request

T = TypeVar("T")


class Verdict(Enum):
    """What an upstream's error means for the request."""

    FALL_BACK = "this deployment can't serve the request now: ask the next"
    CLIENT_FAULT = "the request itself is at fault: its sender must change it"


_CLIENT_FAULT_STATUSES = frozenset({400, 413, 415, 422})
_OURS_DESPITE_400 = (
    "api_key_invalid",  # Google answers 400 to a bad key
    "failed_precondition",  # Google: location not supported, billing off
    "model_not_found",
    "organization must be verified",  # OpenAI
    "credit balance",  # Anthropic's billing errors are 400 invalid_request_error
    "usage limits",
)


def judge(error: UpstreamError) -> Verdict:
    """Decide by status first; a 400 that is about our account, not about the request, falls back.

    Sources: https://platform.claude.com/docs/en/api/errors, https://platform.openai.com/docs/guides/error-codes,
    https://ai.google.dev/gemini-api/docs/troubleshooting, and the answers themselves.
    """
    said = f"{error.kind} {error.code} {error.message}".lower()
    if error.status in _CLIENT_FAULT_STATUSES and not any(words in said for words in _OURS_DESPITE_400):
        return Verdict.CLIENT_FAULT
    return Verdict.FALL_BACK


def resolve(
    request: Request, deployments: Mapping[str, Sequence[Deployment]], fallbacks: Mapping[str, Sequence[str]]
) -> list[Deployment]:
    """Give the request's chain: its group's deployments, then each fallback group's.

    Raises `ModelNotFound`, or `BadRequest` for a model of another mode.
    """
    following = request.fallbacks if request.fallbacks is not None else fallbacks.get(request.alias, ())
    groups = dict.fromkeys((request.alias, *following))
    for group in groups:
        if group not in deployments:
            raise ModelNotFound(group, sorted(deployments))
    chain = [deployment for group in groups for deployment in deployments[group]]
    for deployment in chain:
        if deployment.model.mode != request.mode:
            raise _wrong_mode(request, deployment)
    return chain


@dataclass(frozen=True, slots=True)
class Served(Generic[T]):
    """What a chain gave: the answer, and who gave it."""

    answer: T
    deployment: Deployment


async def walk_chain(
    chain: Sequence[Deployment],
    ask: Callable[[Deployment], Awaitable[T]],
    *,
    patience: Callable[[Deployment], float],
    clock: Callable[[], float],
    deadline: float,
    attempts: list[Attempt],
) -> Served[T]:
    """Ask each deployment in turn; the first answer wins.

    `patience` bounds one attempt, in seconds; at `deadline`, by the clock, the running one ends and no other begins.
    Every attempt is added to `attempts` as it ends, so that they are known however the walk ends. Raises
    `AllModelsFailed`, or `BadRequest` with the provider's own words where the request is at fault.
    """
    for deployment in chain:
        started = clock()
        if started >= deadline:
            break
        try:
            async with asyncio.timeout(min(patience(deployment), deadline - started)):
                answer = await ask(deployment)
        except asyncio.CancelledError:
            attempts.append(_attempt(deployment, "client_disconnected", started, clock()))
            raise
        except (UpstreamError, TimeoutError) as failure:
            error = failure if isinstance(failure, UpstreamError) else UpstreamError("timeout", "no answer in time")
            attempts.append(_attempt(deployment, error.status, started, clock()))
            if judge(error) is Verdict.CLIENT_FAULT:
                raise _client_fault(deployment, error) from error
            continue
        attempts.append(_attempt(deployment, 200, started, clock()))
        return Served(answer, deployment)
    raise AllModelsFailed(attempts)


def _attempt(deployment: Deployment, status: int | str, started: float, ended: float) -> Attempt:
    ms = round((ended - started) * 1000)
    return Attempt(model=deployment.name, status=str(status), ms=ms, billed=status == 200)


def _wrong_mode(request: Request, deployment: Deployment) -> BadRequest:
    param = "model" if deployment.group == request.alias else "fallbacks"
    paths = {"chat": "/v1/chat/completions", "embedding": "/v1/embeddings"}
    message = f"{param}: {deployment.group!r} is of mode {deployment.model.mode!r}; ask for it at "
    return BadRequest(message + f"{paths[deployment.model.mode]}.", param=param)


def _client_fault(deployment: Deployment, error: UpstreamError) -> BadRequest:
    message = f"{deployment.name} refused the request: {error.message}"
    return BadRequest(message, param=error.param, code=error.code or error.kind or "invalid_request")

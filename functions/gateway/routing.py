"""Which deployments a request may use, and the walk along the chain."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from events.spend import Attempt
from functions.gateway.errors import AllModelsFailed, BadRequest, ModelNotFound, UpstreamError
from functions.gateway.ports import Deployment, Request
from functions.gateway.verdicts import Verdict, judge

T = TypeVar("T")


def resolve(
    request: Request, deployments: Mapping[str, Sequence[Deployment]], fallbacks: Mapping[str, Sequence[str]]
) -> list[Deployment]:
    """Give the request's chain: its group's deployments, then each fallback group's.

    Raises `ModelNotFound`, or `BadRequest` for a model of another mode.
    """
    following = request.wishes.fallbacks if request.wishes.fallbacks is not None else fallbacks.get(request.alias, ())
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

"""How long an attempt may take: as the request wishes, or the deployment, or the router, or as suits the model."""

from dataclasses import replace
from typing import NamedTuple

from functions.gateway.estimates import reading_s
from functions.gateway.ports import AS_CONFIGURED, Deployment, Request
from functions.gateway.settings import AttemptTimeouts

_WHOLE_S = 300
_FIRST_TOKEN_S = 10
_IDLE_S = 20
_THOUGHT_S = 60  # of either, where a model thinks unasked: some show nothing of that


class Timeouts(NamedTuple):
    """In seconds: a whole answer, a stream's first content, each silence after it."""

    whole_s: float
    first_token_s: float
    idle_s: float


def timeouts_of(own: AttemptTimeouts, router: AttemptTimeouts, *, thinks_unasked: bool) -> Timeouts:
    """Resolve a deployment's timeouts. A `timeout` that is given bounds the two of a stream as well."""
    given = own.timeout or router.timeout
    first_token = own.first_token_timeout or own.stream_timeout or router.first_token_timeout or router.stream_timeout
    idle = own.idle_timeout or own.stream_timeout or router.idle_timeout or router.stream_timeout
    first_token = first_token or (_THOUGHT_S if thinks_unasked else _FIRST_TOKEN_S)
    idle = idle or (_THOUGHT_S if thinks_unasked else _IDLE_S)
    return Timeouts(
        whole_s=given or _WHOLE_S,
        first_token_s=min(first_token, given or first_token),
        idle_s=min(idle, given or idle),
    )


def patient_with(deployment: Deployment, request: Request) -> Deployment:
    """Give the deployment with the time that a request has for it: as it wishes, or more where it is long to read."""
    wishes, reads_s = request.wishes, round(reading_s(request.body))
    if wishes is AS_CONFIGURED and not reads_s:
        return deployment
    stream_timeout_s = wishes.stream_timeout_s or wishes.timeout_s
    return replace(
        deployment,
        timeout_s=wishes.timeout_s or deployment.timeout_s,
        first_token_timeout_s=stream_timeout_s or deployment.first_token_timeout_s + reads_s,
        idle_timeout_s=stream_timeout_s or deployment.idle_timeout_s,
    )

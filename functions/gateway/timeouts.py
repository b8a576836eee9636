"""How long an attempt may take: the deployment's settings, else the router's, else what suits the model."""

from typing import NamedTuple

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

"""Who may be asked for a request: its alias's group of deployments, and the groups that take over."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from functions.gateway.errors import BadRequest, ModelNotFound
from functions.gateway.policy import Chains, RoutingPolicy
from functions.gateway.ports import Deployment, Request

Group = tuple[Deployment, ...]

_PATHS = {"chat": "/v1/chat/completions", "embedding": "/v1/embeddings"}


@dataclass(frozen=True, slots=True)
class Chain:
    """A request's groups, in the order in which they take over.

    `larger` take over where the input is too long, `lenient` where the content is refused.
    """

    groups: tuple[Group, ...]
    larger: tuple[Group, ...] = ()
    lenient: tuple[Group, ...] = ()

    def deployments(self) -> Iterator[Deployment]:
        """Give everyone who may be asked."""
        for group in (*self.groups, *self.larger, *self.lenient):
            yield from group


def resolve(request: Request, deployments: Mapping[str, Group], policy: RoutingPolicy) -> Chain:
    """Give the request's chain. Raises `ModelNotFound`, or `BadRequest` for a model of another mode."""
    wishes = request.wishes
    following = wishes.fallbacks
    if following is None:
        following = policy.fallbacks.get(request.alias, policy.default_fallbacks)
    asked = (request.alias, *following[: policy.max_fallbacks])
    larger = _special(wishes.context_window_fallbacks, policy.context_window_fallbacks, asked)
    lenient = _special(wishes.content_policy_fallbacks, policy.content_policy_fallbacks, asked)
    return Chain(
        groups=_groups(request, asked, deployments, "fallbacks"),
        larger=_groups(request, larger, deployments, "context_window_fallbacks"),
        lenient=_groups(request, lenient, deployments, "content_policy_fallbacks"),
    )


def _special(wished: tuple[str, ...] | None, configured: Chains, asked: Sequence[str]) -> tuple[str, ...]:
    """Give a special chain: the request's own, or those of all the groups that it may come to."""
    if wished is not None or not configured:
        return wished or ()
    return tuple(alias for group in asked for alias in configured.get(group, ()))


def _groups(
    request: Request, aliases: Sequence[str], deployments: Mapping[str, Group], field: str
) -> tuple[Group, ...]:
    groups: list[Group] = []
    for alias in dict.fromkeys(aliases):
        if alias not in deployments:
            raise ModelNotFound(alias, sorted(deployments))
        group = deployments[alias]
        for deployment in group:
            if deployment.model.mode != request.mode:
                raise _wrong_mode(alias, deployment, "model" if alias == request.alias else field)
        groups.append(group)
    return tuple(groups)


def _wrong_mode(alias: str, deployment: Deployment, param: str) -> BadRequest:
    mode = deployment.model.mode
    return BadRequest(f"{param}: {alias!r} is of mode {mode!r}; ask for it at {_PATHS[mode]}.", param=param)

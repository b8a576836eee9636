"""Who may be asked for a request: its alias's group of deployments, and the groups that take over."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from functions.gateway.access import may_use_model, usable_models
from functions.gateway.errors import BadRequest, ModelNotAllowed, ModelNotFound
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


def resolve(
    request: Request, deployments: Mapping[str, Group], policy: RoutingPolicy, models: Sequence[str] = ()
) -> Chain:
    """Give the request's chain.

    Where there are `models`, they are all that may be asked: of what is configured the others are left out, of what
    the request names they are refused. Raises `ModelNotAllowed`, `ModelNotFound`, or `BadRequest` for a model of
    another mode.
    """
    if models:
        _check_allowed(request, deployments, models)

    def may_use(alias: str) -> bool:
        return may_use_model(models, alias, deployments)

    wishes = request.wishes
    following = wishes.fallbacks
    if following is None:
        following = policy.fallbacks.get(request.alias, policy.default_fallbacks)
    asked = (request.alias, *_those(may_use, following)[: policy.max_fallbacks])
    larger = _special(wishes.context_window_fallbacks, policy.context_window_fallbacks, asked)
    lenient = _special(wishes.content_policy_fallbacks, policy.content_policy_fallbacks, asked)
    return Chain(
        groups=_groups(request, asked, deployments, "fallbacks"),
        larger=_groups(request, _those(may_use, larger), deployments, "context_window_fallbacks"),
        lenient=_groups(request, _those(may_use, lenient), deployments, "content_policy_fallbacks"),
    )


def _those(may_use: Callable[[str], bool], aliases: Sequence[str]) -> tuple[str, ...]:
    return tuple(filter(may_use, aliases))


def _check_allowed(request: Request, deployments: Mapping[str, Group], models: Sequence[str]) -> None:
    """Refuse a request that names a model beyond `models`."""
    wishes = request.wishes
    named = {
        "model": (request.alias,),
        "fallbacks": wishes.fallbacks or (),
        "context_window_fallbacks": wishes.context_window_fallbacks or (),
        "content_policy_fallbacks": wishes.content_policy_fallbacks or (),
    }
    for param, aliases in named.items():
        for alias in aliases:
            if not may_use_model(models, alias, deployments):
                raise ModelNotAllowed(alias, usable_models(models, deployments), param=param)
            if alias not in deployments:
                raise ModelNotFound(alias, usable_models(models, deployments))


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

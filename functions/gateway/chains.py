"""Who may be asked for a request: its alias's group of deployments, and the groups that take over."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from functions.gateway.access import ModelList, refusing, usable_models
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
    request: Request,
    deployments: Mapping[str, Group],
    policy: RoutingPolicy,
    models: Sequence[ModelList] = (),
    left_out: Container[str] = (),
) -> Chain:
    """Give the request's chain.

    Whom one of the lists of `models` doesn't have is not asked: of what is configured they are left out, of what the
    request names they are refused. Those that are `left_out` take over from nobody. Raises `ModelNotAllowed`,
    `ModelNotFound`, or `BadRequest` for a model of another mode.
    """
    if models:
        _check_allowed(request, deployments, models)
        deployments = {alias: deployments[alias] for alias in usable_models(models, deployments)}
    wishes = request.wishes
    configured = list(_following(request.alias, policy, {request.alias}))

    def groups(wished: tuple[str, ...] | None, otherwise: Iterable[str], param: str) -> dict[str, Group]:
        if wished is None:
            found = _fitting(request, otherwise, deployments)
        else:
            found = _named(request, wished, deployments, param)
        return {alias: group for alias, group in found.items() if alias not in left_out}

    following = groups(wishes.fallbacks, configured, "fallbacks")
    asked = _named(request, (request.alias,), deployments, "model")
    asked |= dict(islice(following.items(), policy.max_fallbacks))
    larger, lenient = policy.context_window_fallbacks, policy.content_policy_fallbacks
    return Chain(
        groups=tuple(asked.values()),
        larger=_of(groups(wishes.context_window_fallbacks, _all(larger, asked), "context_window_fallbacks")),
        lenient=_of(groups(wishes.content_policy_fallbacks, _all(lenient, asked), "content_policy_fallbacks")),
    )


def _check_allowed(request: Request, deployments: Mapping[str, Group], models: Sequence[ModelList]) -> None:
    """Refuse a request that names a model that isn't on every list."""
    wishes = request.wishes
    named = {
        "model": (request.alias,),
        "fallbacks": wishes.fallbacks or (),
        "context_window_fallbacks": wishes.context_window_fallbacks or (),
        "content_policy_fallbacks": wishes.content_policy_fallbacks or (),
    }
    for param, aliases in named.items():
        for alias in aliases:
            if refused_by := refusing(models, alias, deployments):
                raise ModelNotAllowed(alias, usable_models(models, deployments), holder=refused_by.holder, param=param)


def _following(alias: str, policy: RoutingPolicy, met: set[str]) -> Iterator[str]:
    """Give who takes over from an alias, and after each who takes over from it, as LiteLLM has it."""
    for other in policy.fallbacks.get(alias, policy.default_fallbacks):
        if other not in met:
            met.add(other)
            yield other
            yield from _following(other, policy, met)


def _all(chains: Chains, asked: Iterable[str]) -> Iterator[str]:
    """Give the chains of all the groups that may be asked, as one."""
    return (alias for group in asked for alias in chains.get(group, ()))


def _of(groups: Mapping[str, Group]) -> tuple[Group, ...]:
    return tuple(groups.values())


def _named(request: Request, aliases: Iterable[str], deployments: Mapping[str, Group], param: str) -> dict[str, Group]:
    """Give the groups that a request names. Raises `ModelNotFound`, or `BadRequest` for one of another mode."""
    for alias in aliases:
        if alias not in deployments:
            raise ModelNotFound(alias, sorted(deployments))
        if _modes(deployments[alias]) != {request.mode}:
            raise _wrong_mode(alias, deployments[alias], request, param)
    return {alias: deployments[alias] for alias in aliases}


def _fitting(request: Request, aliases: Iterable[str], deployments: Mapping[str, Group]) -> dict[str, Group]:
    """Give the configured groups that can answer it: a default chain may be of another mode, or not for this key."""
    served = [alias for alias in aliases if alias in deployments]
    return {alias: deployments[alias] for alias in served if _modes(deployments[alias]) == {request.mode}}


def _modes(group: Group) -> set[str]:
    return {deployment.model.mode for deployment in group}


def _wrong_mode(alias: str, group: Group, request: Request, param: str) -> BadRequest:
    mode = next(deployment.model.mode for deployment in group if deployment.model.mode != request.mode)
    return BadRequest(f"{param}: {alias!r} is of mode {mode!r}; ask for it at {_PATHS[mode]}.", param=param)

"""What a virtual key may use, by itself and with its user and team: which models, and which paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from functions.gateway.ports import Deployment

# LiteLLM's words for every model. A team's models are a list of their own, which holds beside the key's.
_ALL_MODELS = frozenset({"all-proxy-models", "all-team-models"})

_INFERENCE = ("/chat/completions", "/embeddings")
_INFOS = ("/models", "/model/info", "/key/info")
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "llm_api_routes": (*_INFERENCE, "/models"),
    "openai_routes": (*_INFERENCE, "/models"),
    "info_routes": _INFOS,
    "management_routes": (),  # all of them want the master key
}
ROUTE_GROUPS = tuple(_GROUPS)


@dataclass(frozen=True, slots=True)
class ModelList:
    """All the models that a `holder` may use, or where there is none, everything."""

    holder: Literal["key", "user", "team"]
    models: tuple[str, ...]


def may_use_model(models: Sequence[str], alias: str, deployments: Mapping[str, Sequence[Deployment]]) -> bool:
    """Say whether an alias is among somebody's models, of which none means all.

    One with a `*` stands for every alias that it fits, and for those whose deployments' `provider/model` it fits.
    """
    return not models or any(covers(entry, alias, deployments.get(alias, ())) for entry in models)


def refusing(
    lists: Sequence[ModelList], alias: str, deployments: Mapping[str, Sequence[Deployment]]
) -> ModelList | None:
    """Give the first list that doesn't have an alias, or `None` where all have it."""
    return next((one for one in lists if not may_use_model(one.models, alias, deployments)), None)


def usable_models(lists: Sequence[ModelList], deployments: Mapping[str, Sequence[Deployment]]) -> list[str]:
    """Give the aliases that are on all of the lists, in the configuration's order."""
    return [alias for alias in deployments if refusing(lists, alias, deployments) is None]


def may_use_route(allowed_routes: Sequence[str], path: str) -> bool:
    """Say whether a path is among a key's, of which none means all.

    They are exact, begin as one that ends in `/*` does, or are of a group of LiteLLM's, which has each path with and
    without `/v1`.
    """
    return not allowed_routes or any(_leads_to(route, path) for route in allowed_routes)


def covers(entry: str, alias: str, group: Sequence[Deployment] = ()) -> bool:
    """Say whether an entry of a list of models stands for an alias, whose deployments are its `group`."""
    if entry == alias or entry in _ALL_MODELS:
        return True
    return _fits(entry, alias) or (bool(group) and all(_fits(entry, deployment.name) for deployment in group))


def _fits(pattern: str, name: str) -> bool:
    start, star, end = pattern.partition("*")
    is_long_enough = len(name) >= len(start) + len(end)
    return bool(star) and is_long_enough and name.startswith(start) and name.endswith(end)


def _leads_to(route: str, path: str) -> bool:
    if route in _GROUPS:
        plain = path.removeprefix("/v1")
        return any(plain == known or plain.startswith(f"{known}/") for known in _GROUPS[route])
    return path == route or (route.endswith("/*") and path.startswith(route[:-1]))

"""What a key may use."""

import pytest

from functions.gateway.access import ModelList, may_use_model, may_use_route, refusing, usable_models
from tests.builders import deployment

DEPLOYMENTS = {
    "gpt-4o": (deployment("openai", "gpt-4o"),),
    "claude-sonnet": (deployment("anthropic", "claude-sonnet-4-6"),),
    "any": (deployment("openai", "gpt-4o"), deployment("anthropic", "claude-sonnet-4-6")),
}


@pytest.mark.parametrize(
    ("models", "usable"),
    [
        ((), ["gpt-4o", "claude-sonnet", "any"]),
        (("gpt-4o",), ["gpt-4o"]),
        (("gpt-4o", "any"), ["gpt-4o", "any"]),
        (("all-proxy-models",), ["gpt-4o", "claude-sonnet", "any"]),
        (("all-team-models",), ["gpt-4o", "claude-sonnet", "any"]),
        (("no-default-models",), []),
        (("*",), ["gpt-4o", "claude-sonnet", "any"]),
        (("claude-*",), ["claude-sonnet"]),
        (("*-4o",), ["gpt-4o"]),
        (("gpt-4*4o",), []),
        (("openai/*",), ["gpt-4o"]),
        (("anthropic/claude-*",), ["claude-sonnet"]),
        (("GPT-4o",), []),
    ],
)
def test_a_key_may_use_the_models_that_it_names(models: tuple[str, ...], usable: list[str]) -> None:
    assert usable_models([ModelList("key", models)], DEPLOYMENTS) == usable


@pytest.mark.parametrize(
    ("key", "user", "team", "usable", "refused_by"),
    [
        ((), (), (), ["gpt-4o", "claude-sonnet", "any"], None),
        ((), (), ("claude-*",), ["claude-sonnet"], "team"),
        (("gpt-4o", "any"), (), ("openai/*",), ["gpt-4o"], None),
        (("openai/*",), ("*-4o",), (), ["gpt-4o"], None),
        (("all-team-models",), (), ("any",), ["any"], "team"),
        (("all-team-models",), (), (), ["gpt-4o", "claude-sonnet", "any"], None),
        (("gpt-*",), ("claude-*",), (), [], "user"),
        (("any",), ("any",), ("any",), ["any"], "key"),
    ],
)
def test_a_model_must_be_on_the_lists_of_all(
    key: tuple[str, ...], user: tuple[str, ...], team: tuple[str, ...], usable: list[str], refused_by: str | None
) -> None:
    lists = [ModelList("key", key), ModelList("user", user), ModelList("team", team)]

    assert usable_models(lists, DEPLOYMENTS) == usable
    refusal = refusing(lists, "gpt-4o", DEPLOYMENTS)
    assert (refusal and refusal.holder) == refused_by


def test_a_pattern_holds_for_models_that_nobody_serves() -> None:
    assert may_use_model(("gpt-*",), "gpt-9", DEPLOYMENTS)
    assert not may_use_model(("openai/*",), "gpt-9", DEPLOYMENTS)


@pytest.mark.parametrize(
    ("routes", "path", "may"),
    [
        ((), "/v1/chat/completions", True),
        (("/chat/completions",), "/chat/completions", True),
        (("/chat/completions",), "/v1/chat/completions", False),
        (("/chat/completions",), "/chat/completions/more", False),
        (("/v1/*",), "/v1/embeddings", True),
        (("/v1/*",), "/v10", False),
        (("llm_api_routes",), "/v1/chat/completions", True),
        (("llm_api_routes",), "/embeddings", True),
        (("openai_routes",), "/v1/models/gpt-4o", True),
        (("llm_api_routes",), "/v1/model/info", False),
        (("info_routes",), "/v1/model/info", True),
        (("info_routes",), "/v1/chat/completions", False),
        (("management_routes",), "/v1/chat/completions", False),
        (("management_routes", "/embeddings"), "/embeddings", True),
    ],
)
def test_a_key_may_use_the_paths_that_it_names(routes: tuple[str, ...], path: str, may: bool) -> None:
    assert may_use_route(routes, path) is may

"""Who may be asked for a request."""

from dataclasses import replace
from typing import Literal

import pytest

from functions.gateway.access import ModelList
from functions.gateway.chains import resolve
from functions.gateway.errors import BadRequest, ModelNotAllowed, ModelNotFound
from functions.gateway.policy import RoutingPolicy
from functions.gateway.ports import AS_CONFIGURED, Wishes
from tests.builders import chat_request, deployment, embedding_request, model

SONNET = deployment("anthropic", "claude-sonnet-4-6", group="claude-sonnet")
GPT = deployment("openai", "gpt-4o")
GEMINI = deployment("gemini", "gemini-2.5-pro", group="gemini-pro")
VECTORS = deployment("openai", "vectors", model=model(mode="embedding"))
GROUPS = {"claude-sonnet": (SONNET,), "gpt-4o": (GPT,), "gemini-pro": (GEMINI,), "vectors": (VECTORS,)}
POLICY = RoutingPolicy(
    fallbacks={"claude-sonnet": ("gpt-4o", "gemini-pro")},
    context_window_fallbacks={"gpt-4o": ("gemini-pro",)},
    content_policy_fallbacks={"claude-sonnet": ("gpt-4o",)},
)


def of_key(*models: str) -> list[ModelList]:
    """The lists of a key with these models, and with neither user nor team."""
    return [ModelList("key", models)] if models else []


def test_a_chain_is_the_group_and_then_its_fallbacks() -> None:
    assert resolve(chat_request("claude-sonnet"), GROUPS, POLICY).groups == ((SONNET,), (GPT,), (GEMINI,))


def test_a_request_that_names_its_own_fallbacks_gets_those() -> None:
    request = chat_request("claude-sonnet", wishes=Wishes(fallbacks=("gemini-pro",)))

    assert resolve(request, GROUPS, POLICY).groups == ((SONNET,), (GEMINI,))


def test_default_fallbacks_are_for_those_without_their_own() -> None:
    policy = RoutingPolicy(fallbacks=POLICY.fallbacks, default_fallbacks=("gpt-4o",))

    assert resolve(chat_request("gemini-pro"), GROUPS, policy).groups == ((GEMINI,), (GPT,))
    assert resolve(chat_request("gpt-4o"), GROUPS, policy).groups == ((GPT,),)
    assert len(resolve(chat_request("claude-sonnet"), GROUPS, policy).groups) == 3


def test_no_more_fallbacks_are_taken_than_the_policy_has_it() -> None:
    policy = RoutingPolicy(fallbacks=POLICY.fallbacks, max_fallbacks=1)

    assert resolve(chat_request("claude-sonnet"), GROUPS, policy).groups == ((SONNET,), (GPT,))


def test_the_fallbacks_of_a_fallback_take_over_from_it() -> None:
    policy = RoutingPolicy(fallbacks={"claude-sonnet": ("gpt-4o",), "gpt-4o": ("gemini-pro", "claude-sonnet")})

    assert resolve(chat_request("claude-sonnet"), GROUPS, policy).groups == ((SONNET,), (GPT,), (GEMINI,))


def test_special_chains_are_those_of_every_group_that_may_be_asked() -> None:
    chain = resolve(chat_request("claude-sonnet"), GROUPS, POLICY)

    assert (chain.larger, chain.lenient) == (((GEMINI,),), ((GPT,),))


def test_a_request_may_turn_the_special_chains_off() -> None:
    wishes = Wishes(context_window_fallbacks=(), content_policy_fallbacks=())
    chain = resolve(chat_request("claude-sonnet", wishes=wishes), GROUPS, POLICY)

    assert (chain.larger, chain.lenient) == ((), ())


def test_an_unknown_model_is_refused_with_the_list_of_models() -> None:
    with pytest.raises(ModelNotFound, match=r"'gpt-5' not found\. Use one of: claude-sonnet, gemini-pro, gpt-4o"):
        resolve(chat_request("gpt-5"), GROUPS, POLICY)


@pytest.mark.parametrize("field", ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"])
def test_a_chain_with_a_model_of_another_mode_is_refused_by_its_field(field: str) -> None:
    with pytest.raises(BadRequest, match=f"{field}: 'vectors' is of mode 'embedding'") as refused:
        resolve(chat_request("gpt-4o", wishes=replace(AS_CONFIGURED, **{field: ("vectors",)})), GROUPS, POLICY)

    assert refused.value.param == field


def test_a_configured_chain_of_another_mode_is_passed_over() -> None:
    policy = RoutingPolicy(default_fallbacks=("gpt-4o",))

    assert resolve(embedding_request("vectors"), GROUPS, policy).groups == ((VECTORS,),)


@pytest.mark.parametrize(
    ("models", "groups"),
    [
        (("claude-sonnet",), ((SONNET,),)),
        (("claude-sonnet", "gemini-pro"), ((SONNET,), (GEMINI,))),
        (("claude-*", "gemini/*"), ((SONNET,), (GEMINI,))),
        ((), ((SONNET,), (GPT,), (GEMINI,))),
    ],
)
def test_nobody_takes_over_whom_the_key_may_not_use(models: tuple[str, ...], groups: tuple[object, ...]) -> None:
    assert resolve(chat_request("claude-sonnet"), GROUPS, POLICY, of_key(*models)).groups == groups


def test_nobody_takes_over_whom_the_user_or_the_team_may_not_use() -> None:
    lists = [ModelList("user", ("claude-*", "gemini-*")), ModelList("team", ("anthropic/*", "gpt-4o"))]

    assert resolve(chat_request("claude-sonnet"), GROUPS, POLICY, lists).groups == ((SONNET,),)


@pytest.mark.parametrize("holder", ["key", "user", "team"])
def test_the_refusal_of_a_model_says_whose_list_refuses_it(holder: Literal["key", "user", "team"]) -> None:
    lists = [ModelList(holder, ("gpt-4o",))]

    with pytest.raises(ModelNotAllowed) as refused:
        resolve(chat_request("claude-sonnet"), GROUPS, POLICY, lists)

    assert (refused.value.type, refused.value.details) == (f"{holder}_model_access_denied", {"models": ["gpt-4o"]})
    assert (holder == "key") is ("This API key" in refused.value.message)


def test_a_fallback_beyond_the_key_takes_no_other_s_place() -> None:
    policy = RoutingPolicy(fallbacks=POLICY.fallbacks, max_fallbacks=1)

    chain = resolve(chat_request("claude-sonnet"), GROUPS, policy, of_key("claude-sonnet", "gemini-pro"))

    assert chain.groups == ((SONNET,), (GEMINI,))


def test_the_special_chains_are_those_of_the_key_s_models() -> None:
    chain = resolve(chat_request("claude-sonnet"), GROUPS, POLICY, of_key("claude-sonnet", "gpt-4o"))

    assert (chain.larger, chain.lenient) == ((), ((GPT,),))


@pytest.mark.parametrize("alias", ["gpt-4o", "gpt-5"])
def test_a_model_that_the_key_may_not_use_is_refused(alias: str) -> None:
    with pytest.raises(
        ModelNotAllowed, match=f"may not use the model '{alias}'. Use one of: claude-sonnet."
    ) as refused:
        resolve(chat_request(alias), GROUPS, POLICY, of_key("claude-sonnet"))

    assert (refused.value.status, refused.value.code, refused.value.param) == (403, "model_not_allowed", "model")


@pytest.mark.parametrize("field", ["fallbacks", "context_window_fallbacks", "content_policy_fallbacks"])
def test_a_wished_fallback_that_the_key_may_not_use_is_refused_by_its_field(field: str) -> None:
    request = chat_request("gpt-4o", wishes=replace(AS_CONFIGURED, **{field: ("gemini-pro",)}))

    with pytest.raises(ModelNotAllowed) as refused:
        resolve(request, GROUPS, POLICY, of_key("gpt-4o"))

    assert refused.value.param == field


def test_a_key_s_model_that_nobody_serves_is_not_found_among_its_own() -> None:
    with pytest.raises(ModelNotFound) as missing:
        resolve(chat_request("gpt-5"), GROUPS, POLICY, of_key("gpt-*"))

    assert missing.value.details == {"models": ["gpt-4o"]}

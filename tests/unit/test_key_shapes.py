"""What an operator sends about keys."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import decode, encode
from events.keys import ModelBudget, ModelLimit
from events.money import NanoUsd
from functions.gateway import key_changes, key_shapes
from functions.gateway.errors import BadRequest
from functions.gateway.exact_json import write_json
from functions.surface.keys import row
from tests.builders import NOON, key

ALL_FIELDS: dict[str, Any] = {
    "key_alias": "ci",
    "user_id": "ada",
    "team_id": "core",
    "models": ["gpt-4o", "gpt-4o", "openai/*"],
    "allowed_routes": ["llm_api_routes", "/v1/models"],
    "tags": ["nightly"],
    "metadata": {"env": "dev", "tags": ["a"]},
    "blocked": False,
    "duration": "30d",
    "max_budget": 10,
    "soft_budget": 0.1,
    "budget_duration": "daily",
    "model_max_budget": {"gpt-4o": {"budget_limit": 0.000000001, "time_period": "1d"}, "any": {"max_budget": 0}},
    "rpm_limit": 100,
    "tpm_limit": 0,
    "max_parallel_requests": 5,
    "model_rpm_limit": {"gpt-4o": 10, "openai/*": 0},
    "model_tpm_limit": {"gpt-4o": 1000},
}


def read(**fields: Any) -> dict[str, Any]:
    return key_shapes.read_new_key(json.dumps(fields).encode())


def read_or_refusal(body: dict[str, Any]) -> dict[str, Any] | BadRequest:
    try:
        return read(**body)
    except BadRequest as refused:
        return refused


def test_every_setting_is_among_the_examples() -> None:
    assert set(ALL_FIELDS) == key_shapes.SETTINGS


def test_every_field_becomes_a_field_of_the_key() -> None:
    made = key_changes.created("sk-0123456789", read(**ALL_FIELDS), "master", NOON).after

    assert made.models == ("gpt-4o", "openai/*")
    assert (made.max_budget, made.soft_budget, made.budget_duration) == (10 * 10**9, 10**8, "1d")
    assert made.model_max_budget == (
        ModelBudget(model="gpt-4o", max_budget=NanoUsd(1), budget_duration="1d"),
        ModelBudget(model="any", max_budget=NanoUsd(0)),
    )
    assert made.model_rpm_limit == (ModelLimit(model="gpt-4o", limit=10), ModelLimit(model="openai/*", limit=0))
    assert made.model_tpm_limit == (ModelLimit(model="gpt-4o", limit=1000),)
    assert made.expires_at is not None
    assert (made.expires_at - NOON).days == 30
    assert (made.key_alias, made.user_id, made.team_id, made.tags) == ("ci", "ada", "core", ("nightly",))
    assert made.key_name == "sk-...6789"


def test_a_new_key_without_fields_may_do_everything() -> None:
    made = key_changes.created("sk-0123456789", read(), "master", NOON).after

    assert (made.models, made.allowed_routes, made.expires_at, made.max_budget, made.blocked) == (
        (),
        (),
        None,
        None,
        False,
    )


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"max_budgett": 1}, "max_budgett", "not supported here"),
        ({"max_budgett": None}, "max_budgett", "not supported here"),
        ({"guardrails": ["pii"]}, "guardrails", "not supported here"),
        ({"agent_id": "default"}, "agent_id", "not supported here"),
        ({"max_budget": -1}, "max_budget", "greater than or equal to 0"),
        ({"max_budget": 1e30}, "max_budget", "less than or equal to 9000000"),
        ({"max_budget": 10**400}, "max_budget", ""),
        ({"max_budget": 1e-12}, "max_budget", "less than 0.000000001"),
        ({"max_budget": "lots"}, "max_budget", "number"),
        ({"max_budget": True}, "max_budget", "number"),
        ({"soft_budget": -0.5}, "soft_budget", "greater than or equal to 0"),
        ({"budget_duration": "2mo"}, "budget_duration", "unknown duration '2mo'"),
        ({"budget_duration": "fortnightly"}, "budget_duration", "unknown duration 'fortnightly'"),
        ({"duration": "999999w"}, "duration", "a hundred years"),
        ({"duration": "1" * 10_000}, "duration", "at most 16"),
        ({"duration": "{}"}, "duration", "unknown duration '{}'"),
        ({"rpm_limit": -1}, "rpm_limit", "greater than or equal to 0"),
        ({"rpm_limit": 1.5}, "rpm_limit", "integer"),
        ({"tpm_limit": 2**63}, "tpm_limit", "less than or equal to 2147483647"),
        ({"model_rpm_limit": {"gpt-4o": -1}}, "model_rpm_limit.gpt-4o", "greater than or equal to 0"),
        ({"model_rpm_limit": {"gpt-4o": 1.5}}, "model_rpm_limit.gpt-4o", "integer"),
        ({"model_tpm_limit": {f"m{number}": 1 for number in range(101)}}, "model_tpm_limit", "100"),
        ({"model_tpm_limit": 5}, "model_tpm_limit", "dictionary"),
        ({"models": "gpt-4o"}, "models", "list"),
        ({"models": ["a*b*"]}, "models[0]", "one * at most"),
        ({"models": [""]}, "models[0]", "at least 1"),
        ({"models": ["m"] * 201}, "models", "200"),
        ({"allowed_routes": ["everything"]}, "allowed_routes[0]", "llm_api_routes"),
        ({"tags": ["x" * 129]}, "tags[0]", "128"),
        ({"metadata": {"tags": "a"}}, "metadata", "a list of texts"),
        ({"metadata": {"x": "y" * 17_000}}, "metadata", "16384 bytes"),
        ({"metadata": {"tags": [5]}}, "metadata", "a list of texts"),
        ({"model_max_budget": {"gpt-4o": {"budget_limit": -1}}}, "model_max_budget.gpt-4o.budget_limit", "greater"),
        ({"model_max_budget": {"gpt-4o": {"limit": 1}}}, "model_max_budget.gpt-4o.limit", "not supported"),
        ({"model_max_budget": {"gpt-4o": {}}}, "model_max_budget", "one budget_limit"),
        (
            {"model_max_budget": {"gpt-4o": {"budget_limit": 1, "max_budget": 2}}},
            "model_max_budget",
            "one budget_limit",
        ),
        ({"key": "secret"}, "key", "sk-"),
        ({"key": "sk-with blank"}, "key", "sk-"),
        ({"key": "sk-short"[:7]}, "key", "8 to 256"),
        ({"key_alias": ""}, "key_alias", "at least 1"),
        ({"blocked": "no"}, "blocked", "boolean"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(fields: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(**fields)

    assert refused.value.param == param
    assert message in refused.value.message


@pytest.mark.parametrize("raw", [b'{"max_budget": NaN}', b'{"max_budget": Infinity}', b"{", b"[]", b"null", b""])
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        key_shapes.read_new_key(raw)


@pytest.mark.parametrize("raw", [b'{"max_budget": 1e400}', b'{"metadata": {"x": 1e400}}'])
def test_a_number_over_all_bounds_is_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        key_shapes.read_new_key(raw)


def test_what_litellm_s_clients_send_without_saying_anything_is_left_aside() -> None:
    assert read(aliases={}, config={}, guardrails=None, spend=0, auto_rotate=False, key_type="default") == {}


def test_a_query_is_read_as_what_it_means() -> None:
    asked = key_shapes.read_listing([("page", "2"), ("size", "50"), ("return_full_object", "true")])

    assert asked == {"page": 2, "size": 50, "return_full_object": True}


@pytest.mark.parametrize(
    ("query", "param"), [({"page": "0"}, "page"), ({"size": "101"}, "size"), ({"sort_by": "spend"}, "sort_by")]
)
def test_a_query_that_makes_no_sense_is_refused_by_its_name(query: dict[str, str], param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        key_shapes.read_listing(query.items())

    assert refused.value.param == param


def test_a_change_keeps_what_it_does_not_name() -> None:
    before = key("a", models=("gpt-4o",), max_budget=NanoUsd(5))

    update = key_changes.updated(before, key_shapes.read_update(b'{"key": "sk-a", "rpm_limit": 7}'), "master", NOON)

    assert update is not None
    assert (update.after.models, update.after.max_budget, update.after.rpm_limit) == (("gpt-4o",), 5, 7)
    assert (update.before, update.after.version) == (before, 2)


def test_a_change_to_null_takes_a_setting_back() -> None:
    before = key("a", models=("gpt-4o",), max_budget=NanoUsd(5), expires_at=NOON)
    asked = key_shapes.read_update(b'{"key": "sk-a", "models": null, "max_budget": null, "duration": null}')

    update = key_changes.updated(before, asked, "master", NOON)

    assert update is not None
    assert (update.after.models, update.after.max_budget, update.after.expires_at) == ((), None, None)


def test_all_that_is_taken_back_leaves_a_key_as_it_is_made_without_settings() -> None:
    full = key_changes.created("sk-0123456789", read(**ALL_FIELDS), "master", NOON).after
    plain = key_changes.created("sk-0123456789", read(), "master", NOON).after

    update = key_changes.updated(full, dict.fromkeys(key_shapes.SETTINGS), "master", NOON)

    assert update is not None
    assert update.after == replace(plain, version=2)


def test_a_change_that_changes_nothing_is_none() -> None:
    assert key_changes.updated(key("a", rpm_limit=7), {"rpm_limit": 7}, "master", NOON) is None
    assert key_changes.blocked(key("a"), "master", NOON, is_blocked=False) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries({}, optional={name: _JSON | st.just(value) for name, value in ALL_FIELDS.items()}))
def test_whatever_is_sent_is_refused_by_name_or_becomes_a_key_that_the_ledger_takes(body: dict[str, Any]) -> None:
    asked = read_or_refusal(body)
    if isinstance(asked, BadRequest):
        assert asked.param is None or asked.param.partition(".")[0].partition("[")[0] in body
        return

    event = key_changes.created("sk-0123456789", asked, "master", NOON)

    assert decode(encode(event)) == event
    assert write_json(row(event.after))

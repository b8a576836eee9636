"""What is no budget is refused by its name: of keys, users and teams alike."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from functions.gateway import account_shapes, key_shapes
from functions.gateway.errors import BadRequest

Read = Callable[[bytes], dict[str, Any]]
READ: dict[str, Read] = {
    "/key/generate": key_shapes.read_new_key,
    "/key/update": key_shapes.read_update,
    "/key/regenerate": key_shapes.read_regeneration,
    "/user/new": partial(account_shapes.read_new, "user"),
    "/team/new": partial(account_shapes.read_new, "team"),
}
CHANGE: dict[str, Read] = {
    "/user/update": partial(account_shapes.read_update, "user"),
    "/team/update": partial(account_shapes.read_update, "team"),
}
NO_BUDGETS = [
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e-400", "-0.0", "-0e5", "true", '"5"', '"NaN"', "[]", "{}",
    "-1", "-1e-300", "1e-10", "9000000.000000001", "9000001", "1e19", "1" + "0" * 400, "1" * 5000,
]  # fmt: skip


def refused_field(read: Read, raw: str) -> str | None:
    with pytest.raises(BadRequest) as refused:
        read(raw.encode())
    assert refused.value.status == 400
    return refused.value.param


@pytest.mark.parametrize("written", NO_BUDGETS, ids=lambda written: written[:20])
@pytest.mark.parametrize("field", ["max_budget", "soft_budget"])
@pytest.mark.parametrize("path", [*READ, *CHANGE])
def test_what_is_no_budget_is_refused_by_its_name(path: str, field: str, written: str) -> None:
    kind = path.split("/")[1]
    of_whom = f'"{kind}_id": "a", ' if path in CHANGE else ""

    assert refused_field((READ | CHANGE)[path], f'{{{of_whom}"{field}": {written}}}') == field


@pytest.mark.parametrize("written", NO_BUDGETS, ids=lambda written: written[:20])
@pytest.mark.parametrize("path", [path for path in READ if path.startswith("/key")])
def test_what_is_no_budget_of_a_model_is_refused_by_its_name(path: str, written: str) -> None:
    param = refused_field(READ[path], f'{{"model_max_budget": {{"gpt-4o": {{"budget_limit": {written}}}}}}}')

    assert param == "model_max_budget.gpt-4o.budget_limit"


@pytest.mark.parametrize(
    ("written", "nano_usd"), [("0", 0), ("0.0", 0), ("1e-9", 1), ("5", 5 * 10**9), ("9e6", 9 * 10**15)]
)
@pytest.mark.parametrize("path", READ)
def test_a_budget_is_read_to_the_nano_dollar(path: str, written: str, nano_usd: int) -> None:
    assert READ[path](f'{{"max_budget": {written}}}'.encode())["max_budget"] == nano_usd


def test_none_at_all_is_no_fault() -> None:
    assert READ["/team/new"](b'{"max_budget": null}')["max_budget"] is None

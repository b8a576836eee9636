"""What users, teams and end users are held to, as the configuration and their records say."""

from dataclasses import replace

from events.budget import Budget
from events.money import NanoUsd
from functions.gateway.limits import NO_DEFAULTS, Defaults, RememberedLimits, limits_of
from functions.gateway.ports import NO_LIMITS, Parties
from tests.builders import NOON, key, team, user


def held(parties: Parties, defaults: Defaults = NO_DEFAULTS) -> list[tuple[str, int | None, str | None]]:
    """The budgets of a request for `gpt-4o`."""
    budgets = limits_of(parties, "gpt-4o", defaults).budgets
    return [(budget.budget_id, budget.max_budget, budget.duration) for budget in budgets if limiting(budget)]


def limiting(budget: Budget) -> bool:
    return budget.max_budget is not None


def test_without_limits_nobody_is_held_to_anything_but_counted() -> None:
    """So that a limit that is set later knows of what was spent before."""
    limits = limits_of(Parties(key=key(), user=user(), team=team(), end_user="x"), "gpt-4o", NO_DEFAULTS)

    assert [budget.budget_id for budget in limits.budgets] == ["team:core", "user:ada", f"key:{key().key_id}"]
    assert limits.rates == ()
    assert not any(map(limiting, limits.budgets))


def test_the_widest_budget_comes_first() -> None:
    parties = Parties(
        key=key(max_budget=3, budget_duration="1d"), user=user(max_budget=2), team=team(max_budget=1), end_user="eve"
    )

    names = [name for name, _, _ in held(parties, Defaults(end_user_budget=4))]  # pyright: ignore[reportArgumentType]

    assert names == ["team:core", "user:ada", f"key:{key().key_id}", "end_user:eve"]


def test_a_user_without_a_budget_has_the_configuration_s_from_when_they_were_made() -> None:
    defaults = Defaults(user_budget=5, user_budget_duration="30d")  # pyright: ignore[reportArgumentType]

    (budget,) = limits_of(Parties(user=user(soft_budget=1)), "gpt-4o", defaults).budgets

    assert (budget.max_budget, budget.soft_budget, budget.duration, budget.anchor) == (5, 1, "30d", NOON)


def test_a_user_s_own_budget_goes_before_the_configuration_s() -> None:
    defaults = Defaults(user_budget=5, user_budget_duration="30d")  # pyright: ignore[reportArgumentType]

    assert held(Parties(user=user(max_budget=0)), defaults) == [("user:ada", 0, None)]


def test_a_user_of_whom_only_a_key_knows_has_the_configuration_s_budget() -> None:
    defaults = Defaults(user_budget=5, user_budget_duration="1d")  # pyright: ignore[reportArgumentType]

    assert held(Parties(team=team(), key=key(user_id="ada")), defaults) == [("user:ada", 5, "1d")]
    assert held(Parties(team=team(), key=key(user_id="ada"))) == []


def test_an_end_user_has_the_configuration_s_budget() -> None:
    defaults = Defaults(end_user_budget=5, end_user_budget_duration="1d")  # pyright: ignore[reportArgumentType]

    assert held(Parties(end_user="a/b"), defaults) == [("end_user:a%2Fb", 5, "1d")]
    assert held(Parties(), defaults) == []


def test_limits_are_worked_out_once_for_the_same_records() -> None:
    limits, parties = RememberedLimits(NO_DEFAULTS), Parties(key=key(max_budget=3), user=user(), end_user="eve")

    known = limits.of(parties, "gpt-4o")

    assert limits.of(replace(parties), "gpt-4o") is known
    assert known == limits_of(parties, "gpt-4o", NO_DEFAULTS)


def test_limits_are_worked_out_anew_for_who_was_changed_and_for_others() -> None:
    limits, parties = RememberedLimits(Defaults(end_user_budget=NanoUsd(4))), Parties(key=key(), team=team())
    limits.of(parties, "gpt-4o")

    raised = replace(parties, team=team(max_budget=9))
    named = replace(raised, end_user="eve")
    other = Parties(key=key("b", max_budget=1), team=raised.team)

    assert [budget.max_budget for budget in limits.of(raised, "gpt-4o").budgets] == [9, None]
    assert [budget.max_budget for budget in limits.of(named, "gpt-4o").budgets] == [9, None, 4]
    assert [budget.max_budget for budget in limits.of(other, "gpt-4o").budgets] == [9, 1]
    assert limits.of(Parties(), "gpt-4o") == NO_LIMITS

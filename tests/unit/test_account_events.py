"""Users and teams, as their events tell of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.accounts import Account, AccountEvent, AccountKind, Member, event_id_of, replay_accounts
from events.codec import decode, decode_account, encode, encode_account
from tests.builders import account_created, account_deleted, account_updated, spend, team, user

ADA = ("user", "ada")


def test_one_is_as_its_last_change_left_it() -> None:
    assert replay_accounts([
        account_created(user()), account_updated(user(), models=("gpt-4o",))
    ]) == {ADA: user(version=2, models=("gpt-4o",))}  # fmt: skip


def test_one_that_was_made_again_is_there_though_it_was_deleted() -> None:
    events = [account_created(user()), account_deleted(user()), account_created(user(version=3))]

    assert replay_accounts(reversed(events)) == {ADA: user(version=3)}
    assert replay_accounts(events[:2]) == {}


def test_a_user_and_a_team_of_one_id_are_two() -> None:
    events = [spend(), account_created(user("x")), account_created(team("x"))]

    assert replay_accounts(events) == {("user", "x"): user("x"), ("team", "x"): team("x")}


@given(names=st.tuples(st.text(min_size=1, max_size=256), st.text(min_size=1, max_size=256)))
def test_every_id_names_its_own_events(names: tuple[str, str]) -> None:
    ids = {event_id_of(account(name), 1) for name in names for account in (user, team)}

    assert len(ids) == 2 * len(set(names))
    for name in names:
        for event in (account_created(user(name)), account_created(team(name))):
            assert decode(encode(event)) == event


@pytest.mark.parametrize(
    ("kind", "account"),
    [
        ("user", user(user_alias="Ada", user_email="a@b.c", metadata={"n": 10**30}, max_budget=5)),
        ("team", team(members=(Member(user_id="ada", role="admin"),), soft_budget=0, budget_duration="30d")),
    ],
)
def test_a_record_is_read_as_it_was_written(kind: AccountKind, account: Account) -> None:
    assert decode_account(kind, encode_account(account)) == account


_STEPS = st.lists(st.sampled_from(["change", "delete"]), max_size=10)


@given(steps=st.dictionaries(st.sampled_from(["ua", "ub", "ta"]), _STEPS), data=st.data())
def test_they_are_the_same_in_any_order_of_their_events_with_any_repeated(
    steps: dict[str, list[str]], data: st.DataObject
) -> None:
    expected: dict[tuple[str, str], Account] = {}
    events: list[AccountEvent] = []
    for name, changes in steps.items():
        make = user if name[0] == "u" else team
        last: Account | None = None
        for number, change in enumerate(changes):
            if last is None:
                last = make(name, version=number + 1)
                events.append(account_created(last))
            elif change == "delete":
                events.append(account_deleted(last))
                last = None
            else:
                event = account_updated(last, rpm_limit=number)
                events.append(event)
                last = make(name, version=number + 1, rpm_limit=number)
        if last is not None:
            expected["user" if make is user else "team", name] = last

    shuffled = data.draw(st.permutations(events + events[: len(events) // 2]))

    assert replay_accounts(shuffled) == expected

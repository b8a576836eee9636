"""Virtual keys, as their events tell of them."""

from hypothesis import given
from hypothesis import strategies as st

from events.keys import KeyEvent, KeyRegenerated, event_id_of, replay_keys
from tests.builders import NOON, key, key_created, key_deleted, key_updated, spend


def regenerated(before: str, after: str) -> list[KeyEvent]:
    """A key that was made, and made anew."""
    old = key(before)
    new = key(after, version=2, key_id=old.key_id)
    event_id = event_id_of(old.key_id, 2)
    return [key_created(old), KeyRegenerated(event_id=event_id, time=NOON, actor="master", before=old, after=new)]


def test_a_key_is_as_its_last_change_left_it() -> None:
    created = key_created(key("a"))
    updated = key_updated(created.after, models=("gpt-4o",))

    assert replay_keys([created, updated]) == {created.after.key_hash: updated.after}


def test_a_deleted_key_is_gone() -> None:
    assert replay_keys([key_created(key("a")), key_deleted(key("a"))]) == {}


def test_a_regenerated_key_is_known_by_its_new_hash_alone() -> None:
    events = regenerated("a", "b")

    (left,) = replay_keys(events).values()
    assert (left.key_hash, left.key_id) == (key("b").key_hash, key("a").key_hash)


def test_other_events_change_no_key() -> None:
    assert replay_keys([spend(), key_created(key("a"))]) == {key("a").key_hash: key("a")}


_STEPS = st.lists(st.sampled_from(["rename", "block", "delete"]), max_size=12)


@given(steps=st.dictionaries(st.sampled_from("abc"), _STEPS), data=st.data())
def test_keys_are_the_same_in_any_order_of_their_events_with_any_repeated(
    steps: dict[str, list[str]], data: st.DataObject
) -> None:
    expected, events = {}, list[KeyEvent]()
    for name, changes in steps.items():
        last = key(name)
        events.append(key_created(last))
        for number, change in enumerate(changes):
            if change == "delete":
                events.append(key_deleted(last))
                break
            event = key_updated(last, **({"blocked": True} if change == "block" else {"key_alias": f"{name}{number}"}))
            events.append(event)
            last = event.after
        else:
            expected[last.key_hash] = last

    shuffled = data.draw(st.permutations(events + events[: len(events) // 2]))

    assert replay_keys(shuffled) == expected

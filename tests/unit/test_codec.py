"""Events on the wire."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.alerts import Holder, KeyExpiring, ProjectedExceeded, SoftBudgetCrossed, ThresholdCrossed
from events.codec import Event, UndecodableEvent, decode, decode_key, encode, encode_key
from events.keys import (
    Key,
    KeyBlocked,
    KeyCreated,
    KeyDeleted,
    KeyEvent,
    KeyRegenerated,
    KeyUnblocked,
    KeyUpdated,
    ModelBudget,
    ModelLimit,
    event_id_of,
)
from events.money import NanoUsd
from events.spend import Attempt, CompletionFailed, Scopes, SpendRecorded, Usage
from events.tick import Ticked
from tests.builders import (
    NOON,
    failure,
    key,
    key_created,
    key_expiring,
    projected_exceeded,
    soft_budget_crossed,
    spend,
    threshold_crossed,
)

SCHEMAS = Path(__file__).parents[2] / "events" / "schemas"
TICK = Ticked(event_id="tick", time=NOON)

_TEXTS = st.text(max_size=20)
_COUNTS = st.integers(0, 10**15)
_TIMES = st.datetimes(datetime(2000, 1, 1), datetime(8999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 (given its zone)
_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:|@=+-]{0,99}", fullmatch=True)
_COST = _COUNTS.map(NanoUsd)
_ATTEMPTS = st.tuples(st.builds(Attempt, model=_TEXTS, status=_TEXTS, ms=_COUNTS, billed=st.booleans(), cost=_COST))
_SCOPES = st.builds(Scopes, key_hash=st.none() | _TEXTS, tags=st.lists(_TEXTS, max_size=3).map(tuple))
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=5,
)
_BUDGETS = st.lists(st.builds(ModelBudget, max_budget=_COST, budget_duration=st.none() | _TEXTS), max_size=2).map(tuple)
_KEYS = st.builds(
    Key,
    version=_COUNTS,
    models=st.lists(_TEXTS, max_size=3).map(tuple),
    metadata=st.dictionaries(_TEXTS, _JSON, max_size=3),
    expires_at=st.none() | _TIMES,
    max_budget=st.none() | _COST,
    model_max_budget=_BUDGETS,
    rpm_limit=st.none() | _COUNTS,
    model_rpm_limit=st.lists(st.builds(ModelLimit, limit=_COUNTS), max_size=2).map(tuple),
    created_at=_TIMES,
    updated_at=_TIMES,
)


def _changes(cls: Callable[..., KeyEvent], *states: str) -> st.SearchStrategy[KeyEvent]:
    return st.builds(cls, event_id=_IDS, time=_TIMES, **dict.fromkeys(states, _KEYS))


_HOLDERS = st.builds(Holder, key_alias=st.none() | _TEXTS)
_ALERT: dict[str, Any] = {"time": _TIMES, "window_ends_at": _TIMES, "spent": _COST, "holder": st.none() | _HOLDERS}
EVENTS = st.one_of(
    st.builds(
        SpendRecorded,
        event_id=_IDS,
        time=_TIMES,
        usage=st.builds(Usage, input_tokens=_COUNTS, reasoning_tokens=_COUNTS),
        cost=_COST,
        scopes=_SCOPES,
        allowance_ids=st.lists(_TEXTS, max_size=2).map(tuple),
        latency_ms=_COUNTS,
        time_to_first_token_ms=st.none() | _COUNTS,
        attempts=_ATTEMPTS,
    ),
    st.builds(
        CompletionFailed,
        event_id=_IDS,
        time=_TIMES,
        scopes=_SCOPES,
        attempts=_ATTEMPTS,
        latency_ms=_COUNTS,
        cost=_COST,
        catalog_version=st.none() | _TEXTS,
    ),
    st.builds(ThresholdCrossed, event_id=_IDS, **_ALERT, percent=_COUNTS, max_budget=_COST),
    st.builds(SoftBudgetCrossed, event_id=_IDS, **_ALERT, soft_budget=_COST, max_budget=st.none() | _COST),
    st.builds(
        ProjectedExceeded,
        event_id=_IDS,
        **_ALERT,
        soft_budget=st.none() | _COST,
        max_budget=st.none() | _COST,
        projected=_COST,
        exceeded_at=_TIMES,
    ),
    st.builds(KeyExpiring, event_id=_IDS, time=_TIMES, days=_COUNTS, expires_at=_TIMES, holder=_HOLDERS),
    st.builds(Ticked, event_id=_IDS, time=_TIMES),
    _changes(KeyCreated, "after"),
    _changes(KeyDeleted, "before"),
    *(_changes(cls, "before", "after") for cls in (KeyUpdated, KeyBlocked, KeyUnblocked, KeyRegenerated)),
)
FULL_KEY = key(
    key_alias="ci",
    user_id="ada",
    team_id="core",
    models=("gpt-4o",),
    allowed_routes=("llm_api_routes",),
    tags=("nightly",),
    metadata={"env": {"name": "dev"}},
    expires_at=NOON,
    max_budget=NanoUsd(10),
    soft_budget=NanoUsd(5),
    budget_duration="1d",
    model_max_budget=(ModelBudget(model="gpt-4o", max_budget=NanoUsd(1), budget_duration="1d"),),
    rpm_limit=1,
    tpm_limit=2,
    max_parallel_requests=3,
)

LIMITED_BY_MODEL = key_created(
    key(model_rpm_limit=(ModelLimit(model="gpt-4o", limit=1),), model_tpm_limit=(ModelLimit(model="o*", limit=0),))
)


def _key_event(cls: Callable[..., KeyEvent], *states: str) -> KeyEvent:
    given = {"event_id": event_id_of(FULL_KEY.key_id, 1), "time": NOON, "actor": "master"}
    return cls(**given, **dict.fromkeys(states, FULL_KEY))


KEY_EVENTS = [
    _key_event(KeyCreated, "after"),
    _key_event(KeyDeleted, "before"),
    *(_key_event(cls, "before", "after") for cls in (KeyUpdated, KeyBlocked, KeyUnblocked, KeyRegenerated)),
]


ALERTS = [threshold_crossed(), soft_budget_crossed(), projected_exceeded(), key_expiring()]


@given(EVENTS)
def test_decoding_gives_back_what_was_encoded(event: Event) -> None:
    assert decode(encode(event)) == event


@given(_KEYS)
def test_a_key_s_record_is_read_as_it_was_written(key: Key) -> None:
    assert decode_key(encode_key(key)) == key


@pytest.mark.parametrize(
    "event",
    [spend(), failure(), *ALERTS, TICK, *KEY_EVENTS, LIMITED_BY_MODEL],
    ids=lambda event: event.type,
)
def test_an_encoded_event_is_a_cloudevent_that_its_schema_admits(event: Event) -> None:
    envelope = json.loads(encode(event))

    assert {name: envelope[name] for name in ("specversion", "id", "type", "time")} == {
        "specversion": "1.0",
        "id": event.event_id,
        "type": event.type,
        "time": "2026-11-24T12:00:00Z",
    }
    schema = json.loads((SCHEMAS / f"{event.type}.json").read_text())
    jsonschema.validate(envelope["data"], schema)
    assert set(envelope["data"]) == set(schema["properties"])
    for state in envelope["data"].keys() & {"before", "after"}:
        assert set(envelope["data"][state]) == set(schema["$defs"]["key"]["properties"])
    if holder := envelope["data"].get("holder"):
        assert set(holder) == set(schema["properties"]["holder"]["properties"])
    for attempt in envelope["data"].get("attempts", ()):
        assert set(attempt) == set(schema["properties"]["attempts"]["items"]["properties"])


def test_a_spend_event_of_the_first_version_decodes_for_good() -> None:
    raw = (Path(__file__).parent / "recorded_events" / "spend.recorded.v1.json").read_bytes()

    event = decode(raw)

    assert isinstance(event, SpendRecorded)
    assert (event.cost, event.attempts[0].status, event.time) == (
        6_150_000,
        "529",
        datetime(2026, 11, 24, 9, tzinfo=UTC),
    )


def test_a_failure_from_before_failures_had_a_cost_decodes_for_good() -> None:
    raw = (Path(__file__).parent / "recorded_events" / "completion.failed.v1.json").read_bytes()

    event = decode(raw)

    assert isinstance(event, CompletionFailed)
    assert (event.cost, event.attempts[0].cost, event.attempts[0].status) == (0, 0, "529")


def test_an_alert_from_before_it_said_whose_budget_it_is_decodes_for_good() -> None:
    raw = (Path(__file__).parent / "recorded_events" / "budget.threshold_crossed.v1.json").read_bytes()

    assert decode(raw) == threshold_crossed()


@pytest.mark.parametrize("event", KEY_EVENTS, ids=lambda event: event.type)
def test_a_change_of_a_key_of_the_first_version_decodes_for_good(event: KeyEvent) -> None:
    raw = (Path(__file__).parent / "recorded_events" / f"{event.type}.json").read_bytes()

    assert decode(raw) == event


def _broken(**changes: Any) -> bytes:
    return json.dumps(json.loads(encode(spend())) | changes).encode()


def _broken_data(**changes: Any) -> bytes:
    return _broken(data=json.loads(encode(spend()))["data"] | changes)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"[1]", "not a JSON object but list"),
        (_broken(data=None), "'data' is not an object"),
        (_broken(type="spend.recorded.v9"), "unknown event type 'spend.recorded.v9'"),
        (_broken(id=5), "data.event_id is not str but int"),
        (_broken(id=None), "data.event_id is not str but NoneType"),
        (_broken(id=""), "'id' does not match"),
        (_broken(id="a/b"), "'id' does not match"),
        (_broken(id="x" * 300), "'id' does not match"),
        (_broken(time="9999-12-31T23:59:59Z"), "data.time is not in the years 2000 to 8999"),
        (_broken_data(cost=-1), "data.cost is not between 0 and"),
        (_broken_data(cost=2**63), "data.cost is not between 0 and"),
        (_broken(time="noon"), "data.time is not an RFC 3339 time"),
        (_broken(time="2026-11-24T12:00:00"), "data.time has no time zone"),
        (_broken_data(cost=1.5), "data.cost is not int but float"),
        (_broken_data(cost=True), "data.cost is not int but bool"),
        (_broken_data(usage={"input_tokens": "x"}), "data.usage.input_tokens is not int but str"),
        (_broken_data(attempts=[{}]), r"data.attempts\[0\].model is missing"),
        (_broken_data(outcome="lost"), "data.outcome is not"),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(UndecodableEvent, match=reason):
        decode(raw)


def test_an_unknown_field_is_left_aside() -> None:
    assert decode(_broken_data(invented_later=1)) == spend()

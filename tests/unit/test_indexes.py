"""The indexes of a Firestore project: what is never searched has none, as each costs a part of every commit."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from events.activity import SUM_NAMES
from events.allowance import Allowance
from functions.adapters.gcp.firestore import event_document
from tests.builders import spend

INDEXES: dict[str, list[dict[str, Any]]] = json.loads(Path("infra/firestore.indexes.json").read_text())


def unindexed(collection: str) -> set[str]:
    """The fields that have no index of their own."""
    overrides = [one for one in INDEXES["fieldOverrides"] if one["collectionGroup"] == collection]
    return {one["fieldPath"] for one in overrides if not one["indexes"]}


def indexed_together(collection: str) -> set[str]:
    """The fields that are searched for together with another."""
    indexes = [one for one in INDEXES["indexes"] if one["collectionGroup"] == collection]
    return {field["fieldPath"] for one in indexes for field in one["fields"]}


def test_of_a_request_only_its_time_has_an_index_of_its_own() -> None:
    listed = set(event_document(spend()))

    assert listed - unindexed("events") == {"answered_at"}
    assert listed - indexed_together("events") == {"type", "time", "event"}


def test_of_an_allowance_what_it_is_found_by_is_beside_its_fields() -> None:
    assert unindexed("allowances") == {field.name for field in fields(Allowance)} - {"allowance_id"}


def test_no_sum_has_an_index_of_its_own() -> None:
    assert set(SUM_NAMES) <= unindexed("activity")


@pytest.mark.parametrize("collection", ["keys", "users", "teams"])
def test_no_encoded_record_has_an_index(collection: str) -> None:
    assert "record" in unindexed(collection)


def test_no_field_is_said_twice() -> None:
    said = [(one["collectionGroup"], one["fieldPath"]) for one in INDEXES["fieldOverrides"]]

    assert len(said) == len(set(said))

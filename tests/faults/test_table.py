"""Under any single fault a client gets a whole answer in time, or an honest error."""

import pytest

from tests.faults.gateway import Gateway
from tests.faults.table import REQUEST_TIMEOUT_S, ROWS, Result, Row, run_table

BOUND_S = REQUEST_TIMEOUT_S + 3


@pytest.fixture(scope="module")
def results(gateway: Gateway, tables: dict[str, list[Result]]) -> list[Result]:
    """The table, asked for once."""
    tables["faults"] = run_table(gateway, ROWS, within_s=BOUND_S)
    return tables["faults"]


@pytest.fixture
def result(request: pytest.FixtureRequest, results: list[Result]) -> Result:
    """What came of one row."""
    row: Row = request.param
    return results[row.number]


@pytest.mark.parametrize("result", ROWS, ids=map(str, ROWS), indirect=True)
def test_a_client_gets_a_whole_answer_or_an_honest_error(result: Result) -> None:
    assert result.received.outcome in result.row.allowed, result.received


def test_no_fault_leads_to_more_attempts_than_the_cap(results: list[Result]) -> None:
    over = [str(result.row) for result in results if not result.is_within_the_cap]

    assert not over, "\n".join(over)


def test_what_is_recorded_is_what_was_billed(results: list[Result]) -> None:
    """By what the upstreams reported; where they didn't come to that, by the texts."""
    wrong = [f"{result.row}: {result.money}" for result in results if not result.is_rightly_recorded]

    assert not wrong, "\n".join(wrong)


def test_the_deployment_that_answered_is_named(results: list[Result]) -> None:
    for result in results:
        if result.received.outcome == "answer":
            named = result.received.headers["x-litellm-model-id"]
            seen = {result.row.name: result.first, result.row.second: result.second}[named]
            assert any(entry.outcome != "refused" for entry in seen), result


def test_what_our_own_key_may_not_do_is_not_told_as_the_clients_fault(results: list[Result]) -> None:
    ours = [result for result in results if result.row.fault.is_ours]

    assert ours
    assert not {result.received.status for result in ours} & {401, 403}


def test_all_of_it_is_in_the_budget(gateway: Gateway, results: list[Result]) -> None:
    spent = sum(event.cost for events in gateway.recorded().values() for event in events)

    assert gateway.spent() == spent >= sum(result.cost for result in results) > 0

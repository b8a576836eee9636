"""A budget under load, by the bill of the upstream."""

from pathlib import Path

import pytest

from tests.bench.budget import bench

EMBEDDED = {"GATEWAY_BACKEND": "embedded"}


def test_instances_use_a_budget_up_and_never_pass_it(tmp_path: Path) -> None:
    run = bench(EMBEDDED, tmp_path, budget=0.2, instances=2, clients=40, kills=False)

    assert run.used_at_first_refusal is not None
    assert run.used_at_first_refusal >= 0.97
    assert run.spent == pytest.approx(run.billed, abs=1e-9)
    assert run.billed <= 0.2


@pytest.mark.slow
def test_an_instance_that_is_killed_midway_has_nobody_pass_the_budget(tmp_path: Path) -> None:
    run = bench(EMBEDDED, tmp_path, budget=1, instances=4, clients=400, kills=True)

    assert run.outcomes["killed"] == 1
    assert run.spent <= run.billed <= 1
    assert run.spent <= run.admitted <= 1
    assert run.is_within

"""A completion instance, opened as its file and its environment have it, on a store of its own."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from functions.bootstrap import open_completion, open_fold, read_environment
from tests.builders import spend

GPT = {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o"}}


@asynccontextmanager
async def opened(folder: Path, file: dict[str, Any]) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of an instance that has a sandbox at hand."""
    (folder / "gateway.yaml").write_text(json.dumps(file))
    environment = read_environment(
        gateway_backend="embedded",
        gateway_config=folder / "gateway.yaml",
        gateway_sandbox_url="http://127.0.0.1:9",
        state_dir=folder,
    )
    async with open_completion(environment) as instance:
        transport = httpx2.ASGITransport(app=instance.router)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield client


async def test_without_a_budget_the_spend_is_counted_and_has_no_limit(tmp_path: Path) -> None:
    async with opened(tmp_path, {"model_list": [GPT]}) as client:
        environment = read_environment(
            gateway_backend="embedded", gateway_config=tmp_path / "gateway.yaml", state_dir=tmp_path
        )
        async with open_fold(environment) as fold:
            await fold.folder.fold(replace(spend(cost=2_500_000_000), time=datetime.now(UTC)))

        said = (await client.get("/global/spend")).json()

    assert (said["spend"], said["max_budget"]) == (2.5, None)


async def test_a_budget_of_nothing_is_shown_as_such(tmp_path: Path) -> None:
    async with opened(tmp_path, {"model_list": [GPT], "litellm_settings": {"max_budget": 0}}) as client:
        assert (await client.get("/global/spend")).json()["max_budget"] == 0.0


async def test_without_a_key_the_sandbox_says_that_it_answers(tmp_path: Path) -> None:
    async with opened(tmp_path, {"model_list": [GPT]}) as client:
        assert "sandbox" in (await client.get("/health")).json()


async def test_with_a_key_in_the_file_no_sandbox_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OPENAI", "sk-mine")
    keyed = {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o", "api_key": "os.environ/MY_OPENAI"}}

    async with opened(tmp_path, {"model_list": [keyed]}) as client:
        assert "sandbox" not in (await client.get("/health")).json()

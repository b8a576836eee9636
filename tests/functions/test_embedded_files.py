"""The files of the embedded backend: what cannot be opened, and what is removed or replaced under it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.adapters.embedded.stores import open_embedded
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import SPEND_EVENTS
from tests.builders import TODAY, spend


def removed(state_dir: Path) -> None:
    shutil.rmtree(state_dir)


def replaced(state_dir: Path) -> None:
    state_dir.rename(state_dir.with_name("moved"))
    state_dir.mkdir()
    for name in ("bus.sqlite3", "ledger.sqlite3"):
        (state_dir / name).touch()


@pytest.mark.parametrize("lose", [removed, replaced])
async def test_nothing_is_acknowledged_into_a_file_that_is_gone(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    async with open_embedded(tmp_path / "state") as stores:
        await stores.bus.publish(SPEND_EVENTS, spend("a"))
        lose(tmp_path / "state")

        with pytest.raises(
            StoreUnavailable, match=r"^bus\.sqlite3 in STATE_DIR was removed or replaced while in use\. Restart"
        ):
            await stores.bus.publish(SPEND_EVENTS, spend("b"))


@pytest.mark.parametrize("lose", [removed, replaced])
async def test_readiness_sees_that_the_file_is_gone(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    async with open_embedded(tmp_path / "state") as stores:
        await stores.counters.read(TODAY)
        lose(tmp_path / "state")

        with pytest.raises(StoreUnavailable, match="Restart"):
            await stores.counters.read(TODAY)


def not_a_database(state_dir: Path) -> None:
    state_dir.mkdir()
    (state_dir / "ledger.sqlite3").write_bytes(b"no database " * 100)


def a_folder_in_its_place(state_dir: Path) -> None:
    (state_dir / "ledger.sqlite3").mkdir(parents=True)


def a_file_in_the_folders_place(state_dir: Path) -> None:
    state_dir.touch()


@pytest.mark.parametrize("spoil", [not_a_database, a_folder_in_its_place, a_file_in_the_folders_place])
async def test_a_store_that_can_not_be_opened_is_unavailable(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(tmp_path / "state")

    with pytest.raises(StoreUnavailable, match="The store on this machine does not answer") as refused:
        async with open_embedded(tmp_path / "state"):
            raise AssertionError("it can't be opened")
    assert str(tmp_path) not in refused.value.message

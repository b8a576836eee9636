"""What every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.emulators"]

CASSETTES = Path(__file__).parent.parent.parent / "shared" / "cassettes"

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=100)
settings.load_profile("ci")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def cassettes() -> Path:
    """The folder of recorded provider exchanges, where there is one."""
    if not CASSETTES.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{CASSETTES} is missing")
        pytest.skip("recorded provider traffic is not on this machine; the examples in this folder are tested")
    return CASSETTES

"""Running stacks, on both backends."""

import uuid
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, running


@pytest.fixture(scope="module", params=["embedded", pytest.param("google", marks=pytest.mark.emulator)])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    """One stack for a module's tests, with two completion functions."""
    environment = {"INSTANCES": "2"}
    if request.param == "google":
        emulators = request.getfixturevalue("emulators")
        environment |= {
            "GATEWAY_BACKEND": "google",
            "FIRESTORE_EMULATOR_HOST": emulators.firestore,
            "PUBSUB_EMULATOR_HOST": emulators.pubsub,
            "GOOGLE_CLOUD_PROJECT": f"e2e-{uuid.uuid4().hex[:12]}",
        }
    with running(tmp_path_factory.mktemp("state"), environment) as started:
        yield started


@pytest.fixture
def own_stack(tmp_path: Path) -> Generator[Stack]:
    """A stack that a test may break."""
    with running(tmp_path) as started:
        yield started

"""The real Firestore and Pub/Sub emulators, started once for a test run."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_START_S = 60
_STOP_S = 10
_SERVERS_PORTS = (10_000, 32_000)
_INSTALL = (
    "needs Google's emulators: install the Google Cloud SDK with its cloud-firestore-emulator and pubsub-emulator "
    "components, and Java"
)


@dataclass(frozen=True)
class Emulators:
    """`host:port` of each."""

    firestore: str
    pubsub: str


@pytest.fixture(scope="session")
def emulators() -> Generator[Emulators]:
    """Both emulators, for the length of the run; tests keep apart by their project."""
    commands = _commands()
    if commands is None:
        if os.environ.get("CI"):
            pytest.fail(_INSTALL)
        pytest.skip(_INSTALL)
    with _running(commands[0]) as firestore, _running(commands[1]) as pubsub:
        yield Emulators(firestore=firestore, pubsub=pubsub)


@contextlib.contextmanager
def running_emulators() -> Generator[Emulators]:
    """Both emulators, for as long as the context is open, for programs that are no tests."""
    commands = _commands()
    if commands is None:
        raise SystemExit(_INSTALL)
    with _running(commands[0]) as firestore, _running(commands[1]) as pubsub:
        yield Emulators(firestore=firestore, pubsub=pubsub)


def _commands() -> tuple[list[str], list[str]] | None:
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    platform = Path(gcloud).resolve().parent.parent / "platform"
    firestore = platform / "cloud-firestore-emulator" / "cloud-firestore-emulator.jar"
    pubsub = sorted((platform / "pubsub-emulator" / "lib").glob("cloud-pubsub-emulator-*-all.jar"))
    if not firestore.exists() or not pubsub:
        return None
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    return (
        ["java", "-Duser.language=en", "-cp", str(firestore), main, "start"],
        ["java", "-jar", str(pubsub[-1])],
    )


@contextlib.contextmanager
def _running(command: list[str]) -> Generator[str]:
    port = free_port()
    arguments = [*command, "--host=127.0.0.1", f"--port={port}"]
    devnull = subprocess.DEVNULL
    with subprocess.Popen(arguments, stdout=devnull, stderr=devnull, start_new_session=True) as process:
        try:
            _wait_until_ok(f"http://127.0.0.1:{port}/", process)
            yield f"127.0.0.1:{port}"
        finally:
            _stop(process)


def free_port(offsets: Sequence[int] = (0,)) -> int:
    """Give a port that nobody listens on, nor at these distances from it.

    It is none of those that systems give to outgoing connections (from 32768, or from 49152): one of these could take
    it before its server does, and keep it.
    """
    while True:
        base = random.randrange(*_SERVERS_PORTS)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for offset in offsets:
                probes.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
            return base


def _wait_until_ok(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        if process.poll() is not None:
            pytest.fail(f"the emulator ended with {process.returncode}")
        time.sleep(0.1)
    pytest.fail(f"no emulator at {url} within {_START_S} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)

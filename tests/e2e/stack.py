"""The local stack as a user starts it: `bash infra/local/up` in a process of its own."""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2

from tests.emulators import free_port

ROOT = Path(__file__).parents[2]
_READY_S = 120
_PROCESS = re.compile(r"(\S+) \| process (\d+)")
_OFFSETS = (0, 1, 2, 3, 50, 51, 60)
T = TypeVar("T")


class Stack:
    """A running stack; `log` is everything that it has written."""

    def __init__(self, state_dir: Path, environment: Mapping[str, str] | None = None) -> None:
        self.port = free_base_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.fold_url = f"http://127.0.0.1:{self.port + 50}/"
        self.alert_url = f"http://127.0.0.1:{self.port + 51}/"
        self.sandbox_url = f"http://127.0.0.1:{self.port + 60}"
        self.log: list[str] = []
        self._is_ready = threading.Event()
        own = {"PORT": str(self.port), "STATE_DIR": str(state_dir), "GATEWAY_BACKEND": "embedded"}
        self.environment = {**clean_environment(), **own, **(environment or {})}
        self.process = subprocess.Popen(
            ["bash", "infra/local/up"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> "Stack":
        wait_for(lambda: self._is_ready.is_set() or self.process.poll() is not None, within_s=_READY_S)
        assert self._is_ready.is_set(), "".join(self.log)
        return self

    def get(self, path: str) -> Any:
        return httpx2.get(f"{self.url}{path}", timeout=10).json()

    def sandbox(self, path: str) -> Any:
        return httpx2.get(f"{self.sandbox_url}{path}", timeout=10).json()

    def chat(self, text: str = "Say hello", *, model: str = "claude-sonnet", **fields: Any) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return httpx2.post(f"{self.url}/v1/chat/completions", json=body, timeout=60)

    def pid_of(self, part: str) -> int:
        found = [int(match[2]) for line in self.log if (match := _PROCESS.match(line)) and match[1] == part]
        return found[-1]

    def kill(self, part: str) -> int:
        """SIGKILL a part and whatever it has started; gives its process id."""
        pid = self.pid_of(part)
        os.killpg(pid, signal.SIGKILL)
        return pid

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(5)
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.log.append(line)
            if line == f"ready {self.url}\n":
                self._is_ready.set()


@contextmanager
def running(state_dir: Path, environment: Mapping[str, str] | None = None) -> Generator[Stack]:
    """A stack that is ready, and stopped afterwards."""
    stack = Stack(state_dir, environment)
    try:
        yield stack.wait_until_ready()
    finally:
        stack.stop()


def wait_for(ask: Callable[[], T], *, within_s: float = 20) -> T:
    """Ask until the answer is true, and give it."""
    until = time.monotonic() + within_s
    while not (answer := ask()):
        assert time.monotonic() < until, f"not within {within_s} s"
        time.sleep(0.02)
    return answer


def free_base_port() -> int:
    """Give a port whose neighbours at the stack's distances are free as well."""
    return free_port(_OFFSETS)


def clean_environment() -> dict[str, str]:
    """Give this process's environment without what would change the stack."""
    marks = (
        "_API_KEY",
        "_BASE_URL",
        "GATEWAY_",
        "LITELLM_",
        "ALERT_",
        "GOOGLE_",
        "_EMULATOR_HOST",
        "STATE_DIR",
        "PORT",
    )
    return {name: value for name, value in os.environ.items() if not any(mark in name for mark in marks)}

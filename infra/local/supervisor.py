"""`python -m infra.local.supervisor`: every part of the gateway on this machine, kept running until it is stopped.

`infra/local/up` calls this inside the project's environment. Each function is a process of its own under the functions
framework, as in Google Cloud; the relay stands in for Eventarc, the sandbox for providers without keys.
"""

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from functions import bootstrap
from functions.gateway.config import ConfigError

_ROOT = Path(__file__).parents[2]
_BIN = Path(sys.executable).parent
_START_S = 90  # for all parts to answer
_STOP_S = 8  # for a part to end, before it is killed
_TRIES_AT_START = 4
_LONGEST_REST_S = 5.0
_PROVIDER_VARIABLES = (
    "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY",
    "ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL",
)  # fmt: skip


class CannotStart(Exception):
    """The stack can't be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Which port is whose."""

    port: int
    instances: int

    @property
    def completions(self) -> list[int]:
        """The completion function's ports."""
        return [self.port + position for position in range(self.instances)]

    @property
    def fold(self) -> int:
        """`fold_spend`'s port."""
        return self.port + 50

    @property
    def alert(self) -> int:
        """`send_alert`'s port."""
        return self.port + 51

    @property
    def sandbox(self) -> int:
        """The sandbox's port."""
        return self.port + 60


class Part:
    """One process, restarted when it ends. `url` answers once it is up; without one, its first line says so."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], url: str | None) -> None:
        self.name = name
        self.is_up = asyncio.Event()
        self._command = command
        self._environment = dict(environment)
        self._url = url
        self._process: asyncio.subprocess.Process | None = None
        self._said: deque[str] = deque(maxlen=30)

    async def keep_running(self) -> None:
        """Start it, and start it again whenever it ends. Raises `CannotStart` where it never comes up."""
        tries = 0
        while True:
            await self._run_once()
            tries = 0 if self.is_up.is_set() else tries + 1
            if tries >= _TRIES_AT_START:
                raise CannotStart("\n".join([f"{self.name} does not start; it said:", *self._said]))
            rest_s = min(_LONGEST_REST_S, 0.1 * 2**tries) * random.uniform(0.5, 1)  # noqa: S311 (no secret)
            self._say(f"ended; starting again in {rest_s:.1f} s")
            await asyncio.sleep(rest_s)

    async def _run_once(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=_ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._say(f"process {self._process.pid}")
        try:
            async with asyncio.TaskGroup() as tasks:
                probe = tasks.create_task(self._probe())
                await self._read_lines(self._process)
                await self._process.wait()
                probe.cancel()
        finally:
            await self._stop(self._process)

    async def _read_lines(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async for line in process.stdout:
            self._say(line.decode(errors="replace").rstrip())
            if self._url is None:
                self.is_up.set()

    async def _probe(self) -> None:
        """Ask until it answers; the event functions answer a GET with 404 or 405."""
        if self._url is None or self.is_up.is_set():
            return
        async with httpx2.AsyncClient(timeout=5) as client:
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(self._url)).status_code < 500:
                        self.is_up.set()
                        return
                await asyncio.sleep(0.05)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        """End the process and whatever it has started: politely, then not."""
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()

    def _say(self, line: str) -> None:
        self._said.append(line)
        print(f"{self.name} | {line}", file=sys.stderr, flush=True)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def _die_with_parent() -> None:
    """Have the kernel end this process when the supervisor dies, however it dies (Linux alone knows how)."""
    with contextlib.suppress(OSError, AttributeError):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def layout_of(environment: Mapping[str, str]) -> Layout:
    """Read PORT and INSTANCES. Raises `CannotStart`."""
    try:
        layout = Layout(int(environment.get("PORT") or 8080), int(environment.get("INSTANCES") or 1))
    except ValueError as error:
        raise CannotStart(f"PORT and INSTANCES must be whole numbers ({error})") from error
    if not 1 <= layout.instances <= 50 or not 1 <= layout.port <= 65_000:
        raise CannotStart("INSTANCES must be 1 to 50, and PORT 1 to 65000")
    return layout


def settled(environment: Mapping[str, str], layout: Layout) -> dict[str, str]:
    """Give the environment of the parts: what the user set, and the local defaults. Raises `CannotStart`."""
    defaults = {"GATEWAY_BACKEND": "embedded", "STATE_DIR": ".local", "PYTHONUNBUFFERED": "1"}
    known = {**defaults, **{name: value for name, value in environment.items() if value}}
    known["STATE_DIR"] = str(Path(known["STATE_DIR"]).resolve())
    if known["GATEWAY_BACKEND"] == "google":
        if not known.get("PUBSUB_EMULATOR_HOST") or not known.get("FIRESTORE_EMULATOR_HOST"):
            raise CannotStart(
                "GATEWAY_BACKEND=google on this machine needs FIRESTORE_EMULATOR_HOST and PUBSUB_EMULATOR_HOST: start "
                "the emulators and set both, or leave GATEWAY_BACKEND out"
            )
        known.setdefault("GOOGLE_CLOUD_PROJECT", "litellm-gateway-local")
    sandbox = f"http://127.0.0.1:{layout.sandbox}"
    if not any(known.get(name) for name in _PROVIDER_VARIABLES):
        known["GATEWAY_SANDBOX_URL"] = sandbox
    known.setdefault("ALERT_WEBHOOK_URL", f"{sandbox}/alerts")
    return known


def parts_of(layout: Layout, environment: Mapping[str, str]) -> list[Part]:
    """Lay the parts out."""
    fold, alert = f"http://127.0.0.1:{layout.fold}/", f"http://127.0.0.1:{layout.alert}/"
    python = [sys.executable, "-m"]
    relay = Part("relay", [*python, "infra.local.relay", fold, alert], environment, None)
    parts = [relay, _function("fold_spend", "cloudevent", layout.fold, environment, fold)]
    parts.append(_function("send_alert", "cloudevent", layout.alert, environment, alert))
    for position, port in enumerate(layout.completions):
        name = "completion" if layout.instances == 1 else f"completion-{position}"
        parts.append(_function(name, "http", port, environment, f"http://127.0.0.1:{port}/health/readiness"))
    sandbox = f"http://127.0.0.1:{layout.sandbox}"
    if sandbox in (environment.get("GATEWAY_SANDBOX_URL"), environment["ALERT_WEBHOOK_URL"].removesuffix("/alerts")):
        command = [*python, "infra.local.sandbox", str(layout.sandbox)]
        parts.append(Part("sandbox", command, environment, f"{sandbox}/health"))
    return parts


def _function(name: str, signature: str, port: int, environment: Mapping[str, str], url: str) -> Part:
    """Lay out a function's server, with a folder of its own for gunicorn's control socket: they would share one."""
    target = name.partition("-")[0]
    command = [str(_BIN / "functions-framework"), "--target", target, "--source", "main.py"]
    command += ["--signature-type", signature, "--host", "127.0.0.1", "--port", str(port)]
    own = {**environment, "XDG_RUNTIME_DIR": tempfile.mkdtemp(prefix=f"{name}-", dir=environment["XDG_RUNTIME_DIR"])}
    return Part(name, command, own, url)


def check_ports(layout: Layout) -> None:
    """Raise `CannotStart` for a port that somebody else has."""
    for port in (*layout.completions, layout.fold, layout.alert, layout.sandbox):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CannotStart(f"port {port} is in use; stop what uses it, or set PORT") from error


def check_config() -> None:
    """Raise `CannotStart` for a configuration that the functions would refuse."""
    try:
        bootstrap.load_config(bootstrap.Environment())
    except (ConfigError, ValueError) as error:
        raise CannotStart(str(error)) from error


async def run(layout: Layout, environment: Mapping[str, str]) -> None:
    """Run everything until SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    parts = parts_of(layout, environment)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part.keep_running()) for part in parts]
            running.append(tasks.create_task(_tell_when_up(parts, layout, environment)))
            await stopped.wait()
            for task in running:
                task.cancel()
    except* CannotStart as failed:
        raise failed.exceptions[0] from None


async def _tell_when_up(parts: Sequence[Part], layout: Layout, environment: Mapping[str, str]) -> None:
    try:
        async with asyncio.timeout(_START_S):
            for part in parts:
                await part.is_up.wait()
    except TimeoutError:
        silent = ", ".join(part.name for part in parts if not part.is_up.is_set())
        raise CannotStart(f"no answer within {_START_S} s from: {silent}") from None
    if "GATEWAY_SANDBOX_URL" in environment:
        print("no provider key is set: the sandbox answers, and says so", file=sys.stderr, flush=True)
    print(f"ready http://127.0.0.1:{layout.port}", flush=True)


def main() -> int:
    """Start, wait, stop; 1 where that can't be done."""
    try:
        layout = layout_of(os.environ)
        environment = settled(os.environ, layout)
        check_config()
        check_ports(layout)
        with tempfile.TemporaryDirectory(prefix="gateway-") as run_dir:
            asyncio.run(run(layout, environment | {"XDG_RUNTIME_DIR": run_dir}))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m infra.local.supervisor`: every part of the gateway on this machine, kept running until it is stopped.

`infra/local/up` calls this inside the project's environment. Each function is a process of its own under the functions
framework, as in Google Cloud; the relay stands in for Eventarc, the sandbox for providers without keys.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import random
import re
import signal
import socket
import sys
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2

from functions import bootstrap
from functions.gateway.config import Config, ConfigError

_ROOT = Path(__file__).parents[2]
_BIN = Path(sys.executable).parent
_START_S = 90  # for all parts to answer
_LAST_WORDS_S = 0.3  # for what an ended part has said to arrive
_SHORT_LIFE_S = 10  # a part that ends sooner has failed rather than died
_TRIES_AT_START = 4
_LONGEST_REST_S = 5.0
_PIECE = 65_536
_LONGEST_LINE = 4_000  # bytes of a part's line that are shown


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


@dataclass(frozen=True, slots=True)
class Plan:
    """How a part is run. It is up once `url` answers, or, without one, once it says `ready_line`.

    Parts are stopped in the order of their `stage`, each with `stop_s` to end before it is killed: nobody ends before
    those who still need it, and all together end within 10 s.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stage: int
    url: str | None = None
    ready_line: str | None = None

    @property
    def stop_s(self) -> float:
        """The first have answers to finish."""
        return (5.0, 1.5, 1.0)[self.stage]


class Part:
    """One process, restarted when it ends."""

    def __init__(self, plan: Plan, stack_is_ready: asyncio.Event) -> None:
        self.name = plan.name
        self.stage = plan.stage
        self.is_up = asyncio.Event()
        self._plan = plan
        self._stack_is_ready = stack_is_ready
        self._said: deque[str] = deque(maxlen=30)

    async def keep_running(self) -> None:
        """Start it, and start it again whenever it ends, later after each short life.

        Raises `CannotStart` after a few short lives, if the stack has never been ready.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started = loop.time()
            await self._run_once()
            failures = failures + 1 if loop.time() - started < _SHORT_LIFE_S else 0
            if failures >= _TRIES_AT_START and not self._stack_is_ready.is_set():
                raise CannotStart("\n".join([f"{self.name} does not start; it said:", *self._said]))
            rest_s = min(_LONGEST_REST_S, 0.1 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)  # noqa: S311 (no secret)
            self._say(f"ended; starting again in {rest_s:.1f} s")
            await asyncio.sleep(rest_s)

    async def _run_once(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._plan.command,
            cwd=_ROOT,
            env=self._plan.environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._say(f"process {process.pid}")
        listening = asyncio.create_task(self._listen(process))  # until its end: what is not read would block it
        try:
            async with asyncio.TaskGroup() as tasks:
                probe = tasks.create_task(self._probe())
                await asyncio.wait([listening])
                await process.wait()
                probe.cancel()
        finally:
            self.is_up.clear()
            await self._stop(process)
            await asyncio.wait([listening], timeout=_LAST_WORDS_S)
            listening.cancel()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        async for line in lines_of(process.stdout):
            self._say(line)
            if self._plan.url is None and line == self._plan.ready_line:
                self.is_up.set()

    async def _probe(self) -> None:
        """Ask until it answers; the event functions answer a GET with 404 or 405."""
        if self._plan.url is None:
            return
        async with httpx2.AsyncClient(timeout=5) as client:
            while True:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(self._plan.url)).status_code < 500:
                        self.is_up.set()
                        return
                await asyncio.sleep(0.05)

    async def _stop(self, process: asyncio.subprocess.Process) -> None:
        """End the process and whatever it has started: politely, then not."""
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._plan.stop_s):
                await process.wait()
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()

    def _say(self, line: str) -> None:
        self._said.append(line)
        _tell(f"{self.name} | {line}")


async def lines_of(stream: asyncio.StreamReader) -> AsyncGenerator[str]:
    """Give a part's lines, of the long ones the beginning: whatever it writes, it is read."""
    line = bytearray()
    while piece := await stream.read(_PIECE):
        *ended, rest = piece.split(b"\n")
        for end in ended:
            yield _shown(line + end)
            line.clear()
        line += rest
        del line[_LONGEST_LINE + 1 :]
    if line:
        yield _shown(line)


def _shown(line: bytes | bytearray) -> str:
    text = line[:_LONGEST_LINE].decode(errors="replace").rstrip()
    return f"{text} …" if len(line) > _LONGEST_LINE else text


def _tell(text: str) -> None:
    """Write to the log; that nobody reads it any more stops nothing."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


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
    return Layout(_whole(environment, "PORT", 8080, 65_000), _whole(environment, "INSTANCES", 1, 50))


def _whole(environment: Mapping[str, str], name: str, default: int, largest: int) -> int:
    given = environment.get(name) or str(default)
    if not re.fullmatch("[0-9]{1,5}", given) or not 1 <= int(given) <= largest:
        raise CannotStart(f"{name}: {given!r} is not accepted; write a whole number from 1 to {largest}")
    return int(given)


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
    known.setdefault("GATEWAY_SANDBOX_URL", sandbox_url(layout))
    known.setdefault("ALERT_WEBHOOK_URL", f"{sandbox_url(layout)}/alerts")
    return known


def sandbox_url(layout: Layout) -> str:
    """Say where the sandbox is, if it runs."""
    return f"http://127.0.0.1:{layout.sandbox}"


def plans_of(layout: Layout, environment: Mapping[str, str], config: Config) -> list[Plan]:
    """Lay the parts out."""
    fold, alert = f"http://127.0.0.1:{layout.fold}/", f"http://127.0.0.1:{layout.alert}/"
    python = [sys.executable, "-m"]
    relay = Plan("relay", [*python, "infra.local.relay", fold, alert], environment, stage=2, ready_line="relaying")
    plans = [relay, _function("fold_spend", "cloudevent", layout.fold, environment, fold)]
    plans.append(_function("send_alert", "cloudevent", layout.alert, environment, alert))
    for position, port in enumerate(layout.completions):
        name = "completion" if layout.instances == 1 else f"completion-{position}"
        completion = _function(name, "http", port, environment, f"http://127.0.0.1:{port}/health/readiness")
        plans.append(replace(completion, stage=0))
    sandbox = sandbox_url(layout)
    answers = config.is_sandbox and environment["GATEWAY_SANDBOX_URL"] == sandbox
    if answers or environment["ALERT_WEBHOOK_URL"] == f"{sandbox}/alerts":
        command = [*python, "infra.local.sandbox", str(layout.sandbox)]
        plans.append(Plan("sandbox", command, environment, stage=2, url=f"{sandbox}/health"))
    return plans


def _function(name: str, signature: str, port: int, environment: Mapping[str, str], url: str) -> Plan:
    """Lay out a function's server, with a folder of its own for gunicorn's control socket: they would share one."""
    target = name.partition("-")[0]
    command = [str(_BIN / "functions-framework"), "--target", target, "--source", "main.py"]
    command += ["--signature-type", signature, "--host", "127.0.0.1", "--port", str(port)]
    own = {**environment, "XDG_RUNTIME_DIR": tempfile.mkdtemp(prefix=f"{name}-", dir=environment["XDG_RUNTIME_DIR"])}
    return Plan(name, command, own, stage=1, url=url)


def check_ports(layout: Layout) -> None:
    """Raise `CannotStart` for a port that somebody else has."""
    for port in (*layout.completions, layout.fold, layout.alert, layout.sandbox):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise CannotStart(f"port {port} is in use; stop what uses it, or set PORT") from error


@contextlib.contextmanager
def own_state_dir(environment: Mapping[str, str]) -> Generator[None]:
    """Keep the embedded backend's folder for this stack. Raises `CannotStart` where that can't be."""
    if environment["GATEWAY_BACKEND"] != "embedded":
        yield
        return
    folder = Path(environment["STATE_DIR"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise CannotStart(
            f"STATE_DIR: {folder} can't be a folder to write to ({error.strerror}); set another"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CannotStart(f"STATE_DIR: {folder} is in use by another stack; stop it, or set another") from error
        yield


def check_config(layout: Layout) -> Config:
    """Give the configuration. Raises `CannotStart` for one that the functions would refuse."""
    try:
        given = {} if os.environ.get("GATEWAY_SANDBOX_URL") else {"gateway_sandbox_url": sandbox_url(layout)}
        return bootstrap.load_config(bootstrap.read_environment(**given))
    except ConfigError as error:
        raise CannotStart(str(error)) from error


async def run(layout: Layout, environment: Mapping[str, str], config: Config) -> None:
    """Run everything until SIGINT or SIGTERM."""
    stopped, is_ready = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    parts = [Part(plan, is_ready) for plan in plans_of(layout, environment, config)]
    try:
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(_tell_when_up(parts, layout, config, is_ready))
            running = {part: tasks.create_task(part.keep_running()) for part in parts}
            await stopped.wait()
            telling.cancel()
            await _stop_in_order(running)
    except* CannotStart as failed:
        raise failed.exceptions[0] from None


async def _stop_in_order(running: Mapping[Part, asyncio.Task[None]]) -> None:
    for stage in sorted({part.stage for part in running}):
        ending = [task for part, task in running.items() if part.stage == stage]
        for task in ending:
            task.cancel()
        await asyncio.wait(ending)


async def _tell_when_up(parts: Sequence[Part], layout: Layout, config: Config, is_ready: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_START_S):
            while not all(part.is_up.is_set() for part in parts):
                for part in parts:
                    await part.is_up.wait()
    except TimeoutError:
        silent = ", ".join(part.name for part in parts if not part.is_up.is_set())
        raise CannotStart(f"no answer within {_START_S} s from: {silent}") from None
    is_ready.set()
    if config.is_sandbox:
        _tell("no provider key is set: the sandbox answers, and says so")
    print(f"ready http://127.0.0.1:{layout.port}", flush=True)


def main() -> int:
    """Start, wait, stop; 1 where that can't be done."""
    try:
        layout = layout_of(os.environ)
        environment = settled(os.environ, layout)
        config = check_config(layout)
        check_ports(layout)
        with own_state_dir(environment), tempfile.TemporaryDirectory(prefix="gateway-") as run_dir:
            asyncio.run(run(layout, environment | {"XDG_RUNTIME_DIR": run_dir}, config))
    except CannotStart as error:
        _tell(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The faulty upstream, run in a process of its own, as tests control it."""

import socket
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2

from tests.e2e.stack import ROOT, wait_for
from tests.emulators import free_port
from tests.faults.behaviour import Script, as_json
from tests.faults.upstream import Seen

IN_USD_PER_TOKEN, OUT_USD_PER_TOKEN = "0.000001", "0.000002"
_NANO_PER_TOKEN = (1000, 2000)


class FaultyUpstream:
    """Sets what deployments do, and says what they have seen."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx2.Client(base_url=self.url, timeout=20)  # one for all: to make one takes a while

    def api_base(self, wire: str, deployment: str) -> str:
        """Give a deployment's address, as a configuration names it; those of Gemini are told apart by their models."""
        if wire == "gemini":
            return f"{self.url}/gemini"
        return f"{self.url}/{deployment}" + ("/v1" if wire == "openai" else "")

    def set_scripts(self, scripts: Mapping[str, Script]) -> None:
        """Have deployments do this from now on."""
        self.http.put("/scripts", json=as_json(scripts)).raise_for_status()

    def set_script(self, deployment: str, *script: Any) -> None:
        """Have one deployment do this from now on."""
        self.set_scripts({deployment: script})

    def seen(self) -> dict[str, list[Seen]]:
        """Give every deployment's requests."""
        raw: dict[str, list[dict[str, Any]]] = self.http.get("/seen").json()
        return {name: [_seen(entry) for entry in entries] for name, entries in raw.items()}

    def seen_by(self, deployment: str) -> list[Seen]:
        """Give one deployment's requests."""
        return [_seen(entry) for entry in self.http.get(f"/seen/{deployment}").json().get(deployment, [])]


def reported_cost(seen: Seen) -> int:
    """Price what an answer has reported, in nano-USD."""
    return _cost(*(seen.reported or (0, 0)))


def billed_cost(seen: Seen) -> int:
    """Price what was generated, in nano-USD, whether or not it was reported or read."""
    return _cost(seen.input_tokens, seen.output_tokens)


@contextmanager
def running_upstream() -> Generator[FaultyUpstream]:
    """Run it until the block ends."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.faults.upstream", str(port)], cwd=ROOT)
    upstream = FaultyUpstream(port)
    try:
        wait_for(lambda: _answers(upstream) or process.poll() is not None)
        yield upstream
    finally:
        upstream.http.close()
        process.terminate()
        process.wait(10)


@contextmanager
def closed_port() -> Generator[int]:
    """Keep a port at which every connection is refused."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def _cost(input_tokens: int, output_tokens: int) -> int:
    return input_tokens * _NANO_PER_TOKEN[0] + output_tokens * _NANO_PER_TOKEN[1]


def _seen(entry: dict[str, Any]) -> Seen:
    reported = entry.pop("reported")
    return Seen(**entry, reported=tuple(reported) if reported else None)


def _answers(upstream: FaultyUpstream) -> bool:
    try:
        upstream.seen()
    except httpx2.TransportError:
        return False
    return True

"""What a group of processes has used, by the kernel's own accounting (Linux: `/proc`)."""

import os
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessGroup:
    """A command and whatever it has started."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def cpu_s(self) -> float:
        """Processor seconds, user and system, of the living members and of the children they have reaped."""
        return sum(sum(int(ticks) for ticks in stat[11:15]) for _, stat in self._members()) / _TICKS_PER_S

    def pss_mb(self) -> float:
        """Proportional set size in MB: memory shared with other processes counts in parts."""
        sizes = [_pss_kb(pid) for pid, _ in self._members()]
        return sum(sizes) / 1000

    def _members(self) -> list[tuple[str, list[str]]]:
        members: list[tuple[str, list[str]]] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and (stat := _stat(entry)) and stat[2] == str(self._process.pid):
                members.append((entry.name, stat))
        return members


def _stat(entry: Path) -> list[str] | None:
    """The fields of `stat` after the command's name: [0] is the state, [2] the process group, [11] the user time."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _pss_kb(pid: str) -> int:
    lines = (Path("/proc") / pid / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Generator[ProcessGroup]:
    """Run a command in a process group of its own, and end it afterwards."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=cwd, env=dict(environment), stdout=quiet, stderr=quiet, process_group=0)
    try:
        yield ProcessGroup(process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)

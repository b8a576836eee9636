"""The faulty upstream, the gateway in front of it, and the table that its faults give."""

from collections.abc import AsyncGenerator, Generator

import httpx2
import pytest

from tests.faults import scenarios
from tests.faults.control import FaultyUpstream, closed_port, running_upstream
from tests.faults.gateway import Gateway, running_gateway
from tests.faults.table import REQUEST_TIMEOUT_S, ROWS, SECONDS, TIMEOUTS, Result, chains_of, lines

_TABLES = pytest.StashKey[dict[str, list[Result]]]()


@pytest.fixture(scope="session")
def upstream() -> Generator[FaultyUpstream]:
    """The faulty upstream; tests keep apart by their deployments' names."""
    with running_upstream() as started:
        yield started


@pytest.fixture(scope="session")
def gateway(upstream: FaultyUpstream, tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """One gateway for the table and the scenarios, whose deployments differ."""
    with closed_port() as port:
        rows = [row.deployed(port) for row in ROWS]
        with running_gateway(
            tmp_path_factory.mktemp("gateway"),
            upstream,
            [*rows, *SECONDS, *scenarios.DEPLOYMENTS],
            chains={**chains_of(ROWS), **scenarios.CHAINS},
            router={**TIMEOUTS, **scenarios.ROUTER},
            request_timeout_s=REQUEST_TIMEOUT_S,
        ) as started:
            yield started


@pytest.fixture
async def client(gateway: Gateway) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client of the gateway."""
    async with gateway.client() as opened:
        yield opened


@pytest.fixture(scope="session")
def tables(pytestconfig: pytest.Config) -> dict[str, list[Result]]:
    """Where results are put to be shown at the end of the run, by a title."""
    return pytestconfig.stash.setdefault(_TABLES, {})


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the tables: what came, after how long, attempts on the faulty and on the second upstream, and the money."""
    for title, results in config.stash.get(_TABLES, {}).items():
        terminalreporter.section(title)
        for line in lines(results):
            terminalreporter.line(line)
        terminalreporter.line("✓ a whole answer · attempts: faulty+second · = recorded as billed, else its share")

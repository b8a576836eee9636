"""May this request start? It needs all of its rate limits, and then all of its budgets."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from events.money import NanoUsd
from functions.gateway.allowances import AllowanceAdmission, AllowanceHold
from functions.gateway.errors import BudgetExceeded, GatewayError
from functions.gateway.ports import NO_LIMITS, Deployment, Limits, Parties, Request
from functions.gateway.rates import RateAdmission, RateHold


class WholeHold:
    """`Hold` on rate limits and budgets alike."""

    def __init__(self, rates: RateHold, budgets: AllowanceHold) -> None:
        self.allowance_ids = budgets.allowance_ids
        self.max_tokens = budgets.max_tokens
        self._rates = rates
        self._budgets = budgets

    @property
    def headers(self) -> Mapping[str, str]:
        """How much is left of the rate limits."""
        return self._rates.headers

    def settle(self, cost: NanoUsd, tokens: int) -> None:
        """Make both exact."""
        self._budgets.settle(cost, tokens)
        self._rates.settle(cost, tokens)


class WholeAdmission:
    """`Admission` by rate limits and budgets. Made by `open_admission`.

    `on_exceeded` is told of every request that a spent budget refuses, and whose it was; it returns at once.
    """

    def __init__(
        self, rates: RateAdmission, budgets: AllowanceAdmission, on_exceeded: Callable[[BudgetExceeded, Parties], None]
    ) -> None:
        self._rates = rates
        self._budgets = budgets
        self._on_exceeded = on_exceeded

    @asynccontextmanager
    async def hold(
        self, request: Request, chain: Sequence[Deployment], limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[WholeHold]:
        """Hold what the request needs of everything, or nothing of anything.

        Raises `RateLimited`, `BudgetExceeded`, `StoreUnavailable`. Whatever error ends the request tells of its rates.
        """
        async with self._rates.hold(request, limits.rates) as rates, AsyncExitStack() as stack:
            try:
                budgets = await stack.enter_async_context(self._budgets.hold(request, chain, limits))
            except BaseException as error:
                rates.withdraw()
                _tell(error, rates)
                if isinstance(error, BudgetExceeded):
                    self._on_exceeded(error, limits.parties)
                raise
            try:
                yield WholeHold(rates, budgets)
            except GatewayError as error:
                _tell(error, rates)
                raise

    async def tend(self) -> None:
        """Give back what is not needed any more, until cancelled."""
        await asyncio.gather(self._rates.tend(), self._budgets.tend())

    async def close(self) -> None:
        """Give back everything that no request holds."""
        await asyncio.gather(self._rates.close(), self._budgets.close())


def _tell(error: BaseException, rates: RateHold) -> None:
    if isinstance(error, GatewayError):
        error.headers = {**rates.headers, **error.headers}


@asynccontextmanager
async def open_admission(make: Callable[[asyncio.TaskGroup], WholeAdmission]) -> AsyncGenerator[WholeAdmission]:
    """Tend the admission that `make` gives for as long as the context is open, then give everything back."""
    async with asyncio.TaskGroup() as tasks:
        admission = make(tasks)
        tending = tasks.create_task(admission.tend())
        try:
            yield admission
        finally:
            tending.cancel()
            await admission.close()

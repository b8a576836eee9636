"""May this request spend? Answered from allowances: what this instance was given of each budget, ahead of the need."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.allowance import Allowance, allowance_id, expiry_of, uncapped
from events.budget import Budget
from events.money import NOTHING, NanoUsd
from events.window import Window
from functions.gateway.errors import BudgetExceeded, BudgetReserved, GatewayError, StoreUnavailable
from functions.gateway.ports import NO_LIMITS, Counters, Deployment, Gate, Grant, Limits, Request
from functions.gateway.purses import Open, Pace, Purse, allowance_size
from functions.gateway.worst_case import WorstCase, worst_case

_log = logging.getLogger(__name__)

_POLL_S = 0.25
_CLOSED_S = 1.0  # how long it is believed that there is nothing left
_CLOSE_WITHIN_S = 5.0
_MANY = 4  # times as much as is likely to be spent next
_LARGE_IDLE_S = 2.0
_LARGE_PART = 8  # of what is left: more of it is for others, whatever it was once needed for


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How allowances are dealt with. Times are in seconds.

    `lifetime_s`: how long requests may begin on one; `longest_request_s`: how long one may then be under way, until its
    spend is recorded; `idle_s`: how long one may lie unused; `patience_s`: how long a request waits for what others may
    give back, once the store has said that there is too little; `store_within_s`: how long it waits for the store.
    `lowers_max_tokens`: an answer is made shorter where that is what the budget can cover.
    """

    lifetime_s: float = 120
    longest_request_s: float = 630
    idle_s: float = 30
    patience_s: float = 15
    store_within_s: float = 5
    lowers_max_tokens: bool = True


class Short(Exception):
    """A window can't cover a request now: `most` is what it can cover."""

    def __init__(self, pool: "Pool", most: NanoUsd) -> None:
        super().__init__(f"{most} of {pool.counter}")
        self.pool = pool
        self.most = most


@dataclass(slots=True)
class Patience:
    """How long a request still waits, over all its budgets: it runs from when one is first known to be short."""

    seconds: float
    until: float | None = None

    def begin(self, now: float) -> float:
        """Say until when, from now on if it was not yet running."""
        if self.until is None:
            self.until = now + self.seconds
        return self.until


@dataclass(slots=True, eq=False)
class _Waiter:
    cost: NanoUsd
    patience: Patience
    covered: asyncio.Future[Open]
    bound: asyncio.Timeout
    is_short: bool = False  # the store has said that there is too little

    def fail(self, error: Exception) -> None:
        """Have it raise, unless its time was up a moment ago."""
        if not self.covered.done():
            self.covered.set_exception(error)

    def begin_patience(self, now: float) -> None:
        """Have it wait as long as its patience lasts, instead of as long as the store may take."""
        if not self.is_short:
            self.is_short = True
            self.bound.reschedule(asyncio.get_running_loop().time() + self.patience.begin(now) - now)


class Pool:
    """This instance's part of one window of a budget. One task at a time asks the gate, whoever waits."""

    def __init__(
        self,
        budget: Budget,
        window: Window,
        gate: Gate,
        counters: Counters,
        tasks: asyncio.TaskGroup,
        terms: Terms,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self.budget = budget
        self.window = window
        self.counter = budget.counter(window)
        self.purse = Purse()
        self.admitted = NOTHING  # as the gate last said
        self.spent = NOTHING  # as the counter last said
        self._gate = gate
        self._counters = counters
        self._tasks = tasks
        self._terms = terms
        self._now = now
        self._clock = clock
        self._new_id = new_id
        self._pace = Pace()
        self._waiting: deque[_Waiter] = deque()
        self._filling: asyncio.Task[None] | None = None
        self._unanswered: tuple[Allowance, float] | None = None
        self._owed: list[Open] = []  # what the gate did not take back yet
        self._giving_back = asyncio.Lock()
        self._has_admitted_spent = False
        self._own_spent = NOTHING
        self._fragment = NOTHING  # what the gate had when it had too little
        self._closed_until = float("-inf")
        self._closed_from = NOTHING  # until then, who needs as much is not kept waiting
        self._has_waited_in_vain = False
        self.used_at = clock()

    @property
    def left(self) -> NanoUsd:
        """What of the budget is not handed out."""
        return NanoUsd(max(0, self.limit - self.admitted))

    @property
    def limit(self) -> NanoUsd:
        """What may be handed out in all."""
        return self.budget.max_budget or NOTHING

    @property
    def unspent(self) -> NanoUsd:
        """What of the budget is known not to be spent, whoever holds it."""
        return NanoUsd(max(0, self.limit - max(self.spent, self._own_spent)))

    @property
    def within_reach(self) -> NanoUsd:
        """What of the budget this instance may hold: what is not handed out, and what it has and holds for nobody."""
        return NanoUsd(self.left + self.purse.free)

    def is_over(self, idle_s: float) -> bool:
        """Say whether nobody has asked anything of it for so long, and nothing of it is here."""
        is_idle = self.used_at + idle_s < self._clock()
        return is_idle and not (self.purse.allowances or self._waiting or self._unanswered or self._owed)

    def budget_is(self, budget: Budget) -> None:
        """Take the budget as a request brings it. Where it was lowered, what is in hand goes back."""
        is_lower = (budget.max_budget or NOTHING) < self.limit
        self.budget = budget
        if is_lower:
            self.purse.retire_all(self._clock())

    async def hold(self, cost: NanoUsd, patience: Patience) -> Open:
        """Set an amount aside, asking for more where need be. Raises `Short` or `StoreUnavailable`."""
        now = self.used_at = self._clock()
        if not self._waiting and (covering := self.purse.hold(cost, now)) is not None:
            return covering
        if now < self._closed_until and cost >= self._closed_from:
            raise Short(self, self._most(now))
        covered: asyncio.Future[Open] = asyncio.get_running_loop().create_future()
        bound = asyncio.timeout(self._terms.store_within_s)
        waiter = _Waiter(cost, patience, covered, bound)
        is_covered = False
        try:
            async with bound:
                self._waiting.append(waiter)
                self._fill()
                covering = await covered
                is_covered = True
                return covering
        except TimeoutError:
            if not waiter.is_short:
                raise StoreUnavailable("The budget's store did not answer in time. Try again shortly.") from None
            self._has_waited_in_vain = True
            self._close(cost)
            raise Short(self, self._most(self._clock())) from None
        finally:
            if not is_covered:
                self._withdraw(waiter)

    def settle(self, allowance: Open, held: NanoUsd, cost: NanoUsd, *, is_spent: bool) -> None:
        """Make exact what was held; whoever waits may have the difference."""
        now = self._clock()
        allowance.settle(held, cost, now)
        if is_spent:
            self._pace.spent(cost, now)
            self._own_spent = NanoUsd(self._own_spent + cost)
        if not allowance.holds and allowance.free < 0:  # it cost more than its worst case: others must know at once
            self._tasks.create_task(self.give_back(idle_s=self._terms.idle_s))
        if self._waiting:
            self._serve()

    async def give_back(self, *, idle_s: float, too_small_for: NanoUsd = NOTHING) -> None:
        """Give the gate what isn't needed, or is overdrawn. What it doesn't take is given again later. Never fails."""
        now = self._clock()
        async with self._giving_back:
            self._owed += self.purse.take_out(now, unused_since=now - idle_s, too_small_for=too_small_for)
            while self._owed and await self._give(self._owed[0]):
                del self._owed[0]

    async def _give(self, done: Open) -> bool:
        """Give one allowance's rest back, and say whether that is done with: what is old is reconciled without us."""
        try:
            async with asyncio.timeout(self._terms.store_within_s):
                await self._gate.give_back(done.allowance_id, done.rest)
        except (StoreUnavailable, TimeoutError):
            return self._clock() > done.usable_until + self._terms.longest_request_s
        except Exception:  # noqa: BLE001 (a worker: nobody waits for it)
            _log.exception("the allowance %s could not be given back; it is reconciled later", done.allowance_id)
        return True

    async def give_back_fragments(self, too_small_for: NanoUsd) -> None:
        """Give back what is of no use to a request of that cost."""
        await self.give_back(idle_s=self._terms.idle_s, too_small_for=too_small_for)

    async def tend(self) -> None:
        """Give back what lies idle: soon where little is left, or where it is far more than is spent of late."""
        now, ahead = self._clock(), self._pace.ahead(self._clock())
        self.purse.retire(now, over=NanoUsd(ahead * _MANY), unused_since=now - _LARGE_IDLE_S)
        self.purse.retire(now, over=NanoUsd(max(ahead * _MANY, self.left // _LARGE_PART)), unused_since=now)
        if self._unanswered is not None and self._unanswered[1] < now and not self._waiting:
            self._unanswered = None  # if it was granted all the same, it is reconciled
        is_scarce = self.left < self.limit // 16
        await self.give_back(idle_s=1 if is_scarce else self._terms.idle_s)

    def _fill(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = self._tasks.create_task(self._fill_while_waited_for())

    async def _fill_while_waited_for(self) -> None:
        """Ask the gate for as long as somebody waits and there is a chance. Never fails: it tells those who wait."""
        try:
            while self._waiting:
                grant = await self._take()
                self._serve()
                if grant is None or not self._waiting or grant.granted >= self._waiting[0].cost:
                    self._has_waited_in_vain, self._fragment = False, NOTHING
                    continue
                self._fragment = grant.granted
                await self._look()
                if self._refuse_the_hopeless():
                    continue
                for waiter in self._waiting:
                    waiter.begin_patience(self._clock())
                await self.give_back_fragments(self._waiting[0].cost)  # of two who each keep a part, neither has enough
                await asyncio.sleep(_POLL_S)
                self._serve()
        except (StoreUnavailable, TimeoutError) as error:
            self._fail(StoreUnavailable(f"The budget's store does not answer ({error}). Try again shortly."))
        except Exception as error:  # noqa: BLE001 (a worker: who waits raises it)
            self._fail(error)

    async def _take(self) -> Grant | None:
        """Take one allowance, for all who wait; nothing where nobody does any more."""
        async with self._giving_back:
            pass  # what is on its way back counts
        if self._waiting:
            await self._give_back_fragments()
        if not self._waiting:
            return None
        if not self._has_admitted_spent:
            await self._admit_spent()
        now = self._clock()
        waiting = NanoUsd(sum(waiter.cost for waiter in self._waiting))
        size = allowance_size(self._waiting[0].cost, waiting, self._pace.ahead(now), self.left)
        allowance, usable_until = self._unanswered or (self._allowance(size), now + self._terms.lifetime_s)
        self._unanswered = (allowance, usable_until)  # until there is an answer, the same one is asked for
        async with asyncio.timeout(self._terms.store_within_s):
            grant = await self._grant(allowance, self.limit)
        self._unanswered = None
        self.admitted = grant.admitted
        if grant.granted:
            name = allowance.allowance_id
            opened = Open(allowance_id=name, granted=grant.granted, usable_until=usable_until, used_at=self._clock())
            self.purse.allowances.append(opened)
        return grant

    async def _grant(self, allowance: Allowance, limit: NanoUsd) -> Grant:
        expires_at = None if self.window.is_endless else allowance.expires_at
        return await self._gate.take(allowance, limit=limit, gate_expires_at=expires_at)

    async def _admit_spent(self) -> None:
        """Have what is spent of the window count as handed out: some of it may be from when there was no limit."""
        async with asyncio.timeout(self._terms.store_within_s):
            state, admitted = await asyncio.gather(self._counters.read(self.counter), self._gate.admitted(self.counter))
            if state.spent > admitted:
                spent = self._allowance(state.spent)
                await self._grant(spent, state.spent)
                await self._gate.give_back(spent.allowance_id, NOTHING)
        self.spent = state.spent
        self._has_admitted_spent = True

    async def _give_back_fragments(self) -> None:
        """Give back what lies in pieces too small for the first who waits; where little is left, before asking."""
        first = self._waiting[0].cost
        returning = self.give_back_fragments(first)
        if self.left < first:
            await returning
        else:
            self._tasks.create_task(returning)

    def _allowance(self, size: NanoUsd) -> Allowance:
        seconds = self._terms.lifetime_s + self._terms.longest_request_s
        settled_by = self._now() + timedelta(seconds=seconds)
        return Allowance(
            allowance_id=allowance_id(self.counter, self._new_id()),
            granted=size,
            settled_by=settled_by,
            expires_at=expiry_of(settled_by, self.window),
        )

    async def _look(self) -> None:
        """Find out how much is spent: the rest may come back."""
        async with asyncio.timeout(self._terms.store_within_s):
            self.spent = (await self._counters.read(self.counter)).spent

    def _refuse_the_hopeless(self) -> bool:
        """Refuse those who need more than can come back, or, where waiting was in vain of late, everyone."""
        most = NOTHING if self._has_waited_in_vain else self.unspent
        hopeless = [waiter for waiter in self._waiting if waiter.cost > most]
        for waiter in hopeless:
            self._waiting.remove(waiter)
            self._close(waiter.cost)
            waiter.fail(Short(self, self._most(self._clock())))
        self._serve()
        return bool(hopeless)

    def _most(self, now: float) -> NanoUsd:
        """Say how much one request may have: what is here, or what the gate had a moment ago."""
        return max(self.purse.most(now), self._fragment)

    def _close(self, cost: NanoUsd) -> None:
        """Believe for a moment that there is too little for this cost."""
        now = self._clock()
        self._closed_from = min(cost, self._closed_from) if now < self._closed_until else cost
        self._closed_until = now + _CLOSED_S

    def _serve(self) -> None:
        """Give those who wait what there is, in their order."""
        while self._waiting:
            if self._waiting[0].covered.done():  # its time is up, and it will be gone in a moment
                self._waiting.popleft()
                continue
            covering = self.purse.hold(self._waiting[0].cost, self._clock())
            if covering is None:
                return
            self._waiting.popleft().covered.set_result(covering)
            self._has_waited_in_vain = False

    def _withdraw(self, waiter: _Waiter) -> None:
        """Let somebody go who waits no more, with what may have been given to them a moment ago."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)
            self._serve()
        if waiter.covered.done() and not waiter.covered.cancelled() and waiter.covered.exception() is None:
            self.settle(waiter.covered.result(), waiter.cost, NOTHING, is_spent=False)
        waiter.covered.cancel()

    def _fail(self, error: Exception) -> None:
        while self._waiting:
            self._waiting.popleft().fail(error)


class AllowanceHold:
    """`Hold` on an allowance of each budget that applies; in the `uncapped` ones it only counts."""

    def __init__(
        self, parts: Sequence[tuple[Pool, Open]], cost: NanoUsd, max_tokens: int | None, uncapped: Sequence[str] = ()
    ) -> None:
        self.allowance_ids = (*(allowance.allowance_id for _, allowance in parts), *uncapped)
        self.max_tokens = max_tokens
        self._parts = parts
        self._cost = cost
        self._is_over = False

    def settle(self, cost: NanoUsd, tokens: int) -> None:
        """Make it exact; whatever is said later is not heard."""
        self._end(cost, is_spent=True)

    def release(self) -> None:
        """Give all of it up, unless it was settled."""
        self._end(NOTHING, is_spent=False)

    def _end(self, cost: NanoUsd, *, is_spent: bool) -> None:
        if not self._is_over:
            self._is_over = True
            for pool, allowance in self._parts:
                pool.settle(allowance, self._cost, cost, is_spent=is_spent)


class AllowanceAdmission:
    """`Admission` by allowances. Made by `open_admission`, which gives back what is not needed any more.

    Every request needs the global `budget`. `attempts_at_once`: how many of its attempts may run beside each other.
    """

    def __init__(
        self,
        budget: Budget,
        gate: Gate,
        counters: Counters,
        tasks: asyncio.TaskGroup,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        new_id: Callable[[], str],
        exceeded_status: int,
        attempts_at_once: int = 1,
        terms: Terms | None = None,
    ) -> None:
        self._budget = budget
        self._gate = gate
        self._counters = counters
        self._tasks = tasks
        self._now = now
        self._clock = clock
        self._new_id = new_id
        self._exceeded_status = exceeded_status
        self._attempts_at_once = attempts_at_once
        self._terms = terms or Terms()
        self._pools: dict[str, Pool] = {}  # by counter
        self._current: dict[str, Pool] = {}  # by budget: that of the present window

    @asynccontextmanager
    async def hold(
        self, request: Request, chain: Sequence[Deployment], limits: Limits = NO_LIMITS
    ) -> AsyncGenerator[AllowanceHold]:
        """Set the request's worst case aside in every budget that applies, or in none.

        Raises `BudgetExceeded`, `BudgetReserved`, or `StoreUnavailable` where that can't be known.
        """
        now = self._now()
        budgets = (self._budget, *limits.budgets)
        pools = [self._pool(budget, now) for budget in budgets if budget.max_budget is not None]
        uncapped_ids = [uncapped(b.counter(b.window(now))) for b in limits.budgets if b.max_budget is None]
        if pools:
            worst = worst_case(request, chain, times=self._attempts_at_once)
            hold = await self._held(pools, worst, uncapped_ids)
        else:
            hold = AllowanceHold((), NOTHING, None, uncapped_ids)
        try:
            yield hold
        finally:
            hold.release()

    async def tend(self) -> None:
        """Give back what lies idle, until cancelled."""
        while True:
            await asyncio.sleep(1)
            pools = list(self._pools.values())
            await asyncio.gather(*(pool.tend() for pool in pools))
            for pool in pools:
                if pool.is_over(self._terms.idle_s):
                    del self._pools[pool.counter]
                    if self._current.get(pool.budget.budget_id) is pool:
                        del self._current[pool.budget.budget_id]

    @property
    def budgets_known(self) -> int:
        """How many windows of budgets it has allowances of, or had a moment ago."""
        return len(self._pools)

    async def close(self) -> None:
        """Give back everything that no request holds. A courtesy: what it can't, reconciliation does."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN_S):
                await asyncio.gather(*(pool.give_back(idle_s=0) for pool in self._pools.values()))

    def _pool(self, budget: Budget, now: datetime) -> Pool:
        known = self._current.get(budget.budget_id)
        if known is not None and known.budget == budget and known.window.starts_at <= now < known.window.ends_at:
            return known
        window = budget.window(now)
        known = self._pools.get(budget.counter(window))
        if known is None:
            known = Pool(
                budget,
                window,
                self._gate,
                self._counters,
                self._tasks,
                self._terms,
                now=self._now,
                clock=self._clock,
                new_id=self._new_id,
            )
            self._pools[known.counter] = known
        known.budget_is(budget)
        self._current[budget.budget_id] = known
        return known

    async def _held(self, pools: Sequence[Pool], worst: WorstCase, uncapped_ids: Sequence[str]) -> AllowanceHold:
        """Hold the worst case; where a budget can't cover it, that of an answer as long as it can."""
        patience, max_tokens = Patience(self._terms.patience_s), worst.max_tokens
        if self._terms.lowers_max_tokens and not worst.names_limit:
            max_tokens = worst.fair_tokens(min(pool.within_reach for pool in pools))
        while True:
            cost = worst.cost(max_tokens)
            try:
                parts = await self._in_all(pools, cost, patience)
            except Short as short:
                affordable = worst.affordable_tokens(short.most)
                is_enough = worst.least_tokens(short.pool.unspent) <= affordable < max_tokens
                if not self._terms.lowers_max_tokens or not is_enough:
                    self._tasks.create_task(short.pool.give_back_fragments(cost))
                    raise self._refusal(short.pool, worst) from None
                max_tokens = affordable
            else:
                return AllowanceHold(parts, cost, max_tokens if max_tokens < worst.max_tokens else None, uncapped_ids)

    async def _in_all(self, pools: Sequence[Pool], cost: NanoUsd, patience: Patience) -> list[tuple[Pool, Open]]:
        """Hold in each, the narrowest first: who waits for the widest keeps nobody waiting there."""
        parts: list[tuple[Pool, Open]] = []
        try:
            for pool in reversed(pools):
                parts.append((pool, await pool.hold(cost, patience)))
        except BaseException:
            AllowanceHold(parts, cost, None).release()
            raise
        return parts

    def _refusal(self, pool: Pool, worst: WorstCase) -> GatewayError:
        """Say why: the budget is spent, as far as this request is concerned, or others hold what is left of it."""
        least = worst.least_cost if self._terms.lowers_max_tokens else worst.cost(worst.max_tokens)
        if pool.unspent >= least:
            return BudgetReserved(pool.budget, spent=pool.spent, max_budget=pool.limit, window=pool.window)
        return BudgetExceeded(
            pool.budget,
            spent=pool.spent,
            max_budget=pool.limit,
            window=pool.window,
            now=self._now(),
            status=self._exceeded_status,
        )


@asynccontextmanager
async def open_admission(
    make: Callable[[asyncio.TaskGroup], AllowanceAdmission],
) -> AsyncGenerator[AllowanceAdmission]:
    """Tend the admission that `make` gives for as long as the context is open, then give everything back."""
    async with asyncio.TaskGroup() as tasks:
        admission = make(tasks)
        tending = tasks.create_task(admission.tend())
        try:
            yield admission
        finally:
            tending.cancel()
            await admission.close()

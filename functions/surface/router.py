"""Every path of the gateway, and what answers there."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import anyio
import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from events.money import usd
from functions.gateway.config import Config
from functions.gateway.errors import StoreUnavailable
from functions.gateway.keys import Identity, Keyring
from functions.gateway.pipeline import Completions
from functions.gateway.ports import Counters
from functions.surface import models
from functions.surface.chat import ChatEndpoint
from functions.surface.edge import at_edge, json_response
from functions.surface.embeddings import EmbeddingEndpoint

_READY_WITHIN_S = 2
_log = logging.getLogger(__name__)


class Surface:
    """The small endpoints: what is served, whether it works, what was spent."""

    def __init__(
        self, config: Config, counters: Counters, keyring: Keyring, *, now: Callable[[], datetime], is_sandbox: bool
    ) -> None:
        self._config = config
        self._counters = counters
        self._keyring = keyring
        self._now = now
        self._is_sandbox = is_sandbox

    async def list_models(self, request: Request) -> Response:
        """`GET /v1/models`."""
        identity = await self._authenticated(request)
        return _json(models.list_models(self._config, identity.models))

    async def one_model(self, request: Request) -> Response:
        """`GET /v1/models/{id}`."""
        identity = await self._authenticated(request)
        return _json(models.one_model(self._config, request.path_params["alias"], identity.models))

    async def model_info(self, request: Request) -> Response:
        """`GET /v1/model/info`."""
        identity = await self._authenticated(request)
        return _json(models.model_info(self._config, identity.models))

    async def health(self, request: Request) -> Response:
        """`GET /health`: never a paid call."""
        sandbox = {"sandbox": "answers are made up; no provider is asked"} if self._is_sandbox else {}
        return _json({"status": "healthy", "models": list(self._config.deployments), **sandbox})

    async def readiness(self, request: Request) -> Response:
        """`GET /health/readiness`: the store answers too."""
        try:
            with anyio.fail_after(_READY_WITHIN_S):
                await self._counters.read("readiness")
        except (StoreUnavailable, TimeoutError) as error:
            _log.warning("not ready: %s", str(error) or "the store does not answer in time")
            return _json({"status": "unhealthy", "db": "disconnected"}, status=503)
        return _json({"status": "healthy", "db": "connected"})

    async def global_spend(self, request: Request) -> Response:
        """`GET /global/spend`: the current window of the global budget, in USD, as folded so far."""
        (await self._authenticated(request)).check_operator()
        budget = self._config.budget
        window = budget.window(self._now())
        state = await self._counters.read(budget.counter(window))
        return _json({
            "spend": usd(state.spent),
            "max_budget": None if budget.max_budget is None else usd(budget.max_budget),
            "budget_duration": budget.duration,
            "window": window.key,
            "budget_reset_at": window.ends_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "thresholds_crossed": sorted(state.crossed),
        })  # fmt: skip

    async def _authenticated(self, request: Request) -> Identity:
        return await self._keyring.authenticate(request.headers, request.scope["path"])


def build_gateway(open_router: Callable[[], Awaitable[ASGIApp]]) -> ASGIApp:
    """Put what `build_router` lays out behind its opening, by the first request; liveliness doesn't wait for it."""

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        router = await open_router()
        await router(scope, receive, send)

    alive = _on(("/health/liveliness", "/health/liveness"), liveliness)
    return at_edge(Router(alive, redirect_slashes=False, default=opened))


async def liveliness(request: Request) -> Response:
    """`GET /health/liveliness`: the process answers, whatever becomes of its store."""
    return _json("I'm alive!")


def build_router(
    surface: Surface,
    completions: Completions,
    config: Config,
    keyring: Keyring,
    *operators_routes: Route,
) -> ASGIApp:
    """Put every endpoint that needs an instance on its paths; `build_gateway` answers for its errors."""
    return Router(
        [
            *_on(("/v1/chat/completions", "/chat/completions"), ChatEndpoint(completions, config, keyring), "POST"),
            *_on(("/v1/embeddings", "/embeddings"), EmbeddingEndpoint(completions, config, keyring), "POST"),
            *_on(("/v1/models", "/models"), surface.list_models),
            *_on(("/v1/models/{alias:path}", "/models/{alias:path}"), surface.one_model),
            *_on(("/v1/model/info", "/model/info"), surface.model_info),
            *_on(("/health",), surface.health),
            *_on(("/health/readiness",), surface.readiness),
            *_on(("/global/spend",), surface.global_spend),
            *operators_routes,
        ],
        redirect_slashes=False,
    )


def _on(paths: Sequence[str], endpoint: Callable[..., Any], method: str = "GET") -> list[Route]:
    return [Route(path, endpoint, methods=[method]) for path in paths]


def _json(value: Any, *, status: int = 200) -> Response:
    return json_response(orjson.dumps(value), status=status)

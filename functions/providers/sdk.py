"""The `openai` and `anthropic` SDKs as transport: they are made by the same generator and share their shape.

Both document `client.post(path, cast_to=httpx2.Response)` as the way to call any path and have the raw response, which
spares their response models. The SDKs are slow to import, so they are not until first used or warmed up.
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
import httpx2

from functions.gateway.errors import UpstreamError
from functions.gateway.ports import Deployment
from functions.providers.connections import broke_off
from functions.providers.refusals import refused


class SdkClient:
    """`Client` on one of the two. `make` constructs the SDK's async client from its imported module."""

    def __init__(self, module: str, path: str, make: Callable[[Any, Deployment], Any]) -> None:
        self._module = module
        self._path = path
        self._make = make
        self._sdk: Any = None
        self._clients: dict[tuple[str | None, str | None], Any] = {}

    async def send(
        self,
        body: dict[str, Any],
        deployment: Deployment,
        *,
        is_stream: bool,
        timeout: httpx2.Timeout,
        headers: Mapping[str, str],
    ) -> httpx2.Response:
        """`POST` once. Whether a stream is wanted says the body; the response is unread in either case."""
        await self.warm_up()
        options = {"timeout": timeout, "max_retries": 0, "headers": headers}
        client = self._client(deployment)
        try:
            return await client.post(self._path, body=body, cast_to=httpx2.Response, options=options, stream=True)
        except self._sdk.APIStatusError as error:
            raise refused(error.response) from error
        except self._sdk.APITimeoutError as error:
            raise UpstreamError("timeout", "the provider fell silent") from error
        except self._sdk.APIConnectionError as error:
            raise broke_off("connection_error", error.__cause__, "the provider can't be reached") from error

    async def warm_up(self) -> None:
        """Import the SDK, off the loop."""
        if self._sdk is None:
            self._sdk = await anyio.to_thread.run_sync(_imported, self._module)

    def _client(self, deployment: Deployment) -> Any:
        credentials = (deployment.api_key, deployment.api_base)
        if credentials not in self._clients:
            self._clients[credentials] = self._make(self._sdk, deployment)
        return self._clients[credentials]


def _imported(module: str) -> Any:
    """Import an SDK, and before it the older HTTP library, if that is installed.

    At every answer both SDKs look whether it is loaded, and fail while another thread's import has it half done.
    """
    with suppress(ImportError):
        importlib.import_module("httpx")
    return importlib.import_module(module)

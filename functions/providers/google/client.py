"""The `google-genai` SDK as transport."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx2

from functions.gateway.ports import Deployment
from functions.providers.refusals import refused

if TYPE_CHECKING:
    from google import genai

_BASE_URL = "https://generativelanguage.googleapis.com/"
_API_VERSION = "v1beta"  # the version whose requests know `parametersJsonSchema` and `systemInstruction`


class GoogleClient:
    """`Client` on google-genai's own HTTP layer, `Client._api_client`.

    Its public methods put every body through their models, follow a `CONTINUATION` up with further requests (which
    would be billed uncounted), and hide the raw stream. The layer below them is not public, so its use stands here
    alone, and a test fails by name when the SDK changes it.
    """

    def __init__(self, http: httpx2.AsyncClient, verb: str = "generateContent") -> None:
        self._http = http
        self._verb = verb
        self._is_imported = False
        self._clients: dict[tuple[str | None, str | None], genai.Client] = {}

    async def send(
        self,
        body: dict[str, Any],
        deployment: Deployment,
        *,
        is_stream: bool,
        timeout: httpx2.Timeout,
        headers: Mapping[str, str],
    ) -> httpx2.Response:
        """`POST` once: without retry options the SDK makes one attempt."""
        await self.warm_up()
        from google.genai.errors import APIError

        verb = "streamGenerateContent?alt=sse" if is_stream else self._verb
        api: Any = (await self._client(deployment))._api_client  # pyright: ignore[reportPrivateUsage]
        request = api._build_request("post", f"models/{deployment.upstream_model}:{verb}", body)
        request.timeout = timeout
        request.headers.update(headers)
        try:
            return (await api._async_request(request, stream=True)).response_stream
        except APIError as error:
            raise refused(cast("httpx2.Response", error.response)) from error  # pyright: ignore[reportUnknownMemberType]

    async def warm_up(self) -> None:
        """Import the SDK, off the loop."""
        if not self._is_imported:
            await anyio.to_thread.run_sync(_import_sdk)
            self._is_imported = True

    async def _client(self, deployment: Deployment) -> "genai.Client":
        """Give the client of these credentials; making one takes a tenth of a second, which it does off the loop."""
        credentials = (deployment.api_key, deployment.api_base)
        if credentials not in self._clients:
            self._clients[credentials] = await anyio.to_thread.run_sync(self._new_client, deployment)
        return self._clients[credentials]

    def _new_client(self, deployment: Deployment) -> "genai.Client":
        from google import genai

        options = genai.types.HttpOptions(
            base_url=deployment.api_base or _BASE_URL,
            api_version=_API_VERSION,
            httpx_async_client=self._http,
        )
        return genai.Client(vertexai=False, api_key=deployment.api_key, http_options=options)


def _import_sdk() -> None:
    from google import genai  # noqa: F401  # pyright: ignore[reportUnusedImport]

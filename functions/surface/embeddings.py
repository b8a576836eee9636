"""`POST /v1/embeddings`."""

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from functions.gateway.config import Config
from functions.gateway.keys import Keyring
from functions.gateway.pipeline import Completions
from functions.gateway.wire import parse_embedding_request
from functions.surface.caller import caller_of
from functions.surface.edge import json_response
from functions.surface.reading import read_json


class EmbeddingEndpoint:
    """An ASGI application, as the chat endpoint is."""

    def __init__(self, completions: Completions, config: Config, keyring: Keyring) -> None:
        self._completions = completions
        self._config = config
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authenticate, check, answer."""
        request = Request(scope, receive)
        identity = await self._keyring.authenticate(request.headers, scope["path"])
        raw = await read_json(request, limit_bytes=self._config.max_request_bytes)
        asked = parse_embedding_request(raw, drop_params=self._config.drop_params, headers=request.headers)
        answer = await self._completions.embed(asked, caller_of(request, identity, asked.body.get("user")))
        await json_response(answer.body, headers=dict(answer.headers))(scope, receive, send)

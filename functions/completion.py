"""HTTP entry: an OpenAI-compatible chat completion, and the paths around it."""

from typing import cast

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

from functions import bootstrap


@functions_framework.aio.http
async def completion(request: Request) -> Response:
    """Hand every path to the router, which `functions/surface/router.py` lays out."""
    return cast("Response", bootstrap.gateway)  # the framework runs whatever ASGI application it is given

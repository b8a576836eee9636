"""The edge: every error becomes OpenAI's envelope, and nothing internal leaves."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.gateway.errors import GatewayError
from functions.gateway.wire import render_error
from functions.surface.caller import CALL_ID, call_id_of

_log = logging.getLogger(__name__)


def json_response(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Answer with JSON that is already rendered."""
    return Response(body, status_code=status, headers=headers, media_type="application/json")


def at_edge(app: ASGIApp) -> ASGIApp:
    """Answer for an application's errors, as long as its answer has not begun; afterwards the connection breaks."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception as error:
            if has_begun:
                raise
            known = _as_gateway_error(error, scope)
            headers = {CALL_ID: call_id_of(scope), **known.headers}
            await json_response(render_error(known), status=known.status, headers=headers)(scope, receive, send)

    return guarded


def _as_gateway_error(error: Exception, scope: Scope) -> GatewayError:
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, HTTPException):
        return _unroutable(error, scope)
    _log.error("unexpected error in call %s", call_id_of(scope), exc_info=error)
    return GatewayError("The gateway failed to handle this request; its operator's log says why. Try again.")


def _unroutable(error: HTTPException, scope: Scope) -> GatewayError:
    known = GatewayError(f"{scope['method']} {scope['path']}: {error.detail}. See the README for the paths.")
    known.status = error.status_code
    known.type = "invalid_request_error"
    known.code = "method_not_allowed" if error.status_code == 405 else "not_found"
    known.headers = dict(error.headers or {})
    return known

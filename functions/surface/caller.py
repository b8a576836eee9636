"""Who asks, and the name by which their request is known in headers and events."""

import re
import uuid

from starlette.requests import Request
from starlette.types import Scope

from functions.gateway.keys import Identity, Keyring
from functions.gateway.run import Caller

CALL_ID = "x-litellm-call-id"
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values
_TRACE_CONTEXT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_CALL_ID_OF_CLIENT = re.compile(r"[\x21-\x7e]{1,128}")


def call_id_of(scope: Scope) -> str:
    """Give the request's id, the same however often it is asked for: the client's own, or a new one."""
    known: str | None = scope.get(CALL_ID)
    if known is None:
        given = Request(scope).headers.get(CALL_ID, "")
        known = scope[CALL_ID] = given if _CALL_ID_OF_CLIENT.fullmatch(given) else str(uuid.uuid4())
    return known


async def operator_of(request: Request, keyring: Keyring) -> str:
    """Give the name of the operator who asks, for the ledger. Raises `MasterKeyRequired`, `NotAuthenticated`."""
    identity = await keyring.authenticate(request.headers, request.scope["path"])
    identity.check_master()
    return identity.actor


def caller_of(request: Request, identity: Identity, end_user: str | None) -> Caller:
    """Say who asks, for whom; a name of nothing names nobody. A trace context that is none is left aside.

    The latter is what its standard wants.
    """
    end_user = end_user or None
    trace_context = request.headers.get("traceparent", "")
    return Caller(
        request_id=call_id_of(request.scope),
        scopes=identity.scopes(end_user),
        parties=identity.parties(end_user),
        trace_context=trace_context if _TRACE_CONTEXT.fullmatch(trace_context) else None,
        models=identity.models,
        key_spent=identity.spent,
    )

"""Firestore under contention: a server that refuses at first, and the gate that asks it again."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.types import CommitRequest, CommitResponse, Value, WriteResult

from events.money import nano_usd
from functions.adapters.gcp.firestore import FirestoreLedger
from functions.adapters.gcp.gate import FirestoreGate
from functions.gateway.errors import StoreUnavailable
from functions.gateway.ports import Grant
from tests.builders import TODAY, allowance, spend


class Refusing(grpc.GenericRpcHandler):
    """A Firestore that refuses commits with these codes in turn, and takes what comes after."""

    def __init__(self, *refusals: grpc.StatusCode) -> None:
        self.refusals = list(refusals)
        self.commits: list[CommitRequest] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        assert handler_call_details.method == "/google.firestore.v1.Firestore/Commit"
        return grpc.unary_unary_rpc_method_handler(
            self._commit,
            request_deserializer=CommitRequest.deserialize,
            response_serializer=CommitResponse.serialize,
        )

    async def _commit(self, request: CommitRequest, context: Any) -> CommitResponse:
        self.commits.append(request)
        if self.refusals:
            await context.abort(self.refusals.pop(0), "others write this too")
        totals = [sum(t.increment.integer_value for t in write.update_transforms) for write in request.writes]
        return CommitResponse(
            write_results=[WriteResult(transform_results=[Value(integer_value=total)]) for total in totals]
        )


@asynccontextmanager
async def open_client(handler: Refusing, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[AsyncClient]:
    server = grpc.aio.server(handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{port}")
    client = AsyncClient(project="test")
    try:
        yield client
    finally:
        await client._firestore_api.transport.close()
        await server.stop(None)


async def test_what_others_are_writing_too_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    firestore = Refusing(grpc.StatusCode.ABORTED, grpc.StatusCode.ABORTED)
    async with open_client(firestore, monkeypatch) as client:
        granted = await FirestoreGate(client).take(allowance("a", 60), limit=nano_usd(1))
        totals = await FirestoreLedger(client).commit([spend("e", cost=4)], {TODAY: 4})

    assert (granted, totals) == (Grant(granted.granted, granted.granted), {TODAY: 4})
    assert granted.granted == 60
    assert firestore.commits[0] == firestore.commits[2]
    assert len(firestore.commits) == 4


async def test_what_is_refused_for_good_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    firestore = Refusing(grpc.StatusCode.PERMISSION_DENIED)
    async with open_client(firestore, monkeypatch) as client:
        with pytest.raises(StoreUnavailable):
            await FirestoreGate(client).take(allowance("a", 60), limit=nano_usd(1))

    assert len(firestore.commits) == 1

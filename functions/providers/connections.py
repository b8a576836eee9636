"""The connections to the providers: kept open between requests, and given up where the other end has forgotten them."""

import socket
import ssl
from typing import Any

import httpx2

from functions.gateway.errors import STALE_CONNECTION, UpstreamError

_LIMITS = httpx2.Limits(max_connections=2000, max_keepalive_connections=200, keepalive_expiry=60)

# A peer that has vanished without a word is noticed within ten seconds, idle or not; Linux's names, where they are.
_OPTIONS = (
    ("SO_KEEPALIVE", 1),
    ("TCP_KEEPIDLE", 10),
    ("TCP_KEEPINTVL", 5),
    ("TCP_KEEPCNT", 2),
    ("TCP_USER_TIMEOUT", 10_000),
)
_BROKEN = (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError)


class StaleConnection(httpx2.ReadError):
    """A connection that had been kept open broke before a byte of the answer came: the other end had given it up."""


class Connections(httpx2.AsyncBaseTransport):
    """A transport with a pool. Where one kept connection turns out to be stale, its idle fellows are closed as well.

    A load balancer that restarts forgets all of them at once; each would fail another request.
    """

    def __init__(self, limits: httpx2.Limits = _LIMITS) -> None:
        verify = ssl.create_default_context()
        self._transport = httpx2.AsyncHTTPTransport(verify=verify, limits=limits, socket_options=_socket_options())

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Raises `StaleConnection` where it is worth sending on another one."""
        connected: list[str] = []

        async def trace(event: str, _info: dict[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                connected.append(event)

        request.extensions = {**request.extensions, "trace": trace}
        try:
            return await self._transport.handle_async_request(request)
        except _BROKEN as error:
            if connected:
                raise
            await self._close_idle(request.url)
            raise StaleConnection(str(error), request=request) from error

    async def aclose(self) -> None:
        """Close them all."""
        await self._transport.aclose()

    async def _close_idle(self, url: httpx2.URL) -> None:
        """Close the idle connections to a host. The transport's pool is not public; a test holds it to its name."""
        pool = self._transport._pool  # pyright: ignore[reportPrivateUsage]
        for connection in pool.connections:
            if connection.is_idle() and connection.can_handle_request(_origin(url)):
                await connection.aclose()


def _origin(url: httpx2.URL) -> Any:
    import httpcore2

    port = url.port or {"http": 80, "https": 443}[url.scheme]
    return httpcore2.Origin(url.raw_scheme, url.raw_host, port)


def _socket_options() -> list[tuple[int, int, int]]:
    levels = {"SO": socket.SOL_SOCKET, "TCP": socket.IPPROTO_TCP}
    known = [(name, value) for name, value in _OPTIONS if hasattr(socket, name)]
    return [(levels[name.partition("_")[0]], getattr(socket, name), value) for name, value in known]


def broke_off(status: str, error: BaseException | None, message: str) -> UpstreamError:
    """Describe a connection that broke; a stale one says nothing of its deployment."""
    return UpstreamError(status, message, code=STALE_CONNECTION if isinstance(error, StaleConnection) else None)

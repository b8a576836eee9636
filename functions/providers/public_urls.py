"""Addresses that a provider may be asked to fetch: public ones."""

import ipaddress
import socket
from urllib.parse import urlsplit

from functions.gateway.errors import BadRequest

_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


def public_url(url: str, path: str) -> str:
    """Give the URL back. Raises `BadRequest`, naming the field's path, for one that no provider can or should fetch."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        host, parts = "", None
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise BadRequest(f"{path} must be an http(s) URL or a base64 data URL.", param=path)
    if _is_private(host):
        raise BadRequest(f"{path} points to a private address ({host!r}). Send the data as a data URL.", param=path)
    return url


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith(_PRIVATE_SUFFIXES):
        return True
    address = _address(host)
    return address is not None and not address.is_global


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an IP address, also in the short and numeric forms that resolvers take (`127.1`, `0x7f000001`)."""
    try:
        if ":" in host:
            address = ipaddress.IPv6Address(host.partition("%")[0])
            return address.ipv4_mapped or address
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None

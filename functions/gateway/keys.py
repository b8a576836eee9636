"""Who is asking: the key a client presents, and what it is allowed."""

import hashlib
import hmac
from collections.abc import Mapping

from functions.gateway.errors import NotAuthenticated

_BARE_HEADERS = ("api-key", "x-api-key")  # as the Azure and Anthropic SDKs send it


def authenticate(headers: Mapping[str, str], master_key: str | None) -> str | None:
    """Check the presented key and give its hash; without a master key the gateway is open and gives `None`.

    Accepted are `x-litellm-api-key`, `Authorization: Bearer`, `api-key` and `x-api-key`, in this order. Raises
    `NotAuthenticated`.
    """
    if master_key is None:
        return None
    presented = _presented(headers)
    if not presented:
        raise NotAuthenticated("No API key was given. Send it as `Authorization: Bearer sk-…`.")
    if not hmac.compare_digest(hash_key(presented), hash_key(master_key)):
        raise NotAuthenticated("This API key is not known. Check it, or ask the operator for one.")
    return hash_key(presented)


def hash_key(key: str) -> str:
    """Give hex SHA-256: all that is ever stored or published of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def _presented(headers: Mapping[str, str]) -> str:
    for name in ("x-litellm-api-key", "authorization"):
        scheme, _, key = headers.get(name, "").strip().partition(" ")
        if scheme.lower() == "bearer":
            return key.strip()
        if scheme and name != "authorization":
            return scheme
    return next((headers[name].strip() for name in _BARE_HEADERS if headers.get(name)), "")

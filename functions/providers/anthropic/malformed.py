"""What a client sent in another form than Anthropic takes."""

from collections.abc import Generator
from contextlib import contextmanager

from functions.gateway.errors import BadRequest


@contextmanager
def malformed_requests(param: str | None = None) -> Generator[None]:
    """Refuse what the edge lets pass unread, as OpenAI has no such field, and what has not the form it must have."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        named = param or "A field beyond OpenAI's own"
        raise BadRequest(f"{named} does not have the form that Anthropic takes.", param=param) from error

"""What a client sends in another form than Google takes, where the edge lets it pass unread."""

from collections.abc import Generator
from contextlib import contextmanager

from functions.gateway.errors import BadRequest


@contextmanager
def malformed_requests(param: str | None = None) -> Generator[None]:
    """Refuse what has not the form it must have, by the path of its field where that is known."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        where = param or "A field beyond OpenAI's own"
        raise BadRequest(f"{where} does not have the form that Google takes: {error!r}.", param=param) from error

"""Google's failures, in the one shape that the gateway knows."""

from collections.abc import Generator
from contextlib import contextmanager

from google.api_core.exceptions import (
    Aborted,
    AlreadyExists,
    GoogleAPIError,
    InvalidArgument,
    ServerError,
    TooManyRequests,
)
from google.api_core.retry import AsyncRetry, if_exception_type
from google.auth.exceptions import GoogleAuthError

from functions.gateway.errors import StoreUnavailable, Unstorable

CALL_S = 5.0
# Of the calls made here, each may be repeated without harm. In all, a call and its repetitions take 10 s; the pauses
# between them are random. `Aborted` is that others write the same documents at once: nothing was written.
RETRY = AsyncRetry(
    predicate=if_exception_type(Aborted, ServerError, TooManyRequests),
    initial=0.1,
    maximum=1.0,
    multiplier=2.0,
    timeout=10.0,
)


@contextmanager
def store_failures() -> Generator[None]:
    """Raise `StoreUnavailable` for whatever Google's client gives up on or has no credentials for.

    `Unstorable` where asking again can't help. `AlreadyExists` is an answer, and passes.
    """
    try:
        yield
    except AlreadyExists:
        raise
    except InvalidArgument as error:
        raise Unstorable(f"The store refuses this ({error.message}).") from error
    except (GoogleAPIError, GoogleAuthError) as error:
        raise StoreUnavailable(f"The store does not answer ({type(error).__name__}). Try again.") from error

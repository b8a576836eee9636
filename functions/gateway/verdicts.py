"""What each upstream outcome means for the request: the one table of it."""

from enum import Enum

from functions.gateway.errors import UpstreamError


class Verdict(Enum):
    """What an upstream's error means for the request."""

    RETRY = "a fault of the moment: ask the same deployment again, shortly"
    FALL_BACK_FIRST = "overloaded: ask the next; where there is none, the same again, after a back-off"
    FALL_BACK = "this deployment can't serve the request at all: ask the next"
    CONTEXT_WINDOW = "the input is too long for it: ask one with a larger window"
    CONTENT_POLICY = "it refuses the content: ask the chain for that, if there is one, or tell the sender"
    CLIENT_FAULT = "the request itself is at fault: its sender must change it"


_CLIENT_FAULT_STATUSES = frozenset({400, 413, 415, 422})
_OURS_DESPITE_400 = (
    "api_key_invalid",  # Google answers 400 to a bad key
    "failed_precondition",  # Google: location not supported, billing off
    "model_not_found",
    "organization must be verified",  # OpenAI
    "credit balance",  # Anthropic's billing errors are 400 invalid_request_error
    "usage limits",
)


def judge(error: UpstreamError) -> Verdict:
    """Decide by status first; a 400 that is about our account, not about the request, falls back.

    Sources: https://platform.claude.com/docs/en/api/errors, https://platform.openai.com/docs/guides/error-codes,
    https://ai.google.dev/gemini-api/docs/troubleshooting, and the answers themselves.
    """
    said = f"{error.kind} {error.code} {error.message}".lower()
    if error.status in _CLIENT_FAULT_STATUSES and not any(words in said for words in _OURS_DESPITE_400):
        return Verdict.CLIENT_FAULT
    return Verdict.FALL_BACK
